/* Safetensors files read and written without the library that is under test: by jansson and memcpy,
 * and with no check at all, so that tests can also write what must be refused. */
#ifndef SLUICE_TESTS_SUPPORT_RAW_SAFETENSORS_H
#define SLUICE_TESTS_SUPPORT_RAW_SAFETENSORS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct raw_file {
    json_t *header; /* may be edited at will */
    unsigned char *data;
    size_t bytes;
} raw_file;

raw_file raw_file_new(void);
raw_file raw_file_load(const char *path);
void raw_file_save(const raw_file *file, const char *path);
void raw_file_free(raw_file *file);

/* Appends a tensor; shape ends with 0. */
void raw_file_add(raw_file *file, const char *name, const char *dtype, const int64_t *shape,
                  const void *data, size_t bytes);

/* The tensor's bytes, or NULL; *entry is its object in the header. */
unsigned char *raw_file_find(const raw_file *file, const char *name, json_t **entry);

/* All shards of a folder, and a model as the sum of them. */
typedef struct raw_folder {
    raw_file *files;
    int count;
} raw_folder;
raw_folder raw_folder_load(const char *dir);
void raw_folder_free(raw_folder *folder);
unsigned char *raw_folder_find(const raw_folder *folder, const char *name, json_t **entry);

/* Row `row` of the matrix whose tensor name is base + ".weight" (or base), as floats: plain
 * elements, or MLX's scale * code + bias where base.scales exists. Row counts through all leading
 * dimensions. Returns 0 if there is no such tensor. */
int raw_folder_row(const raw_folder *folder, const char *base, int64_t row, int64_t cols,
                   float *out);

/* One element of "F32", "F16" or "BF16" as a float. */
float raw_element(const char *dtype, const void *data, size_t index);

#endif
