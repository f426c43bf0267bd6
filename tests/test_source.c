/* Sources that are damaged, incomplete or not supported: each is refused in one sentence that names
 * file and tensor, with a status, and nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sluice/convert.h"
#include "support/folders.h"
#include "support/random_source.h"
#include "support/raw_safetensors.h"

static char folder[FOLDERS_PATH_MAX];
static const char *source, *out, *model; /* folders, and the one shard of the source */

/* Every test starts from a sound source. */
static int setup(void **state)
{
    (void)state;
    folders_make(folder);
    source = folders_path(folder, "source");
    out = folders_path(folder, "out");
    model = folders_path(source, "model.safetensors");
    folders_copy(folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/mlx-2bit-g64"), source);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

static void assert_refused(sluice_status status, const char *words, const char *more)
{
    sluice_error err = {0};
    assert_int_equal(sluice_convert(source, out, NULL, &err), status);
    if (!strstr(err.detail, words) || (more && !strstr(err.detail, more)))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.detail, words, more ? more : "");
    if (strchr(err.detail, '\n')) fail_msg("\"%s\" is more than a sentence", err.detail);
    assert_false(folders_exists(out));
    assert_false(folders_exists(folders_path(folder, "out.partial/model/trunk.safetensors.tmp")));
}

/* What edit does to the source's one file. */
static void edit(void (*change)(raw_file *file))
{
    raw_file file = raw_file_load(model);
    change(&file);
    raw_file_save(&file, model);
    raw_file_free(&file);
}

static void put_config(const char *key, json_t *value)
{
    const char *path = folders_path(source, "config.json");
    char *text = folders_load(path, NULL);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    json_t *inner = json_object_get(root, "text_config");
    json_object_set_new(json_object_get(inner, key) ? inner : root, key, value);
    text = json_dumps(root, 0);
    folders_save(path, text, strlen(text));
    free(text);
    json_decref(root);
}

#define GATE "language_model.model.layers.1.mlp.switch_mlp.gate_proj"

/* Renames a tensor in the header. */
static void rename_tensor(raw_file *file, const char *from, const char *to)
{
    json_t *entry = json_object_get(file->header, from);
    assert_non_null(entry);
    json_object_set(file->header, to, entry);
    json_object_del(file->header, from);
}

static void set_dtype(raw_file *file, const char *name, const char *dtype)
{
    json_t *entry = json_object_get(file->header, name);
    assert_non_null(entry);
    json_object_set_new(entry, "dtype", json_string(dtype));
}

static void nothing_there(void **state)
{
    (void)state;
    sluice_error err = {0};
    assert_int_equal(sluice_convert("/nowhere", out, NULL, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/nowhere"));
    assert_false(folders_exists(folders_path(folder, "out.partial")));
    folders_delete(model);
    assert_refused(SLUICE_NOT_FOUND, "neither model.safetensors nor", source);
    folders_delete(folders_path(source, "config.json"));
    assert_refused(SLUICE_NOT_FOUND, "config.json", source);
}

static void a_truncated_file(void **state)
{
    (void)state;
    assert_int_equal(truncate(model, (off_t)folders_file_bytes(model) - 1), 0);
    assert_refused(SLUICE_CORRUPT, "truncated", model);
}

static void drop_gate(raw_file *file)
{
    rename_tensor(file, GATE ".weight", "language_model.model.layers.1.mlp.other.weight");
}

static void drop_norm(raw_file *file)
{
    rename_tensor(file, "language_model.model.norm.weight", "language_model.model.norm.other");
}

static void a_missing_tensor(void **state)
{
    (void)state;
    edit(drop_norm);
    assert_refused(SLUICE_CORRUPT, "tensor norm.weight is missing", source);
    edit(drop_gate);
    assert_refused(SLUICE_CORRUPT, "is missing", "norm.weight");
}

static void missing_experts(void **state)
{
    (void)state;
    edit(drop_gate);
    assert_refused(SLUICE_CORRUPT, "layers.1.mlp.experts.0.gate_proj.weight is missing", source);
}

static void add_stray(raw_file *file)
{
    raw_file_add(file, "language_model.model.layers.1.stray", "F32", (int64_t[]){1, 0}, "1234", 4);
}

static void an_unexpected_tensor(void **state)
{
    (void)state;
    edit(add_stray);
    assert_refused(SLUICE_CORRUPT, "layers.1.stray does not belong", model);
}

static void add_twin(raw_file *file)
{
    raw_file_add(file, "model.norm.weight", "F32", (int64_t[]){1, 0}, "1234", 4);
}

static void one_tensor_under_two_names(void **state)
{
    (void)state;
    edit(add_twin);
    assert_refused(SLUICE_CORRUPT, "norm.weight is also there as", "model.norm.weight");
}

static void a_config_of_another_size(void **state)
{
    (void)state;
    put_config("num_experts", json_integer(7));
    assert_refused(SLUICE_CORRUPT, "config.json makes it [7", model);
}

static void drop_scales(raw_file *file)
{
    rename_tensor(file, GATE ".scales", "vision_tower.scales");
}

static void quantised_without_scales(void **state)
{
    (void)state;
    edit(drop_scales);
    assert_refused(SLUICE_CORRUPT, GATE ".weight is quantised, but its scales are missing", model);
}

/* One scale, one bias, one plain weight, one norm becomes not a number. */
static const char *poisoned;
static void poison(raw_file *file)
{
    json_t *entry = NULL;
    unsigned char *data = raw_file_find(file, poisoned, &entry);
    assert_non_null(data);
    bool wide = strcmp(json_string_value(json_object_get(entry, "dtype")), "F32") == 0;
    memcpy(data + 4, wide ? "\0\0\xc0\x7f" : "\xc0\x7f", wide ? 4 : 2); /* element 1 or 2 */
}

static void numbers_that_are_none(void **state)
{
    (void)state;
    static const char *const names[] = {
        GATE ".scales",
        GATE ".biases",
        "language_model.model.embed_tokens.scales",
        "language_model.model.layers.0.linear_attn.in_proj_a.weight",
        "language_model.model.layers.0.linear_attn.A_log",
        "language_model.model.norm.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *before = folders_load(model, NULL);
        size_t bytes = folders_file_bytes(model);
        poisoned = names[i];
        edit(poison);
        const char *canonical = strstr(names[i], "model.model.") + strlen("model.model.");
        char stem[128];
        snprintf(stem, sizeof stem, "%.*s", (int)strcspn(canonical, "."), canonical);
        assert_refused(SLUICE_CORRUPT, "NaN", stem);
        folders_save(model, before, bytes);
        free(before);
        folders_remove(folders_path(folder, "out.partial"));
    }
}

static void make_fp8(raw_file *file)
{
    static const unsigned char zeros[4 * 128];
    json_object_del(file->header, "language_model.model.layers.0.linear_attn.in_proj_a.weight");
    /* Its bytes stay as a vision tensor, so that nothing else is wrong. */
    raw_file old = raw_file_load(model);
    json_object_set(
        file->header, "visual.old",
        json_object_get(old.header, "language_model.model.layers.0.linear_attn.in_proj_a.weight"));
    raw_file_free(&old);
    raw_file_add(file, "language_model.model.layers.0.linear_attn.in_proj_a.weight", "F8_E4M3",
                 (int64_t[]){4, 128, 0}, zeros, sizeof zeros);
}

static void a_dtype_that_is_not_supported(void **state)
{
    (void)state;
    edit(make_fp8);
    assert_refused(SLUICE_UNSUPPORTED, "in_proj_a.weight is stored as F8_E4M3", model);
}

static void codes_as_signed(raw_file *file)
{
    set_dtype(file, GATE ".weight", "I32");
}

static void codes_of_another_dtype(void **state)
{
    (void)state;
    edit(codes_as_signed);
    assert_refused(SLUICE_UNSUPPORTED, "stored as I32", model);
}

static void a_quantisation_mode_that_is_not_supported(void **state)
{
    (void)state;
    put_config("quantization", json_pack("{s:s,s:i}", "mode", "mxfp4", "bits", 4));
    assert_refused(SLUICE_UNSUPPORTED, "\"mxfp4\"", "config.json");
    put_config("quantization",
               json_pack("{s:i,s:{s:s}}", "bits", 4, "model.layers.0", "mode", "nvfp4"));
    assert_refused(SLUICE_UNSUPPORTED, "\"nvfp4\"", "config.json");
    put_config("quantization", json_null());
    put_config("quantization_config", json_pack("{s:s}", "quant_method", "fp8"));
    assert_refused(SLUICE_UNSUPPORTED, "\"fp8\"", "config.json");
}

static void odd_bits(raw_file *file)
{
    json_t *entry = json_object_get(file->header, GATE ".weight");
    json_object_set_new(entry, "shape", json_pack("[i,i,i]", 32, 64, 2));
}

static void words_that_make_no_bits(void **state)
{
    (void)state;
    edit(odd_bits);
    assert_refused(SLUICE_CORRUPT, GATE ".weight", model);
}

/* Three shards and their index, instead of the one file. */
static void make_shards(void)
{
    folders_remove(source);
    assert_int_equal(mkdir(source, 0777), 0);
    random_source_write(
        &(random_source){.bits = 4, .group = 64, .dtype = "BF16", .mlx = true, .shards = 3},
        source);
}

static void a_missing_shard(void **state)
{
    (void)state;
    make_shards();
    folders_delete(folders_path(source, "model-00002-of-00003.safetensors"));
    assert_refused(SLUICE_NOT_FOUND, "model-00002-of-00003.safetensors: missing", "index");
}

static void a_truncated_shard(void **state)
{
    (void)state;
    make_shards();
    const char *shard = folders_path(source, "model-00003-of-00003.safetensors");
    assert_int_equal(truncate(shard, (off_t)folders_file_bytes(shard) / 2), 0);
    assert_refused(SLUICE_CORRUPT, "model-00003-of-00003.safetensors: truncated", NULL);
}

static void assert_index_refused(const char *index, sluice_status status, const char *words)
{
    folders_save(folders_path(source, "model.safetensors.index.json"), index, strlen(index));
    assert_refused(status, words, "index.json");
}

static void an_index_that_lies(void **state)
{
    (void)state;
    make_shards();
    assert_index_refused("{\"weight_map\":{\"x\":\"model-00001-of-00003.safetensors\"}}",
                         SLUICE_CORRUPT, "tensor x should be in model-00001");
    assert_index_refused("{\"weight_map\":{\"x\":\"../model.safetensors\"}}", SLUICE_CORRUPT,
                         "tensor x is in no file of this folder");
    assert_index_refused("{\"weight_map\":{\"x\":7}}", SLUICE_CORRUPT, "tensor x");
    assert_index_refused("{\"weight_map\":{}}", SLUICE_CORRUPT, "weight_map");
    assert_index_refused("{}", SLUICE_CORRUPT, "weight_map");
    assert_index_refused("{", SLUICE_CORRUPT, "not valid JSON");
}

static void a_config_that_promises_an_mtp_head_that_is_not_there_is_fine(void **state)
{
    (void)state;
    sluice_inspection inspection;
    put_config("num_experts", json_integer(8));
    char *text = folders_load(folders_path(source, "config.json"), NULL);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    json_object_set_new(json_object_get(root, "text_config"), "mtp_num_hidden_layers",
                        json_integer(1));
    text = json_dumps(root, 0);
    folders_save(folders_path(source, "config.json"), text, strlen(text));
    free(text);
    json_decref(root);
    assert_int_equal(sluice_convert(source, out, NULL, NULL), SLUICE_OK);
    assert_int_equal(sluice_inspect(out, &inspection, NULL), SLUICE_OK);
    assert_int_equal(inspection.mtp_layers, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_there),
        TEST(a_truncated_file),
        TEST(a_missing_tensor),
        TEST(missing_experts),
        TEST(an_unexpected_tensor),
        TEST(one_tensor_under_two_names),
        TEST(a_config_of_another_size),
        TEST(quantised_without_scales),
        TEST(numbers_that_are_none),
        TEST(a_dtype_that_is_not_supported),
        TEST(codes_of_another_dtype),
        TEST(a_quantisation_mode_that_is_not_supported),
        TEST(words_that_make_no_bits),
        TEST(a_missing_shard),
        TEST(a_truncated_shard),
        TEST(an_index_that_lies),
        TEST(a_config_that_promises_an_mtp_head_that_is_not_there_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
