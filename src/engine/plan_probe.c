/* See plan_probe.h. Every number comes out of the engine's own statistics, so that whatever the
 * engine does between kernels is in it. */
#include "engine/plan_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "engine/sizes.h"
#include "format/geometry.h"
#include "os/file.h"
#include "os/folder.h"
#include "sluice/sluice.h"
#include "sluice/synth.h"

#define LAYERS_MAX 4 /* one round of the family's mixers */
#define VOCAB_MAX 8192
#define EXPERTS_MIN 16
#define EXPERTS_MAX 256
#define RECORDS_BYTES ((uint64_t)256 << 20) /* of all layers: far more than a last-level cache */
#define STEPS_MAX 8
#define STREAM_WARM_STEPS 4
#define DISK_SECONDS 0.5
#define MEMORY_BYTES ((uint64_t)16 << 30) /* a limit that nothing of this reaches */

static const int32_t point_rows[SLUICE_PLAN_POINTS] = {1, 16, 64};

typedef struct probe {
    const sluice_plan_options *options;
    sluice_engine *engine;
    sluice_session *session;
    int32_t vocab, next;
} probe;

static bool go_on(void *context, const sluice_synth_progress *progress)
{
    const sluice_plan_options *options = context;
    (void)progress;
    return !options->interrupted || !options->interrupted(options->callback_context);
}

/* The small model's config. */
static sluice_config shrink(const sluice_config *config, uint64_t record_bytes, bool whole)
{
    sluice_config small = *config;
    if (small.layers > (whole ? LAYERS_MAX : 1)) small.layers = whole ? LAYERS_MAX : 1;
    if (small.vocab > VOCAB_MAX) small.vocab = VOCAB_MAX;
    if (small.vocab < SLUICE_SYNTH_VOCAB_MIN) small.vocab = SLUICE_SYNTH_VOCAB_MIN;
    uint64_t experts = RECORDS_BYTES / ((uint64_t)small.layers * record_bytes) + 1;
    if (experts < EXPERTS_MIN) experts = EXPERTS_MIN;
    if (experts > EXPERTS_MAX) experts = EXPERTS_MAX;
    if (experts < (uint64_t)config->top_k + 2) experts = (uint64_t)config->top_k + 2;
    if (experts < (uint64_t)small.experts) small.experts = (int32_t)experts;
    if (small.context_max > 4096) small.context_max = 4096;
    return small;
}

static sluice_status write_model(const sluice_plan_options *options, const sluice_config *small,
                                 const char *dir, const char *experts, const char *trunk,
                                 sluice_error *err)
{
    size_t size = strlen(dir) + sizeof ".json";
    char *geometry = malloc(size), *json = NULL;
    if (!geometry) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    snprintf(geometry, size, "%s.json", dir);
    sluice_status status = sluice_geometry_print(small, &json, err);
    if (status == SLUICE_OK) status = sluice_file_save(geometry, json, strlen(json), err);
    const sluice_synth_options synth = {.geometry = geometry,
                                        .experts = experts,
                                        .trunk = trunk,
                                        .progress = go_on,
                                        .context = (void *)(uintptr_t)options};
    if (status == SLUICE_OK) status = sluice_synth(dir, &synth, err);
    unlink(geometry);
    free(json);
    free(geometry);
    return status;
}

static sluice_status run_rows(probe *p, int32_t rows, sluice_error *err)
{
    int32_t tokens[64];
    for (int32_t i = 0; i < rows; i++)
        tokens[i] = (int32_t)(((unsigned)p->next++ * 2654435761u >> 8) % (unsigned)p->vocab);
    const sluice_input input = {
        .session = p->session, .tokens = tokens, .count = rows, .logits_from = rows - 1};
    return sluice_engine_step(p->engine, &input, 1, sluice_logits_drop, NULL, err);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return values[n / 2];
}

/* Steps of so many rows, several of them where they are cheap. */
static sluice_status measure_point(probe *p, int32_t rows, sluice_plan_point *point, double *head,
                                   sluice_error *err)
{
    double trunks[STEPS_MAX], heads[STEPS_MAX], experts[STEPS_MAX], requests = 0;
    int steps = rows == 1 ? STEPS_MAX : rows <= 16 ? 2 : 1;
    for (int i = 0; i < steps; i++) {
        sluice_stats stats;
        sluice_engine_stats_reset(p->engine);
        SLUICE_TRY(run_rows(p, rows, err));
        sluice_engine_stats(p->engine, &stats);
        trunks[i] = (double)stats.trunk_us * 1e-6;
        heads[i] = (double)stats.head_us * 1e-6;
        experts[i] = (double)stats.expert_us * 1e-6 / (double)stats.expert_requests;
        requests += (double)stats.expert_requests;
    }
    const sluice_model_info *info = sluice_engine_info(p->engine);
    *point = (sluice_plan_point){.rows = rows,
                                 .trunk_seconds = median(trunks, steps),
                                 .expert_seconds = median(experts, steps),
                                 .expert_rows =
                                     (double)steps * rows * info->layers * info->top_k / requests};
    *head = median(heads, steps);
    return SLUICE_OK;
}

