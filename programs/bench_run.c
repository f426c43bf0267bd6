/* See bench_run.h. */
#include "bench_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"

#define DISK_SECONDS 0.25
#define MEMORY_SECONDS 0.2
#define CHEAP_SECONDS 5

typedef struct bench {
    sluice_engine *engine;
    sluice_session *session;
    const char *path;
    bench_result *result;
    cli_progress *progress;
    uint64_t random;
    int32_t *tokens; /* [prefill or longest stretch between frontiers] */
    int32_t context; /* tokens in the session */
    double disk_sum; /* of this repetition's measurements of the disk */
    int32_t disk_n;
} bench;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

bench_spread bench_spread_of(const double *values, int32_t n)
{
    double sorted[BENCH_REPETITIONS_MAX] = {0};
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    return (bench_spread){(sorted[(n - 1) / 2] + sorted[n / 2]) / 2, sorted[0], sorted[n - 1]};
}

int32_t bench_context(const bench_plan *plan)
{
    int32_t warmup = plan->warmup < 0 ? BENCH_WARMUP_MAX : plan->warmup;
    int32_t prompt = plan->frontiers[plan->n_frontiers - 1] + plan->prefill;
    int32_t last = prompt + (plan->decode ? warmup + plan->decode : 0);
    return (last > warmup ? last : warmup) + 1;
}

/* xorshift64* (Vigna, 2016): the same tokens for the same seed. */
static int32_t random_token(bench *b)
{
    b->random ^= b->random >> 12;
    b->random ^= b->random << 25;
    b->random ^= b->random >> 27;
    return (int32_t)((b->random * 0x2545f4914f6cdd1du >> 33) % (uint64_t)b->result->info.vocab);
}

/* count tokens in one step, with the logits of the last, as every use of a model has it. */
static int run_tokens(bench *b, int32_t count)
{
    sluice_error err = {0};
    for (int32_t i = 0; i < count; i++)
        b->tokens[i] = random_token(b);
    const sluice_input input = {
        .session = b->session, .tokens = b->tokens, .count = count, .logits_from = count - 1};
    if (count > 1) sluice_session_prompt(b->session, count);
    if (sluice_engine_step(b->engine, &input, 1, sluice_logits_drop, NULL, &err) != SLUICE_OK)
        return err.code == SLUICE_CANCELLED ? CLI_FAILED : cli_fail_error(&err);
    b->context += count;
    return CLI_OK;
}

static bench_sample difference(const bench *b, const sluice_stats *start, int32_t context)
{
    const sluice_model_info *info = &b->result->info;
    sluice_stats s;
    sluice_engine_stats(b->engine, &s);
    bench_sample sample = {.context = context, .tokens = b->context - context};
    sample.seconds =
        (double)(s.prompt_us + s.decode_us - start->prompt_us - start->decode_us) * 1e-6;
    sample.trunk = (double)(s.trunk_us - start->trunk_us) * 1e-6;
    sample.experts = (double)(s.expert_us - start->expert_us) * 1e-6;
    sample.waiting = (double)(s.expert_wait_us - start->expert_wait_us) * 1e-6;
    sample.head = (double)(s.head_us - start->head_us) * 1e-6;
    sample.requests = (double)(s.expert_requests - start->expert_requests);
    sample.uses = (double)(s.expert_uses - start->expert_uses);
    sample.bytes_read = (double)(s.expert_bytes_read - start->expert_bytes_read);
    sample.guessed = (double)(s.lookahead_guessed - start->lookahead_guessed);
    sample.wanted = (double)(s.lookahead_wanted - start->lookahead_wanted);
    sample.right = (double)(s.lookahead_right - start->lookahead_right);
    /* What was read ahead for nothing was not missed; what was read rightly was. */
    double useless = (double)(s.lookahead_reads - start->lookahead_reads) -
                     (double)(s.lookahead_used - start->lookahead_used);
    double wasted = useless > 0 ? useless * (double)info->record_bytes : 0;
    double wanted = sample.requests * (double)info->record_bytes;
    sample.missed_bytes = sample.bytes_read > wasted ? sample.bytes_read - wasted : 0;
    if (sample.missed_bytes > wanted) sample.missed_bytes = wanted;
    sample.hits = sample.requests - sample.missed_bytes / (double)info->record_bytes;
    sample.touched_bytes =
        wanted + (double)(s.batches - start->batches) * (double)info->trunk_bytes +
        (double)(s.head_batches - start->head_batches) * (double)info->head_bytes;
    return sample;
}

