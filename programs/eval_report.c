/* Showing evaluations (see eval_report.h). */
#include "eval_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A number, or null where it is not known. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *interval_json(sluice_interval i)
{
    return json_pack("{s:o, s:o, s:o}", "value", number(i.value), "low", number(i.low), "high",
                     number(i.high));
}

typedef enum number_form { FIXED, SIGNED, SCIENTIFIC } number_form;

static void print_number(double value, number_form form, int decimals)
{
    switch (form) {
    case FIXED: printf("%.*f", decimals, value); break;
    case SIGNED: printf("%+.*f", decimals, value); break;
    case SCIENTIFIC: printf("%.*e", decimals, value); break;
    }
}

/* "  [1.2, 1.4]", or nothing. */
static void print_range(sluice_interval i, number_form form, int decimals)
{
    if (!isfinite(i.low) || !isfinite(i.high)) return;
    printf("  [");
    print_number(i.low, form, decimals);
    printf(", ");
    print_number(i.high, form, decimals);
    putchar(']');
}

/* What the result belongs to. */
static json_t *head_json(const sluice_engine *engine, bool exact)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    sluice_stats stats;
    sluice_engine_stats(engine, &stats);
    double tokens = (double)(stats.prompt_tokens + stats.decode_tokens);
    return json_pack("{s:s, s:i, s:i, s:b, s:s, s:f}", "model", info->name, "k", info->k, "top_k",
                     info->top_k, "exact", exact, "lossy", info->lossy, "experts_per_token",
                     tokens > 0 ? (double)stats.expert_uses / tokens : 0.0);
}

static void print_head(const sluice_engine *engine, bool exact)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    printf("%s, %d", info->name, info->k);
    if (info->k < info->top_k) printf(" of %d", info->top_k);
    printf(" experts a layer, %s activations\n", exact ? "f32" : "int8");
    if (*info->lossy) printf("lossy: %s\n", info->lossy);
}

static int print_with(json_t *head, json_t *more)
{
    if (!head || !more || json_object_update(head, more) != 0) {
        json_decref(head);
        head = NULL;
    }
    json_decref(more);
    return cli_output_json(head);
}

/* The width of a column of names. */
static int width_of(const cli_list *files)
{
    size_t width = 3;
    for (int i = 0; i < files->count; i++)
        width = strlen(files->words[i]) > width ? strlen(files->words[i]) : width;
    return (int)width;
}

static json_t *perplexity_json(const sluice_perplexity *p)
{
    return json_pack("{s:i, s:I, s:f, s:o}", "windows", p->windows, "predicted",
                     (json_int_t)p->predicted, "nll", p->nll, "perplexity",
                     interval_json(p->perplexity));
}

static void print_perplexity(const char *name, int width, const sluice_perplexity *p)
{
    printf("%-*s  %7d  %9lld  %10.4f", width, name, p->windows, (long long)p->predicted,
           p->perplexity.value);
    print_range(p->perplexity, FIXED, 3);
    putchar('\n');
}

int eval_report_perplexity(const sluice_engine *engine, bool exact, const cli_list *files,
                           const sluice_perplexity *each, const sluice_perplexity *all, bool json)
{
    if (json) {
        json_t *texts = json_array();
        for (int i = 0; i < files->count; i++) {
            json_t *text = perplexity_json(&each[i]);
            json_object_set_new(text, "text", json_string(files->words[i]));
            json_array_append_new(texts, text);
        }
        return print_with(head_json(engine, exact),
                          json_pack("{s:o, s:o}", "texts", texts, "all", perplexity_json(all)));
    }
    int width = width_of(files);
    print_head(engine, exact);
    printf("%-*s  windows  predicted  perplexity  [95%%]\n", width, "text");
    for (int i = 0; i < files->count; i++)
        print_perplexity(files->words[i], width, &each[i]);
    if (files->count != 1) print_perplexity("all", width, all);
    return cli_output_finish();
}

static void print_row(const char *what, sluice_interval i, number_form form, int decimals,
                      const char *unit)
{
    printf("%-30s  ", what);
    print_number(i.value, form, decimals);
    printf("%s", unit);
    print_range(i, form, decimals);
    putchar('\n');
}

static void print_divergence(const sluice_engine *engine, bool exact, const sluice_divergence *d)
{
    sluice_interval more = {100 * (d->ratio.value - 1), 100 * (d->ratio.low - 1),
                            100 * (d->ratio.high - 1)};
    sluice_interval same = {100 * d->top_1.value, 100 * d->top_1.low, 100 * d->top_1.high};
    print_head(engine, exact);
    printf("against %s (%08x), %d experts a layer, %s activations\n", d->model, d->fingerprint,
           d->k, d->exact ? "f32" : "int8");
    printf("%d windows of %d tokens, %lld predictions; 95%% intervals in brackets\n\n",
           d->perplexity.windows, d->window, (long long)d->perplexity.predicted);
    print_row("mean KL divergence", d->kl, SCIENTIFIC, 3, " nats");
    printf("%-30s  %.3e, %.3e, %.3e nats\n", "median, 99th percentile, most", d->kl_median,
           d->kl_p99, d->kl_max);
    print_row("same likeliest token", same, FIXED, 2, "%");
    print_row("perplexity", d->perplexity.perplexity, FIXED, 4, "");
    print_row("perplexity of the other", d->base.perplexity, FIXED, 4, "");
    print_row("difference", more, SIGNED, 3, "%");
}

