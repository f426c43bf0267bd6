/* Allocations against brute force, tiers at their thresholds, settings that exclude each other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "levers/allocation.h"
#include "levers/budget.h"
#include "levers/rules.h"
#include "levers/tiers.h"

enum { LAYERS = 4, OPTIONS = 5 };

/* The least cost within a budget, by trying all. INFINITY: none fits. */
static double try_all(const sluice_allocation_option *options, int32_t layer, int32_t budget)
{
    double best = INFINITY;
    if (layer == LAYERS) return 0;
    for (int32_t i = 0; i < OPTIONS; i++) {
        const sluice_allocation_option *o = &options[layer * OPTIONS + i];
        if (o->units > budget) continue;
        double cost = o->cost + try_all(options, layer + 1, budget - o->units);
        if (cost < best) best = cost;
    }
    return best;
}

static void allocations_are_as_cheap_as_any(void **state)
{
    (void)state;
    sluice_rng rng;
    sluice_rng_seed(&rng, 20);
    for (int round = 0; round < 200; round++) {
        sluice_allocation_option options[LAYERS * OPTIONS];
        for (int32_t i = 0; i < LAYERS * OPTIONS; i++)
            options[i] = (sluice_allocation_option){(int32_t)(sluice_rng_next(&rng) % 12),
                                                    (double)(sluice_rng_next(&rng) % 1000)};
        int32_t budget = (int32_t)(sluice_rng_next(&rng) % 40), chosen[LAYERS], units = 0;
        double best = try_all(options, 0, budget), cost = 0;
        sluice_status status =
            sluice_allocation_solve(options, LAYERS, OPTIONS, budget, chosen, NULL);
        assert_int_equal(status == SLUICE_OK, best < INFINITY);
        if (status != SLUICE_OK) continue;
        for (int32_t l = 0; l < LAYERS; l++) {
            assert_in_range(chosen[l], 0, OPTIONS - 1);
            cost += options[l * OPTIONS + chosen[l]].cost;
            units += options[l * OPTIONS + chosen[l]].units;
        }
        assert_true(units <= budget);
        assert_true(fabs(cost - best) < 1e-9);
    }
}

/* Two layers with two of four experts at work: the first hardly minds, the second does. Costs of
 * masses are those of the k that they come near to, a little worse. */
static sluice_calibration *made_up(void)
{
    sluice_calibration *c;
    assert_int_equal(sluice_calibration_new(2, 4, 2, &c, NULL), SLUICE_OK);
    c->window = 10;
    c->windows = c->windows_done = 10;
    c->effect_window = 10;
    c->effect_windows = c->effects_done = 1;
    for (int32_t l = 0; l < 2; l++) {
        sluice_calibration_layer *layer = &c->layer[l];
        layer->output_squared = 100;
        layer->stream_squared = 1000;
        for (int32_t k = 0; k <= 2; k++)
            layer->by_k[k] =
                (sluice_calibration_choice){.loads = 100.0 * k,
                                            .cosine = 100,
                                            .cosine_stream = k == 0 ? (l == 0 ? 99.7 : 98.5) : 100,
                                            .error_squared = (2 - k) * 10.0,
                                            .part_squared = k * 10.0, /* at right angles */
                                            .dot = k * 10.0,
                                            .effect = k == 2 ? -1 : (2 - k) * (l == 0 ? 0.1 : 4.0)};
        for (int32_t i = 0; i < SLUICE_CALIBRATION_MASSES; i++)
            layer->by_mass[i] = (sluice_calibration_choice){.loads = 150,
                                                            .part_squared = 36,
                                                            .dot = 20.784609690826527,
                                                            .effect = -1}; /* leaves 20 - 12 */
    }
    return c;
}

static void a_budget_goes_where_it_matters(void **state)
{
    (void)state;
    sluice_calibration *c = made_up();
    sluice_policy_rule rules[2];
    double spent;
    assert_int_equal(sluice_budget_rules(c, 2, rules, &spent, NULL), SLUICE_OK);
    assert_int_equal(rules[0].k, 0);
    assert_int_equal(rules[1].k, 2);
    assert_true(rules[1].mass >= 1.0f);
    assert_true(spent == 2);
    assert_int_equal(sluice_budget_rules(c, 100, rules, &spent, NULL), SLUICE_OK);
    assert_int_equal(rules[0].k + rules[1].k, 4);
    assert_int_equal(sluice_budget_rules(c, 0, rules, &spent, NULL), SLUICE_OK);
    assert_int_equal(rules[0].k + rules[1].k, 0);
    sluice_calibration_free(c);
}

