/* See raw_safetensors.h. */
#include "support/raw_safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/folders.h"

raw_file raw_file_new(void)
{
    raw_file file = {.header = json_object()};
    assert_non_null(file.header);
    return file;
}

raw_file raw_file_load(const char *path)
{
    size_t bytes = 0;
    char *text = folders_load(path, &bytes);
    uint64_t header = 0;
    assert_true(bytes >= 8);
    memcpy(&header, text, 8);
    assert_true(header <= bytes - 8);
    raw_file file = {.header = json_loadb(text + 8, (size_t)header, 0, NULL),
                     .bytes = bytes - 8 - (size_t)header};
    assert_non_null(file.header);
    file.data = malloc(file.bytes + 1);
    assert_non_null(file.data);
    memcpy(file.data, text + 8 + header, file.bytes);
    free(text);
    return file;
}

void raw_file_save(const raw_file *file, const char *path)
{
    char *header = json_dumps(file->header, JSON_COMPACT);
    assert_non_null(header);
    uint64_t length = strlen(header);
    char *all = malloc(8 + (size_t)length + file->bytes);
    assert_non_null(all);
    memcpy(all, &length, 8);
    memcpy(all + 8, header, (size_t)length);
    if (file->bytes) memcpy(all + 8 + length, file->data, file->bytes);
    folders_save(path, all, 8 + (size_t)length + file->bytes);
    free(all);
    free(header);
}

void raw_file_free(raw_file *file)
{
    json_decref(file->header);
    free(file->data);
    *file = (raw_file){0};
}

void raw_file_add(raw_file *file, const char *name, const char *dtype, const int64_t *shape,
                  const void *data, size_t bytes)
{
    json_t *sizes = json_array();
    for (; *shape; shape++)
        json_array_append_new(sizes, json_integer(*shape));
    json_object_set_new(file->header, name,
                        json_pack("{s:s,s:o,s:[I,I]}", "dtype", dtype, "shape", sizes,
                                  "data_offsets", (json_int_t)file->bytes,
                                  (json_int_t)(file->bytes + bytes)));
    file->data = realloc(file->data, file->bytes + bytes + 1);
    assert_non_null(file->data);
    memcpy(file->data + file->bytes, data, bytes);
    file->bytes += bytes;
}

unsigned char *raw_file_find(const raw_file *file, const char *name, json_t **entry)
{
    json_t *found = json_object_get(file->header, name);
    if (!found) return NULL;
    if (entry) *entry = found;
    return file->data +
           json_integer_value(json_array_get(json_object_get(found, "data_offsets"), 0));
}

raw_folder raw_folder_load(const char *dir)
{
    glob_t names;
    raw_folder folder = {0};
    assert_int_equal(glob(folders_path(dir, "*.safetensors"), 0, NULL, &names), 0);
    folder.files = calloc(names.gl_pathc, sizeof *folder.files);
    assert_non_null(folder.files);
    for (size_t i = 0; i < names.gl_pathc; i++)
        folder.files[folder.count++] = raw_file_load(names.gl_pathv[i]);
    globfree(&names);
    return folder;
}

void raw_folder_free(raw_folder *folder)
{
    for (int i = 0; i < folder->count; i++)
        raw_file_free(&folder->files[i]);
    free(folder->files);
    *folder = (raw_folder){0};
}

unsigned char *raw_folder_find(const raw_folder *folder, const char *name, json_t **entry)
{
    for (int i = 0; i < folder->count; i++) {
        unsigned char *data = raw_file_find(&folder->files[i], name, entry);
        if (data) return data;
    }
    return NULL;
}

static const char *dtype_of(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "dtype"));
}

static int64_t last_size(const json_t *entry)
{
    const json_t *shape = json_object_get(entry, "shape");
    return json_integer_value(json_array_get(shape, json_array_size(shape) - 1));
}

static float half_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent == 0    ? ldexpf((float)fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexpf((float)(fraction + 1024), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

float raw_element(const char *dtype, const void *data, size_t index)
{
    const unsigned char *at = data;
    float value = 0;
    uint32_t wide = 0;
    uint16_t bits = 0;
    if (strcmp(dtype, "F32") == 0) {
        memcpy(&value, at + 4 * index, 4);
        return value;
    }
    memcpy(&bits, at + 2 * index, 2);
    if (strcmp(dtype, "F16") == 0) return half_value(bits);
    if (strcmp(dtype, "BF16") != 0) fail_msg("%s is no plain dtype", dtype);
    wide = (uint32_t)bits << 16;
    memcpy(&value, &wide, 4);
    return value;
}

static int find_affine(const raw_folder *folder, const char *base, const char *part, json_t **entry,
                       unsigned char **data)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", base, part);
    *data = raw_folder_find(folder, name, entry);
    return *data != NULL;
}

int raw_folder_row(const raw_folder *folder, const char *base, int64_t row, int64_t cols,
                   float *out)
{
    json_t *entry = NULL, *scale_entry = NULL, *bias_entry = NULL;
    unsigned char *weight = NULL, *scales = NULL, *biases = NULL;
    if (!find_affine(folder, base, "weight", &entry, &weight))
        weight = raw_folder_find(folder, base, &entry);
    if (!weight) return 0;
    if (strcmp(dtype_of(entry), "U32") != 0) {
        for (int64_t c = 0; c < cols; c++)
            out[c] = raw_element(dtype_of(entry), weight, (size_t)(row * cols + c));
        return 1;
    }
    assert_true(find_affine(folder, base, "scales", &scale_entry, &scales));
    assert_true(find_affine(folder, base, "biases", &bias_entry, &biases));
    int64_t words = last_size(entry), groups = last_size(scale_entry);
    int64_t bits = 32 * words / cols, group = cols / groups;
    const unsigned char *stream = weight + row * words * 4;
    for (int64_t c = 0; c < cols; c++) {
        unsigned code = 0;
        for (int64_t b = 0; b < bits; b++) { /* bit by bit: slow, and hard to get wrong */
            int64_t bit = c * bits + b;
            code |= (unsigned)(stream[bit / 8] >> bit % 8 & 1) << b;
        }
        size_t g = (size_t)(row * groups + c / group);
        float product = raw_element(dtype_of(scale_entry), scales, g) * (float)code;
        out[c] = product + raw_element(dtype_of(bias_entry), biases, g);
    }
    return 1;
}
