/* Warm starts (see warm.h). The file: a line "sluice-warm 1 LAYERS EXPERTS", then a line "LAYER
 * EXPERT COUNT" for each expert that was ever wanted. */
#include "engine/warm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "engine/locate.h"
#include "os/file.h"
#include "os/folder.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define LINE_BYTES 40 /* three numbers at most */

struct sluice_warm {
    int32_t layers, experts;
    uint32_t *uses; /* [layers * experts], of this run */
    uint32_t *past; /* [layers * experts], of those before it */
    int32_t *order; /* [layers * experts], scratch of the start */
    char *path;     /* NULL: there is no folder to keep it in */
};

static size_t keys_of(const sluice_warm *warm)
{
    return (size_t)warm->layers * (size_t)warm->experts;
}

static char *file_path(uint32_t fingerprint)
{
    char *home, *path, name[32];
    if (sluice_locate_cache_home(&home, NULL) != SLUICE_OK) return NULL;
    snprintf(name, sizeof name, "warm-%08" PRIx32, fingerprint);
    path = sluice_folder_make(home, NULL) == SLUICE_OK ? sluice_file_join(home, name) : NULL;
    free(home);
    return path;
}

/* Takes over what can be read, up to the first line that cannot. */
static void load(sluice_warm *warm)
{
    char *text;
    size_t bytes;
    int layers, experts, layer, expert, used;
    unsigned count;
    if (!warm->path || sluice_file_load(warm->path, FILE_BYTES_MAX, &text, &bytes, NULL)) return;
    const char *at = text;
    bool good = sscanf(at, "sluice-warm 1 %d %d\n%n", &layers, &experts, &used) == 2 &&
                layers == warm->layers && experts == warm->experts;
    for (at += good ? used : 0; good && *at; at += used) {
        good = sscanf(at, "%d %d %u\n%n", &layer, &expert, &count, &used) == 3 && layer >= 0 &&
               layer < layers && expert >= 0 && expert < experts;
        if (good) warm->past[(size_t)layer * (size_t)experts + (size_t)expert] = count;
    }
    free(text);
}

static void save(const sluice_warm *warm)
{
    size_t keys = keys_of(warm), room = (keys + 2) * LINE_BYTES, n = 0;
    bool any = false;
    char *text = malloc(room);
    if (!text) return;
    n += (size_t)snprintf(text, room, "sluice-warm 1 %d %d\n", warm->layers, warm->experts);
    for (size_t key = 0; key < keys; key++) {
        uint64_t count = (uint64_t)warm->past[key] / 2 + warm->uses[key];
        any |= warm->uses[key] != 0;
        if (!count) continue;
        n += (size_t)snprintf(text + n, room - n, "%zu %zu %u\n", key / (size_t)warm->experts,
                              key % (size_t)warm->experts,
                              count < UINT32_MAX ? (unsigned)count : UINT32_MAX);
    }
    if (any) sluice_file_save(warm->path, text, n, NULL);
    free(text);
}

sluice_status sluice_warm_new(int32_t layers, int32_t experts, uint32_t fingerprint,
                              sluice_warm **out, sluice_error *err)
{
    sluice_warm *warm = calloc(1, sizeof *warm);
    if (!warm) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the warm start");
    warm->layers = layers;
    warm->experts = experts;
    warm->uses = calloc(keys_of(warm), sizeof *warm->uses);
    warm->past = calloc(keys_of(warm), sizeof *warm->past);
    warm->order = calloc(keys_of(warm), sizeof *warm->order);
    if (!warm->uses || !warm->past || !warm->order) {
        sluice_warm_free(warm);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the warm start");
    }
    warm->path = file_path(fingerprint);
    load(warm);
    *out = warm;
    return SLUICE_OK;
}

void sluice_warm_free(sluice_warm *warm)
{
    if (!warm) return;
    if (warm->path) save(warm);
    free(warm->path);
    free(warm->order);
    free(warm->past);
    free(warm->uses);
    free(warm);
}

/* Most wanted first, then in order of place. */
static int compare(const void *a, const void *b, void *context)
{
    const uint32_t *past = context;
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    if (past[x] != past[y]) return past[x] > past[y] ? -1 : 1;
    return x < y ? -1 : x > y;
}

void sluice_warm_start(sluice_warm *warm, sluice_experts *experts)
{
    size_t keys = keys_of(warm);
    for (size_t i = 0; i < keys; i++)
        warm->order[i] = (int32_t)i;
    qsort_r(warm->order, keys, sizeof *warm->order, compare, warm->past);
    int32_t slots = sluice_experts_slots(experts);
    for (size_t i = 0; i < keys && i < (size_t)slots && warm->past[warm->order[i]]; i++) {
        int32_t id = warm->order[i] % warm->experts;
        sluice_experts_request(experts, warm->order[i] / warm->experts, &id, 1,
                               SLUICE_EXPERTS_WARM);
    }
    sluice_experts_settle(experts);
}

void sluice_warm_count(sluice_warm *warm, int32_t layer, const int32_t *ids, int32_t n)
{
    uint32_t *uses = warm->uses + (size_t)layer * (size_t)warm->experts;
    for (int32_t i = 0; i < n; i++)
        uses[ids[i]]++;
}
