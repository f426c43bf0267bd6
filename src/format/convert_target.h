/* What format a conversion is asked for, and what becomes of a matrix by it. Internal to format/.
 */
#ifndef SLUICE_FORMAT_CONVERT_TARGET_H
#define SLUICE_FORMAT_CONVERT_TARGET_H

#include "format/source.h"

typedef struct sluice_target {
    bool keep;     /* the source's own format */
    uint8_t bits;  /* 16: bf16 */
    uint8_t group; /* 0: 64, or what divides the columns */
    double mix;    /* not 0: bits of each matrix are chosen so that this is their mean */
} sluice_target;

/* "q4", "q4/32", "bf16", and where mixes are allowed "mix:3.5", "mix:3.5/32"; NULL: keep. Anything
 * else is SLUICE_USAGE; option is for the message. */
sluice_status sluice_target_parse(const char *text, const char *option, bool mixes,
                                  sluice_target *out, sluice_error *err);

/* The format of a matrix: not of a mix, which knows its bits first. careful: never below 8 bits. */
sluice_weight_format sluice_target_choose(const sluice_source_matrix *from, sluice_target to,
                                          bool careful);

#endif
