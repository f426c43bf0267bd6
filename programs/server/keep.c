/* Kept states; see keep.h. */
#include "server/keep.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/keep_files.h"

typedef struct entry {
    sluice_snapshot *snapshot;
    uint64_t used;       /* when, in uses of any */
    bool passing;        /* there is no room for it in memory: it goes when its file is written */
    atomic_bool writing; /* the store's thread is not through with it */
} entry;

struct server_keep {
    server_store *store;
    entry **entries; /* [capacity] */
    size_t count, capacity;
    uint64_t bytes_max, clock;
    server_keep_stats stats; /* bytes: without those that only pass */
};

sluice_status server_keep_new(uint64_t bytes_max, server_store *store, server_keep **out,
                              sluice_error *err)
{
    server_keep *keep = calloc(1, sizeof *keep);
    if (!keep) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory for kept states"};
        return err->code;
    }
    keep->store = store;
    keep->bytes_max = bytes_max;
    *out = keep;
    return SLUICE_OK;
}

/* The last entry takes its place. */
static void drop(server_keep *keep, size_t i)
{
    entry *e = keep->entries[i];
    if (!e->passing) keep->stats.bytes -= sluice_snapshot_bytes(e->snapshot);
    sluice_snapshot_free(e->snapshot);
    free(e);
    keep->entries[i] = keep->entries[--keep->count];
}

void server_keep_free(server_keep *keep)
{
    if (!keep) return;
    while (keep->count > 0)
        drop(keep, 0);
    free(keep->entries);
    free(keep);
}

/* Whether all tokens of the entry begin the prompt; *n is how many they are. */
static bool begins(const entry *e, const int32_t *prompt, int32_t count, int32_t *n)
{
    const int32_t *tokens = sluice_snapshot_tokens(e->snapshot, n);
    return *n <= count && !memcmp(tokens, prompt, (size_t)*n * sizeof *tokens);
}

static entry *longest_in_memory(server_keep *keep, const int32_t *prompt, int32_t count,
                                int32_t *longest)
{
    entry *best = NULL;
    int32_t n;
    *longest = 0;
    for (size_t i = 0; i < keep->count; i++)
        if (begins(keep->entries[i], prompt, count, &n) && n > *longest) {
            best = keep->entries[i];
            *longest = n;
        }
    return best;
}

int32_t server_keep_restore(server_keep *keep, const int32_t *prompt, int32_t count,
                            sluice_session *session)
{
    int32_t longest, from_file = 0;
    bool changed = false;
    entry *best = longest_in_memory(keep, prompt, count - 1, &longest);
    if (keep->store)
        from_file =
            server_keep_files_restore(keep->store, prompt, count - 1, longest, session, &changed);
    if (from_file > 0) {
        keep->stats.hits++;
        keep->stats.file_hits++;
        server_keep_take(keep, session, false);
        return from_file;
    }
    if (best && sluice_snapshot_restore(best->snapshot, session, NULL) == SLUICE_OK) {
        best->used = ++keep->clock;
        keep->stats.hits++;
        return longest;
    }
    sluice_session_clear(session);
    keep->stats.misses++;
    return 0;
}

/* Frees the least recently used; false: none can be. */
static bool evict(server_keep *keep)
{
    size_t oldest = keep->count;
    for (size_t i = 0; i < keep->count; i++)
        if (!atomic_load(&keep->entries[i]->writing) &&
            (oldest == keep->count || keep->entries[i]->used < keep->entries[oldest]->used))
            oldest = i;
    if (oldest == keep->count) return false;
    drop(keep, oldest);
    keep->stats.evictions++;
    return true;
}

static void drop_passed(server_keep *keep)
{
    for (size_t i = keep->count; i-- > 0;)
        if (keep->entries[i]->passing && !atomic_load(&keep->entries[i]->writing)) drop(keep, i);
}

/* An entry with exactly these tokens. */
static entry *find(server_keep *keep, const int32_t *tokens, int32_t count)
{
    int32_t n;
    for (size_t i = 0; i < keep->count; i++)
        if (begins(keep->entries[i], tokens, count, &n) && n == count) return keep->entries[i];
    return NULL;
}

static bool reserve(server_keep *keep)
{
    if (keep->count < keep->capacity) return true;
    size_t capacity = keep->capacity ? 2 * keep->capacity : 16;
    entry **grown = realloc(keep->entries, capacity * sizeof *grown);
    if (!grown) return false;
    keep->entries = grown;
    keep->capacity = capacity;
    return true;
}

static void written(void *context)
{
    entry *e = context;
    atomic_store(&e->writing, false);
}

static void write_file(server_keep *keep, entry *e)
{
    if (!keep->store || atomic_exchange(&e->writing, true)) return;
    if (!server_keep_files_write(keep->store, e->snapshot, written, e))
        atomic_store(&e->writing, false);
}

/* NULL: it does not fit, nor would it be of use. */
static entry *add(server_keep *keep, sluice_session *session, bool to_file)
{
    sluice_snapshot *snapshot;
    sluice_status status;
    entry *e = reserve(keep) ? calloc(1, sizeof *e) : NULL;
    if (!e) return NULL;
    while ((status = sluice_snapshot_take(session, &snapshot, NULL)) == SLUICE_NO_MEMORY &&
           evict(keep))
        ;
    uint64_t bytes = status == SLUICE_OK ? sluice_snapshot_bytes(snapshot) : 0;
    if (status == SLUICE_OK && bytes > keep->bytes_max && !to_file) {
        sluice_snapshot_free(snapshot);
        status = SLUICE_LIMIT;
    }
    if (status != SLUICE_OK) {
        free(e);
        return NULL;
    }
    e->snapshot = snapshot;
    while (bytes <= keep->bytes_max && keep->stats.bytes + bytes > keep->bytes_max && evict(keep))
        ;
    e->passing = keep->stats.bytes + bytes > keep->bytes_max;
    if (!e->passing) keep->stats.bytes += bytes;
    keep->entries[keep->count++] = e;
    return e;
}

void server_keep_take(server_keep *keep, sluice_session *session, bool to_file)
{
    int32_t count;
    const int32_t *tokens = sluice_session_tokens(session, &count);
    to_file = to_file && keep->store;
    drop_passed(keep);
    if (count == 0 || (keep->bytes_max == 0 && !to_file)) return;
    entry *e = find(keep, tokens, count);
    if (!e) e = add(keep, session, to_file);
    if (!e) return;
    e->used = ++keep->clock;
    if (to_file) write_file(keep, e);
}

server_keep_stats server_keep_stats_get(const server_keep *keep)
{
    server_keep_stats stats = keep->stats;
    stats.entries = keep->count;
    return stats;
}
