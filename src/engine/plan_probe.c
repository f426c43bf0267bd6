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

static sluice_status ignore_logits(void *context, int32_t input, int32_t token, const float *logits)
{
    (void)context;
    (void)input;
    (void)token;
    (void)logits;
    return SLUICE_OK;
}

static sluice_status run_rows(probe *p, int32_t rows, sluice_error *err)
{
    int32_t tokens[64];
    for (int32_t i = 0; i < rows; i++)
        tokens[i] = (int32_t)(((unsigned)p->next++ * 2654435761u >> 8) % (unsigned)p->vocab);
    const sluice_input input = {
        .session = p->session, .tokens = tokens, .count = rows, .logits_from = rows - 1};
    return sluice_engine_step(p->engine, &input, 1, ignore_logits, NULL, err);
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
    work->guesses = (double)stats.lookahead_guessed / (steps * info->layers);
    work->precision = 0;
    if (stats.lookahead_guessed)
        work->precision = (double)stats.lookahead_right / (double)stats.lookahead_guessed;
    return hits < 0 ? 0 : hits;
}

/* With as little in memory as a step needs: how much of the disk's speed decoding gets. */
static sluice_status run_streaming(const sluice_plan_options *options, const char *dir,
                                   const sluice_config *small, uint64_t record_bytes,
                                   const sluice_plan_work *resident, double *stream_speed,
                                   sluice_error *err)
{
    probe p = {.options = options, .vocab = small->vocab};
    sluice_plan_work work = *resident;
    double seconds[STEPS_MAX];
    uint64_t slots = (uint64_t)small->top_k + SLUICE_CACHE_SLOTS_SPARE;
    SLUICE_TRY(open_engine(&p, dir, slots * record_bytes, err));
    sluice_status status = SLUICE_OK;
    for (int i = 0; i < STREAM_WARM_STEPS && status == SLUICE_OK; i++)
        status = run_rows(&p, 1, err);
    sluice_engine_stats_reset(p.engine);
    for (int i = 0; i < STEPS_MAX && status == SLUICE_OK; i++) {
        uint64_t start = sluice_clock_us();
        status = run_rows(&p, 1, err);
        seconds[i] = (double)(sluice_clock_us() - start) * 1e-6;
    }
    if (status == SLUICE_OK) {
        work.layers = small->layers;
        double hits = learn_hits(&p, STEPS_MAX, &work);
        *stream_speed = sluice_plan_stream_speed(&work, hits, median(seconds, STEPS_MAX));
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

static sluice_status run_all(const sluice_plan_options *options, const char *dir,
                             const sluice_config *small, const sluice_blueprint *blueprint,
                             bool whole, sluice_plan_work *work, sluice_disk_speed *disk,
                             sluice_error *err)
{
    const sluice_disk_options reading = {.io = options->io};
    if (whole && !(disk->bytes_per_second > 0))
        SLUICE_TRY(sluice_measure_disk(dir, &reading, disk, err));
    SLUICE_TRY(run_resident(options, dir, small, whole, work, err));
    work->disk_speed = disk->bytes_per_second;
    work->top_k = small->top_k;
    work->record_bytes = (double)blueprint->record.bytes;
    work->shared_share = shared_share(blueprint);
    if (!whole) return SLUICE_OK;
    return run_streaming(options, dir, small, blueprint->record.bytes, work, &work->stream_speed,
                         err);
}

sluice_status sluice_plan_probe(const sluice_plan_options *options, const char *folder,
                                const sluice_blueprint *blueprint, const char *experts,
                                const char *trunk, bool whole, sluice_plan_work *work,
                                sluice_disk_speed *disk, sluice_error *err)
{
    const sluice_config *config = &blueprint->config;
    sluice_config small = shrink(config, blueprint->record.bytes, whole);
    char name[48];
    snprintf(name, sizeof name, ".sluice-plan-%ld", (long)getpid());
    char *dir = sluice_file_join(folder, name);
    if (!dir) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = write_model(options, &small, dir, experts, trunk, err);
    if (status == SLUICE_OK)
        status = run_all(options, dir, &small, blueprint, whole, work, disk, err);
    sluice_folder_remove_tree(dir, NULL);
    free(dir);
    SLUICE_TRY(status);
    for (int i = 0; i < SLUICE_PLAN_POINTS; i++)
        work->points[i].trunk_seconds *= (double)config->layers / small.layers;
    work->head_seconds *= (double)config->vocab / small.vocab;
    return SLUICE_OK;
}
