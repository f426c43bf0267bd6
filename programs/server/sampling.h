/* Sampling as requests ask for it: what they leave out is the family's recommendation, and a
 * temperature of 0 alone is plain greedy. */
#ifndef SLUICE_PROGRAMS_SERVER_SAMPLING_H
#define SLUICE_PROGRAMS_SERVER_SAMPLING_H

#include "server/fields.h"
#include "server/job.h"

typedef struct server_sampling {
    double temperature, top_p, min_p, presence, frequency, repetition; /* NAN: not given */
    int64_t top_k, seed;                                               /* -1: not given */
} server_sampling;

/* The members that server_sampling_read reads, ended by NULL. */
extern const char *const server_sampling_names[];

void server_sampling_read(const server_fields *fields, server_sampling *out);
sluice_sampling server_sampling_resolve(const server_sampling *asked, sluice_sampling base);

/* Stop strings: member name, a string or an array of strings. */
void server_stops_read(const server_fields *fields, const char *name, server_job_request *out);

#endif
