/* See model_reference.h. Plain loops, and nothing else. */
#include "support/model_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "support/reference_math.h"

typedef struct matrix {
    int32_t rows, cols;
    double *w; /* [rows, cols] */
} matrix;

typedef struct expert {
    matrix gate, up, down;
} expert;

typedef struct layer {
    matrix q, k, v, o, qkv, z, b, a, out, router, shared_gate;
    expert shared, *routed;
} layer;

struct model_reference {
    const sluice_model *model;
    const sluice_adapter *adapter;
    double *values;
    layer *layers;
    matrix embedding, head;
};

static double *zeros(int64_t n)
{
    return reference_zeros((size_t)n + 1);
}

static matrix unpack(const sluice_weight *weight)
{
    matrix m = {weight->rows, weight->cols, zeros((int64_t)weight->rows * weight->cols)};
    float *row = malloc((size_t)m.cols * sizeof *row);
    if (!row) abort();
    for (int32_t r = 0; r < m.rows; r++) {
        sluice_weight_unpack_row(weight, r, row);
        for (int32_t c = 0; c < m.cols; c++)
            m.w[(int64_t)r * m.cols + c] = (double)row[c];
    }
    free(row);
    return m;
}

static expert unpack_expert(const sluice_expert_weights *w)
{
    return (expert){unpack(&w->gate), unpack(&w->up), unpack(&w->down)};
}

static void unpack_routed(const sluice_model *model, int32_t index, layer *to)
{
    const sluice_expert_file *file = sluice_container_experts(model->container, index);
    char *record = NULL;
    int fd;
    to->routed = calloc((size_t)file->count, sizeof *to->routed);
    if (!to->routed || posix_memalign((void **)&record, 4096, file->layout.bytes)) abort();
    if (sluice_file_open(file->path, &fd, NULL, NULL)) abort();
    for (int32_t e = 0; e < file->count; e++) {
        sluice_expert_weights w;
        if (sluice_file_read(fd, file->path, file->offset + (uint64_t)e * file->layout.bytes,
                             record, file->layout.bytes, NULL))
            abort();
        memset(&w, 0, sizeof w);
        sluice_record_weights(&file->layout, model->config, record, &w.gate, &w.up, &w.down);
        to->routed[e] = unpack_expert(&w);
    }
    sluice_file_close(fd);
    free(record);
}

model_reference *model_reference_new(const sluice_model *model, const sluice_adapter *adapter)
{
    model_reference *self = calloc(1, sizeof *self);
    if (!self) abort();
    self->model = model;
    self->adapter = adapter;
    self->values = zeros((int64_t)adapter->count);
    for (size_t i = 0; i < adapter->count; i++)
        self->values[i] = (double)adapter->values[i];
    self->layers = calloc((size_t)model->config->layers, sizeof *self->layers);
    if (!self->layers) abort();
    self->embedding = unpack(&model->embedding);
    self->head = unpack(&model->head);
    for (int32_t i = 0; i < model->config->layers; i++) {
        const sluice_model_layer *from = &model->layers[i];
        layer *to = &self->layers[i];
        if (from->mixer == SLUICE_MIXER_ATTENTION) {
            to->q = unpack(&from->attention.q);
            to->k = unpack(&from->attention.k);
            to->v = unpack(&from->attention.v);
            to->o = unpack(&from->attention.o);
        } else {
            to->qkv = unpack(&from->gdn.qkv);
            to->z = unpack(&from->gdn.z);
            to->b = unpack(&from->gdn.b);
            to->a = unpack(&from->gdn.a);
            to->out = unpack(&from->gdn.out);
        }
        to->router = unpack(&from->router.router);
        to->shared_gate = unpack(&from->shared.gate);
        to->shared = unpack_expert(&from->shared.expert);
        unpack_routed(model, i, to);
    }
    return self;
}

static void free_expert(expert *e)
{
    free(e->gate.w);
    free(e->up.w);
    free(e->down.w);
}

