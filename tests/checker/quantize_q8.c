/* The family quantize_q8: codes, scales and sums against plain C, and against their definition. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/checker.h"

typedef struct quantize_run {
    const float *x;
    int64_t ldx;
    int32_t begin, end;
    sluice_q8 *q;
} quantize_run;

static void run_subject(check *c, void *context)
{
    quantize_run *r = context;
    c->subject.quantize_q8(r->x, r->ldx, r->begin, r->end, r->q);
}

static void check_sum(check *c, double got, double want, double size)
{
    if (fabs(got - want) > size * 3e-7 + 1e-37) check_fail(c, "a sum is %g, not %g", got, want);
}

/* Half a step, and the roundings of the scale, the product and the code times the scale. */
static void check_definition(check *c, const float *x, int64_t ldx, int32_t n, const sluice_q8 *q)
{
    int32_t blocks = q->cols / q->block;
    for (int32_t t = 0; t < n; t++) {
        double sum = 0, size = 0, all = 0, all_size = 0;
        for (int32_t i = 0; i < q->cols; i++) {
            double scale = q->scales[t * blocks + i / q->block];
            double code = q->codes[(int64_t)t * q->stride + i], want = x[t * ldx + i];
            if (fabs(code * scale - want) > scale * 0.50002 + 1.01e-30)
                check_fail(c, "column %d of row %d: %g became %g * %g", i, t, want, code, scale);
            sum += code * scale;
            size += fabs(code * scale);
            if ((i + 1) % 32) continue;
            check_sum(c, q->sums[0][t * (q->cols / 32) + i / 32], sum, size);
            all += sum;
            all_size += size;
            sum = size = 0;
            if ((i + 1) % 128) continue;
            check_sum(c, q->sums[2][t * (q->cols / 128) + i / 128], all, all_size);
            all = all_size = 0;
        }
    }
}

static void check_case(check *c, int32_t block, bool extreme)
{
    int32_t n = check_between(c, 1, 9), cols = 32 * check_between(c, 1, 12);
    int64_t ldx = cols + check_between(c, 0, 3);
    size_t count = (size_t)(n - 1) * (size_t)ldx + (size_t)cols;
    check_buffer x = check_buffer_new(count * sizeof(float));
    float *values = x.data;
    for (size_t i = 0; i < count; i++)
        values[i] = extreme ? check_extreme(c, 3) : 3.0f * check_normal(c);

    size_t bytes = sluice_q8_bytes(n, cols, block);
    check_buffer memory = check_buffer_new(bytes);
    sluice_q8 got = sluice_q8_view(memory.data, n, cols, block);
    unsigned char *plain = malloc(bytes);
    memcpy(plain, memory.data, bytes); /* so that padding is equal */
    sluice_q8 want = sluice_q8_view(plain, n, cols, block);
    c->plain.quantize_q8(values, ldx, 0, n, &want);

    int32_t cut = check_between(c, 0, n);
    quantize_run run = {values, ldx, 0, cut, &got};
    check_guarded(c, run_subject, &run, "quantize_q8");
    run.begin = cut;
    run.end = n;
    check_guarded(c, run_subject, &run, "quantize_q8");
    if (memcmp(plain, memory.data, bytes) != 0)
        check_fail(c, "%d rows of %d columns in blocks of %d: not the bits of plain C", n, cols,
                   block);
    check_definition(c, values, ldx, n, &want);

    free(plain);
    check_buffer_free(c, &memory, "int8 activations");
    check_buffer_free(c, &x, "activations");
    c->cases++;
}

static void run(check *c)
{
    for (int i = 0; i < 400 && !check_enough(c); i++)
        check_case(c, i % 2 ? 16 : 32, i % 4 > 1);
}

typedef struct bench_run {
    const sluice_kernels *table;
    const float *x;
    sluice_q8 q;
    int32_t n;
} bench_run;

static void run_bench(void *context, int worker)
{
    bench_run *b = context;
    if (worker == 0) b->table->quantize_q8(b->x, b->q.cols, 0, b->n, &b->q);
}

static void bench(const check *c, int threads)
{
    const int32_t n = 16, cols = 4096;
    check scratch = *c;
    float *x = malloc((size_t)n * cols * sizeof *x);
    void *memory = NULL;
    (void)threads;
    if (!x || posix_memalign(&memory, 64, sluice_q8_bytes(n, cols, 32))) exit(2);
    for (int32_t i = 0; i < n * cols; i++)
        x[i] = check_normal(&scratch);
    bench_run b = {&c->subject, x, sluice_q8_view(memory, n, cols, 32), n};
    double seconds = check_time(1, 0.2, run_bench, &b);
    printf("quantize_q8: %.2f elements a cycle\n",
           (double)n * cols / (seconds * check_limit_clock()));
    free(x);
    free(memory);
}

static void (*right)(const float *, int64_t, int32_t, int32_t, const sluice_q8 *);

static void one_code(const float *x, int64_t ldx, int32_t begin, int32_t end, const sluice_q8 *q)
{
    right(x, ldx, begin, end, q);
    if (end > begin && q->cols > 64) q->codes[(int64_t)begin * q->stride + 64] ^= 1;
}

static void sum_off(const float *x, int64_t ldx, int32_t begin, int32_t end, const sluice_q8 *q)
{
    right(x, ldx, begin, end, q);
    if (end > begin) q->sums[0][(int64_t)begin * (q->cols / 32)] *= 1.001f;
}

static const char *const defects[] = {"q8-one-code", "q8-sum-off", NULL};

static bool plant(check *c, const char *defect)
{
    bool code = !strcmp(defect, defects[0]);
    if (!code && strcmp(defect, defects[1]) != 0) return false;
    right = c->subject.quantize_q8;
    c->subject.quantize_q8 = code ? one_code : sum_off;
    return true;
}

static bool same(const check *a, const check *b)
{
    return a->subject.quantize_q8 == b->subject.quantize_q8;
}

const check_family check_quantize_q8 = {"quantize_q8", run, bench, same, plant, defects};
