/* What the machine offers, read from copies of /proc and /sys that the tests write: memory limits
 * of cgroup version 1 and 2, cores, quotas. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "os/file.h"
#include "os/folder.h"
#include "os/memory_limit.h"
#include "os/topology.h"

#define GIB ((uint64_t)1 << 30)

static char root[64];

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/sluice-test-machine-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return sluice_folder_remove_tree(root, NULL) == SLUICE_OK ? 0 : -1;
}

static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *slash = strrchr(full, '/');
    *slash = 0;
    assert_int_equal(sluice_folder_make(full, NULL), SLUICE_OK);
    *slash = '/';
    assert_int_equal(sluice_file_save(full, text, strlen(text), NULL), SLUICE_OK);
}

static void put_meminfo(void)
{
    put("/proc/meminfo", "MemTotal:       33554432 kB\nMemFree:  1 kB\n"
                         "MemAvailable:   16777216 kB\n");
}

static void without_groups_memory_is_what_is_available(void **state)
{
    (void)state;
    sluice_memory_limit limit;
    put_meminfo();
    assert_int_equal(sluice_memory_limit_get(root, &limit, NULL), SLUICE_OK);
    assert_int_equal(limit.total_bytes, 32 * GIB);
    assert_int_equal(limit.available_bytes, 16 * GIB);
    assert_int_equal(limit.usable_bytes, 16 * GIB);
    assert_int_equal(limit.group_bytes, 0);
}

static void version_2_limit_of_a_parent_binds(void **state)
{
    (void)state;
    sluice_memory_limit limit;
    put_meminfo();
    put("/proc/self/cgroup", "0::/user.slice/session\n");
    put("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    put("/sys/fs/cgroup/user.slice/session/memory.max", "max\n");
    put("/sys/fs/cgroup/user.slice/memory.max", "6442450944\n"); /* 6 GiB */
    put("/sys/fs/cgroup/user.slice/memory.current", "4294967296\n");
    put("/sys/fs/cgroup/user.slice/memory.stat",
        "anon 1\ninactive_file 3221225472\nactive_file 5\n");
    assert_int_equal(sluice_memory_limit_get(root, &limit, NULL), SLUICE_OK);
    assert_int_equal(limit.group_bytes, 6 * GIB);
    assert_int_equal(limit.usable_bytes, 5 * GIB); /* 6 - (4 - 3 of clean page cache) */
}

static void version_1_limit_binds_and_its_huge_number_means_none(void **state)
{
    (void)state;
    sluice_memory_limit limit;
    put_meminfo();
    put("/proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/docker/abc\n0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(sluice_memory_limit_get(root, &limit, NULL), SLUICE_OK);
    assert_int_equal(limit.group_bytes, 0);
    assert_int_equal(limit.usable_bytes, 16 * GIB);

    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "3221225472\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n");
    assert_int_equal(sluice_memory_limit_get(root, &limit, NULL), SLUICE_OK);
    assert_int_equal(limit.group_bytes, 3 * GIB);
    assert_int_equal(limit.usable_bytes, 2 * GIB);
}

static void unreadable_meminfo_is_an_error_that_says_what_to_do(void **state)
{
    (void)state;
    sluice_memory_limit limit;
    sluice_error err;
    assert_int_equal(sluice_memory_limit_get(root, &limit, &err), SLUICE_IO);
    assert_non_null(strstr(err.detail, "--memory"));
    put("/proc/meminfo", "nonsense\n");
    assert_int_equal(sluice_memory_limit_get(root, &limit, &err), SLUICE_IO);
}

static void this_machine_has_memory_and_processors(void **state)
{
    (void)state;
    sluice_memory_limit limit;
    static sluice_topology topology;
    assert_int_equal(sluice_memory_limit_get("", &limit, NULL), SLUICE_OK);
    assert_true(limit.usable_bytes > 0 && limit.usable_bytes <= limit.total_bytes);
    sluice_topology_get("", &topology);
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    assert_int_equal(topology.processors, CPU_COUNT(&allowed));
    assert_in_range(topology.cores, 1, topology.processors);
    assert_in_range(topology.threads, 1, topology.cores);
    for (int i = 0; i < topology.cores; i++)
        assert_true(CPU_ISSET(topology.core_processors[i], &allowed));
}

/* The two lowest processors of the mask play a big.LITTLE pair or the threads of one core. */
static void siblings_count_once_and_fast_cores_come_first(void **state)
{
    (void)state;
    cpu_set_t allowed;
    int pair[2], n = 0;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
        if (CPU_ISSET(cpu, &allowed)) pair[n++] = cpu;
    if (n < 2) skip();
    static sluice_topology topology;
    char path[128], text[32];
    sluice_topology_get(root, &topology);
    int cores = topology.cores;
    assert_false(topology.uneven);
    assert_null(sluice_topology_ties(&topology, cores));

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpu_capacity", pair[1]);
    put(path, "1024\n");
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.cores, cores);
    assert_int_equal(topology.core_processors[0], pair[1]);
    assert_ptr_equal(sluice_topology_ties(&topology, cores), topology.core_processors);
    assert_null(sluice_topology_ties(&topology, cores - 1));
    assert_true(topology.uneven);

    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list", pair[1]);
    snprintf(text, sizeof text, "%d,%d\n", pair[0], pair[1]);
    put(path, text);
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.cores, cores - 1);
    assert_int_equal(topology.processors, cores);
    assert_true(topology.uneven);

    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/cgroup.controllers", "cpu\n");
    put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.threads, 1);
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.threads, cores - 1);
}

static void a_cache_that_processors_share_counts_once(void **state)
{
    (void)state;
    cpu_set_t allowed;
    assert_int_equal(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    int first = 0;
    while (!CPU_ISSET(first, &allowed))
        first++;
    static sluice_topology topology;
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.cache_bytes, 0);
    char path[128], text[32];
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index3/size", cpu);
        if (CPU_ISSET(cpu, &allowed)) put(path, "307200K\n");
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cache/index3/shared_cpu_list",
                 cpu);
        snprintf(text, sizeof text, "%d-1023\n", first);
        if (CPU_ISSET(cpu, &allowed)) put(path, text);
    }
    sluice_topology_get(root, &topology);
    assert_int_equal(topology.cache_bytes, (uint64_t)300 << 20);
}

#define test_on_copy(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test_on_copy(without_groups_memory_is_what_is_available),
        test_on_copy(version_2_limit_of_a_parent_binds),
        test_on_copy(version_1_limit_binds_and_its_huge_number_means_none),
        test_on_copy(unreadable_meminfo_is_an_error_that_says_what_to_do),
        cmocka_unit_test(this_machine_has_memory_and_processors),
        test_on_copy(siblings_count_once_and_fast_cores_come_first),
        test_on_copy(a_cache_that_processors_share_counts_once),
    };
    return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
