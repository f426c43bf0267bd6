/* MMLU (see sluice/benchmarks.h).
 *
 * A question is asked as the authors ask base models:
 *
 *     The following are multiple choice questions (with answers) about  abstract algebra.
 *
 *     Find all c in Z_3 such that ...
 *     A. 0
 *     ...
 *     Answer: B
 *
 *     ... (the other examples)
 *
 *     <the question>
 *     Answer:
 *
 * where the examples are the first records of the subject's dev file. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/ask.h"
#include "eval/csv.h"
#include "eval/data_file.h"
#include "eval/mmlu_subjects.h"
#include "os/file.h"
#include "sluice/benchmarks.h"
#include "tokenizer/text_buffer.h"
#include "tokenizer/utf8.h"

enum { COLUMNS = 6, LETTERS = 4, SHOTS_MAX = 64 };

typedef struct subject {
    char name[64];
    char *path; /* of its questions */
} subject;

typedef struct mmlu {
    sluice_engine *engine;
    const sluice_eval_task_options *options;
    const char *folder, *split;
    int32_t shots;
    subject *subjects;
    const char **paths; /* [subjects]: for the tasks */
    int32_t n_subjects;
    int32_t letters[LETTERS]; /* tokens */
    sluice_tasks tasks;
    sluice_error *err;
} mmlu;

/* ---- the folder ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const subject *)a)->name, ((const subject *)b)->name);
}

/* "x_test.csv" -> subject x; other files are left alone. */
static sluice_status add_subject(mmlu *m, const char *folder, const char *file)
{
    char suffix[16];
    size_t length = strlen(file);
    size_t tail = (size_t)snprintf(suffix, sizeof suffix, "_%s.csv", m->split);
    if (file[0] == '.' || length <= tail || strcmp(file + length - tail, suffix) != 0)
        return SLUICE_OK;
    if (length - tail >= sizeof m->subjects->name)
        return sluice_fail(m->err, SLUICE_BAD_INPUT, "%s/%s: the subject's name is too long",
                           folder, file);
    subject *larger = realloc(m->subjects, (size_t)(m->n_subjects + 1) * sizeof *larger);
    if (larger) m->subjects = larger;
    char *path = larger ? sluice_file_join(folder, file) : NULL;
    if (!path) return sluice_fail(m->err, SLUICE_NO_MEMORY, "%s: no memory for it", folder);
    subject *s = &m->subjects[m->n_subjects++];
    *s = (subject){.path = path};
    memcpy(s->name, file, length - tail);
    return SLUICE_OK;
}

static sluice_status list_subjects(mmlu *m)
{
    char *folder = sluice_file_join(m->folder, m->split);
    if (!folder) return sluice_fail(m->err, SLUICE_NO_MEMORY, "%s: no memory for it", m->folder);
    DIR *dir = opendir(folder);
    sluice_status status =
        dir ? SLUICE_OK
            : sluice_file_fail(m->err, errno, folder,
                               "cannot be read (MMLU's folder holds dev, val and test)");
    for (const struct dirent *entry; dir && status == SLUICE_OK && (entry = readdir(dir));)
        status = add_subject(m, folder, entry->d_name);
    if (dir) closedir(dir);
    if (status == SLUICE_OK && m->n_subjects == 0)
        status =
            sluice_fail(m->err, SLUICE_BAD_INPUT, "%s: no SUBJECT_%s.csv in it", folder, m->split);
    free(folder);
    if (status != SLUICE_OK) return status;
    qsort(m->subjects, (size_t)m->n_subjects, sizeof *m->subjects, by_name);
    m->paths = calloc((size_t)m->n_subjects, sizeof *m->paths);
    if (!m->paths) return sluice_fail(m->err, SLUICE_NO_MEMORY, "no memory for MMLU");
    for (int32_t i = 0; i < m->n_subjects; i++)
        m->paths[i] = m->subjects[i].path;
    return SLUICE_OK;
}

/* ---- records ---- */

