/* What the two families of matrix kernels share: cases, their checks, planted defects. */
#ifndef SLUICE_TESTS_CHECKER_LINEAR_H
#define SLUICE_TESTS_CHECKER_LINEAR_H

#include "checker/weights.h"

/* A product: rows [0, n) of activations, in f32 (x, ldx) or int8 (q), with weights w. */
typedef struct linear_case {
    check_weight weight;
    check_buffer x_memory, q_memory;
    const float *x;
    int64_t ldx;
    sluice_q8 q;
    int32_t n;
} linear_case;

typedef struct linear_kind {
    bool quantised;
    int32_t block; /* of the int8 form: 16, 32, or 0 for either by chance */
    /* Runs table's kernel on panels [begin, end) and rows [row, row + n). */
    void (*run)(const sluice_kernels *table, const linear_case *l, int32_t begin, int32_t end,
                int32_t row, int32_t n, float *y, int64_t ldy);
} linear_kind;

/* Every format, with every n of 1..20 and some more, every number of rows of 1..40. */
void check_linear_cases(check *c, const linear_kind *kind);

/* A case of its own sizes, for the benchmark too. */
linear_case check_linear_case(check *c, const linear_kind *kind, sluice_weight_format format,
                              int32_t rows, int32_t cols, int32_t n, bool extreme);
void check_linear_case_free(check *c, linear_case *l);

/* Prints what the kernel of c->subject reaches: matrices larger than any cache with one row, and
 * matrices in cache with many rows. */
void check_linear_bench(const check *c, const linear_kind *kind, int threads);

#endif
