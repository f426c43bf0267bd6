/* HumanEval (see sluice/benchmarks.h).
 *
 * The program is prompt, completion, the item's test and a call of its check; it passes if Python
 * ends with status 0. os/confined.h says what it is kept from. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/status.h"
#include "eval/ask_files.h"
#include "eval/json_lines.h"
#include "os/confined.h"
#include "os/file.h"
#include "os/folder.h"
#include "sluice/benchmarks.h"
#include "tokenizer/text_buffer.h"

enum { TOKENS_DEFAULT = 512, SECONDS_DEFAULT = 10, PATH_BYTES = 4096 };
#define MEMORY_DEFAULT ((uint64_t)1 << 30)
#define FILE_BYTES ((uint64_t)16 << 20)
#define PROGRAM "program.py"

/* What begins a line that is no longer the function (the paper's, section 2.2). */
static const char *const stops[] = {"\nclass", "\ndef", "\n#", "\nif", "\nprint", NULL};

typedef struct humaneval {
    char python[PATH_BYTES];
    sluice_confined_limits limits;
} humaneval;

/* ---- python ---- */

/* Whether the interpreter at h->python runs a program that does nothing. One that must start other
 * programs first, as the shims of version managers do, does not. */
static sluice_status try_python(const humaneval *h, sluice_error *err)
{
    char isolated[] = "-I", command[] = "-c", nothing[] = "pass";
    char *const argv[] = {(char *)h->python, isolated, command, nothing, NULL};
    sluice_confined_result result;
    SLUICE_TRY(sluice_confined_run("/", argv, &h->limits, &result, err));
    if (result.end == SLUICE_CONFINED_EXIT && result.code == 0) return SLUICE_OK;
    return sluice_fail(err, SLUICE_NOT_FOUND,
                       "%s: does not run alone: %s; name a Python interpreter with --python",
                       h->python, result.output[0] ? result.output : "it fails");
}

/* The first python3 of the PATH that runs. */
static sluice_status find_python(humaneval *h, sluice_error *err)
{
    sluice_status status = sluice_fail(
        err, SLUICE_NOT_FOUND, "HumanEval's programs need python3, which is not in the PATH");
    for (const char *at = getenv("PATH"); at && *at;) {
        int length = (int)strcspn(at, ":");
        int n = snprintf(h->python, sizeof h->python, "%.*s/python3", length, at);
        if (length && *at == '/' && n < PATH_BYTES && access(h->python, X_OK) == 0) {
            status = try_python(h, err);
            if (status == SLUICE_OK) return SLUICE_OK;
        }
        at += length;
        if (*at) at++;
    }
    return status;
}

static sluice_status prepare(const sluice_code_limits *limits, humaneval *h, bool *files_guarded,
                             sluice_error *err)
{
    h->limits = (sluice_confined_limits){
        .seconds = limits->seconds ? limits->seconds : SECONDS_DEFAULT,
        .memory_bytes = limits->memory_bytes ? limits->memory_bytes : MEMORY_DEFAULT,
        .file_bytes = FILE_BYTES};
    SLUICE_TRY(sluice_confined_check(files_guarded, err));
    if (!limits->python) return find_python(h, err);
    if (strlen(limits->python) >= PATH_BYTES)
        return sluice_fail(err, SLUICE_LIMIT, "the interpreter's path is too long");
    strcpy(h->python, limits->python);
    return try_python(h, err);
}

sluice_status sluice_code_check(const sluice_code_limits *limits, bool *files_guarded,
                                sluice_error *err)
{
    humaneval h;
    return prepare(limits, &h, files_guarded, err);
}

/* ---- reading ---- */

typedef struct reader {
    sluice_tasks *tasks;
    int32_t file;
} reader;

static sluice_status add(void *context, const sluice_json_line *line, sluice_error *err)
{
    static const char *const needed[] = {"task_id", "prompt", "entry_point", "test"};
    const reader *r = context;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!sluice_json_line_text(line, needed[i], err)) return SLUICE_BAD_INPUT;
    const json_t *prompt = json_object_get(line->object, "prompt");
    sluice_task *task;
    sluice_task fresh = {.file = r->file,
                         .line = line->number,
                         .crc = sluice_crc32c(0, line->text, line->length),
                         .item = json_incref(line->object)};
    SLUICE_TRY(sluice_tasks_add(r->tasks, &fresh, &task, err));
    return sluice_task_continue(r->tasks, task, json_string_value(prompt),
                                json_string_length(prompt), err);
}

