/* Serving tickets: what is resident is handed out at once, the rest as it lands. */
#include "experts/experts.h"

#include <assert.h>

#include "base/clock.h"
#include "experts/cache.h"

/* A guess pays where one ticket in a dozen misses: a router takes a twentieth of a large read. */
#define CALM_TICKETS 32

static int32_t key_of(const sluice_experts *experts, int32_t layer, int32_t id)
{
    assert(layer >= 0 && layer < experts->n_layers);
    assert(id >= 0 && id < experts->layers[layer].count);
    return experts->layers[layer].first_key + id;
}

/* A lookahead read has turned out to be wanted, for the first time. */
static void count_lookahead(sluice_experts *experts, const sluice_slot *slot)
{
    bool guess = slot->origin == SLUICE_EXPERTS_LOOKAHEAD || slot->origin == SLUICE_EXPERTS_SWEEP;
    if (!guess || slot->state == SLOT_QUEUED) return;
    experts->stats.lookahead_used++;
    experts->pace.right += slot->origin == SLUICE_EXPERTS_LOOKAHEAD;
}

static void demand_one(sluice_experts *experts, int32_t layer, int32_t id)
{
    sluice_ticket *ticket = &experts->ticket;
    int32_t index = experts->slot_of[key_of(experts, layer, id)];
    experts->stats.requests++;
    ticket->remaining++;
    if (index < 0) {
        experts->stats.misses++;
        ticket->pending[ticket->pending_end++] = id;
        return;
    }
    const sluice_slot *slot = &experts->slots[index];
    assert(!slot->in_ticket && "ids of a request are distinct");
    count_lookahead(experts, slot);
    if (slot->state == SLOT_READY) {
        experts->stats.hits++;
    } else {
        experts->stats.misses++;
        experts->stats.promoted++;
    }
    sluice_cache_attach(experts, index);
}

void sluice_experts_request(sluice_experts *experts, int32_t layer, const int32_t *ids, int32_t n,
                            sluice_experts_priority priority)
{
    sluice_cache_reap(experts, 0);
    if (priority == SLUICE_EXPERTS_DEMAND) {
        if (experts->ticket.open) sluice_cache_end_ticket(experts);
        assert(n <= experts->layers[layer].count);
        if (experts->trace) experts->trace(experts->trace_context, layer, ids, n);
        experts->ticket.open = true;
        experts->ticket.layer = layer;
        experts->ticket.pending_first = experts->ticket.pending_end = 0;
        sluice_cache_pace_open(experts, layer);
        if (experts->policy->turn && n)
            experts->policy->turn(experts->policy, key_of(experts, layer, ids[0]));
        const uint64_t before = experts->stats.misses + experts->stats.lookahead_used;
        for (int32_t i = 0; i < n; i++)
            demand_one(experts, layer, ids[i]);
        const bool calm = experts->stats.misses + experts->stats.lookahead_used == before;
        experts->layers[layer].calm = calm ? experts->layers[layer].calm + 1 : 0;
        sluice_cache_drop_guesses(experts, layer);
    } else {
        for (int32_t i = 0; i < n; i++)
            if (experts->slot_of[key_of(experts, layer, ids[i])] < 0 &&
                !sluice_cache_queue(experts, layer, ids[i], priority))
                break;
    }
    sluice_cache_pump(experts);
}

static void wait_for_one(sluice_experts *experts)
{
    uint64_t start = sluice_clock_us();
    sluice_cache_reap(experts, 1);
    experts->stats.wait_us += sluice_clock_us() - start;
}

static sluice_status end_with_error(sluice_experts *experts, sluice_error *err)
{
    sluice_error error = experts->ticket.error;
    sluice_cache_end_ticket(experts);
    if (err) *err = error;
    return error.code;
}

/* Nothing is in flight and nothing can be started: a defect of the caller or of the engine. */
static void fail_stuck(sluice_experts *experts)
{
    sluice_error *err = &experts->ticket.error;
    if (experts->queues[SLUICE_EXPERTS_DEMAND].n)
        sluice_fail(err, SLUICE_INTERNAL, "the I/O engine %s takes no reads", experts->io->name);
    else
        sluice_fail(err, SLUICE_LIMIT,
                    "all %d slots of the expert cache are held at once; release some, or raise "
                    "--cache",
                    experts->n_slots);
}

sluice_status sluice_experts_next(sluice_experts *experts, int32_t *id, const void **record,
                                  sluice_error *err)
{
    sluice_ticket *ticket = &experts->ticket;
    *id = -1;
    *record = NULL;
    if (experts->in_flight) sluice_cache_reap(experts, 0);
    for (;;) {
        sluice_cache_pump(experts);
        if (ticket->error.code != SLUICE_OK) return end_with_error(experts, err);
        if (ticket->arrived.n) break;
        if (!ticket->remaining) {
            ticket->open = false;
            sluice_cache_pace_close(experts);
            sluice_cache_pump(experts);
            return SLUICE_OK;
        }
        if (experts->in_flight)
            wait_for_one(experts);
        else
            fail_stuck(experts);
    }
    int32_t index = sluice_index_list_pop(&ticket->arrived, experts->links);
    sluice_slot *slot = &experts->slots[index];
    slot->in_ticket = false; /* its pin is the caller's from here on */
    ticket->remaining--;
    *id = slot->id;
    *record = experts->memory + (size_t)index * experts->slot_bytes;
    return SLUICE_OK;
}

bool sluice_experts_ready(const sluice_experts *experts)
{
    return experts->ticket.arrived.n > 0;
}

void sluice_experts_release(sluice_experts *experts, int32_t layer, int32_t id)
{
    int32_t index = experts->slot_of[key_of(experts, layer, id)];
    assert(index >= 0 && experts->slots[index].pins > experts->slots[index].in_ticket);
    experts->slots[index].pins--;
    if (experts->ticket.pending_first < experts->ticket.pending_end) sluice_cache_pump(experts);
}

void sluice_experts_abandon(sluice_experts *experts)
{
    if (experts->ticket.open) sluice_cache_end_ticket(experts);
}

void sluice_experts_settle(sluice_experts *experts)
{
    for (;;) {
        sluice_cache_pump(experts);
        if (!experts->in_flight) return;
        sluice_cache_reap(experts, 1);
    }
}

bool sluice_experts_resident(const sluice_experts *experts, int32_t layer, int32_t id)
{
    int32_t index = experts->slot_of[key_of(experts, layer, id)];
    return index >= 0 && experts->slots[index].state == SLOT_READY;
}

bool sluice_experts_calm(const sluice_experts *experts, int32_t layer)
{
    return experts->layers[layer].calm >= CALM_TICKETS;
}

void sluice_experts_stats_get(const sluice_experts *experts, sluice_experts_stats *stats)
{
    *stats = experts->stats;
}

int32_t sluice_experts_slots(const sluice_experts *experts)
{
    return experts->n_slots;
}

int32_t sluice_experts_slots_now(const sluice_experts *experts)
{
    return experts->n_slots - experts->returned.n;
}

bool sluice_experts_full(const sluice_experts *experts)
{
    return experts->unused.n == 0;
}

int32_t sluice_experts_folders(const sluice_experts *experts)
{
    return experts->homes.n;
}

uint64_t sluice_experts_folder_bytes(const sluice_experts *experts, int32_t folder)
{
    return experts->homes.at[folder].bytes_read;
}

const char *sluice_experts_io_name(const sluice_experts *experts)
{
    return experts->io->name;
}
