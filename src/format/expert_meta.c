/* The metadata of experts-NNN.safetensors; see container_meta.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/container_meta.h"
#include "format/json.h"
#include "format/safetensors_writer.h"

static const char *const part_names[3] = {"gate", "up", "down"};

static void part_shape(const sluice_config *config, int part, int32_t *rows, int32_t *cols)
{
    *rows = part == 2 ? config->hidden : config->expert_width;
    *cols = part == 2 ? config->expert_width : config->hidden;
}

void sluice_container_expert_file(int32_t layer, char *name, size_t bytes)
{
    snprintf(name, bytes, "experts-%03d.safetensors", layer);
}

void sluice_record_layout_make(const sluice_config *config, const sluice_weight_format format[3],
                               sluice_record_layout *layout)
{
    uint64_t offset[4] = {0};
    for (int part = 0; part < 3; part++) {
        int32_t rows, cols;
        part_shape(config, part, &rows, &cols);
        offset[part + 1] = offset[part] + sluice_weight_bytes(format[part], rows, cols);
    }
    *layout = (sluice_record_layout){.gate = format[0],
                                     .up = format[1],
                                     .down = format[2],
                                     .gate_offset = offset[0],
                                     .up_offset = offset[1],
                                     .down_offset = offset[2],
                                     .bytes = (offset[3] + SLUICE_CONTAINER_ALIGN - 1) &
                                              ~(SLUICE_CONTAINER_ALIGN - 1)};
}

/* One matrix of the record: format, shape and place. end is where the one before ended. */
static sluice_status read_part(const json_t *record, int part, const sluice_config *config,
                               const char *file, uint64_t record_bytes, uint64_t *end,
                               sluice_weight_format *format, uint64_t *offset, sluice_error *err)
{
    char where[160];
    snprintf(where, sizeof where, "%.120s: record: %s", file, part_names[part]);
    const json_t *entry = json_object_get(record, part_names[part]);
    const char *format_name = NULL;
    int64_t rows = 0, cols = 0, at = 0;
    int32_t want_rows, want_cols;
    part_shape(config, part, &want_rows, &want_cols);
    SLUICE_TRY(sluice_jansson_string(entry, "format", where, &format_name, err));
    SLUICE_TRY(sluice_jansson_int(entry, "rows", where, want_rows, want_rows, SLUICE_JSON_REQUIRED,
                                  &rows, err));
    SLUICE_TRY(sluice_jansson_int(entry, "cols", where, want_cols, want_cols, SLUICE_JSON_REQUIRED,
                                  &cols, err));
    SLUICE_TRY(
        sluice_jansson_int(entry, "offset", where, 0, INT64_MAX, SLUICE_JSON_REQUIRED, &at, err));
    SLUICE_TRY(sluice_weight_format_parse(format_name, format, err));
    SLUICE_TRY(sluice_weight_check(*format, rows, cols, where, err));
    uint64_t bytes = sluice_weight_bytes(*format, want_rows, want_cols);
    if (at % SLUICE_LINE_BYTES || (uint64_t)at < *end || (uint64_t)at > record_bytes ||
        bytes > record_bytes - (uint64_t)at)
        return sluice_fail(
            err, SLUICE_CORRUPT, "%s: %llu bytes at offset %lld do not fit a record of %llu", where,
            (unsigned long long)bytes, (long long)at, (unsigned long long)record_bytes);
    *offset = (uint64_t)at;
    *end = (uint64_t)at + bytes;
    return SLUICE_OK;
}

static sluice_status read_record(const sluice_safetensors *table, const char *file,
                                 const sluice_config *config, uint64_t record_bytes,
                                 sluice_record_layout *layout, sluice_error *err)
{
    const char *text = sluice_safetensors_metadata(table, "record");
    if (!text) return sluice_fail(err, SLUICE_CORRUPT, "%s: \"record\" is missing", file);
    json_t *record = NULL;
    SLUICE_TRY(sluice_jansson_parse(text, strlen(text), file, &record, err));
    uint64_t end = 0;
    layout->bytes = record_bytes;
    sluice_status status = read_part(record, 0, config, file, record_bytes, &end, &layout->gate,
                                     &layout->gate_offset, err);
    if (status == SLUICE_OK)
        status = read_part(record, 1, config, file, record_bytes, &end, &layout->up,
                           &layout->up_offset, err);
    if (status == SLUICE_OK)
        status = read_part(record, 2, config, file, record_bytes, &end, &layout->down,
                           &layout->down_offset, err);
    json_decref(record);
    return status;
}

