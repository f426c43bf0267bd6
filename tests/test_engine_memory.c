/* Memory: the budget holds, Nano is small, decoding allocates nothing, and too little is refused
 * with numbers. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/engines.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#define COUNTED 1

/* Every allocation of the process comes through here: a program's own malloc takes precedence. */
static atomic_long allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(n, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}
#endif

static int32_t tokens[400];

static int prepare(void **state)
{
    (void)state;
    for (int32_t i = 0; i < 400; i++)
        tokens[i] = (i * 37 + 11) % 8000;
    return 0;
}

#ifdef COUNTED
static bool count_allocations(void *context, int32_t token)
{
    long *at = context;
    (void)token;
    if (at[0] < 64) at[1 + at[0]++] = atomic_load(&allocations);
    return true;
}
#endif

static void decoding_and_prefill_allocate_nothing(void **state)
{
    (void)state;
#ifdef COUNTED
    sluice_engine_options options = engines_options();
    options.cache_bytes = (uint64_t)4 << 20; /* with evictions and reads */
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine);
    int32_t ids[50], count;
    long at[65] = {0};
    sluice_finish finish;
    sluice_generation generation = {.prompt = tokens,
                                    .prompt_count = 200,
                                    .tokens_max = 50,
                                    .sampling = sluice_sampling_recommended(false),
                                    .ignore_stop = true,
                                    .on_token = count_allocations,
                                    .context = at};
    long before = atomic_load(&allocations);
    assert_true(before > 0);
    assert_int_equal(sluice_generate(session, &generation, ids, &count, &finish, NULL), SLUICE_OK);
    assert_int_equal(at[0], 50);
    for (int i = 0; i < 50; i++)
        if (at[1 + i] != before) fail_msg("%ld allocations before token %d", at[1 + i] - before, i);
    sluice_session_close(session);
    sluice_engine_close(engine);
#else
    print_message("SKIPPED: allocations are counted only with glibc and without sanitizers\n");
    skip();
#endif
}

static void nano_runs_in_100_mb_with_a_cache_of_4_mb(void **state)
{
    (void)state;
#ifdef SANITIZED
    print_message("SKIPPED: sanitizers take memory of their own\n");
    skip();
#endif
    sluice_engine_options options = engines_options();
    options.cache_bytes = (uint64_t)4 << 20;
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine);
    int32_t ids[64], count;
    engines_generate(session, tokens, 400, 64, ids, &count);
    sluice_stats stats;
    sluice_engine_stats(engine, &stats);
    assert_true(stats.rss_peak_bytes > 0);
    if (stats.rss_peak_bytes >= 100u * 1000 * 1000)
        fail_msg("%.1f MB", (double)stats.rss_peak_bytes / 1e6);
    print_message("peak %.1f MB resident, %.1f MB charged\n", (double)stats.rss_peak_bytes / 1e6,
                  (double)stats.memory_peak_bytes / 1e6);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void the_budget_holds_and_everything_is_given_back(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.memory_bytes = (uint64_t)60 << 20;
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine);
    int32_t ids[64], count;
    engines_generate(session, tokens, 400, 64, ids, &count);
    sluice_stats stats, after;
    sluice_engine_stats(engine, &stats);
    assert_true(stats.memory_peak_bytes <= options.memory_bytes);
    assert_true(stats.memory_peak_bytes > options.memory_bytes / 2);
    sluice_session_close(session);
    sluice_engine_stats(engine, &after);
    assert_true(after.memory_bytes < stats.memory_bytes);
    sluice_engine_close(engine);
}

static void statistics_count_what_happened(void **state)
{
    (void)state;
    sluice_engine_options options = engines_options();
    options.cache_bytes = (uint64_t)4 << 20;
    sluice_engine *engine = engines_open(NULL, &options);
    sluice_session *session = engines_session(engine);
    int32_t ids[20], count;
    engines_generate(session, tokens, 100, 20, ids, &count);
    sluice_stats stats;
    sluice_engine_stats(engine, &stats);
    assert_int_equal(stats.prompt_tokens, 100);
    assert_int_equal(stats.decode_tokens, 19);
    assert_true(stats.prompt_us > 0 && stats.decode_us > 0 && stats.first_token_us > 0);
    assert_true(stats.expert_requests >= 19 * 8 * 8);
    assert_true(stats.expert_hits < stats.expert_requests);
    assert_true(stats.expert_bytes_read > 0);
    sluice_engine_stats_reset(engine);
    sluice_engine_stats(engine, &stats);
    assert_int_equal(stats.prompt_tokens + stats.decode_tokens + stats.expert_requests +
                         stats.expert_bytes_read,
                     0);
    sluice_session_close(session);
    sluice_engine_close(engine);
}

static void too_little_memory_is_refused_with_the_numbers(void **state)
{
    (void)state;
    sluice_engine *engine;
    sluice_error err = {0};
    sluice_engine_options options = engines_options();
    options.memory_bytes = (uint64_t)9 << 20;
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "9.4 MB of memory are not enough: the trunk needs"));
    options = engines_options();
    options.cache_bytes = 100000;
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "cache of 0.1 MB"));
}

static void impossible_options_are_refused_by_name(void **state)
{
    (void)state;
    sluice_engine *engine;
    sluice_error err = {0};
    sluice_engine_options options = engines_options();
    options.context = 100000;
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "context"));
    options = engines_options();
    options.chunk = 100;
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "chunk"));
    options = engines_options();
    options.threads = -3;
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_USAGE);
    assert_non_null(strstr(err.detail, "threads"));
    options = engines_options();
    options.cpu = "z80";
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_USAGE);
    options = engines_options();
    options.io = "telepathy";
    assert_int_equal(sluice_engine_open(NULL, &options, &engine, &err), SLUICE_USAGE);
    assert_int_equal(sluice_engine_open("/nowhere/at/all", NULL, &engine, &err), SLUICE_NOT_FOUND);
    assert_non_null(strstr(err.detail, "/nowhere/at/all"));
}

/* Conversion takes more memory than running; it belongs to another process. */
static bool convert_nano_apart(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        char *dir;
        _exit(sluice_model_locate(NULL, NULL, &dir, NULL) == SLUICE_OK ? 0 : 1);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nano_runs_in_100_mb_with_a_cache_of_4_mb),
        cmocka_unit_test(decoding_and_prefill_allocate_nothing),
        cmocka_unit_test(the_budget_holds_and_everything_is_given_back),
        cmocka_unit_test(statistics_count_what_happened),
        cmocka_unit_test(too_little_memory_is_refused_with_the_numbers),
        cmocka_unit_test(impossible_options_are_refused_by_name),
    };
    if (!convert_nano_apart()) return 1;
    return cmocka_run_group_tests(tests, prepare, NULL);
}
