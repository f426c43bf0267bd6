/* Memory limits from /proc/meminfo and the memory controller of cgroup version 1 or 2. */
#include "os/memory_limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/cgroup.h"
#include "os/file.h"

/* A line "Name:   123 kB"; 0 if there is none. */
static uint64_t meminfo(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? (uint64_t)strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static void apply_group(void *context, const char *folder, bool v2)
{
    sluice_memory_limit *limit = context;
    uint64_t max, used = 0, cached = 0;
    if (!sluice_cgroup_number(folder, v2 ? "memory.max" : "memory.limit_in_bytes", NULL, &max))
        return;
    if (max >= limit->total_bytes) return; /* version 1 says "none" with a huge number */
    sluice_cgroup_number(folder, v2 ? "memory.current" : "memory.usage_in_bytes", NULL, &used);
    sluice_cgroup_number(folder, "memory.stat", v2 ? "inactive_file" : "total_inactive_file",
                         &cached);
    if (!limit->group_bytes || max < limit->group_bytes) limit->group_bytes = max;
    uint64_t held = used > cached ? used - cached : 0;
    uint64_t left = max > held ? max - held : 0;
    if (left < limit->usable_bytes) limit->usable_bytes = left;
}

sluice_status sluice_memory_limit_get(const char *root, sluice_memory_limit *limit,
                                      sluice_error *err)
{
    char path[4096], text[8192];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (!sluice_file_read_text(path, text, sizeof text))
        return sluice_fail(err, SLUICE_IO, "%s: cannot be read; say --memory SIZE instead", path);
    *limit = (sluice_memory_limit){.total_bytes = meminfo(text, "MemTotal:"),
                                   .available_bytes = meminfo(text, "MemAvailable:")};
    if (!limit->total_bytes || !limit->available_bytes)
        return sluice_fail(err, SLUICE_IO,
                           "%s: does not say MemTotal and MemAvailable; say --memory SIZE instead",
                           path);
    limit->usable_bytes = limit->available_bytes;
    sluice_cgroup_each(root, "memory", apply_group, limit);
    return SLUICE_OK;
}
