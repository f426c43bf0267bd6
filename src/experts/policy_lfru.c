/* Least frequently and recently used: each key has a count of its uses in which a use weighs half
 * after HALF_LIFE more uses per slot, and the resident record with the lowest count goes (LRFU: Lee
 * et al., IEEE Transactions on Computers 50(12), 2001). Counts outlive residency, so that a record
 * which comes back is known.
 *
 * All counts decay alike, so their order changes only by uses: kept as log2(count) +
 * time/half-life, a number that stands still between uses, in a binary heap over the resident
 * slots. */
#include <math.h>
#include <stdlib.h>

#include "experts/policy.h"

/* In uses per slot. Short is LRU, long is LFU: doc/measurements/cache.md. */
#define HALF_LIFE 8.0

typedef struct lfru {
    sluice_cache_policy policy;
    double time, half_life;
    double *score;  /* [keys], -INFINITY before the first use */
    int32_t *key;   /* [slots] */
    int32_t *place; /* [slots], in the heap */
    int32_t *heap;  /* [slots], slots by score, lowest first */
    int32_t n;
} lfru;

static double score_at(const lfru *self, int32_t place)
{
    return self->score[self->key[self->heap[place]]];
}

static void put(lfru *self, int32_t place, int32_t slot)
{
    self->heap[place] = slot;
    self->place[slot] = place;
}

static void sift_up(lfru *self, int32_t place)
{
    int32_t slot = self->heap[place];
    double score = score_at(self, place);
    while (place > 0 && score_at(self, (place - 1) / 2) > score) {
        put(self, place, self->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put(self, place, slot);
}

static void sift_down(lfru *self, int32_t place)
{
    int32_t slot = self->heap[place];
    double score = score_at(self, place);
    for (;;) {
        int32_t child = 2 * place + 1;
        if (child >= self->n) break;
        if (child + 1 < self->n && score_at(self, child + 1) < score_at(self, child)) child++;
        if (score_at(self, child) >= score) break;
        put(self, place, self->heap[child]);
        place = child;
    }
    put(self, place, slot);
}

/* One use more: log2(2^(score - time/half_life) + 1) + time/half_life. */
static void count_use(lfru *self, int32_t key)
{
    self->time += 1.0;
    double now = self->time / self->half_life;
    self->score[key] = log2(exp2(self->score[key] - now) + 1.0) + now;
}

static void lfru_insert(sluice_cache_policy *policy, int32_t slot, int32_t key, bool wanted)
{
    lfru *self = (lfru *)policy;
    if (wanted) count_use(self, key);
    self->key[slot] = key;
    put(self, self->n, slot);
    sift_up(self, self->n++);
}

static void lfru_use(sluice_cache_policy *policy, int32_t slot)
{
    lfru *self = (lfru *)policy;
    count_use(self, self->key[slot]);
    sift_down(self, self->place[slot]);
}

static int32_t lfru_evict(sluice_cache_policy *policy, bool (*busy)(const void *, int32_t),
                          const void *context)
{
    lfru *self = (lfru *)policy;
    /* Mostly the first is free; else the lowest of the others, by looking at all. */
    int32_t best = -1;
    for (int32_t i = 0; i < self->n; i++) {
        if (best >= 0 && score_at(self, i) >= score_at(self, best)) continue;
        if (busy(context, self->heap[i])) continue;
        best = i;
        if (i == 0) break;
    }
    if (best < 0) return -1;
    int32_t slot = self->heap[best], last = self->heap[--self->n];
    if (slot != last) {
        put(self, best, last);
        sift_up(self, best);
        sift_down(self, self->place[last]);
    }
    return slot;
}

static void lfru_free(sluice_cache_policy *policy)
{
    lfru *self = (lfru *)policy;
    free(self->score);
    free(self->key);
    free(self->place);
    free(self->heap);
    free(self);
}

sluice_status sluice_cache_policy_lfru_new(const sluice_cache_sizes *sizes,
                                           sluice_cache_policy **out, sluice_error *err)
{
    lfru *self = calloc(1, sizeof *self);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    self->policy =
        (sluice_cache_policy){"lfru", NULL, lfru_insert, lfru_use, lfru_evict, lfru_free};
    self->half_life = HALF_LIFE * sizes->slots;
    self->score = malloc((size_t)sizes->keys * sizeof *self->score);
    self->key = malloc((size_t)sizes->slots * sizeof *self->key);
    self->place = malloc((size_t)sizes->slots * sizeof *self->place);
    self->heap = malloc((size_t)sizes->slots * sizeof *self->heap);
    if (!self->score || !self->key || !self->place || !self->heap) {
        lfru_free(&self->policy);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    }
    for (int32_t i = 0; i < sizes->keys; i++)
        self->score[i] = (double)-INFINITY;
    *out = &self->policy;
    return SLUICE_OK;
}
