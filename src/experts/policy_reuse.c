/* Expected reuse: gives up the resident record whose next use is expected to be farthest off.
 *
 * Layers take turns: when one has just been asked its records cannot be wanted before all others
 * had their turn, however popular they are, while those of the next layer may be wanted at once. So
 * the turns up to a record's next use are those up to its layer's next turn, and as many rounds
 * more as it is expected to be left out: 1/p - 1, where p is the share of its layer's turns that
 * wanted it, of late. When a layer's next turn comes is told by its gap before last, which is right
 * for rounds and for going back and forth, as a training pass does.
 *
 * All shares of a layer decay alike, so their order changes only by uses: kept as p divided by the
 * layer's decay so far, a number that stands still between uses, in a binary heap a layer over its
 * resident records. */
#include <stdlib.h>

#include "experts/policy.h"

#define LATELY 0.05        /* weight of the last turn in a share: doc/measurements/cache.md */
#define SHARE_MIN 1e-4     /* what was never wanted may be */
#define DECAYED_MIN 1e-100 /* shares are scaled anew below */

typedef struct layer_turns {
    int64_t last;         /* number of the turn; 0: none yet */
    int64_t gap, earlier; /* between the last two turns, and the two before */
    double decay;         /* (1 - LATELY) to the number of turns */
    int32_t n;            /* resident records, in heap[first of the layer ...] */
} layer_turns;

typedef struct reuse {
    sluice_cache_policy policy;
    int32_t keys, layer_keys, layers;
    int64_t now; /* turns so far */
    layer_turns *turns;
    double *share;  /* [keys], divided by the layer's decay */
    int32_t *slot;  /* [keys], of those that are resident */
    int32_t *key;   /* [slots] */
    int32_t *place; /* [slots], in the layer's heap */
    int32_t *heap;  /* [layers][layer_keys], keys by share, lowest first */
} reuse;

static int32_t *heap_of(const reuse *self, int32_t layer)
{
    return self->heap + (int64_t)layer * self->layer_keys;
}

static void put(reuse *self, int32_t *heap, int32_t place, int32_t key)
{
    heap[place] = key;
    self->place[self->slot[key]] = place;
}

static void sift_up(reuse *self, int32_t *heap, int32_t place)
{
    int32_t key = heap[place];
    for (; place > 0 && self->share[heap[(place - 1) / 2]] > self->share[key];
         place = (place - 1) / 2)
        put(self, heap, place, heap[(place - 1) / 2]);
    put(self, heap, place, key);
}

static void sift_down(reuse *self, int32_t *heap, int32_t n, int32_t place)
{
    int32_t key = heap[place];
    for (int32_t child; (child = 2 * place + 1) < n; place = child) {
        if (child + 1 < n && self->share[heap[child + 1]] < self->share[heap[child]]) child++;
        if (self->share[heap[child]] >= self->share[key]) break;
        put(self, heap, place, heap[child]);
    }
    put(self, heap, place, key);
}

static void reuse_turn(sluice_cache_policy *policy, int32_t key)
{
    reuse *self = (reuse *)policy;
    int32_t layer = key / self->layer_keys;
    layer_turns *turns = &self->turns[layer];
    self->now++;
    turns->earlier = turns->gap;
    turns->gap = turns->last ? self->now - turns->last : 0;
    turns->last = self->now;
    turns->decay *= 1 - LATELY;
    if (turns->decay > DECAYED_MIN) return;
    for (int32_t i = 0, first = layer * self->layer_keys; i < self->layer_keys; i++)
        if (first + i < self->keys) self->share[first + i] *= turns->decay;
    turns->decay = 1;
}

static void count_use(reuse *self, int32_t key)
{
    self->share[key] += LATELY / self->turns[key / self->layer_keys].decay;
}

static void reuse_insert(sluice_cache_policy *policy, int32_t slot, int32_t key, bool wanted)
{
    reuse *self = (reuse *)policy;
    int32_t layer = key / self->layer_keys, *heap = heap_of(self, layer);
    if (wanted) count_use(self, key);
    self->key[slot] = key;
    self->slot[key] = slot;
    heap[self->turns[layer].n] = key;
    sift_up(self, heap, self->turns[layer].n++);
}

