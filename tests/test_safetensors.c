/* Safetensors headers, sound and hostile, and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/safetensors_writer.h"
#include "os/file.h"
#include "support/folders.h"
#include "support/raw_safetensors.h"

static char folder[FOLDERS_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    folders_make(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folders_remove(folder);
    return 0;
}

/* Parses a header in front of data_bytes of data. */
static sluice_status parse(const char *json, uint64_t data_bytes, sluice_safetensors *table,
                           sluice_error *err)
{
    size_t length = strlen(json);
    return sluice_safetensors_parse(json, length, 8 + length + data_bytes, "shard.safetensors",
                                    table, err);
}

static void a_sound_header_is_read(void **state)
{
    (void)state;
    sluice_safetensors table;
    static const char json[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[16,28]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
        "\"empty\":{\"dtype\":\"U8\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
        "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]}}   ";
    assert_int_equal(parse(json, 36, &table, NULL), SLUICE_OK);
    assert_int_equal(table.count, 4);
    assert_int_equal(table.data_offset, 8 + strlen(json));
    assert_string_equal(table.tensors[0].name, "a");
    const sluice_safetensor *b = sluice_safetensors_find(&table, "b");
    assert_non_null(b);
    assert_int_equal(b->dtype, SLUICE_DTYPE_BF16);
    assert_int_equal(b->dims, 2);
    assert_int_equal(b->shape[1], 3);
    assert_int_equal(b->offset, table.data_offset + 16);
    assert_int_equal(b->bytes, 12);
    const sluice_safetensor *scalar = sluice_safetensors_find(&table, "scalar");
    assert_int_equal(scalar->dtype, SLUICE_DTYPE_OTHER);
    assert_string_equal(scalar->dtype_name, "I64");
    assert_string_equal(sluice_safetensors_metadata(&table, "format"), "pt");
    assert_null(sluice_safetensors_metadata(&table, "other"));
    assert_null(sluice_safetensors_find(&table, "c"));
    sluice_safetensors_free(&table);
}

static void a_dtype_nobody_knows_is_listed(void **state)
{
    (void)state;
    sluice_safetensors table;
    static const char json[] = "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}";
    assert_int_equal(parse(json, 2, &table, NULL), SLUICE_OK);
    assert_int_equal(table.tensors[0].dtype, SLUICE_DTYPE_OTHER);
    assert_string_equal(table.tensors[0].dtype_name, "F4");
    sluice_safetensors_free(&table);
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void hostile_headers_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *json, *words;
        uint64_t data_bytes;
    } cases[] = {
        {"", "not valid JSON", 0},
        {"{", "not valid JSON", 0},
        {"[]", "not a JSON object", 0},
        {"{\"a\":1}", "tensor a has no \"dtype\"", 0},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("a", "F32", "[1]", "[4,8]") "}",
         "duplicate", 8},
        {"{\"a\xff\":1}", "UTF-8", 0},
        {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", "tensor a: its shape says 2 elements", 4},
        {"{" TENSOR("a", "F32", "[1]", "[0,8]") "}", "tensor a ends at byte 8", 4},
        {"{" TENSOR("a", "F32", "[1]", "[4,8]") "}", "before tensor a, belong to none", 8},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "}", "last 4 bytes belong to no tensor", 8},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "," TENSOR("b", "F32", "[2]", "[4,12]") "}",
         "tensors a and b overlap", 12},
        {"{" TENSOR("a", "F32", "[1]", "[4,0]") "}", "4..0 are no range", 8},
        {"{" TENSOR("a", "F32", "[1]", "[-4,0]") "}", "-4..0 are no range", 8},
        {"{" TENSOR("a", "F32", "[-1]", "[0,4]") "}", "dimension 0", 4},
        {"{" TENSOR("a", "F32", "[1.0]", "[0,4]") "}", "dimension 0", 4},
        {"{" TENSOR("a", "F32", "1", "[0,4]") "}", "no \"shape\"", 4},
        {"{" TENSOR("a", "F32", "[1]", "[0,4.5]") "}", "no \"data_offsets\"", 4},
        {"{" TENSOR("a", "F32", "[1]", "[0]") "}", "no \"data_offsets\"", 4},
        {"{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", "overflows", 0},
        {"{" TENSOR("a", "F32", "[4611686018427387904]", "[0,0]") "}", "shape says", 0},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", "9 dimensions", 4},
        {"{" TENSOR("a", "F32", "[99999999999999999999]", "[0,4]") "}", "too big", 4},
        {"{\"__metadata__\":3}", "\"__metadata__\" is not an object", 0},
        {"{\"__metadata__\":{\"k\":3}}", "\"k\" is not a string", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_safetensors table;
        sluice_error err = {0};
        assert_int_equal(parse(cases[i].json, cases[i].data_bytes, &table, &err), SLUICE_CORRUPT);
        if (!strstr(err.detail, cases[i].words) || !strstr(err.detail, "shard.safetensors"))
            fail_msg("\"%s\" does not say \"%s\"", err.detail, cases[i].words);
    }
}