/* Decoding reads what the last prompt did not leave: the cache must have turned over, unless all
 * experts fit into it. */
static int warm_up(bench *b)
{
    const bench_plan *plan = &b->result->plan;
    const sluice_model_info *info = &b->result->info;
    sluice_stats start, now;
    sluice_engine_stats(b->engine, &start);
    double slots = (double)info->cache_bytes / (double)info->record_bytes;
    for (int32_t i = 0; i < (plan->warmup < 0 ? BENCH_WARMUP_MAX : plan->warmup); i++) {
        sluice_engine_stats(b->engine, &now);
        double asked = (double)(now.expert_requests - start.expert_requests);
        bool whole = info->cache_bytes >= info->bank_bytes;
        if (plan->warmup < 0 && i >= 4 && (whole || asked > 1.5 * slots)) break;
        if (cli_interrupted()) return CLI_FAILED;
        int status = run_tokens(b, 1);
        if (status != CLI_OK) return status;
    }
    return CLI_OK;
}

static bench_point *point_of(bench_result *result, bool prefill, int32_t frontier)
{
    for (int32_t i = 0; i < result->n_points; i++)
        if (result->points[i].prefill == prefill && result->points[i].frontier == frontier)
            return &result->points[i];
    bench_point *point = &result->points[result->n_points++];
    *point = (bench_point){.prefill = prefill, .frontier = frontier};
    return point;
}

/* The largest memory use so far, without what the probes below take for a moment: the system is
 * asked to forget it (proc(5), clear_refs), and where it does not the figure is too large. */
