/* Remembered answers as bytes; see replay_file.h. */
#include "server/replay_file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/hash.h"

enum { VERSION = 1 };

static const char magic[16] = "sluice-turn";

typedef struct header {
    char magic[16];
    uint32_t version, has_reasoning;
    uint64_t key_length, reasoning_length, count;
} header;
_Static_assert(sizeof(header) == 48, "the header of a remembered answer is 48 bytes");

void server_replay_record_free(server_replay_record *record)
{
    free(record->key);
    free(record->tokens);
    json_decref(record->reasoning);
    *record = (server_replay_record){0};
}

void *server_replay_encode(const server_replay_record *r, size_t *count)
{
    header h = {.version = VERSION,
                .has_reasoning = r->reasoning != NULL,
                .key_length = r->key_length,
                .reasoning_length = json_string_length(r->reasoning),
                .count = r->count};
    memcpy(h.magic, magic, sizeof magic);
    size_t tokens = r->count * sizeof *r->tokens;
    size_t body = sizeof h + h.key_length + h.reasoning_length + tokens;
    char *bytes = malloc(body + sizeof(uint64_t)), *at = bytes;
    if (!bytes) return NULL;
    memcpy(at, &h, sizeof h);
    at += sizeof h;
    memcpy(at, r->key, r->key_length);
    at += r->key_length;
    if (h.reasoning_length) memcpy(at, json_string_value(r->reasoning), h.reasoning_length);
    at += h.reasoning_length;
    memcpy(at, r->tokens, tokens);
    uint64_t sum = server_hash(SERVER_HASH_START, bytes, body);
    memcpy(bytes + body, &sum, sizeof sum);
    *count = body + sizeof sum;
    return bytes;
}

static sluice_status fail(sluice_error *err, sluice_status code, const char *name, const char *why)
{
    err->code = code;
    snprintf(err->detail, sizeof err->detail, "%s: %s", name, why);
    return code;
}

/* Lengths that make up the file exactly, none of which can overflow. */
static bool lengths_fit(const header *h, size_t count)
{
    size_t left = count - sizeof *h - sizeof(uint64_t);
    if (h->key_length > left) return false;
    left -= h->key_length;
    if (h->reasoning_length > left) return false;
    left -= h->reasoning_length;
    return h->count == left / sizeof(int32_t) && left % sizeof(int32_t) == 0;
}

static sluice_status check(const char *name, const char *bytes, size_t count, header *h,
                           sluice_error *err)
{
    uint64_t sum;
    if (count < sizeof *h + sizeof sum)
        return fail(err, SLUICE_CORRUPT, name, "the file is truncated");
    memcpy(h, bytes, sizeof *h);
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return fail(err, SLUICE_CORRUPT, name, "this is not a remembered answer of sluice");
    if (h->version != VERSION)
        return fail(err, SLUICE_UNSUPPORTED, name, "the remembered answer has another version");
    memcpy(&sum, bytes + count - sizeof sum, sizeof sum);
    if (!lengths_fit(h, count) || sum != server_hash(SERVER_HASH_START, bytes, count - sizeof sum))
        return fail(err, SLUICE_CORRUPT, name, "the file is damaged");
    return SLUICE_OK;
}

static bool tokens_valid(const server_replay_record *r, int32_t vocab)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->tokens[i] < 0 || r->tokens[i] >= vocab) return false;
    return true;
}

sluice_status server_replay_decode(const char *name, const void *bytes, size_t count, int32_t vocab,
                                   server_replay_record *out, sluice_error *err)
{
    header h;
    sluice_status status = check(name, bytes, count, &h, err);
    if (status != SLUICE_OK) return status;
    const char *at = (const char *)bytes + sizeof h;
    server_replay_record r = {.key = malloc(h.key_length + 1),
                              .key_length = h.key_length,
                              .tokens = malloc(h.count * sizeof *r.tokens + 1),
                              .count = h.count};
    if (h.has_reasoning) r.reasoning = json_stringn(at + h.key_length, h.reasoning_length);
    if (!r.key || !r.tokens) {
        server_replay_record_free(&r);
        return fail(err, SLUICE_NO_MEMORY, name, "no memory to read it");
    }
    memcpy(r.key, at, h.key_length);
    memcpy(r.tokens, at + h.key_length + h.reasoning_length, h.count * sizeof *r.tokens);
    if (!tokens_valid(&r, vocab)) {
        server_replay_record_free(&r);
        return fail(err, SLUICE_CORRUPT, name, "it has tokens that the vocabulary lacks");
    }
    *out = r;
    return SLUICE_OK;
}
