/* A calibration as a table, and as a picture. */
#ifndef SLUICE_PROGRAMS_CALIBRATE_REPORT_H
#define SLUICE_PROGRAMS_CALIBRATE_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "sluice/calibrate.h"

void calibrate_print_table(const sluice_calibration *calibration);
json_t *calibrate_json(const sluice_calibration *calibration);
/* What a budget of loads a token runs; as JSON in the form that --tiers reads. An exit status. */
int calibrate_print_budget(const sluice_calibration *calibration, double budget, bool json);
/* One row of bars a layer: what it loses with fewer experts, from none to all but one. */
void calibrate_print_svg(FILE *out, const sluice_calibration *calibration);

#endif