static sluice_status load(sluice_tasks *tasks, int32_t n, const sluice_eval_task_options *options,
                          sluice_error *err)
{
    for (int32_t i = 0; i < n; i++) {
        reader r = {tasks, i};
        SLUICE_TRY(sluice_json_lines_load(tasks->paths[i], options->items_max, add, &r, err));
    }
    return SLUICE_OK;
}

/* ---- judging ---- */

static void append_member(sluice_text_buffer *text, const json_t *item, const char *name)
{
    sluice_text_buffer_append_string(text, json_string_value(json_object_get(item, name)));
}

static sluice_status write_program(const char *folder, const sluice_ask_answer *answer,
                                   sluice_error *err)
{
    const json_t *item = answer->task->item;
    sluice_text_buffer buffer = {0};
    sluice_text text;
    append_member(&buffer, item, "prompt");
    sluice_text_buffer_append(&buffer, answer->text, answer->length);
    sluice_text_buffer_append_string(&buffer, "\n");
    append_member(&buffer, item, "test");
    sluice_text_buffer_append_string(&buffer, "\ncheck(");
    append_member(&buffer, item, "entry_point");
    sluice_text_buffer_append_string(&buffer, ")\n");
    SLUICE_TRY(sluice_text_buffer_take(&buffer, &text, err));
    char *path = sluice_file_join(folder, PROGRAM);
    sluice_status status = path ? sluice_file_save(path, text.bytes, text.length, err)
                                : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a program");
    free(path);
    sluice_text_free(&text);
    return status;
}

static sluice_status run_program(const humaneval *h, const sluice_ask_answer *answer,
                                 sluice_confined_result *result, sluice_error *err)
{
    const char *base = getenv("TMPDIR");
    char folder[PATH_BYTES];
    int n = snprintf(folder, sizeof folder, "%s/sluice-code-XXXXXX",
                     base && *base == '/' ? base : "/tmp");
    if (n >= (int)sizeof folder) return sluice_fail(err, SLUICE_LIMIT, "$TMPDIR is too long");
    if (!mkdtemp(folder)) return sluice_file_fail(err, errno, folder, "cannot be made");
    char isolated[] = "-I", program[] = PROGRAM;
    char *const argv[] = {(char *)h->python, isolated, program, NULL};
    sluice_status status = write_program(folder, answer, err);
    if (status == SLUICE_OK) status = sluice_confined_run(folder, argv, &h->limits, result, err);
    sluice_folder_remove_tree(folder, NULL);
    return status;
}

static const char *describe(const sluice_confined_result *result, char text[300])
{
    switch (result->end) {
    case SLUICE_CONFINED_TIME: return "out of time";
    case SLUICE_CONFINED_SIGNAL: snprintf(text, 300, "ended by signal %d", result->code); break;
    case SLUICE_CONFINED_EXIT:
        if (result->code == 0) return "passed";
        snprintf(text, 300, "%s", result->output[0] ? result->output : "failed");
    }
    return text;
}

static sluice_status judge(void *context, const sluice_ask_answer *answer, bool *right,
                           json_t **got, sluice_error *err)
{
    const humaneval *h = context;
    sluice_confined_result result;
    char text[300];
    SLUICE_TRY(run_program(h, answer, &result, err));
    *right = result.end == SLUICE_CONFINED_EXIT && result.code == 0;
    *got = json_pack("{s:O, s:o, s:s}", "task_id", json_object_get(answer->task->item, "task_id"),
                     "completion", json_stringn(answer->text, answer->length), "result",
                     describe(&result, text));
    return *got ? SLUICE_OK : sluice_fail(err, SLUICE_NO_MEMORY, "no memory to judge an answer");
}

sluice_status sluice_eval_humaneval(sluice_engine *engine, const char *const *paths, int32_t n,
                                    const sluice_code_limits *limits,
                                    const sluice_eval_task_options *options,
                                    sluice_task_score *each, sluice_task_score *all,
                                    sluice_error *err)
{
    humaneval h;
    bool files_guarded;
    SLUICE_TRY(prepare(limits, &h, &files_guarded, err));
    json_t *settings = json_pack("{s:i, s:I}", "seconds", h.limits.seconds, "memory_bytes",
                                 (json_int_t)h.limits.memory_bytes);
    if (!settings) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for HumanEval");
    const sluice_ask_files evaluation = {.form = {.evaluation = "humaneval",
                                                  .tokens_max = TOKENS_DEFAULT,
                                                  .stops = stops,
                                                  .settings = settings,
                                                  .judge = judge,
                                                  .context = &h},
                                         .tokens_max_thinking = TOKENS_DEFAULT,
                                         .load = load};
    sluice_status status = sluice_ask_all(engine, &evaluation, paths, n, options, each, all, err);
    json_decref(settings);
    return status;
}
