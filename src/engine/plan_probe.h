/* The measurements behind a plan: the real engine on a small model of the same geometry. */
#ifndef SLUICE_ENGINE_PLAN_PROBE_H
#define SLUICE_ENGINE_PLAN_PROBE_H

#include "engine/plan_model.h"
#include "format/blueprint.h"
#include "sluice/plan.h"

/* Writes a model of the blueprint's first layers and some of its experts below folder, runs it, and
 * removes it. Fills points and head_seconds (scaled to all layers and the whole vocabulary) and
 * shared_share. whole: also prompts, the disk (unless disk says its speed already), and how much of
 * it decoding gets: disk_speed and stream_speed; else single tokens with everything in memory only,
 * and disk is not touched. */
sluice_status sluice_plan_probe(const sluice_plan_options *options, const char *folder,
                                const sluice_blueprint *blueprint, const char *experts,
                                const char *trunk, bool whole, sluice_plan_work *work,
                                sluice_disk_speed *disk, sluice_error *err);

#endif
