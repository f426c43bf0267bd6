/* Moving records from the disk into slots: who gets a slot, in which order reads start, and what
 * happens when they end. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "experts/cache.h"

/* So many reads tell how long one takes. */
#define PACE_READS_MIN 2
/* So many guesses tell how often they are right; until then they are as on the models measured. */
#define GUESSES_MIN 8.0
#define RIGHT_AT_FIRST 0.75
#define GUESSES_KEPT 0.97 /* of what is known of guesses, from ticket to ticket */

static bool is_pinned(const void *context, int32_t slot)
{
    return ((const sluice_experts *)context)->slots[slot].pins > 0;
}

static int32_t key_of(const sluice_experts *experts, const sluice_slot *slot)
{
    return experts->layers[slot->layer].first_key + slot->id;
}

void sluice_cache_forget(sluice_experts *experts, int32_t index)
{
    sluice_slot *slot = &experts->slots[index];
    experts->slot_of[key_of(experts, slot)] = -1;
    slot->state = SLOT_FREE;
    sluice_index_list_push_front(&experts->unused, experts->links, index);
}

bool sluice_cache_evict(sluice_experts *experts)
{
    int32_t victim = experts->policy->evict(experts->policy, is_pinned, experts);
    if (victim < 0) return false;
    sluice_cache_forget(experts, victim);
    experts->stats.evictions++;
    return true;
}

/* Takes a read that has not started off its queue. */
static void cancel(sluice_experts *experts, sluice_index_list *queue, int32_t index)
{
    sluice_index_list_remove(queue, experts->links, index);
    sluice_cache_forget(experts, index);
    experts->loose--;
}

void sluice_cache_drop_guesses(sluice_experts *experts, int32_t layer)
{
    for (int priority = SLUICE_EXPERTS_LOOKAHEAD; priority < SLUICE_EXPERTS_WARM; priority++) {
        sluice_index_list *queue = &experts->queues[priority];
        for (int32_t next, i = queue->first; i >= 0; i = next) {
            next = experts->links[i].next;
            if (experts->slots[i].layer == layer) cancel(experts, queue, i);
        }
    }
}

/* Drops the loose read that was queued last, warm start before guesses. */
static bool cancel_loose(sluice_experts *experts)
{
    for (int priority = SLUICE_EXPERTS_WARM; priority > SLUICE_EXPERTS_DEMAND; priority--) {
        sluice_index_list *queue = &experts->queues[priority];
        if (!queue->n) continue;
        cancel(experts, queue, queue->last);
        return true;
    }
    return false;
}

/* Makes room for one record: the warm start takes free slots only, guesses may evict, a demand may
 * also drop guesses that have not started. false if there is none. */
static bool make_room(sluice_experts *experts, sluice_experts_priority priority)
{
    if (priority != SLUICE_EXPERTS_DEMAND &&
        experts->loose >= sluice_experts_slots_now(experts) - experts->slots_min)
        return false;
    if (priority == SLUICE_EXPERTS_SWEEP &&
        (experts->loose >= 3 * (sluice_experts_slots_now(experts) / 4) ||
         experts->loose >= experts->io->capacity))
        return false;
    if (experts->unused.n) return true;
    if (priority == SLUICE_EXPERTS_WARM) return false;
    if (sluice_cache_evict(experts)) return true;
    return priority == SLUICE_EXPERTS_DEMAND && cancel_loose(experts);
}

bool sluice_cache_queue(sluice_experts *experts, int32_t layer, int32_t id,
                        sluice_experts_priority priority)
{
    assert(experts->slot_of[experts->layers[layer].first_key + id] < 0);
    if (!make_room(experts, priority)) return false;
    int32_t index = sluice_index_list_pop(&experts->unused, experts->links);
    bool wanted = priority == SLUICE_EXPERTS_DEMAND;
    experts->slots[index] = (sluice_slot){.layer = layer,
                                          .id = id,
                                          .pins = wanted,
                                          .state = SLOT_QUEUED,
                                          .origin = (uint8_t)priority,
                                          .in_ticket = wanted,
                                          .touched = experts->slots[index].touched};
    experts->slot_of[experts->layers[layer].first_key + id] = index;
    sluice_index_list_push_back(&experts->queues[priority], experts->links, index);
    experts->loose += !wanted;
    return true;
}

