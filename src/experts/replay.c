/* The replay: the same order of events as in the cache. A step's hits are used first and kept; then
 * every miss takes a free slot or evicts one that the step has no further need of; then they
 * arrive. */
#include "experts/replay.h"

#include <stdlib.h>
#include <string.h>

#include "experts/policy.h"

#define NEVER INT64_MAX

typedef struct replay {
    const sluice_trace *trace;
    sluice_cache_policy *policy; /* NULL for the oracle */
    int32_t n_slots, n_used;
    int32_t *slot_of; /* [n_keys], -1 if not resident */
    int32_t *key_of;  /* [slots] */
    int32_t *busy;    /* [slots], step + 1 that keeps it */
    int32_t *fresh;   /* [slots], taken and not arrived yet */
    int32_t n_fresh;
    int32_t step;
    int64_t *next_use; /* oracle: [accesses], the place of the same key's next access */
    int64_t *wanted;   /* oracle: [slots], the place of the resident key's next access */
} replay;

static bool is_busy(const void *context, int32_t slot)
{
    const replay *self = context;
    return self->busy[slot] == self->step + 1;
}

/* The resident record whose next use is farthest off. A scan: traces are replayed, not served. */
static int32_t evict_farthest(const replay *self)
{
    int32_t best = -1;
    for (int32_t slot = 0; slot < self->n_slots; slot++)
        if (!is_busy(self, slot) && (best < 0 || self->wanted[slot] > self->wanted[best]))
            best = slot;
    return best;
}

/* A free slot, or a victim; -1 if the step keeps them all. */
static int32_t take_slot(replay *self)
{
    if (self->n_used < self->n_slots) return self->n_used++;
    int32_t slot =
        self->policy ? self->policy->evict(self->policy, is_busy, self) : evict_farthest(self);
    if (slot >= 0) self->slot_of[self->key_of[slot]] = -1;
    return slot;
}

static void keep(replay *self, int32_t slot, int64_t place)
{
    self->busy[slot] = self->step + 1;
    if (self->wanted) self->wanted[slot] = self->next_use[place];
}

/* The records of the slots taken so far arrive. */
static void insert_fresh(replay *self)
{
    for (int32_t i = 0; i < self->n_fresh && self->policy; i++)
        self->policy->insert(self->policy, self->fresh[i], self->key_of[self->fresh[i]], true);
    self->n_fresh = 0;
}

static void load(replay *self, int64_t place)
{
    int32_t key = self->trace->keys[place], slot = take_slot(self);
    if (slot < 0) {
        /* The step wants more than there are slots: what came has been used and may go. */
        insert_fresh(self);
        memset(self->busy, 0, (size_t)self->n_slots * sizeof *self->busy);
        slot = take_slot(self);
    }
    self->slot_of[key] = slot;
    self->key_of[slot] = key;
    self->fresh[self->n_fresh++] = slot;
    keep(self, slot, place);
}

static void run_step(replay *self, bool counted, sluice_cache_replay_result *result)
{
    const sluice_trace *trace = self->trace;
    int64_t start = trace->starts[self->step], end = trace->starts[self->step + 1];
    if (self->policy && self->policy->turn && start < end)
        self->policy->turn(self->policy, trace->keys[start]);
    for (int64_t i = start; i < end; i++) {
        int32_t slot = self->slot_of[trace->keys[i]];
        if (slot < 0) continue;
        if (self->policy) self->policy->use(self->policy, slot);
        keep(self, slot, i);
        result->hits += counted;
    }
    for (int64_t i = start; i < end; i++)
        if (self->slot_of[trace->keys[i]] < 0) load(self, i);
    insert_fresh(self);
    if (counted) result->requests += (uint64_t)(end - start);
}

static sluice_status check(const sluice_trace *trace, int32_t slots, sluice_error *err)
{
    if (slots < 1) return sluice_fail(err, SLUICE_USAGE, "a cache needs at least one slot");
    for (int32_t i = 0; i < trace->n_steps; i++)
        if (trace->starts[0] != 0 || trace->starts[i + 1] < trace->starts[i])
            return sluice_fail(err, SLUICE_BAD_INPUT, "trace: step %d ends before it starts", i);
    int64_t n = trace->n_steps ? trace->starts[trace->n_steps] : 0;
    for (int64_t i = 0; i < n; i++)
        if (trace->keys[i] < 0 || trace->keys[i] >= trace->n_keys)
            return sluice_fail(err, SLUICE_BAD_INPUT, "trace: expert %d of %d", trace->keys[i],
                               trace->n_keys);
    return SLUICE_OK;
}

/* next_use, from the end backwards. last is scratch of n_keys. */
static void look_ahead(replay *self, int64_t *last)
{
    const sluice_trace *trace = self->trace;
    for (int32_t i = 0; i < trace->n_keys; i++)
        last[i] = NEVER;
    for (int64_t i = trace->starts[trace->n_steps] - 1; i >= 0; i--) {
        self->next_use[i] = last[trace->keys[i]];
        last[trace->keys[i]] = i;
    }
}

static sluice_status prepare(replay *self, const char *policy, sluice_error *err)
{
    size_t keys = (size_t)self->trace->n_keys, slots = (size_t)self->n_slots;
    self->slot_of = malloc((keys + 1) * sizeof *self->slot_of);
    self->key_of = calloc(slots, sizeof *self->key_of);
    self->busy = calloc(slots, sizeof *self->busy);
    self->fresh = calloc(slots, sizeof *self->fresh);
    bool taken = self->slot_of && self->key_of && self->busy && self->fresh;
    if (taken && !strcmp(policy, "oracle")) {
        size_t accesses = (size_t)self->trace->starts[self->trace->n_steps];
        int64_t *last = malloc((keys + 1) * sizeof *last);
        self->next_use = malloc((accesses + 1) * sizeof *self->next_use);
        self->wanted = calloc(slots, sizeof *self->wanted);
        taken = last && self->next_use && self->wanted;
        if (taken) look_ahead(self, last);
        free(last);
    } else if (taken) {
        const sluice_trace *trace = self->trace;
        int32_t layer_keys = trace->layer_keys ? trace->layer_keys : trace->n_keys;
        SLUICE_TRY(sluice_cache_policy_new(
            policy, &(sluice_cache_sizes){self->n_slots, trace->n_keys, layer_keys}, &self->policy,
            err));
    }
    if (!taken) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory to replay the trace");
    for (size_t i = 0; i < keys; i++)
        self->slot_of[i] = -1;
    return SLUICE_OK;
}

sluice_status sluice_cache_replay(const sluice_trace *trace, const char *policy, int32_t slots,
                                  int32_t first, sluice_cache_replay_result *result,
                                  sluice_error *err)
{
    SLUICE_TRY(check(trace, slots, err));
    replay self = {.trace = trace, .n_slots = slots < trace->n_keys ? slots : trace->n_keys};
    if (self.n_slots < 1) self.n_slots = 1;
    *result = (sluice_cache_replay_result){0};
    sluice_status status = prepare(&self, policy, err);
    for (; status == SLUICE_OK && self.step < trace->n_steps; self.step++)
        run_step(&self, self.step >= first, result);
    if (self.policy) self.policy->free(self.policy);
    free(self.slot_of);
    free(self.key_of);
    free(self.busy);
    free(self.fresh);
    free(self.next_use);
    free(self.wanted);
    return status;
}
