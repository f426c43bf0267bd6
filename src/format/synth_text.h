/* The text files of a random container: config.json, and a tokenizer of single bytes. */
#ifndef SLUICE_FORMAT_SYNTH_TEXT_H
#define SLUICE_FORMAT_SYNTH_TEXT_H

#include "format/config.h"

sluice_status sluice_synth_write_text(const char *dir, const sluice_config *config,
                                      sluice_error *err);

#endif
