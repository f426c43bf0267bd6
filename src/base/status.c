/* Names and texts of the status codes, and the one function that fills in a sluice_error. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

const char *sluice_status_name(sluice_status status)
{
    switch (status) {
#define X(name, text)                                                                              \
    case SLUICE_##name: return "SLUICE_" #name;
        SLUICE_STATUS_LIST(X)
#undef X
    }
    return "SLUICE_?";
}

const char *sluice_status_text(sluice_status status)
{
    switch (status) {
#define X(name, text)                                                                              \
    case SLUICE_##name: return text;
        SLUICE_STATUS_LIST(X)
#undef X
    }
    return "an unknown status";
}

sluice_status sluice_fail(sluice_error *err, sluice_status code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->detail, sizeof err->detail, format, args);
        va_end(args);
        /* Names and values from files are quoted in it: it stays one line whatever they hold. */
        for (char *c = err->detail; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f) *c = ' ';
    }
    return code;
}