/* "xxxxxxxx,xxxxxxxx,...", one checksum a record. */
static sluice_status read_checksums(const char *text, const char *file, int32_t count,
                                    uint32_t **crc32c, sluice_error *err)
{
    if (!text || strlen(text) != (size_t)count * 9 - 1)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: \"crc32c\" is not a list of %d checksums, one a record", file,
                           count);
    uint32_t *list = calloc((size_t)count, sizeof *list);
    if (!list) return sluice_fail(err, SLUICE_NO_MEMORY, "%s: no memory for its checksums", file);
    for (int32_t i = 0; i < count; i++) {
        int end = 0;
        if (sscanf(text + (size_t)i * 9, "%8" SCNx32 "%n", &list[i], &end) != 1 || end != 8 ||
            (i + 1 < count && text[(size_t)i * 9 + 8] != ',')) {
            free(list);
            return sluice_fail(err, SLUICE_CORRUPT,
                               "%s: \"crc32c\" of expert %d is not eight hexadecimal digits", file,
                               i);
        }
    }
    *crc32c = list;
    return SLUICE_OK;
}

sluice_status sluice_expert_meta_parse(const sluice_safetensors *table, const char *file,
                                       const sluice_config *config, int32_t layer,
                                       sluice_expert_file *experts, char *fingerprint,
                                       sluice_error *err)
{
    const char *format = sluice_safetensors_metadata(table, "format");
    const char *version = sluice_safetensors_metadata(table, "format_version");
    const char *print = sluice_safetensors_metadata(table, "fingerprint");
    if (!format || strcmp(format, "sluice") != 0 || !version)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: not an expert file of a sluice container",
                           file);
    if (strcmp(version, SLUICE_CONTAINER_VERSION) != 0)
        return sluice_fail(err, SLUICE_UNSUPPORTED,
                           "%s: container format version %.20s; this sluice reads version "
                           "%s: convert again",
                           file, version, SLUICE_CONTAINER_VERSION);
    char prefix[32], name[64];
    sluice_catalog_layer(config, layer, prefix, sizeof prefix);
    snprintf(name, sizeof name, "%smlp.experts.records", prefix);
    const sluice_safetensor *records = table->count == 1 ? table->tensors : NULL;
    if (!records || strcmp(records->name, name) != 0)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: does not hold the one tensor %s", file, name);
    if (records->dtype != SLUICE_DTYPE_U8 || records->dims != 2 ||
        records->shape[0] != config->experts)
        return sluice_fail(err, SLUICE_CORRUPT, "%s: tensor %s is not U8 [%d, bytes]", file, name,
                           config->experts);
    uint64_t bytes = (uint64_t)records->shape[1];
    if (!bytes || bytes % SLUICE_CONTAINER_ALIGN || records->offset % SLUICE_CONTAINER_ALIGN)
        return sluice_fail(err, SLUICE_CORRUPT,
                           "%s: records of %llu bytes from offset %llu are not aligned to 4096",
                           file, (unsigned long long)bytes, (unsigned long long)records->offset);
    sluice_expert_file read = {.offset = records->offset, .count = config->experts};
    SLUICE_TRY(read_record(table, file, config, bytes, &read.layout, err));
    SLUICE_TRY(read_checksums(sluice_safetensors_metadata(table, "crc32c"), file, read.count,
                              &read.crc32c, err));
    if (fingerprint) snprintf(fingerprint, SLUICE_FINGERPRINT_BYTES, "%s", print ? print : "");
    *experts = read;
    return SLUICE_OK;
}

static void print_part(FILE *out, const sluice_config *config, int part,
                       sluice_weight_format format, uint64_t offset)
{
    int32_t rows, cols;
    char name[24];
    part_shape(config, part, &rows, &cols);
    sluice_weight_format_name(format, name);
    fprintf(out, "%s\"%s\":{\"format\":\"%s\",\"rows\":%d,\"cols\":%d,\"offset\":%llu}",
            part ? "," : "{", part_names[part], name, rows, cols, (unsigned long long)offset);
}

sluice_status sluice_expert_meta_print(const sluice_config *config,
                                       const sluice_record_layout *layout, const uint32_t *crc32c,
                                       char **record, char **checksums, sluice_error *err)
{
    char *text = NULL, *list = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    bool good = out != NULL;
    if (good) {
        print_part(out, config, 0, layout->gate, layout->gate_offset);
        print_part(out, config, 1, layout->up, layout->up_offset);
        print_part(out, config, 2, layout->down, layout->down_offset);
        fputc('}', out);
        good = !ferror(out);
        good = fclose(out) == 0 && good;
    }
    if (good) list = malloc((size_t)config->experts * 9 + 1);
    if (!good || !list) {
        free(text);
        return sluice_fail(err, SLUICE_NO_MEMORY, "no memory for the metadata of a layer");
    }
    for (int32_t i = 0; i < config->experts; i++)
        snprintf(list + (size_t)i * 9, 10, "%08x,", (unsigned)crc32c[i]);
    list[(size_t)config->experts * 9 - 1] = '\0';
    *record = text;
    *checksums = list;
    return SLUICE_OK;
}
