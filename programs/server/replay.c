/* Replay; see replay.h.
 *
 * A conversation's key is its tools and messages as canonical lines of JSON: roles, text, names and
 * arguments of calls by value, without ids and without reasoning. The key of a beginning is a
 * beginning of the key. */
#include "server/replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/hash.h"
#include "server/replay_file.h"

enum { RECORDS_MAX = 1024 };
#define BYTES_MAX ((size_t)128 << 20)

typedef server_replay_record record;

struct server_replay {
    server_store *store;
    int32_t vocab;
    pthread_mutex_t mutex;
    record records[RECORDS_MAX];
    size_t count, bytes;
    uint64_t clock;
};

static size_t bytes_of(const record *r)
{
    return r->key_length + r->count * sizeof *r->tokens;
}

void server_replay_free(server_replay *replay)
{
    if (!replay) return;
    for (size_t i = 0; i < replay->count; i++)
        server_replay_record_free(&replay->records[i]);
    pthread_mutex_destroy(&replay->mutex);
    free(replay);
}

static void append_line(server_buffer *key, json_t *value)
{
    char *line = value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
    if (line)
        server_buffer_text(key, line);
    else
        key->failed = true;
    server_buffer_text(key, "\n");
    free(line);
    json_decref(value);
}

/* Calls as [name, arguments], arguments by value where they are JSON. */
static json_t *canonical_calls(json_t *message)
{
    json_t *calls = json_array(), *call;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        json_t *function = json_object_get(call, "function");
        json_t *arguments = json_object_get(function, "arguments");
        json_t *value = json_loadb(json_string_value(arguments) ? json_string_value(arguments) : "",
                                   json_string_length(arguments), JSON_ALLOW_NUL, NULL);
        json_array_append_new(calls, json_pack("[O, o]", json_object_get(function, "name"),
                                               value ? value : json_incref(arguments)));
    }
    return calls;
}

static void append_message(server_buffer *key, json_t *message)
{
    json_t *content = json_object_get(message, "content");
    json_t *text = json_is_string(content) ? json_incref(content) : json_string("");
    append_line(key, json_pack("[O, o, o]", json_object_get(message, "role"), text,
                               canonical_calls(message)));
}

static void append_tools(server_buffer *key, const server_chat *chat)
{
    append_line(key, chat->tools ? json_incref(chat->tools) : json_null());
}

static void evict(server_replay *replay)
{
    size_t oldest = 0;
    for (size_t i = 1; i < replay->count; i++)
        if (replay->records[i].used < replay->records[oldest].used) oldest = i;
    replay->bytes -= bytes_of(&replay->records[oldest]);
    server_replay_record_free(&replay->records[oldest]);
    replay->records[oldest] = replay->records[--replay->count];
}

/* Takes over what r owns. */
static void keep(server_replay *replay, record *r)
{
    pthread_mutex_lock(&replay->mutex);
    for (size_t i = 0; i < replay->count; i++) { /* the same answer again: the newer one counts */
        record *old = &replay->records[i];
        if (old->key_length != r->key_length || memcmp(old->key, r->key, r->key_length) != 0)
            continue;
        replay->bytes -= bytes_of(old);
        server_replay_record_free(old);
        *old = replay->records[--replay->count];
        break;
    }
    while (replay->count > 0 &&
           (replay->count == RECORDS_MAX || replay->bytes + bytes_of(r) > BYTES_MAX))
        evict(replay);
    if (!r->used) r->used = ++replay->clock;
    replay->bytes += bytes_of(r);
    replay->records[replay->count++] = *r;
    pthread_mutex_unlock(&replay->mutex);
}

static void write_file(server_store *store, const record *r)
{
    size_t count = 0;
    void *bytes = server_replay_encode(r, &count);
    uint64_t hash = server_hash(SERVER_HASH_START, r->key, r->key_length);
    hash = server_hash(hash, r->tokens, r->count * sizeof *r->tokens);
    server_store_send(store, SERVER_STORE_TURN, (uint32_t)r->count, hash, bytes, count);
}

