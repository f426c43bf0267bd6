/* How matrices are cut into tasks: every panel for every row once, whatever the shape and the
 * number of threads, and small tasks at the end of an operation of few rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu.h"

#define PANELS_MAX 2100
#define ROWS_MAX 1000

static const int32_t thread_counts[] = {1, 2, 3, 7, 32};

#define COUNT_OF(array) ((int)(sizeof(array) / sizeof *(array)))

static sluice_weight weight_of(int32_t rows, int32_t cols)
{
    return (sluice_weight){
        .format = {SLUICE_WEIGHT_AFFINE, 4, 64, SLUICE_WEIGHT_BF16}, .rows = rows, .cols = cols};
}

/* Rows of activations that each panel met. */
static void count(const sluice_cpu_cut *cut, int32_t n, int32_t met[PANELS_MAX])
{
    memset(met, 0, PANELS_MAX * sizeof *met);
    for (int32_t task = 0; task < cut->tasks; task++) {
        const sluice_cpu_piece piece = sluice_cpu_piece_of(cut, n, task);
        assert_true(piece.panel_begin >= 0 && piece.panel_begin < piece.panel_end);
        assert_true(piece.panel_end <= cut->panels);
        assert_true(piece.row >= 0 && piece.rows > 0 && piece.row + piece.rows <= n);
        for (int32_t p = piece.panel_begin; p < piece.panel_end; p++)
            met[p] += piece.rows;
    }
}

static void every_panel_meets_every_row_once(void **state)
{
    static const int32_t rows[] = {1, 16, 17, 64, 1000, 1024, 8200, 32768};
    static const int32_t cols[] = {64, 1024, 4096}, ns[] = {1, 2, 8, 9, 240, 241, ROWS_MAX};
    static int32_t met[PANELS_MAX];
    (void)state;
    for (int t = 0; t < COUNT_OF(thread_counts); t++)
        for (int i = 0; i < COUNT_OF(rows) * COUNT_OF(cols) * COUNT_OF(ns) * 2; i++) {
            const sluice_cpu cpu = {.threads = thread_counts[t]};
            const int32_t n = ns[i / 2 % COUNT_OF(ns)];
            const sluice_weight w = weight_of(rows[i / 2 / COUNT_OF(ns) % COUNT_OF(rows)],
                                              cols[i / 2 / COUNT_OF(ns) / COUNT_OF(rows)]);
            const sluice_cpu_cut cut = sluice_cpu_cut_of(&cpu, &w, n, 1, i % 2);
            count(&cut, n, met);
            for (int32_t p = 0; p < cut.panels; p++)
                assert_int_equal(met[p], n);
        }
}

static void the_last_matrix_of_one_row_ends_in_single_panels(void **state)
{
    (void)state;
    for (int t = 0; t < COUNT_OF(thread_counts); t++) {
        const sluice_cpu cpu = {.threads = thread_counts[t]};
        const sluice_weight w = weight_of(32768, 4096);
        const sluice_cpu_cut cut = sluice_cpu_cut_of(&cpu, &w, 1, 1, true);
        int32_t before = cut.panels_task;
        assert_true(before > 1);
        for (int32_t task = 0; task < cut.tasks; task++) {
            const sluice_cpu_piece piece = sluice_cpu_piece_of(&cut, 1, task);
            const int32_t panels = piece.panel_end - piece.panel_begin;
            assert_true(panels <= before);
            before = panels;
        }
        assert_int_equal(before, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_panel_meets_every_row_once),
        cmocka_unit_test(the_last_matrix_of_one_row_ends_in_single_panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
