/* Checking row operations (kernels/ops.h): one call with random inputs on the table under test and
 * on plain C, which must agree in bits, and plain C against the truth in double. */
#ifndef SLUICE_TESTS_CHECKER_OPS_H
#define SLUICE_TESTS_CHECKER_OPS_H

#include "checker/checker.h"
#include "kernels/ops.h"

#define OPS_BUFFERS 8

/* A call's arguments: buffers of floats, and the sizes that it was made for. Buffers [0, n_in) are
 * inputs; buffers [n_in, n_in + n_out) are outputs, filled with random numbers before. */
typedef struct ops_call {
    const char *what;
    /* Makes the random numbers into arguments that the model could have; or NULL. */
    void (*prepare)(const struct ops_call *arguments);
    void (*call)(const sluice_ops *ops, const struct ops_call *arguments);
    /* want[i] = the truth for output i, which holds what that output held before the call. NULL:
     * bits only. */
    void (*truth)(const struct ops_call *arguments, double *const *want);
    double tolerance; /* of |got - want| / (1 + |want|) */
    int n_in, n_out;
    size_t sizes[OPS_BUFFERS];
    float *buffers[OPS_BUFFERS];
    int32_t n, k, m;     /* sizes, as the call means them */
    float scale;         /* standard deviation of the random numbers; 0 is 1 */
    const void *context; /* more arguments */
} ops_call;

/* arguments->buffers need not be set; they are as the last run left them only during the call. */
void ops_check(check *c, const ops_call *arguments);

/* The families' same: a table is chosen as a whole. */
bool ops_same(const check *a, const check *b);

/* Plants a table instead of the one under test until ops_planted_clear. */
sluice_ops *ops_plant(const check *c);
void ops_planted_clear(void);

#endif