void model_reference_free(model_reference *self)
{
    for (int32_t i = 0; i < self->model->config->layers; i++) {
        layer *l = &self->layers[i];
        matrix *const matrices[] = {&l->q, &l->k, &l->v,   &l->o,      &l->qkv,        &l->z,
                                    &l->b, &l->a, &l->out, &l->router, &l->shared_gate};
        for (size_t m = 0; m < sizeof matrices / sizeof matrices[0]; m++)
            free(matrices[m]->w);
        free_expert(&l->shared);
        for (int32_t e = 0; e < self->model->config->experts; e++)
            free_expert(&l->routed[e]);
        free(l->routed);
    }
    free(self->embedding.w);
    free(self->head.w);
    free(self->layers);
    free(self->values);
    free(self);
}

double *model_reference_values(model_reference *self)
{
    return self->values;
}

/* Where the layer is, for finding adapters. */
typedef struct place {
    const model_reference *self;
    int32_t layer, expert;
} place;

/* y = W x + scale B A x */
static void multiply(const place *at, sluice_adapter_module module, const matrix *m,
                     const double *x, double *y)
{
    for (int32_t r = 0; r < m->rows; r++) {
        const double *w = m->w + (int64_t)r * m->cols;
        double sum = 0.0;
        for (int32_t c = 0; c < m->cols; c++)
            sum += w[c] * x[c];
        y[r] = sum;
    }
    if (module == SLUICE_ADAPTER_MODULES) return;
    const sluice_adapter *adapter = at->self->adapter;
    const sluice_adapter_entry *entry = sluice_adapter_find(adapter, at->layer, module, at->expert);
    if (!entry) return;
    const double *a = at->self->values + (entry->a - adapter->values);
    const double *b = at->self->values + (entry->b - adapter->values);
    for (int32_t r = 0; r < entry->key.rank; r++) {
        double t = 0.0;
        for (int32_t c = 0; c < m->cols; c++)
            t += a[(int64_t)r * m->cols + c] * x[c];
        for (int32_t i = 0; i < m->rows; i++)
            y[i] += (double)entry->key.scale * t * b[(int64_t)r * m->rows + i];
    }
}

static void run_attention(const place *at, const layer *l, int32_t n, double *h)
{
    const sluice_geometry *g = &at->self->model->geometry;
    const sluice_attention_weights *w = &at->self->model->layers[at->layer].attention;
    const int32_t dim = g->head_dim, keys = g->kv_heads * dim, group = g->heads / g->kv_heads;
    double *x = zeros(g->hidden), *q = zeros(2 * g->heads * dim), *out = zeros(g->heads * dim);
    double *k = zeros(n * keys), *v = zeros(n * keys), *y = zeros(g->hidden);
    for (int32_t t = 0; t < n; t++, h += g->hidden) {
        reference_rmsnorm(h, w->norm, (double)g->rms_eps, g->hidden, x);
        multiply(at, SLUICE_ADAPTER_ATTN_Q, &l->q, x, q);
        multiply(at, SLUICE_ADAPTER_ATTN_K, &l->k, x, k + t * keys);
        multiply(at, SLUICE_ADAPTER_ATTN_V, &l->v, x, v + t * keys);
        for (int32_t i = 0; i < g->kv_heads; i++) {
            double *key = k + t * keys + i * dim;
            reference_rmsnorm(key, w->k_norm, (double)g->rms_eps, dim, key);
            reference_rotate(g, t, key);
        }
        for (int32_t i = 0; i < g->heads; i++) {
            double *query = q + 2 * i * dim;
            reference_rmsnorm(query, w->q_norm, (double)g->rms_eps, dim, query);
            reference_rotate(g, t, query);
            reference_attend(query, k + i / group * dim, v + i / group * dim, t + 1, keys, dim,
                             out + i * dim);
            for (int32_t d = 0; d < dim; d++)
                out[i * dim + d] *= reference_sigmoid(query[dim + d]);
        }
        multiply(at, SLUICE_ADAPTER_ATTN_O, &l->o, out, y);
        for (int32_t i = 0; i < g->hidden; i++)
            h[i] += y[i];
    }
    free(x);
    free(q);
    free(out);
    free(k);
    free(v);
    free(y);
}

