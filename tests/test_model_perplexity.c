/* The perplexity of two books under Nano is the reference's: every position of 2 x 4 windows, or of
 * all 2 x 16 where SLUICE_TEST_LONG is set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/reference.h"

static void perplexity_of_both_books_matches_the_reference(void **state)
{
    (void)state;
    static const char *const files[] = {"models/nano/text/alice.txt",
                                        "models/nano/text/a_christmas_carol.txt"};
    reference *expected = reference_load(engines_source_path("models/nano/reference.json"));
    sluice_engine *engine = engines_open(NULL, NULL);
    assert_int_equal(expected->texts_count, 2);
    for (int32_t i = 0; i < 2; i++)
        reference_check_text(engine, &expected->texts[i], engines_source_path(files[i]));
    sluice_engine_close(engine);
    reference_free(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perplexity_of_both_books_matches_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
