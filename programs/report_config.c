/* Reading what to compare (see report_config.h). */
#include "report_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "output.h"

typedef struct reader {
    const char *path;
    report_config *config;
    int status; /* CLI_OK until something is wrong */
} reader;

bool report_words_add(report_words *words, const char *word)
{
    if (words->n == REPORT_WORDS_MAX) return false;
    words->at[words->n] = strdup(word);
    return words->at[words->n] && ++words->n;
}

bool report_words_append(report_words *words, const report_words *more)
{
    for (int i = 0; i < more->n; i++)
        if (!report_words_add(words, more->at[i])) return false;
    return true;
}

void report_words_free(report_words *words)
{
    for (int i = 0; i < words->n; i++)
        free(words->at[i]);
    words->n = 0;
}

static void wrong(reader *r, const char *what, const char *name)
{
    if (r->status == CLI_OK) r->status = cli_fail("%s: \"%s\" %s", r->path, name, what);
}

static char *text_of(reader *r, const json_t *value, const char *name)
{
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
    if (!text || !*text) wrong(r, "must be a text that is not empty", name);
    return text;
}

/* A path of the file, from where the program runs. */
static char *path_of(reader *r, const char *word)
{
    const char *slash = strrchr(r->path, '/');
    char *path = NULL;
    if (*word == '/' || !slash) return strdup(word);
    if (asprintf(&path, "%.*s/%s", (int)(slash - r->path), r->path, word) < 0) return NULL;
    return path;
}

static void read_words(reader *r, const json_t *value, const char *name, bool paths,
                       report_words *out)
{
    size_t i;
    json_t *word;
    if (!value || r->status != CLI_OK) return;
    if (!json_is_array(value)) {
        wrong(r, "must be an array of texts", name);
        return;
    }
    if (out->n) {
        wrong(r, "is given twice", name);
        return;
    }
    json_array_foreach(value, i, word)
    {
        const char *text = json_string_value(word);
        char *path = text && paths ? path_of(r, text) : NULL;
        if (!text)
            wrong(r, "must be an array of texts", name);
        else if (!report_words_add(out, path ? path : text))
            wrong(r, "has too many words", name);
        free(path);
    }
}

/* Only these members; *known ends with NULL. */
static void check_members(reader *r, json_t *object, const char *what, const char *const *known)
{
    const char *name;
    json_t *value;
    if (!json_is_object(object)) {
        if (r->status == CLI_OK) r->status = cli_fail("%s: %s must be an object", r->path, what);
        return;
    }
    json_object_foreach(object, name, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, name) != 0)
            k++;
        if (!*k && r->status == CLI_OK)
            r->status = cli_fail("%s: %s has no member \"%s\"", r->path, what, name);
    }
}

/* The tables show words of settings as they are. */
static void check_words(reader *r, const report_words *words, const char *name)
{
    for (int i = 0; i < words->n; i++)
        for (const char *c = words->at[i]; *c; c++)
            if ((unsigned char)*c < ' ' || strchr("\"`|<>&", *c))
                wrong(r, "holds a quote or another sign that tables cannot show", name);
}

static void read_setting(reader *r, json_t *value)
{
    static const char *const known[] = {"name", "model", "flags", "convert", NULL};
    report_config *c = r->config;
    check_members(r, value, "a setting", known);
    if (r->status != CLI_OK) return;
    if (c->n_settings == REPORT_SETTINGS_MAX) {
        wrong(r, "are too many", "settings");
        return;
    }
    report_setting *s = &c->settings[c->n_settings++];
    const json_t *model = json_object_get(value, "model");
    s->name = text_of(r, json_object_get(value, "name"), "name");
    if (json_is_string(model))
        s->model = path_of(r, json_string_value(model));
    else if (model)
        wrong(r, "must be a path", "model");
    read_words(r, json_object_get(value, "flags"), "flags", false, &s->flags);
    read_words(r, json_object_get(value, "convert"), "convert", false, &s->convert);
    check_words(r, &s->flags, "flags");
    check_words(r, &s->convert, "convert");
    for (int i = 0; r->status == CLI_OK && i < c->n_settings - 1; i++)
        if (!strcmp(c->settings[i].name, s->name)) wrong(r, "is the name of two settings", s->name);
}

