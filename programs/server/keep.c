/* Kept states; see keep.h. */
#include "server/keep.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    sluice_snapshot *snapshot;
    uint64_t used; /* when, in uses of any */
} entry;

struct server_keep {
    entry *entries; /* [capacity] */
    size_t count, capacity;
    uint64_t bytes_max, clock;
    server_keep_stats stats;
};

sluice_status server_keep_new(uint64_t bytes_max, server_keep **out, sluice_error *err)
{
    server_keep *keep = calloc(1, sizeof *keep);
    if (!keep) {
        *err = (sluice_error){SLUICE_NO_MEMORY, "no memory for kept states"};
        return err->code;
    }
    keep->bytes_max = bytes_max;
    *out = keep;
    return SLUICE_OK;
}

void server_keep_free(server_keep *keep)
{
    if (!keep) return;
    for (size_t i = 0; i < keep->count; i++)
        sluice_snapshot_free(keep->entries[i].snapshot);
    free(keep->entries);
    free(keep);
}

/* Whether all tokens of the entry begin the prompt; *n is how many they are. */
static bool begins(const entry *e, const int32_t *prompt, int32_t count, int32_t *n)
{
    const int32_t *tokens = sluice_snapshot_tokens(e->snapshot, n);
    return *n <= count && !memcmp(tokens, prompt, (size_t)*n * sizeof *tokens);
}

int32_t server_keep_restore(server_keep *keep, const int32_t *prompt, int32_t count,
                            sluice_session *session)
{
    entry *best = NULL;
    int32_t longest = 0, n;
    for (size_t i = 0; i < keep->count; i++)
        if (begins(&keep->entries[i], prompt, count - 1, &n) && n > longest) {
            best = &keep->entries[i];
            longest = n;
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

static void evict(server_keep *keep)
{
    size_t oldest = 0;
    for (size_t i = 1; i < keep->count; i++)
        if (keep->entries[i].used < keep->entries[oldest].used) oldest = i;
    keep->stats.bytes -= sluice_snapshot_bytes(keep->entries[oldest].snapshot);
    sluice_snapshot_free(keep->entries[oldest].snapshot);
    keep->entries[oldest] = keep->entries[--keep->count];
    keep->stats.evictions++;
}

/* An entry with exactly these tokens. */
static entry *find(server_keep *keep, const int32_t *tokens, int32_t count)
{
    int32_t n;
    for (size_t i = 0; i < keep->count; i++)
        if (begins(&keep->entries[i], tokens, count, &n) && n == count) return &keep->entries[i];
    return NULL;
}

static bool reserve(server_keep *keep)
{
    if (keep->count < keep->capacity) return true;
    size_t capacity = keep->capacity ? 2 * keep->capacity : 16;
    entry *grown = realloc(keep->entries, capacity * sizeof *grown);
    if (!grown) return false;
    keep->entries = grown;
    keep->capacity = capacity;
    return true;
}

void server_keep_take(server_keep *keep, sluice_session *session)
{
    int32_t count;
    const int32_t *tokens = sluice_session_tokens(session, &count);
    sluice_snapshot *snapshot;
    if (keep->bytes_max == 0 || count == 0) return;
    entry *same = find(keep, tokens, count);
    if (same) {
        same->used = ++keep->clock;
        return;
    }
    if (!reserve(keep)) return;
    sluice_status status;
    while ((status = sluice_snapshot_take(session, &snapshot, NULL)) == SLUICE_NO_MEMORY &&
           keep->count > 0)
        evict(keep);
    if (status != SLUICE_OK) return;
    uint64_t bytes = sluice_snapshot_bytes(snapshot);
    if (bytes > keep->bytes_max) {
        sluice_snapshot_free(snapshot);
        return;
    }
    while (keep->stats.bytes + bytes > keep->bytes_max)
        evict(keep);
    keep->entries[keep->count++] = (entry){snapshot, ++keep->clock};
    keep->stats.bytes += bytes;
}

server_keep_stats server_keep_stats_get(const server_keep *keep)
{
    server_keep_stats stats = keep->stats;
    stats.entries = keep->count;
    return stats;
}