static sluice_status check_record(const mmlu *m, const char *path, const sluice_csv_record *record)
{
    const sluice_csv_field *answer = &record->fields[COLUMNS - 1];
    if (record->count != COLUMNS)
        return sluice_fail(m->err, SLUICE_BAD_INPUT,
                           "%s: line %d: %d columns instead of 6 (question, A, B, C, D, answer)",
                           path, record->line, record->count);
    for (int i = 0; i < COLUMNS; i++)
        if (sluice_utf8_check(record->fields[i].text, record->fields[i].length) !=
            record->fields[i].length)
            return sluice_fail(m->err, SLUICE_BAD_INPUT, "%s: line %d: column %d is not UTF-8",
                               path, record->line, i + 1);
    if (record->fields[0].length == 0)
        return sluice_fail(m->err, SLUICE_BAD_INPUT, "%s: line %d: the question is empty", path,
                           record->line);
    if (answer->length != 1 || answer->text[0] < 'A' || answer->text[0] > 'D')
        return sluice_fail(m->err, SLUICE_BAD_INPUT,
                           "%s: line %d: the answer must be A, B, C or D, not '%.20s'", path,
                           record->line, answer->text);
    return SLUICE_OK;
}

/* A question up to "Answer:". */
static void append_question(sluice_text_buffer *text, const sluice_csv_record *record)
{
    sluice_text_buffer_append(text, record->fields[0].text, record->fields[0].length);
    for (int i = 0; i < LETTERS; i++) {
        const char label[] = {'\n', (char)('A' + i), '.', ' '};
        sluice_text_buffer_append(text, label, sizeof label);
        sluice_text_buffer_append(text, record->fields[1 + i].text, record->fields[1 + i].length);
    }
    sluice_text_buffer_append_string(text, "\nAnswer:");
}

/* Heading and examples; ends[i] is the text's length with i of them. */
static sluice_status read_examples(const mmlu *m, const subject *s, sluice_text_buffer *text,
                                   size_t ends[SHOTS_MAX + 1])
{
    char *path = NULL, *bytes = NULL;
    size_t length;
    sluice_text_buffer_append_string(
        text, "The following are multiple choice questions (with answers) about  ");
    for (const char *c = s->name; *c; c++)
        sluice_text_buffer_append_byte(text, *c == '_' ? ' ' : *c);
    sluice_text_buffer_append_string(text, ".\n\n");
    ends[0] = text->length;
    if (m->shots == 0) return SLUICE_OK;
    if (asprintf(&path, "%s/dev/%s_dev.csv", m->folder, s->name) < 0)
        return sluice_fail(m->err, SLUICE_NO_MEMORY, "%s: no memory for its examples", s->path);
    sluice_status status = sluice_data_load(path, &bytes, &length, m->err);
    if (status == SLUICE_OK) {
        sluice_csv csv = sluice_csv_open(path, bytes, length);
        for (int32_t i = 0; i < m->shots && status == SLUICE_OK; i++) {
            sluice_csv_record record;
            bool more = false;
            status = sluice_csv_next(&csv, &record, &more, m->err);
            if (status == SLUICE_OK && !more)
                status =
                    sluice_fail(m->err, SLUICE_BAD_INPUT,
                                "%s: %d examples, and %d are wanted (--shots)", path, i, m->shots);
            if (status == SLUICE_OK) status = check_record(m, path, &record);
            if (status != SLUICE_OK) break;
            append_question(text, &record);
            sluice_text_buffer_append_byte(text, ' ');
            sluice_text_buffer_append(text, record.fields[COLUMNS - 1].text, 1);
            sluice_text_buffer_append_string(text, "\n\n");
            ends[i + 1] = text->length;
        }
        free(bytes);
    }
    free(path);
    return status;
}

