/* Reading the trunk's tensors into memory (see trunk.h). */
#include "model/trunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "os/file.h"

#define PAGE 4096u
#define READ_BYTES_MAX ((size_t)8 << 20)
#define LINE_BYTES 64u
#define DIRECT_BYTES_MIN ((size_t)64 << 20) /* below this the page cache is as fast */

typedef struct files {
    const char *path;
    int buffered, direct; /* direct is -1 where it is not worth it or not to be had */
} files;

static size_t round_up(size_t bytes, size_t to)
{
    return (bytes + to - 1) / to * to;
}

void sluice_trunk_init(sluice_trunk *trunk, const sluice_container *container)
{
    memset(trunk, 0, sizeof *trunk);
    trunk->container = container;
}

void sluice_trunk_free(sluice_trunk *trunk)
{
    free(trunk->wants);
    memset(trunk, 0, sizeof *trunk);
}

/* A new want of the tensor called name with that shape, or NULL. */
static sluice_trunk_want *want(sluice_trunk *trunk, const char *name, bool packed, int32_t rows,
                               int32_t cols, sluice_error *err)
{
    if (trunk->failed) return NULL;
    trunk->failed = true;
    const char *path = sluice_container_trunk_path(trunk->container);
    const sluice_trunk_tensor *tensor = sluice_container_tensor(trunk->container, name);
    if (!tensor) {
        sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is missing", path, name);
        return NULL;
    }
    bool fits = packed ? tensor->rows == rows && tensor->cols == cols
                       : (int64_t)tensor->rows * tensor->cols == (int64_t)rows * cols;
    if (!fits || tensor->packed != packed) {
        sluice_fail(err, SLUICE_CORRUPT,
                    "%s: tensor %s is a %s of %d x %d, the config needs a %s of "
                    "%d x %d",
                    path, name, tensor->packed ? "matrix" : "vector", tensor->rows, tensor->cols,
                    packed ? "matrix" : "vector", rows, cols);
        return NULL;
    }
    if (trunk->count == trunk->capacity) {
        int32_t capacity = trunk->capacity ? trunk->capacity * 2 : 256;
        void *wants = realloc(trunk->wants, (size_t)capacity * sizeof *trunk->wants);
        if (!wants) {
            sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the list of %d tensors", capacity);
            return NULL;
        }
        trunk->wants = wants;
        trunk->capacity = capacity;
    }
    trunk->failed = false;
    sluice_trunk_want *added = &trunk->wants[trunk->count++];
    *added = (sluice_trunk_want){.tensor = tensor};
    return added;
}

void sluice_trunk_matrix(sluice_trunk *trunk, const char *name, int32_t rows, int32_t cols,
                         sluice_weight *to, sluice_error *err)
{
    sluice_trunk_want *added = want(trunk, name, true, rows, cols, err);
    if (!added) return;
    added->matrix = to;
    trunk->matrix_bytes += round_up(added->tensor->bytes, PAGE);
}

void sluice_trunk_vector(sluice_trunk *trunk, const char *name, int32_t rows, int32_t cols,
                         sluice_trunk_change change, const float **to, sluice_error *err)
{
    sluice_trunk_want *added = want(trunk, name, false, rows, cols, err);
    if (!added) return;
    added->vector = to;
    added->change = change;
    trunk->vector_bytes += round_up((size_t)rows * (size_t)cols * sizeof(float), LINE_BYTES);
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const sluice_trunk_want *)a)->tensor->offset;
    uint64_t y = ((const sluice_trunk_want *)b)->tensor->offset;
    return (x > y) - (x < y);
}

/* Straight to its place past the page cache, as far as whole pages go; the rest through it. */
static sluice_status read_tensor(const files *in, const sluice_trunk_tensor *tensor, void *to,
                                 sluice_error *err)
{
    size_t direct = in->direct >= 0 ? tensor->bytes & ~(size_t)(PAGE - 1) : 0;
    for (size_t done = 0; done < tensor->bytes;) {
        size_t end = done < direct ? direct : tensor->bytes;
        size_t bytes = end - done < READ_BYTES_MAX ? end - done : READ_BYTES_MAX;
        SLUICE_TRY(sluice_file_read(done < direct ? in->direct : in->buffered, in->path,
                                    tensor->offset + done, (char *)to + done, bytes, err));
        done += bytes;
    }
    return SLUICE_OK;
}

/* Plain elements at the end of to's own place become f32 from its start: 2-byte elements lie in the
 * upper half of the f32 array and are read before they are overwritten. */
