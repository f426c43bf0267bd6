/* Making and forwarding errors inside the library (the public half is sluice/status.h). */
#ifndef SLUICE_BASE_STATUS_H
#define SLUICE_BASE_STATUS_H

#include "sluice/status.h"

/* Formats the detail sentence into err (if not NULL; cut at its size) and returns code. */
__attribute__((format(printf, 3, 4))) sluice_status
sluice_fail(sluice_error *err, sluice_status code, const char *format, ...);

/* Forwards a failed status to the caller; the callee has already filled in the error. */
#define SLUICE_TRY(expression)                                                                     \
    do {                                                                                           \
        sluice_status sluice_try_status = (expression);                                            \
        if (sluice_try_status != SLUICE_OK) return sluice_try_status;                              \
    } while (0)

#endif