/* The prompt with as many examples as leave it room: the authors drop them from the end too. */
static sluice_status set_prompt(mmlu *m, sluice_task *task, const sluice_text_buffer *examples,
                                const size_t *ends, const sluice_csv_record *record)
{
    for (int32_t shots = m->shots;; shots--) {
        sluice_text_buffer text = {0};
        sluice_error why = {0};
        sluice_text_buffer_append(&text, examples->bytes, ends[shots]);
        append_question(&text, record);
        sluice_status status =
            text.failed ? sluice_fail(&why, SLUICE_NO_MEMORY, "no memory for a prompt")
                        : sluice_task_continue(&m->tasks, task, text.bytes, text.length, &why);
        if (status == SLUICE_OK) task->crc = sluice_crc32c(0, text.bytes, text.length);
        sluice_text_buffer_free(&text);
        if (status == SLUICE_OK) {
            json_object_set_new(task->item, "shots", json_integer(shots));
            return SLUICE_OK;
        }
        if (status != SLUICE_LIMIT || shots == 0)
            return sluice_fail(m->err, status, "%s", why.detail);
        sluice_ids_free(&task->prompt);
        task->prompt = (sluice_ids){0};
    }
}

static sluice_status read_questions(mmlu *m, int32_t index, char *bytes, size_t length,
                                    const sluice_text_buffer *examples, const size_t *ends)
{
    const subject *s = &m->subjects[index];
    sluice_csv csv = sluice_csv_open(s->path, bytes, length);
    for (int32_t n = 0; m->options->items_max <= 0 || n < m->options->items_max; n++) {
        sluice_csv_record record;
        bool more;
        sluice_task *task;
        SLUICE_TRY(sluice_csv_next(&csv, &record, &more, m->err));
        if (!more) return SLUICE_OK;
        SLUICE_TRY(check_record(m, s->path, &record));
        sluice_task fresh = {
            .file = index,
            .line = record.line,
            .item = json_pack("{s:s, s:s}", "subject", s->name, "answer", record.fields[5].text)};
        if (!fresh.item)
            return sluice_fail(m->err, SLUICE_NO_MEMORY, "%s: no memory for it", s->path);
        SLUICE_TRY(sluice_tasks_add(&m->tasks, &fresh, &task, m->err));
        SLUICE_TRY(set_prompt(m, task, examples, ends, &record));
    }
    return SLUICE_OK;
}

static sluice_status read_subject(mmlu *m, int32_t index)
{
    sluice_text_buffer examples = {0};
    size_t ends[SHOTS_MAX + 1], length;
    char *bytes = NULL;
    sluice_status status = read_examples(m, &m->subjects[index], &examples, ends);
    if (status == SLUICE_OK && examples.failed)
        status = sluice_fail(m->err, SLUICE_NO_MEMORY, "no memory for examples");
    if (status == SLUICE_OK)
        status = sluice_data_load(m->subjects[index].path, &bytes, &length, m->err);
    if (status == SLUICE_OK) status = read_questions(m, index, bytes, length, &examples, ends);
    sluice_text_buffer_free(&examples);
    free(bytes);
    return status;
}

/* ---- letters ---- */

/* The token of " A" behind "Answer:", and so on. */
static sluice_status find_letters(mmlu *m)
{
    static const char before[] = "Answer:";
    const sluice_tokenizer *tokenizer = sluice_engine_tokenizer(m->engine);
    if (!tokenizer)
        return sluice_fail(m->err, SLUICE_USAGE,
                           "the model's folder has no tokenizer.json, which questions need");
    for (int i = 0; i < LETTERS; i++) {
        char with[sizeof before + 2];
        sluice_ids plain, more;
        int length = snprintf(with, sizeof with, "%s %c", before, 'A' + i);
        SLUICE_TRY(sluice_tokenizer_encode(tokenizer, before, sizeof before - 1,
                                           SLUICE_SPECIAL_NEVER, &plain, m->err));
        sluice_status status = sluice_tokenizer_encode(tokenizer, with, (size_t)length,
                                                       SLUICE_SPECIAL_NEVER, &more, m->err);
        if (status == SLUICE_OK) {
            bool one = more.count == plain.count + 1 &&
                       memcmp(more.ids, plain.ids, plain.count * sizeof *plain.ids) == 0;
            m->letters[i] = more.ids[more.count - 1];
            if (!one)
                status = sluice_fail(m->err, SLUICE_UNSUPPORTED,
                                     "this model's tokenizer has no single token for ' %c', which "
                                     "MMLU's answers are compared by",
                                     'A' + i);
            sluice_ids_free(&more);
        }
        sluice_ids_free(&plain);
        if (status != SLUICE_OK) return status;
    }
    return SLUICE_OK;
}

