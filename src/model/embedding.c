/* Embedding rows from memory or from disk (see embedding.h). */
#include "model/embedding.h"

#include <stdlib.h>

#include "os/file.h"

#define BLOCK_TOKENS 64

struct sluice_embedding {
    const sluice_model *model;
    sluice_backend *backend;
    int file; /* -1: the table is in memory */
    size_t panel_bytes;
    void *panels;         /* [BLOCK_TOKENS] panels read */
    sluice_buffer *block; /* [BLOCK_TOKENS, hidden] */
};

static size_t panels_bytes(const sluice_embedding *embedding)
{
    return BLOCK_TOKENS * embedding->panel_bytes;
}

static size_t block_bytes(const sluice_config *config)
{
    return BLOCK_TOKENS * (size_t)config->hidden * sizeof(float);
}

uint64_t sluice_embedding_scratch_bytes(const sluice_config *config, sluice_weight_format format,
                                        bool on_disk)
{
    if (!on_disk) return 0;
    return BLOCK_TOKENS * sluice_weight_panel_bytes(format, config->hidden) + block_bytes(config);
}

static sluice_status open_table(sluice_embedding *embedding, sluice_error *err)
{
    const sluice_model *model = embedding->model;
    embedding->panel_bytes =
        sluice_weight_panel_bytes(model->embedding.format, model->config->hidden);
    SLUICE_TRY(sluice_file_open(sluice_container_trunk_path(model->container), &embedding->file,
                                NULL, err));
    SLUICE_TRY(sluice_memory_new(model->budget, panels_bytes(embedding), "embedding",
                                 &embedding->panels, err));
    return embedding->backend->buffer_new(embedding->backend, block_bytes(model->config),
                                          "embedding", &embedding->block, err);
}

sluice_status sluice_embedding_new(const sluice_model *model, sluice_backend *backend,
                                   sluice_embedding **out, sluice_error *err)
{
    sluice_embedding *embedding = calloc(1, sizeof *embedding);
    if (!embedding) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the embedding");
    embedding->model = model;
    embedding->backend = backend;
    embedding->file = -1;
    if (!model->embedding.data) {
        sluice_status status = open_table(embedding, err);
        if (status != SLUICE_OK) {
            sluice_embedding_free(embedding);
            return status;
        }
    }
    *out = embedding;
    return SLUICE_OK;
}

void sluice_embedding_free(sluice_embedding *embedding)
{
    if (!embedding) return;
    if (embedding->block) embedding->backend->buffer_free(embedding->backend, embedding->block);
    if (embedding->panels)
        sluice_memory_free(embedding->model->budget, embedding->panels, panels_bytes(embedding),
                           "embedding");
    if (embedding->file >= 0) sluice_file_close(embedding->file);
    free(embedding);
}

/* One block: token i becomes row i of the table of panels that were read. */
static sluice_status run_block(sluice_embedding *embedding, const int32_t *tokens, int32_t n,
                               sluice_buffer *to, sluice_error *err)
{
    const sluice_model *model = embedding->model;
    const char *path = sluice_container_trunk_path(model->container);
    int32_t rows[BLOCK_TOKENS];
    for (int32_t i = 0; i < n; i++) {
        uint64_t panel = (uint64_t)(tokens[i] / SLUICE_PANEL_ROWS);
        SLUICE_TRY(sluice_file_read(embedding->file, path,
                                    model->embedding_offset + panel * embedding->panel_bytes,
                                    (char *)embedding->panels + (size_t)i * embedding->panel_bytes,
                                    embedding->panel_bytes, err));
        rows[i] = i * SLUICE_PANEL_ROWS + tokens[i] % SLUICE_PANEL_ROWS;
    }
    sluice_weight table = {model->embedding.format, BLOCK_TOKENS * SLUICE_PANEL_ROWS,
                           model->config->hidden, embedding->panels, NULL};
    embedding->backend->embed(embedding->backend, &table, rows, n, to);
    return SLUICE_OK;
}

sluice_status sluice_embedding_run(sluice_embedding *embedding, const int32_t *tokens, int32_t n,
                                   sluice_buffer *h, sluice_error *err)
{
    sluice_backend *backend = embedding->backend;
    if (embedding->file < 0) {
        backend->embed(backend, &embedding->model->embedding, tokens, n, h);
        return SLUICE_OK;
    }
    if (n <= BLOCK_TOKENS) return run_block(embedding, tokens, n, h, err);

    size_t row_bytes = (size_t)embedding->model->config->hidden * sizeof(float);
    for (int32_t done = 0; done < n; done += BLOCK_TOKENS) {
        int32_t count = n - done < BLOCK_TOKENS ? n - done : BLOCK_TOKENS;
        SLUICE_TRY(run_block(embedding, tokens + done, count, embedding->block, err));
        backend->buffer_copy(backend, h, (size_t)done * row_bytes, embedding->block, 0,
                             (size_t)count * row_bytes);
    }
    return SLUICE_OK;
}
