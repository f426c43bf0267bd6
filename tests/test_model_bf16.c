/* Nano in bf16, a Hugging Face checkpoint, gives what the reference implementation gives. The
 * checkpoint is too large for the repository: without it this test is skipped, and says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/reference.h"

typedef struct fixture {
    sluice_engine *engine;
    reference *expected;
} fixture;

static fixture shared;

static void every_case_matches_the_reference(void **state)
{
    (void)state;
    assert_int_equal(shared.expected->cases_count, 8);
    for (int32_t i = 0; i < shared.expected->cases_count; i++) {
        reference_check_logits(shared.engine, &shared.expected->cases[i]);
        reference_check_greedy(shared.engine, &shared.expected->cases[i]);
        reference_check_routes(shared.engine, &shared.expected->cases[i]);
    }
}

static void perplexity_of_both_books_matches_the_reference(void **state)
{
    (void)state;
    static const char *const files[] = {"models/nano/text/alice.txt",
                                        "models/nano/text/a_christmas_carol.txt"};
    assert_int_equal(shared.expected->texts_count, 2);
    for (int32_t i = 0; i < 2; i++)
        reference_check_text(shared.engine, &shared.expected->texts[i],
                             engines_source_path(files[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_matches_the_reference),
        cmocka_unit_test(perplexity_of_both_books_matches_the_reference),
    };
    const char *source = engines_shared_path("nano/hf-bf16");
    if (sluice_model_kind_of(source) != SLUICE_MODEL_SOURCE) {
        printf("SKIPPED: the bf16 checkpoint of Nano is not at %s (set SLUICE_SHARED)\n", source);
        return 77;
    }
    shared.engine = engines_open(source, NULL);
    shared.expected = reference_load(engines_source_path("models/nano/reference_bf16.json"));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sluice_engine_close(shared.engine);
    reference_free(shared.expected);
    return failed;
}
