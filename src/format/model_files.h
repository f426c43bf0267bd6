/* The files of a model folder besides its tensors: the config, tokenizer and chat template, which a
 * container keeps as they are. Internal to format/. */
#ifndef SLUICE_FORMAT_MODEL_FILES_H
#define SLUICE_FORMAT_MODEL_FILES_H

#include "format/source.h"

/* Copies those that exist. requantised: config.json loses its "quantization" entries, which would
 * no longer be true; otherwise it is kept byte for byte. */
sluice_status sluice_model_files_copy(const sluice_source *source, const char *to, bool requantised,
                                      sluice_error *err);

/* Bytes that the copies take. */
uint64_t sluice_model_files_bytes(const sluice_source *source);

#endif
