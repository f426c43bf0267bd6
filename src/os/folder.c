/* Folders by POSIX calls. */
#include "os/folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "os/file.h"

sluice_status sluice_folder_make(const char *path, sluice_error *err)
{
    char *part = strdup(path);
    if (!part) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its name", path);
    sluice_status status = SLUICE_OK;
    for (char *end = part; *end && status == SLUICE_OK;) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        char kept = *end;
        *end = 0;
        if (mkdir(part, 0777) && errno != EEXIST)
            status = sluice_file_fail(err, errno, part, "this folder cannot be made");
        else if (!sluice_file_is_dir(part))
            status = sluice_file_fail(err, ENOTDIR, part, "this folder cannot be made");
        *end = kept;
    }
    free(part);
    return status;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path) && errno != ENOENT ? -1 : 0;
}

sluice_status sluice_folder_remove_tree(const char *path, sluice_error *err)
{
    struct stat info;
    if (lstat(path, &info) && errno == ENOENT) return SLUICE_OK;
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT))
        return sluice_file_fail(err, errno, path, "cannot be deleted");
    return SLUICE_OK;
}
