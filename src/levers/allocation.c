/* Dynamic programming over layers and units (see allocation.h). */
#include "levers/allocation.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* best[u]: least cost of the layers so far within u units, from those of the layers before. */
static void add_layer(const sluice_allocation_option *options, int32_t per_layer, int32_t units,
                      const double *before, double *best, uint8_t *taken)
{
    for (int32_t u = 0; u <= units; u++) {
        best[u] = INFINITY;
        taken[u] = UINT8_MAX;
        for (int32_t i = 0; i < per_layer; i++) {
            if (options[i].units > u) continue;
            double cost = before[u - options[i].units] + options[i].cost;
            bool fewer = taken[u] != UINT8_MAX && cost == best[u] &&
                         options[i].units < options[taken[u]].units;
            if (cost < best[u] || (fewer && cost < INFINITY)) {
                best[u] = cost;
                taken[u] = (uint8_t)i;
            }
        }
    }
}

sluice_status sluice_allocation_solve(const sluice_allocation_option *options, int32_t layers,
                                      int32_t per_layer, int32_t budget_units, int32_t *chosen,
                                      sluice_error *err)
{
    if (budget_units < 0 || per_layer < 1 || per_layer >= UINT8_MAX)
        return sluice_fail(err, SLUICE_USAGE, "a budget of %d units over %d options", budget_units,
                           per_layer);
    size_t row = (size_t)budget_units + 1;
    double *costs = calloc(2 * row, sizeof *costs), *before = costs, *best = costs + row;
    uint8_t *taken = malloc((size_t)layers * row);
    sluice_status status = SLUICE_OK;
    if (!costs || !taken) {
        status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory to allocate %d units to %d layers",
                             budget_units, layers);
        goto done;
    }
    for (int32_t l = 0; l < layers; l++) {
        add_layer(options + (size_t)l * (size_t)per_layer, per_layer, budget_units, before, best,
                  taken + (size_t)l * row);
        double *swap = before;
        before = best;
        best = swap;
    }
    if (!(before[budget_units] < INFINITY)) {
        status =
            sluice_fail(err, SLUICE_USAGE, "no allocation keeps within %d units", budget_units);
        goto done;
    }
    for (int32_t l = layers - 1, u = budget_units; l >= 0; l--) {
        chosen[l] = taken[(size_t)l * row + (size_t)u];
        u -= options[(size_t)l * (size_t)per_layer + (size_t)chosen[l]].units;
    }
done:
    free(costs);
    free(taken);
    return status;
}
