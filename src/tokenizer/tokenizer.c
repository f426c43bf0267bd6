/* Opening a tokenizer and asking it about tokens. Reading the file's parts is tokenizer_file.c,
 * text to ids encode.c, ids to text detokenize.c. */
#include "tokenizer/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Twenty times the largest in use. */
#define FILE_BYTES_MAX (256u << 20)

sluice_status sluice_tokenizer_open_bytes(const char *name, const char *json, size_t length,
                                          sluice_tokenizer **out, sluice_error *err)
{
    *out = NULL;
    if (length > FILE_BYTES_MAX) {
        return sluice_fail(err, SLUICE_LIMIT, "%s: more than %u MiB, too large for a tokenizer",
                           name, FILE_BYTES_MAX >> 20);
    }
    sluice_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to read it", name);
    sluice_status status = sluice_tokenizer_read(tokenizer, name, json, length, err);
    if (status == SLUICE_OK) {
        *out = tokenizer;
    } else {
        sluice_tokenizer_close(tokenizer);
    }
    return status;
}

static sluice_status read_file(FILE *file, const char *path, char **bytes, size_t *length,
                               sluice_error *err)
{
    *bytes = NULL;
    if (fseeko(file, 0, SEEK_END) != 0) {
        return sluice_fail(err, SLUICE_IO, "%s: cannot read: %s", path, strerror(errno));
    }
    off_t size = ftello(file);
    if (size < 0 || size > (off_t)FILE_BYTES_MAX) {
        return sluice_fail(err, SLUICE_LIMIT, "%s: more than %u MiB, too large for a tokenizer",
                           path, FILE_BYTES_MAX >> 20);
    }
    rewind(file);
    *length = (size_t)size;
    *bytes = malloc(*length + 1);
    if (!*bytes) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to read it", path);
    if (fread(*bytes, 1, *length, file) != *length) {
        return sluice_fail(err, SLUICE_IO, "%s: cannot read its %zu bytes", path, *length);
    }
    return SLUICE_OK;
}

sluice_status sluice_tokenizer_open(const char *path, sluice_tokenizer **out, sluice_error *err)
{
    *out = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) {
        return sluice_fail(err, errno == ENOENT ? SLUICE_NOT_FOUND : SLUICE_IO,
                           "%s: cannot open: %s", path, strerror(errno));
    }
    char *bytes;
    size_t length = 0;
    sluice_status status = read_file(file, path, &bytes, &length, err);
    fclose(file);
    if (status == SLUICE_OK) status = sluice_tokenizer_open_bytes(path, bytes, length, out, err);
    free(bytes);
    return status;
}

void sluice_tokenizer_close(sluice_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    sluice_matcher_free(&tokenizer->raw);
    sluice_matcher_free(&tokenizer->normalized);
    sluice_matcher_free(&tokenizer->all);
    for (size_t i = 0; i < tokenizer->added_count; i++)
        free(tokenizer->added[i].content);
    free(tokenizer->added);
    for (int i = 0; i < tokenizer->split_count; i++)
        sluice_split_free(tokenizer->splits[i]);
    sluice_bpe_free(&tokenizer->bpe);
    sluice_vocab_free(&tokenizer->vocab);
    free(tokenizer);
}

int32_t sluice_tokenizer_vocab(const sluice_tokenizer *tokenizer)
{
    return tokenizer->vocab.count;
}

const char *sluice_tokenizer_token(const sluice_tokenizer *tokenizer, int32_t id, size_t *length)
{
    return sluice_vocab_token(&tokenizer->vocab, id, length);
}

const sluice_added_token *sluice_tokenizer_added(const sluice_tokenizer *tokenizer, int32_t id)
{
    /* In order of id. */
    size_t low = 0, high = tokenizer->added_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tokenizer->added[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < tokenizer->added_count && tokenizer->added[low].id == id;
    return found ? &tokenizer->added[low] : NULL;
}

bool sluice_tokenizer_is_special(const sluice_tokenizer *tokenizer, int32_t id)
{
    const sluice_added_token *token = sluice_tokenizer_added(tokenizer, id);
    return token && token->special;
}

int32_t sluice_tokenizer_find(const sluice_tokenizer *tokenizer, const char *content)
{
    size_t length = strlen(content);
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const sluice_added_token *token = &tokenizer->added[i];
        if (token->length == length && memcmp(token->content, content, length) == 0) {
            return token->id;
        }
    }
    return sluice_vocab_find(&tokenizer->vocab, content, length, false);
}
