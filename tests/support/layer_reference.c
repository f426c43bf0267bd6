/* See layer_reference.h. Plain loops, and nothing else. */
#include "support/layer_reference.h"

#include <math.h>
#include <stdlib.h>

void reference_linear(const float *w, int32_t rows, int32_t cols, const double *x, double *y)
{
    for (int32_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (int32_t c = 0; c < cols; c++)
            sum += (double)w[(size_t)r * (size_t)cols + (size_t)c] * x[c];
        y[r] = sum;
    }
}

void reference_expert(const float *gate, const float *up, const float *down, int32_t width,
                      int32_t hidden, const double *x, double *y)
{
    double *g = reference_zeros((size_t)width), *u = reference_zeros((size_t)width);
    reference_linear(gate, width, hidden, x, g);
    reference_linear(up, width, hidden, x, u);
    for (int32_t i = 0; i < width; i++)
        g[i] = reference_silu(g[i]) * u[i];
    reference_linear(down, hidden, width, g, y);
    free(g);
    free(u);
}

void reference_attention_run(const sluice_geometry *g, const reference_attention *w,
                             int32_t positions, double *h)
{
    const int32_t dim = g->head_dim, keys = g->kv_heads * dim, group = g->heads / g->kv_heads;
    double *x = reference_zeros((size_t)g->hidden),
           *q = reference_zeros((size_t)g->heads * (size_t)dim * 2);
    double *k = reference_zeros((size_t)positions * (size_t)keys),
           *v = reference_zeros((size_t)positions * (size_t)keys);
    double *out = reference_zeros((size_t)g->heads * (size_t)dim),
           *y = reference_zeros((size_t)g->hidden);
    for (int32_t t = 0; t < positions; t++) {
        double *row = h + (size_t)t * (size_t)g->hidden, *k_row = k + (size_t)t * (size_t)keys;
        reference_rmsnorm(row, w->norm, g->rms_eps, g->hidden, x);
        reference_linear(w->q, g->heads * dim * 2, g->hidden, x, q);
        reference_linear(w->k, keys, g->hidden, x, k_row);
        reference_linear(w->v, keys, g->hidden, x, v + (size_t)t * (size_t)keys);
        for (int32_t i = 0; i < g->kv_heads; i++) {
            reference_rmsnorm(k_row + i * dim, w->k_norm, g->rms_eps, dim, k_row + i * dim);
            reference_rotate(g, t, k_row + i * dim);
        }
        for (int32_t i = 0; i < g->heads; i++) {
            double *query = q + (size_t)i * (size_t)dim * 2, *gate = query + dim;
            reference_rmsnorm(query, w->q_norm, g->rms_eps, dim, query);
            reference_rotate(g, t, query);
            reference_attend(query, k + i / group * dim, v + i / group * dim, t + 1, keys, dim,
                             out + i * dim);
            for (int32_t d = 0; d < dim; d++)
                out[i * dim + d] *= reference_sigmoid(gate[d]);
        }
        reference_linear(w->o, g->hidden, g->heads * dim, out, y);
        for (int32_t i = 0; i < g->hidden; i++)
            row[i] += y[i];
    }
    free(x);
    free(q);
    free(k);
    free(v);
    free(out);
    free(y);
}

/* The heads of one position: mixed is q, k, v after the convolution; o is gated and normed. */
static void gdn_heads(const sluice_geometry *g, const reference_gdn *w, const double *x,
                      double *mixed, double *s, double *o)
{
    const int32_t keys = g->gdn_k_heads * g->gdn_k_dim, dim = g->gdn_v_dim;
    double *z = reference_zeros((size_t)g->gdn_v_heads * (size_t)dim);
    double *a = reference_zeros((size_t)g->gdn_v_heads),
           *b = reference_zeros((size_t)g->gdn_v_heads);
    reference_linear(w->z, g->gdn_v_heads * dim, g->hidden, x, z);
    reference_linear(w->a, g->gdn_v_heads, g->hidden, x, a);
    reference_linear(w->b, g->gdn_v_heads, g->hidden, x, b);
    for (int32_t i = 0; i < g->gdn_k_heads; i++) {
        reference_l2norm(mixed + i * g->gdn_k_dim, g->gdn_k_dim, 1.0 / sqrt(g->gdn_k_dim));
        reference_l2norm(mixed + keys + i * g->gdn_k_dim, g->gdn_k_dim, 1.0);
    }
    for (int32_t i = 0; i < g->gdn_v_heads; i++) {
        const int32_t key = i / (g->gdn_v_heads / g->gdn_k_heads) * g->gdn_k_dim;
        const double decay = exp(w->decay[i] * log1p(exp(a[i] + w->dt_bias[i])));
        double *out = o + i * dim;
        reference_delta_rule(g, mixed + key, mixed + keys + key, mixed + 2 * keys + i * dim, decay,
                             reference_sigmoid(b[i]), s + (size_t)i * (size_t)(g->gdn_k_dim * dim),
                             out);
        reference_rmsnorm(out, w->out_norm, g->rms_eps, dim, out);
        for (int32_t d = 0; d < dim; d++)
            out[d] *= reference_silu(z[i * dim + d]);
    }
    free(z);
    free(a);
    free(b);
}

void reference_gdn_run(const sluice_geometry *g, const reference_gdn *w, int32_t positions,
                       double *h)
{
    const int32_t values = g->gdn_v_heads * g->gdn_v_dim, width = g->conv_width;
    const int32_t channels = 2 * g->gdn_k_heads * g->gdn_k_dim + values;
    double *x = reference_zeros((size_t)g->hidden), *o = reference_zeros((size_t)values),
           *y = reference_zeros((size_t)g->hidden);
    double *in = reference_zeros((size_t)(positions + width) * (size_t)channels);
    double *mixed = reference_zeros((size_t)channels),
           *s = reference_zeros((size_t)values * (size_t)g->gdn_k_dim);
    for (int32_t t = 0; t < positions; t++) {
        double *row = h + (size_t)t * (size_t)g->hidden;
        double *first = in + (size_t)t * (size_t)channels; /* of the window that ends at t */
        reference_rmsnorm(row, w->norm, g->rms_eps, g->hidden, x);
        reference_linear(w->qkv, channels, g->hidden, x,
                         first + (size_t)(width - 1) * (size_t)channels);
        for (int32_t c = 0; c < channels; c++) {
            double sum = 0.0;
            for (int32_t i = 0; i < width; i++)
                sum += (double)w->conv[c * width + i] * first[i * channels + c];
            mixed[c] = reference_silu(sum);
        }
        gdn_heads(g, w, x, mixed, s, o);
        reference_linear(w->out, g->hidden, values, o, y);
        for (int32_t i = 0; i < g->hidden; i++)
            row[i] += y[i];
    }
    free(x);
    free(o);
    free(y);
    free(in);
    free(mixed);
    free(s);
}
