/* Running a program in a memory group of its own (sluice_run_limited of sluice/machine.h).
 *
 * The group is made below this process's own, so that limits above it still bind; in version 2,
 * where a group with processes cannot have children with controllers, beside it. The child enters
 * the group before exec, so that everything which it ever allocates is counted. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/file.h"
#include "sluice/machine.h"

#define PATH_BYTES 4200
#define EXEC_FAILED 127

typedef struct group {
    char parent[PATH_BYTES - 100]; /* in which it is made; empty: none was found */
    char path[PATH_BYTES];
    bool v2;
} group;

static void take_first(void *context, const char *folder, bool v2)
{
    group *g = context;
    char controllers[PATH_BYTES + 32], text[1024];
    if (g->parent[0] || strlen(folder) >= sizeof g->parent) return;
    if (v2) {
        /* Of mixed hierarchies only the one that has the memory controller counts. */
        snprintf(controllers, sizeof controllers, "%s/cgroup.controllers", folder);
        if (!sluice_file_read_text(controllers, text, sizeof text) || !strstr(text, "memory"))
            return;
    }
    strcpy(g->parent, folder);
    g->v2 = v2;
}

static bool is_root_v2(const char *folder)
{
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/cgroup.type", folder); /* which the root does not have */
    return access(path, F_OK) != 0;
}

static bool write_text(const char *folder, const char *file, const char *text)
{
    char path[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t length = strlen(text);
    bool good = write(fd, text, length) == (ssize_t)length;
    int code = errno;
    close(fd);
    errno = code;
    return good;
}

static sluice_status refuse(sluice_error *err, const char *what)
{
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "a memory limit cannot be set: %s (%s); run as root, or in a group that "
                       "has one already",
                       what, strerror(errno));
}

static sluice_status make_group(group *g, uint64_t bytes, sluice_error *err)
{
    char number[32];
    sluice_cgroup_each("", "memory", take_first, g);
    if (!g->parent[0]) {
        errno = ENOENT;
        return refuse(err, "this system has no memory control groups");
    }
    if (g->v2) {
        if (!is_root_v2(g->parent)) *strrchr(g->parent, '/') = 0;
        if (!write_text(g->parent, "cgroup.subtree_control", "+memory"))
            return refuse(err, "the memory controller cannot be given to a new control group");
    }
    snprintf(g->path, sizeof g->path, "%s/sluice-%ld", g->parent, (long)getpid());
    if (mkdir(g->path, 0755)) return refuse(err, "no control group can be made");
    snprintf(number, sizeof number, "%" PRIu64, bytes);
    bool set = write_text(g->path, g->v2 ? "memory.max" : "memory.limit_in_bytes", number);
    if (set && g->v2) write_text(g->path, "memory.swap.max", "0");
    if (set) return SLUICE_OK;
    sluice_status status = refuse(err, "the new control group does not take the limit");
    rmdir(g->path);
    return status;
}

/* In the child. Only a failure returns: as the status that shells give. */
static void enter_and_run(const group *g, char *const argv[])
{
    char number[32];
    snprintf(number, sizeof number, "%ld", (long)getpid());
    if (write_text(g->path, "cgroup.procs", number)) execv(argv[0], argv);
    _exit(EXEC_FAILED);
}

static sluice_status wait_for(pid_t child, int *exit_status, sluice_error *err)
{
    int status;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return sluice_fail(err, SLUICE_IO, "waitpid: %s", strerror(errno));
    *exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return SLUICE_OK;
}

sluice_status sluice_run_limited(uint64_t bytes, char *const argv[], int *exit_status,
                                 sluice_error *err)
{
    group g = {0};
    SLUICE_TRY(make_group(&g, bytes, err));
    /* The keyboard's signals go to both; the child decides, this process tidies up. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old_int, old_quit;
    sigaction(SIGINT, &ignore, &old_int);
    sigaction(SIGQUIT, &ignore, &old_quit);
    pid_t child = fork();
    if (child == 0) {
        sigaction(SIGINT, &old_int, NULL);
        sigaction(SIGQUIT, &old_quit, NULL);
        enter_and_run(&g, argv);
    }
    sluice_status status = child < 0 ? sluice_fail(err, SLUICE_IO, "fork: %s", strerror(errno))
                                     : wait_for(child, exit_status, err);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGQUIT, &old_quit, NULL);
    rmdir(g.path);
    return status;
}
