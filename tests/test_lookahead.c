/* Guessing the next layer's experts: done while records are missing, and not where a layer misses
 * nothing, so that a model in memory pays nothing for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/engines.h"

#define TOKENS 40

/* What the last of three equal answers guessed: those before it have read what they could. */
static sluice_stats last_answer(uint64_t cache_bytes)
{
    sluice_engine_options options = engines_options();
    options.cache_bytes = cache_bytes;
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine);
    const sluice_model_info *info = sluice_engine_info(engine);
    int32_t prompt[20], ids[TOKENS], count;
    for (int i = 0; i < 20; i++)
        prompt[i] = (i * 3001 + 5) % info->vocab;
    sluice_stats stats;
    for (int i = 0; i < 3; i++) {
        sluice_session_clear(session);
        sluice_engine_stats_reset(engine);
        engines_generate(session, prompt, 20, TOKENS, ids, &count);
    }
    sluice_engine_stats(engine, &stats);
    sluice_session_close(session);
    sluice_engine_close(engine);
    return stats;
}

static void a_small_cache_is_read_ahead_into(void **state)
{
    (void)state;
    const sluice_stats stats = last_answer((uint64_t)6 << 20);
    assert_true(stats.lookahead_guessed > 0);
    assert_true(stats.lookahead_right > 0);
}

static void a_model_in_memory_guesses_nothing(void **state)
{
    (void)state;
    const sluice_stats stats = last_answer((uint64_t)64 << 20);
    assert_int_equal(stats.expert_hits, stats.expert_requests);
    assert_int_equal(stats.lookahead_guessed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_cache_is_read_ahead_into),
        cmocka_unit_test(a_model_in_memory_guesses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
