/* All measurements of a report (see report_run.h): texts and tasks setting by setting, speed round
 * by round, so that whatever else the machine does meanwhile burdens all of them. */
#include "report_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"
#include "model_flags.h"
#include "report_step.h"
#include "sluice/sluice.h"

typedef struct job {
    const report_config *config;
    report_result *result;
    const char *model, *work;
    char *models[REPORT_SETTINGS_MAX]; /* of each setting; NULL: the bundled one */
    char *predictions;
    cli_progress *progress;
    int32_t done, steps;
} job;

static int no_memory(void)
{
    return cli_fail("a command line of a report has too many words, or there is no memory");
}

static bool add(report_words *words, const char *a, const char *b)
{
    return (!a || report_words_add(words, a)) && (!b || report_words_add(words, b));
}

static int tell(job *j, const char *what, int32_t setting)
{
    if (cli_interrupted()) return cli_fail("stopped; the same command goes on from here");
    cli_progress_show(j->progress, "%d of %d: %s of %s", ++j->done, j->steps, what,
                      j->config->settings[setting].name);
    return CLI_OK;
}

/* The arguments of a measurement: verb, model, what it is about, flags of all, flags of this one.
 */
static bool command(const job *j, int32_t setting, const char *verb, const char *second,
                    const char *list, const report_words *files, const report_words *flags,
                    report_words *out)
{
    const report_config *c = j->config;
    return add(out, verb, second) && add(out, j->models[setting], NULL) && add(out, list, NULL) &&
           (!files || report_words_append(out, files)) &&
           (!flags || report_words_append(out, flags)) && report_words_append(out, &c->flags) &&
           report_words_append(out, &c->settings[setting].flags);
}

static int run_step(job *j, int32_t setting, const char *kind, report_words *words, bool good,
                    json_t **value)
{
    int status = good ? tell(j, kind, setting) : no_memory();
    if (status == CLI_OK) status = report_step_run(words, j->work, kind, value);
    report_words_free(words);
    return status;
}

/* The container that a setting converts to, made under another name until it is whole. */
static int convert(job *j, int32_t i, const char *source)
{
    const report_setting *s = &j->config->settings[i];
    report_words words = {0};
    char *part = NULL;
    bool good = add(&words, "convert", source) && report_words_append(&words, &s->convert);
    uint64_t hash = report_step_hash(&words, j->work);
    int status = CLI_OK;
    if (!good || asprintf(&j->models[i], "%s/model-%016" PRIx64, j->work, hash) < 0 ||
        asprintf(&part, "%s.part", j->models[i]) < 0) {
        status = no_memory();
    } else if (access(j->models[i], F_OK) != 0) {
        report_words_free(&words);
        good = add(&words, "convert", source) && add(&words, part, NULL) &&
               report_words_append(&words, &s->convert);
        status = good ? tell(j, "conversion", i) : no_memory();
        if (status == CLI_OK) status = report_step_make(&words);
        if (status == CLI_OK && rename(part, j->models[i]) != 0)
            status = cli_fail("%s: cannot be renamed", part);
    }
    report_words_free(&words);
    free(part);
    return status;
}

static int choose_model(job *j, int32_t i)
{
    const report_setting *s = &j->config->settings[i];
    const char *source = s->model ? s->model : j->model;
    if (!s->convert.n) {
        j->models[i] = source ? strdup(source) : NULL;
        return source && !j->models[i] ? no_memory() : CLI_OK;
    }
    char *nano = NULL;
    int status = source ? CLI_OK : cli_model_path(NULL, &nano);
    if (status == CLI_OK) status = convert(j, i, source ? source : nano);
    free(nano);
    return status;
}

/* The predictions of the first setting, which all others are compared with. */
static int save_predictions(job *j)
{
    const report_config *c = j->config;
    report_words words = {0};
    bool good = command(j, 0, "eval", "kld", "--text", &c->texts, &c->kld_flags, &words);
    uint64_t hash = report_step_hash(&words, j->work);
    int status = CLI_OK;
    if (!good || asprintf(&j->predictions, "%s/predictions-%016" PRIx64, j->work, hash) < 0 ||
        !add(&words, "--save", j->predictions)) {
        status = no_memory();
    } else {
        status = tell(j, "predictions", 0);
        if (status == CLI_OK && access(j->predictions, F_OK) != 0)
            status = report_step_make(&words);
    }
    report_words_free(&words);
    return status;
}

