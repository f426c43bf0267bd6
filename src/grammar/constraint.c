/* Constraints: a place in a grammar, and the machine and masks that copies of it share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "grammar/grammar.h"
#include "grammar/mask.h"

#define STOP_IDS_MAX 16
/* Bytes that the machine may take before what no constraint holds is thrown away. */
#define MACHINE_BYTES ((size_t)8 << 20)
/* With fewer tokens left than completing takes and the largest rule and this many, each token is
 * looked at for whether the answer can still be completed after it. */
#define TOKENS_SPARE 64u

/* Shared by the copies of a constraint. */
typedef struct shared {
    sluice_machine machine;
    sluice_masks masks;
    uint32_t start;
    int32_t stop_ids[STOP_IDS_MAX];
    int32_t n_stop_ids;
    uint32_t *mask;               /* what sluice_constraint_mask gives out */
    uint32_t mask_set, mask_cost; /* what it was filled for; SLUICE_SET_DEAD: nothing */
    sluice_constraint *first;     /* all that share this */
    size_t count;
} shared;

struct sluice_constraint {
    shared *shared;
    uint32_t set; /* SLUICE_SET_DEAD: the answer is over */
    sluice_constraint *next;
};

static void free_shared(shared *s)
{
    sluice_masks_free(&s->masks);
    sluice_machine_free(&s->machine);
    free(s->mask);
    free(s);
}

static sluice_status make_shared(const sluice_grammar *grammar, const sluice_token_trie *trie,
                                 const int32_t *stop_ids, int32_t n_stop_ids, shared **out,
                                 sluice_error *err)
{
    shared *s = calloc(1, sizeof *s);
    if (!s) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a constraint");
    for (int32_t i = 0; i < n_stop_ids; i++)
        if (stop_ids[i] >= 0 && stop_ids[i] < trie->vocab)
            s->stop_ids[s->n_stop_ids++] = stop_ids[i];
    sluice_status status = sluice_machine_init(&s->machine, &grammar->automaton, err);
    if (status == SLUICE_OK) status = sluice_masks_init(&s->masks, trie, &s->machine, err);
    if (status == SLUICE_OK) {
        s->mask = calloc((size_t)s->masks.words + 1, sizeof *s->mask);
        s->start = sluice_machine_start(&s->machine);
        status = sluice_machine_check(&s->machine, err);
        if (!s->mask) status = sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a mask");
    }
    if (status == SLUICE_OK) {
        *out = s;
    } else {
        free_shared(s);
    }
    return status;
}

static sluice_status join(shared *s, uint32_t set, sluice_constraint **out, sluice_error *err)
{
    sluice_constraint *constraint = calloc(1, sizeof *constraint);
    if (!constraint) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a constraint");
    *constraint = (sluice_constraint){s, set, s->first};
    s->first = constraint;
    s->count++;
    *out = constraint;
    return SLUICE_OK;
}

sluice_status sluice_constraint_new(const sluice_grammar *grammar, const sluice_token_trie *trie,
                                    const int32_t *stop_ids, int32_t n_stop_ids,
                                    sluice_constraint **out, sluice_error *err)
{
    *out = NULL;
    if (n_stop_ids > STOP_IDS_MAX) {
        return sluice_fail(err, SLUICE_USAGE, "%d stop tokens, %d are allowed", n_stop_ids,
                           STOP_IDS_MAX);
    }
    shared *s = NULL;
    SLUICE_TRY(make_shared(grammar, trie, stop_ids, n_stop_ids, &s, err));
    sluice_status status = join(s, s->start, out, err);
    if (status != SLUICE_OK) free_shared(s);
    return status;
}

sluice_status sluice_constraint_copy(const sluice_constraint *from, sluice_constraint **out,
                                     sluice_error *err)
{
    *out = NULL;
    return join(from->shared, from->set, out, err);
}

void sluice_constraint_set(sluice_constraint *to, const sluice_constraint *from)
{
    to->set = from->set;
}

void sluice_constraint_restart(sluice_constraint *constraint)
{
    constraint->set = constraint->shared->start;
}

void sluice_constraint_free(sluice_constraint *constraint)
{
    if (!constraint) return;
    shared *s = constraint->shared;
    sluice_constraint **at = &s->first;
    while (*at != constraint)
        at = &(*at)->next;
    *at = constraint->next;
    free(constraint);
    if (--s->count == 0) free_shared(s);
}

/* Throws away what no constraint holds, once there is much of it. */
static sluice_status collect(shared *s, sluice_error *err)
{
    if (sluice_machine_bytes(&s->machine) < MACHINE_BYTES) return SLUICE_OK;
    uint32_t **sets = malloc((s->count + 1) * sizeof *sets);
    if (!sets) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a constraint");
    size_t count = 0;
    sets[count++] = &s->start;
    for (sluice_constraint *at = s->first; at; at = at->next)
        sets[count++] = &at->set;
    sluice_status status = sluice_machine_collect(&s->machine, sets, count, err);
    free(sets);
    s->mask_set = SLUICE_SET_DEAD;
    sluice_masks_clear(&s->masks);
    return status;
}

