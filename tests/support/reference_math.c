/* See reference_math.h. Plain loops, and nothing else. */
#include "support/reference_math.h"

#include <math.h>
#include <stdlib.h>

double *reference_zeros(size_t n)
{
    double *memory = calloc(n, sizeof *memory);
    if (!memory) abort();
    return memory;
}

double reference_sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

double reference_silu(double x)
{
    return x * reference_sigmoid(x);
}

void reference_rmsnorm(const double *x, const float *weight, double eps, int32_t n, double *out)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    const double scale = 1.0 / sqrt(sum / n + eps);
    for (int32_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

void reference_rotate(const sluice_geometry *g, int32_t position, double *x)
{
    const int32_t half = g->rotary_dim / 2;
    for (int32_t i = 0; i < half; i++) {
        const double angle = position * pow(g->rope_theta, -2.0 * i / g->rotary_dim);
        const double low = x[i], high = x[i + half];
        x[i] = low * cos(angle) - high * sin(angle);
        x[i + half] = high * cos(angle) + low * sin(angle);
    }
}

void reference_attend(const double *q, const double *k, const double *v, int32_t n, int32_t stride,
                      int32_t dim, double *out)
{
    double *p = reference_zeros((size_t)n), max = -INFINITY, sum = 0.0;
    for (int32_t t = 0; t < n; t++) {
        for (int32_t d = 0; d < dim; d++)
            p[t] += q[d] * k[(size_t)t * (size_t)stride + (size_t)d];
        p[t] /= sqrt(dim);
        if (p[t] > max) max = p[t];
    }
    for (int32_t t = 0; t < n; t++)
        sum += p[t] = exp(p[t] - max);
    for (int32_t d = 0; d < dim; d++) {
        out[d] = 0.0;
        for (int32_t t = 0; t < n; t++)
            out[d] += p[t] / sum * v[(size_t)t * (size_t)stride + (size_t)d];
    }
    free(p);
}

void reference_l2norm(double *x, int32_t n, double scale)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (int32_t i = 0; i < n; i++)
        x[i] *= scale / sqrt(sum + 1e-6);
}

void reference_delta_rule(const sluice_geometry *g, const double *q, const double *k,
                          const double *v, double decay, double beta, double *s, double *o)
{
    for (int32_t c = 0; c < g->gdn_v_dim; c++) {
        double recalled = 0.0;
        for (int32_t i = 0; i < g->gdn_k_dim; i++)
            recalled += k[i] * (s[i * g->gdn_v_dim + c] *= decay);
        const double delta = beta * (v[c] - recalled);
        o[c] = 0.0;
        for (int32_t i = 0; i < g->gdn_k_dim; i++)
            o[c] += q[i] * (s[i * g->gdn_v_dim + c] += k[i] * delta);
    }
}
