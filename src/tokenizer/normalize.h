/* Unicode normalisation form C. */
#ifndef SLUICE_TOKENIZER_NORMALIZE_H
#define SLUICE_TOKENIZER_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "tokenizer/text_buffer.h"

/* Whether valid UTF-8 is in form C for certain: every character is below U+0300. */
bool sluice_nfc_is_certain(const char *text, size_t length);

/* Appends the form C of valid UTF-8. Takes time linear in the text whatever it holds (runs of
 * combining marks included) and sixteen bytes of memory for each character. */
sluice_status sluice_nfc_append(const char *text, size_t length, sluice_text_buffer *to,
                                sluice_error *err);

#endif