static void note_memory(bench *b, bool forget)
{
    bench_result *result = b->result;
    sluice_stats stats;
    sluice_engine_stats(b->engine, &stats);
    if (!forget && stats.rss_peak_bytes > result->rss_peak_bytes)
        result->rss_peak_bytes = stats.rss_peak_bytes;
    if (stats.memory_peak_bytes > result->memory_peak_bytes)
        result->memory_peak_bytes = stats.memory_peak_bytes;
    FILE *file = forget ? fopen("/proc/self/clear_refs", "w") : NULL;
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

static int measure_disk(bench *b)
{
    bench_result *result = b->result;
    const sluice_disk_options options = {.io = result->plan.io, .seconds = DISK_SECONDS};
    sluice_error err = {0};
    note_memory(b, false);
    if (sluice_measure_disk(b->path, &options, &result->disk, &err) != SLUICE_OK)
        return cli_fail_error(&err);
    note_memory(b, true);
    b->disk_sum += result->disk.bytes_per_second;
    b->disk_n++;
    return CLI_OK;
}

static int measure_machine(bench *b, int32_t repetition)
{
    bench_result *result = b->result;
    sluice_error err = {0};
    b->disk_sum = 0;
    b->disk_n = 0;
    int status = measure_disk(b);
    if (status != CLI_OK) return status;
    if (sluice_measure_memory(result->info.threads, MEMORY_SECONDS,
                              &result->memory_speeds[repetition], &err) != SLUICE_OK)
        return cli_fail_error(&err);
    note_memory(b, true);
    return CLI_OK;
}

/* count tokens, so many in a step, and the disk before and after them; where all experts fit into
 * memory it does not matter. */
static int measure_tokens(bench *b, int32_t count, int32_t step, bench_sample *sample)
{
    const sluice_model_info *info = &b->result->info;
    bool reads = info->cache_bytes < info->bank_bytes;
    sluice_stats start;
    int32_t context = b->context;
    int status = reads ? measure_disk(b) : CLI_OK;
    double before = b->result->disk.bytes_per_second;
    sluice_engine_stats(b->engine, &start);
    for (int32_t done = 0; done < count && status == CLI_OK; done += step)
        status = cli_interrupted() ? CLI_FAILED : run_tokens(b, step);
    if (status != CLI_OK) return status;
    *sample = difference(b, &start, context);
    if (reads) status = measure_disk(b);
    sample->disk_speed = (before + b->result->disk.bytes_per_second) / 2;
    return status;
}

static int measure_prefill(bench *b, int32_t frontier, int32_t repetition)
{
    int32_t prefill = b->result->plan.prefill;
    bench_point *point = point_of(b->result, true, frontier);
    return measure_tokens(b, prefill, prefill, &point->samples[repetition]);
}

static int measure_decode(bench *b, int32_t frontier, int32_t repetition)
{
    int status = warm_up(b);
    if (status != CLI_OK) return status;
    bench_point *point = point_of(b->result, false, frontier);
    return measure_tokens(b, b->result->plan.decode, 1, &point->samples[repetition]);
}

/* Each repetition draws other tokens, so that no expert is in the cache for having been asked for
 * by the same text before. */
static int repeat(bench *b, int32_t repetition)
{
    const bench_plan *plan = &b->result->plan;
    int status = measure_machine(b, repetition);
    sluice_session_clear(b->session);
    b->context = 0;
    for (int32_t i = 0; i < plan->n_frontiers && status == CLI_OK; i++) {
        int32_t frontier = plan->frontiers[i];
        cli_progress_show(b->progress, "repetition %d of %d, context %d", repetition + 1,
                          plan->repetitions, frontier);
        if (frontier > b->context) status = run_tokens(b, frontier - b->context);
        if (status == CLI_OK && plan->prefill) status = measure_prefill(b, frontier, repetition);
        if (status == CLI_OK && plan->decode) status = measure_decode(b, frontier, repetition);
    }
    b->result->disk_speeds[repetition] = b->disk_sum / b->disk_n;
    return status;
}

/* Pages, page tables and the cache come into being. Where all experts fit into memory, or reading
 * them takes a moment only, by a repetition that is not counted; else by some tokens, since a
 * prompt then finds the cache full of others' experts anyway. */
static int prepare(bench *b)
{
    const sluice_model_info *info = &b->result->info;
    int status = measure_machine(b, 0);
    if (status != CLI_OK) return status;
    double seconds = (double)info->bank_bytes / b->result->disk.bytes_per_second;
    if (info->cache_bytes >= info->bank_bytes || seconds < CHEAP_SECONDS) return repeat(b, 0);
    return warm_up(b);
}

int bench_run(sluice_engine *engine, const char *path, const bench_plan *plan,
              cli_progress *progress, bench_result *result)
{
    sluice_error err = {0};
    *result = (bench_result){.plan = *plan, .info = *sluice_engine_info(engine)};
    bench b = {.engine = engine,
               .path = path,
               .result = result,
               .progress = progress,
               .random = plan->seed * 2 + 0x9e3779b97f4a7c15u};
    b.tokens = malloc((size_t)bench_context(plan) * sizeof *b.tokens);
    if (!b.tokens) return cli_fail("not enough memory for %d tokens", bench_context(plan));
    int status = CLI_OK;
    if (sluice_session_open(engine, &b.session, &err) != SLUICE_OK) {
        free(b.tokens);
        return cli_fail_error(&err);
    }
    status = prepare(&b);
    for (int32_t i = 0; i < plan->repetitions && status == CLI_OK; i++) {
        status = repeat(&b, i);
        if (status == CLI_OK) result->repetitions++;
    }
    cli_progress_clear(progress);
    note_memory(&b, false);
    sluice_session_close(b.session);
    free(b.tokens);
    if (cli_interrupted() && result->repetitions) return CLI_OK;
    if (cli_interrupted()) return cli_fail("stopped before the first repetition was whole");
    return status;
}
