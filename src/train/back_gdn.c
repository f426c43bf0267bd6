/* The Gated DeltaNet block: norm, projections, short convolution, delta rule, gated norm, out; and
 * its gradient. The delta rule itself is back_delta.c's; a task of it is one key head of one
 * segment with the value heads that share it, in order. */
#include "train/back.h"

#include <math.h>
#include <string.h>

typedef struct gdn_job {
    const sluice_back *back;
    const sluice_gdn_weights *w;
    const sluice_segment *segments;
    int32_t n_segments;
} gdn_job;

/* The segment that a row is in. */
static const sluice_segment *segment_of(const gdn_job *job, int32_t row)
{
    const sluice_segment *segment = job->segments;
    while (row >= segment->row + segment->count)
        segment++;
    return segment;
}

static void mix_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                     float *scratch)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &back->geometry;
    const sluice_back_gdn_kept *kept = &back->gdn;
    const int64_t channels = sluice_gdn_channels(g);
    const float *inputs[SLUICE_CONV_WIDTH_MAX];
    memset(scratch, 0, (size_t)channels * sizeof *scratch);
    for (int64_t row = begin; row < end; row++) {
        const int64_t first = segment_of(job, (int32_t)row)->row;
        for (int64_t i = 0; i < g->conv_width; i++) {
            const int64_t from = row - (g->conv_width - 1) + i;
            inputs[i] = from < first ? scratch : kept->qkv + from * channels;
        }
        float *out = kept->mixed + row * channels;
        back->ops->conv(inputs, 1, job->w->conv, g->conv_width, (int32_t)channels, out, channels);
        for (int32_t h = 0; h < 2 * g->gdn_k_heads; h++)
            back->ops->l2norm(out + sluice_gdn_channel(g, h),
                              h < g->gdn_k_heads ? 1.0f / sqrtf((float)g->gdn_k_dim) : 1.0f,
                              g->gdn_k_dim);
        const int64_t at = row * g->gdn_v_heads;
        back->ops->gdn_gates(kept->a + at, kept->b + at, job->w->decay, job->w->dt_bias,
                             g->gdn_v_heads, kept->g + at, kept->beta + at);
    }
}

/* y = x f / sqrt(sum(x^2) + 1e-6), in place of dy. */
static void l2norm_back(const float *x, float factor, int32_t n, float *dy)
{
    double squares = 0.0, dot = 0.0;
    for (int32_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
        dot += (double)x[i] * (double)dy[i];
    }
    const double r = 1.0 / sqrt(squares + 1e-6);
    const float scale = factor * (float)r, back = (float)(r * r * dot);
    for (int32_t i = 0; i < n; i++)
        dy[i] = scale * (dy[i] - back * x[i]);
}

/* From the gradient of what the delta rule reads to that of the convolution's sums (d_mixed), and
 * those of a and b. */
static void mix_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                          float *scratch)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &back->geometry;
    const sluice_back_gdn_kept *kept = &back->gdn;
    const int64_t channels = sluice_gdn_channels(g), width = g->conv_width;
    float *sum = scratch, *open = scratch + channels;
    for (int64_t row = begin; row < end; row++) {
        const int64_t first = segment_of(job, (int32_t)row)->row;
        float *d = kept->d_mixed + row * channels;
        memset(sum, 0, (size_t)channels * sizeof *sum);
        for (int64_t i = 0; i < width; i++) {
            const int64_t from = row - (width - 1) + i;
            if (from < first) continue;
            for (int64_t c = 0; c < channels; c++)
                sum[c] += job->w->conv[c * width + i] * kept->qkv[from * channels + c];
        }
        memcpy(open, sum, (size_t)channels * sizeof *open);
        back->ops->sigmoid(open, (int32_t)channels);
        for (int64_t c = 0; c < channels; c++)
            sum[c] *= open[c]; /* SiLU */
        for (int32_t h = 0; h < 2 * g->gdn_k_heads; h++)
            l2norm_back(sum + sluice_gdn_channel(g, h),
                        h < g->gdn_k_heads ? 1.0f / sqrtf((float)g->gdn_k_dim) : 1.0f, g->gdn_k_dim,
                        d + sluice_gdn_channel(g, h));
        for (int64_t c = 0; c < channels; c++)
            d[c] *= open[c] + sum[c] * (1.0f - open[c]);
        for (int64_t h = 0; h < g->gdn_v_heads; h++) {
            const int64_t at = row * g->gdn_v_heads + h;
            const float step = kept->a[at] + job->w->dt_bias[h];
            kept->d_a[at] *= job->w->decay[h] / (1.0f + expf(-step));
            kept->d_b[at] *= kept->beta[at] * (1.0f - kept->beta[at]);
        }
    }
}

