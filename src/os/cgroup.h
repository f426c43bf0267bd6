/* Control groups: where the limits of this process are kept, in version 1 or 2. */
#ifndef SLUICE_OS_CGROUP_H
#define SLUICE_OS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/* Called for each folder that holds limits of one controller, from the process's own group up to
 * the root of the hierarchy: a limit anywhere on the way binds. */
typedef void (*sluice_cgroup_visit)(void *context, const char *folder, bool v2);

/* controller: "memory", "cpu". root: "" for this machine, or a folder that holds a copy of /proc
 * and /sys (tests). Without control groups nothing is visited. */
void sluice_cgroup_each(const char *root, const char *controller, sluice_cgroup_visit visit,
                        void *context);

/* The number in folder/file; false if there is none ("max", no such file). With key, the number
 * behind that word in a file of "word number" lines. */
bool sluice_cgroup_number(const char *folder, const char *file, const char *key, uint64_t *value);

#endif
