/* Measuring all settings of a report, in turns. */
#ifndef SLUICE_PROGRAMS_REPORT_RUN_H
#define SLUICE_PROGRAMS_REPORT_RUN_H

#include "output.h"
#include "report_result.h"

/* model: NULL for the bundled one. work: a folder that exists; what it holds is not measured again.
 * Fills the rows and says what was measured on; result->config is set. An exit status. */
int report_run(const char *model, const char *work, cli_progress *progress, report_result *result);

#endif
