/* config.json: both forms, every default of the family, and numbers that nobody could mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/config.h"
#include "support/folders.h"

static json_t *nano(void)
{
    char *text = folders_load(folders_path(SLUICE_SOURCE_DIR, "models/nano/config.json"), NULL);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(root);
    return root;
}

static json_t *text_of(json_t *root)
{
    return json_object_get(root, "text_config");
}

static sluice_status parse(const json_t *root, sluice_config *config, sluice_error *err)
{
    char *text = json_dumps(root, 0);
    sluice_status status = sluice_config_parse(text, strlen(text), "config.json", config, err);
    free(text);
    return status;
}

static void nano_is_read(void **state)
{
    (void)state;
    sluice_config config;
    const char *path = folders_path(SLUICE_SOURCE_DIR, "models/nano/config.json");
    assert_int_equal(sluice_config_load(path, &config, NULL), SLUICE_OK);
    assert_int_equal(config.layers, 8);
    assert_int_equal(config.hidden, 384);
    assert_int_equal(config.vocab, 8192);
    assert_int_equal(config.heads, 6);
    assert_int_equal(config.kv_heads, 2);
    assert_int_equal(config.head_dim, 64);
    assert_int_equal(config.rotary_dim, 16);
    assert_true(config.rope_theta == 100000.0);
    assert_int_equal(config.gdn_k_heads, 4);
    assert_int_equal(config.gdn_v_heads, 8);
    assert_int_equal(config.gdn_k_dim, 64);
    assert_int_equal(config.gdn_v_dim, 64);
    assert_int_equal(config.conv_width, 4);
    assert_int_equal(config.experts, 64);
    assert_int_equal(config.top_k, 8);
    assert_int_equal(config.expert_width, 64);
    assert_int_equal(config.shared_width, 128);
    assert_int_equal(config.mtp_layers, 1);
    assert_int_equal(config.context_max, 8192);
    assert_false(config.tied);
    for (int i = 0; i < 8; i++)
        assert_int_equal(config.mixer[i], i % 4 == 3 ? SLUICE_MIXER_ATTENTION : SLUICE_MIXER_GDN);
}

static void the_flat_form_is_read_and_inner_rope_parameters_win(void **state)
{
    (void)state;
    sluice_config config;
    const char *path = folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/hf-bf16-flat/config.json");
    assert_int_equal(sluice_config_load(path, &config, NULL), SLUICE_OK);
    assert_int_equal(config.layers, 4);
    assert_int_equal(config.head_dim, 32);
    assert_int_equal(config.rotary_dim, 16); /* .5 inside, .25 outside */
}

static void older_configs_keep_rope_at_the_top_level(void **state)
{
    (void)state;
    json_t *root = nano();
    json_object_del(text_of(root), "rope_parameters");
    json_object_set_new(text_of(root), "rope_theta", json_integer(5000000));
    json_object_set_new(text_of(root), "partial_rotary_factor", json_real(0.5));
    sluice_config config;
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_int_equal(config.rotary_dim, 32);
    assert_true(config.rope_theta == 5e6);
    json_decref(root);
}

static void an_interval_stands_for_layer_types(void **state)
{
    (void)state;
    json_t *root = nano();
    json_object_del(text_of(root), "layer_types");
    sluice_config config;
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_int_equal(config.mixer[3], SLUICE_MIXER_ATTENTION);
    assert_int_equal(config.mixer[2], SLUICE_MIXER_GDN);
    json_object_set_new(text_of(root), "full_attention_interval", json_integer(2));
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_int_equal(config.mixer[1], SLUICE_MIXER_ATTENTION);
    assert_int_equal(config.mixer[4], SLUICE_MIXER_GDN);
    json_decref(root);
}

static void head_dim_defaults_to_hidden_by_heads(void **state)
{
    (void)state;
    json_t *root = nano();
    sluice_config config;
    json_object_del(text_of(root), "head_dim");
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_int_equal(config.head_dim, 64);
    json_object_set_new(text_of(root), "num_attention_heads", json_integer(10));
    sluice_error err;
    assert_int_equal(parse(root, &config, &err), SLUICE_CORRUPT);
    assert_non_null(strstr(err.detail, "head_dim"));
    json_decref(root);
}

static void the_outer_config_ties(void **state)
{
    (void)state;
    json_t *root = nano();
    sluice_config config;
    json_object_set_new(text_of(root), "tie_word_embeddings", json_true());
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_false(config.tied);
    json_object_del(root, "tie_word_embeddings");
    assert_int_equal(parse(root, &config, NULL), SLUICE_OK);
    assert_true(config.tied);
    json_decref(root);
}

