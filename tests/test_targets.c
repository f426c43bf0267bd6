/* Choosing what is adapted: words, and the experts that the data uses most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/engines.h"
#include "train/targets.h"

static sluice_config nano;

static void words_are_targets_and_others_are_named(void **state)
{
    static const char *const wrong[] = {
        "",           "all",         "shared,",      "expert",
        "experts:",   "experts:0%",  "experts:101%", "experts:5",
        "experts:x%", "experts:5%%", "attn gdn",     "experts:nan%"};
    sluice_targets targets;
    sluice_error err = {0};
    (void)state;
    assert_int_equal(sluice_targets_parse("attn,gdn,shared,experts:12.5%", &targets, NULL),
                     SLUICE_OK);
    assert_true(targets.attn && targets.gdn && targets.shared && targets.experts);
    assert_true(targets.share == 0.125);
    assert_true(sluice_targets_counts(&targets));
    assert_int_equal(sluice_targets_experts(&targets, &nano), 64);
    assert_int_equal(sluice_targets_parse("experts", &targets, NULL), SLUICE_OK);
    assert_true(!targets.attn && !targets.gdn && !targets.shared && targets.share == 1.0);
    assert_false(sluice_targets_counts(&targets));
    assert_int_equal(sluice_targets_experts(&targets, &nano), 512);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (sluice_targets_parse(wrong[i], &targets, &err) != SLUICE_USAGE)
            fail_msg("\"%s\" was taken", wrong[i]);
        assert_non_null(strstr(err.detail, "is not a target"));
    }
}

static int32_t count_of(const sluice_adapter_key *keys, int32_t n, sluice_adapter_module first,
                        sluice_adapter_module last)
{
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++)
        count += keys[i].module >= first && keys[i].module <= last;
    return count;
}

static void each_word_adapts_its_matrices_of_every_layer(void **state)
{
    static const struct {
        const char *text;
        int32_t attention, gdn, shared, routed;
    } cases[] = {{"attn", 8, 0, 0, 0}, /* Nano has two attention layers and six of the other kind */
                 {"gdn", 0, 18, 0, 0},
                 {"shared", 0, 0, 24, 0},
                 {"experts", 0, 0, 0, 3 * 512},
                 {"gdn,attn", 8, 18, 0, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_targets targets;
        sluice_adapter_key *keys;
        sluice_adapter *adapter;
        int32_t n;
        assert_int_equal(sluice_targets_parse(cases[i].text, &targets, NULL), SLUICE_OK);
        assert_int_equal(sluice_targets_keys(&targets, &nano, NULL, 4, 6.0f, &keys, &n, NULL),
                         SLUICE_OK);
        assert_int_equal(count_of(keys, n, SLUICE_ADAPTER_ATTN_Q, SLUICE_ADAPTER_ATTN_O),
                         cases[i].attention);
        assert_int_equal(count_of(keys, n, SLUICE_ADAPTER_GDN_QKV, SLUICE_ADAPTER_GDN_OUT),
                         cases[i].gdn);
        assert_int_equal(count_of(keys, n, SLUICE_ADAPTER_SHARED_GATE, SLUICE_ADAPTER_SHARED_DOWN),
                         cases[i].shared);
        assert_int_equal(count_of(keys, n, SLUICE_ADAPTER_EXPERT_GATE, SLUICE_ADAPTER_EXPERT_DOWN),
                         cases[i].routed);
        for (int32_t k = 0; k < n; k++)
            assert_true(keys[k].rank == 4 && keys[k].scale == 1.5f);
        /* The model has them all, and none twice. */
        assert_int_equal(sluice_adapter_new(&nano, keys, n, false, NULL, &adapter, NULL),
                         SLUICE_OK);
        sluice_adapter_free(adapter);
        free(keys);
    }
}

static void the_most_used_experts_are_chosen_and_ties_go_to_the_first(void **state)
{
    const sluice_targets targets = {.experts = true, .share = 4.0 / 512};
    int64_t counts[512] = {0};
    sluice_adapter_key *keys;
    int32_t n;
    (void)state;
    counts[3 * 64 + 9] = 5;
    counts[7 * 64 + 63] = 8;
    counts[2 * 64 + 1] = 2; /* three have two uses: the first two places are taken */
    counts[2 * 64 + 0] = 2;
    counts[5 * 64 + 0] = 2;
    assert_int_equal(sluice_targets_keys(&targets, &nano, counts, 1, 1.0f, &keys, &n, NULL),
                     SLUICE_OK);
    assert_int_equal(n, 12);
    static const int32_t want[4][2] = {{7, 63}, {3, 9}, {2, 0}, {2, 1}};
    for (int i = 0; i < 4; i++)
        for (int m = 0; m < 3; m++) {
            assert_int_equal(keys[3 * i + m].layer, want[i][0]);
            assert_int_equal(keys[3 * i + m].expert, want[i][1]);
            assert_int_equal((int)keys[3 * i + m].module, SLUICE_ADAPTER_EXPERT_GATE + m);
        }
    free(keys);
}

static int set_up(void **state)
{
    (void)state;
    return sluice_config_load(engines_source_path("models/nano/config.json"), &nano, NULL) !=
           SLUICE_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_targets_and_others_are_named),
        cmocka_unit_test(each_word_adapts_its_matrices_of_every_layer),
        cmocka_unit_test(the_most_used_experts_are_chosen_and_ties_go_to_the_first),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
