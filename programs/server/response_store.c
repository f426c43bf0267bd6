/* Conversations behind responses; see response_store.h.
 *
 * A record, and a file, is the id, a line break, and the messages as JSON; a file ends with the
 * 64-bit FNV-1a of all that. */
#include "server/response_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/hash.h"

enum { RECORDS_MAX = 1024, NUMBER = 1 };
#define BYTES_MAX ((size_t)64 << 20)

typedef struct record {
    char *text;
    size_t length;
} record;

struct server_response_store {
    server_store *files;
    pthread_mutex_t mutex;       /* over all below */
    record records[RECORDS_MAX]; /* a ring, oldest first */
    size_t first, count, bytes;
};

server_response_store *server_response_store_new(server_store *files)
{
    server_response_store *store = calloc(1, sizeof *store);
    if (!store) return NULL;
    store->files = files;
    pthread_mutex_init(&store->mutex, NULL);
    return store;
}

/* Under the lock, as the next two. */
static record *at(server_response_store *store, size_t i)
{
    return &store->records[(store->first + i) % RECORDS_MAX];
}

static void drop_oldest(server_response_store *store)
{
    record *oldest = at(store, 0);
    store->bytes -= oldest->length;
    free(oldest->text);
    store->first = (store->first + 1) % RECORDS_MAX;
    store->count--;
}

static const record *find(server_response_store *store, const char *id)
{
    size_t n = strlen(id);
    for (size_t i = 0; i < store->count; i++) {
        const record *r = at(store, i);
        if (r->length > n && !memcmp(r->text, id, n) && r->text[n] == '\n') return r;
    }
    return NULL;
}

void server_response_store_free(server_response_store *store)
{
    if (!store) return;
    while (store->count > 0)
        drop_oldest(store);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

static uint64_t hash_of(const char *id)
{
    return server_hash(SERVER_HASH_START, id, strlen(id));
}

static void write_file(server_response_store *store, const char *id, const char *text,
                       size_t length)
{
    uint64_t sum = server_hash(SERVER_HASH_START, text, length);
    char *bytes = malloc(length + sizeof sum);
    if (bytes) {
        memcpy(bytes, text, length);
        memcpy(bytes + length, &sum, sizeof sum);
    }
    server_store_send(store->files, SERVER_STORE_RESPONSE, NUMBER, hash_of(id), bytes,
                      length + sizeof sum);
}

void server_response_store_put(server_response_store *store, const char *id, const json_t *messages)
{
    char *json = json_dumps(messages, JSON_COMPACT);
    size_t head = strlen(id), body = json ? strlen(json) : 0, size = head + body + 2;
    char *text = json && size <= BYTES_MAX / 4 ? malloc(size) : NULL;
    if (text) {
        memcpy(text, id, head);
        text[head] = '\n';
        memcpy(text + head + 1, json, body + 1);
        if (store->files) write_file(store, id, text, size - 1);
        pthread_mutex_lock(&store->mutex);
        while (store->count > 0 && (store->count == RECORDS_MAX || store->bytes + size > BYTES_MAX))
            drop_oldest(store);
        *at(store, store->count++) = (record){text, size - 1};
        store->bytes += size - 1;
        pthread_mutex_unlock(&store->mutex);
    }
    free(json);
}

static json_t *parse(const char *text, size_t length, const char *id)
{
    size_t n = strlen(id);
    if (length <= n || memcmp(text, id, n) != 0 || text[n] != '\n') return NULL;
    return json_loadb(text + n + 1, length - n - 1, JSON_ALLOW_NUL, NULL);
}

static bool has_hash(void *context, const server_store_file *file)
{
    return file->hash == *(const uint64_t *)context;
}

static json_t *read_file(server_response_store *store, const char *id)
{
    uint64_t hash = hash_of(id), sum;
    server_store_file file;
    sluice_error err = {0};
    char *path, *bytes;
    size_t count;
    json_t *messages = NULL;
    if (!server_store_find(store->files, SERVER_STORE_RESPONSE, has_hash, &hash, &file, &path))
        return NULL;
    if (server_store_read(path, BYTES_MAX, &bytes, &count, &err) == SLUICE_OK) {
        bool whole = count > sizeof sum;
        if (whole) memcpy(&sum, bytes + count - sizeof sum, sizeof sum);
        if (whole && sum == server_hash(SERVER_HASH_START, bytes, count - sizeof sum))
            messages = parse(bytes, count - sizeof sum, id);
        if (!messages) {
            err.code = SLUICE_CORRUPT;
            snprintf(err.detail, sizeof err.detail, "%s: the file is damaged", path);
        }
        free(bytes);
    }
    if (!messages) server_store_ignore(store->files, &file, path, &err);
    free(path);
    return messages;
}

json_t *server_response_store_get(server_response_store *store, const char *id)
{
    pthread_mutex_lock(&store->mutex);
    const record *r = find(store, id);
    json_t *messages = r ? parse(r->text, r->length, id) : NULL;
    pthread_mutex_unlock(&store->mutex);
    if (!messages && store->files) messages = read_file(store, id);
    return messages;
}
