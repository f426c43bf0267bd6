/* Sampling (see sluice/sampler.h). */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/status.h"

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct sluice_sampler {
    int32_t vocab;
    sluice_sampling sampling;
    sluice_rng rng;
    sluice_budget *budget;
    void *block;        /* holds the arrays below */
    double *mass;       /* [vocab]: unnormalised probability of each ranked candidate */
    candidate *ranked;  /* [vocab] */
    float *logits;      /* [vocab], after penalties */
    int32_t *generated; /* [vocab]: how often each token was generated */
    bool *seen;         /* [vocab]: in prompt or answer */
};

uint64_t sluice_sampler_bytes(int32_t vocab)
{
    const sluice_sampler *s = NULL;
    return (uint64_t)vocab * (sizeof *s->mass + sizeof *s->ranked + sizeof *s->logits +
                              sizeof *s->generated + sizeof *s->seen);
}

sluice_status sluice_sampler_new(int32_t vocab, sluice_budget *budget, sluice_sampler **out,
                                 sluice_error *err)
{
    size_t n = (size_t)vocab;
    sluice_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a sampler");
    sluice_status status = sluice_memory_new(budget, (size_t)sluice_sampler_bytes(vocab), "sampler",
                                             &sampler->block, err);
    if (status != SLUICE_OK) {
        free(sampler);
        return status;
    }
    sampler->vocab = vocab;
    sampler->budget = budget;
    sampler->mass = sampler->block;
    sampler->ranked = (candidate *)(void *)(sampler->mass + n);
    sampler->logits = (float *)(void *)(sampler->ranked + n);
    sampler->generated = (int32_t *)(void *)(sampler->logits + n);
    sampler->seen = (bool *)(void *)(sampler->generated + n);
    *out = sampler;
    return SLUICE_OK;
}

void sluice_sampler_free(sluice_sampler *sampler)
{
    if (!sampler) return;
    sluice_memory_free(sampler->budget, sampler->block,
                       (size_t)sluice_sampler_bytes(sampler->vocab), "sampler");
    free(sampler);
}

static sluice_status check(const sluice_sampling *s, sluice_error *err)
{
    if (!(s->temperature >= 0.0f && s->temperature <= 100.0f))
        return sluice_fail(err, SLUICE_USAGE, "temperature must be between 0 and 100, not %g",
                           (double)s->temperature);
    if (s->top_k < 0)
        return sluice_fail(err, SLUICE_USAGE, "top_k must not be negative, it is %d", s->top_k);
    if (!(s->top_p > 0.0f && s->top_p <= 1.0f))
        return sluice_fail(err, SLUICE_USAGE, "top_p must be above 0 and at most 1, not %g",
                           (double)s->top_p);
    if (!(s->min_p >= 0.0f && s->min_p <= 1.0f))
        return sluice_fail(err, SLUICE_USAGE, "min_p must be between 0 and 1, not %g",
                           (double)s->min_p);
    if (!(s->repetition_penalty > 0.0f && s->repetition_penalty <= 100.0f))
        return sluice_fail(err, SLUICE_USAGE,
                           "repetition_penalty must be above 0 and at most 100, not "
                           "%g",
                           (double)s->repetition_penalty);
    if (!(fabsf(s->presence_penalty) <= 100.0f) || !(fabsf(s->frequency_penalty) <= 100.0f))
        return sluice_fail(err, SLUICE_USAGE,
                           "presence and frequency penalties must be between -100 "
                           "and 100");
    return SLUICE_OK;
}

sluice_status sluice_sampler_begin(sluice_sampler *sampler, const sluice_sampling *sampling,
                                   sluice_error *err)
{
    SLUICE_TRY(check(sampling, err));
    sampler->sampling = *sampling;
    sluice_rng_seed(&sampler->rng, sampling->seed);
    memset(sampler->generated, 0, (size_t)sampler->vocab * sizeof *sampler->generated);
    memset(sampler->seen, 0, (size_t)sampler->vocab * sizeof *sampler->seen);
    return SLUICE_OK;
}

void sluice_sampler_see(sluice_sampler *sampler, const int32_t *tokens, int32_t count,
                        bool generated)
{
    for (int32_t i = 0; i < count; i++) {
        sampler->seen[tokens[i]] = true;
        if (generated) sampler->generated[tokens[i]]++;
    }
}

