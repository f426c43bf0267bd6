/* The engine's levers: where the calibration is, and the policy that comes of it.
 *
 * A calibration is read only where a lever needs one. One of other weights of the same geometry (a
 * conversion to fewer bits) is used, after a notice. */
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "engine/engine.h"
#include "os/file.h"

/* The first of these folders with a calibration.json; *path is freed with free(). */
static sluice_status find(const char *const *folders, int n, char **path, sluice_error *err)
{
    for (int i = 0; i < n; i++) {
        if (!folders[i]) continue;
        char *file = sluice_file_join(folders[i], "calibration.json");
        if (!file) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
        if (sluice_file_exists(file)) {
            *path = file;
            return SLUICE_OK;
        }
        free(file);
    }
    return sluice_fail(err, SLUICE_NOT_FOUND,
                       "%s: no calibration.json is here, which tiers and budgets of loads need; "
                       "make one with 'sluice calibrate'",
                       folders[0]);
}

static sluice_status read_found(const char *model, const char *dir, sluice_calibration **out,
                                sluice_error *err)
{
    char *nano = NULL, *path = NULL;
    if (!model) SLUICE_TRY(sluice_locate_nano(&nano, err));
    const char *folders[] = {dir, model ? model : nano};
    sluice_status status = find(folders, 2, &path, err);
    free(nano);
    if (status != SLUICE_OK) return status;
    status = sluice_calibration_read(path, out, err);
    free(path);
    return status;
}

static void notice_other(const sluice_engine *engine, const sluice_calibration *c)
{
    char line[256];
    if (!engine->options.notice || c->fingerprint == engine->model->fingerprint_bare) return;
    snprintf(line, sizeof line,
             "the calibration is of other weights of this geometry ('%s'): loads and costs may "
             "differ",
             c->model);
    engine->options.notice(engine->options.callback_context, line);
}

static bool resident(const void *context, int32_t layer, int32_t id)
{
    return sluice_experts_resident(context, layer, id);
}

sluice_status sluice_engine_open_levers(sluice_engine *engine, const char *model, const char *dir,
                                        sluice_error *err)
{
    const sluice_config *config = engine->model->config;
    const sluice_levers *levers = &engine->options.levers;
    sluice_calibration *c = NULL;
    if (sluice_rules_need_calibration(levers)) {
        if (levers->calibration)
            SLUICE_TRY(sluice_calibration_read(levers->calibration, &c, err));
        else
            SLUICE_TRY(read_found(model, dir, &c, err));
        notice_other(engine, c);
    }
    sluice_status status = sluice_rules_new(levers, engine->info.k, config->layers, config->top_k,
                                            c, &engine->rules, err);
    sluice_calibration_free(c);
    if (status != SLUICE_OK) return status;
    engine->info.lossy = engine->rules.lossy;
    engine->info.loads = engine->rules.loads;
    engine->policy = sluice_policy_of(config->experts, config->top_k, engine->info.k);
    if (engine->rules.layers)
        sluice_policy_set_rules(&engine->policy, config->layers, engine->rules.layers,
                                engine->rules.prompt);
    if (levers->cache_bias > 0)
        sluice_policy_set_bias(&engine->policy, levers->cache_bias, resident, engine->experts);
    return SLUICE_OK;
}
