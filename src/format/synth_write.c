/* See synth_write.h. A task is one record or one tensor: filled, checksummed and written by one
 * thread, so that as many direct writes are in flight as there are threads. What a task writes
 * depends on its number and the seed alone. */
#include "format/synth_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/memory.h"
#include "format/safetensors_writer.h"
#include "os/file.h"
#include "os/topology.h"

#define REPORT_EVERY_US 100000
#define PIECE_BYTES ((size_t)8 << 20) /* of a trunk tensor, filled and written at a time */
#define THREADS_MIN 4                 /* writes in flight that keep a disk busy */
#define THREADS_DEFAULT_MAX 16

typedef struct file_work {
    sluice_synth_job *job;
    sluice_safetensors_writer *writer;
    int32_t layer;
    uint32_t *crc32c;
} file_work;

static size_t page_up(size_t bytes)
{
    return (bytes + SLUICE_CONTAINER_ALIGN - 1) & ~(size_t)(SLUICE_CONTAINER_ALIGN - 1);
}

static sluice_status add_source(sluice_synth_job *job, sluice_weight_format format, float variance,
                                sluice_error *err)
{
    for (int i = 0; i < job->n_sources; i++)
        if (!memcmp(&job->sources[i].format, &format, sizeof format) &&
            job->sources[i].variance == variance)
            return SLUICE_OK;
    if (job->n_sources == SLUICE_SYNTH_SOURCES_MAX)
        return sluice_fail(err, SLUICE_INTERNAL, "more than %d kinds of random weights",
                           SLUICE_SYNTH_SOURCES_MAX);
    sluice_random_weights *source = &job->sources[job->n_sources];
    uint64_t seed = job->options->seed + (uint64_t)job->n_sources;
    SLUICE_TRY(sluice_random_weights_new(format, variance, seed, source, err));
    job->n_sources++;
    return SLUICE_OK;
}

static const sluice_random_weights *source_of(const sluice_synth_job *job,
                                              sluice_weight_format format, float variance)
{
    int i = 0;
    while (memcmp(&job->sources[i].format, &format, sizeof format) ||
           job->sources[i].variance != variance)
        i++;
    return &job->sources[i];
}

/* A product with an input of variance 1 has variance 1; embeddings themselves have it. */
static float tensor_variance(const sluice_trunk_tensor *tensor)
{
    return strcmp(tensor->name, "embed_tokens.weight") == 0 ? 1.0f : 1.0f / (float)tensor->cols;
}

static sluice_status make_sources(sluice_synth_job *job, sluice_error *err)
{
    const sluice_blueprint *plan = job->plan;
    SLUICE_TRY(add_source(job, plan->expert_format, 1.0f / (float)plan->config.hidden, err));
    SLUICE_TRY(add_source(job, plan->expert_format, 1.0f / (float)plan->config.expert_width, err));
    for (int32_t i = 0; i < plan->count; i++)
        if (plan->tensors[i].packed)
            SLUICE_TRY(
                add_source(job, plan->tensors[i].format, tensor_variance(&plan->tensors[i]), err));
    return SLUICE_OK;
}

static size_t buffer_size(const sluice_blueprint *plan)
{
    size_t bytes = PIECE_BYTES > plan->record.bytes ? PIECE_BYTES : (size_t)plan->record.bytes;
    for (int32_t i = 0; i < plan->count; i++) {
        const sluice_trunk_tensor *tensor = &plan->tensors[i];
        size_t least = tensor->packed ? sluice_weight_panel_bytes(tensor->format, tensor->cols)
                                      : (size_t)tensor->bytes;
        if (page_up(least) > bytes) bytes = page_up(least);
    }
    return bytes;
}

static sluice_status start(sluice_synth_job *job, sluice_error *err)
{
    int threads = job->options->threads;
    if (threads < 0 || threads > SLUICE_PROCESSORS_MAX)
        return sluice_fail(err, SLUICE_USAGE, "%d threads are not between 1 and %d", threads,
                           SLUICE_PROCESSORS_MAX);
    if (!threads) {
        sluice_topology topology;
        sluice_topology_get("", &topology);
        threads = topology.threads < THREADS_MIN ? THREADS_MIN : topology.threads;
        if (threads > THREADS_DEFAULT_MAX) threads = THREADS_DEFAULT_MAX;
    }
    SLUICE_TRY(make_sources(job, err));
    SLUICE_TRY(sluice_pool_new(threads, NULL, &job->pool, err));
    job->buffers = calloc((size_t)threads, sizeof *job->buffers);
    if (!job->buffers) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for buffers");
    job->buffer_bytes = buffer_size(job->plan);
    for (; job->threads < threads; job->threads++) {
        void *memory;
        SLUICE_TRY(sluice_memory_new(NULL, job->buffer_bytes, "write buffers", &memory, err));
        job->buffers[job->threads] = memory;
    }
    job->start_us = sluice_clock_us();
    return SLUICE_OK;
}

sluice_status sluice_synth_job_start(sluice_synth_job *job, sluice_error *err)
{
    pthread_mutex_init(&job->lock, NULL);
    sluice_status status = start(job, err);
    if (status != SLUICE_OK) sluice_synth_job_end(job);
    return status;
}