/* Each field, set to each of these, is refused with its name. */
static void absurd_numbers_are_refused_with_the_field(void **state)
{
    (void)state;
    static const char *const fields[] = {"num_hidden_layers",
                                         "hidden_size",
                                         "vocab_size",
                                         "num_attention_heads",
                                         "num_key_value_heads",
                                         "head_dim",
                                         "linear_num_key_heads",
                                         "linear_num_value_heads",
                                         "linear_key_head_dim",
                                         "linear_value_head_dim",
                                         "linear_conv_kernel_dim",
                                         "num_experts",
                                         "num_experts_per_tok",
                                         "moe_intermediate_size",
                                         "shared_expert_intermediate_size",
                                         "mtp_num_hidden_layers",
                                         "max_position_embeddings"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        json_t *values[] = {json_integer(-1), json_integer(INT64_MAX), json_integer(2147483648),
                            json_string("8"), json_real(8.5),          json_array()};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            json_t *root = nano();
            sluice_config config;
            sluice_error err;
            json_object_set_new(text_of(root), fields[i], values[v]);
            assert_int_equal(parse(root, &config, &err), SLUICE_CORRUPT);
            if (!strstr(err.detail, fields[i]) || !strstr(err.detail, "config.json"))
                fail_msg("\"%s\" does not name %s", err.detail, fields[i]);
            json_decref(root);
        }
    }
}

static void required_fields_are_required(void **state)
{
    (void)state;
    static const char *const fields[] = {"num_hidden_layers",
                                         "hidden_size",
                                         "vocab_size",
                                         "num_experts",
                                         "moe_intermediate_size",
                                         "num_experts_per_tok",
                                         "max_position_embeddings"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        json_t *root = nano();
        sluice_config config;
        sluice_error err;
        json_object_set_new(text_of(root), fields[i], json_null());
        assert_int_equal(parse(root, &config, &err), SLUICE_CORRUPT);
        assert_non_null(strstr(err.detail, fields[i]));
        assert_non_null(strstr(err.detail, "missing"));
        json_decref(root);
    }
}

static void what_another_forward_pass_would_need_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *words;
        sluice_status status;
    } cases[] = {
        {"attention_bias", "true", "attention_bias", SLUICE_UNSUPPORTED},
        {"attn_output_gate", "false", "attn_output_gate", SLUICE_UNSUPPORTED},
        {"hidden_act", "\"gelu\"", "hidden_act", SLUICE_UNSUPPORTED},
        {"mlp_only_layers", "[0]", "mlp_only_layers", SLUICE_UNSUPPORTED},
        {"rope_parameters", "{\"rope_type\":\"yarn\"}", "yarn", SLUICE_UNSUPPORTED},
        {"rope_parameters", "{\"partial_rotary_factor\":0.01}", "rotary", SLUICE_CORRUPT},
        {"rope_parameters", "{\"rope_theta\":-1}", "rope_theta", SLUICE_CORRUPT},
        {"rope_parameters", "[]", "rope_parameters", SLUICE_CORRUPT},
        {"rms_norm_eps", "5", "rms_norm_eps", SLUICE_CORRUPT},
        {"layer_types", "[\"full_attention\"]", "layer_types", SLUICE_CORRUPT},
        {"layer_types", "[1,2,3,4,5,6,7,8]", "layer_types", SLUICE_UNSUPPORTED},
        {"num_key_value_heads", "4", "num_key_value_heads", SLUICE_CORRUPT},
        {"linear_num_key_heads", "3", "linear_num_key_heads", SLUICE_CORRUPT},
        {"num_experts_per_tok", "64", NULL, SLUICE_OK},
        {"num_experts", "7", "num_experts_per_tok", SLUICE_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = nano();
        sluice_config config;
        sluice_error err = {0};
        json_object_set_new(text_of(root), cases[i].key,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        assert_int_equal(parse(root, &config, &err), cases[i].status);
        if (cases[i].words && !strstr(err.detail, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.detail, cases[i].words);
        json_decref(root);
    }
}

static void other_documents_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "not valid JSON"},
        {"[]", "not a JSON object"},
        {"{}", "model_type"},
        {"{\"model_type\":5}", "model_type"},
        {"{\"model_type\":\"llama\"}", "\"llama\" is not supported"},
        {"{\"model_type\":\"qwen3_5_moe\"}", "text_config"},
        {"{\"model_type\":\"qwen3_5_moe_text\"}", "num_hidden_layers"},
        {"{\"model_type\":\"\xff\"}", "UTF-8"},
        {"{\"a\":1,\"a\":2}", "duplicate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_config config;
        sluice_error err = {0};
        assert_int_not_equal(
            sluice_config_parse(cases[i].text, strlen(cases[i].text), "config.json", &config, &err),
            SLUICE_OK);
        if (!strstr(err.detail, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.detail, cases[i].words);
    }
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    sluice_config config;
    sluice_error err;
    assert_int_equal(sluice_config_load("/nowhere/config.json", &config, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/nowhere/config.json"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nano_is_read),
        cmocka_unit_test(the_flat_form_is_read_and_inner_rope_parameters_win),
        cmocka_unit_test(older_configs_keep_rope_at_the_top_level),
        cmocka_unit_test(an_interval_stands_for_layer_types),
        cmocka_unit_test(head_dim_defaults_to_hidden_by_heads),
        cmocka_unit_test(the_outer_config_ties),
        cmocka_unit_test(absurd_numbers_are_refused_with_the_field),
        cmocka_unit_test(required_fields_are_required),
        cmocka_unit_test(what_another_forward_pass_would_need_is_refused),
        cmocka_unit_test(other_documents_are_refused),
        cmocka_unit_test(a_missing_file_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
