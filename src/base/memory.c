/* The memory budget: a small table of tags behind a mutex, and the allocations charged to it.
 *
 * Allocations are few and large (nothing is taken on the hot path), so a lock is cheap enough. A
 * charge is made before the memory is taken and given back if taking fails, so two threads can
 * never both pass the limit. It does not track single allocations: whoever frees says how much. */
#include "base/memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define TAGS_MAX 64
#define SMALL 64
#define PAGE ((size_t)4096)
#define HUGE_PAGE SLUICE_MEMORY_HUGE_PAGE
/* From here on memory is a mapping of its own: states that come and go between small allocations
 * would leave holes in the heap that nobody counts, a tenth of a server's memory. */
#define MAPPED ((size_t)256 << 10)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct sluice_budget {
    pthread_mutex_t lock;
    uint64_t limit, used, peak;
    int n_uses;
    sluice_budget_use uses[TAGS_MAX]; /* the last one collects what finds no place */
};

sluice_status sluice_budget_new(uint64_t limit_bytes, sluice_budget **out, sluice_error *err)
{
    sluice_budget *budget = calloc(1, sizeof *budget);
    if (!budget) return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the memory budget");
    pthread_mutex_init(&budget->lock, NULL);
    budget->limit = limit_bytes;
    *out = budget;
    return SLUICE_OK;
}

void sluice_budget_free(sluice_budget *budget)
{
    if (!budget) return;
    pthread_mutex_destroy(&budget->lock);
    free(budget);
}

static sluice_budget_use *use_of(sluice_budget *budget, const char *tag)
{
    for (int i = 0; i < budget->n_uses; i++)
        if (!strcmp(budget->uses[i].tag, tag)) return &budget->uses[i];
    if (budget->n_uses == TAGS_MAX) return &budget->uses[TAGS_MAX - 1];
    sluice_budget_use *use = &budget->uses[budget->n_uses++];
    use->tag = budget->n_uses == TAGS_MAX ? "other" : tag;
    return use;
}

/* Returns the bytes that are left if the charge does not fit, else UINT64_MAX. */
static uint64_t charge(sluice_budget *budget, uint64_t bytes, const char *tag)
{
    uint64_t left = UINT64_MAX;
    pthread_mutex_lock(&budget->lock);
    if (budget->limit && bytes > budget->limit - budget->used) {
        left = budget->limit - budget->used;
    } else {
        sluice_budget_use *use = use_of(budget, tag);
        budget->used += bytes;
        use->bytes += bytes;
        if (budget->used > budget->peak) budget->peak = budget->used;
        if (use->bytes > use->peak_bytes) use->peak_bytes = use->bytes;
    }
    pthread_mutex_unlock(&budget->lock);
    return left;
}

static void give_back(sluice_budget *budget, uint64_t bytes, const char *tag)
{
    pthread_mutex_lock(&budget->lock);
    budget->used -= bytes;
    use_of(budget, tag)->bytes -= bytes;
    pthread_mutex_unlock(&budget->lock);
}

static uint64_t read_locked(const sluice_budget *budget, const uint64_t *field)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&budget->lock;
    pthread_mutex_lock(lock);
    uint64_t value = *field;
    pthread_mutex_unlock(lock);
    return value;
}

uint64_t sluice_budget_limit(const sluice_budget *budget)
{
    return budget->limit;
}

uint64_t sluice_budget_used(const sluice_budget *budget)
{
    return read_locked(budget, &budget->used);
}

uint64_t sluice_budget_peak(const sluice_budget *budget)
{
    return read_locked(budget, &budget->peak);
}

int sluice_budget_uses(const sluice_budget *budget, sluice_budget_use *uses, int max)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&budget->lock;
    pthread_mutex_lock(lock);
    int n = budget->n_uses;
    for (int i = 0; i < n && i < max; i++)
        uses[i] = budget->uses[i];
    pthread_mutex_unlock(lock);
    return n;
}

/* What is really taken for a request: whole cache lines, or whole pages for a mapping. */
static size_t rounded(size_t bytes)
{
    size_t unit = bytes >= PAGE ? PAGE : SMALL;
    return (bytes + unit - 1) / unit * unit;
}

