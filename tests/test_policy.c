/* Rules over gates, against cases worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "model/policy.h"

enum { EXPERTS = 8, TOP_K = 4 };

/* Two rows: all of them named, largest first; the top four hold 0.8 and 0.5. */
static const int32_t named[2 * EXPERTS] = {5, 0, 3, 1, 2, 4, 6, 7, 7, 6, 5, 4, 3, 2, 1, 0};
static const float probs[2 * EXPERTS] = {0.4f,   0.2f,   0.15f,  0.05f,  0.05f,  0.05f,
                                         0.05f,  0.05f,  0.125f, 0.125f, 0.125f, 0.125f,
                                         0.125f, 0.125f, 0.125f, 0.125f};

static int32_t ids[2 * TOP_K];
static float weights[2 * TOP_K];

static void route(const sluice_policy *policy, int32_t layer, int32_t rows, const uint8_t *bulk)
{
    int32_t few_ids[2 * EXPERTS];
    float few_probs[2 * EXPERTS];
    for (int32_t row = 0; row < rows; row++)
        for (int32_t j = 0; j < policy->candidates; j++) {
            few_ids[row * policy->candidates + j] = named[row * EXPERTS + j];
            few_probs[row * policy->candidates + j] = probs[row * EXPERTS + j];
        }
    sluice_policy_gates gates = {few_ids, few_probs, bulk};
    assert_int_equal(sluice_policy_route(policy, layer, rows, &gates, ids, weights, NULL),
                     SLUICE_OK);
}

static void assert_row(const int32_t *row_ids, const float *row_weights, int32_t n,
                       const int32_t *expected_ids, const float *expected)
{
    for (int32_t j = 0; j < n; j++) {
        assert_int_equal(row_ids[j], expected_ids[j]);
        assert_true(fabsf(row_weights[j] - expected[j]) < 1e-6f);
    }
}

static void without_rules_the_top_k_are_renormalised(void **state)
{
    (void)state;
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    route(&policy, 0, 2, NULL);
    const int32_t first[] = {5, 0, 3, 1}, second[] = {7, 6, 5, 4};
    const float w1[] = {0.5f, 0.25f, 0.1875f, 0.0625f}, w2[] = {0.25f, 0.25f, 0.25f, 0.25f};
    assert_row(ids, weights, 4, first, w1);
    assert_row(ids + 4, weights + 4, 4, second, w2);
}

static void a_rule_of_k_has_the_bits_of_a_smaller_k(void **state)
{
    (void)state;
    const sluice_policy_rule rules[] = {{4, 1, 0}, {2, 1, 0}};
    sluice_policy small = sluice_policy_of(EXPERTS, TOP_K, 2), ruled = small;
    float expected[4];
    route(&small, 1, 2, NULL);
    memcpy(expected, weights, sizeof expected);
    sluice_policy_set_rules(&ruled, 2, rules, NULL);
    assert_int_equal(ruled.entries, 4);
    route(&ruled, 1, 2, NULL);
    assert_memory_equal(weights, expected, 2 * sizeof *weights);
    assert_memory_equal(weights + 4, expected + 2, 2 * sizeof *weights);
    assert_true(weights[2] == 0.0f && weights[3] == 0.0f);
}

static void a_layer_of_none_has_no_weights(void **state)
{
    (void)state;
    const sluice_policy_rule rules[] = {{0, 1, 0}};
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    sluice_policy_set_rules(&policy, 1, rules, NULL);
    assert_int_equal(policy.entries, 1);
    assert_int_equal(sluice_policy_entries(&policy, 0), 0);
    route(&policy, 0, 2, NULL);
    assert_true(weights[0] == 0.0f && weights[1] == 0.0f);
}

static void a_share_of_the_gates_is_of_the_top_k_and_by_row(void **state)
{
    (void)state;
    const sluice_policy_rule rules[] = {{4, 0.7f, 0}};
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    sluice_policy_set_rules(&policy, 1, rules, NULL);
    route(&policy, 0, 2, NULL); /* 0.56 of 0.8 are two; 0.35 of 0.5 are three */
    const int32_t first[] = {5, 0}, second[] = {7, 6, 5};
    const float w1[] = {2.0f / 3, 1.0f / 3, 0, 0}, w2[] = {1.0f / 3, 1.0f / 3, 1.0f / 3, 0};
    assert_row(ids, weights, 2, first, w1);
    assert_true(weights[2] == 0.0f && weights[3] == 0.0f);
    assert_row(ids + 4, weights + 4, 3, second, w2);
    assert_true(weights[7] == 0.0f);
}