void sluice_synth_job_end(sluice_synth_job *job)
{
    for (int i = 0; i < job->threads; i++)
        sluice_memory_free(NULL, job->buffers[i], job->buffer_bytes, "write buffers");
    free(job->buffers);
    if (job->pool) sluice_pool_free(job->pool);
    for (int i = 0; i < job->n_sources; i++)
        sluice_random_weights_free(&job->sources[i]);
    pthread_mutex_destroy(&job->lock);
}

bool sluice_synth_report(sluice_synth_job *job, bool last)
{
    uint64_t now = sluice_clock_us();
    if (!job->options->progress || (!last && now - job->shown_us < REPORT_EVERY_US)) return true;
    job->shown_us = now;
    sluice_synth_progress progress = {.bytes_done = atomic_load(&job->bytes_done),
                                      .bytes_total = job->plan->bytes,
                                      .seconds = (double)(now - job->start_us) * 1e-6,
                                      .seconds_left = -1};
    if (progress.seconds > 0)
        progress.bytes_per_second = (double)progress.bytes_done / progress.seconds;
    if (progress.bytes_done)
        progress.seconds_left =
            (double)(progress.bytes_total - progress.bytes_done) / progress.bytes_per_second;
    return job->options->progress(job->options->context, &progress);
}

static void fail_job(sluice_synth_job *job, sluice_status status, const sluice_error *err)
{
    pthread_mutex_lock(&job->lock);
    if (!atomic_load(&job->failed)) {
        job->status = status;
        job->err = *err;
        atomic_store(&job->failed, true);
    }
    pthread_mutex_unlock(&job->lock);
}

/* The end of each task: counts, and lets the caller's thread report. */
static void task_done(sluice_synth_job *job, int worker, sluice_status status, uint64_t bytes,
                      sluice_error *err)
{
    atomic_fetch_add(&job->bytes_done, bytes);
    if (status == SLUICE_OK && worker == 0 && !sluice_synth_report(job, false))
        status = sluice_fail(err, SLUICE_CANCELLED, "stopped by the caller");
    if (status != SLUICE_OK) fail_job(job, status, err);
}

static sluice_status put(const file_work *work, uint64_t offset, const void *data, size_t bytes,
                         uint32_t *crc32c, sluice_error *err)
{
    *crc32c = sluice_crc32c(*crc32c, data, bytes);
    return sluice_safetensors_writer_put(work->writer, offset, data, bytes, err);
}

static sluice_status write_record(const file_work *work, int32_t expert, unsigned char *buffer,
                                  sluice_error *err)
{
    const sluice_blueprint *plan = work->job->plan;
    const sluice_config *config = &plan->config;
    sluice_weight part[3];
    sluice_record_weights(&plan->record, config, buffer, &part[0], &part[1], &part[2]);
    sluice_rng rng;
    sluice_rng_seed(&rng,
                    work->job->options->seed ^ ((uint64_t)work->layer << 32 | (uint64_t)expert));
    size_t end = 0;
    for (int i = 0; i < 3; i++) {
        const sluice_random_weights *source =
            source_of(work->job, part[i].format, 1.0f / (float)part[i].cols);
        end = (size_t)((const unsigned char *)part[i].data - buffer);
        SLUICE_TRY(sluice_random_weights_fill(
            source, &rng, part[i].rows, part[i].cols, 0,
            (part[i].rows + SLUICE_PANEL_ROWS - 1) / SLUICE_PANEL_ROWS, buffer + end, err));
        end += sluice_weight_bytes(part[i].format, part[i].rows, part[i].cols);
    }
    memset(buffer + end, 0, (size_t)plan->record.bytes - end);
    return put(work, (uint64_t)expert * plan->record.bytes, buffer, (size_t)plan->record.bytes,
               &work->crc32c[expert], err);
}

static void record_task(void *context, int32_t expert, int worker)
{
    file_work *work = context;
    sluice_error err = {0};
    if (atomic_load(&work->job->failed)) return;
    sluice_status status = write_record(work, expert, work->job->buffers[worker], &err);
    task_done(work->job, worker, status, work->job->plan->record.bytes, &err);
}

/* What the reader expects of vectors: norms are multipliers, decays those of the reference's
 * initialisation (A in 1 .. 16, dt_bias 1), the convolution keeps the variance. */
static void fill_vector(const sluice_trunk_tensor *tensor, sluice_rng *rng, float *out)
{
    size_t count = (size_t)tensor->rows * (size_t)tensor->cols;
    bool decay = strstr(tensor->name, "A_log") != NULL,
         conv = strstr(tensor->name, "conv1d") != NULL;
    float a = sqrtf(3.0f / (float)tensor->cols);
    for (size_t i = 0; i < count; i++) {
        float unit = (float)sluice_rng_unit(rng);
        out[i] = decay ? logf(1 + 15 * unit) : conv ? a * (2 * unit - 1) : 1.0f;
    }
}