int eval_report_divergence(const sluice_engine *engine, bool exact, const sluice_divergence *d,
                           bool json)
{
    if (!json) {
        print_divergence(engine, exact, d);
        return cli_output_finish();
    }
    char fingerprint[16];
    snprintf(fingerprint, sizeof fingerprint, "%08x", d->fingerprint);
    json_t *against = json_pack("{s:s, s:s, s:i, s:b}", "model", d->model, "fingerprint",
                                fingerprint, "k", d->k, "exact", d->exact);
    return print_with(head_json(engine, exact),
                      json_pack("{s:o, s:i, s:i, s:o, s:f, s:f, s:f, s:o, s:o, s:o, s:o}",
                                "against", against, "window", d->window, "stride", d->stride, "kl",
                                interval_json(d->kl), "kl_median", d->kl_median, "kl_p99",
                                d->kl_p99, "kl_max", d->kl_max, "top_1", interval_json(d->top_1),
                                "perplexity", perplexity_json(&d->perplexity), "base",
                                perplexity_json(&d->base), "ratio", interval_json(d->ratio)));
}

static json_t *score_json(const sluice_task_score *s)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:o}", "items", s->items, "right", s->right, "cut",
                     s->cut, "resumed", s->resumed, "accuracy", interval_json(s->accuracy));
}

static void print_score(const char *name, int width, const sluice_task_score *s)
{
    printf("%-*s  %5d  %5d  %5d  %8.4f", width, name, s->items, s->right, s->cut,
           s->accuracy.value);
    print_range(s->accuracy, FIXED, 3);
    putchar('\n');
}

int eval_report_tasks(const sluice_engine *engine, bool exact, const cli_list *files,
                      const sluice_task_score *each, const sluice_task_score *all, bool json)
{
    if (json) {
        json_t *tasks = json_array();
        for (int i = 0; i < files->count; i++) {
            json_t *task = score_json(&each[i]);
            json_object_set_new(task, "tasks", json_string(files->words[i]));
            json_array_append_new(tasks, task);
        }
        return print_with(head_json(engine, exact),
                          json_pack("{s:o, s:o}", "files", tasks, "all", score_json(all)));
    }
    int width = width_of(files);
    print_head(engine, exact);
    printf("%-*s  items  right    cut  accuracy  [95%%]\n", width, "tasks");
    for (int i = 0; i < files->count; i++)
        print_score(files->words[i], width, &each[i]);
    if (files->count > 1) print_score("all", width, all);
    return cli_output_finish();
}

static json_t *mmlu_json(const sluice_mmlu *mmlu)
{
    json_t *subjects = json_array(), *groups = json_array();
    for (int32_t i = 0; i < mmlu->n_subjects; i++) {
        const sluice_mmlu_subject *s = &mmlu->subjects[i];
        json_t *subject = score_json(&s->score);
        json_object_set_new(subject, "subject", json_string(s->name));
        json_object_set_new(subject, "group", json_string(sluice_mmlu_group_name(s->group)));
        json_array_append_new(subjects, subject);
    }
    for (int32_t i = 0; i < SLUICE_MMLU_GROUPS; i++) {
        if (!mmlu->groups[i].items) continue;
        json_t *group = score_json(&mmlu->groups[i]);
        json_object_set_new(group, "group", json_string(sluice_mmlu_group_name(i)));
        json_array_append_new(groups, group);
    }
    return json_pack("{s:o, s:o, s:o, s:f}", "subjects", subjects, "groups", groups, "all",
                     score_json(&mmlu->all), "subjects_mean", mmlu->subjects_mean);
}

int eval_report_mmlu(const sluice_engine *engine, bool exact, const sluice_mmlu *mmlu, bool json)
{
    int width = 16;
    if (json) return print_with(head_json(engine, exact), mmlu_json(mmlu));
    for (int32_t i = 0; i < mmlu->n_subjects; i++)
        if ((int)strlen(mmlu->subjects[i].name) > width)
            width = (int)strlen(mmlu->subjects[i].name);
    print_head(engine, exact);
    printf("%-*s  items  right    cut  accuracy  [95%%]\n", width, "subject");
    for (int32_t i = 0; i < mmlu->n_subjects; i++)
        print_score(mmlu->subjects[i].name, width, &mmlu->subjects[i].score);
    putchar('\n');
    for (int32_t i = 0; i < SLUICE_MMLU_GROUPS; i++)
        if (mmlu->groups[i].items) print_score(sluice_mmlu_group_name(i), width, &mmlu->groups[i]);
    print_score("all questions", width, &mmlu->all);
    printf("%-*s  %28.4f\n", width, "mean of subjects", mmlu->subjects_mean);
    return cli_output_finish();
}
