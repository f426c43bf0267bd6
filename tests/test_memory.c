/* The memory budget: what is charged, refused and given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/memory.h"

#define MIB ((size_t)1 << 20)

static void memory_is_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 2 * MIB - 1, 2 * MIB, 5 * MIB + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *memory;
        sluice_error err;
        assert_int_equal(sluice_memory_new(NULL, sizes[i], "test", &memory, &err), SLUICE_OK);
        size_t alignment = sizes[i] >= 2 * MIB ? 2 * MIB : sizes[i] >= 4096 ? 4096 : 64;
        assert_int_equal((uintptr_t)memory % alignment, 0);
        for (size_t j = 0; j < sizes[i]; j += 61)
            assert_int_equal(((char *)memory)[j], 0);
        memset(memory, 0xa5, sizes[i]); /* every byte is ours (sanitizers and the kernel object) */
        sluice_memory_free(NULL, memory, sizes[i], "test");
    }
    sluice_memory_free(NULL, NULL, 10, "test");
}

static void budget_counts_by_tag_and_remembers_peaks(void **state)
{
    (void)state;
    sluice_budget *budget;
    void *a, *b;
    assert_int_equal(sluice_budget_new(0, &budget, NULL), SLUICE_OK);
    assert_int_equal(sluice_memory_new(budget, 3 * MIB, "slots", &a, NULL), SLUICE_OK);
    assert_int_equal(sluice_memory_new(budget, 100, "scratch", &b, NULL), SLUICE_OK);
    assert_int_equal(sluice_budget_used(budget), 3 * MIB + 128);
    sluice_memory_free(budget, a, 3 * MIB, "slots");
    assert_int_equal(sluice_budget_used(budget), 128);
    assert_int_equal(sluice_budget_peak(budget), 3 * MIB + 128);

    sluice_budget_use uses[1];
    assert_int_equal(sluice_budget_uses(budget, uses, 1), 2);
    assert_string_equal(uses[0].tag, "slots");
    assert_int_equal(uses[0].bytes, 0);
    assert_int_equal(uses[0].peak_bytes, 3 * MIB);
    sluice_memory_free(budget, b, 100, "scratch");
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);
}

static void budget_refuses_with_tag_and_numbers_and_stays_usable(void **state)
{
    (void)state;
    sluice_budget *budget;
    sluice_error err;
    void *a, *b;
    assert_int_equal(sluice_budget_new(4 * MIB, &budget, NULL), SLUICE_OK);
    assert_int_equal(sluice_memory_new(budget, 3 * MIB, "trunk", &a, &err), SLUICE_OK);
    assert_int_equal(sluice_memory_new(budget, 2 * MIB, "expert slots", &b, &err),
                     SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "expert slots: 2.0 MiB wanted, but 1.0 MiB"));
    assert_int_equal(sluice_memory_new(budget, SIZE_MAX - 5, "absurd", &b, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "absurd"));
    assert_int_equal(sluice_memory_new(budget, 1 * MIB, "expert slots", &b, &err), SLUICE_OK);
    assert_int_equal(sluice_budget_used(budget), sluice_budget_limit(budget));
    sluice_memory_free(budget, b, 1 * MIB, "expert slots");
    sluice_memory_free(budget, a, 3 * MIB, "trunk");
    sluice_budget_free(budget);
}

static void refusal_by_the_system_is_not_charged(void **state)
{
    (void)state;
    sluice_budget *budget;
    sluice_error err;
    void *a;
    assert_int_equal(sluice_budget_new(0, &budget, NULL), SLUICE_OK);
    assert_int_equal(sluice_memory_new(budget, SIZE_MAX / 4, "cache", &a, &err), SLUICE_NO_MEMORY);
    assert_non_null(strstr(err.detail, "cache"));
    assert_int_equal(sluice_budget_used(budget), 0);
    sluice_budget_free(budget);
}

static void touching_makes_all_pages_and_changes_nothing(void **state)
{
    unsigned char resident[3 * MIB / 4096];
    unsigned char *memory;
    void *a;
    (void)state;
    assert_int_equal(sluice_memory_new(NULL, 3 * MIB, "cache", &a, NULL), SLUICE_OK);
    memory = a;
    memory[5000] = 7;
    sluice_memory_touch(memory + 100, 3 * MIB - 100);
    assert_int_equal(mincore(memory, 3 * MIB, resident), 0);
    for (size_t i = 0; i < sizeof resident; i++)
        assert_true(resident[i] & 1);
    for (size_t i = 0; i < 3 * MIB; i++)
        assert_int_equal(memory[i], i == 5000 ? 7 : 0);
    sluice_memory_touch(memory, 0);
    sluice_memory_free(NULL, a, 3 * MIB, "cache");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_and_aligned),
        cmocka_unit_test(budget_counts_by_tag_and_remembers_peaks),
        cmocka_unit_test(budget_refuses_with_tag_and_numbers_and_stays_usable),
        cmocka_unit_test(refusal_by_the_system_is_not_charged),
        cmocka_unit_test(touching_makes_all_pages_and_changes_nothing),
    };
    return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
