/* Folders: making them with their parents, and deleting what sluice itself has made. */
#ifndef SLUICE_OS_FOLDER_H
#define SLUICE_OS_FOLDER_H

#include "base/status.h"

/* Makes the folder and those above it; one that exists is fine. */
sluice_status sluice_folder_make(const char *path, sluice_error *err);

/* Deletes path and everything below it; never follows symbolic links or leaves the filesystem.
 * Only for folders that sluice itself has made. One that does not exist is fine. */
sluice_status sluice_folder_remove_tree(const char *path, sluice_error *err);

#endif
