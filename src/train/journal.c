/* log.jsonl (see journal.h). */
#include "train/journal.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "os/file.h"

#define LOG_BYTES_MAX ((size_t)1 << 30)

static sluice_status add_point(sluice_journal *journal, sluice_journal_point point,
                               sluice_error *err)
{
    if (journal->n == journal->n_max) {
        const int32_t n = journal->n_max ? journal->n_max * 2 : 256;
        void *points = realloc(journal->points, (size_t)n * sizeof *journal->points);
        if (!points) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the log");
        journal->points = points;
        journal->n_max = n;
    }
    journal->points[journal->n++] = point;
    return SLUICE_OK;
}

static double number_of(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* The bytes of the lines that stay. A line that cannot be read ends them: it was cut off. */
static sluice_status keep_lines(sluice_journal *journal, const char *text, int32_t keep,
                                size_t *kept, sluice_error *err)
{
    *kept = 0;
    for (const char *end; (end = strchr(text + *kept, '\n')) != NULL;) {
        const size_t length = (size_t)(end - text) - *kept;
        json_t *line = json_loadb(text + *kept, length, 0, NULL);
        const double step = number_of(line, "step");
        const sluice_journal_point point = {step >= 1 && step <= keep ? (int32_t)step : 0,
                                            number_of(line, "loss"),
                                            number_of(line, "validation_loss")};
        json_decref(line);
        if (!point.step) break;
        SLUICE_TRY(add_point(journal, point, err));
        *kept += length + 1;
    }
    return SLUICE_OK;
}

static sluice_status take_over(sluice_journal *journal, int32_t keep, sluice_error *err)
{
    char *text;
    size_t bytes, kept = 0;
    if (!keep || !sluice_file_exists(journal->log))
        return sluice_file_save(journal->log, "", 0, err);
    SLUICE_TRY(sluice_file_load(journal->log, LOG_BYTES_MAX, &text, &bytes, err));
    sluice_status status = keep_lines(journal, text, keep, &kept, err);
    if (status == SLUICE_OK) status = sluice_file_save(journal->log, text, kept, err);
    free(text);
    return status;
}

sluice_status sluice_journal_open(const char *dir, int32_t keep, sluice_journal *out,
                                  sluice_error *err)
{
    *out = (sluice_journal){.log = sluice_file_join(dir, "log.jsonl"),
                            .svg = sluice_file_join(dir, "loss.svg")};
    sluice_status status = out->log && out->svg
                               ? take_over(out, keep, err)
                               : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    if (status == SLUICE_OK && !(out->file = fopen(out->log, "a")))
        status = sluice_file_fail(err, errno, out->log, "cannot be written");
    if (status != SLUICE_OK) sluice_journal_close(out);
    return status;
}

void sluice_journal_close(sluice_journal *journal)
{
    if (journal->file) fclose(journal->file);
    free(journal->log);
    free(journal->svg);
    free(journal->points);
    *journal = (sluice_journal){0};
}

sluice_status sluice_journal_add(sluice_journal *journal, const sluice_train_progress *p,
                                 sluice_error *err)
{
    char validation[32] = "null";
    if (!isnan(p->validation_loss))
        snprintf(validation, sizeof validation, "%.9g", p->validation_loss);
    fprintf(journal->file,
            "{\"step\": %d, \"loss\": %.9g, \"validation_loss\": %s, \"gradient_norm\": %.9g, "
            "\"rate\": %.9g, \"tokens\": %lld, \"targets\": %lld, \"seconds\": %.3f, "
            "\"tokens_per_second\": %.1f, \"bytes_read\": %llu}\n",
            p->step, p->loss, validation, p->gradient_norm, p->rate, (long long)p->tokens,
            (long long)p->targets, p->seconds, p->tokens_per_s, (unsigned long long)p->bytes_read);
    if (fflush(journal->file) != 0)
        return sluice_file_fail(err, errno, journal->log, "cannot be written");
    return add_point(journal, (sluice_journal_point){p->step, p->loss, p->validation_loss}, err);
}
