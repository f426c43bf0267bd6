/* Any bytes as a file of predictions. The checksums of header and tables are put right first, or
 * nothing would get past them: what they protect must hold without them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "eval/predictions_layout.h"

#define BYTES_MAX (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_right(uint8_t *bytes, size_t size)
{
    sluice_predictions_header h;
    if (size < sizeof h) return;
    memcpy(&h, bytes, sizeof h);
    if (h.windows > 0 && h.window > 0 && h.windows < BYTES_MAX && h.window < BYTES_MAX) {
        size_t entries = (size_t)h.windows * sizeof(sluice_predictions_window);
        size_t tokens = (size_t)h.windows * (size_t)h.window * sizeof(int32_t);
        if (entries + tokens <= size - sizeof h)
            h.tables_crc = sluice_crc32c(0, bytes + sizeof h, entries + tokens);
    }
    h.header_crc = sluice_crc32c(0, &h, offsetof(sluice_predictions_header, header_crc));
    memcpy(bytes, &h, sizeof h);
}

static void read_rows(sluice_predictions *file)
{
    const sluice_windows *w = sluice_predictions_windows(file);
    int32_t vocab = sluice_predictions_made_by(file)->vocab;
    for (int32_t i = 0; i < w->count; i++)
        for (int32_t row = w->windows[i].first; row < w->window - 1; row++) {
            sluice_prediction p;
            if (sluice_predictions_get(file, i, row, &p, NULL) != SLUICE_OK) return;
            if (p.best < 0 || p.best >= vocab) abort();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    sluice_predictions *file = NULL;
    int fd = memfd_create("predictions", 0);
    uint8_t *bytes = malloc(size + 1);
    if (size > BYTES_MAX || fd < 0 || !bytes) goto done;
    memcpy(bytes, data, size);
    put_right(bytes, size);
    if (write(fd, bytes, size) != (ssize_t)size) goto done;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (sluice_predictions_open(path, &file, NULL) == SLUICE_OK) read_rows(file);
done:
    sluice_predictions_close(file);
    free(bytes);
    if (fd >= 0) close(fd);
    return 0;
}