static sluice_status judge(void *context, const sluice_ask_answer *answer, bool *right,
                           json_t **got, sluice_error *err)
{
    const char letter[] = {(char)('A' + answer->choice), '\0'};
    (void)context;
    const json_t *item = answer->task->item;
    *right = strcmp(letter, json_string_value(json_object_get(item, "answer"))) == 0;
    *got = json_pack("{s:s, s:O, s:O}", "letter", letter, "answer", json_object_get(item, "answer"),
                     "shots", json_object_get(item, "shots"));
    return *got ? SLUICE_OK : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to judge an answer");
}

/* ---- all of it ---- */

static sluice_status take_scores(const mmlu *m, sluice_task_score *scores, sluice_mmlu *out)
{
    *out = (sluice_mmlu){.n_subjects = m->n_subjects,
                         .subjects = calloc((size_t)m->n_subjects, sizeof *out->subjects)};
    if (!out->subjects) return sluice_fail(m->err, SLUICE_NO_MEMORY, "no memory for the scores");
    sluice_scores_finish(scores, m->n_subjects, &out->all);
    for (int32_t i = 0; i < m->n_subjects; i++) {
        sluice_mmlu_subject *s = &out->subjects[i];
        memcpy(s->name, m->subjects[i].name, sizeof s->name);
        s->group = sluice_mmlu_group(s->name);
        s->score = scores[i];
        sluice_task_score pair[2] = {out->groups[s->group], scores[i]};
        sluice_scores_finish(pair, 2, &out->groups[s->group]);
        out->subjects_mean += s->score.accuracy.value / m->n_subjects;
    }
    return SLUICE_OK;
}

static sluice_status ask(mmlu *m, sluice_mmlu *out)
{
    json_t *settings = json_pack("{s:i, s:s}", "shots", m->shots, "split", m->split);
    sluice_task_score *scores = calloc((size_t)m->n_subjects, sizeof *scores);
    sluice_ask_form form = {.evaluation = "mmlu",
                            .tokens_max = 1,
                            .choices = m->letters,
                            .n_choices = LETTERS,
                            .settings = settings,
                            .judge = judge};
    sluice_status status = settings && scores
                               ? sluice_ask(m->engine, &m->tasks, &form, m->options, scores, m->err)
                               : sluice_fail(m->err, SLUICE_NO_MEMORY, "no memory for the scores");
    if (status == SLUICE_OK) status = take_scores(m, scores, out);
    json_decref(settings);
    free(scores);
    return status;
}

static sluice_status run(mmlu *m, sluice_mmlu *out)
{
    if (strcmp(m->split, "test") != 0 && strcmp(m->split, "val") != 0)
        return sluice_fail(m->err, SLUICE_USAGE, "MMLU's questions are 'test' or 'val', not '%s'",
                           m->split);
    if (m->shots > SHOTS_MAX)
        return sluice_fail(m->err, SLUICE_USAGE, "at most %d examples, not %d", SHOTS_MAX,
                           m->shots);
    SLUICE_TRY(find_letters(m));
    SLUICE_TRY(list_subjects(m));
    m->tasks = (sluice_tasks){.engine = m->engine, .paths = m->paths};
    for (int32_t i = 0; i < m->n_subjects; i++)
        SLUICE_TRY(read_subject(m, i));
    return ask(m, out);
}

sluice_status sluice_eval_mmlu(sluice_engine *engine, const char *folder, const char *split,
                               int32_t shots, const sluice_eval_task_options *options,
                               sluice_mmlu *out, sluice_error *err)
{
    mmlu m = {.engine = engine,
              .options = options,
              .folder = folder,
              .split = split,
              .shots = shots < 0 ? SLUICE_MMLU_SHOTS : shots,
              .err = err};
    sluice_status status = run(&m, out);
    sluice_tasks_free(&m.tasks);
    for (int32_t i = 0; i < m.n_subjects; i++)
        free(m.subjects[i].path);
    free(m.subjects);
    free(m.paths);
    return status;
}

void sluice_mmlu_free(sluice_mmlu *results)
{
    free(results->subjects);
    *results = (sluice_mmlu){0};
}
