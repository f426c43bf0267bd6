/* Conversions of random models in a temporary folder, for tests: every failure fails the test. */
#ifndef SLUICE_TESTS_SUPPORT_CONVERSIONS_H
#define SLUICE_TESTS_SUPPORT_CONVERSIONS_H

#include "sluice/convert.h"
#include "support/random_source.h"

/* A test's own folder, for cmocka. */
int conversions_setup(void **state);
int conversions_teardown(void **state);
/* A name in that folder; stays valid to the end of the program. */
const char *conversions_path(const char *name);

/* A random model in the folder. */
const char *conversions_source(const char *name, random_source source);
/* 4 bits in groups of 64, three shards, one MTP layer. */
random_source conversions_usual(void);

void conversions_run(const char *source, const char *out, const sluice_convert_options *options);
/* Fails with this status and a sentence that has these words. */
void conversions_assert_refused(const char *source, const char *out,
                                const sluice_convert_options *options, sluice_status want,
                                const char *words);
/* All checksums of a container hold. */
void conversions_verify(const char *out);

#endif
