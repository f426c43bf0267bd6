/* The family linear_q8. */
#include <math.h>
#include <string.h>

#include "checker/linear.h"

static void run_q8(const sluice_kernels *table, const linear_case *l, int32_t begin, int32_t end,
                   int32_t row, int32_t n, float *y, int64_t ldy)
{
    table->linear_q8(&l->weight.w, begin, end, &l->q, row, n, y, ldy);
}

static const linear_kind kind = {.quantised = true, .run = run_q8};

static void run(check *c)
{
    check_linear_cases(c, &kind);
}

static void bench(const check *c, int threads)
{
    for (int32_t block = 16; block <= 32; block *= 2) {
        linear_kind one = kind;
        one.block = block;
        check_linear_bench(c, &one, threads);
    }
}

/* Defects, as in linear_f32.c. */
static void (*right)(const sluice_weight *, int32_t, int32_t, const sluice_q8 *, int32_t, int32_t,
                     float *, int64_t);

#define WRAPPER(name)                                                                              \
    static void name(const sluice_weight *w, int32_t begin, int32_t end, const sluice_q8 *q,       \
                     int32_t row, int32_t n, float *y, int64_t ldy)

WRAPPER(one_ulp)
{
    right(w, begin, end, q, row, n, y, ldy);
    y[begin * SLUICE_PANEL_ROWS] = nextafterf(y[begin * SLUICE_PANEL_ROWS], INFINITY);
}

/* What a saturating i16 addition would do to large codes. */
WRAPPER(saturates)
{
    right(w, begin, end, q, row, n, y, ldy);
    if (w->format.bits == 8) y[begin * SLUICE_PANEL_ROWS] *= 0.999f;
}

WRAPPER(wrong_row)
{
    right(w, begin, end, q, row, n, y, ldy);
    if (n > 1) right(w, begin, end, q, row, 1, y + ldy, ldy);
}

WRAPPER(row_too_many)
{
    right(w, begin, end, q, row, n, y, ldy);
    y[(n - 1) * ldy + w->rows] = 0.0f;
}

static const struct {
    const char *name;
    void (*kernel)(const sluice_weight *, int32_t, int32_t, const sluice_q8 *, int32_t, int32_t,
                   float *, int64_t);
} planted[] = {
    {"q8-one-ulp", one_ulp},
    {"q8-saturates", saturates},
    {"q8-wrong-row", wrong_row},
    {"q8-row-too-many", row_too_many},
};

static const char *const defects[] = {"q8-one-ulp", "q8-saturates", "q8-wrong-row",
                                      "q8-row-too-many", NULL};

static bool plant(check *c, const char *defect)
{
    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        if (strcmp(planted[i].name, defect) != 0) continue;
        right = c->subject.linear_q8;
        c->subject.linear_q8 = planted[i].kernel;
        return true;
    }
    return false;
}

static bool same(const check *a, const check *b)
{
    return a->subject.linear_q8 == b->subject.linear_q8;
}

const check_family check_linear_q8 = {"linear_q8", run, bench, same, plant, defects};
