/* Running a program that nobody has read: no network, files of its own folder alone, and limits on
 * time, memory and files.
 *
 * What: a child gives up, before exec, what it could do harm with. System calls are filtered
 * (seccomp): no sockets, no further processes, no signals to or traces of others, no mounts, no
 * namespaces, no io_uring. Landlock lets it write below one folder only. rlimits bound
 * the rest. Its environment is empty but for PATH, HOME and LANG.
 *
 * What it does not do: hide what the user may read, or defend against a defect of the kernel; who
 * needs that runs sluice in a virtual machine. */
#ifndef SLUICE_OS_CONFINED_H
#define SLUICE_OS_CONFINED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct sluice_confined_limits {
    int32_t seconds;       /* by the clock, and of processor time */
    uint64_t memory_bytes; /* of address space */
    uint64_t file_bytes;   /* of each file */
} sluice_confined_limits;

typedef enum sluice_confined_end {
    SLUICE_CONFINED_EXIT,   /* by itself: code is its exit status */
    SLUICE_CONFINED_SIGNAL, /* code is the signal */
    SLUICE_CONFINED_TIME    /* out of time */
} sluice_confined_end;

typedef struct sluice_confined_result {
    sluice_confined_end end;
    int code;
    char output[256]; /* the last line that it wrote to stderr, cut; "" for none */
} sluice_confined_result;

/* Whether programs can be confined here: SLUICE_UNSUPPORTED says what is missing. The file system
 * being guarded is *folder_guarded; without it, only the program's own manners keep other files of
 * the user from being written. */
sluice_status sluice_confined_check(bool *folder_guarded, sluice_error *err);

/* Runs argv[0] (a path) with folder as its working directory and the only one that it can write
 * to, and waits for its end. SLUICE_UNSUPPORTED: it could not be
 * confined, so it did not run; SLUICE_NOT_FOUND: there is no such program. */
sluice_status sluice_confined_run(const char *folder, char *const argv[],
                                  const sluice_confined_limits *limits,
                                  sluice_confined_result *result, sluice_error *err);

#endif