static void *map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* A mapping that starts on a huge page: one huge page too much is mapped and the ends are cut off.
 */
static void *map_huge(size_t bytes)
{
    size_t wide = bytes + HUGE_PAGE;
    char *base = map(wide);
    if (!base) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)base % HUGE_PAGE) % HUGE_PAGE;
    size_t after = wide - before - bytes;
    if (before) munmap(base, before);
    if (after) munmap(base + before + bytes, after);
    madvise(base + before, bytes, MADV_HUGEPAGE); /* a wish: works without */
    return base + before;
}

/* Zeroed; below a huge page its pages are there. */
static void *take(size_t bytes)
{
    if (bytes >= HUGE_PAGE) return map_huge(bytes);
    void *memory =
        bytes >= MAPPED ? map(bytes) : aligned_alloc(bytes >= PAGE ? PAGE : SMALL, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

sluice_status sluice_memory_new(sluice_budget *budget, size_t bytes, const char *tag, void **out,
                                sluice_error *err)
{
    if (bytes > SIZE_MAX / 2)
        return sluice_fail(err, SLUICE_NO_MEMORY, "%s: %zu bytes are more than any machine has",
                           tag, bytes);
    size_t taken = rounded(bytes ? bytes : 1);
    if (budget) {
        uint64_t left = charge(budget, taken, tag);
        if (left != UINT64_MAX)
            return sluice_fail(err, SLUICE_NO_MEMORY,
                               "%s: %.1f MiB wanted, but %.1f MiB of the memory budget of %.1f MiB "
                               "are left; raise --memory or lower what is asked for",
                               tag, (double)taken / 0x1p20, (double)left / 0x1p20,
                               (double)budget->limit / 0x1p20);
    }
    void *memory = take(taken);
    if (!memory) {
        if (budget) give_back(budget, taken, tag);
        return sluice_fail(
            err, SLUICE_NO_MEMORY,
            "%s: the system refused %.1f MiB; close other programs or lower --memory", tag,
            (double)taken / 0x1p20);
    }
    *out = memory;
    return SLUICE_OK;
}

sluice_status sluice_memory_lock(const void *memory, size_t bytes, const char *what,
                                 sluice_error *err)
{
    struct rlimit limit;
    if (!bytes || mlock(memory, bytes) == 0) return SLUICE_OK;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return sluice_fail(err, SLUICE_NO_MEMORY,
                           "%s: %.1f MB cannot be locked into memory; go without --mlock", what,
                           (double)bytes / 1e6);
    return sluice_fail(err, SLUICE_NO_MEMORY,
                       "%s: %.1f MB cannot be locked into memory, the limit is %.1f MB; raise it "
                       "(ulimit -l) or go without --mlock",
                       what, (double)bytes / 1e6, (double)limit.rlim_cur / 1e6);
}

void sluice_memory_touch(void *memory, size_t bytes)
{
    uintptr_t from = (uintptr_t)memory / PAGE * PAGE, to = (uintptr_t)memory + bytes;
    if (!bytes || madvise((void *)from, to - from, MADV_POPULATE_WRITE) == 0) return;
    volatile char *page = memory; /* before Linux 5.14 */
    for (size_t at = 0; at < bytes; at += PAGE)
        page[at] = page[at];
    page[bytes - 1] = page[bytes - 1];
}

void sluice_memory_discard(void *memory, size_t bytes)
{
    uintptr_t from = ((uintptr_t)memory + PAGE - 1) / PAGE * PAGE;
    uintptr_t to = ((uintptr_t)memory + bytes) / PAGE * PAGE;
    if (to > from) madvise((void *)from, to - from, MADV_DONTNEED); /* a favour: works without */
}

void sluice_memory_free(sluice_budget *budget, void *memory, size_t bytes, const char *tag)
{
    if (!memory) return;
    size_t taken = rounded(bytes ? bytes : 1);
    if (taken >= MAPPED)
        munmap(memory, taken);
    else
        free(memory);
    if (budget) give_back(budget, taken, tag);
}
