/* Statistics of a generation; see statistics.h. */
#include "statistics.h"

#include <stdio.h>

#include "output.h"

/* What the numbers mean, derived once for the line and for JSON. Negative: not known. */
typedef struct derived {
    uint64_t prompt_tokens, decode_tokens, bytes_read;
    double prompt_seconds, first_token_seconds, decode_seconds;
    double prompt_rate, decode_rate; /* tokens per second */
    double hit_rate, bytes_per_token, gigabytes_per_second;
    double lookahead_recall;  /* of the experts wanted, those that were guessed */
    double experts_per_token; /* that ran, of all layers */
} derived;

void cli_statistics_begin(cli_statistics *statistics, const sluice_engine *engine)
{
    *statistics = (cli_statistics){.model = sluice_engine_info(engine)};
    sluice_engine_stats(engine, &statistics->start);
}

void cli_statistics_token(cli_statistics *statistics, const sluice_engine *engine)
{
    if (statistics->has_first) return;
    statistics->has_first = true;
    sluice_engine_stats(engine, &statistics->first);
}

void cli_statistics_end(cli_statistics *statistics, const sluice_engine *engine)
{
    sluice_engine_stats(engine, &statistics->end);
    if (!statistics->has_first) statistics->first = statistics->end;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : -1;
}

static derived derive(const cli_statistics *s)
{
    derived d = {0};
    double all_us = (double)(s->end.prompt_us + s->end.decode_us) -
                    (double)(s->start.prompt_us + s->start.decode_us);
    /* Without a decoded token the prompt's own hits and reads are all there is to tell. */
    d.decode_tokens = s->end.decode_tokens - s->start.decode_tokens;
    const sluice_stats *from = d.decode_tokens ? &s->first : &s->start;
    d.prompt_tokens = s->end.prompt_tokens - s->start.prompt_tokens;
    d.prompt_seconds = (double)(s->end.prompt_us - s->start.prompt_us) / 1e6;
    d.decode_seconds = (double)(s->end.decode_us - s->start.decode_us) / 1e6;
    d.first_token_seconds = s->has_first ? (double)s->end.first_token_us / 1e6 : -1;
    d.prompt_rate = ratio((double)d.prompt_tokens, d.prompt_seconds);
    d.decode_rate = ratio((double)d.decode_tokens, d.decode_seconds);
    d.bytes_read = s->end.expert_bytes_read - s->start.expert_bytes_read;
    d.hit_rate = ratio((double)(s->end.expert_hits - from->expert_hits),
                       (double)(s->end.expert_requests - from->expert_requests));
    d.lookahead_recall = ratio((double)(s->end.lookahead_right - from->lookahead_right),
                               (double)(s->end.lookahead_wanted - from->lookahead_wanted));
    d.bytes_per_token = ratio((double)(s->end.expert_bytes_read - from->expert_bytes_read),
                              (double)(d.decode_tokens ? d.decode_tokens : d.prompt_tokens));
    d.experts_per_token = ratio((double)(s->end.expert_uses - from->expert_uses),
                                (double)(d.decode_tokens ? d.decode_tokens : d.prompt_tokens));
    d.gigabytes_per_second = ratio((double)d.bytes_read / 1e9, all_us / 1e6);
    return d;
}

void cli_statistics_line(const cli_statistics *statistics, char *line, size_t size)
{
    derived d = derive(statistics);
    char rate[48] = "no rate (nothing decoded)", first[32] = "none", hits[16] = "none",
         lossy[288] = "", adapters[160] = "";
    const sluice_model_info *model = statistics->model;
    char ahead[48] = "";
    cli_human per_token = cli_human_bytes(d.bytes_per_token > 0 ? (uint64_t)d.bytes_per_token : 0);
    cli_human peak = cli_human_bytes(statistics->end.rss_peak_bytes);
    if (d.decode_rate >= 0) snprintf(rate, sizeof rate, "%.3g tok/s", d.decode_rate);
    if (d.first_token_seconds >= 0) snprintf(first, sizeof first, "%.3f s", d.first_token_seconds);
    if (*model->lossy) snprintf(lossy, sizeof lossy, "; lossy: %s", model->lossy);
    if (model->adapters[0]) snprintf(adapters, sizeof adapters, "; adapters: %s", model->adapters);
    if (d.hit_rate >= 0) snprintf(hits, sizeof hits, "%.1f%%", 100 * d.hit_rate);
    if (d.lookahead_recall >= 0)
        snprintf(ahead, sizeof ahead, "lookahead recall %.1f%%, ", 100 * d.lookahead_recall);
    snprintf(line, size,
             "%s, first token after %s, %llu prompt tokens, hit rate %s, %s%s read per token, "
             "%.2f GB/s, peak memory %s%s%s",
             rate, first, (unsigned long long)d.prompt_tokens, hits, ahead, per_token.text,
             d.gigabytes_per_second > 0 ? d.gigabytes_per_second : 0.0, peak.text, lossy, adapters);
}

/* A number, or null when it is not known. */
static json_t *number(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

json_t *cli_statistics_json(const cli_statistics *statistics)
{
    derived d = derive(statistics);
    const sluice_stats *end = &statistics->end;
    return json_pack(
        "{s:I, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:I, s:o, s:s, s:s}",
        "prompt_tokens", (json_int_t)d.prompt_tokens, "prompt_seconds", number(d.prompt_seconds),
        "prompt_tokens_per_second", number(d.prompt_rate), "decode_tokens",
        (json_int_t)d.decode_tokens, "decode_seconds", number(d.decode_seconds),
        "tokens_per_second", number(d.decode_rate), "first_token_seconds",
        number(d.first_token_seconds), "hit_rate", number(d.hit_rate), "lookahead_recall",
        number(d.lookahead_recall), "bytes_read", (json_int_t)d.bytes_read, "bytes_read_per_token",
        number(d.bytes_per_token), "gb_per_second", number(d.gigabytes_per_second),
        "memory_peak_bytes", (json_int_t)end->memory_peak_bytes, "rss_peak_bytes",
        (json_int_t)end->rss_peak_bytes, "experts_per_token", number(d.experts_per_token), "lossy",
        statistics->model->lossy, "adapters", statistics->model->adapters);
}
