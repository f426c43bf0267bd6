/* sluice_verify: every byte of a container against the checksums in its headers. */
#include "sluice/convert.h"

#include <stdlib.h>

#include "base/crc32c.h"
#include "format/container_meta.h"
#include "os/file.h"

#define CHUNK_BYTES ((size_t)4 << 20)

typedef struct verifier {
    const sluice_container *container;
    const sluice_verify_options *options;
    sluice_verify_report report;
    uint64_t bytes_total;
    unsigned char *buffer;
    sluice_error *err; /* holds the first bad place once there is one */
} verifier;

static bool found_bad(const verifier *run)
{
    return run->report.tensors_bad || run->report.records_bad;
}

static sluice_status checksum(verifier *run, int fd, const char *path, uint64_t offset,
                              uint64_t bytes, uint32_t *crc32c, sluice_error *err)
{
    const sluice_verify_options *options = run->options;
    *crc32c = 0;
    while (bytes) {
        size_t n = bytes < CHUNK_BYTES ? (size_t)bytes : CHUNK_BYTES;
        SLUICE_TRY(sluice_file_read(fd, path, offset, run->buffer, n, err));
        *crc32c = sluice_crc32c(*crc32c, run->buffer, n);
        offset += n;
        bytes -= n;
        run->report.bytes += n;
        if (options && options->progress &&
            !options->progress(options->context, run->report.bytes, run->bytes_total))
            return sluice_fail(err, SLUICE_CANCELLED, "%s: verifying was stopped", path);
    }
    return SLUICE_OK;
}

static sluice_status verify_trunk(verifier *run, int fd, const char *path, sluice_error *err)
{
    int32_t count = 0;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(run->container, &count);
    for (int32_t i = 0; i < count; i++) {
        uint32_t want = sluice_container_trunk_crc32c(run->container, i), got = 0;
        SLUICE_TRY(checksum(run, fd, path, tensors[i].offset, sluice_trunk_file_bytes(&tensors[i]),
                            &got, err));
        run->report.tensors++;
        if (got == want) continue;
        if (!found_bad(run))
            sluice_fail(run->err, SLUICE_CORRUPT,
                        "%s: tensor %s at offset %llu is damaged: checksum %08x, should be %08x; "
                        "convert again",
                        path, tensors[i].name, (unsigned long long)tensors[i].offset, (unsigned)got,
                        (unsigned)want);
        run->report.tensors_bad++;
    }
    return SLUICE_OK;
}

static sluice_status verify_layer(verifier *run, int fd, int32_t layer, sluice_error *err)
{
    const sluice_expert_file *file = sluice_container_experts(run->container, layer);
    for (int32_t e = 0; e < file->count; e++) {
        uint64_t offset = file->offset + (uint64_t)e * file->layout.bytes;
        uint32_t got = 0;
        SLUICE_TRY(checksum(run, fd, file->path, offset, file->layout.bytes, &got, err));
        run->report.records++;
        if (got == file->crc32c[e]) continue;
        if (!found_bad(run))
            sluice_fail(run->err, SLUICE_CORRUPT,
                        "%s: layer %d, expert %d at offset %llu is damaged: checksum %08x, should "
                        "be %08x; convert again",
                        file->path, layer, e, (unsigned long long)offset, (unsigned)got,
                        (unsigned)file->crc32c[e]);
        run->report.records_bad++;
    }
    return SLUICE_OK;
}

static sluice_status verify_files(verifier *run, sluice_error *err)
{
    const char *path = sluice_container_trunk_path(run->container);
    int fd = -1;
    SLUICE_TRY(sluice_file_open(path, &fd, NULL, err));
    sluice_status status = verify_trunk(run, fd, path, err);
    sluice_file_close(fd);
    for (int32_t i = 0; i < sluice_container_expert_layers(run->container); i++) {
        SLUICE_TRY(status);
        SLUICE_TRY(
            sluice_file_open(sluice_container_experts(run->container, i)->path, &fd, NULL, err));
        status = verify_layer(run, fd, i, err);
        sluice_file_close(fd);
    }
    return status;
}

static uint64_t total_bytes(const sluice_container *container)
{
    uint64_t bytes = 0;
    int32_t count = 0;
    const sluice_trunk_tensor *tensors = sluice_container_trunk(container, &count);
    for (int32_t i = 0; i < count; i++)
        bytes += sluice_trunk_file_bytes(&tensors[i]);
    for (int32_t i = 0; i < sluice_container_expert_layers(container); i++) {
        const sluice_expert_file *file = sluice_container_experts(container, i);
        bytes += (uint64_t)file->count * file->layout.bytes;
    }
    return bytes;
}

sluice_status sluice_verify(const char *dir, const sluice_verify_options *options,
                            sluice_verify_report *report, sluice_error *err)
{
    sluice_container *container = NULL;
    if (report) *report = (sluice_verify_report){0};
    SLUICE_TRY(sluice_container_open(dir, &container, err));
    sluice_error first = {0};
    verifier run = {.container = container,
                    .options = options,
                    .bytes_total = total_bytes(container),
                    .buffer = malloc(CHUNK_BYTES),
                    .err = &first};
    sluice_status status =
        run.buffer ? verify_files(&run, err)
                   : sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory to verify it", dir);
    if (status == SLUICE_OK && found_bad(&run)) {
        status = SLUICE_CORRUPT;
        if (err) *err = first;
    }
    if (report) *report = run.report;
    free(run.buffer);
    sluice_container_close(container);
    return status;
}
