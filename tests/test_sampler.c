/* Sampling: what each parameter keeps, how often each token comes, and that it never changes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sampler.h"

#define VOCAB 8

static const float logits[VOCAB] = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f, 0.0f, 2.5f, -4.0f};

static sluice_sampler *sampler_of(const sluice_sampling *sampling)
{
    sluice_sampler *sampler;
    assert_int_equal(sluice_sampler_new(VOCAB, NULL, &sampler, NULL), SLUICE_OK);
    assert_int_equal(sluice_sampler_begin(sampler, sampling, NULL), SLUICE_OK);
    return sampler;
}

static int32_t draw(sluice_sampler *sampler, const float *from)
{
    int32_t token = -1;
    assert_int_equal(sluice_sampler_draw(sampler, from, &token, NULL), SLUICE_OK);
    assert_in_range(token, 0, VOCAB - 1);
    return token;
}

/* Counts many draws, and compares with the shares (unnormalised) that were meant. */
static void draws_follow(const sluice_sampling *sampling, const double *shares)
{
    enum { DRAWS = 40000 };
    int32_t counts[VOCAB] = {0};
    double sum = 0.0;
    sluice_sampler *sampler = sampler_of(sampling);
    for (int i = 0; i < DRAWS; i++)
        counts[draw(sampler, logits)]++;
    sluice_sampler_free(sampler);
    for (int i = 0; i < VOCAB; i++)
        sum += shares[i];
    for (int i = 0; i < VOCAB; i++) {
        double p = shares[i] / sum, sigma = sqrt(DRAWS * p * (1 - p));
        if (fabs(counts[i] - DRAWS * p) > 5 * sigma)
            fail_msg("token %d came %d times, %.0f were meant", i, counts[i], DRAWS * p);
    }
}

static void shares_of(double temperature, double *shares)
{
    for (int i = 0; i < VOCAB; i++)
        shares[i] = exp((double)logits[i] / temperature);
}

static void temperature_zero_takes_the_largest_and_of_equals_the_lower_id(void **state)
{
    (void)state;
    sluice_sampling sampling = sluice_sampling_greedy();
    sluice_sampler *sampler = sampler_of(&sampling);
    assert_int_equal(draw(sampler, logits), 1);
    static const float last[VOCAB] = {-INFINITY, -2, -2, -2, -2, -2, -2, -1};
    assert_int_equal(draw(sampler, last), 7);
    static const float equal[VOCAB] = {0};
    assert_int_equal(draw(sampler, equal), 0);
    sluice_sampler_free(sampler);
}

static void temperature_shapes_the_whole_distribution(void **state)
{
    (void)state;
    static const float temperatures[] = {0.5f, 1.0f, 1.7f};
    for (int i = 0; i < 3; i++) {
        double shares[VOCAB];
        sluice_sampling sampling = sluice_sampling_greedy();
        sampling.temperature = temperatures[i];
        sampling.seed = (uint64_t)i;
        shares_of((double)temperatures[i], shares);
        draws_follow(&sampling, shares);
    }
}

static void top_k_keeps_the_k_best(void **state)
{
    (void)state;
    double shares[VOCAB];
    sluice_sampling sampling = sluice_sampling_greedy();
    sampling.temperature = 1.0f;
    shares_of(1.0, shares);
    shares[0] = shares[4] = shares[5] = shares[7] = 0.0;
    sampling.top_k = 4;
    draws_follow(&sampling, shares);
    /* Tokens 1 and 3 are equal: the lower id ranks first. */
    sampling.top_k = 1;
    sluice_sampler *sampler = sampler_of(&sampling);
    for (int i = 0; i < 50; i++)
        assert_int_equal(draw(sampler, logits), 1);
    sluice_sampler_free(sampler);
}

static void top_p_keeps_the_fewest_that_reach_it(void **state)
{
    (void)state;
    double shares[VOCAB];
    sluice_sampling sampling = sluice_sampling_greedy();
    sampling.temperature = 1.0f;
    sampling.top_p = 0.7f; /* 1 and 3 hold 0.63, with 6 it is 0.82 */
    shares_of(1.0, shares);
    shares[0] = shares[2] = shares[4] = shares[5] = shares[7] = 0.0;
    draws_follow(&sampling, shares);
}

static void min_p_keeps_what_is_near_the_best(void **state)
{
    (void)state;
    double shares[VOCAB];
    sluice_sampling sampling = sluice_sampling_greedy();
    sampling.temperature = 1.0f;
    sampling.min_p = 0.5f; /* exp(-0.5) is 0.61, exp(-1) is 0.37 */
    shares_of(1.0, shares);
    shares[0] = shares[2] = shares[4] = shares[5] = shares[7] = 0.0;
    draws_follow(&sampling, shares);
}

