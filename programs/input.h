/* What commands read: whole files or stdin, and lists of token ids. */
#ifndef SLUICE_PROGRAMS_INPUT_H
#define SLUICE_PROGRAMS_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "sluice/text.h"

/* Bytes that were read; bytes[length] is NUL. Freed with free(bytes). */
typedef struct cli_bytes {
    char *bytes;
    size_t length;
} cli_bytes;

/* Reads a file, or stdin for "-", of at most 1 GiB. Tells what is wrong; an exit status. */
int cli_read(const char *path, cli_bytes *out);

/* Token ids freed with free(ids). */
typedef struct cli_ids {
    int32_t *ids;
    size_t count;
} cli_ids;

/* Reads "1,2,3", "1 2 3", or a JSON array "[1, 2, 3]"; list is "-" for stdin. An empty list is
 * refused unless may_be_empty. Tells what is wrong; an exit status. */
int cli_ids_read(const char *list, bool may_be_empty, cli_ids *out);

/* Refuses ids that the model does not have. */
int cli_ids_check(const int32_t *ids, size_t count, int32_t vocab);

#endif
