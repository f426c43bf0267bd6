/* See sluice/synth.h: what to write, whether it fits, and a folder that is whole or absent. */
#include "sluice/synth.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/blueprint.h"
#include "format/geometry.h"
#include "format/synth_text.h"
#include "format/synth_write.h"
#include "os/file.h"
#include "os/folder.h"

#define SLACK_BYTES ((uint64_t)64 << 20) /* the text files, and what the file system wants */

static sluice_status make_plan(const sluice_synth_options *options, sluice_blueprint *plan,
                               sluice_error *err)
{
    sluice_config config;
    const char *experts = options->experts ? options->experts : "q4";
    const char *trunk = options->trunk ? options->trunk : "q8";
    if (!options->geometry)
        return sluice_fail(err, SLUICE_USAGE, "a geometry is needed, such as qwen3.5-397b");
    SLUICE_TRY(
        sluice_geometry_load(options->geometry, options->layers, options->vocab, &config, err));
    if (config.vocab < SLUICE_SYNTH_VOCAB_MIN)
        return sluice_fail(err, SLUICE_USAGE, "a vocabulary of %d is too small: at least %d",
                           config.vocab, SLUICE_SYNTH_VOCAB_MIN);
    return sluice_blueprint_new(&config, experts, trunk, plan, err);
}

/* The folder that path will stand in; freed with free(). */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static sluice_status measure(const char *out, const sluice_blueprint *blueprint,
                             sluice_synth_plan *plan, sluice_error *err)
{
    const sluice_config *config = &blueprint->config;
    char *parent = parent_of(out);
    if (!parent) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    *plan = (sluice_synth_plan){
        .output_bytes = blueprint->bytes, .layers = config->layers, .vocab = config->vocab};
    plan->weights = 3 * (uint64_t)config->experts * (uint64_t)config->expert_width *
                    (uint64_t)config->hidden * (uint64_t)config->layers;
    for (int32_t i = 0; i < blueprint->count; i++)
        plan->weights +=
            (uint64_t)blueprint->tensors[i].rows * (uint64_t)blueprint->tensors[i].cols;
    sluice_status status = sluice_file_free_space(parent, &plan->free_bytes, err);
    free(parent);
    return status;
}

sluice_status sluice_synth_measure(const char *out, const sluice_synth_options *options,
                                   sluice_synth_plan *plan, sluice_error *err)
{
    sluice_blueprint blueprint;
    SLUICE_TRY(make_plan(options, &blueprint, err));
    sluice_status status = measure(out, &blueprint, plan, err);
    sluice_blueprint_free(&blueprint);
    return status;
}

/* What an earlier synth that was killed left in the folder. */
static void remove_files(int folder)
{
    int fd = dup(folder);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (!list) {
        if (fd >= 0) close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list));)
        if (entry->d_name[0] != '.') unlinkat(folder, entry->d_name, 0);
    closedir(list);
}

/* Makes dir and keeps others out of it while *lock is open. */
static sluice_status claim(const char *dir, const char *out, int *lock, sluice_error *err)
{
    if (mkdir(dir, 0777) && errno != EEXIST)
        return sluice_file_fail(err, errno, dir, "this folder cannot be made");
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return sluice_file_fail(err, errno, dir, "this folder cannot be opened");
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return sluice_fail(err, SLUICE_USAGE, "%s is being written by another process", out);
    }
    remove_files(fd);
    *lock = fd;
    return SLUICE_OK;
}

/* Any change of what is written changes it. */
static void fingerprint(const sluice_synth_options *options, const sluice_blueprint *plan,
                        char *text)
{
    uint64_t hash = options->seed ^ 0x73796e7468000001u;
    const int32_t numbers[] = {plan->config.layers, plan->config.vocab, plan->config.hidden,
                               plan->config.experts, (int32_t)plan->expert_format.bits};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        hash += (uint64_t)numbers[i];
        hash = sluice_rng_splitmix(&hash);
    }
    snprintf(text, SLUICE_FINGERPRINT_BYTES, "%016llx", (unsigned long long)hash);
}

static sluice_status write_all(sluice_synth_job *job, sluice_error *err)
{
    SLUICE_TRY(sluice_synth_job_start(job, err));
    sluice_status status = sluice_synth_write_trunk(job, err);
    for (int32_t i = 0; i < job->plan->config.layers && status == SLUICE_OK; i++)
        status = sluice_synth_write_layer(job, i, err);
    if (status == SLUICE_OK) status = sluice_synth_write_text(job->dir, &job->plan->config, err);
    if (status == SLUICE_OK && !sluice_synth_report(job, true))
        status = sluice_fail(err, SLUICE_CANCELLED, "stopped by the caller");
    sluice_synth_job_end(job);
    return status;
}

static sluice_status write_folder(const char *out, const sluice_synth_options *options,
                                  const sluice_blueprint *plan, sluice_error *err)
{
    size_t size = strlen(out) + sizeof ".synth";
    char *dir = malloc(size);
    int lock = -1;
    if (!dir) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    snprintf(dir, size, "%s.synth", out);
    sluice_status status = claim(dir, out, &lock, err);
    if (status == SLUICE_OK) {
        sluice_synth_job job = {.plan = plan, .options = options, .dir = dir};
        fingerprint(options, plan, job.fingerprint);
        status = write_all(&job, err);
        if (status == SLUICE_OK) status = sluice_file_sync_dir(dir, err);
        if (status == SLUICE_OK && rename(dir, out))
            status = sluice_file_fail(err, errno, out, "this folder cannot be made");
        if (status == SLUICE_OK)
            status = sluice_file_sync_parent(out, err);
        else
            sluice_folder_remove_tree(dir, NULL);
        close(lock);
    }
    free(dir);
    return status;
}

static sluice_status check_space(const char *out, const sluice_synth_plan *plan, sluice_error *err)
{
    if (plan->output_bytes + SLACK_BYTES <= plan->free_bytes) return SLUICE_OK;
    return sluice_fail(err, SLUICE_NO_SPACE,
                       "%s: %.1f GB are needed and %.1f GB are free: make room, or ask for fewer "
                       "layers",
                       out, (double)(plan->output_bytes + SLACK_BYTES) * 1e-9,
                       (double)plan->free_bytes * 1e-9);
}

static sluice_status synth(const char *out, const sluice_synth_options *options,
                           const sluice_blueprint *blueprint, sluice_error *err)
{
    sluice_synth_plan plan;
    struct stat info;
    if (lstat(out, &info) == 0)
        return sluice_fail(err, SLUICE_USAGE, "%s exists already: name another folder", out);
    SLUICE_TRY(measure(out, blueprint, &plan, err));
    SLUICE_TRY(check_space(out, &plan, err));
    if (options->starting && !options->starting(options->context, &plan))
        return sluice_fail(err, SLUICE_CANCELLED, "stopped by the caller");
    return write_folder(out, options, blueprint, err);
}

sluice_status sluice_synth(const char *out, const sluice_synth_options *options, sluice_error *err)
{
    sluice_blueprint blueprint;
    size_t length = strlen(out);
    while (length > 1 && out[length - 1] == '/')
        length--;
    char *path = strndup(out, length);
    if (!path) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a path");
    sluice_status status = make_plan(options, &blueprint, err);
    if (status == SLUICE_OK) {
        status = synth(path, options, &blueprint, err);
        sluice_blueprint_free(&blueprint);
    }
    free(path);
    return status;
}