static void presence_and_frequency_count_generated_tokens_alone(void **state)
{
    (void)state;
    static const int32_t one = 1, three = 3, six = 6;
    sluice_sampling sampling = sluice_sampling_greedy();
    sampling.presence_penalty = 0.6f;
    sluice_sampler *sampler = sampler_of(&sampling);
    sluice_sampler_see(sampler, &one, 1, false);
    assert_int_equal(draw(sampler, logits), 1);
    sluice_sampler_see(sampler, &one, 1, true);
    assert_int_equal(draw(sampler, logits), 3);
    sluice_sampler_see(sampler, &three, 1, true);
    assert_int_equal(draw(sampler, logits), 6);
    sluice_sampler_see(sampler, &six, 1, true);
    sluice_sampler_see(sampler, &six, 1, true); /* presence does not add up */
    assert_int_equal(draw(sampler, logits), 1);
    sampling.presence_penalty = 0.0f;
    sampling.frequency_penalty = 0.3f; /* frequency does */
    assert_int_equal(sluice_sampler_begin(sampler, &sampling, NULL), SLUICE_OK);
    sluice_sampler_see(sampler, &one, 1, true);
    sluice_sampler_see(sampler, &three, 1, true);
    sluice_sampler_see(sampler, &three, 1, true);
    assert_int_equal(draw(sampler, logits), 1);
    sluice_sampler_see(sampler, &one, 1, true);
    assert_int_equal(draw(sampler, logits), 6);
    sluice_sampler_free(sampler);
}

static void repetition_counts_the_prompt_too_and_lowers_either_sign(void **state)
{
    (void)state;
    static const int32_t prompt[] = {1, 3};
    static const float negative[VOCAB] = {-1, -1.5f, -3, -3, -3, -3, -3, -3};
    static const int32_t zero = 0;
    sluice_sampling sampling = sluice_sampling_greedy();
    sampling.repetition_penalty = 2.0f;
    sluice_sampler *sampler = sampler_of(&sampling);
    sluice_sampler_see(sampler, prompt, 2, false);
    assert_int_equal(draw(sampler, logits), 6);
    assert_int_equal(sluice_sampler_begin(sampler, &sampling, NULL), SLUICE_OK);
    assert_int_equal(draw(sampler, negative), 0);
    sluice_sampler_see(sampler, &zero, 1, false);
    assert_int_equal(draw(sampler, negative), 1);
    sluice_sampler_free(sampler);
}