static void conv_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                           float *scratch)
{
    const gdn_job *job = context;
    const sluice_back_gdn_kept *kept = &back->gdn;
    const int64_t channels = sluice_gdn_channels(&back->geometry);
    const int64_t width = back->geometry.conv_width;
    (void)scratch;
    for (int64_t row = begin; row < end; row++) {
        const sluice_segment *segment = segment_of(job, (int32_t)row);
        const int64_t last = segment->row + segment->count - 1;
        float *d = kept->d_qkv + row * channels;
        memset(d, 0, (size_t)channels * sizeof *d);
        for (int64_t i = 0; i < width; i++) {
            const int64_t to = row + (width - 1) - i;
            if (to > last) continue;
            for (int64_t c = 0; c < channels; c++)
                d[c] += job->w->conv[c * width + i] * kept->d_mixed[to * channels + c];
        }
    }
}

static void head_forward(void *context, int32_t task, int worker)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &job->back->geometry;
    const sluice_back_gdn_kept *kept = &job->back->gdn;
    const sluice_segment *segment = &job->segments[task / g->gdn_v_heads];
    const int64_t gates = (int64_t)segment->row * g->gdn_v_heads;
    float *memory = job->back->workers[worker].memory;
    sluice_gdn_head head = sluice_gdn_head_of(
        g, task % g->gdn_v_heads, kept->mixed + (int64_t)segment->row * sluice_gdn_channels(g),
        kept->g + gates, kept->beta + gates, kept->o + gates * g->gdn_v_dim);
    head.s = memory + (sluice_gdn_scratch(g->gdn_k_dim, g->gdn_v_dim) + 15) / 16 * 16;
    head.scratch = memory;
    memset(head.s, 0, (size_t)g->gdn_k_dim * (size_t)g->gdn_v_dim * sizeof *head.s);
    sluice_gdn_head_run(job->back->ops, head, 0, segment->count);
}

static void head_back(void *context, int32_t task, int worker)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &job->back->geometry;
    const sluice_back_gdn_kept *kept = &job->back->gdn;
    const sluice_segment *segment = &job->segments[task / g->gdn_k_heads];
    const int32_t key = task % g->gdn_k_heads, group = g->gdn_v_heads / g->gdn_k_heads;
    const int64_t first = (int64_t)segment->row * sluice_gdn_channels(g);
    const int64_t q = first + sluice_gdn_channel(g, key);
    const int64_t k = first + sluice_gdn_channel(g, g->gdn_k_heads + key);
    for (int32_t h = key * group; h < (key + 1) * group; h++) {
        const int64_t v = first + sluice_gdn_channel(g, 2 * g->gdn_k_heads + h);
        const int64_t gates = (int64_t)segment->row * g->gdn_v_heads + h;
        const sluice_back_delta delta = {
            .q = kept->mixed + q,
            .k = kept->mixed + k,
            .v = kept->mixed + v,
            .qk_row = sluice_gdn_channels(g),
            .g = kept->g + gates,
            .beta = kept->beta + gates,
            .gate_row = g->gdn_v_heads,
            .d_o = kept->d_out + gates * g->gdn_v_dim,
            .o_row = (int64_t)g->gdn_v_heads * g->gdn_v_dim,
            .d_q = kept->d_mixed + q,
            .d_k = kept->d_mixed + k,
            .d_v = kept->d_mixed + v,
            .d_g = kept->d_a + gates,
            .d_beta = kept->d_b + gates,
            .count = segment->count,
            .scratch = job->back->workers[worker].memory,
        };
        sluice_back_delta_run(job->back, &delta);
    }
}

static void norm_rows(const sluice_back *back, void *context, int32_t begin, int32_t end,
                      float *scratch)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &back->geometry;
    const int64_t dim = g->gdn_v_dim;
    (void)scratch;
    for (int64_t h = (int64_t)begin * g->gdn_v_heads; h < (int64_t)end * g->gdn_v_heads; h++) {
        memcpy(back->gdn.out + h * dim, back->gdn.o + h * dim, (size_t)dim * sizeof(float));
        back->ops->rmsnorm_gated(back->gdn.out + h * dim, job->w->out_norm, back->gdn.z + h * dim,
                                 g->rms_eps, (int32_t)dim);
    }
}