static void costs_are_what_was_measured_and_between_it(void **state)
{
    (void)state;
    sluice_calibration *c = made_up();
    const sluice_calibration_choice *by_k = c->layer[1].by_k;
    assert_true(fabs(sluice_budget_cost(c, 1, &by_k[0]) - 0.8) < 1e-12);
    assert_true(fabs(sluice_budget_cost(c, 1, &by_k[1]) - 0.4) < 1e-12);
    assert_true(sluice_budget_cost(c, 1, &by_k[2]) == 0);
    /* at 1.5 loads: effect 2, squared error 5 on the line of ks, 8 as it was: 2 * 8 / 5 / 10 */
    assert_true(fabs(sluice_budget_cost(c, 1, &c->layer[1].by_mass[0]) - 0.32) < 1e-12);
    c->layer[1].by_k[1].effect = -1; /* then 0.8 falls straight to nothing at two loads */
    assert_true(fabs(sluice_budget_cost(c, 1, &by_k[1]) - 0.4) < 1e-12);
    c->effects_done = 0; /* nothing measured: the error relative to the stream */
    assert_true(fabs(sluice_budget_cost(c, 1, &by_k[0]) - 0.02) < 1e-12);
    sluice_calibration_free(c);
}

static void gains_are_least_squares(void **state)
{
    (void)state;
    /* All experts add (2, 1), the first alone (1, -1): best taken half, at (0.5, -0.5). */
    sluice_calibration_choice both[] = {{.error_squared = 5}, {.part_squared = 2, .dot = 1}};
    const sluice_calibration_layer layer = {.by_k = both};
    assert_true(sluice_calibration_gain(&both[0]) == 0);
    assert_true(sluice_calibration_gain_error(&layer, &both[0]) == 5);
    assert_true(sluice_calibration_gain(&both[1]) == 0.5);
    assert_true(sluice_calibration_gain_error(&layer, &both[1]) == 4.5);
    both[1].dot = -1; /* what points away is best left out */
    assert_true(sluice_calibration_gain_error(&layer, &both[1]) == 5);
}

static void budgets_run_with_gains_unless_in_full(void **state)
{
    (void)state;
    sluice_calibration *c = made_up();
    sluice_calibration_ruling rulings[2];
    double loads;
    c->layer[1].by_k[1].dot = 8;
    c->layer[1].by_k[1].effect = 0;
    assert_int_equal(sluice_calibration_budget(c, 1, rulings, &loads, NULL), SLUICE_OK);
    assert_int_equal(rulings[0].k, 0);
    assert_int_equal(rulings[1].k, 1);
    assert_true(rulings[1].gain == 0.8f);
    assert_int_equal(sluice_calibration_budget(c, 4, rulings, &loads, NULL), SLUICE_OK);
    assert_true(rulings[0].k == 2 && rulings[0].gain == 0 && rulings[0].share == 1);
    sluice_calibration_free(c);
}

static void tiers_are_cut_at_their_thresholds(void **state)
{
    (void)state;
    sluice_calibration *c = made_up(); /* cosines 0.997 and 0.985 */
    sluice_policy_rule rules[2];
    sluice_levers levers = {.tiers = "aggressive", .light_k = 1, .full_k = 2};
    assert_int_equal(sluice_tiers_cut(&levers, c, rules, NULL), SLUICE_OK);
    assert_int_equal(rules[0].k, 0);
    assert_int_equal(rules[1].k, 1);
    levers.skip_above = 0.998f;
    levers.light_above = 0.99f;
    assert_int_equal(sluice_tiers_cut(&levers, c, rules, NULL), SLUICE_OK);
    assert_int_equal(rules[0].k, 1);
    assert_int_equal(rules[1].k, 2);
    levers.light_above = 0.999f;
    assert_int_equal(sluice_tiers_cut(&levers, c, rules, NULL), SLUICE_USAGE);
    sluice_calibration_free(c);
}

static sluice_status parse(const char *json, sluice_policy_rule *rules)
{
    return sluice_tiers_parse(json, strlen(json), "tiers.json", 2, 8, rules, NULL);
}

