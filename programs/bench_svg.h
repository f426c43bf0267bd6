/* A picture of a bench: for each row a bar of what a token's time went to, and where the floor is.
 */
#ifndef SLUICE_PROGRAMS_BENCH_SVG_H
#define SLUICE_PROGRAMS_BENCH_SVG_H

#include "bench_report.h"

void bench_print_svg(FILE *out, const bench_result *result, const bench_row *rows);

#endif
