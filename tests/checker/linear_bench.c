/* Benchmark of the matrix kernels. decode: one row of activations, a matrix larger than any cache,
 * so the limit is memory. prefill: many rows, the limit is arithmetic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker/linear.h"

#define DECODE_BYTES ((size_t)192 << 20)

typedef struct bench_run {
    const sluice_kernels *table;
    const linear_kind *kind;
    const linear_case *l;
    float *y;
    int threads;
} bench_run;

static void run_share(void *context, int worker)
{
    const bench_run *b = context;
    int32_t panels = sluice_weight_panels(&b->l->weight.w);
    int32_t begin = (int32_t)((int64_t)panels * worker / b->threads);
    int32_t end = (int32_t)((int64_t)panels * (worker + 1) / b->threads);
    b->kind->run(b->table, b->l, begin, end, 0, b->l->n, b->y, b->l->weight.w.rows);
}

/* Random bytes are a valid matrix of any format, and quick to make; scales are made small numbers.
 */
static linear_case bench_case(check *c, const linear_kind *kind, sluice_weight_format format,
                              int32_t rows, int32_t cols, int32_t n)
{
    linear_case l = check_linear_case(c, kind, format, SLUICE_PANEL_ROWS, cols, n, false);
    size_t panel = sluice_weight_panel_bytes(format, cols);
    check_buffer big = check_buffer_new(panel * (size_t)rows / SLUICE_PANEL_ROWS);
    for (size_t at = 0; at < big.bytes; at += panel)
        memcpy((char *)big.data + at, l.weight.w.data, panel);
    check_buffer_free(c, &l.weight.memory, "weights");
    l.weight.memory = big;
    l.weight.w.data = big.data;
    l.weight.w.rows = rows;
    return l;
}

static double bench_one(const check *c, const linear_kind *kind, sluice_weight_format format,
                        int32_t rows, int32_t cols, int32_t n, int threads)
{
    check scratch = *c;
    linear_case l = bench_case(&scratch, kind, format, rows, cols, n);
    bench_run b = {&c->subject, kind, &l, calloc((size_t)n * (size_t)rows, sizeof(float)), threads};
    double seconds = check_time(threads, 0.4, run_share, &b);
    free(b.y);
    check_linear_case_free(&scratch, &l);
    return seconds;
}

void check_linear_bench(const check *c, const linear_kind *kind, int threads)
{
    static const int formats[] = {0, 2, 8, 17, 26, 35, 44, 53}; /* f32, bf16, q2..q8 /64/bf16 */
    static const int32_t counts[] = {2, 5, 8, 16, 256};
    double read = check_limit_read(threads), clock = check_limit_clock();
    double peak = kind->quantised ? check_limit_dot(c->flags) : check_limit_fma(c->flags);
    if (kind->block) printf("blocks of %d: ", kind->block);
    printf("%s: %d threads, memory reads %.1f GB/s, %.2f GHz, limit %.1f products a cycle\n",
           c->family, threads, read * 1e-9, clock * 1e-9, peak);
    for (size_t f = 0; f < sizeof formats / sizeof formats[0]; f++) {
        sluice_weight_format format = check_format(formats[f]);
        if (kind->quantised && !sluice_q8_multiplies(format)) continue;
        char name[24];
        sluice_weight_format_name(format, name);
        const int32_t cols = 4096;
        size_t panel = sluice_weight_panel_bytes(format, cols);
        int32_t panels = (int32_t)(DECODE_BYTES / panel);
        double seconds = bench_one(c, kind, format, panels * 16, cols, 1, threads);
        double rate = (double)panel * panels / seconds;
        printf("%-12s n   1  %6.1f GB/s  %4.2f of memory", name, rate * 1e-9, rate / read);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            const int32_t rows = 1024;
            seconds = bench_one(c, kind, format, rows, cols, counts[i], threads);
            double products = (double)rows * cols * counts[i] / (seconds * clock * threads);
            printf("  | n %3d %5.1f/cycle", counts[i], products);
            if (peak > 0) printf(" %4.2f", products / peak);
        }
        putchar('\n');
        fflush(stdout);
    }
}
