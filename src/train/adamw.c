/* AdamW (see adamw.h). */
#include "train/adamw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 65536      /* elements of a task: a quarter of a megabyte of each array */
#define WINDOW_BLOCKS 32 /* of a window: 8 MB, as large as reads become faster by */
#define ARRAYS_MAX 3     /* of a window: m, v, g */

static int32_t blocks_of(const sluice_adamw *adamw)
{
    return (int32_t)((adamw->adapter->count + BLOCK - 1) / BLOCK);
}

/* Moments in memory are one window. */
static size_t window_of(uint64_t count, bool on_disk)
{
    const size_t most = (size_t)WINDOW_BLOCKS * BLOCK;
    return on_disk ? sluice_spill_floats(count < most ? (size_t)count : most) : (size_t)count;
}

uint64_t sluice_adamw_bytes(uint64_t count, bool moments_on_disk)
{
    return (uint64_t)window_of(count, moments_on_disk) * (moments_on_disk ? ARRAYS_MAX : 2) *
           sizeof(float);
}

static sluice_status take_parts(sluice_adamw *adamw, const char *spill_dir, sluice_error *err)
{
    void *memory;
    SLUICE_TRY(sluice_memory_new(adamw->adapter->budget, adamw->bytes, "optimiser", &memory, err));
    adamw->memory = memory;
    adamw->sums = calloc((size_t)blocks_of(adamw), sizeof *adamw->sums);
    if (!adamw->sums) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the optimiser");
    if (!spill_dir) return SLUICE_OK;
    return sluice_spill_new(spill_dir, "the file of the optimiser's moments",
                            2 * sluice_spill_floats(adamw->adapter->count), &adamw->spill, err);
}

sluice_status sluice_adamw_new(sluice_adapter *adapter, sluice_gradients *gradients,
                               const char *spill_dir, sluice_pool *pool, sluice_adamw *out,
                               sluice_error *err)
{
    *out = (sluice_adamw){.adapter = adapter,
                          .gradients = gradients,
                          .pool = pool,
                          .window = window_of(adapter->count, spill_dir != NULL),
                          .bytes = (size_t)sluice_adamw_bytes(adapter->count, spill_dir != NULL),
                          .spill = {.file = -1}};
    const sluice_status status = take_parts(out, spill_dir, err);
    if (status != SLUICE_OK) sluice_adamw_free(out);
    return status;
}

void sluice_adamw_free(sluice_adamw *adamw)
{
    if (adamw->memory) {
        sluice_memory_free(adamw->adapter->budget, adamw->memory, adamw->bytes, "optimiser");
        sluice_spill_free(&adamw->spill);
    }
    free(adamw->sums);
    *adamw = (sluice_adamw){0};
}

/* Elements [begin, end) in memory. */
typedef struct window {
    const sluice_adamw *adamw;
    size_t begin, end;
    float *g, *m, *v; /* of element begin */
    float rate, shrink, m_correction, v_correction;
} window;

/* The window that begins there. moments: they are wanted, not the gradients alone. */
static sluice_status open_window(const sluice_adamw *adamw, size_t begin, bool moments, window *out,
                                 sluice_error *err)
{
    const size_t left = adamw->adapter->count - begin;
    out->adamw = adamw;
    out->begin = begin;
    out->end = begin + (left < adamw->window ? left : adamw->window);
    out->m = adamw->memory;
    out->v = out->m + adamw->window;
    if (adamw->gradients) {
        out->g = out->v + adamw->window;
        SLUICE_TRY(sluice_gradients_read(adamw->gradients, begin, out->end, out->g, err));
    } else {
        out->g = adamw->adapter->gradients + begin;
    }
    if (!moments || adamw->spill.file < 0) return SLUICE_OK;
    const uint64_t second = sluice_spill_floats(adamw->adapter->count);
    SLUICE_TRY(sluice_spill_read(&adamw->spill, begin, out->end - begin, out->m, err));
    return sluice_spill_read(&adamw->spill, second + begin, out->end - begin, out->v, err);
}

static sluice_status keep_window(const window *w, sluice_error *err)
{
    const sluice_adamw *adamw = w->adamw;
    const uint64_t second = sluice_spill_floats(adamw->adapter->count);
    if (adamw->spill.file < 0) return SLUICE_OK;
    SLUICE_TRY(sluice_spill_write(&adamw->spill, w->begin, w->end - w->begin, w->m, err));
    return sluice_spill_write(&adamw->spill, second + w->begin, w->end - w->begin, w->v, err);
}

