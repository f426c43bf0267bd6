/* The layout of a file of predictions (predictions.h draws it), for its reader and its writer. */
#ifndef SLUICE_EVAL_PREDICTIONS_LAYOUT_H
#define SLUICE_EVAL_PREDICTIONS_LAYOUT_H

#include "eval/predictions.h"

#define SLUICE_PREDICTIONS_MAGIC "sluicelp"
#define SLUICE_PREDICTIONS_VERSION 1
#define SLUICE_PREDICTIONS_CODE_MAX 65535

typedef struct sluice_predictions_header {
    char magic[8]; /* "sluicelp" */
    uint32_t version, fingerprint;
    char model[64];
    int32_t vocab, k, exact, window, stride, windows;
    uint64_t rows;
    uint32_t tables_crc; /* of windows and tokens; of tokens alone while it is being written */
    uint32_t levers, decode;
    uint32_t header_crc; /* of all before it */
} sluice_predictions_header;
_Static_assert(sizeof(sluice_predictions_header) == 128, "the header's layout is the file's");

typedef struct sluice_predictions_window {
    int32_t text, first;
    uint32_t crc, done; /* done: 0 in a complete file */
} sluice_predictions_window;

typedef struct sluice_predictions_row {
    float top, step, log_next;
    int32_t best;
} sluice_predictions_row;

struct sluice_predictions {
    char *path, *temporary; /* temporary: NULL when reading */
    int fd;
    sluice_predictions_header head;
    sluice_predictions_origin origin;
    const sluice_windows *windows;
    sluice_scores *scores;              /* when writing */
    int32_t done;                       /* windows, when writing */
    sluice_windows own;                 /* when reading */
    sluice_predictions_window *entries; /* [windows] */
    int64_t *first_rows;                /* [windows]: of the file's rows */
    uint32_t *crc;                      /* [windows], so far */
    uint64_t tokens_at, rows_at, row_bytes;
    unsigned char *row; /* [row_bytes] */
    double *log_p;      /* [vocab], when reading */
};

/* An object without a file; suffix, if not NULL, makes the temporary name. NULL without memory. */
sluice_predictions *sluice_predictions_new(const char *path, const char *suffix);

/* From the header's sizes: where the parts are, and memory for the tables. */
void sluice_predictions_lay_out(sluice_predictions *file);
sluice_status sluice_predictions_take_memory(sluice_predictions *file, sluice_error *err);

/* Reads a row into file->row and its head, from the file or from what is being written of it. */
sluice_status sluice_predictions_read_row(sluice_predictions *file, int32_t window, int32_t row,
                                          sluice_predictions_row *head, sluice_error *err);

uint64_t sluice_predictions_row_offset(const sluice_predictions *file, int32_t window, int32_t row);

#endif
