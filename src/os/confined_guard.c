/* Landlock and seccomp without their libraries: both are a few system calls (see confined_guard.h).
 *
 * The filter is written as classic BPF at run time, since it holds the process's own id: a program
 * may send signals to itself (abort does) and to nobody else. Calls fail with EPERM rather than
 * kill, so that Python reports an exception. */
#include "os/confined_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers that these headers may be too old for; the same on every processor. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

static int landlock_version(void)
{
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool sluice_guard_files_possible(void)
{
    return landlock_version() >= 1;
}

/* Everything that changes the file system, as far as this version knows it. */
static uint64_t changes(int version)
{
    uint64_t all = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                   LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                   LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                   LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                   LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
    if (version >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) all |= LANDLOCK_ACCESS_FS_TRUNCATE;
    return all;
}

static int allow(int rules, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0) return errno;
    long result = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int code = result ? errno : 0;
    close(rule.parent_fd);
    return code;
}

int sluice_guard_files(const char *folder)
{
    int version = landlock_version();
    if (version < 1) return errno;
    struct landlock_ruleset_attr handled = {.handled_access_fs = changes(version)};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0) return errno;
    int code = allow(rules, folder, changes(version));
    if (!code) code = allow(rules, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE);
    if (!code && syscall(SYS_landlock_restrict_self, rules, 0)) code = errno;
    close(rules);
    return code;
}

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

/* Never allowed. */
static const uint16_t forbidden[] = {
    /* network */
    SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    SYS_sendto, SYS_sendmsg, SYS_sendmmsg, SYS_io_uring_setup,
    /* other processes */
    SYS_kill, SYS_tkill, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_pidfd_open,
    SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo,
    SYS_setpriority, SYS_kcmp, SYS_setsid, SYS_setpgid,
    /* the machine */
    SYS_mount, SYS_umount2, SYS_open_tree, SYS_move_mount, SYS_fsopen, SYS_mount_setattr,
    SYS_pivot_root, SYS_chroot, SYS_unshare, SYS_setns, SYS_bpf, SYS_perf_event_open,
    SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon, SYS_swapoff, SYS_settimeofday,
    SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname,
    SYS_open_by_handle_at, SYS_quotactl, SYS_acct, SYS_syslog, SYS_mknodat};
/* Allowed if the first argument is 0 or this process. */
static const uint16_t own_only[] = {SYS_tgkill, SYS_prlimit64, SYS_sched_setaffinity,
                                    SYS_sched_setscheduler, SYS_sched_setparam};
enum { FORBIDDEN = sizeof forbidden / sizeof *forbidden, OWN = sizeof own_only / sizeof *own_only };

#define LOAD(field)                                                                                \
    (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, value)
#define IF_EQUAL(value, yes, no)                                                                   \
    (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define DENY RETURN(SECCOMP_RET_ERRNO | EPERM)

int sluice_guard_calls(void)
{
    struct sock_filter code[20 + 2 * FORBIDDEN + 7 * OWN];
    unsigned short n = 0;
    code[n++] = LOAD(arch);
    code[n++] = IF_EQUAL(ARCHITECTURE, 1, 0);
    code[n++] = RETURN(SECCOMP_RET_KILL_PROCESS); /* calls of another kind have other numbers */
    code[n++] = LOAD(nr);
#ifdef __x86_64__
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1);
    code[n++] = DENY; /* the x32 numbers */
    code[n++] = IF_EQUAL(SYS_fork, 1, 0);
    code[n++] = IF_EQUAL(SYS_vfork, 0, 1);
    code[n++] = DENY;
#endif
    /* Threads, but no processes. The C library takes clone where there is no clone3, whose flags
     * are in memory, which filters cannot see. */
    code[n++] = IF_EQUAL(SYS_clone3, 0, 1);
    code[n++] = RETURN(SECCOMP_RET_ERRNO | ENOSYS);
    code[n++] = IF_EQUAL(SYS_clone, 0, 4);
    code[n++] = LOAD(args[0]);
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
    code[n++] = DENY;
    code[n++] = RETURN(SECCOMP_RET_ALLOW);
    for (int i = 0; i < FORBIDDEN; i++) {
        code[n++] = IF_EQUAL(forbidden[i], 0, 1);
        code[n++] = DENY;
    }
    for (int i = 0; i < OWN; i++) {
        code[n++] = IF_EQUAL(own_only[i], 0, 5);
        code[n++] = LOAD(args[0]);
        code[n++] = IF_EQUAL(0, 2, 0);
        code[n++] = IF_EQUAL((uint32_t)getpid(), 1, 0);
        code[n++] = DENY;
        code[n++] = RETURN(SECCOMP_RET_ALLOW);
    }
    code[n++] = RETURN(SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = n, .filter = code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? errno : 0;
}

#else

int sluice_guard_calls(void)
{
    return ENOSYS;
}

#endif
