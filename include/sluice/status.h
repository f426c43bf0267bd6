/* Status codes and error details, shared by every part of sluice.
 *
 * Every fallible function returns a sluice_status and takes, as its last argument, a sluice_error
 * (which may be NULL) that receives one clear sentence: what is wrong, where (file, tensor, layer,
 * expert, offset) and what to do. Nothing here allocates; a sluice_error may live on the stack and
 * is never shared between threads. */
#ifndef SLUICE_STATUS_H
#define SLUICE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_STATUS_LIST(X)                                                                      \
    X(OK, "success")                                                                               \
    X(USAGE, "an argument is wrong")                                                               \
    X(NOT_FOUND, "a file or name does not exist")                                                  \
    X(IO, "the operating system reported an input or output error")                                \
    X(NO_SPACE, "not enough disk space")                                                           \
    X(NO_MEMORY, "not enough memory, or over the memory budget")                                   \
    X(CORRUPT, "a file's bytes contradict its own description")                                    \
    X(UNSUPPORTED, "valid, but not something sluice can read or do")                               \
    X(BAD_INPUT, "a request, a prompt or a data file is malformed")                                \
    X(LIMIT, "a limit (context length, request size) is exceeded")                                 \
    X(CANCELLED, "stopped by the caller")                                                          \
    X(INTERNAL, "a defect in sluice")

typedef enum sluice_status {
#define X(name, text) SLUICE_##name,
    SLUICE_STATUS_LIST(X)
#undef X
} sluice_status;

typedef struct sluice_error {
    sluice_status code;
    char detail[512]; /* one sentence, no newline; empty if code is SLUICE_OK */
} sluice_error;

/* The constant's name ("SLUICE_IO") and its meaning, both static strings; never NULL. */
const char *sluice_status_name(sluice_status status);
const char *sluice_status_text(sluice_status status);

#ifdef __cplusplus
}
#endif
#endif
