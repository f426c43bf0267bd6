/* See bench_report.h. */
#include "bench_report.h"

static double median_of(const bench_point *point, int32_t n,
                        double (*value)(const bench_sample *sample))
{
    double values[BENCH_REPETITIONS_MAX];
    for (int32_t i = 0; i < n; i++)
        values[i] = value(&point->samples[i]);
    return bench_spread_of(values, n).median;
}

#define PER_TOKEN(name, expression)                                                                \
    static double name(const bench_sample *s)                                                      \
    {                                                                                              \
        return (expression) / s->tokens;                                                           \
    }
PER_TOKEN(total_ms, s->seconds * 1e3)
PER_TOKEN(trunk_ms, s->trunk * 1e3)
PER_TOKEN(experts_ms, s->experts * 1e3)
PER_TOKEN(waiting_ms, s->waiting * 1e3)
PER_TOKEN(head_ms, s->head * 1e3)
PER_TOKEN(other_ms, (s->seconds - s->trunk - s->experts - s->waiting - s->head) * 1e3)
PER_TOKEN(uses, s->uses)
PER_TOKEN(bytes_read, s->bytes_read)
PER_TOKEN(missed_bytes, s->missed_bytes)
PER_TOKEN(touched_bytes, s->touched_bytes)
PER_TOKEN(disk_ms, s->missed_bytes / s->disk_speed * 1e3)
#undef PER_TOKEN

static double hit_rate(const bench_sample *s)
{
    return s->requests > 0 ? s->hits / s->requests : 0;
}

static double recall(const bench_sample *s)
{
    return s->wanted > 0 ? s->right / s->wanted : -1;
}

static double precision(const bench_sample *s)
{
    return s->guessed > 0 ? s->right / s->guessed : -1;
}

static double read_speed(const bench_sample *s)
{
    return s->bytes_read / s->seconds;
}

void bench_rows(const bench_result *result, bench_row *rows)
{
    int32_t n = result->repetitions;
    double memory = bench_spread_of(result->memory_speeds, n).median;
    for (int32_t i = 0; i < result->n_points; i++) {
        const bench_point *point = &result->points[i];
        bench_row *row = &rows[i];
        double speeds[BENCH_REPETITIONS_MAX], fractions[BENCH_REPETITIONS_MAX];
        *row = (bench_row){.prefill = point->prefill,
                           .context = point->samples[0].context,
                           .tokens = point->samples[0].tokens,
                           .total_ms = median_of(point, n, total_ms),
                           .trunk_ms = median_of(point, n, trunk_ms),
                           .experts_ms = median_of(point, n, experts_ms),
                           .waiting_ms = median_of(point, n, waiting_ms),
                           .head_ms = median_of(point, n, head_ms),
                           .other_ms = median_of(point, n, other_ms),
                           .experts_per_token = median_of(point, n, uses),
                           .bytes_read = median_of(point, n, bytes_read),
                           .missed_bytes = median_of(point, n, missed_bytes),
                           .touched_bytes = median_of(point, n, touched_bytes),
                           .hit_rate = median_of(point, n, hit_rate),
                           .lookahead_recall = median_of(point, n, recall),
                           .lookahead_precision = median_of(point, n, precision),
                           .read_bytes_per_second = median_of(point, n, read_speed)};
        double from_disk = median_of(point, n, disk_ms);
        double from_memory = row->touched_bytes / memory * 1e3;
        row->floor_is_disk = from_disk > from_memory;
        row->floor_ms = row->floor_is_disk ? from_disk : from_memory;
        for (int32_t k = 0; k < n; k++) {
            const bench_sample *s = &point->samples[k];
            double floor =
                row->floor_is_disk ? s->missed_bytes / s->disk_speed : s->touched_bytes / memory;
            speeds[k] = s->tokens / s->seconds;
            fractions[k] = floor / s->seconds;
        }
        row->tokens_per_second = bench_spread_of(speeds, n);
        row->floor_fraction = bench_spread_of(fractions, n);
    }
}

