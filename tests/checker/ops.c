/* See ops.h. */
#include "checker/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static sluice_ops planted;
static bool is_planted;

sluice_ops *ops_plant(const check *c)
{
    planted = *sluice_ops_choose(c->flags);
    is_planted = true;
    return &planted;
}

void ops_planted_clear(void)
{
    is_planted = false;
}

bool ops_same(const check *a, const check *b)
{
    return sluice_ops_choose(a->flags) == sluice_ops_choose(b->flags);
}

static void call_subject(check *c, void *context)
{
    const ops_call *a = context;
    a->call(is_planted ? &planted : sluice_ops_choose(c->flags), a);
}

static void compare_bits(check *c, const ops_call *a, int output, const float *got,
                         const float *want)
{
    for (size_t i = 0; i < a->sizes[output]; i++) {
        if (check_same(got[i], want[i])) continue;
        check_fail(c, "%s (n %d, k %d, m %d): element %zu of buffer %d is %a, plain C has %a",
                   a->what, a->n, a->k, a->m, i, output, (double)got[i], (double)want[i]);
        return;
    }
}

static void compare_truth(check *c, const ops_call *a, int output, const float *got,
                          const double *want)
{
    for (size_t i = 0; i < a->sizes[output]; i++) {
        if (fabs((double)got[i] - want[i]) <= a->tolerance * (1.0 + fabs(want[i]))) continue;
        check_fail(c, "%s (n %d, k %d, m %d): element %zu of buffer %d is %g, in truth %g", a->what,
                   a->n, a->k, a->m, i, output, (double)got[i], want[i]);
        return;
    }
}

static void *take(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (!memory) exit(2);
    return memory;
}

void ops_check(check *c, const ops_call *arguments)
{
    ops_call subject = *arguments, plain = *arguments;
    check_buffer guarded[OPS_BUFFERS];
    double *want[OPS_BUFFERS];
    const int n = arguments->n_in + arguments->n_out;
    for (int i = 0; i < n; i++) {
        const size_t size = arguments->sizes[i];
        guarded[i] = check_buffer_new(size * sizeof(float));
        subject.buffers[i] = guarded[i].data;
        plain.buffers[i] = take(size, sizeof(float));
        want[i] = take(size, sizeof(double));
        const float scale = arguments->scale == 0.0f ? 1.0f : arguments->scale;
        for (size_t j = 0; j < size; j++)
            plain.buffers[i][j] = scale * check_normal(c);
    }
    if (plain.prepare) plain.prepare(&plain);
    for (int i = 0; i < n; i++) {
        memcpy(subject.buffers[i], plain.buffers[i], arguments->sizes[i] * sizeof(float));
        for (size_t j = 0; j < arguments->sizes[i]; j++)
            want[i][j] = (double)plain.buffers[i][j];
    }
    check_guarded(c, call_subject, &subject, arguments->what);
    if (arguments->truth) arguments->truth(&plain, want + arguments->n_in);
    plain.call(&sluice_ops_scalar, &plain);
    for (int i = 0; i < n; i++) {
        compare_bits(c, &subject, i, subject.buffers[i], plain.buffers[i]);
        if (arguments->truth && i >= arguments->n_in)
            compare_truth(c, &plain, i, plain.buffers[i], want[i]);
        check_buffer_free(c, &guarded[i], arguments->what);
        free(plain.buffers[i]);
        free(want[i]);
    }
    c->cases++;
}
