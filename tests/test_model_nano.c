/* Nano, as bundled, gives what the reference implementation gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/engines.h"
#include "support/reference.h"

typedef struct fixture {
    sluice_engine *engine;
    reference *expected;
} fixture;

static int open_nano(void **state)
{
    static fixture f;
    f.expected = reference_load(engines_source_path("models/nano/reference.json"));
    f.engine = engines_open(NULL, NULL);
    *state = &f;
    return 0;
}

static int close_nano(void **state)
{
    fixture *f = *state;
    sluice_engine_close(f->engine);
    reference_free(f->expected);
    return 0;
}

static void each(void **state, void (*check)(sluice_engine *, const reference_case *))
{
    fixture *f = *state;
    assert_int_equal(f->expected->cases_count, 8);
    for (int32_t i = 0; i < f->expected->cases_count; i++)
        check(f->engine, &f->expected->cases[i]);
}

static void logits_and_nll_match_the_reference_at_every_position(void **state)
{
    each(state, reference_check_logits);
}

static void greedy_text_is_the_reference_s(void **state)
{
    each(state, reference_check_greedy);
}

static void routes_and_hidden_rows_match_the_reference_in_every_layer(void **state)
{
    each(state, reference_check_routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_and_nll_match_the_reference_at_every_position),
        cmocka_unit_test(greedy_text_is_the_reference_s),
        cmocka_unit_test(routes_and_hidden_rows_match_the_reference_in_every_layer),
    };
    return cmocka_run_group_tests(tests, open_nano, close_nano);
}