/* One position after the convolution: mixed becomes queries, keys, values; o the block's output. */
static void run_heads(const place *at, const layer *l, const double *x, double *mixed, double *s,
                      double *o)
{
    const sluice_geometry *g = &at->self->model->geometry;
    const sluice_gdn_weights *w = &at->self->model->layers[at->layer].gdn;
    const int32_t kd = g->gdn_k_dim, keys = g->gdn_k_heads * kd, dim = g->gdn_v_dim;
    double *z = zeros(g->gdn_v_heads * dim), *a = zeros(g->gdn_v_heads), *b = zeros(g->gdn_v_heads);
    multiply(at, SLUICE_ADAPTER_GDN_Z, &l->z, x, z);
    multiply(at, SLUICE_ADAPTER_GDN_A, &l->a, x, a);
    multiply(at, SLUICE_ADAPTER_GDN_B, &l->b, x, b);
    for (int32_t i = 0; i < g->gdn_k_heads; i++) {
        reference_l2norm(mixed + i * kd, kd, 1.0 / sqrt(kd));
        reference_l2norm(mixed + keys + i * kd, kd, 1.0);
    }
    for (int32_t i = 0; i < g->gdn_v_heads; i++) {
        const int32_t key = i / (g->gdn_v_heads / g->gdn_k_heads) * kd;
        const double step = log1p(exp(a[i] + (double)w->dt_bias[i]));
        double *out = o + i * dim;
        reference_delta_rule(g, mixed + key, mixed + keys + key, mixed + 2 * keys + i * dim,
                             exp((double)w->decay[i] * step), reference_sigmoid(b[i]),
                             s + i * kd * dim, out);
        reference_rmsnorm(out, w->out_norm, (double)g->rms_eps, dim, out);
        for (int32_t d = 0; d < dim; d++)
            out[d] *= reference_silu(z[i * dim + d]);
    }
    free(z);
    free(a);
    free(b);
}

static void run_gdn(const place *at, const layer *l, int32_t n, double *h)
{
    const sluice_geometry *g = &at->self->model->geometry;
    const sluice_gdn_weights *w = &at->self->model->layers[at->layer].gdn;
    const int32_t values = g->gdn_v_heads * g->gdn_v_dim, width = g->conv_width;
    const int32_t channels = l->qkv.rows;
    double *x = zeros(g->hidden), *o = zeros(values), *y = zeros(g->hidden);
    double *in = zeros((n + width) * channels), *mixed = zeros(channels);
    double *s = zeros(values * g->gdn_k_dim);
    for (int32_t t = 0; t < n; t++, h += g->hidden) {
        double *first = in + t * channels; /* of the window that ends at t */
        reference_rmsnorm(h, w->norm, (double)g->rms_eps, g->hidden, x);
        multiply(at, SLUICE_ADAPTER_GDN_QKV, &l->qkv, x, first + (width - 1) * channels);
        for (int32_t c = 0; c < channels; c++) {
            double sum = 0.0;
            for (int32_t i = 0; i < width; i++)
                sum += (double)w->conv[c * width + i] * first[i * channels + c];
            mixed[c] = reference_silu(sum);
        }
        run_heads(at, l, x, mixed, s, o);
        multiply(at, SLUICE_ADAPTER_GDN_OUT, &l->out, o, y);
        for (int32_t i = 0; i < g->hidden; i++)
            h[i] += y[i];
    }
    free(x);
    free(o);
    free(y);
    free(in);
    free(mixed);
    free(s);
}