void sluice_cache_attach(sluice_experts *experts, int32_t index)
{
    sluice_slot *slot = &experts->slots[index];
    sluice_index_list *wanted = &experts->queues[SLUICE_EXPERTS_DEMAND];
    assert(slot->state != SLOT_FREE && !slot->in_ticket);
    if (slot->state == SLOT_READY) {
        experts->policy->use(experts->policy, index);
        sluice_index_list_push_back(&experts->ticket.arrived, experts->links, index);
    } else if (slot->state == SLOT_QUEUED) {
        sluice_index_list_remove(&experts->queues[slot->origin], experts->links, index);
        sluice_index_list_push_back(wanted, experts->links, index);
        experts->loose--;
    } else {
        experts->loose--;
        experts->loose_in_flight--;
    }
    slot->in_ticket = true;
    slot->pins++;
    slot->origin = SLUICE_EXPERTS_DEMAND;
}

/* Which file a record is read from: where it will arrive first, and elsewhere after a failure. */
static void choose_copy(sluice_experts *experts, sluice_slot *slot, uint64_t now_us)
{
    const sluice_cache_layer *layer = &experts->layers[slot->layer];
    if (experts->homes.n == 1) return;
    if (slot->attempts)
        slot->copy = (uint8_t)((slot->copy + 1) % layer->n_sources);
    else if (layer->n_sources > 1)
        slot->copy = (uint8_t)sluice_homes_choose(&experts->homes, layer->homes, layer->n_sources,
                                                  layer->bytes);
    slot->started_us = now_us;
    sluice_homes_start(&experts->homes, layer->homes[slot->copy], layer->bytes);
}

/* A read that was not taken will choose again. */
static void forget_choice(sluice_experts *experts, sluice_slot *slot)
{
    const sluice_cache_layer *layer = &experts->layers[slot->layer];
    if (experts->homes.n == 1) return;
    sluice_homes_end(&experts->homes, layer->homes[slot->copy], layer->bytes, 0, 0, false);
    if (slot->attempts)
        slot->copy = (uint8_t)((slot->copy + layer->n_sources - 1) % layer->n_sources);
}

/* Starts reads from one queue, at most room of them; returns how many. */
static int submit_from(sluice_experts *experts, sluice_experts_priority priority, int room)
{
    sluice_index_list *queue = &experts->queues[priority];
    int n = 0;
    uint64_t now_us = experts->homes.n > 1 ? sluice_clock_us() : 0;
    for (int32_t i = queue->first; i >= 0 && n < room; i = experts->links[i].next) {
        sluice_slot *slot = &experts->slots[i];
        const sluice_cache_layer *layer = &experts->layers[slot->layer];
        choose_copy(experts, slot, now_us);
        experts->batch[n++] =
            (sluice_io_read){.file = layer->sources[slot->copy].file,
                             .offset = layer->offset + (uint64_t)slot->id * layer->stride,
                             .bytes = layer->bytes,
                             .buffer = experts->memory + (size_t)i * experts->slot_bytes,
                             .untouched = !slot->touched,
                             .user = (uint64_t)i};
    }
    if (!n) return 0;
    int wished = n;
    n = experts->io->submit(experts->io, experts->batch, n);
    for (int i = n; i < wished; i++)
        forget_choice(experts, &experts->slots[experts->batch[i].user]);
    for (int taken = 0; taken < n; taken++) {
        sluice_slot *slot = &experts->slots[sluice_index_list_pop(queue, experts->links)];
        slot->state = SLOT_READING;
        experts->loose_in_flight += !slot->in_ticket;
        experts->pace.guessed += priority == SLUICE_EXPERTS_LOOKAHEAD;
        experts->stats.lookahead_reads +=
            priority == SLUICE_EXPERTS_LOOKAHEAD || priority == SLUICE_EXPERTS_SWEEP;
    }
    if (!experts->in_flight && n) experts->pace.busy_us = sluice_clock_us();
    experts->in_flight += n;
    return n;
}

/* How many guesses may be under way: what the disk can read before the next demand. One that will
 * not be complete by then gains the part that is, if it is right, and keeps the demand waiting for
 * the rest if it is wrong: it is worth its while if that part is more than the share of wrong ones.
 */
static int32_t guesses_max(const sluice_experts *experts)
{
    const sluice_pace *pace = &experts->pace;
    if (pace->read_us <= 0 || pace->gap_us <= 0 || pace->gap_us >= pace->read_us * experts->depth)
        return experts->depth;
    const double right = pace->guessed < GUESSES_MIN ? RIGHT_AT_FIRST : pace->right / pace->guessed;
    return (int32_t)(pace->gap_us / pace->read_us + right);
}

