/* Cases for the matrix kernels, and what must hold for each: the bits of plain C, the truth in
 * double within the rounding that the stated order of operations allows, nothing written outside
 * the outputs, and the same bits for any range of panels and rows. */
#include "checker/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CASES_PER_FORMAT 40 /* steps through 1..40 rows and twice through 1..20 activations */

static void fill_activations(check *c, linear_case *l, int32_t cols, bool extreme)
{
    l->ldx = cols + check_between(c, 0, 3);
    size_t count = (size_t)(l->n - 1) * (size_t)l->ldx + (size_t)cols;
    l->x_memory = check_buffer_new(count * sizeof(float));
    float *x = l->x_memory.data;
    for (int32_t t = 0; t < l->n; t++)
        for (int32_t i = 0; i < cols; i++)
            x[t * l->ldx + i] = extreme ? check_extreme(c, 16) : check_normal(c);
    l->x = x;
}

linear_case check_linear_case(check *c, const linear_kind *kind, sluice_weight_format format,
                              int32_t rows, int32_t cols, int32_t n, bool extreme)
{
    linear_case l = {.weight = check_weight_new(c, format, rows, cols, extreme), .n = n};
    fill_activations(c, &l, cols, extreme);
    if (!kind->quantised) return l;
    int32_t block = kind->block ? kind->block : check_below(c, 2) ? 16 : 32;
    l.q_memory = check_buffer_new(sluice_q8_bytes(n, cols, block));
    l.q = sluice_q8_view(l.q_memory.data, n, cols, block);
    c->plain.quantize_q8(l.x, l.ldx, 0, n, &l.q);
    return l;
}

void check_linear_case_free(check *c, linear_case *l)
{
    check_buffer_free(c, &l->weight.memory, "weights");
    check_buffer_free(c, &l->x_memory, "activations");
    if (l->q_memory.pages) check_buffer_free(c, &l->q_memory, "int8 activations");
}

/* One output in double, and the sum of the magnitudes that went into it. */
typedef struct truth {
    double value, magnitude;
} truth;

static float activation(const linear_case *l, int32_t t, int32_t col)
{
    if (!l->q.codes) return l->x[t * l->ldx + col];
    return (float)l->q.codes[(int64_t)t * l->q.stride + col] *
           l->q.scales[(int64_t)t * (l->q.cols / l->q.block) + col / l->q.block];
}

static void truth_row(const linear_case *l, int32_t row, truth *out)
{
    const sluice_weight *w = &l->weight.w;
    bool affine = w->format.kind == SLUICE_WEIGHT_AFFINE;
    int32_t cols = w->cols, groups = affine ? cols / w->format.group : 1;
    uint8_t *codes = malloc((size_t)cols);
    float *values = malloc(((size_t)cols + 2 * (size_t)groups) * sizeof *values);
    float *scales = values + cols, *biases = scales + groups;
    sluice_weight_unpack_row(w, row, values);
    if (affine) sluice_weight_unpack_codes(w, row, codes, scales, biases);
    for (int32_t t = 0; t < l->n; t++) {
        out[t] = (truth){0, 0};
        for (int32_t i = 0; i < cols; i++) {
            double x = activation(l, t, i), weight = values[i], size = fabs(weight);
            if (affine) {
                double s = scales[i / w->format.group], b = biases[i / w->format.group];
                weight = s * codes[i] + b;
                size = fabs(s) * codes[i] + fabs(b);
            }
            out[t].value += weight * x;
            out[t].magnitude += size * fabs(x);
        }
    }
    free(codes);
    free(values);
}

/* The longest chain of roundings that an output goes through, with a few for its ends. */
static double roundings(const linear_kind *kind, const linear_case *l)
{
    if (kind->quantised) return 2.0 * l->q.cols / l->weight.w.format.group + 16;
    return l->weight.w.cols / 4 + 12;
}

