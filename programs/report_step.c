/* Measurements as processes (see report_step.h). */
#include "report_step.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "interrupt.h"
#include "output.h"
#include "sluice/sluice.h"

/* FNV-1a, 64 bits. */
static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t mix_file(uint64_t hash, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) return hash;
    if (S_ISDIR(st.st_mode)) {
        char config[4200];
        snprintf(config, sizeof config, "%s/config.json", path);
        if (stat(config, &st) != 0) return hash;
    }
    const int64_t facts[] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    return mix(hash, facts, sizeof facts);
}

uint64_t report_step_hash(const report_words *arguments, const char *work)
{
    const char *version = sluice_version();
    uint64_t hash = mix(0xcbf29ce484222325u, version, strlen(version) + 1);
    for (int i = 0; i < arguments->n; i++) {
        const char *word = arguments->at[i];
        hash = mix(hash, word, strlen(word) + 1);
        if (strncmp(word, work, strlen(work)) != 0) hash = mix_file(hash, word);
    }
    return hash;
}

/* In the child, which ends here. */
static void become(const report_words *arguments, bool json, int out)
{
    static char program[] = "/proc/self/exe", as_json[] = "--json", quiet[] = "--quiet";
    char *argv[REPORT_WORDS_MAX + 4];
    int n = 0;
    argv[n++] = program;
    for (int i = 0; i < arguments->n; i++)
        argv[n++] = arguments->at[i];
    if (json) argv[n++] = as_json;
    argv[n++] = quiet;
    argv[n] = NULL;
    if (dup2(out, STDOUT_FILENO) >= 0) execv(program, argv);
    _exit(127);
}

static int start(const report_words *arguments, bool json, pid_t *child, int *out)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return cli_fail("no pipe: %s", strerror(errno));
    fflush(stdout);
    *child = fork();
    if (*child == 0) become(arguments, json, ends[1]);
    close(ends[1]);
    *out = ends[0];
    if (*child > 0) return CLI_OK;
    close(ends[0]);
    return cli_fail("no process: %s", strerror(errno));
}

static json_t *read_json(int fd, json_error_t *why)
{
    FILE *file = fdopen(fd, "r");
    if (!file) {
        close(fd);
        return NULL;
    }
    json_t *value = json_loadf(file, 0, why);
    while (fgetc(file) != EOF) {} /* or the child could not end */
    fclose(file);
    return value;
}

static void print_command(const report_words *arguments)
{
    fputs("sluice: the command was: sluice", stderr);
    for (int i = 0; i < arguments->n; i++)
        fprintf(stderr, " %s", arguments->at[i]);
    fputc('\n', stderr);
}

static int finish(pid_t child, const report_words *arguments)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return CLI_OK;
    if (cli_interrupted()) return cli_fail("stopped; the same command goes on from here");
    if (WIFSIGNALED(status)) cli_note("a measurement was ended by signal %d", WTERMSIG(status));
    print_command(arguments);
    return CLI_FAILED;
}

static int run(const report_words *arguments, json_t **result)
{
    pid_t child;
    int out, status = start(arguments, true, &child, &out);
    json_error_t why = {0};
    if (status != CLI_OK) return status;
    *result = read_json(out, &why);
    status = finish(child, arguments);
    if (status == CLI_OK && !*result) status = cli_fail("no JSON came back: %s", why.text);
    if (status != CLI_OK) json_decref(*result);
    return status;
}

int report_step_make(const report_words *arguments)
{
    pid_t child;
    int out, status = start(arguments, false, &child, &out);
    char ignored[4096];
    if (status != CLI_OK) return status;
    while (read(out, ignored, sizeof ignored) > 0) {}
    close(out);
    return finish(child, arguments);
}

static int save(const char *path, const json_t *result)
{
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.part", path) < 0) return cli_fail("not enough memory for a path");
    bool good = json_dump_file(result, temporary, JSON_INDENT(1) | JSON_REAL_PRECISION(12)) == 0 &&
                rename(temporary, path) == 0;
    if (!good) remove(temporary);
    free(temporary);
    return good ? CLI_OK : cli_fail("%s: cannot be written: %s", path, strerror(errno));
}

int report_step_run(const report_words *arguments, const char *work, const char *kind,
                    json_t **result)
{
    char *path = NULL;
    uint64_t hash = report_step_hash(arguments, work);
    if (asprintf(&path, "%s/%s-%016" PRIx64 ".json", work, kind, hash) < 0)
        return cli_fail("not enough memory for a path");
    int status = CLI_OK;
    *result = json_load_file(path, 0, NULL);
    if (!*result) {
        status = run(arguments, result);
        if (status == CLI_OK) status = save(path, *result);
    }
    free(path);
    return status;
}
