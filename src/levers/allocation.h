/* The best allocation of loads over layers: of each layer's options one, together as cheap as
 * possible within a budget.
 *
 * A multiple-choice knapsack, solved exactly by dynamic programming over whole units; among
 * allocations of the same cost the one that takes less of the later layers wins. Time and memory
 * grow with layers x budget; the largest model's (60 layers, 600 loads in sixteenths) takes
 * milliseconds.
 *
 * What it does not do: know what a unit or a cost is. */
#ifndef SLUICE_LEVERS_ALLOCATION_H
#define SLUICE_LEVERS_ALLOCATION_H

#include <stdint.h>

#include "base/status.h"

typedef struct sluice_allocation_option {
    int32_t units; /* >= 0 */
    double cost;   /* finite, >= 0 */
} sluice_allocation_option;

/* options: [layers, per_layer], at most 255 a layer. chosen [layers] receives indices.
 * SLUICE_USAGE: no allocation is within the budget. */
sluice_status sluice_allocation_solve(const sluice_allocation_option *options, int32_t layers,
                                      int32_t per_layer, int32_t budget_units, int32_t *chosen,
                                      sluice_error *err);

#endif