/* y += weight * expert(x); module: that of gate. */
static void add_expert(const place *at, sluice_adapter_module module, const expert *e,
                       const double *x, double weight, double *y)
{
    double *gate = zeros(e->gate.rows), *up = zeros(e->up.rows), *out = zeros(e->down.rows);
    multiply(at, module, &e->gate, x, gate);
    multiply(at, (sluice_adapter_module)(module + 1), &e->up, x, up);
    for (int32_t i = 0; i < e->gate.rows; i++)
        gate[i] *= reference_sigmoid(gate[i]) * up[i];
    multiply(at, (sluice_adapter_module)(module + 2), &e->down, gate, out);
    for (int32_t i = 0; i < e->down.rows; i++)
        y[i] += weight * out[i];
    free(gate);
    free(up);
    free(out);
}

static void run_moe(const place *at, const layer *l, int32_t n, double *h)
{
    const sluice_geometry *g = &at->self->model->geometry;
    double *x = zeros(g->hidden), *p = zeros(g->experts), *y = zeros(g->hidden);
    for (int32_t t = 0; t < n; t++, h += g->hidden) {
        double open, sum = 0.0;
        int32_t chosen[SLUICE_TOP_K_MAX];
        memset(y, 0, (size_t)g->hidden * sizeof *y);
        reference_rmsnorm(h, at->self->model->layers[at->layer].router.norm, (double)g->rms_eps,
                          g->hidden, x);
        multiply(at, SLUICE_ADAPTER_MODULES, &l->router, x, p);
        for (int32_t j = 0; j < g->top_k; j++) {
            int32_t best = -1;
            for (int32_t e = 0; e < g->experts; e++) {
                bool taken = false;
                for (int32_t i = 0; i < j; i++)
                    taken |= chosen[i] == e;
                if (!taken && (best < 0 || p[e] > p[best])) best = e;
            }
            chosen[j] = best;
            sum += exp(p[best]);
        }
        for (int32_t j = 0; j < g->top_k; j++) {
            const place inner = {at->self, at->layer, chosen[j]};
            add_expert(&inner, SLUICE_ADAPTER_EXPERT_GATE, &l->routed[chosen[j]], x,
                       exp(p[chosen[j]]) / sum, y);
        }
        multiply(at, SLUICE_ADAPTER_MODULES, &l->shared_gate, x, &open);
        add_expert(at, SLUICE_ADAPTER_SHARED_GATE, &l->shared, x, reference_sigmoid(open), y);
        for (int32_t i = 0; i < g->hidden; i++)
            h[i] += y[i];
    }
    free(x);
    free(p);
    free(y);
}

static double loss_of(const place *at, const double *h, int32_t target)
{
    const sluice_geometry *g = &at->self->model->geometry;
    double *x = zeros(g->hidden), *y = zeros(g->vocab), sum = 0.0;
    reference_rmsnorm(h, at->self->model->norm, (double)g->rms_eps, g->hidden, x);
    multiply(at, SLUICE_ADAPTER_MODULES, &at->self->head, x, y);
    for (int32_t i = 0; i < g->vocab; i++)
        sum += exp(y[i]);
    const double loss = log(sum) - y[target];
    free(x);
    free(y);
    return loss;
}

double model_reference_loss(model_reference *self, const sluice_train_batch *batch)
{
    const int32_t hidden = self->model->config->hidden;
    double loss = 0.0, *h = zeros((int64_t)batch->rows * hidden);
    for (int32_t i = 0; i < batch->rows; i++)
        memcpy(h + i * hidden, self->embedding.w + (int64_t)batch->tokens[i] * hidden,
               (size_t)hidden * sizeof *h);
    place at = {self, 0, -1};
    for (; at.layer < self->model->config->layers; at.layer++) {
        const layer *l = &self->layers[at.layer];
        for (int32_t s = 0; s < batch->n_segments; s++) {
            double *first = h + batch->segments[s].row * hidden;
            if (l->q.w)
                run_attention(&at, l, batch->segments[s].count, first);
            else
                run_gdn(&at, l, batch->segments[s].count, first);
        }
        run_moe(&at, l, batch->rows, h);
    }
    for (int32_t i = 0; i < batch->rows; i++)
        if (batch->targets[i] >= 0) loss += loss_of(&at, h + i * hidden, batch->targets[i]);
    free(h);
    return loss;
}