static bool is_stop(const shared *s, int32_t token)
{
    for (int32_t i = 0; i < s->n_stop_ids; i++)
        if (s->stop_ids[i] == token) return true;
    return false;
}

/* The bytes that may be left to complete the answer after the next token; UINT32_MAX where there is
 * no need to look. A token takes a byte at least, so what has a cost of n can be completed with n
 * tokens. */
static uint32_t cost_allowed(const shared *s, const sluice_set *set, int32_t tokens_left)
{
    uint64_t spare = (uint64_t)s->machine.automaton->cost_max + TOKENS_SPARE;
    if (tokens_left < 1) tokens_left = 1;
    if ((uint64_t)tokens_left > set->cost + spare) return UINT32_MAX;
    /* Too late: the shortest way must do. */
    uint32_t left = (uint32_t)tokens_left - 1;
    return left + 1 >= set->cost ? left : set->cost - (set->cost > 0);
}

sluice_status sluice_constraint_mask(sluice_constraint *constraint, int32_t tokens_left,
                                     const uint32_t **mask, sluice_error *err)
{
    shared *s = constraint->shared;
    if (constraint->set == SLUICE_SET_DEAD) {
        return sluice_fail(err, SLUICE_USAGE, "the answer is over: restart its constraint");
    }
    SLUICE_TRY(collect(s, err));
    const sluice_set *set = &s->machine.sets[constraint->set];
    uint32_t cost = cost_allowed(s, set, tokens_left);
    bool complete = set->complete;
    *mask = s->mask;
    if (s->mask_set == constraint->set && s->mask_cost == cost) return SLUICE_OK;
    s->mask_set = SLUICE_SET_DEAD;
    SLUICE_TRY(sluice_masks_fill(&s->masks, constraint->set, cost, s->mask, err));
    for (int32_t i = 0; i < s->n_stop_ids; i++) {
        uint32_t id = (uint32_t)s->stop_ids[i], bit = 1u << (id % 32);
        s->mask[id / 32] = complete ? s->mask[id / 32] | bit : s->mask[id / 32] & ~bit;
    }
    s->mask_set = constraint->set;
    s->mask_cost = cost;
    return SLUICE_OK;
}

sluice_status sluice_constraint_filter(sluice_constraint *constraint, int32_t tokens_left,
                                       float *logits, int32_t vocab, sluice_error *err)
{
    const uint32_t *mask;
    SLUICE_TRY(sluice_constraint_mask(constraint, tokens_left, &mask, err));
    int32_t known = constraint->shared->masks.trie->vocab;
    for (int32_t i = 0; i < vocab; i++) {
        bool allowed = i < known && (mask[i / 32] >> (i % 32) & 1);
        if (!allowed) logits[i] = -INFINITY;
    }
    return SLUICE_OK;
}

/* Where a token leads. */
static uint32_t follow(shared *s, uint32_t set, int32_t token)
{
    const sluice_automaton *a = s->machine.automaton;
    for (uint32_t tag = 0; tag < a->tag_count; tag++) {
        if (s->masks.tag_ids[tag] != token) continue;
        uint32_t to = sluice_machine_take_tag(&s->machine, set, tag);
        if (to != SLUICE_SET_DEAD) return to;
    }
    if (!sluice_token_trie_has(s->masks.trie, token)) return SLUICE_SET_DEAD;
    size_t length;
    const char *bytes = sluice_tokenizer_token(s->masks.trie->tokenizer, token, &length);
    for (size_t i = 0; i < length && set != SLUICE_SET_DEAD; i++)
        set = sluice_machine_next(&s->machine, set, (uint8_t)bytes[i]);
    return set;
}

sluice_status sluice_constraint_accept(sluice_constraint *constraint, int32_t token,
                                       sluice_error *err)
{
    shared *s = constraint->shared;
    if (constraint->set == SLUICE_SET_DEAD) {
        return sluice_fail(err, SLUICE_USAGE, "the answer is over: restart its constraint");
    }
    SLUICE_TRY(collect(s, err));
    uint32_t to = SLUICE_SET_DEAD;
    if (is_stop(s, token)) {
        if (!sluice_constraint_is_complete(constraint)) {
            return sluice_fail(err, SLUICE_BAD_INPUT, "the answer cannot stop here");
        }
    } else {
        to = follow(s, constraint->set, token);
        SLUICE_TRY(sluice_machine_check(&s->machine, err));
        if (to == SLUICE_SET_DEAD) {
            return sluice_fail(err, SLUICE_BAD_INPUT, "the grammar does not allow token %d here",
                               token);
        }
    }
    constraint->set = to;
    return SLUICE_OK;
}

bool sluice_constraint_is_complete(const sluice_constraint *constraint)
{
    return constraint->shared->machine.sets[constraint->set].complete;
}