static int32_t blocks_of_window(const window *w)
{
    return (int32_t)((w->end - w->begin + BLOCK - 1) / BLOCK);
}

/* [*begin, *end) of the window. */
static void block_range(const window *w, int32_t block, size_t *begin, size_t *end)
{
    *begin = (size_t)block * BLOCK;
    *end = *begin + BLOCK < w->end - w->begin ? *begin + BLOCK : w->end - w->begin;
}

static void norm_task(void *context, int32_t task, int worker)
{
    const window *w = context;
    size_t begin, end;
    double sum = 0.0;
    (void)worker;
    block_range(w, task, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const double g = (double)w->g[i];
        sum += g * g;
    }
    w->adamw->sums[w->begin / BLOCK + (size_t)task] = sum;
}

sluice_status sluice_adamw_norm(sluice_adamw *adamw, double *norm, sluice_error *err)
{
    double sum = 0.0;
    for (size_t at = 0; at < adamw->adapter->count; at += adamw->window) {
        window w;
        SLUICE_TRY(open_window(adamw, at, false, &w, err));
        sluice_pool_run(adamw->pool, norm_task, &w, blocks_of_window(&w));
    }
    for (int32_t i = 0; i < blocks_of(adamw); i++)
        sum += adamw->sums[i];
    *norm = sqrt(sum);
    return SLUICE_OK;
}

static void step_task(void *context, int32_t task, int worker)
{
    const window *w = context;
    const sluice_adamw *a = w->adamw;
    float *values = a->adapter->values + w->begin;
    size_t begin, end;
    (void)worker;
    block_range(w, task, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const float g = w->g[i] * w->shrink;
        const float m = w->m[i] = a->beta1 * w->m[i] + (1.0f - a->beta1) * g;
        const float v = w->v[i] = a->beta2 * w->v[i] + (1.0f - a->beta2) * g * g;
        const float value = values[i];
        const float move = m * w->m_correction / (sqrtf(v * w->v_correction) + a->epsilon);
        values[i] = value - w->rate * (a->decay * value + move);
    }
    memset(w->g + begin, 0, (end - begin) * sizeof(float));
}

sluice_status sluice_adamw_step(sluice_adamw *adamw, double rate, double norm, sluice_error *err)
{
    adamw->step++;
    const double clip = (double)adamw->clip;
    window w = {.rate = (float)rate, .shrink = 1.0f};
    if (clip > 0.0 && norm > clip) w.shrink = (float)(clip / norm);
    w.m_correction = (float)(1.0 / (1.0 - pow((double)adamw->beta1, adamw->step)));
    w.v_correction = (float)(1.0 / (1.0 - pow((double)adamw->beta2, adamw->step)));
    for (size_t at = 0; at < adamw->adapter->count; at += adamw->window) {
        SLUICE_TRY(open_window(adamw, at, true, &w, err));
        sluice_pool_run(adamw->pool, step_task, &w, blocks_of_window(&w));
        SLUICE_TRY(keep_window(&w, err));
    }
    if (adamw->gradients) sluice_gradients_clear(adamw->gradients);
    return SLUICE_OK;
}

sluice_status sluice_adamw_moments(const sluice_adamw *adamw, bool change, sluice_adamw_piece_fn fn,
                                   void *context, sluice_error *err)
{
    const size_t count = adamw->adapter->count;
    if (adamw->spill.file < 0) {
        SLUICE_TRY(fn(context, adamw->memory, count, err));
        return fn(context, adamw->memory + adamw->window, count, err);
    }
    for (int second = 0; second < 2; second++)
        for (size_t at = 0; at < count; at += adamw->window) {
            const size_t n = count - at < adamw->window ? count - at : adamw->window;
            const uint64_t place = (second ? sluice_spill_floats(count) : 0) + at;
            if (!change) SLUICE_TRY(sluice_spill_read(&adamw->spill, place, n, adamw->memory, err));
            SLUICE_TRY(fn(context, adamw->memory, n, err));
            if (change) SLUICE_TRY(sluice_spill_write(&adamw->spill, place, n, adamw->memory, err));
        }
    return SLUICE_OK;
}