static int run_texts(job *j, int32_t i)
{
    const report_config *c = j->config;
    report_words words = {0};
    json_t *value = NULL;
    bool good = command(j, i, "eval", "ppl", "--text", &c->texts, &c->text_flags, &words);
    int status = run_step(j, i, "perplexity", &words, good, &value);
    if (status != CLI_OK) return status;
    report_take_perplexity(&j->result->rows[i], value);
    json_decref(value);
    if (i == 0) return CLI_OK;
    good = command(j, i, "eval", "kld", NULL, NULL, NULL, &words) &&
           add(&words, "--against", j->predictions);
    status = run_step(j, i, "divergence", &words, good, &value);
    if (status != CLI_OK) return status;
    report_take_divergence(&j->result->rows[i], value);
    json_decref(value);
    return CLI_OK;
}

static int run_tasks(job *j, int32_t i)
{
    const report_config *c = j->config;
    for (int32_t t = 0; t < c->n_tasks; t++) {
        const report_task *task = &c->tasks[t];
        report_words words = {0};
        json_t *value = NULL;
        const char *list = strcmp(task->verb, "tasks") ? "--data" : "--tasks";
        bool good = command(j, i, "eval", task->verb, list, &task->files, &task->flags, &words);
        int status = run_step(j, i, task->verb, &words, good, &value);
        if (status != CLI_OK) return status;
        report_take_task(&j->result->rows[i], t, value);
        json_decref(value);
    }
    return CLI_OK;
}

static void describe(report_result *result, const json_t *bench)
{
    const char *model = json_string_value(json_object_get(bench, "model"));
    double disk =
        json_number_value(json_object_get(json_object_get(bench, "disk_gb_per_second"), "median"));
    char cpu[256] = "";
    sluice_error err = {0};
    if (sluice_cpu_describe(NULL, cpu, sizeof cpu, &err) != SLUICE_OK) cpu[0] = '\0';
    snprintf(result->model, sizeof result->model,
             "%s, %" JSON_INTEGER_FORMAT " layers of %" JSON_INTEGER_FORMAT " experts, sluice %s",
             model ? model : "?", json_integer_value(json_object_get(bench, "layers")),
             json_integer_value(json_object_get(bench, "experts")), sluice_version());
    snprintf(result->machine, sizeof result->machine,
             "%" JSON_INTEGER_FORMAT " threads (%.120s), disk %.2f GB/s",
             json_integer_value(json_object_get(bench, "threads")), cpu, disk);
}

static int run_rounds(job *j)
{
    const report_config *c = j->config;
    json_t *rounds[REPORT_SETTINGS_MAX] = {NULL};
    int status = CLI_OK;
    for (int32_t i = 0; i < c->n_settings; i++)
        rounds[i] = json_array();
    for (int32_t round = 0; round < c->rounds && status == CLI_OK; round++)
        for (int32_t i = 0; i < c->n_settings && status == CLI_OK; i++) {
            char kind[32];
            report_words words = {0};
            json_t *value = NULL;
            snprintf(kind, sizeof kind, "speed-%d", round);
            bool good = command(j, i, "bench", NULL, NULL, NULL, &c->bench_flags, &words);
            status = run_step(j, i, kind, &words, good, &value);
            if (status != CLI_OK) break;
            if (i == 0) describe(j->result, value);
            json_array_append_new(rounds[i], value);
        }
    for (int32_t i = 0; i < c->n_settings; i++) {
        if (status == CLI_OK) report_take_bench(&j->result->rows[i], rounds[i]);
        json_decref(rounds[i]);
    }
    return status;
}

static int run_all(job *j)
{
    const report_config *c = j->config;
    int status = CLI_OK;
    for (int32_t i = 0; i < c->n_settings && status == CLI_OK; i++)
        status = choose_model(j, i);
    if (status == CLI_OK) status = save_predictions(j);
    for (int32_t i = 0; i < c->n_settings && status == CLI_OK; i++) {
        status = run_texts(j, i);
        if (status == CLI_OK) status = run_tasks(j, i);
    }
    return status == CLI_OK ? run_rounds(j) : status;
}

int report_run(const char *model, const char *work, cli_progress *progress, report_result *result)
{
    const report_config *c = result->config;
    job j = {.config = c, .result = result, .model = model, .work = work, .progress = progress};
    j.steps = 1 + c->n_settings * (2 + c->n_tasks + c->rounds) - 1;
    for (int32_t i = 0; i < c->n_settings; i++) {
        if (c->settings[i].convert.n) j.steps++;
        report_row_clear(&result->rows[i], &c->settings[i]);
    }
    snprintf(result->model, sizeof result->model, "%s, sluice %s", model ? model : "Nano",
             sluice_version());
    int status = run_all(&j);
    cli_progress_clear(progress);
    if (status == CLI_OK) report_finish(result);
    for (int32_t i = 0; i < c->n_settings; i++)
        free(j.models[i]);
    free(j.predictions);
    return status;
}