/* y = norm(o) w silu(z): d_out becomes the gradient of o. */
static void norm_rows_back(const sluice_back *back, void *context, int32_t begin, int32_t end,
                           float *scratch)
{
    const gdn_job *job = context;
    const sluice_geometry *g = &back->geometry;
    const sluice_back_gdn_kept *kept = &back->gdn;
    const int64_t dim = g->gdn_v_dim;
    for (int64_t h = (int64_t)begin * g->gdn_v_heads; h < (int64_t)end * g->gdn_v_heads; h++) {
        const float *z = kept->z + h * dim, *o = kept->o + h * dim;
        float *dy = kept->d_out + h * dim, *dz = kept->d_z + h * dim;
        double squares = 0.0;
        for (int64_t d = 0; d < dim; d++)
            squares += (double)o[d] * (double)o[d];
        const float r = (float)(1.0 / sqrt(squares / (double)dim + (double)g->rms_eps));
        memcpy(scratch, z, (size_t)dim * sizeof *scratch);
        back->ops->sigmoid(scratch, (int32_t)dim);
        for (int64_t d = 0; d < dim; d++) {
            const float silu = z[d] * scratch[d];
            dz[d] =
                dy[d] * o[d] * r * job->w->out_norm[d] * (scratch[d] + silu * (1.0f - scratch[d]));
            scratch[d] = dy[d] * silu;
        }
        sluice_back_norm_row(o, job->w->out_norm, g->rms_eps, (int32_t)dim, scratch, false, dy);
    }
}

void sluice_back_gdn_forward(sluice_back *back, const sluice_gdn_weights *w,
                             const sluice_segment *segments, int32_t n_segments, int32_t n,
                             const float *h, float *out)
{
    const sluice_geometry *g = &back->geometry;
    sluice_back_gdn_kept *kept = &back->gdn;
    gdn_job job = {back, w, segments, n_segments};
    sluice_back_norm_forward(back, h, w->norm, n, kept->x);
    sluice_back_linear_forward(back, &w->qkv, kept->x, n, kept->qkv);
    sluice_back_linear_forward(back, &w->z, kept->x, n, kept->z);
    sluice_back_linear_forward(back, &w->a, kept->x, n, kept->a);
    sluice_back_linear_forward(back, &w->b, kept->x, n, kept->b);
    sluice_back_rows(back, n, mix_rows, &job);
    sluice_pool_run(back->pool, head_forward, &job, n_segments * g->gdn_v_heads);
    sluice_back_rows(back, n, norm_rows, &job);
    sluice_back_linear_forward(back, &w->out, kept->out, n, out);
    const size_t count = (size_t)n * (size_t)g->hidden;
    for (size_t i = 0; i < count; i++)
        out[i] += h[i];
}

void sluice_back_gdn(sluice_back *back, const sluice_gdn_weights *w,
                     const sluice_back_gdn_entries *entries, const sluice_segment *segments,
                     int32_t n_segments, int32_t n, const float *h, float *dh)
{
    const sluice_geometry *g = &back->geometry;
    sluice_back_gdn_kept *kept = &back->gdn;
    gdn_job job = {back, w, segments, n_segments};
    const size_t rows = (size_t)n;
    memset(kept->d_out, 0,
           rows * (size_t)g->gdn_v_heads * (size_t)g->gdn_v_dim * sizeof *kept->d_out);
    sluice_back_linear(back, &w->out, entries->out, kept->out, dh, n, kept->d_out);
    sluice_back_rows(back, n, norm_rows_back, &job);
    memset(kept->d_mixed, 0, rows * (size_t)sluice_gdn_channels(g) * sizeof *kept->d_mixed);
    sluice_pool_run(back->pool, head_back, &job, n_segments * g->gdn_k_heads);
    sluice_back_rows(back, n, mix_rows_back, &job);
    sluice_back_rows(back, n, conv_rows_back, &job);
    memset(back->d_x, 0, rows * (size_t)g->hidden * sizeof *back->d_x);
    sluice_back_linear(back, &w->qkv, entries->qkv, kept->x, kept->d_qkv, n, back->d_x);
    sluice_back_linear(back, &w->z, entries->z, kept->x, kept->d_z, n, back->d_x);
    sluice_back_linear(back, &w->a, entries->a, kept->x, kept->d_a, n, back->d_x);
    sluice_back_linear(back, &w->b, entries->b, kept->x, kept->d_b, n, back->d_x);
    sluice_back_norm(back, h, w->norm, back->d_x, n, dh);
}
