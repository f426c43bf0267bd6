/* A report as Markdown and as CSV. */
#include <math.h>
#include <string.h>

#include "report_result.h"

#define MEGA 1e-6

/* Text within a cell. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text, out);
    }
}

static bool is_measured(const report_result *result, size_t offset)
{
    for (int32_t i = 0; i < result->config->n_settings; i++) {
        double value;
        memcpy(&value, (const char *)&result->rows[i] + offset, sizeof value);
        if (isfinite(value)) return true;
    }
    return false;
}

typedef struct column {
    const char *name;
    size_t offset; /* of the report_value in a row */
    double scale;
    int decimals;
} column;

#define COLUMN(field) offsetof(report_row, field)

static const column columns[] = {{"experts a token", COLUMN(loads), 1, 1},
                                 {"tokens/s", COLUMN(decode), 1, 1},
                                 {"prompt tokens/s", COLUMN(prefill), 1, 0},
                                 {"MB read a token", COLUMN(bytes), MEGA, 3},
                                 {"hits, %", COLUMN(hits), 100, 1},
                                 {"peak MB", COLUMN(memory), MEGA, 0},
                                 {"model MB", COLUMN(size), MEGA, 1},
                                 {"perplexity", COLUMN(perplexity), 1, 2},
                                 {"KL, nats", COLUMN(kl), 1, 4},
                                 {"same token, %", COLUMN(top_1), 100, 1},
                                 {"tasks", COLUMN(tasks_mean), 1, 3}};
enum { COLUMNS = sizeof columns / sizeof *columns };

static double value_at(const report_row *row, const column *c)
{
    report_value value;
    memcpy(&value, (const char *)row + c->offset, sizeof value);
    return value.value * c->scale;
}

static bool is_best(const report_result *result, int32_t row)
{
    for (int m = 0; m < REPORT_MEASURES; m++)
        if (report_is_front(result, row, (report_measure)m)) return true;
    return false;
}

static void print_tasks(FILE *out, const report_result *result)
{
    const report_config *config = result->config;
    if (!config->n_tasks) return;
    fputs("\n| setting |", out);
    for (int32_t t = 0; t < config->n_tasks; t++) {
        fputc(' ', out);
        print_cell(out, config->tasks[t].name);
        fputs(" |", out);
    }
    fputs("\n|---|", out);
    for (int32_t t = 0; t < config->n_tasks; t++)
        fputs("---:|", out);
    fputc('\n', out);
    for (int32_t i = 0; i < config->n_settings; i++) {
        fputs("| ", out);
        print_cell(out, config->settings[i].name);
        fputs(" |", out);
        for (int32_t t = 0; t < config->n_tasks; t++) {
            fputc(' ', out);
            report_print_number(out, result->rows[i].tasks[t].value, 2);
            fputs(" |", out);
        }
        fputc('\n', out);
    }
}

void report_print_markdown(FILE *out, const report_result *result)
{
    const report_config *config = result->config;
    fputs("| setting | flags |", out);
    for (int k = 0; k < COLUMNS; k++)
        if (is_measured(result, columns[k].offset)) fprintf(out, " %s |", columns[k].name);
    fputs("\n|---|---|", out);
    for (int k = 0; k < COLUMNS; k++)
        if (is_measured(result, columns[k].offset)) fputs("---:|", out);
    fputc('\n', out);
    for (int32_t i = 0; i < config->n_settings; i++) {
        const char *mark = is_best(result, i) ? "**" : "";
        fprintf(out, "| %s", mark);
        print_cell(out, config->settings[i].name);
        fprintf(out, "%s | `", mark);
        report_print_flags(out, &config->settings[i]);
        fputs("` |", out);
        for (int k = 0; k < COLUMNS; k++) {
            if (!is_measured(result, columns[k].offset)) continue;
            fputc(' ', out);
            report_print_number(out, value_at(&result->rows[i], &columns[k]), columns[k].decimals);
            fputs(" |", out);
        }
        fputc('\n', out);
    }
    print_tasks(out, result);
}

static void print_quoted(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

/* ",value" or a bare comma. */
static void print_field(FILE *out, double value, int digits)
{
    fputc(',', out);
    if (isfinite(value)) fprintf(out, "%.*g", digits, value);
}

static void print_interval(FILE *out, report_value v, int digits)
{
    print_field(out, v.value, digits);
    print_field(out, v.low, digits);
    print_field(out, v.high, digits);
}

void report_print_csv(FILE *out, const report_result *result)
{
    const report_config *config = result->config;
    fprintf(out, "# %s; %s; %s\n# command: %s\n", result->model, result->machine, result->when,
            result->command);
    fputs("setting,flags,perplexity,perplexity_low,perplexity_high,perplexity_ratio,kl,kl_low,"
          "kl_high,top_1,experts_per_token,decode_tokens_s,decode_tokens_s_min,"
          "decode_tokens_s_max,prefill_tokens_s,bytes_read_per_token,hit_rate,rss_peak_bytes,"
          "model_bytes,tasks_mean",
          out);
    for (int32_t t = 0; t < config->n_tasks; t++) {
        fputc(',', out);
        print_quoted(out, config->tasks[t].name);
    }
    fputc('\n', out);
    for (int32_t i = 0; i < config->n_settings; i++) {
        const report_row *row = &result->rows[i];
        print_quoted(out, config->settings[i].name);
        fputs(",\"", out);
        report_print_flags(out, &config->settings[i]); /* words without quotes: see the reader */
        fputc('"', out);
        print_interval(out, row->perplexity, 7);
        print_field(out, row->ratio.value, 6);
        print_interval(out, row->kl, 5);
        print_field(out, row->top_1.value, 5);
        print_field(out, row->loads.value, 6);
        print_interval(out, row->decode, 5);
        print_field(out, row->prefill.value, 5);
        print_field(out, row->bytes.value, 8);
        print_field(out, row->hits.value, 5);
        print_field(out, row->memory.value, 12);
        print_field(out, row->size.value, 12);
        print_field(out, row->tasks_mean.value, 5);
        for (int32_t t = 0; t < config->n_tasks; t++)
            print_field(out, row->tasks[t].value, 5);
        fputc('\n', out);
    }
}