/* Demand first. While some of a ticket has no slot yet guesses get half of the places at most: a
 * read that has started cannot be called back, and the rest of the ticket must not find the disk
 * full of them. After that the disk is theirs. */
static void submit(sluice_experts *experts)
{
    bool open = experts->ticket.pending_first < experts->ticket.pending_end;
    int32_t wanted = experts->queues[SLUICE_EXPERTS_DEMAND].n;
    int32_t room = experts->depth - experts->in_flight;
    if (wanted && (room < 1 || submit_from(experts, SLUICE_EXPERTS_DEMAND, room) < wanted)) return;
    for (int priority = SLUICE_EXPERTS_LOOKAHEAD; priority < SLUICE_EXPERTS_PRIORITIES;
         priority++) {
        bool sweep = priority == SLUICE_EXPERTS_SWEEP && !open;
        int32_t depth = sweep ? experts->io->capacity : experts->depth;
        int32_t share = open && depth > 1 ? depth / 2 : depth;
        room = depth - experts->in_flight;
        if (priority == SLUICE_EXPERTS_LOOKAHEAD && share > guesses_max(experts))
            share = guesses_max(experts);
        if (room > share - experts->loose_in_flight) room = share - experts->loose_in_flight;
        if (room > 0) submit_from(experts, (sluice_experts_priority)priority, room);
    }
}

/* Finds a slot for an id of the ticket; a guess may have brought or queued it meanwhile. */
static bool start_pending(sluice_experts *experts, int32_t layer, int32_t id)
{
    int32_t index = experts->slot_of[experts->layers[layer].first_key + id];
    if (index < 0) return sluice_cache_queue(experts, layer, id, SLUICE_EXPERTS_DEMAND);
    sluice_cache_attach(experts, index);
    return true;
}

void sluice_cache_pump(sluice_experts *experts)
{
    sluice_ticket *ticket = &experts->ticket;
    while (ticket->pending_first < ticket->pending_end &&
           start_pending(experts, ticket->layer, ticket->pending[ticket->pending_first]))
        ticket->pending_first++;
    submit(experts);
}

/* Ends the ticket with a sentence about the record that did not come. */
static void fail_ticket(sluice_experts *experts, const sluice_slot *slot, int error)
{
    const sluice_cache_layer *layer = &experts->layers[slot->layer];
    sluice_error *err = &experts->ticket.error;
    const char *path = layer->sources[slot->copy].path;
    unsigned long long offset = layer->offset + (uint64_t)slot->id * layer->stride;
    if (error)
        sluice_fail(err, SLUICE_IO, "%s: layer %d, expert %d at byte %llu: cannot be read: %s",
                    path, slot->layer, slot->id, offset, strerror(error));
    else
        sluice_fail(err, SLUICE_CORRUPT,
                    "%s: layer %d, expert %d at byte %llu: the checksum is wrong; the file or the "
                    "disk is damaged",
                    path, slot->layer, slot->id, offset);
}

static bool is_intact(const sluice_experts *experts, int32_t index)
{
    const sluice_slot *slot = &experts->slots[index];
    const sluice_cache_layer *layer = &experts->layers[slot->layer];
    if (!experts->verify || !layer->crc32c) return true;
    const char *record = experts->memory + (size_t)index * experts->slot_bytes;
    return sluice_crc32c(0, record, layer->bytes) == layer->crc32c[slot->id];
}

static void arrive(sluice_experts *experts, int32_t index)
{
    sluice_slot *slot = &experts->slots[index];
    experts->stats.reads++;
    experts->stats.bytes_read += experts->layers[slot->layer].bytes;
    slot->state = SLOT_READY;
    experts->policy->insert(experts->policy, index, key_of(experts, slot), slot->in_ticket);
    if (slot->in_ticket)
        sluice_index_list_push_back(&experts->ticket.arrived, experts->links, index);
}

/* A guess that fails is dropped without a word: if the record is wanted, it will be read again. */
static void retry_or_drop(sluice_experts *experts, int32_t index, int error)
{
    sluice_slot *slot = &experts->slots[index];
    if (slot->in_ticket && ++slot->attempts < SLUICE_EXPERTS_ATTEMPTS) {
        experts->stats.retries++;
        slot->state = SLOT_QUEUED;
        sluice_index_list_push_front(&experts->queues[SLUICE_EXPERTS_DEMAND], experts->links,
                                     index);
        return;
    }
    if (slot->in_ticket) fail_ticket(experts, slot, error);
    sluice_cache_forget(experts, index);
}