static void reuse_use(sluice_cache_policy *policy, int32_t slot)
{
    reuse *self = (reuse *)policy;
    int32_t key = self->key[slot], layer = key / self->layer_keys;
    count_use(self, key);
    sift_down(self, heap_of(self, layer), self->turns[layer].n, self->place[slot]);
}

/* The layer's least wanted record that is not busy, as a place in its heap; -1 if all are. Mostly
 * the first is free; else all are looked at. */
static int32_t lowest(const reuse *self, int32_t layer, bool (*busy)(const void *, int32_t),
                      const void *context)
{
    const int32_t *heap = heap_of(self, layer);
    int32_t best = -1;
    for (int32_t i = 0; i < self->turns[layer].n; i++) {
        if (best >= 0 && self->share[heap[i]] >= self->share[heap[best]]) continue;
        if (busy(context, self->slot[heap[i]])) continue;
        best = i;
        if (i == 0) break;
    }
    return best;
}

/* Turns until the key is wanted again. */
static double distance(const reuse *self, int32_t layer, int32_t key)
{
    const layer_turns *turns = &self->turns[layer];
    int64_t gap = turns->gap ? turns->gap : self->layers;
    int64_t next = turns->last + (turns->earlier ? turns->earlier : gap) - self->now;
    double round = turns->earlier ? (double)(gap + turns->earlier) / 2 : (double)gap;
    double share = self->share[key] * turns->decay;
    if (share < SHARE_MIN) share = SHARE_MIN;
    return (double)(next > 1 ? next : 1) + round * (1 / share - 1);
}

static int32_t reuse_evict(sluice_cache_policy *policy, bool (*busy)(const void *, int32_t),
                           const void *context)
{
    reuse *self = (reuse *)policy;
    int32_t from = -1, best = -1;
    double farthest = -1;
    for (int32_t layer = 0; layer < self->layers; layer++) {
        int32_t place = lowest(self, layer, busy, context);
        if (place < 0) continue;
        double away = distance(self, layer, heap_of(self, layer)[place]);
        if (away <= farthest) continue;
        farthest = away;
        from = layer;
        best = place;
    }
    if (best < 0) return -1;
    int32_t *heap = heap_of(self, from), slot = self->slot[heap[best]];
    int32_t last = heap[--self->turns[from].n];
    if (best < self->turns[from].n) {
        put(self, heap, best, last);
        sift_up(self, heap, best);
        sift_down(self, heap, self->turns[from].n, self->place[self->slot[last]]);
    }
    return slot;
}

static void reuse_free(sluice_cache_policy *policy)
{
    reuse *self = (reuse *)policy;
    free(self->turns);
    free(self->share);
    free(self->slot);
    free(self->key);
    free(self->place);
    free(self->heap);
    free(self);
}

sluice_status sluice_cache_policy_reuse_new(const sluice_cache_sizes *sizes,
                                            sluice_cache_policy **out, sluice_error *err)
{
    reuse *self = calloc(1, sizeof *self);
    if (!self) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    size_t keys = (size_t)sizes->keys, slots = (size_t)sizes->slots;
    self->policy = (sluice_cache_policy){"reuse",   reuse_turn,  reuse_insert,
                                         reuse_use, reuse_evict, reuse_free};
    self->keys = sizes->keys;
    self->layer_keys = sizes->layer_keys;
    self->layers = (sizes->keys + sizes->layer_keys - 1) / sizes->layer_keys;
    size_t layers = (size_t)self->layers;
    self->turns = calloc(layers, sizeof *self->turns);
    self->share = calloc(keys, sizeof *self->share);
    self->slot = malloc(keys * sizeof *self->slot);
    self->key = malloc(slots * sizeof *self->key);
    self->place = malloc(slots * sizeof *self->place);
    self->heap = malloc(layers * (size_t)sizes->layer_keys * sizeof *self->heap);
    if (!self->turns || !self->share || !self->slot || !self->key || !self->place || !self->heap) {
        reuse_free(&self->policy);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the cache policy");
    }
    for (size_t i = 0; i < layers; i++)
        self->turns[i].decay = 1;
    *out = &self->policy;
    return SLUICE_OK;
}
