/* Running a program without trusting it (see confined.h). */
#include "os/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/confined_guard.h"
#include "os/file.h"

enum { FILES_MAX = 64, OUTPUT_BYTES = 4096, PATH_BYTES = 4096 };

/* What the child reports before exec, if it gets no further. */
typedef struct report {
    int code;
    char what[44];
} report;

typedef struct child {
    const char *folder;
    char *const *argv;
    const sluice_confined_limits *limits;
    int report_fd, output_fd;
} child;

static void give_up(const child *c, const char *what, int code)
{
    report r = {.code = code};
    snprintf(r.what, sizeof r.what, "%s", what);
    if (write(c->report_fd, &r, sizeof r) < 0) _exit(126);
    _exit(127);
}

static void limit(const child *c, int resource, uint64_t value)
{
    struct rlimit new = {value, value}, now;
    /* At the hard limit of time comes SIGKILL, which says nothing; SIGXCPU has to come before. */
    if (resource == RLIMIT_CPU) new.rlim_max++;
    if (getrlimit(resource, &now) == 0 && now.rlim_max < new.rlim_max) {
        new.rlim_max = now.rlim_max;
        if (new.rlim_cur > new.rlim_max) new.rlim_cur = new.rlim_max;
    }
    if (setrlimit(resource, &new)) give_up(c, "a limit", errno);
}

static void set_limits(const child *c)
{
    const sluice_confined_limits *l = c->limits;
    limit(c, RLIMIT_CPU, (uint64_t)l->seconds);
    limit(c, RLIMIT_AS, l->memory_bytes);
    limit(c, RLIMIT_FSIZE, l->file_bytes);
    limit(c, RLIMIT_NOFILE, FILES_MAX);
    limit(c, RLIMIT_CORE, 0);
}

/* In the child: nothing that allocates, since another thread may have held the allocator's lock. */
static void enter(const child *c)
{
    char home[PATH_BYTES + 8];
    snprintf(home, sizeof home, "HOME=%s", c->folder);
    const char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", home, "LANG=C.UTF-8",
                                       "PYTHONDONTWRITEBYTECODE=1", NULL};
    setpgid(0, 0); /* the keyboard's signals are not for it */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        give_up(c, "privileges cannot be dropped", errno);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(c->output_fd, 2) < 0)
        give_up(c, "/dev/null", errno);
    if (chdir(c->folder)) give_up(c, "its folder", errno);
    signal(SIGPIPE, SIG_DFL);
    int code = sluice_guard_files(c->folder);
    if (code && code != ENOSYS && code != EOPNOTSUPP) give_up(c, "files cannot be guarded", code);
    set_limits(c);
    code = sluice_guard_calls();
    if (code) give_up(c, "the network cannot be cut off (seccomp)", code);
    execve(c->argv[0], c->argv, (char *const *)environment);
    give_up(c, "exec", errno);
}

/* Close-on-exec pipes; all or none. */
static int make_pipes(int a[2], int b[2])
{
    if (pipe2(a, O_CLOEXEC)) return errno;
    if (pipe2(b, O_CLOEXEC) == 0) return 0;
    int code = errno;
    close(a[0]);
    close(a[1]);
    return code;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Keeps the end of what the program writes until it closes its output or time is up. */
static bool read_output(int fd, int64_t deadline, char tail[OUTPUT_BYTES], size_t *length)
{
    for (;;) {
        int64_t left = deadline - now_ms();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (left <= 0) return false;
        int n = poll(&ready, 1, (int)left);
        if (n < 0 && errno != EINTR) return false;
        if (n <= 0) continue;
        if (*length > OUTPUT_BYTES / 2) {
            size_t drop = *length - OUTPUT_BYTES / 2;
            memmove(tail, tail + drop, *length - drop);
            *length -= drop;
        }
        ssize_t got = read(fd, tail + *length, OUTPUT_BYTES - *length);
        if (got == 0) return true;
        if (got > 0) *length += (size_t)got;
    }
}

/* Whether the process has ended before time was up; its status stays to be taken. */
static bool wait_until(pid_t pid, int64_t deadline)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            return true;
        if (now_ms() >= deadline) return false;
        nanosleep(&pause, NULL);
    }
}

static void keep_last_line(char *tail, size_t length, char *line, size_t bytes)
{
    while (length && (tail[length - 1] == '\n' || tail[length - 1] == ' '))
        length--;
    const char *begin = memrchr(tail, '\n', length);
    begin = begin ? begin + 1 : tail;
    size_t n = length - (size_t)(begin - tail);
    if (n > bytes - 1) n = bytes - 1;
    for (size_t i = 0; i < n; i++) /* what goes into a log is text */
        line[i] = begin[i] >= ' ' && begin[i] < 127 ? begin[i] : '?';
    line[n] = '\0';
}

static void watch(pid_t pid, int output, int32_t seconds, sluice_confined_result *result)
{
    char tail[OUTPUT_BYTES];
    size_t length = 0;
    int64_t deadline = now_ms() + (int64_t)seconds * 1000;
    bool ended = read_output(output, deadline, tail, &length) && wait_until(pid, deadline);
    int status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    *result = (sluice_confined_result){.end = SLUICE_CONFINED_EXIT, .code = WEXITSTATUS(status)};
    if (!ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU))
        result->end = SLUICE_CONFINED_TIME;
    else if (WIFSIGNALED(status))
        *result = (sluice_confined_result){SLUICE_CONFINED_SIGNAL, WTERMSIG(status), ""};
    keep_last_line(tail, length, result->output, sizeof result->output);
}

static sluice_status refuse(const char *program, const report *r, sluice_error *err)
{
    if (strcmp(r->what, "exec") == 0)
        return sluice_file_fail(err, r->code, program, "cannot be run");
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "%s: not run, since it could not be confined: %s: %s", program, r->what,
                       strerror(r->code));
}

sluice_status sluice_confined_run(const char *folder, char *const argv[],
                                  const sluice_confined_limits *limits,
                                  sluice_confined_result *result, sluice_error *err)
{
    int reports[2], outputs[2];
    report r;
    if (strlen(folder) >= PATH_BYTES)
        return sluice_fail(err, SLUICE_LIMIT, "%s: the path is too long", folder);
    int code = make_pipes(reports, outputs);
    if (code) return sluice_file_fail(err, code, argv[0], "no pipe");
    child c = {folder, argv, limits, reports[1], outputs[1]};
    pid_t pid = fork();
    if (pid == 0) enter(&c);
    code = errno;
    close(reports[1]);
    close(outputs[1]);
    sluice_status status = SLUICE_OK;
    if (pid < 0) {
        status = sluice_file_fail(err, code, argv[0], "cannot be run");
    } else if (read(reports[0], &r, sizeof r) == (ssize_t)sizeof r) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
        status = refuse(argv[0], &r, err);
    } else {
        watch(pid, outputs[0], limits->seconds, result);
    }
    close(reports[0]);
    close(outputs[0]);
    return status;
}

sluice_status sluice_confined_check(bool *folder_guarded, sluice_error *err)
{
    static const sluice_confined_limits limits = {
        .seconds = 10, .memory_bytes = (uint64_t)1 << 30, .file_bytes = 1 << 20};
    char program[] = "/bin/true", *const argv[] = {program, NULL};
    sluice_confined_result result;
    *folder_guarded = sluice_guard_files_possible();
    return sluice_confined_run("/", argv, &limits, &result, err);
}