static void print_head(const bench_result *result)
{
    const sluice_model_info *info = &result->info;
    bench_spread disk = bench_spread_of(result->disk_speeds, result->repetitions);
    bench_spread memory = bench_spread_of(result->memory_speeds, result->repetitions);
    cli_human bank = cli_human_bytes(info->bank_bytes), cache = cli_human_bytes(info->cache_bytes);
    cli_human record = cli_human_bytes(info->record_bytes);
    cli_human trunk = cli_human_bytes(info->trunk_bytes + info->head_bytes);
    cli_human peak = cli_human_bytes(result->rss_peak_bytes);
    printf("%s: %d layers, %d of %d experts of %s each; trunk and head %s, experts %s, of which %s "
           "fit in memory\n",
           info->name, info->layers, info->k, info->experts, record.text, trunk.text, bank.text,
           cache.text);
    printf("%d threads, chunks of %d; disk %.2f GB/s (%.2f to %.2f; %s, %d in flight), memory %.1f "
           "GB/s (%.1f to %.1f); peak %s\n",
           info->threads, info->chunk, disk.median * 1e-9, disk.low * 1e-9, disk.high * 1e-9,
           result->disk.io, result->disk.depth, memory.median * 1e-9, memory.low * 1e-9,
           memory.high * 1e-9, peak.text);
    if (*info->lossy) printf("lossy: %s\n", info->lossy);
}

void bench_print_table(const bench_result *result, const bench_row *rows)
{
    print_head(result);
    printf("medians of %d repetitions, spread in brackets; milliseconds and megabytes a token\n\n",
           result->repetitions);
    printf("%-12s %7s  %-24s %8s %8s %8s %8s %8s %8s  %6s %6s %6s %9s %-6s %s\n", "", "context",
           "tokens/s", "ms", "trunk", "experts", "waiting", "head", "MB read", "hits", "ahead",
           "GB/s", "floor ms", "", "of the floor");
    for (int32_t i = 0; i < result->n_points; i++) {
        const bench_row *row = &rows[i];
        char name[32], speed[64], ahead[16];
        snprintf(name, sizeof name, "%s %d", row->prefill ? "prefill" : "decode", row->tokens);
        snprintf(speed, sizeof speed, "%.2f (%.2f to %.2f)", row->tokens_per_second.median,
                 row->tokens_per_second.low, row->tokens_per_second.high);
        snprintf(ahead, sizeof ahead, row->lookahead_recall < 0 ? "-" : "%.0f%%",
                 row->lookahead_recall * 100);
        printf("%-12s %7d  %-24s %8.2f %8.2f %8.2f %8.2f %8.2f %8.1f  %5.1f%% %6s %6.2f %9.2f "
               "%-6s %.2f (%.2f to %.2f)\n",
               name, row->context, speed, row->total_ms, row->trunk_ms, row->experts_ms,
               row->waiting_ms, row->head_ms, row->bytes_read * 1e-6, row->hit_rate * 100, ahead,
               row->read_bytes_per_second * 1e-9, row->floor_ms,
               row->floor_is_disk ? "disk" : "memory", row->floor_fraction.median,
               row->floor_fraction.low, row->floor_fraction.high);
    }
}

static json_t *spread_json(bench_spread spread, double scale)
{
    return json_pack("{s:f, s:f, s:f}", "median", spread.median * scale, "min", spread.low * scale,
                     "max", spread.high * scale);
}

static json_t *row_json(const bench_row *row)
{
    return json_pack(
        "{s:s, s:i, s:i, s:o, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:f,"
        " s:f, s:s, s:o}",
        "kind", row->prefill ? "prefill" : "decode", "context", row->context, "tokens", row->tokens,
        "tokens_per_second", spread_json(row->tokens_per_second, 1), "ms_per_token", row->total_ms,
        "trunk_ms", row->trunk_ms, "experts_ms", row->experts_ms, "waiting_ms", row->waiting_ms,
        "head_ms", row->head_ms, "other_ms", row->other_ms, "experts_per_token",
        row->experts_per_token, "bytes_read_per_token", row->bytes_read, "bytes_missed_per_token",
        row->missed_bytes, "bytes_touched_per_token", row->touched_bytes, "hit_rate", row->hit_rate,
        "lookahead_recall",
        row->lookahead_recall < 0 ? json_null() : json_real(row->lookahead_recall),
        "lookahead_precision",
        row->lookahead_precision < 0 ? json_null() : json_real(row->lookahead_precision),
        "read_gb_per_second", row->read_bytes_per_second * 1e-9, "floor_ms", row->floor_ms,
        "floor_by", row->floor_is_disk ? "disk" : "memory", "fraction_of_floor",
        spread_json(row->floor_fraction, 1));
}

