/* How evaluations are shown: as text with 95% intervals, or as JSON. */
#ifndef SLUICE_PROGRAMS_EVAL_REPORT_H
#define SLUICE_PROGRAMS_EVAL_REPORT_H

#include "options.h"
#include "output.h"
#include "sluice/benchmarks.h"

/* each: of the files. All return an exit status. */
int eval_report_perplexity(const sluice_engine *engine, bool exact, const cli_list *files,
                           const sluice_perplexity *each, const sluice_perplexity *all, bool json);
int eval_report_divergence(const sluice_engine *engine, bool exact, const sluice_divergence *d,
                           bool json);
int eval_report_tasks(const sluice_engine *engine, bool exact, const cli_list *files,
                      const sluice_task_score *each, const sluice_task_score *all, bool json);
int eval_report_mmlu(const sluice_engine *engine, bool exact, const sluice_mmlu *mmlu, bool json);

#endif