static void assert_unreadable(const void *data, size_t bytes, const char *words)
{
    const char *path = folders_path(folder, "x.safetensors");
    folders_save(path, data, bytes);
    int fd = -1;
    uint64_t size = 0;
    sluice_safetensors table;
    sluice_error err = {0};
    assert_int_equal(sluice_file_open(path, &fd, &size, &err), SLUICE_OK);
    sluice_status status = sluice_safetensors_read(fd, path, size, &table, NULL, NULL, &err);
    sluice_file_close(fd);
    assert_int_equal(status, SLUICE_CORRUPT);
    if (!strstr(err.detail, words) || !strstr(err.detail, path))
        fail_msg("\"%s\" does not say \"%s\"", err.detail, words);
}

static void files_too_short_for_their_header_are_refused(void **state)
{
    (void)state;
    assert_unreadable("", 0, "truncated");
    assert_unreadable("\2\0\0\0\0\0\0", 7, "truncated");
    assert_unreadable("\3\0\0\0\0\0\0\0{}", 10, "goes past its end");
    assert_unreadable("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "100 MB");
    assert_unreadable("\0\xe1\xf5\x06\0\0\0\0{}", 10, "100 MB");
    assert_unreadable("\0\xe1\xf5\x05\0\0\0\0{}", 10, "goes past its end");
}

static void every_cut_of_a_real_file_is_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    const char *model =
        folders_path(SLUICE_SOURCE_DIR, "tests/data/tiny/mlx-2bit-g64/model.safetensors");
    char *data = folders_load(model, &bytes);
    for (size_t cut = 0; cut < bytes; cut += cut < 64 ? 1 : bytes / 97)
        assert_unreadable(data, cut, cut < 8 + 20912 ? "truncated" : "truncated: tensor");
    free(data);
}

static void what_the_writer_writes_is_aligned_and_reads_back(void **state)
{
    (void)state;
    const char *path = folders_path(folder, "out.safetensors");
    const sluice_safetensors_entry entries[] = {
        {"panels", SLUICE_DTYPE_U8, 2, {3, 4096}},
        {"a \"quoted\" n\xc3\xa4me", SLUICE_DTYPE_F32, 1, {2}},
    };
    sluice_safetensors_meta meta[] = {{"format", "sluice"}, {"crc32c", "00000000"}};
    char *header = NULL, data[3 * 4096 + 8];
    size_t bytes = 0, again = 0;
    memset(data, 0x5a, sizeof data);
    assert_int_equal(sluice_safetensors_header(entries, 2, meta, 2, &header, &bytes, NULL), 0);
    assert_int_equal(bytes % 4096, 0);
    free(header);
    sluice_safetensors_writer *writer = NULL;
    assert_int_equal(sluice_safetensors_writer_open(path, bytes, sizeof data, &writer, NULL), 0);
    assert_int_equal(sluice_safetensors_writer_put(writer, 8192, data + 8192, 4104, NULL), 0);
    assert_int_equal(sluice_safetensors_writer_put(writer, 0, data, 8192, NULL), 0);
    assert_false(folders_exists(path));
    meta[1].value = "12345678";
    assert_int_equal(sluice_safetensors_header(entries, 2, meta, 2, &header, &again, NULL), 0);
    assert_int_equal(sluice_safetensors_writer_finish(writer, header, again, NULL), 0);
    free(header);
    assert_false(folders_exists(folders_path(folder, "out.safetensors.tmp")));

    raw_file file = raw_file_load(path); /* by other code */
    assert_int_equal(file.bytes, sizeof data);
    assert_memory_equal(file.data, data, sizeof data);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(file.header, "__metadata__"), "crc32c")),
        "12345678");
    assert_non_null(raw_file_find(&file, "a \"quoted\" n\xc3\xa4me", NULL));
    raw_file_free(&file);

    int fd = -1;
    uint64_t size = 0;
    sluice_safetensors table;
    assert_int_equal(sluice_file_open(path, &fd, &size, NULL), SLUICE_OK);
    assert_int_equal(sluice_safetensors_read(fd, path, size, &table, NULL, NULL, NULL), SLUICE_OK);
    sluice_file_close(fd);
    assert_int_equal(table.data_offset, bytes);
    assert_int_equal(table.tensors[0].offset % 4096, 0);
    sluice_safetensors_free(&table);
}

static void an_abandoned_file_leaves_nothing(void **state)
{
    (void)state;
    const char *path = folders_path(folder, "out.safetensors");
    sluice_safetensors_writer *writer = NULL;
    assert_int_equal(sluice_safetensors_writer_open(path, 4096, 100, &writer, NULL), 0);
    sluice_safetensors_writer_abandon(writer);
    sluice_safetensors_writer_abandon(NULL);
    assert_false(folders_exists(path));
    assert_false(folders_exists(folders_path(folder, "out.safetensors.tmp")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_header_is_read),
        TEST(a_dtype_nobody_knows_is_listed),
        TEST(hostile_headers_are_refused_by_name),
        TEST(files_too_short_for_their_header_are_refused),
        TEST(every_cut_of_a_real_file_is_refused),
        TEST(what_the_writer_writes_is_aligned_and_reads_back),
        TEST(an_abandoned_file_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
