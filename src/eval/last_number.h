/* The number that an answer to a sum ends with. Pure text. */
#ifndef SLUICE_EVAL_LAST_NUMBER_H
#define SLUICE_EVAL_LAST_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

enum { SLUICE_NUMBER_BYTES = 64 };

/* The last number of a text as plain digits: "-1,234.50 apples." gives "-1234.5", "$70" "70", "007"
 * "7", "-0" "0". Two numbers are equal if these are. false: there is none, or it has too many
 * digits for any sum. */
bool sluice_last_number(const char *text, size_t length, char number[SLUICE_NUMBER_BYTES]);

#endif
