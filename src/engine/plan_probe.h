/* The measurements behind a plan: the real engine on a small model of the same geometry. */
#ifndef SLUICE_ENGINE_PLAN_PROBE_H
#define SLUICE_ENGINE_PLAN_PROBE_H

#include "engine/plan_model.h"
#include "format/blueprint.h"
#include "sluice/plan.h"

/* What is measured. */
typedef struct sluice_plan_subject {
    const sluice_blueprint *blueprint;
    const char *experts, *trunk; /* formats */
    const char *folder;          /* on the disk in question */
    const char *container;       /* the model on that disk, or NULL if it is not there yet */
    bool whole;
} sluice_plan_subject;

/* Writes a model of the blueprint's first layers and some of its experts below folder, runs it, and
 * removes it. Fills points and head_seconds (scaled to all layers and the whole vocabulary) and
 * shared_share. whole: also prompts, the disk, how much of it decoding gets, and how much slower it
 * computes meanwhile: disk_speed, stream_speed and slowdown; else single tokens with everything in
 * memory only, and disk is not touched. */
sluice_status sluice_plan_probe(const sluice_plan_options *options,
                                const sluice_plan_subject *subject, sluice_plan_work *work,
                                sluice_disk_speed *disk, sluice_error *err);

#endif