static void a_gain_keeps_the_weights_of_the_top_k(void **state)
{
    (void)state;
    const sluice_policy_rule rules[] = {{2, 1, 0.5f}};
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    sluice_policy_set_rules(&policy, 1, rules, NULL);
    route(&policy, 0, 2, NULL);
    const int32_t first[] = {5, 0}, second[] = {7, 6};
    const float w1[] = {0.25f, 0.125f}, w2[] = {0.125f, 0.125f};
    assert_row(ids, weights, 2, first, w1);
    assert_row(ids + 2, weights + 2, 2, second, w2);
}

static void the_bulk_of_a_prompt_has_rules_of_its_own(void **state)
{
    (void)state;
    const sluice_policy_rule rules[] = {{4, 1, 0}}, prompt[] = {{1, 1, 0}};
    const uint8_t bulk[] = {1, 0};
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    sluice_policy_set_rules(&policy, 1, rules, prompt);
    assert_int_equal(sluice_policy_entries(&policy, 0), 4);
    route(&policy, 0, 2, bulk);
    assert_true(weights[0] == 1.0f && weights[1] == 0.0f);
    assert_true(weights[7] != 0.0f);
    route(&policy, 0, 2, NULL);
    assert_true(weights[3] != 0.0f);
}

static bool is_resident(const void *context, int32_t layer, int32_t id)
{
    (void)layer;
    return *(const uint32_t *)context >> id & 1;
}

static void a_bias_swaps_what_differs_too_little(void **state)
{
    (void)state;
    uint32_t resident = 1U << 5 | 1U << 2 | 1U << 6; /* wanted: 5 0 3 1, then 2 4 6 7 */
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, TOP_K);
    sluice_policy_set_bias(&policy, 0.1f, is_resident, &resident); /* of 0.8 */
    assert_int_equal(policy.candidates, 8);
    route(&policy, 0, 1, NULL);
    /* 1 gives way to 2 (equal); 3 would have to give way to 6, 0.10 weaker: more than 0.08 */
    const int32_t expected[] = {5, 0, 3, 2};
    const float w[] = {0.5f, 0.25f, 0.1875f, 0.0625f};
    assert_row(ids, weights, 4, expected, w);
    policy.cache_bias = 0.15f; /* now it does; 0 has no resident one left to give way to */
    route(&policy, 0, 1, NULL);
    const int32_t more[] = {5, 0, 2, 6};
    const float v[] = {0.4f / 0.7f, 0.2f / 0.7f, 0.05f / 0.7f, 0.05f / 0.7f};
    assert_row(ids, weights, 4, more, v);
}

static void a_bias_leaves_what_is_resident_and_in_order(void **state)
{
    (void)state;
    uint32_t resident = 0xff;
    sluice_policy plain = sluice_policy_of(EXPERTS, TOP_K, TOP_K), policy = plain;
    float expected[TOP_K];
    route(&plain, 0, 1, NULL);
    memcpy(expected, weights, sizeof expected);
    sluice_policy_set_bias(&policy, 1, is_resident, &resident);
    route(&policy, 0, 1, NULL);
    assert_memory_equal(weights, expected, sizeof expected);
    resident = 0; /* nothing to prefer */
    route(&policy, 0, 1, NULL);
    assert_memory_equal(weights, expected, sizeof expected);
    assert_int_equal(ids[0], 5);
    assert_int_equal(ids[3], 1);
}

static void gates_that_are_not_finite_name_the_layer(void **state)
{
    (void)state;
    sluice_policy policy = sluice_policy_of(EXPERTS, TOP_K, 1);
    const int32_t id = 3;
    const float bad = NAN;
    sluice_policy_gates gates = {&id, &bad, NULL};
    sluice_error err = {0};
    assert_int_equal(sluice_policy_route(&policy, 7, 1, &gates, ids, weights, &err),
                     SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "layer 7"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_the_top_k_are_renormalised),
        cmocka_unit_test(a_rule_of_k_has_the_bits_of_a_smaller_k),
        cmocka_unit_test(a_layer_of_none_has_no_weights),
        cmocka_unit_test(a_share_of_the_gates_is_of_the_top_k_and_by_row),
        cmocka_unit_test(a_gain_keeps_the_weights_of_the_top_k),
        cmocka_unit_test(the_bulk_of_a_prompt_has_rules_of_its_own),
        cmocka_unit_test(a_bias_swaps_what_differs_too_little),
        cmocka_unit_test(a_bias_leaves_what_is_resident_and_in_order),
        cmocka_unit_test(gates_that_are_not_finite_name_the_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
