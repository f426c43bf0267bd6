/* Embedding rows read from disk are those of the table in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"
#include "kernels/cpu_backend.h"
#include "model/embedding.h"
#include "support/engines.h"

#define ROWS 200

static void rows_of(const sluice_container *container, bool on_disk, const int32_t *tokens,
                    int32_t n, float *to)
{
    sluice_model_options options = {.embedding_on_disk = on_disk};
    sluice_model *model;
    sluice_pool *pool;
    sluice_backend *backend;
    sluice_embedding *embedding;
    sluice_buffer *h;
    sluice_error err = {0};
    assert_int_equal(sluice_model_open(container, &options, &model, &err), SLUICE_OK);
    assert_int_equal(model->embedding.data == NULL, on_disk);
    assert_int_equal(sluice_pool_new(1, NULL, &pool, &err), SLUICE_OK);
    sluice_cpu_options cpu = {.rows_max = ROWS, .pool = pool, .exact = true};
    assert_int_equal(sluice_cpu_backend_new(&model->geometry, &cpu, &backend, &err), SLUICE_OK);
    size_t bytes = (size_t)n * (size_t)model->config->hidden * sizeof(float);
    assert_int_equal(backend->buffer_new(backend, bytes, "test", &h, &err), SLUICE_OK);
    assert_int_equal(sluice_embedding_new(model, backend, &embedding, &err), SLUICE_OK);
    assert_int_equal(sluice_embedding_run(embedding, tokens, n, h, &err), SLUICE_OK);
    backend->buffer_read(backend, h, 0, to, bytes);
    sluice_embedding_free(embedding);
    backend->buffer_free(backend, h);
    backend->free(backend);
    sluice_pool_free(pool);
    sluice_model_close(model);
}

static void rows_from_disk_equal_rows_from_memory(void **state)
{
    (void)state;
    sluice_container *container;
    char *dir;
    int32_t tokens[ROWS];
    assert_int_equal(sluice_model_locate(NULL, NULL, &dir, NULL), SLUICE_OK);
    assert_int_equal(sluice_container_open(dir, &container, NULL), SLUICE_OK);
    free(dir);
    const sluice_config *config = sluice_container_config(container);
    for (int32_t i = 0; i < ROWS; i++)
        tokens[i] = (i * 977 + 8) % config->vocab;
    tokens[ROWS - 1] = config->vocab - 1;
    static const int32_t counts[] = {1, 63, 64, 65, ROWS};
    size_t floats = (size_t)ROWS * (size_t)config->hidden;
    float *memory = malloc(floats * sizeof *memory), *disk = malloc(floats * sizeof *disk);
    assert_true(memory && disk);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int32_t n = counts[i];
        rows_of(container, false, tokens + ROWS - n, n, memory);
        rows_of(container, true, tokens + ROWS - n, n, disk);
        assert_memory_equal(memory, disk, (size_t)n * (size_t)config->hidden * sizeof *disk);
    }
    free(memory);
    free(disk);
    sluice_container_close(container);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_from_disk_equal_rows_from_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