/* Computed by another program from the same generator. */
static void the_same_seed_draws_the_same_on_every_machine(void **state)
{
    (void)state;
    static const struct {
        int32_t top_k;
        float top_p;
        int32_t drawn[24];
    } cases[] = {
        {0, 1.0f, {1, 2, 3, 6, 6, 3, 3, 6, 3, 3, 3, 1, 5, 1, 3, 6, 3, 6, 3, 3, 1, 1, 2, 3}},
        {6, 1.0f, {1, 3, 6, 2, 5, 6, 6, 2, 6, 3, 6, 1, 6, 3, 6, 2, 3, 2, 6, 6, 1, 1, 3, 3}},
        {0, 0.95f, {1, 3, 6, 2, 0, 6, 6, 2, 6, 3, 6, 1, 6, 1, 6, 2, 3, 2, 6, 6, 1, 1, 3, 3}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        sluice_sampling sampling = sluice_sampling_greedy();
        sampling.temperature = 1.0f;
        sampling.seed = 42;
        sampling.top_k = cases[c].top_k;
        sampling.top_p = cases[c].top_p;
        sluice_sampler *sampler = sampler_of(&sampling);
        for (int again = 0; again < 2; again++) {
            for (size_t i = 0; i < 24; i++)
                assert_int_equal(draw(sampler, logits), cases[c].drawn[i]);
            assert_int_equal(sluice_sampler_begin(sampler, &sampling, NULL), SLUICE_OK);
        }
        sluice_sampler_free(sampler);
    }
}

/* top_p over a large vocabulary ranks only what it needs: it must keep what ranking all keeps. */
static void top_p_of_a_large_vocabulary_keeps_what_top_k_with_everything_keeps(void **state)
{
    (void)state;
    enum { LARGE = 5000 };
    static float many[LARGE];
    for (int32_t i = 0; i < LARGE; i++)
        many[i] = (float)((i * 7919) % 1000) * 0.004f; /* flat: 0.9 of it are thousands */
    for (int i = 0; i < 4; i++) {
        static const float top_p[] = {0.01f, 0.3f, 0.9f, 0.999f};
        sluice_sampling sampling = sluice_sampling_greedy();
        sluice_sampler *some, *all;
        sampling.temperature = 0.8f;
        sampling.top_p = top_p[i];
        sampling.min_p = i == 2 ? 0.05f : 0.0f;
        assert_int_equal(sluice_sampler_new(LARGE, NULL, &some, NULL), SLUICE_OK);
        assert_int_equal(sluice_sampler_new(LARGE, NULL, &all, NULL), SLUICE_OK);
        assert_int_equal(sluice_sampler_begin(some, &sampling, NULL), SLUICE_OK);
        sampling.top_k = LARGE - 1; /* leaves out one token of 5000, the least likely */
        assert_int_equal(sluice_sampler_begin(all, &sampling, NULL), SLUICE_OK);
        for (int j = 0; j < 20; j++) {
            int32_t a, b;
            assert_int_equal(sluice_sampler_draw(some, many, &a, NULL), SLUICE_OK);
            assert_int_equal(sluice_sampler_draw(all, many, &b, NULL), SLUICE_OK);
            if (fabsf(many[a] - many[b]) > 0.005f)
                fail_msg("top_p %g: %d or %d", (double)top_p[i], a, b);
        }
        sluice_sampler_free(some);
        sluice_sampler_free(all);
    }
}

static void logits_that_are_no_numbers_are_an_error(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++)
        for (int32_t at = 0; at < VOCAB; at++)
            for (int greedy = 0; greedy < 2; greedy++) {
                float broken[VOCAB];
                int32_t token;
                sluice_sampling sampling = sluice_sampling_greedy();
                sampling.temperature = greedy ? 0.0f : 1.0f;
                sluice_sampler *sampler = sampler_of(&sampling);
                for (int j = 0; j < VOCAB; j++)
                    broken[j] = j == at ? bad[i] : logits[j];
                assert_int_equal(sluice_sampler_draw(sampler, broken, &token, NULL),
                                 SLUICE_CORRUPT);
                sluice_sampler_free(sampler);
            }
}

static void parameters_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    struct {
        sluice_sampling sampling;
        const char *name;
    } cases[] = {
        {{.temperature = -1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f}, "temperature"},
        {{.temperature = NAN, .top_p = 1.0f, .repetition_penalty = 1.0f}, "temperature"},
        {{.top_k = -1, .top_p = 1.0f, .repetition_penalty = 1.0f}, "top_k"},
        {{.top_p = 0.0f, .repetition_penalty = 1.0f}, "top_p"},
        {{.top_p = 1.5f, .repetition_penalty = 1.0f}, "top_p"},
        {{.top_p = 1.0f, .min_p = 2.0f, .repetition_penalty = 1.0f}, "min_p"},
        {{.top_p = 1.0f, .repetition_penalty = 0.0f}, "repetition_penalty"},
        {{.top_p = 1.0f, .repetition_penalty = 1.0f, .presence_penalty = NAN}, "presence"},
    };
    sluice_sampler *sampler;
    assert_int_equal(sluice_sampler_new(VOCAB, NULL, &sampler, NULL), SLUICE_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_error err = {0};
        assert_int_equal(sluice_sampler_begin(sampler, &cases[i].sampling, &err), SLUICE_USAGE);
        assert_non_null(strstr(err.detail, cases[i].name));
    }
    sluice_sampler_free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(temperature_zero_takes_the_largest_and_of_equals_the_lower_id),
        cmocka_unit_test(temperature_shapes_the_whole_distribution),
        cmocka_unit_test(top_k_keeps_the_k_best),
        cmocka_unit_test(top_p_keeps_the_fewest_that_reach_it),
        cmocka_unit_test(min_p_keeps_what_is_near_the_best),
        cmocka_unit_test(presence_and_frequency_count_generated_tokens_alone),
        cmocka_unit_test(repetition_counts_the_prompt_too_and_lowers_either_sign),
        cmocka_unit_test(the_same_seed_draws_the_same_on_every_machine),
        cmocka_unit_test(top_p_of_a_large_vocabulary_keeps_what_top_k_with_everything_keeps),
        cmocka_unit_test(logits_that_are_no_numbers_are_an_error),
        cmocka_unit_test(parameters_out_of_range_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
