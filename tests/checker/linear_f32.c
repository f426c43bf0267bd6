/* The family linear_f32. */
#include <math.h>
#include <string.h>

#include "checker/linear.h"

static void run_f32(const sluice_kernels *table, const linear_case *l, int32_t begin, int32_t end,
                    int32_t row, int32_t n, float *y, int64_t ldy)
{
    table->linear_f32(&l->weight.w, begin, end, l->x + row * l->ldx, l->ldx, n, y, ldy);
}

static const linear_kind kind = {.run = run_f32};

static void run(check *c)
{
    check_linear_cases(c, &kind);
}

static void bench(const check *c, int threads)
{
    check_linear_bench(c, &kind, threads);
}

/* Defects: each wraps the right kernel and spoils its work a little. */
static void (*right)(const sluice_weight *, int32_t, int32_t, const float *, int64_t, int32_t,
                     float *, int64_t);

#define WRAPPER(name)                                                                              \
    static void name(const sluice_weight *w, int32_t begin, int32_t end, const float *x,           \
                     int64_t ldx, int32_t n, float *y, int64_t ldy)

WRAPPER(one_ulp)
{
    right(w, begin, end, x, ldx, n, y, ldy);
    float *last = y + (n - 1) * ldy + begin * SLUICE_PANEL_ROWS;
    *last = nextafterf(*last, INFINITY);
}

WRAPPER(last_row_lost)
{
    sluice_weight shorter = *w;
    if (w->rows > 1 && end == sluice_weight_panels(w)) shorter.rows--;
    right(&shorter, begin, end, x, ldx, n, y, ldy);
}

WRAPPER(last_column_lost)
{
    right(w, begin, end, x, ldx, n, y, ldy);
    for (int32_t row = begin * SLUICE_PANEL_ROWS; row < w->rows && row < end * SLUICE_PANEL_ROWS;
         row++)
        y[row] -= x[w->cols - 1] * 0.01f;
}

WRAPPER(row_too_many)
{
    right(w, begin, end, x, ldx, n, y, ldy);
    y[(n - 1) * ldy + w->rows] = 0.0f;
}

WRAPPER(reads_past_end)
{
    right(w, begin, end, x, ldx, n, y, ldy);
    volatile float past = x[(n - 1) * ldx + w->cols];
    (void)past;
}

WRAPPER(depends_on_n)
{
    right(w, begin, end, x, ldx, n, y, ldy);
    if (n == 17) y[ldy + begin * SLUICE_PANEL_ROWS] += 1e-3f;
}

static const struct {
    const char *name;
    void (*kernel)(const sluice_weight *, int32_t, int32_t, const float *, int64_t, int32_t,
                   float *, int64_t);
} planted[] = {
    {"f32-one-ulp", one_ulp},
    {"f32-last-row-lost", last_row_lost},
    {"f32-last-column", last_column_lost},
    {"f32-row-too-many", row_too_many},
    {"f32-reads-past-end", reads_past_end},
    {"f32-depends-on-n", depends_on_n},
};

static const char *const defects[] = {"f32-one-ulp",
                                      "f32-last-row-lost",
                                      "f32-last-column",
                                      "f32-row-too-many",
                                      "f32-reads-past-end",
                                      "f32-depends-on-n",
                                      NULL};

static bool plant(check *c, const char *defect)
{
    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        if (strcmp(planted[i].name, defect) != 0) continue;
        right = c->subject.linear_f32;
        c->subject.linear_f32 = planted[i].kernel;
        return true;
    }
    return false;
}

static bool same(const check *a, const check *b)
{
    return a->subject.linear_f32 == b->subject.linear_f32;
}

const check_family check_linear_f32 = {"linear_f32", run, bench, same, plant, defects};