static void read_task(reader *r, json_t *value)
{
    static const char *const known[] = {"name", "verb", "files", "flags", NULL};
    report_config *c = r->config;
    check_members(r, value, "a task", known);
    if (r->status != CLI_OK) return;
    if (c->n_tasks == REPORT_TASKS_MAX) {
        wrong(r, "are too many", "tasks");
        return;
    }
    report_task *t = &c->tasks[c->n_tasks++];
    const json_t *verb = json_object_get(value, "verb");
    t->name = text_of(r, json_object_get(value, "name"), "name");
    t->verb = verb ? text_of(r, verb, "verb") : strdup("tasks");
    read_words(r, json_object_get(value, "files"), "files", true, &t->files);
    read_words(r, json_object_get(value, "flags"), "flags", false, &t->flags);
    if (!t->files.n) wrong(r, "needs \"files\"", "tasks");
}

static void read_root(reader *r, json_t *root)
{
    static const char *const known[] = {"title", "texts",  "text_flags", "kld_flags", "bench_flags",
                                        "flags", "rounds", "settings",   "tasks",     NULL};
    report_config *c = r->config;
    size_t i;
    json_t *value;
    check_members(r, root, "a report", known);
    if (r->status != CLI_OK) return;
    if ((value = json_object_get(root, "title"))) {
        if (c->title) wrong(r, "is given twice", "title");
        free(c->title);
        c->title = text_of(r, value, "title");
    }
    if ((value = json_object_get(root, "rounds"))) {
        json_int_t rounds = json_integer_value(value);
        if (!json_is_integer(value) || rounds < 0 || rounds > 1000)
            wrong(r, "must be a number from 0 to 1000", "rounds");
        c->rounds = (int32_t)rounds;
    }
    read_words(r, json_object_get(root, "texts"), "texts", true, &c->texts);
    read_words(r, json_object_get(root, "text_flags"), "text_flags", false, &c->text_flags);
    read_words(r, json_object_get(root, "kld_flags"), "kld_flags", false, &c->kld_flags);
    read_words(r, json_object_get(root, "bench_flags"), "bench_flags", false, &c->bench_flags);
    read_words(r, json_object_get(root, "flags"), "flags", false, &c->flags);
    json_array_foreach(json_object_get(root, "settings"), i, value) read_setting(r, value);
    json_array_foreach(json_object_get(root, "tasks"), i, value) read_task(r, value);
}

int report_config_read(const cli_list *files, report_config *out)
{
    *out = (report_config){.rounds = 3};
    reader r = {.config = out};
    for (int i = 0; i < files->count && r.status == CLI_OK; i++) {
        cli_bytes bytes;
        json_error_t why;
        r.path = files->words[i];
        r.status = cli_read(r.path, &bytes);
        if (r.status != CLI_OK) break;
        json_t *root = json_loadb(bytes.bytes, bytes.length, JSON_REJECT_DUPLICATES, &why);
        free(bytes.bytes);
        if (root)
            read_root(&r, root);
        else
            r.status = cli_fail("%s: line %d: %s", r.path, why.line, why.text);
        json_decref(root);
    }
    if (r.status == CLI_OK && !out->n_settings) wrong(&r, "are missing", "settings");
    if (r.status == CLI_OK && !out->texts.n) wrong(&r, "are missing", "texts");
    return r.status;
}

void report_config_free(report_config *config)
{
    for (int i = 0; i < config->n_settings; i++) {
        report_setting *s = &config->settings[i];
        free(s->name);
        free(s->model);
        report_words_free(&s->flags);
        report_words_free(&s->convert);
    }
    for (int i = 0; i < config->n_tasks; i++) {
        report_task *t = &config->tasks[i];
        free(t->name);
        free(t->verb);
        report_words_free(&t->files);
        report_words_free(&t->flags);
    }
    free(config->title);
    report_words_free(&config->texts);
    report_words_free(&config->text_flags);
    report_words_free(&config->kld_flags);
    report_words_free(&config->bench_flags);
    report_words_free(&config->flags);
}
