/* Rows of a report (see report_result.h). */
#include "report_result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const report_value unknown = {NAN, NAN, NAN};

void report_row_clear(report_row *row, const report_setting *setting)
{
    *row = (report_row){.setting = setting};
    report_value *const values[] = {&row->perplexity, &row->ratio, &row->kl,     &row->top_1,
                                    &row->tasks_mean, &row->loads, &row->decode, &row->prefill,
                                    &row->bytes,      &row->hits,  &row->memory, &row->size};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        *values[i] = unknown;
    for (size_t i = 0; i < REPORT_TASKS_MAX; i++)
        row->tasks[i] = unknown;
}

static double number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static report_value interval(const json_t *value)
{
    return (report_value){number(value, "value"), number(value, "low"), number(value, "high")};
}

void report_take_perplexity(report_row *row, const json_t *ppl)
{
    double loads = number(ppl, "experts_per_token");
    row->perplexity = interval(json_object_get(json_object_get(ppl, "all"), "perplexity"));
    row->loads = (report_value){loads, NAN, NAN};
}

void report_take_divergence(report_row *row, const json_t *kld)
{
    row->kl = interval(json_object_get(kld, "kl"));
    row->top_1 = interval(json_object_get(kld, "top_1"));
}

void report_take_task(report_row *row, int32_t task, const json_t *result)
{
    row->tasks[task] = interval(json_object_get(json_object_get(result, "all"), "accuracy"));
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median, least and most of the numbers that are there. */
static report_value spread(double *values, size_t n)
{
    size_t known = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i])) values[known++] = values[i];
    if (!known) return unknown;
    qsort(values, known, sizeof *values, ascending);
    return (report_value){(values[(known - 1) / 2] + values[known / 2]) / 2, values[0],
                          values[known - 1]};
}

typedef enum bench_field { SPEED, BYTES, HITS, MEMORY, SIZE } bench_field;

/* Of the first result of a kind in one run of bench. */
static double field_of(const json_t *bench, const char *kind, bench_field field)
{
    size_t i;
    json_t *row;
    if (field == MEMORY) return number(bench, "rss_peak_bytes");
    if (field == SIZE)
        return number(bench, "bank_bytes") + number(bench, "trunk_bytes") +
               number(bench, "head_bytes");
    json_array_foreach(json_object_get(bench, "results"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "kind"));
        if (!name || strcmp(name, kind) != 0) continue;
        if (field == SPEED) return number(json_object_get(row, "tokens_per_second"), "median");
        return number(row, field == BYTES ? "bytes_read_per_token" : "hit_rate");
    }
    return NAN;
}

static report_value over_rounds(const json_t *rounds, const char *kind, bench_field field)
{
    double values[REPORT_ROUNDS_MAX];
    size_t n = json_array_size(rounds);
    for (size_t i = 0; i < n; i++)
        values[i] = field_of(json_array_get(rounds, i), kind, field);
    return spread(values, n);
}

void report_take_bench(report_row *row, const json_t *rounds)
{
    row->decode = over_rounds(rounds, "decode", SPEED);
    row->prefill = over_rounds(rounds, "prefill", SPEED);
    row->bytes = over_rounds(rounds, "decode", BYTES);
    row->hits = over_rounds(rounds, "decode", HITS);
    row->memory = over_rounds(rounds, "decode", MEMORY);
    row->size = over_rounds(rounds, "decode", SIZE);
}

void report_finish(report_result *result)
{
    int32_t tasks = result->config->n_tasks;
    report_row *reference = &result->rows[0];
    reference->kl = (report_value){0, 0, 0};
    reference->top_1 = (report_value){1, 1, 1};
    for (int32_t i = 0; i < result->config->n_settings; i++) {
        report_row *row = &result->rows[i];
        double sum = 0;
        for (int32_t t = 0; t < tasks; t++)
            sum += row->tasks[t].value;
        row->tasks_mean = (report_value){tasks ? sum / tasks : NAN, NAN, NAN};
        row->ratio = (report_value){row->perplexity.value / reference->perplexity.value, NAN, NAN};
    }
}

report_value report_quality(const report_row *row, report_measure measure)
{
    if (measure == REPORT_PERPLEXITY) return row->perplexity;
    return measure == REPORT_KL ? row->kl : row->tasks_mean;
}

/* The higher, the better. */
static double goodness(const report_row *row, report_measure measure)
{
    double value = report_quality(row, measure).value;
    return measure == REPORT_TASKS ? value : -value;
}

bool report_is_front(const report_result *result, int32_t index, report_measure measure)
{
    const report_row *row = &result->rows[index];
    if (!isfinite(goodness(row, measure)) || !isfinite(row->decode.value)) return false;
    for (int32_t i = 0; i < result->config->n_settings; i++) {
        const report_row *other = &result->rows[i];
        double speed = other->decode.value - row->decode.value;
        double good = goodness(other, measure) - goodness(row, measure);
        if (speed >= 0 && good >= 0 && (speed > 0 || good > 0)) return false;
    }
    return true;
}

bool report_has(const report_result *result, report_measure measure)
{
    for (int32_t i = 0; i < result->config->n_settings; i++)
        if (isfinite(goodness(&result->rows[i], measure)) && isfinite(result->rows[i].decode.value))
            return true;
    return false;
}

void report_print_escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
    }
}

void report_print_number(FILE *out, double value, int decimals)
{
    if (isfinite(value))
        fprintf(out, "%.*f", decimals, value);
    else
        fputc('-', out);
}

static void print_words(FILE *out, const char *first, const report_words *words)
{
    fputs(first, out);
    for (int i = 0; i < words->n; i++)
        fprintf(out, "%s%s", i || *first ? " " : "", words->at[i]);
}

void report_print_flags(FILE *out, const report_setting *setting)
{
    if (setting->convert.n) print_words(out, "convert", &setting->convert);
    if (setting->convert.n && setting->flags.n) fputs("; ", out);
    if (setting->flags.n) print_words(out, "", &setting->flags);
    if (!setting->convert.n && !setting->flags.n) fputc('-', out);
}
