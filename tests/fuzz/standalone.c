/* A stand-in for libFuzzer's main: gives every file of the named folders and files to the fuzz
 * target once, so that the committed corpus is a regression test in every build and with every
 * compiler. It finds nothing new, and it fails when it finds no input at all: a corpus that
 * vanished must not look like a passed test. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs_run;

static int run_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    /* malloc of the exact size, so that a sanitizer sees a read past the end. */
    uint8_t *data = malloc(size ? size : 1);
    int ok = file && data && fread(data, 1, size, file) == size;
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
        inputs_run++;
    } else {
        fprintf(stderr, "%s: cannot read: %s\n", path, strerror(errno));
    }
    free(data);
    if (file) fclose(file);
    return ok ? 0 : -1;
}

static int run_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        fprintf(stderr, "%s: cannot open: %s\n", folder, strerror(errno));
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[4096];
        struct stat info;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && run_file(path, (size_t)info.st_size))
            result = -1;
    }
    closedir(dir);
    return result;
}

int main(int argc, char **argv)
{
    int result = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info)) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
            result = -1;
        } else if (S_ISDIR(info.st_mode) ? run_folder(argv[i])
                                         : run_file(argv[i], (size_t)info.st_size)) {
            result = -1;
        }
    }
    if (inputs_run == 0) {
        fprintf(stderr, "no input was found: name the folder of the corpus\n");
        result = -1;
    }
    printf("%zu inputs run\n", inputs_run);
    return result ? EXIT_FAILURE : EXIT_SUCCESS;
}
