/* The adapters that an engine adds to its model: read before memory is shared out, because they
 * stay in it like the trunk. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter/peft.h"
#include "engine/engine.h"

static void add_name(sluice_engine *engine, const char *name, float scale)
{
    char text[192];
    const size_t used = strlen(engine->adapter_names);
    if (scale == 1.0f)
        snprintf(text, sizeof text, "%s%s", used ? ", " : "", name);
    else
        snprintf(text, sizeof text, "%s%s:%g", used ? ", " : "", name, (double)scale);
    snprintf(engine->adapter_names + used, sizeof engine->adapter_names - used, "%s", text);
}

sluice_status sluice_engine_adapters_open(sluice_engine *engine, sluice_sizes_model *needs,
                                          sluice_error *err)
{
    const sluice_engine_options *options = &engine->options;
    const int32_t n = options->n_adapters;
    if (n < 0 || n > SLUICE_ADAPTERS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d adapters; at most %d can be used together", n,
                           SLUICE_ADAPTERS_MAX);
    for (int32_t i = 0; i < n; i++) {
        const sluice_adapter_choice *choice = &options->adapters[i];
        if (!isfinite(choice->scale))
            return sluice_fail(err, SLUICE_USAGE, "%s: the adapter's scale is not a number",
                               choice->path);
        SLUICE_TRY(sluice_peft_read(choice->path, needs->config, choice->scale, engine->budget,
                                    &engine->adapters[i], err));
        engine->info.adapter_bytes += engine->adapters[i]->bytes;
        add_name(engine, engine->adapters[i]->name, choice->scale);
    }
    needs->trunk_bytes += engine->info.adapter_bytes;
    needs->low_rank = sluice_model_low_rank_max(engine->adapters, n);
    return SLUICE_OK;
}
