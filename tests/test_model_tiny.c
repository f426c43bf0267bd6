/* Four random models with other sizes, formats and layouts give what the reference gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/reference.h"

static void check(const char *name)
{
    char model[256], file[300];
    snprintf(model, sizeof model, "tests/data/tiny/%s", name);
    snprintf(file, sizeof file, "%s/reference.json", model);
    reference *expected = reference_load(engines_source_path(file));
    sluice_engine *engine = engines_open(engines_source_path(model), NULL);
    assert_int_equal(expected->cases_count, 5);
    for (int32_t i = 0; i < expected->cases_count; i++) {
        reference_check_logits(engine, &expected->cases[i]);
        reference_check_greedy(engine, &expected->cases[i]);
    }
    sluice_engine_close(engine);
    reference_free(expected);
}

static void flat_names_in_bf16(void **state)
{
    (void)state;
    check("hf-bf16-flat");
}

static void split_experts_in_f32_shards(void **state)
{
    (void)state;
    check("hf-split-f32-sharded");
}

static void eight_bits_in_groups_of_32(void **state)
{
    (void)state;
    check("mlx-8bit-g32");
}

static void two_bits_in_groups_of_64(void **state)
{
    (void)state;
    check("mlx-2bit-g64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flat_names_in_bf16),
        cmocka_unit_test(split_experts_in_f32_shards),
        cmocka_unit_test(eight_bits_in_groups_of_32),
        cmocka_unit_test(two_bits_in_groups_of_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