static void files_of_rules_are_checked(void **state)
{
    (void)state;
    sluice_policy_rule rules[2];
    assert_int_equal(parse("{\"k\": [3, 0], \"mass\": [0.5, 1]}", rules), SLUICE_OK);
    assert_int_equal(rules[0].k, 3);
    assert_true(rules[0].mass == 0.5f && rules[1].mass == 1.0f);
    assert_true(rules[0].gain == 0 && rules[1].gain == 0);
    assert_int_equal(parse("{\"k\": [3, 0], \"gain\": [0.75, 0]}", rules), SLUICE_OK);
    assert_true(rules[0].gain == 0.75f && rules[0].mass == 1);
    static const char *const bad[] = {"",
                                      "[]",
                                      "{\"k\": [1]}",
                                      "{\"k\": [1, 9]}",
                                      "{\"k\": [1, -1]}",
                                      "{\"k\": [1, 1.5]}",
                                      "{\"k\": [1, 2], \"mass\": [1]}",
                                      "{\"k\": [1, 2], \"mass\": [1, 0]}",
                                      "{\"k\": [1, 2], \"gain\": [1, -0.5]}",
                                      "{\"k\": [1, 2], \"gain\": [1, 1e9]}",
                                      "{\"k\": [1, 2], \"gain\": 1}",
                                      "{\"k\": [1, 2], \"mass\": [1, \"1\"]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(parse(bad[i], rules), SLUICE_CORRUPT);
}

static void rules_of(const sluice_levers *levers, int32_t k, const sluice_calibration *c,
                     sluice_status expected, const char *said)
{
    sluice_rules rules;
    sluice_error err = {0};
    sluice_status status = sluice_rules_new(levers, k, 2, 2, c, &rules, &err);
    if (status != expected) fail_msg("%d: %s", status, err.detail);
    if (status == SLUICE_OK) {
        assert_string_equal(rules.lossy, said);
        sluice_rules_free(&rules);
    } else {
        assert_non_null(strstr(err.detail, said));
    }
}

static void settings_are_named_or_refused(void **state)
{
    (void)state;
    sluice_calibration *c = made_up();
    const sluice_levers none = {0}, top_p = {.top_p = 0.9f}, budget = {.budget_loads = 3};
    rules_of(&none, 2, NULL, SLUICE_OK, "");
    rules_of(&none, 1, NULL, SLUICE_OK, "k 1 of 2");
    rules_of(&top_p, 1, NULL, SLUICE_OK, "k 1 of 2, top-p 0.9");
    rules_of(&budget, 2, c, SLUICE_OK, "budget of 3 loads a token");
    rules_of(&budget, 1, c, SLUICE_USAGE, "neither k");
    const sluice_levers all = {
        .tiers = "aggressive", .prefill = "k=1", .prefill_full_tail = 9, .cache_bias = 0.25f};
    rules_of(&all, 2, c, SLUICE_OK,
             "tiers aggressive (1 of 4 experts), prefill with k 1 but for 9 tokens, cache bias "
             "0.25 (answers depend on the cache)");
    const sluice_levers both = {.tiers = "balanced", .budget_loads = 1};
    const sluice_levers lone = {.light_k = 1}, odd = {.prefill = "k=3"}, far = {.top_p = 2};
    const sluice_levers tail = {.prefill_full_tail = 3}, half = {.kv = "f16"};
    const sluice_levers quarter = {.kv = "int8"}, kv = {.kv = "f8"};
    rules_of(&half, 1, NULL, SLUICE_OK, "k 1 of 2, keys and values in f16");
    rules_of(&quarter, 2, NULL, SLUICE_OK, "keys and values in int8");
    rules_of(&kv, 2, NULL, SLUICE_USAGE, "f32, f16 or int8, not 'f8'");
    rules_of(&both, 2, c, SLUICE_USAGE, "nor tiers");
    rules_of(&lone, 2, NULL, SLUICE_USAGE, "need tiers");
    rules_of(&odd, 2, NULL, SLUICE_USAGE, "k=N");
    rules_of(&far, 2, NULL, SLUICE_USAGE, "0 to 1");
    rules_of(&tail, 2, NULL, SLUICE_USAGE, "not full");
    c->windows_done--;
    rules_of(&budget, 2, c, SLUICE_USAGE, "not come to its end");
    c->top_k = 1;
    rules_of(&budget, 2, c, SLUICE_USAGE, "another model");
    sluice_calibration_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_as_cheap_as_any),
        cmocka_unit_test(a_budget_goes_where_it_matters),
        cmocka_unit_test(costs_are_what_was_measured_and_between_it),
        cmocka_unit_test(gains_are_least_squares),
        cmocka_unit_test(budgets_run_with_gains_unless_in_full),
        cmocka_unit_test(tiers_are_cut_at_their_thresholds),
        cmocka_unit_test(files_of_rules_are_checked),
        cmocka_unit_test(settings_are_named_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
