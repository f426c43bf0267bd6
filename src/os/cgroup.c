/* Finding this process's control group: /proc/self/cgroup names it, /sys/fs/cgroup holds it.
 *
 * In a container the named path often does not exist below the mount (which shows the container's
 * own group as its root); then the root alone is visited, which is right. */
#include "os/cgroup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"

#define PATH_BYTES 4096

/* "memory" in "cpu,cpuacct,memory". */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, word, n) && (at[n] == ',' || at[n] == 0)) return true;
    }
    return false;
}

static bool exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Visits mount/group, then each parent down to mount. */
static void climb(const char *mount, const char *group, bool v2, sluice_cgroup_visit visit,
                  void *context)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s%s", mount, group);
    if (n < 0 || (size_t)n >= sizeof path) return;
    size_t shortest = strlen(mount);
    if (!exists(path)) path[shortest] = 0;
    for (;;) {
        size_t length = strlen(path);
        while (length > shortest && path[length - 1] == '/')
            path[--length] = 0;
        visit(context, path, v2);
        if (length <= shortest) return;
        *strrchr(path, '/') = 0;
    }
}

void sluice_cgroup_each(const char *root, const char *controller, sluice_cgroup_visit visit,
                        void *context)
{
    char path[PATH_BYTES], text[8192];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!sluice_file_read_text(path, text, sizeof text)) return;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        /* number:controllers:path, the controllers empty in version 2 */
        char *words = strchr(line, ':'), *group = words ? strchr(words + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        words++;
        if (*words == 0) {
            snprintf(path, sizeof path, "%s/sys/fs/cgroup/cgroup.controllers", root);
            bool pure = exists(path);
            snprintf(path, sizeof path, "%s/sys/fs/cgroup%s", root, pure ? "" : "/unified");
            climb(path, group, true, visit, context);
        } else if (has_word(words, controller)) {
            snprintf(path, sizeof path, "%s/sys/fs/cgroup/%s", root, controller);
            climb(path, group, false, visit, context);
        }
    }
}

bool sluice_cgroup_number(const char *folder, const char *file, const char *key, uint64_t *value)
{
    char path[PATH_BYTES], text[8192];
    int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    if (n < 0 || (size_t)n >= sizeof path) return false;
    if (!sluice_file_read_text(path, text, sizeof text)) return false;
    const char *number = text;
    if (key) {
        size_t length = strlen(key);
        while (number && (strncmp(number, key, length) || number[length] != ' ')) {
            number = strchr(number, '\n');
            number += number != NULL;
        }
        if (!number) return false;
        number += length + 1;
    }
    char *end;
    errno = 0;
    unsigned long long read = strtoull(number, &end, 10);
    if (end == number || errno || *number == '-') return false;
    *value = read;
    return true;
}
