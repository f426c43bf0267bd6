/* The layers of the model written out in double, one sequence from its start, with no cache, no
 * blocks and no scratch reuse: what the backend's operations are compared with. */
#ifndef SLUICE_TESTS_SUPPORT_LAYER_REFERENCE_H
#define SLUICE_TESTS_SUPPORT_LAYER_REFERENCE_H

#include "backend/backend.h"
#include "support/reference_math.h"

/* The same weights as a backend gets, each matrix as [rows, cols] floats. */
typedef struct reference_attention {
    const float *norm, *q, *k, *v, *o, *q_norm, *k_norm;
} reference_attention;

typedef struct reference_gdn {
    const float *norm, *qkv, *z, *b, *a, *out, *conv, *decay, *dt_bias, *out_norm;
} reference_gdn;

/* h: [positions, hidden], becomes h + block(rmsnorm(h)). */
void reference_attention_run(const sluice_geometry *g, const reference_attention *w,
                             int32_t positions, double *h);
void reference_gdn_run(const sluice_geometry *g, const reference_gdn *w, int32_t positions,
                       double *h);

/* y = W x, W: [rows, cols] */
void reference_linear(const float *w, int32_t rows, int32_t cols, const double *x, double *y);
/* y = down(silu(gate x) * up x) */
void reference_expert(const float *gate, const float *up, const float *down, int32_t width,
                      int32_t hidden, const double *x, double *y);

#endif