/* Most rows first: they bring the experts into memory, and waiting for them is counted apart. */
static sluice_status measure(probe *p, bool whole, sluice_plan_work *work, sluice_error *err)
{
    double head;
    if (!whole) SLUICE_TRY(run_rows(p, point_rows[1], err));
    for (int i = whole ? SLUICE_PLAN_POINTS - 1 : 0; i >= 0; i--)
        SLUICE_TRY(measure_point(p, point_rows[i], &work->points[i], &head, err));
    work->head_seconds = head;
    return SLUICE_OK;
}

static sluice_status open_engine(probe *p, const char *dir, uint64_t cache_bytes, sluice_error *err)
{
    const sluice_plan_options *options = p->options;
    sluice_engine_options engine = sluice_engine_options_default();
    engine.memory_bytes = MEMORY_BYTES;
    engine.cache_bytes = cache_bytes;
    engine.threads = options->threads;
    engine.cpu = options->cpu;
    engine.io = options->io;
    engine.exact = options->exact;
    engine.context = 512;
    engine.chunk = 64;
    engine.interrupted = options->interrupted;
    engine.callback_context = options->callback_context;
    SLUICE_TRY(sluice_engine_open(dir, &engine, &p->engine, err));
    sluice_status status = sluice_session_open(p->engine, &p->session, err);
    if (status != SLUICE_OK) sluice_engine_close(p->engine);
    return status;
}

static void close_engine(probe *p)
{
    sluice_session_close(p->session);
    sluice_engine_close(p->engine);
}

/* With everything in memory. */
static sluice_status run_resident(const sluice_plan_options *options, const char *dir,
                                  const sluice_config *small, bool whole, sluice_plan_work *work,
                                  sluice_error *err)
{
    probe p = {.options = options, .vocab = small->vocab};
    SLUICE_TRY(open_engine(&p, dir, 0, err));
    sluice_status status = measure(&p, whole, work, err);
    close_engine(&p);
    return status;
}

/* What the tokens since the reset found, and how good their guesses were. */
static double learn_hits(const probe *p, int steps, sluice_plan_work *work)
{
    const sluice_model_info *info = sluice_engine_info(p->engine);
    sluice_stats stats;
    sluice_engine_stats(p->engine, &stats);
    double useless = (double)stats.lookahead_reads - (double)stats.lookahead_used;
    double misses =
        (double)stats.expert_bytes_read / (double)info->record_bytes - (useless > 0 ? useless : 0);
    double hits = 1 - misses / (double)stats.expert_requests;
    hits = hits < 0 ? 0 : hits;
    /* Counted by reads, of which there are fewer where much is found. */
    work->guesses = (double)stats.lookahead_reads / (steps * info->layers * (1.001 - hits));
    work->precision = 0;
    if (stats.lookahead_reads)
        work->precision = (double)stats.lookahead_used / (double)stats.lookahead_reads;
    return hits;
}

/* With as little in memory as a step needs: how much of the disk's speed decoding gets, and how
 * much slower it computes meanwhile. */
static sluice_status run_streaming(const sluice_plan_options *options, const char *dir,
                                   const sluice_config *small, sluice_plan_work *result,
                                   sluice_error *err)
{
    probe p = {.options = options, .vocab = small->vocab};
    sluice_plan_work work = *result;
    double seconds[STEPS_MAX], trunks[STEPS_MAX];
    sluice_stats stats;
    uint64_t slots = (uint64_t)small->top_k + SLUICE_CACHE_SLOTS_SPARE;
    SLUICE_TRY(open_engine(&p, dir, slots * (uint64_t)work.record_bytes, err));
    sluice_status status = SLUICE_OK;
    for (int i = 0; i < STREAM_WARM_STEPS && status == SLUICE_OK; i++)
        status = run_rows(&p, 1, err);
    sluice_engine_stats_reset(p.engine);
    for (int i = 0; i < STEPS_MAX && status == SLUICE_OK; i++) {
        sluice_engine_stats(p.engine, &stats);
        uint64_t start = sluice_clock_us(), trunk_us = stats.trunk_us;
        status = run_rows(&p, 1, err);
        seconds[i] = (double)(sluice_clock_us() - start) * 1e-6;
        sluice_engine_stats(p.engine, &stats);
        trunks[i] = (double)(stats.trunk_us - trunk_us) * 1e-6;
    }
    if (status == SLUICE_OK) {
        work.slowdown = median(trunks, STEPS_MAX) / work.points[0].trunk_seconds;
        work.layers = small->layers;
        double hits = learn_hits(&p, STEPS_MAX, &work);
        result->stream_speed = sluice_plan_stream_speed(&work, hits, median(seconds, STEPS_MAX));
        result->slowdown = work.slowdown;
    }
    close_engine(&p);
    return status;
}