static sluice_status write_matrix(const file_work *work, const sluice_trunk_tensor *tensor,
                                  sluice_rng *rng, unsigned char *buffer, uint32_t *crc32c,
                                  sluice_error *err)
{
    const sluice_random_weights *source =
        source_of(work->job, tensor->format, tensor_variance(tensor));
    size_t panel_bytes = sluice_weight_panel_bytes(tensor->format, tensor->cols), pending = 0;
    int32_t panels = (tensor->rows + SLUICE_PANEL_ROWS - 1) / SLUICE_PANEL_ROWS, panel = 0;
    uint64_t at = tensor->offset;
    while (panel < panels || pending) {
        int32_t n = (int32_t)((work->job->buffer_bytes - pending) / panel_bytes);
        if (n > panels - panel) n = panels - panel;
        SLUICE_TRY(sluice_random_weights_fill(source, rng, tensor->rows, tensor->cols, panel, n,
                                              buffer + pending, err));
        panel += n;
        pending += (size_t)n * panel_bytes;
        /* Whole pages now, the rest with the next piece; padding at the end. */
        size_t bytes = pending - pending % SLUICE_CONTAINER_ALIGN;
        if (panel == panels) {
            bytes = page_up(pending);
            memset(buffer + pending, 0, bytes - pending);
            pending = bytes;
        }
        SLUICE_TRY(put(work, at, buffer, bytes, crc32c, err));
        at += bytes;
        pending -= bytes;
        memmove(buffer, buffer + bytes, pending);
    }
    return SLUICE_OK;
}

static void tensor_task(void *context, int32_t task, int worker)
{
    file_work *work = context;
    sluice_synth_job *job = work->job;
    int32_t index = job->plan->order[task];
    const sluice_trunk_tensor *tensor = &job->plan->tensors[index];
    unsigned char *buffer = job->buffers[worker];
    sluice_error err = {0};
    sluice_status status;
    if (atomic_load(&job->failed)) return;
    sluice_rng rng;
    sluice_rng_seed(&rng, ~job->options->seed ^ (uint64_t)index);
    if (tensor->packed) {
        status = write_matrix(work, tensor, &rng, buffer, &work->crc32c[index], &err);
    } else {
        fill_vector(tensor, &rng, (float *)(void *)buffer);
        status =
            put(work, tensor->offset, buffer, (size_t)tensor->bytes, &work->crc32c[index], &err);
    }
    task_done(job, worker, status, sluice_trunk_file_bytes(tensor), &err);
}

/* All tasks of one file; trunk is the layer -1. */
static sluice_status write_file(sluice_synth_job *job, int32_t layer, const char *name,
                                uint32_t *crc32c, sluice_error *err)
{
    const sluice_blueprint *plan = job->plan;
    bool trunk = layer < 0;
    uint64_t data_bytes = trunk ? plan->trunk_bytes : plan->layer_bytes;
    size_t header_bytes =
        (size_t)((trunk ? plan->trunk_file_bytes : plan->layer_file_bytes) - data_bytes);
    char *path = sluice_file_join(job->dir, name), *header = NULL;
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    file_work work = {.job = job, .layer = layer, .crc32c = crc32c};
    sluice_status status =
        sluice_safetensors_writer_open(path, header_bytes, data_bytes, &work.writer, err);
    free(path);
    SLUICE_TRY(status);
    sluice_safetensors_writer_direct(work.writer);
    sluice_pool_run(job->pool, trunk ? tensor_task : record_task, &work,
                    trunk ? plan->count : plan->config.experts);
    if (atomic_load(&job->failed)) {
        sluice_safetensors_writer_abandon(work.writer);
        return sluice_fail(err, job->status, "%s", job->err.detail);
    }
    status = trunk ? sluice_blueprint_trunk_header(plan, "random", job->fingerprint, crc32c,
                                                   &header, &header_bytes, err)
                   : sluice_blueprint_layer_header(plan, layer, job->fingerprint, crc32c, &header,
                                                   &header_bytes, err);
    if (status != SLUICE_OK) {
        sluice_safetensors_writer_abandon(work.writer);
        return status;
    }
    status = sluice_safetensors_writer_finish(work.writer, header, header_bytes, err);
    free(header);
    if (status == SLUICE_OK) atomic_fetch_add(&job->bytes_done, header_bytes);
    return status;
}

static sluice_status write_checked(sluice_synth_job *job, int32_t layer, const char *name,
                                   int32_t count, sluice_error *err)
{
    uint32_t *crc32c = calloc((size_t)count, sizeof *crc32c);
    if (!crc32c) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for checksums");
    sluice_status status = write_file(job, layer, name, crc32c, err);
    free(crc32c);
    return status;
}

sluice_status sluice_synth_write_trunk(sluice_synth_job *job, sluice_error *err)
{
    return write_checked(job, -1, SLUICE_TRUNK_FILE, job->plan->count, err);
}

sluice_status sluice_synth_write_layer(sluice_synth_job *job, int32_t layer, sluice_error *err)
{
    char name[32];
    sluice_container_expert_file(layer, name, sizeof name);
    return write_checked(job, layer, name, job->plan->config.experts, err);
}
