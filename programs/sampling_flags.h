/* The flags that choose how the next token is drawn, over defaults that a command chooses. */
#ifndef SLUICE_PROGRAMS_SAMPLING_FLAGS_H
#define SLUICE_PROGRAMS_SAMPLING_FLAGS_H

#include <math.h>

#include "options.h"
#include "sluice/sluice.h"

typedef struct cli_sampling_flags {
    float temperature, top_p, min_p, presence, frequency, repetition; /* NaN: not given */
    int32_t top_k;                                                    /* -1: not given */
    cli_seed seed;
} cli_sampling_flags;

#define CLI_SAMPLING_FLAGS_NONE                                                                    \
    {                                                                                              \
        .temperature = NAN, .top_p = NAN, .min_p = NAN, .presence = NAN, .frequency = NAN,         \
        .repetition = NAN, .top_k = -1                                                             \
    }

extern const cli_option cli_sampling_options[];

/* base, with what was given on the command line in its place. */
sluice_sampling cli_sampling(const cli_sampling_flags *flags, sluice_sampling base);

#endif
