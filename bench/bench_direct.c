/* What the expert cache costs when everything is in memory, against direct pointers.
 *
 * Usage: bench_direct [MODEL [TOKENS]]. Decodes with the whole bank resident and records the
 * routing; then asks a cache of its own for the same experts in the same order without computing
 * anything, and walks an array of pointers instead. The difference is what a token pays for the
 * cache, as a share of what it takes. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/engine.h"

#define PROMPT 64

typedef struct routes {
    int32_t *numbers; /* layer, n, ids... */
    size_t n, room;
} routes;

static int die(const char *detail)
{
    fprintf(stderr, "bench_direct: %s\n", detail);
    exit(1);
}

static void record(void *context, int32_t layer, const int32_t *ids, int32_t n)
{
    routes *r = context;
    if (r->n + (size_t)n + 2 > r->room) {
        r->room = 2 * r->room + 4096;
        r->numbers = realloc(r->numbers, r->room * sizeof *r->numbers);
        if (!r->numbers) die("no memory");
    }
    r->numbers[r->n++] = layer;
    r->numbers[r->n++] = n;
    for (int32_t i = 0; i < n; i++)
        r->numbers[r->n++] = ids[i];
}

static void ask_cache(sluice_experts *experts, const routes *r, size_t from, uint64_t *sum)
{
    sluice_error err;
    for (size_t at = from; at < r->n; at += 2 + (size_t)r->numbers[at + 1]) {
        sluice_experts_request(experts, r->numbers[at], r->numbers + at + 2, r->numbers[at + 1],
                               SLUICE_EXPERTS_DEMAND);
        for (;;) {
            int32_t id;
            const void *bytes;
            if (sluice_experts_next(experts, &id, &bytes, &err)) die(err.detail);
            if (id < 0) break;
            *sum += (uintptr_t)bytes;
            sluice_experts_release(experts, r->numbers[at], id);
        }
    }
}

static void follow_pointers(const void *const *table, int32_t count, const routes *r, size_t from,
                            uint64_t *sum)
{
    for (size_t at = from; at < r->n; at += 2 + (size_t)r->numbers[at + 1])
        for (int32_t i = 0; i < r->numbers[at + 1]; i++)
            *sum += (uintptr_t)table[r->numbers[at] * count + r->numbers[at + 2 + (size_t)i]];
}

int main(int argc, char **argv)
{
    routes r = {0};
    sluice_error err;
    sluice_engine *engine;
    sluice_session *session;
    sluice_engine_options options = sluice_engine_options_default();
    options.routes = record;
    options.routes_context = &r;
    options.lookahead = -1;
    options.exact = false;
    options.context = 2048;
    int32_t tokens = argc > 2 ? atoi(argv[2]) : 500, prompt[PROMPT], ids[2048], count;
    if (tokens < 1 || tokens > 1900) return die("1 to 1900 tokens");
    for (int32_t i = 0; i < PROMPT; i++)
        prompt[i] = i * 3;
    if (sluice_engine_open(argc > 1 ? argv[1] : NULL, &options, &engine, &err)) die(err.detail);
    if (engine->info.cache_bytes < engine->info.bank_bytes) die("the bank does not fit");
    if (sluice_session_open(engine, &session, &err)) die(err.detail);
    sluice_generation generation = {.prompt = prompt,
                                    .prompt_count = PROMPT,
                                    .tokens_max = tokens,
                                    .sampling = sluice_sampling_greedy(),
                                    .ignore_stop = true};
    sluice_finish finish;
    /* The first time fills the cache and counts for nothing. */
    if (sluice_generate(session, &generation, ids, &count, &finish, &err)) die(err.detail);
    sluice_session_clear(session);
    sluice_engine_stats_reset(engine);
    r.n = 0;
    if (sluice_generate(session, &generation, ids, &count, &finish, &err)) die(err.detail);
    sluice_stats stats;
    sluice_engine_stats(engine, &stats);
    if (stats.expert_hits != stats.expert_requests) die("not all experts were resident");
    double token_us = (double)stats.decode_us / (double)stats.decode_tokens;

    engine->options.routes = NULL; /* what follows asks for the same once more */
    /* The prompt's lines come first: one for each layer. */
    size_t from = 0;
    for (int32_t i = 0; i < engine->info.layers; i++)
        from += 2 + (size_t)r.numbers[from + 1];
    const void **table =
        calloc((size_t)engine->info.layers * (size_t)engine->info.experts, sizeof *table);
    if (!table) return die("no memory");
    uint64_t sum = 0, best_cache = UINT64_MAX, best_direct = UINT64_MAX;
    for (int round = 0; round < 5; round++) {
        uint64_t start = sluice_clock_ns();
        ask_cache(engine->experts, &r, from, &sum);
        uint64_t middle = sluice_clock_ns();
        follow_pointers(table, engine->info.experts, &r, from, &sum);
        uint64_t end = sluice_clock_ns();
        if (middle - start < best_cache) best_cache = middle - start;
        if (end - middle < best_direct) best_direct = end - middle;
    }
    double cache_us = (double)best_cache / 1e3 / (double)stats.decode_tokens;
    double direct_us = (double)best_direct / 1e3 / (double)stats.decode_tokens;
    printf("model,tokens,token_us,cache_us,direct_us,cache_share\n%s,%llu,%.1f,%.3f,%.3f,%.5f\n",
           engine->info.name, (unsigned long long)stats.decode_tokens, token_us, cache_us,
           direct_us, (cache_us - direct_us) / token_us);
    free(table);
    free(r.numbers);
    sluice_session_close(session);
    sluice_engine_close(engine);
    return sum == 1; /* the sum is looked at, so that it is worked out */
}