static void compare_truth(check *c, const linear_kind *kind, const linear_case *l, const float *y,
                          int64_t ldy, const char *format)
{
    truth *row_truth = malloc((size_t)l->n * sizeof *row_truth);
    for (int32_t row = 0; row < l->weight.w.rows; row++) {
        truth_row(l, row, row_truth);
        for (int32_t t = 0; t < l->n; t++) {
            double error = fabs(y[t * ldy + row] - row_truth[t].value);
            double allowed = roundings(kind, l) * 0x1p-24 * row_truth[t].magnitude + 1e-38;
            if (error <= allowed) continue;
            check_fail(c, "%s [%d, %d] n %d: row %d of %d is %.9g, in double %.9g (allowed %.2g)",
                       format, l->weight.w.rows, l->weight.w.cols, l->n, row, t,
                       (double)y[t * ldy + row], row_truth[t].value, allowed);
        }
    }
    free(row_truth);
}

/* A run of the subject into a fresh guarded buffer. */
typedef struct subject_run {
    const linear_kind *kind;
    const linear_case *l;
    int32_t begin, end, row, n;
    float *y;
    int64_t ldy;
} subject_run;

static void run_subject(check *c, void *context)
{
    const subject_run *r = context;
    r->kind->run(&c->subject, r->l, r->begin, r->end, r->row, r->n, r->y, r->ldy);
}

static void compare_range(check *c, subject_run *r, const float *want, int64_t want_ld,
                          const char *format)
{
    const sluice_weight *w = &r->l->weight.w;
    int32_t row_end = r->end * SLUICE_PANEL_ROWS < w->rows ? r->end * SLUICE_PANEL_ROWS : w->rows;
    int32_t row_begin = r->begin * SLUICE_PANEL_ROWS;
    r->ldy = w->rows + check_between(c, 0, 5);
    size_t count = (size_t)(r->n - 1) * (size_t)r->ldy + (size_t)w->rows;
    check_buffer memory = check_buffer_new(count * sizeof(float));
    r->y = memory.data;
    check_guarded(c, run_subject, r, format);
    for (int32_t t = 0; t < r->n; t++) {
        const float *y = r->y + t * r->ldy, *right = want + (r->row + t) * want_ld;
        for (int32_t row = row_begin; row < row_end; row++) {
            if (check_same(y[row], right[row])) continue;
            check_fail(c, "%s [%d, %d] panels %d-%d of rows %d+%d: row %d of %d is %a, plain C %a",
                       format, w->rows, w->cols, r->begin, r->end, r->row, r->n, row, t,
                       (double)y[row], (double)right[row]);
        }
        size_t after = (size_t)((t + 1 < r->n ? r->ldy : w->rows) - row_end);
        if (!check_untouched(y, (size_t)row_begin) || !check_untouched(y + row_end, after))
            check_fail(c, "%s [%d, %d] n %d: wrote outside its rows", format, w->rows, w->cols,
                       r->n);
    }
    check_buffer_free(c, &memory, "outputs");
}

static void check_case(check *c, const linear_kind *kind, sluice_weight_format format, int32_t rows,
                       int32_t n, bool extreme)
{
    char name[24];
    sluice_weight_format_name(format, name);
    int32_t cols = check_cols(c, format, 400);
    linear_case l = check_linear_case(c, kind, format, rows, cols, n, extreme);
    int32_t panels = sluice_weight_panels(&l.weight.w);
    int64_t ldy = rows;
    float *y = malloc((size_t)n * (size_t)rows * sizeof *y);
    kind->run(&c->plain, &l, 0, panels, 0, n, y, ldy);
    if (!extreme) compare_truth(c, kind, &l, y, ldy, name);

    subject_run whole = {.kind = kind, .l = &l, .end = panels, .n = n};
    compare_range(c, &whole, y, ldy, name);
    subject_run some = whole;
    some.begin = check_between(c, 0, panels - 1);
    some.end = check_between(c, some.begin + 1, panels);
    some.row = check_between(c, 0, n - 1);
    some.n = check_between(c, 1, n - some.row);
    compare_range(c, &some, y, ldy, name);

    free(y);
    check_linear_case_free(c, &l);
    c->cases++;
}

void check_linear_cases(check *c, const linear_kind *kind)
{
    for (int f = 0; f < CHECK_FORMATS && !check_enough(c); f++) {
        sluice_weight_format format = check_format(f);
        if (kind->quantised && !sluice_q8_multiplies(format)) continue;
        for (int i = 0; i < CASES_PER_FORMAT && !check_enough(c); i++)
            check_case(c, kind, format, i + 1, (i * 7 + f) % 20 + 1, i % 4 == 3);
        check_case(c, kind, format, check_between(c, 1, 40), check_between(c, 55, 130), false);
    }
}
