/* Buffers between a guard band and an unmapped page, and recovery from touching the latter. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checker/checker.h"

#define PATTERN 0xa5 /* four of them are a float that no kernel computes: -2.87e-16 */

/* Benchmarks read these as the engine reads its own memory, in huge pages. */
#define HUGE_BYTES ((size_t)8 << 20)

check_buffer check_buffer_new(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    check_buffer buffer = {.bytes = bytes};
    buffer.mapped = (bytes + page - 1) / page * page + 2 * page;
    buffer.pages =
        mmap(NULL, buffer.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer.pages == MAP_FAILED) {
        perror("kernel_check: mmap");
        exit(2);
    }
    if (bytes >= HUGE_BYTES) madvise(buffer.pages, buffer.mapped, MADV_HUGEPAGE);
    size_t used = buffer.mapped - page;
    memset(buffer.pages, PATTERN, used);
    mprotect(buffer.pages + used, page, PROT_NONE);
    buffer.data = buffer.pages + used - bytes;
    return buffer;
}

void check_buffer_free(check *c, check_buffer *buffer, const char *what)
{
    const unsigned char *data = buffer->data;
    for (const unsigned char *at = buffer->pages; at < data; at++) {
        if (*at == PATTERN) continue;
        check_fail(c, "%s: %td bytes before its start were written", what, data - at);
        break;
    }
    munmap(buffer->pages, buffer->mapped);
    memset(buffer, 0, sizeof *buffer);
}

bool check_untouched(const float *at, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)at;
    for (size_t i = 0; i < n * sizeof *at; i++)
        if (bytes[i] != PATTERN) return false;
    return true;
}

static sigjmp_buf resume;
static volatile sig_atomic_t armed;

static void on_fault(int number)
{
    if (armed) siglongjmp(resume, 1);
    signal(number, SIG_DFL);
    raise(number);
}

void check_guarded(check *c, void (*fn)(check *c, void *context), void *context, const char *what)
{
    struct sigaction act = {.sa_handler = on_fault}, before_segv, before_bus;
    sigemptyset(&act.sa_mask);
    sigaction(SIGSEGV, &act, &before_segv);
    sigaction(SIGBUS, &act, &before_bus);
    if (sigsetjmp(resume, 1) == 0) {
        armed = 1;
        fn(c, context);
        armed = 0;
    } else {
        armed = 0;
        check_fail(c, "%s: touched memory past the end of a buffer", what);
    }
    sigaction(SIGSEGV, &before_segv, NULL);
    sigaction(SIGBUS, &before_bus, NULL);
}
