/* The container: what opens, what verify finds, what inspect says, and files that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/container.h"
#include "sluice/convert.h"
#include "support/folders.h"
#include "support/raw_safetensors.h"

static char folder[FOLDERS_PATH_MAX];
static const char *model; /* a container of tests/data/tiny/mlx-2bit-g64 */

static int setup(void **state)
{
    (void)state;
    folders_make(folder);
    model = folders_path(folder, "model");
    sluice_error err = {0};
    const char *source = folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/mlx-2bit-g64");
    if (sluice_convert(source, model, NULL, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

static sluice_container *open_model(void)
{
    sluice_error err = {0};
    sluice_container *container = NULL;
    if (sluice_container_open(model, &container, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return container;
}

static void assert_refused(sluice_status status, const char *words)
{
    sluice_error err = {0};
    sluice_container *container = NULL;
    assert_int_equal(sluice_container_open(model, &container, &err), status);
    if (!strstr(err.detail, words)) fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
    assert_null(strchr(err.detail, '\n'));
    assert_null(container);
}

static void kinds_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(sluice_model_kind_of(model), SLUICE_MODEL_CONTAINER);
    assert_int_equal(sluice_model_kind_of(folders_path(SLUICE_SOURCE_DIR, "models/nano")),
                     SLUICE_MODEL_SOURCE);
    assert_int_equal(sluice_model_kind_of(folder), SLUICE_MODEL_NONE);
    assert_int_equal(sluice_model_kind_of("/nowhere"), SLUICE_MODEL_NONE);
}

static void every_place_is_aligned_and_inside_its_file(void **state)
{
    (void)state;
    sluice_container *container = open_model();
    int32_t count = 0;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(container, &count);
    size_t trunk_bytes = folders_file_bytes(sluice_container_trunk_path(container));
    assert_int_equal(count, 64);
    for (int32_t i = 0; i < count; i++) {
        assert_true(tensors[i].offset + tensors[i].bytes <= trunk_bytes);
        assert_int_equal(tensors[i].offset % (tensors[i].packed ? 4096 : 2), 0);
        assert_ptr_equal(sluice_container_tensor(container, tensors[i].name), &tensors[i]);
    }
    assert_null(sluice_container_tensor(container, "layers.0.nothing"));
    for (int32_t i = 0; i < sluice_container_expert_layers(container); i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        assert_int_equal(file->count, 8);
        assert_int_equal(file->offset % 4096, 0);
        assert_int_equal(file->layout.bytes % 4096, 0);
        assert_int_equal(file->layout.up_offset % 64, 0);
        assert_int_equal(file->layout.down_offset % 64, 0);
        assert_int_equal(folders_file_bytes(file->path),
                         file->offset + file->layout.bytes * (uint64_t)file->count);
    }
    assert_false(sluice_container_norm_add_one(container)); /* MLX */
    assert_string_equal(sluice_container_layout(container), "mlx stacked");
    sluice_container_close(container);
}

static void hugging_face_norms_are_marked(void **state)
{
    (void)state;
    const char *out = folders_path(folder, "hf");
    const char *source = folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/hf-bf16-flat");
    sluice_container *container = NULL;
    assert_int_equal(sluice_convert(source, out, NULL, NULL), SLUICE_OK);
    assert_int_equal(sluice_container_open(out, &container, NULL), SLUICE_OK);
    assert_true(sluice_container_norm_add_one(container));
    assert_string_equal(sluice_container_layout(container), "hf fused");
    sluice_container_close(container);
}

static void flip_byte(const char *path, size_t offset)
{
    size_t bytes = 0;
    char *data = folders_load(path, &bytes);
    assert_true(offset < bytes);
    data[offset] ^= 0x10;
    folders_save(path, data, bytes);
    free(data);
}

static void verify_counts_the_bad_and_names_the_first(void **state)
{
    (void)state;
    sluice_verify_report report;
    sluice_error err = {0};
    assert_int_equal(sluice_verify(model, NULL, &report, &err), SLUICE_OK);
    assert_int_equal(report.tensors, 64);
    assert_int_equal(report.records, 32);

    sluice_container *container = open_model();
    const sluice_expert_file *layer = sluice_container_experts(container, 2);
    uint64_t offset = layer->offset + 5 * layer->layout.bytes;
    flip_byte(layer->path, (size_t)(offset + layer->layout.bytes - 1)); /* even in the padding */
    flip_byte(sluice_container_experts(container, 3)->path, (size_t)layer->offset);
    assert_int_equal(sluice_verify(model, NULL, &report, &err), SLUICE_CORRUPT);
    assert_int_equal(report.records, 32);
    assert_int_equal(report.records_bad, 2);
    assert_int_equal(report.tensors_bad, 0);
    char where[64];
    snprintf(where, sizeof where, "layer 2, expert 5 at offset %llu", (unsigned long long)offset);
    assert_non_null(strstr(err.detail, where));
    assert_non_null(strstr(err.detail, "experts-002.safetensors"));

    const sluice_trunk_tensor *tensor = sluice_container_tensor(container, "norm.weight");
    flip_byte(sluice_container_trunk_path(container), (size_t)tensor->offset + 3);
    assert_int_equal(sluice_verify(model, NULL, &report, &err), SLUICE_CORRUPT);
    assert_int_equal(report.tensors_bad, 1);
    assert_non_null(strstr(err.detail, "tensor norm.weight"));
    sluice_container_close(container);
}

static void inspect_says_what_the_files_hold(void **state)
{
    (void)state;
    sluice_inspection as_source, as_container;
    const char *source = folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/mlx-2bit-g64");
    assert_int_equal(sluice_inspect(source, &as_source, NULL), SLUICE_OK);
    assert_int_equal(sluice_inspect(model, &as_container, NULL), SLUICE_OK);
    assert_int_equal(as_container.kind, SLUICE_MODEL_CONTAINER);
    assert_int_equal(as_source.kind, SLUICE_MODEL_SOURCE);
    assert_string_equal(as_source.layout, "mlx stacked");
    /* What a source would become is what it becomes. */
    assert_int_equal(as_source.trunk_bytes, as_container.trunk_bytes);
    assert_int_equal(as_source.expert_bytes, as_container.expert_bytes);
    assert_int_equal(as_source.weights, as_container.weights);
    assert_string_equal(as_source.expert_formats, "q2/64/bf16");
    assert_string_equal(as_source.expert_formats, as_container.expert_formats);
    assert_string_equal(as_source.trunk_formats, as_container.trunk_formats);
    assert_int_equal(as_container.layers, 4);
    assert_int_equal(as_container.attention_layers, 1);
    assert_int_equal(as_container.gdn_layers, 3);
    /* 4 layers of k records each; top_k is 3. */
    for (unsigned k = 1; k <= 3; k++)
        assert_int_equal(as_container.token_bytes[k], 4 * k * as_container.record_bytes);
    assert_int_equal(as_container.token_bytes[4], 0);
    /* 8 experts x 3 matrices of 64 x 128 in 4 layers, and the trunk. */
    assert_true(as_container.weights > 8 * 3 * 64 * 128 * 4);
    assert_int_equal(as_container.kv_bytes_per_token, 2 * 2 * 32 * 4);
    assert_int_equal(as_container.state_bytes, 3 * 4 * (4 * 32 * 32 + 3 * 256));

    char *text = NULL;
    assert_int_equal(sluice_inspect_json(model, &text, NULL), SLUICE_OK);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const json_t *per_token = json_object_get(root, "bytes_read_per_token");
    assert_int_equal(json_integer_value(json_object_get(per_token, "3")),
                     as_container.token_bytes[3]);
    assert_int_equal(json_object_size(per_token), 3);
    json_decref(root);
    free(text);
}

static void missing_and_truncated_files_are_named(void **state)
{
    (void)state;
    const char *layer = folders_path(model, "experts-002.safetensors");
    assert_int_equal(truncate(layer, (off_t)folders_file_bytes(layer) - 4096), 0);
    assert_refused(SLUICE_CORRUPT, "experts-002.safetensors: truncated");
    folders_delete(layer);
    assert_refused(SLUICE_NOT_FOUND, "experts-002.safetensors");
    folders_delete(folders_path(model, "trunk.safetensors"));
    assert_refused(SLUICE_NOT_FOUND, "trunk.safetensors");
}

/* Changes one metadata value of a file of the container. The header's size changes, so the padding
 * is made again: the data must stay aligned for anything but the change to be sound. */
static void set_metadata(const char *path, const char *key, const char *value)
{
    raw_file file = raw_file_load(path);
    json_object_set_new(json_object_get(file.header, "__metadata__"), key, json_string(value));
    char *json = json_dumps(file.header, JSON_COMPACT);
    size_t length = strlen(json), padded = (8 + length + 4095) / 4096 * 4096 - 8;
    char *all = malloc(8 + padded + file.bytes);
    assert_non_null(all);
    uint64_t size = padded;
    memcpy(all, &size, 8);
    memset(all + 8, ' ', padded);
    memcpy(all + 8, json, length);
    memcpy(all + 8 + padded, file.data, file.bytes);
    folders_save(path, all, 8 + padded + file.bytes);
    free(all);
    free(json);
    raw_file_free(&file);
}

static char *get_metadata(const char *path, const char *key)
{
    raw_file file = raw_file_load(path);
    char *value = strdup(
        json_string_value(json_object_get(json_object_get(file.header, "__metadata__"), key)));
    raw_file_free(&file);
    assert_non_null(value);
    return value;
}

/* Replaces the first `from` in a metadata value by `to`, expects a refusal, and puts it back. */
static void assert_lie_refused(const char *path, const char *key, const char *from, const char *to,
                               sluice_status status, const char *words)
{
    char *value = get_metadata(path, key), *at = strstr(value, from);
    assert_non_null(at);
    size_t bytes = strlen(value) + strlen(to) + 1;
    char *lie = malloc(bytes);
    assert_non_null(lie);
    snprintf(lie, bytes, "%.*s%s%s", (int)(at - value), value, to, at + strlen(from));
    set_metadata(path, key, lie);
    assert_refused(status, words);
    set_metadata(path, key, value);
    sluice_container_close(open_model());
    free(lie);
    free(value);
}

static void metadata_that_lies_is_refused(void **state)
{
    (void)state;
    const char *layer = folders_path(model, "experts-001.safetensors");
    const char *trunk = folders_path(model, "trunk.safetensors");
    const struct {
        const char *path, *key, *from, *to, *words;
        sluice_status status;
    } lies[] = {
        {layer, "format_version", "1", "2", "convert again", SLUICE_UNSUPPORTED},
        {layer, "format", "sluice", "pt", "not an expert file", SLUICE_CORRUPT},
        {layer, "record", "{", "[", "not valid JSON", SLUICE_CORRUPT},
        {layer, "record", "\"gate\"", "\"gata\"", "gate", SLUICE_CORRUPT},
        {layer, "record", "q2/64/bf16", "q9/64/bf16", "q9", SLUICE_UNSUPPORTED},
        {layer, "record", "q2/64/bf16", "q8/64/bf16", "do not fit", SLUICE_CORRUPT},
        {layer, "record", "q2/64/bf16", "q2/64/bf17", "weight format", SLUICE_CORRUPT},
        {layer, "record", "\"rows\":64", "\"rows\":65", "\"rows\" is 65", SLUICE_CORRUPT},
        {layer, "record", "\"offset\":0", "\"offset\":-64", "\"offset\"", SLUICE_CORRUPT},
        {layer, "record", "\"offset\":0", "\"offset\":32", "do not fit", SLUICE_CORRUPT},
        {layer, "record", "\"offset\":0", "\"offset\":9223372036854775744", "do not fit",
         SLUICE_CORRUPT},
        {layer, "crc32c", ",", ";", "crc32c", SLUICE_CORRUPT},
        {layer, "crc32c", ",", "", "crc32c", SLUICE_CORRUPT},
        {trunk, "format_version", "1", "99", "convert again", SLUICE_UNSUPPORTED},
        {trunk, "norm_add_one", "false", "maybe", "norm_add_one", SLUICE_CORRUPT},
        {trunk, "mtp_layers", "0", "1", "mtp", SLUICE_CORRUPT},
        {trunk, "mtp_layers", "0", "-1", "mtp_layers", SLUICE_CORRUPT},
        {trunk, "tensors", "\"embed_tokens.weight\"", "\"x\"", "embed_tokens", SLUICE_CORRUPT},
        {trunk, "tensors", "\"rows\":288", "\"rows\":289", "[289, 128]", SLUICE_CORRUPT},
        {trunk, "tensors", "q2/64/bf16", "q3/64/bf16", "do not fit", SLUICE_CORRUPT},
        {trunk, "tensors", "\"crc32c\":\"", "\"crc32c\":\"zz", "crc32c", SLUICE_CORRUPT},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        assert_lie_refused(lies[i].path, lies[i].key, lies[i].from, lies[i].to, lies[i].status,
                           lies[i].words);
}

static void a_config_of_another_model_is_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    const char *path = folders_path(model, "config.json");
    char *text = folders_load(path, &bytes), *at = strstr(text, "\"vocab_size\": 288");
    assert_non_null(at);
    memcpy(at, "\"vocab_size\": 287", strlen("\"vocab_size\": 287"));
    folders_save(path, text, bytes);
    free(text);
    assert_refused(SLUICE_CORRUPT, "config.json makes it [287, 128]");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(kinds_are_told_apart),
        TEST(every_place_is_aligned_and_inside_its_file),
        TEST(hugging_face_norms_are_marked),
        TEST(verify_counts_the_bad_and_names_the_first),
        TEST(inspect_says_what_the_files_hold),
        TEST(missing_and_truncated_files_are_named),
        TEST(metadata_that_lies_is_refused),
        TEST(a_config_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
