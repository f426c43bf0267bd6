/* A conversion as the user sees it: what it costs before it starts, how far it is, what came out.
 */
#ifndef SLUICE_PROGRAMS_CONVERSION_H
#define SLUICE_PROGRAMS_CONVERSION_H

#include <jansson.h>

#include "output.h"
#include "sluice/convert.h"

/* Formats of weights, as options name them. */
#define CLI_FORMATS "q2|q3|q4|q5|q6|q8|bf16"

typedef struct cli_conversion {
    cli_progress progress;
    const char *out; /* the folder */
    sluice_convert_plan plan;
    double seconds;
} cli_conversion;

/* Callbacks of sluice_convert_options, whose context is a cli_conversion. */
bool cli_conversion_starting(void *context, const sluice_convert_plan *plan);
bool cli_conversion_progress(void *context, const sluice_convert_progress *progress);

/* How far a conversion is; for one that only precedes something. */
void cli_conversion_show(cli_progress *line, const sluice_convert_progress *progress);

/* What came out, as a sentence or, with json, as an object that details (taken over, may be NULL)
 * are members of too; or what went wrong. The exit status. */
int cli_conversion_finish(cli_conversion *conversion, sluice_status status, const sluice_error *err,
                          bool json, json_t *details);

#endif