void server_replay_note(server_replay *replay, const server_chat *chat, json_t *answer,
                        const int32_t *prompt, size_t prompt_count, const int32_t *tokens,
                        size_t count)
{
    server_buffer key = {0};
    json_t *message;
    size_t i;
    append_tools(&key, chat);
    json_array_foreach(chat->messages, i, message) append_message(&key, message);
    append_message(&key, answer);
    record r = {.key = key.bytes,
                .key_length = key.length,
                .reasoning = json_incref(json_object_get(answer, "reasoning_content")),
                .tokens = malloc((prompt_count + count) * sizeof *tokens + 1),
                .count = prompt_count + count};
    if (key.failed || !r.tokens || bytes_of(&r) > BYTES_MAX / 4) {
        server_replay_record_free(&r);
        return;
    }
    memcpy(r.tokens, prompt, prompt_count * sizeof *prompt);
    memcpy(r.tokens + prompt_count, tokens, count * sizeof *tokens);
    if (replay->store) write_file(replay->store, &r);
    keep(replay, &r);
}

/* Under the lock. reasoning: what the client sent back; NULL: nothing, which fits any. */
static record *find(server_replay *replay, const char *key, size_t length, json_t *reasoning)
{
    for (size_t i = 0; i < replay->count; i++) {
        record *r = &replay->records[i];
        if (r->key_length != length || memcmp(r->key, key, length) != 0) continue;
        if (json_is_string(reasoning) && r->reasoning && !json_equal(reasoning, r->reasoning))
            continue;
        return r;
    }
    return NULL;
}

/* One file; the newest come first, and older ones of the same conversation are not wanted. */
static bool load(void *context, const server_store_file *file, const char *path)
{
    server_replay *replay = context;
    record r = {0};
    char *bytes;
    size_t count;
    sluice_error err = {0};
    if (server_store_read(path, BYTES_MAX / 4, &bytes, &count, &err) == SLUICE_OK) {
        server_replay_decode(path, bytes, count, replay->vocab, &r, &err);
        free(bytes);
    }
    if (err.code != SLUICE_OK) server_store_ignore(replay->store, file, path, &err);
    if (err.code == SLUICE_OK && !find(replay, r.key, r.key_length, NULL) &&
        replay->bytes + bytes_of(&r) <= BYTES_MAX) {
        r.used = RECORDS_MAX - replay->count;
        keep(replay, &r);
    } else {
        server_replay_record_free(&r);
    }
    return replay->count < RECORDS_MAX;
}

server_replay *server_replay_new(server_store *store, int32_t vocab)
{
    server_replay *replay = calloc(1, sizeof *replay);
    if (!replay) return NULL;
    pthread_mutex_init(&replay->mutex, NULL);
    replay->store = store;
    replay->vocab = vocab;
    replay->clock = RECORDS_MAX; /* what is read now counts backwards from it */
    if (store) server_store_each(store, SERVER_STORE_TURN, load, replay);
    return replay;
}

static bool copy(server_replay *replay, record *r, sluice_ids *out)
{
    r->used = ++replay->clock;
    out->ids = malloc(r->count * sizeof *out->ids + 1);
    if (!out->ids) return false;
    memcpy(out->ids, r->tokens, r->count * sizeof *out->ids);
    out->count = r->count;
    return true;
}

bool server_replay_find(server_replay *replay, const server_chat *chat, size_t *at, sluice_ids *out)
{
    server_buffer key = {0};
    size_t n = json_array_size(chat->messages), i;
    size_t *ends = malloc((n + 1) * sizeof *ends);
    json_t *message;
    bool found = false;
    append_tools(&key, chat);
    json_array_foreach(chat->messages, i, message)
    {
        append_message(&key, message);
        if (ends) ends[i] = key.length;
    }
    pthread_mutex_lock(&replay->mutex);
    while (ends && !key.failed && n-- > 0 && !found) {
        message = json_array_get(chat->messages, n);
        const char *role = json_string_value(json_object_get(message, "role"));
        if (!role || strcmp(role, "assistant") != 0) continue;
        record *r = find(replay, key.bytes, ends[n], json_object_get(message, "reasoning_content"));
        found = r && copy(replay, r, out);
        *at = n;
    }
    pthread_mutex_unlock(&replay->mutex);
    server_buffer_free(&key);
    free(ends);
    return found;
}