json_t *bench_json(const bench_result *result, const bench_row *rows)
{
    const sluice_model_info *info = &result->info;
    json_t *list = json_array();
    for (int32_t i = 0; i < result->n_points; i++)
        json_array_append_new(list, row_json(&rows[i]));
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:s, "
                     "s:i, s:o, s:o, s:I, s:I, s:o}",
                     "version", sluice_version(), "model", info->name, "lossy", info->lossy,
                     "layers", info->layers, "experts", info->experts, "top_k", info->k, "threads",
                     info->threads, "chunk", info->chunk, "trunk_bytes",
                     (json_int_t)info->trunk_bytes, "head_bytes", (json_int_t)info->head_bytes,
                     "record_bytes", (json_int_t)info->record_bytes, "bank_bytes",
                     (json_int_t)info->bank_bytes, "cache_bytes", (json_int_t)info->cache_bytes,
                     "repetitions", result->repetitions, "io", result->disk.io, "depth",
                     result->disk.depth, "disk_gb_per_second",
                     spread_json(bench_spread_of(result->disk_speeds, result->repetitions), 1e-9),
                     "memory_gb_per_second",
                     spread_json(bench_spread_of(result->memory_speeds, result->repetitions), 1e-9),
                     "memory_peak_bytes", (json_int_t)result->memory_peak_bytes, "rss_peak_bytes",
                     (json_int_t)result->rss_peak_bytes, "results", list);
}

void bench_print_csv(FILE *out, const bench_result *result, const bench_row *rows)
{
    const sluice_model_info *info = &result->info;
    double disk = bench_spread_of(result->disk_speeds, result->repetitions).median;
    double memory = bench_spread_of(result->memory_speeds, result->repetitions).median;
    fputs("model,layers,threads,cache_bytes,rss_peak_bytes,disk_gb_s,memory_gb_s,kind,context,"
          "tokens,repetitions,tokens_s,tokens_s_min,tokens_s_max,ms,trunk_ms,experts_ms,waiting_ms,"
          "head_ms,mb_read,hit_rate,lookahead_recall,read_gb_s,floor_ms,floor_by,floor_fraction,"
          "floor_fraction_min,floor_fraction_max,experts_per_token,lossy\n",
          out);
    for (int32_t i = 0; i < result->n_points; i++) {
        const bench_row *row = &rows[i];
        fprintf(out, "%s,%d,%d,%llu,%llu,%.3f,%.2f,%s,%d,%d,%d,%.4f,%.4f,%.4f", info->name,
                info->layers, info->threads, (unsigned long long)info->cache_bytes,
                (unsigned long long)result->rss_peak_bytes, disk * 1e-9, memory * 1e-9,
                row->prefill ? "prefill" : "decode", row->context, row->tokens, result->repetitions,
                row->tokens_per_second.median, row->tokens_per_second.low,
                row->tokens_per_second.high);
        fprintf(out, ",%.4f,%.4f,%.4f,%.4f,%.4f,%.3f,%.4f,", row->total_ms, row->trunk_ms,
                row->experts_ms, row->waiting_ms, row->head_ms, row->bytes_read * 1e-6,
                row->hit_rate);
        if (row->lookahead_recall >= 0) fprintf(out, "%.4f", row->lookahead_recall);
        fprintf(
            out, ",%.3f,%.4f,%s,%.4f,%.4f,%.4f,%.3f,\"%s\"\n", row->read_bytes_per_second * 1e-9,
            row->floor_ms, row->floor_is_disk ? "disk" : "memory", row->floor_fraction.median,
            row->floor_fraction.low, row->floor_fraction.high, row->experts_per_token, info->lossy);
    }
}
