/* What an engine has counted since it was opened, or since the last reset. */
#include <sys/resource.h>

#include "engine/engine.h"

static void fill_times(const sluice_engine *engine, sluice_stats *stats)
{
    const sluice_forward_times *base = &engine->times_base;
    sluice_forward_times times;
    sluice_forward_times_get(engine->forward, &times);
    uint64_t routed_us = (times.routed_ns - base->routed_ns) / 1000;
    stats->batches = times.batches - base->batches;
    stats->head_batches = times.head_batches - base->head_batches;
    stats->trunk_us = (times.trunk_ns - base->trunk_ns) / 1000;
    stats->head_us = (times.head_ns - base->head_ns) / 1000;
    stats->expert_uses = times.uses - base->uses;
    stats->expert_us = routed_us > stats->expert_wait_us ? routed_us - stats->expert_wait_us : 0;
}

static void fill_lookahead(const sluice_engine *engine, sluice_stats *stats)
{
    const sluice_lookahead_stats *base = &engine->lookahead_base;
    sluice_lookahead_stats now = sluice_forward_lookahead(engine->forward);
    stats->lookahead_guessed = now.guessed - base->guessed;
    stats->lookahead_wanted = now.wanted - base->wanted;
    stats->lookahead_right = now.right - base->right;
}

void sluice_engine_stats(const sluice_engine *engine, sluice_stats *stats)
{
    const sluice_experts_stats *base = &engine->experts_base;
    sluice_experts_stats experts;
    struct rusage usage;
    sluice_experts_stats_get(engine->experts, &experts);
    *stats = engine->stats;
    stats->expert_requests = experts.requests - base->requests;
    stats->expert_hits = experts.hits - base->hits;
    stats->expert_bytes_read = experts.bytes_read - base->bytes_read;
    stats->expert_wait_us = experts.wait_us - base->wait_us;
    stats->lookahead_reads = experts.lookahead_reads - base->lookahead_reads;
    stats->lookahead_used = experts.lookahead_used - base->lookahead_used;
    fill_lookahead(engine, stats);
    fill_times(engine, stats);
    stats->memory_bytes = sluice_budget_used(engine->budget);
    stats->cache_bytes =
        (uint64_t)sluice_experts_slots_now(engine->experts) * engine->info.record_bytes;
    stats->memory_peak_bytes = sluice_budget_peak(engine->budget);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        stats->rss_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

void sluice_engine_stats_reset(sluice_engine *engine)
{
    engine->stats = (sluice_stats){0};
    sluice_experts_stats_get(engine->experts, &engine->experts_base);
    sluice_forward_times_get(engine->forward, &engine->times_base);
    engine->lookahead_base = sluice_forward_lookahead(engine->forward);
}