/* The part of a decoded token's trunk that shared experts are. */
static double shared_share(const sluice_blueprint *blueprint)
{
    double shared = 0, all = 0;
    for (int32_t i = 0; i < blueprint->count; i++) {
        const sluice_trunk_tensor *tensor = &blueprint->tensors[i];
        if (strncmp(tensor->name, "layers.", 7) != 0) continue;
        all += (double)tensor->bytes;
        if (strstr(tensor->name, "shared_expert")) shared += (double)tensor->bytes;
    }
    return shared / all;
}

/* The mean of measurements before and after what it is for: the speed of a disk that others use
 * too changes from one second to the next. */
static sluice_status measure_disk(const sluice_plan_options *options, const char *path,
                                  sluice_disk_speed *disk, sluice_error *err)
{
    const sluice_disk_options reading = {.io = options->io, .seconds = DISK_SECONDS};
    double before = disk->bytes_per_second;
    SLUICE_TRY(sluice_measure_disk(path, &reading, disk, err));
    if (before > 0) disk->bytes_per_second = (before + disk->bytes_per_second) / 2;
    return SLUICE_OK;
}

/* What decoding gets is measured on the small model and told as a part of what its own files give
 * at the time: files just written are read a sixth faster than others on some disks. */
static sluice_status run_disk(const sluice_plan_options *options,
                              const sluice_plan_subject *subject, const char *dir,
                              const sluice_config *small, sluice_plan_work *work,
                              sluice_disk_speed *disk, sluice_error *err)
{
    sluice_disk_speed here = {0};
    if (subject->container) SLUICE_TRY(measure_disk(options, subject->container, disk, err));
    SLUICE_TRY(measure_disk(options, dir, &here, err));
    work->disk_speed = here.bytes_per_second;
    SLUICE_TRY(run_streaming(options, dir, small, work, err));
    SLUICE_TRY(measure_disk(options, dir, &here, err));
    if (subject->container)
        SLUICE_TRY(measure_disk(options, subject->container, disk, err));
    else
        *disk = here;
    work->disk_speed = disk->bytes_per_second;
    work->stream_speed *= disk->bytes_per_second / here.bytes_per_second;
    return SLUICE_OK;
}

static sluice_status run_all(const sluice_plan_options *options, const sluice_plan_subject *subject,
                             const char *dir, const sluice_config *small, sluice_plan_work *work,
                             sluice_disk_speed *disk, sluice_error *err)
{
    SLUICE_TRY(run_resident(options, dir, small, subject->whole, work, err));
    work->top_k = small->top_k;
    work->record_bytes = (double)subject->blueprint->record.bytes;
    work->shared_share = shared_share(subject->blueprint);
    if (!subject->whole) return SLUICE_OK;
    return run_disk(options, subject, dir, small, work, disk, err);
}

sluice_status sluice_plan_probe(const sluice_plan_options *options,
                                const sluice_plan_subject *subject, sluice_plan_work *work,
                                sluice_disk_speed *disk, sluice_error *err)
{
    const sluice_config *config = &subject->blueprint->config;
    sluice_config small = shrink(config, subject->blueprint->record.bytes, subject->whole);
    char name[48];
    snprintf(name, sizeof name, ".sluice-plan-%ld", (long)getpid());
    char *dir = sluice_file_join(subject->folder, name);
    if (!dir) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = write_model(options, &small, dir, subject->experts, subject->trunk, err);
    if (status == SLUICE_OK) status = run_all(options, subject, dir, &small, work, disk, err);
    sluice_folder_remove_tree(dir, NULL);
    free(dir);
    SLUICE_TRY(status);
    for (int i = 0; i < SLUICE_PLAN_POINTS; i++)
        work->points[i].trunk_seconds *= (double)config->layers / small.layers;
    work->head_seconds *= (double)config->vocab / small.vocab;
    return SLUICE_OK;
}