static bool has_penalties(const sluice_sampling *s)
{
    return s->repetition_penalty != 1.0f || s->presence_penalty != 0.0f ||
           s->frequency_penalty != 0.0f;
}

/* The logits after penalties: the caller's own where there are none. */
static const float *penalise(sluice_sampler *sampler, const float *logits)
{
    const sluice_sampling *s = &sampler->sampling;
    if (!has_penalties(s)) return logits;
    for (int32_t i = 0; i < sampler->vocab; i++) {
        float logit = logits[i];
        if (sampler->seen[i])
            logit = logit > 0.0f ? logit / s->repetition_penalty : logit * s->repetition_penalty;
        if (sampler->generated[i])
            logit -= s->presence_penalty + s->frequency_penalty * (float)sampler->generated[i];
        sampler->logits[i] = logit;
    }
    return sampler->logits;
}

/* The largest, ties to the lower id; -1 if some logit is NaN or +infinity. Independent lanes first,
 * which compilers turn into vectors, then a search for the place. */
static int32_t largest(const float *logits, int32_t vocab)
{
    enum { LANES = 16 };
    float top[LANES];
    int32_t bad = 0, i = 0, at = 0;
    for (int32_t j = 0; j < LANES; j++)
        top[j] = -INFINITY;
    for (; i + LANES <= vocab; i += LANES)
        for (int32_t j = 0; j < LANES; j++) {
            float logit = logits[i + j];
            bad |= !(logit < INFINITY);
            top[j] = logit > top[j] ? logit : top[j];
        }
    for (; i < vocab; i++) {
        bad |= !(logits[i] < INFINITY);
        top[0] = logits[i] > top[0] ? logits[i] : top[0];
    }
    for (int32_t j = 1; j < LANES; j++)
        top[0] = top[j] > top[0] ? top[j] : top[0];
    if (bad) return -1;
    while (logits[at] != top[0])
        at++;
    return at;
}

static bool before(candidate a, candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int by_rank(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    return before(*x, *y) ? -1 : 1;
}

/* Restores the heap whose root is the last in rank of n candidates. */
static void sift(candidate *heap, int32_t n)
{
    int32_t at = 0;
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && before(heap[child], heap[child + 1])) child++;
        if (!before(heap[at], heap[child])) return;
        candidate swapped = heap[at];
        heap[at] = heap[child];
        heap[child] = swapped;
        at = child;
    }
}

/* The first n candidates in order of rank, into ranked. */
static void rank(sluice_sampler *sampler, const float *logits, int32_t n)
{
    candidate *heap = sampler->ranked;
    for (int32_t i = 0; i < n; i++)
        heap[i] = (candidate){logits[i], i};
    /* Best first is no heap with the worst at the root; ascending rank is. */
    qsort(heap, (size_t)n, sizeof *heap, by_rank);
    for (int32_t i = 0; i < n / 2; i++) {
        candidate swapped = heap[i];
        heap[i] = heap[n - 1 - i];
        heap[n - 1 - i] = swapped;
    }
    for (int32_t i = n; i < sampler->vocab; i++) {
        if (!(logits[i] > heap[0].logit)) continue; /* an equal one has a higher id */
        heap[0] = (candidate){logits[i], i};
        sift(heap, n);
    }
    qsort(heap, (size_t)n, sizeof *heap, by_rank);
}

/* exp(x) for x <= 0 in plain double arithmetic, the same on every machine; within 1e-15. */
static double exp_of(double x)
{
    static const double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
    static const double inverse[] = {1.0 / 1,  1.0 / 2,  1.0 / 3,  1.0 / 4, 1.0 / 5,
                                     1.0 / 6,  1.0 / 7,  1.0 / 8,  1.0 / 9, 1.0 / 10,
                                     1.0 / 11, 1.0 / 12, 1.0 / 13, 1.0 / 14};
    if (!(x > -700.0)) return 0.0;
    double n = floor(x * 1.44269504088896338700 + 0.5);
    double r = (x - n * ln2_high) - n * ln2_low, sum = 1.0;
    for (int i = 13; i >= 0; i--)
        sum = 1.0 + r * inverse[i] * sum;
    return ldexp(sum, (int)n);
}

static double mass_of(const sluice_sampler *sampler, float logit, float top)
{
    return exp_of(((double)logit - (double)top) / (double)sampler->sampling.temperature);
}

