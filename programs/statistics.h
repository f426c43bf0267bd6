/* Statistics of a generation as people and programs read them.
 *
 * Rates and bytes per token are those of decoding alone, from the first token to the last; the
 * prompt, which reads far more per step and far less per token, is told apart. */
#ifndef SLUICE_PROGRAMS_STATISTICS_H
#define SLUICE_PROGRAMS_STATISTICS_H

#include <jansson.h>

#include "sluice/sluice.h"

typedef struct cli_statistics {
    sluice_stats start, first, end; /* before, at the first token, after */
    bool has_first;
    const sluice_model_info *model;
} cli_statistics;

void cli_statistics_begin(cli_statistics *statistics, const sluice_engine *engine);
void cli_statistics_token(cli_statistics *statistics, const sluice_engine *engine);
void cli_statistics_end(cli_statistics *statistics, const sluice_engine *engine);

/* One line without a newline. */
void cli_statistics_line(const cli_statistics *statistics, char *line, size_t size);
json_t *cli_statistics_json(const cli_statistics *statistics);

#endif
