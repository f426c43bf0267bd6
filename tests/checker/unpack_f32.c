/* The family unpack_f32: pieces of panels as f32, the bits of plain C and within a rounding of the
 * scalar truth, nothing written beside them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "checker/weights.h"

#define CASES_PER_FORMAT 12

typedef struct piece {
    const sluice_kernels *table;
    const check_weight *weight;
    int32_t panel, col, cols;
    float *out;
    int64_t ldo;
} piece;

static void unpack(check *c, void *context)
{
    const piece *p = context;
    (void)c;
    p->table->unpack_f32(&p->weight->w, p->panel, p->col, p->cols, p->out, p->ldo);
}

/* Rows of the panel that exist, against sluice_weight_unpack_row. */
static void compare_truth(check *c, const piece *p)
{
    const sluice_weight *w = &p->weight->w;
    float *row = malloc((size_t)w->cols * sizeof *row);
    for (int32_t r = 0; r < SLUICE_PANEL_ROWS && p->panel * SLUICE_PANEL_ROWS + r < w->rows; r++) {
        sluice_weight_unpack_row(w, p->panel * SLUICE_PANEL_ROWS + r, row);
        for (int32_t i = 0; i < p->cols; i++) {
            const double ours = (double)p->out[i * p->ldo + r], truth = (double)row[p->col + i];
            /* The truth rounds twice, the kernel once: the product may be far above their sum. */
            if (fabs(ours - truth) > 1e-5 * (fabs(truth) + 1.0))
                check_fail(c, "row %d, column %d is %.9g, not %.9g", r, p->col + i, ours, truth);
        }
    }
    free(row);
}

static void run_case(check *c, sluice_weight_format format)
{
    const bool affine = format.kind == SLUICE_WEIGHT_AFFINE;
    const int32_t step = affine ? format.group : 1, cols = check_cols(c, format, 400);
    const int32_t rows = check_between(c, 1, 40);
    check_weight weight = check_weight_new(c, format, rows, cols, false);
    piece p = {.table = &c->subject, .weight = &weight};
    p.panel = (int32_t)check_below(c, (uint32_t)sluice_weight_panels(&weight.w));
    p.col = (int32_t)check_below(c, (uint32_t)(cols / step)) * step;
    p.cols = check_between(c, 1, (cols - p.col) / step) * step;
    p.ldo = SLUICE_PANEL_ROWS + check_between(c, 0, 5);
    const size_t floats = (size_t)((p.cols - 1) * p.ldo + SLUICE_PANEL_ROWS);
    check_buffer ours = check_buffer_new(floats * sizeof(float));
    check_buffer plain = check_buffer_new(floats * sizeof(float));
    p.out = ours.data;
    check_guarded(c, unpack, &p, "unpack_f32");
    compare_truth(c, &p);
    for (int32_t i = 0; i + 1 < p.cols; i++)
        if (!check_untouched(p.out + i * p.ldo + SLUICE_PANEL_ROWS,
                             (size_t)(p.ldo - SLUICE_PANEL_ROWS)))
            check_fail(c, "wrote behind column %d", i);
    p.table = &c->plain;
    p.out = plain.data;
    unpack(c, &p);
    if (memcmp(ours.data, plain.data, floats * sizeof(float)) != 0)
        check_fail(c, "[%d, %d] is not what plain C gives", rows, cols);
    check_buffer_free(c, &ours, "unpacked weights");
    check_buffer_free(c, &plain, "unpacked weights of plain C");
    check_buffer_free(c, &weight.memory, "weights");
    c->cases++;
}

static void run(check *c)
{
    for (int f = 0; f < CHECK_FORMATS && !check_enough(c); f++)
        for (int i = 0; i < CASES_PER_FORMAT; i++)
            run_case(c, check_format(f));
}

static void (*right)(const sluice_weight *, int32_t, int32_t, int32_t, float *, int64_t);

static void one_ulp(const sluice_weight *w, int32_t panel, int32_t col, int32_t cols, float *out,
                    int64_t ldo)
{
    right(w, panel, col, cols, out, ldo);
    out[(cols - 1) * ldo] = nextafterf(out[(cols - 1) * ldo], INFINITY);
}

static void first_columns(const sluice_weight *w, int32_t panel, int32_t col, int32_t cols,
                          float *out, int64_t ldo)
{
    (void)col;
    right(w, panel, 0, cols, out, ldo);
}

static void column_too_many(const sluice_weight *w, int32_t panel, int32_t col, int32_t cols,
                            float *out, int64_t ldo)
{
    right(w, panel, col, cols, out, ldo);
    out[cols * ldo] = 0.0f;
}

static const struct {
    const char *name;
    void (*kernel)(const sluice_weight *, int32_t, int32_t, int32_t, float *, int64_t);
} planted[] = {{"unpack-one-ulp", one_ulp},
               {"unpack-first-columns", first_columns},
               {"unpack-column-too-many", column_too_many}};

static const char *const defects[] = {"unpack-one-ulp", "unpack-first-columns",
                                      "unpack-column-too-many", NULL};

static bool plant(check *c, const char *defect)
{
    for (size_t i = 0; i < sizeof planted / sizeof planted[0]; i++) {
        if (strcmp(planted[i].name, defect) != 0) continue;
        right = c->subject.unpack_f32;
        c->subject.unpack_f32 = planted[i].kernel;
        return true;
    }
    return false;
}

static bool same(const check *a, const check *b)
{
    return a->subject.unpack_f32 == b->subject.unpack_f32;
}

const check_family check_unpack_f32 = {"unpack_f32", run, NULL, same, plant, defects};