static void widen(const sluice_trunk_want *wanted, bool add_one, size_t n, float *to)
{
    const sluice_trunk_tensor *tensor = wanted->tensor;
    for (size_t i = 0; i < n; i++) {
        float value;
        if (tensor->format.kind == SLUICE_WEIGHT_F32) {
            value = to[i];
        } else {
            uint16_t bits;
            memcpy(&bits, (char *)to + n * 2 + i * 2, 2);
            value = tensor->format.kind == SLUICE_WEIGHT_BF16 ? sluice_bf16_to_float(bits)
                                                              : sluice_half_to_float(bits);
        }
        if (wanted->change == SLUICE_TRUNK_NORM && add_one) value += 1.0f;
        if (wanted->change == SLUICE_TRUNK_DECAY) value = -expf(value);
        to[i] = value;
    }
}

/* The checksum of a tensor as read; matrices count with the zeros up to the next page. */
static sluice_status check_bytes(const sluice_trunk *trunk, const files *in,
                                 const sluice_trunk_tensor *tensor, const void *data,
                                 sluice_error *err)
{
    int32_t count;
    const sluice_trunk_tensor *first = sluice_container_trunk(trunk->container, &count);
    uint32_t wanted = sluice_container_trunk_crc32c(trunk->container, (int32_t)(tensor - first));
    size_t bytes = tensor->packed ? round_up(tensor->bytes, PAGE) : tensor->bytes;
    uint32_t found = sluice_crc32c(0, data, bytes);
    if (found == wanted) return SLUICE_OK;
    return sluice_fail(err, SLUICE_CORRUPT,
                       "%s: tensor %s at offset %llu: its checksum is %08x, its bytes give %08x",
                       in->path, tensor->name, (unsigned long long)tensor->offset, wanted, found);
}

static sluice_status read_vector(const sluice_trunk *trunk, const files *in,
                                 const sluice_trunk_want *wanted, float *to, sluice_error *err)
{
    const sluice_trunk_tensor *tensor = wanted->tensor;
    size_t n = (size_t)tensor->rows * (size_t)tensor->cols;
    size_t element = tensor->format.kind == SLUICE_WEIGHT_F32 ? 4 : 2;
    if (tensor->format.kind == SLUICE_WEIGHT_AFFINE || tensor->bytes != n * element)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: vector %s is not %zu plain elements", in->path,
                           tensor->name, n);
    SLUICE_TRY(sluice_file_read(in->buffered, in->path, tensor->offset,
                                (char *)to + n * (4 - element), n * element, err));
    SLUICE_TRY(check_bytes(trunk, in, tensor, (char *)to + n * (4 - element), err));
    widen(wanted, sluice_container_norm_add_one(trunk->container), n, to);
    return SLUICE_OK;
}

static sluice_status read_wants(sluice_trunk *trunk, const files *in, char *matrices, char *vectors,
                                sluice_error *err)
{
    for (int32_t i = 0; i < trunk->count; i++) {
        const sluice_trunk_want *wanted = &trunk->wants[i];
        const sluice_trunk_tensor *tensor = wanted->tensor;
        if (wanted->vector) {
            size_t n = (size_t)tensor->rows * (size_t)tensor->cols;
            SLUICE_TRY(read_vector(trunk, in, wanted, (float *)(void *)vectors, err));
            *wanted->vector = (const float *)(const void *)vectors;
            vectors += round_up(n * sizeof(float), LINE_BYTES);
        } else {
            SLUICE_TRY(read_tensor(in, tensor, matrices, err));
            SLUICE_TRY(check_bytes(trunk, in, tensor, matrices, err));
            *wanted->matrix =
                (sluice_weight){tensor->format, tensor->rows, tensor->cols, matrices, NULL};
            matrices += round_up(tensor->bytes, PAGE);
        }
    }
    return SLUICE_OK;
}

sluice_status sluice_trunk_read(sluice_trunk *trunk, void *matrices, void *vectors,
                                sluice_error *err)
{
    files in = {.path = sluice_container_trunk_path(trunk->container), .direct = -1};
    SLUICE_TRY(sluice_file_open(in.path, &in.buffered, NULL, err));
    if (trunk->matrix_bytes >= DIRECT_BYTES_MIN &&
        sluice_file_open_direct(in.path, &in.direct, NULL, NULL) != SLUICE_OK)
        in.direct = -1;
    qsort(trunk->wants, (size_t)trunk->count, sizeof *trunk->wants, by_offset);
    sluice_status status = read_wants(trunk, &in, matrices, vectors, err);
    if (in.direct >= 0) sluice_file_close(in.direct);
    sluice_file_close(in.buffered);
    return status;
}
