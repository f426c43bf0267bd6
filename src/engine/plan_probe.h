/* The measurements behind a plan: the real engine on a small model of the same geometry. */
#ifndef SLUICE_ENGINE_PLAN_PROBE_H
#define SLUICE_ENGINE_PLAN_PROBE_H

#include "engine/plan_model.h"
#include "format/blueprint.h"
#include "sluice/plan.h"

/* Writes a model of the blueprint's first layers and some of its experts below folder, runs it with
 * everything in memory, and removes it. Fills points (scaled to all layers), head_seconds,
 * shared_share, and, if disk is not NULL, measures reading it. whole: also prompts, not only single
 * tokens. */
sluice_status sluice_plan_probe(const sluice_plan_options *options, const char *folder,
                                const sluice_blueprint *blueprint, const char *experts,
                                const char *trunk, bool whole, sluice_plan_work *work,
                                sluice_disk_speed *disk, sluice_error *err);

#endif