/* Masses of the first n ranked candidates, and their sum. */
static double weigh(sluice_sampler *sampler, int32_t n, float top)
{
    double sum = 0.0;
    for (int32_t i = 0; i < n; i++)
        sum += sampler->mass[i] = mass_of(sampler, sampler->ranked[i].logit, top);
    return sum;
}

/* How many of n candidates, ranked and weighed, reach the share of total; *sum becomes their mass.
 */
static int32_t reach(const sluice_sampler *sampler, int32_t n, double share, double *sum)
{
    int32_t count = 0;
    for (*sum = 0.0; count < n && (count == 0 || *sum < share); count++)
        *sum += sampler->mass[count];
    return count;
}

/* Top-k, then min-p, then top-p. Returns how many candidates are left; *sum is their mass. */
static int32_t keep_best(sluice_sampler *sampler, const float *logits, float top, double *sum)
{
    const sluice_sampling *s = &sampler->sampling;
    int32_t left = 0;
    double total = 0.0;
    rank(sampler, logits, s->top_k);
    weigh(sampler, s->top_k, top);
    while (left < s->top_k && (left == 0 || sampler->mass[left] >= (double)s->min_p))
        total += sampler->mass[left++];
    *sum = total;
    return s->top_p < 1.0f ? reach(sampler, left, (double)s->top_p * total, sum) : left;
}

/* The same without top-k: ranks no more of a large vocabulary than top-p turns out to need. */
static int32_t keep_likely(sluice_sampler *sampler, const float *logits, float top, double *sum)
{
    const sluice_sampling *s = &sampler->sampling;
    double total = 0.0, share;
    int32_t left = 0, n = 64, count;
    for (int32_t i = 0; i < sampler->vocab; i++) {
        double mass = mass_of(sampler, logits[i], top);
        if (mass < (double)s->min_p) continue;
        total += mass;
        left++;
    }
    if (s->top_p >= 1.0f) n = left;
    share = s->top_p < 1.0f ? (double)s->top_p * total : INFINITY;
    for (;; n *= 8) {
        if (n > left) n = left;
        rank(sampler, logits, n);
        weigh(sampler, n, top);
        count = reach(sampler, n, share, sum);
        if (n == left || *sum >= share) return count;
    }
}

/* Everything, in order of id. */
static int32_t keep_all(sluice_sampler *sampler, const float *logits, float top, double *sum)
{
    for (int32_t i = 0; i < sampler->vocab; i++)
        sampler->ranked[i] = (candidate){logits[i], i};
    *sum = weigh(sampler, sampler->vocab, top);
    return sampler->vocab;
}

sluice_status sluice_sampler_draw(sluice_sampler *sampler, const float *logits, int32_t *token,
                                  sluice_error *err)
{
    const sluice_sampling *s = &sampler->sampling;
    int32_t n, best;
    logits = penalise(sampler, logits);
    best = largest(logits, sampler->vocab);
    if (best < 0)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "the model's logits are not finite: its weights are "
                           "damaged (check the container with verify)");
    *token = best;
    if (s->temperature == 0.0f) return SLUICE_OK;

    double sum;
    if (s->top_k > 0 && s->top_k < sampler->vocab)
        n = keep_best(sampler, logits, logits[best], &sum);
    else if (s->top_p < 1.0f || s->min_p > 0.0f)
        n = keep_likely(sampler, logits, logits[best], &sum);
    else
        n = keep_all(sampler, logits, logits[best], &sum);

    double left = sluice_rng_unit(&sampler->rng) * sum;
    int32_t at = 0;
    while (at < n - 1 && left >= sampler->mass[at])
        left -= sampler->mass[at++];
    /* Rounding must not reach what has no mass at all. */
    while (at > 0 && sampler->mass[at] == 0.0)
        at--;
    *token = sampler->ranked[at].id;
    return SLUICE_OK;
}

sluice_sampling sluice_sampling_greedy(void)
{
    return (sluice_sampling){.top_p = 1.0f, .repetition_penalty = 1.0f};
}

sluice_sampling sluice_sampling_recommended(bool thinking)
{
    return (sluice_sampling){
        .temperature = thinking ? 1.0f : 0.7f,
        .top_k = 20,
        .top_p = thinking ? 0.95f : 0.8f,
        .presence_penalty = 1.5f,
        .repetition_penalty = 1.0f,
    };
}
