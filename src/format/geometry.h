/* Geometries of the published models, for those who have not downloaded one: synth makes a model of
 * random weights from them, plan predicts from them.
 *
 * What it does not do: weights, formats. A geometry is a sluice_config and nothing else. */
#ifndef SLUICE_FORMAT_GEOMETRY_H
#define SLUICE_FORMAT_GEOMETRY_H

#include "format/config.h"

/* name: "qwen3.5-397b", "qwen3.5-122b", "qwen3.5-35b", or the path of a config.json. layers and
 * vocab, if not 0, take the place of the geometry's own: layers repeat its pattern of mixers. There
 * is no MTP head. */
sluice_status sluice_geometry_load(const char *name, int32_t layers, int32_t vocab,
                                   sluice_config *config, sluice_error *err);

/* A config.json that sluice_config_parse reads back as the same sizes; freed with free(). */
sluice_status sluice_geometry_print(const sluice_config *config, char **json, sluice_error *err);

#endif
