/* Cores from the affinity mask and /sys/devices/system/cpu, CPU quota from control groups.
 *
 * Two hardware threads of a core share its vector units and gain nothing in our kernels, so one of
 * each is listed. On big.LITTLE and hybrid machines cpu_capacity or the maximum frequency orders
 * the cores. It does not know NUMA nodes yet. */
#include "os/topology.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/cgroup.h"
#include "os/file.h"

typedef struct core {
    int processor;
    long speed;
} core;

/* The first number in /sys/devices/system/cpu/cpuN/name, or -1. */
static long cpu_number(const char *root, int cpu, const char *name)
{
    char path[4096], text[256];
    snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/%s", root, cpu, name);
    if (!sluice_file_read_text(path, text, sizeof text)) return -1;
    char *end;
    long value = strtol(text, &end, 10);
    return end == text ? -1 : value;
}

static long speed_of(const char *root, int cpu)
{
    long speed = cpu_number(root, cpu, "cpu_capacity");
    return speed >= 0 ? speed : cpu_number(root, cpu, "cpufreq/cpuinfo_max_freq");
}

/* The lowest-numbered hardware thread of cpu's core; cpu itself if that is unknown. */
static int first_sibling(const char *root, int cpu)
{
    long first = cpu_number(root, cpu, "topology/core_cpus_list");
    if (first < 0) first = cpu_number(root, cpu, "topology/thread_siblings_list");
    return first < 0 ? cpu : (int)first;
}

/* The bytes of an L3 cache, told by the first processor that shares it; 0 for the others. */
static uint64_t cache_of(const char *root, int cpu)
{
    const long kib = cpu_number(root, cpu, "cache/index3/size"); /* "32768K" */
    const long first = cpu_number(root, cpu, "cache/index3/shared_cpu_list");
    return kib > 0 && first == cpu ? (uint64_t)kib << 10 : 0;
}

static int faster_first(const void *a, const void *b)
{
    const core *x = a, *y = b;
    if (x->speed != y->speed) return x->speed < y->speed ? 1 : -1;
    return x->processor - y->processor;
}

/* Lowers *context (processors, rounded up) to a group's quota. */
static void apply_quota(void *context, const char *folder, bool v2)
{
    int *threads = context;
    uint64_t quota, period = 100000;
    if (v2) {
        char path[4096], text[128];
        if (snprintf(path, sizeof path, "%s/cpu.max", folder) >= (int)sizeof path) return;
        if (!sluice_file_read_text(path, text, sizeof text)) return;
        unsigned long long q, p;
        if (sscanf(text, "%llu %llu", &q, &p) != 2) return; /* "max 100000": no quota */
        quota = q;
        period = p;
    } else if (!sluice_cgroup_number(folder, "cpu.cfs_quota_us", NULL, &quota) ||
               !sluice_cgroup_number(folder, "cpu.cfs_period_us", NULL, &period)) {
        return;
    }
    if (!period) return;
    uint64_t whole = quota / period + (quota % period != 0);
    if (whole >= 1 && whole < (uint64_t)*threads) *threads = (int)whole;
}

void sluice_topology_get(const char *root, sluice_topology *topology)
{
    static const int limit =
        SLUICE_PROCESSORS_MAX < CPU_SETSIZE ? SLUICE_PROCESSORS_MAX : CPU_SETSIZE;
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) || CPU_COUNT(&allowed) == 0)
        CPU_SET(0, &allowed);

    core cores[SLUICE_PROCESSORS_MAX];
    bool seen[SLUICE_PROCESSORS_MAX] = {false};
    int n = 0;
    *topology = (sluice_topology){0};
    for (int cpu = 0; cpu < limit; cpu++) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        topology->processors++;
        topology->cache_bytes += cache_of(root, cpu);
        int first = first_sibling(root, cpu);
        if (first < 0 || first >= limit) first = cpu;
        if (seen[first]) continue;
        seen[first] = true;
        cores[n++] = (core){cpu, speed_of(root, cpu)};
    }
    qsort(cores, (size_t)n, sizeof *cores, faster_first);
    for (int i = 0; i < n; i++)
        topology->core_processors[i] = cores[i].processor;
    topology->cores = topology->threads = n;
    topology->uneven = n < topology->processors || cores[0].speed != cores[n - 1].speed;
    sluice_cgroup_each(root, "cpu", apply_quota, &topology->threads);
}

const int *sluice_topology_ties(const sluice_topology *topology, int threads)
{
    return topology->uneven && threads == topology->cores ? topology->core_processors : NULL;
}