static void leave_home(sluice_experts *experts, const sluice_slot *slot, uint64_t now_us,
                       bool arrived)
{
    const sluice_cache_layer *layer = &experts->layers[slot->layer];
    sluice_homes_end(&experts->homes, layer->homes[slot->copy], layer->bytes, slot->started_us,
                     now_us, arrived);
}

/* So many reads have arrived. Only those that were waited for did so just now; but whether they
 * came one by one or, as hypervisors like it, all at once, the disk has taken from the arrival
 * before to bring them. */
static void note_arrivals(sluice_experts *experts, int32_t n, bool waited, uint64_t now_us)
{
    sluice_ticket *ticket = &experts->ticket;
    if (waited && ticket->open) {
        ticket->busy_us += now_us - experts->pace.busy_us;
        ticket->brought += n;
    }
    experts->pace.busy_us = now_us;
}

/* A quarter of the new. */
static void blend(double *average, double value)
{
    *average += *average > 0 ? (value - *average) / 4 : value;
}

void sluice_cache_pace_open(sluice_experts *experts, int32_t layer)
{
    sluice_pace *pace = &experts->pace;
    const bool follows = layer > pace->layer; /* else a token lies between them, with its head */
    experts->ticket.busy_us = 0;
    experts->ticket.brought = 0;
    pace->layer = layer;
    pace->guessed *= GUESSES_KEPT;
    pace->right *= GUESSES_KEPT;
    if (!follows || !pace->last_us || pace->read_us <= 0) return;
    double gap_us = (double)(sluice_clock_us() - pace->last_us);
    /* Longer than guesses take to arrive is as good as for ever: somebody was thinking. */
    double longest_us = pace->read_us * experts->depth;
    blend(&pace->gap_us, gap_us < longest_us ? gap_us : longest_us);
}

void sluice_cache_pace_close(sluice_experts *experts)
{
    const sluice_ticket *ticket = &experts->ticket;
    if (ticket->brought < PACE_READS_MIN) return;
    blend(&experts->pace.read_us, (double)ticket->busy_us / ticket->brought);
}

void sluice_cache_reap(sluice_experts *experts, int min)
{
    int n = experts->io->wait(experts->io, experts->done, min, experts->io->capacity);
    if (!n) return;
    uint64_t now_us = sluice_clock_us();
    note_arrivals(experts, n, min > 0, now_us);
    for (int i = 0; i < n; i++) {
        int32_t index = (int32_t)experts->done[i].user;
        sluice_slot *slot = &experts->slots[index];
        experts->in_flight--;
        slot->touched = true;
        if (experts->homes.n > 1) leave_home(experts, slot, now_us, !experts->done[i].error);
        if (slot->in_ticket) experts->pace.last_us = now_us;
        experts->loose -= !slot->in_ticket;
        experts->loose_in_flight -= !slot->in_ticket;
        if (experts->done[i].error == 0 && is_intact(experts, index))
            arrive(experts, index);
        else
            retry_or_drop(experts, index, experts->done[i].error);
    }
}

void sluice_cache_end_ticket(sluice_experts *experts)
{
    sluice_ticket *ticket = &experts->ticket;
    int32_t index;
    sluice_cache_pace_close(experts);
    while ((index = sluice_index_list_pop(&ticket->arrived, experts->links)) >= 0) {
        experts->slots[index].in_ticket = false;
        experts->slots[index].pins--;
    }
    while ((index = sluice_index_list_pop(&experts->queues[SLUICE_EXPERTS_DEMAND],
                                          experts->links)) >= 0)
        sluice_cache_forget(experts, index);
    for (index = 0; experts->in_flight > experts->loose_in_flight; index++) {
        sluice_slot *slot = &experts->slots[index];
        if (slot->state != SLOT_READING || !slot->in_ticket) continue;
        slot->in_ticket = false;
        slot->pins--;
        experts->loose++;
        experts->loose_in_flight++;
    }
    ticket->open = false;
    ticket->remaining = 0;
    ticket->pending_first = ticket->pending_end = 0;
    ticket->error.code = SLUICE_OK;
}
