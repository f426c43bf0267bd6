/* What a confined child gives up before exec (see confined.h). Called between fork and exec:
 * nothing here allocates. */
#ifndef SLUICE_OS_CONFINED_GUARD_H
#define SLUICE_OS_CONFINED_GUARD_H

#include <stdbool.h>

/* Both return 0, or an errno code. The process must have set PR_SET_NO_NEW_PRIVS. */

/* Writing, making and removing files: below folder alone, and /dev/null. ENOSYS or EOPNOTSUPP: this
 * kernel has no Landlock. */
int sluice_guard_files(const char *folder);

/* System calls: see confined_guard.c for the list. ENOSYS: not on this processor. */
int sluice_guard_calls(void);

/* Whether the kernel has Landlock. */
bool sluice_guard_files_possible(void);

#endif
