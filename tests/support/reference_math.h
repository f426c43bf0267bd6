/* The operations of a layer written out in double: what references of layers and of whole models
 * are made of. */
#ifndef SLUICE_TESTS_SUPPORT_REFERENCE_MATH_H
#define SLUICE_TESTS_SUPPORT_REFERENCE_MATH_H

#include "backend/backend.h"

double *reference_zeros(size_t n); /* to be freed */
double reference_sigmoid(double x);
double reference_silu(double x);
void reference_rmsnorm(const double *x, const float *weight, double eps, int32_t n, double *out);
void reference_l2norm(double *x, int32_t n, double scale);
/* RoPE of one head. */
void reference_rotate(const sluice_geometry *g, int32_t position, double *x);
/* out = softmax(q . k / sqrt(dim)) v over the first n positions; k and v are `stride` apart. */
void reference_attend(const double *q, const double *k, const double *v, int32_t n, int32_t stride,
                      int32_t dim, double *out);
/* One position of one value head; s is [k_dim, v_dim]. */
void reference_delta_rule(const sluice_geometry *g, const double *q, const double *k,
                          const double *v, double decay, double beta, double *s, double *o);

#endif
