/* Reading a file of training samples into tokens (see samples.h). */
#include "train/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "os/file.h"

#define FILE_BYTES_MAX ((size_t)4 << 30)

typedef struct reader {
    const sluice_tokenizer *tokenizer;
    const sluice_samples_options *options;
    sluice_samples *out;
    int32_t end; /* <|endoftext|>, or -1 */
} reader;

static sluice_status reserve(sluice_samples *out, size_t more, sluice_error *err)
{
    if (out->count + more <= out->capacity) return SLUICE_OK;
    size_t capacity = out->capacity ? out->capacity : 4096;
    while (capacity < out->count + more)
        capacity += capacity / 2;
    void *tokens;
    SLUICE_TRY(
        sluice_memory_new(out->budget, capacity * sizeof *out->tokens, "samples", &tokens, err));
    if (out->tokens) {
        memcpy(tokens, out->tokens, out->count * sizeof *out->tokens);
        sluice_memory_free(out->budget, out->tokens, out->capacity * sizeof *out->tokens,
                           "samples");
    }
    out->tokens = tokens;
    out->capacity = capacity;
    return SLUICE_OK;
}

/* The trusted spans of a part, counted from its beginning; freed by the caller. */
static sluice_span *spans_within(const sluice_prompt *prompt, const sluice_sample_part *part,
                                 size_t *count)
{
    sluice_span *spans = malloc((prompt->trusted_count + 1) * sizeof *spans);
    *count = 0;
    for (size_t i = 0; spans && i < prompt->trusted_count; i++) {
        const sluice_span *whole = &prompt->trusted[i];
        const size_t begin = whole->begin > part->begin ? whole->begin : part->begin;
        const size_t end = whole->end < part->end ? whole->end : part->end;
        if (begin < end) spans[(*count)++] = (sluice_span){begin - part->begin, end - part->begin};
    }
    return spans;
}

static sluice_status append(reader *in, const sluice_sample_text *text,
                            const sluice_sample_part *part, const char *what, sluice_error *err)
{
    sluice_ids ids = {0};
    sluice_error inner = {0};
    size_t count;
    sluice_span *spans = spans_within(&text->prompt, part, &count);
    if (!spans) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", what);
    sluice_status status =
        sluice_tokenizer_encode_trusted(in->tokenizer, text->prompt.text.bytes + part->begin,
                                        part->end - part->begin, spans, count, &ids, &inner);
    free(spans);
    if (status != SLUICE_OK) return sluice_fail(err, status, "%s: %s", what, inner.detail);
    status = reserve(in->out, ids.count + 1, err);
    const uint32_t mark = part->learn || in->options->all_tokens ? SLUICE_SAMPLE_LEARN : 0;
    for (size_t i = 0; status == SLUICE_OK && i < ids.count; i++)
        in->out->tokens[in->out->count++] = (uint32_t)ids.ids[i] | mark;
    sluice_ids_free(&ids);
    return status;
}

/* The tokens from `first` on become a sample, cut to the limit. */
static sluice_status finish(reader *in, size_t first, int32_t line, const char *what,
                            sluice_error *err)
{
    sluice_samples *out = in->out;
    const size_t most = (size_t)in->options->tokens_max;
    const size_t whole = out->count - first;
    if (whole > most && in->options->refuse_long)
        return sluice_fail(err, SLUICE_LIMIT,
                           "%s: the sample has %zu tokens and the context %zu: allow more context, "
                           "or cut samples",
                           what, whole, most);
    if (whole > most) {
        out->count = first + most;
        out->cut++;
    }
    sluice_sample sample = {.at = first, .count = (int32_t)(out->count - first), .line = line};
    for (int32_t i = 1; i < sample.count; i++)
        if (out->tokens[first + (size_t)i] & SLUICE_SAMPLE_LEARN) sample.learn++;
    if (sample.learn == 0) {
        out->count = first;
        if (whole <= most)
            return sluice_fail(err, SLUICE_BAD_INPUT, "%s: there is nothing to learn in it", what);
        out->lost++;
        return SLUICE_OK;
    }
    if (out->n == out->n_max) {
        const int32_t n = out->n_max ? out->n_max * 2 : 256;
        void *samples = realloc(out->samples, (size_t)n * sizeof *out->samples);
        if (!samples) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory", what);
        out->samples = samples;
        out->n_max = n;
    }
    out->samples[out->n++] = sample;
    return SLUICE_OK;
}

static sluice_status read_line(reader *in, const char *line, size_t bytes, int32_t number,
                               const char *file, sluice_error *err)
{
    char what[256];
    sluice_sample_text text;
    const size_t first = in->out->count;
    snprintf(what, sizeof what, "%s:%d", file, number);
    SLUICE_TRY(sluice_sample_text_read(line, bytes, what, &text, err));
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; status == SLUICE_OK && i < text.n_parts; i++)
        status = append(in, &text, &text.parts[i], what, err);
    if (status == SLUICE_OK && text.ends && in->end >= 0) {
        status = reserve(in->out, 1, err);
        if (status == SLUICE_OK)
            in->out->tokens[in->out->count++] = (uint32_t)in->end | SLUICE_SAMPLE_LEARN;
    }
    sluice_sample_text_free(&text);
    return status == SLUICE_OK ? finish(in, first, number, what, err) : status;
}

static bool blank(const char *line, size_t bytes)
{
    while (bytes && strchr(" \t\r", *line))
        line++, bytes--;
    return bytes == 0;
}

sluice_status sluice_samples_parse(const char *text, size_t bytes, const char *file,
                                   const sluice_tokenizer *tokenizer,
                                   const sluice_samples_options *options, sluice_budget *budget,
                                   sluice_samples *out, sluice_error *err)
{
    *out = (sluice_samples){.budget = budget};
    reader in = {tokenizer, options, out, sluice_tokenizer_find(tokenizer, "<|endoftext|>")};
    sluice_status status = SLUICE_OK;
    int32_t number = 0;
    for (size_t at = 0; status == SLUICE_OK && at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t length = end ? (size_t)(end - text) - at : bytes - at;
        if (++number == INT32_MAX) break;
        if (!blank(text + at, length))
            status = read_line(&in, text + at, length, number, file, err);
        at += length + 1;
    }
    if (status == SLUICE_OK && out->n == 0)
        status = sluice_fail(err, SLUICE_BAD_INPUT, "%s: there is no sample in it", file);
    if (status != SLUICE_OK) sluice_samples_free(out);
    return status;
}

sluice_status sluice_samples_load(const char *path, const sluice_tokenizer *tokenizer,
                                  const sluice_samples_options *options, sluice_budget *budget,
                                  sluice_samples *out, sluice_error *err)
{
    char *text;
    size_t bytes;
    SLUICE_TRY(sluice_file_load(path, FILE_BYTES_MAX, &text, &bytes, err));
    const sluice_status status =
        sluice_samples_parse(text, bytes, path, tokenizer, options, budget, out, err);
    free(text);
    return status;
}

void sluice_samples_free(sluice_samples *samples)
{
    if (samples->tokens)
        sluice_memory_free(samples->budget, samples->tokens,
                           samples->capacity * sizeof *samples->tokens, "samples");
    free(samples->samples);
    *samples = (sluice_samples){0};
}
