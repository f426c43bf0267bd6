/* What the expert cache has to know of a container: where the records of each layer are. */
#ifndef SLUICE_MODEL_EXPERT_LAYERS_H
#define SLUICE_MODEL_EXPERT_LAYERS_H

#include "base/status.h"
#include "experts/experts.h"
#include "format/container.h"

/* One entry a layer, freed by the caller with free(); paths and checksums stay the container's. */
sluice_status sluice_expert_layers(const sluice_container *container, sluice_experts_layer **out,
                                   sluice_error *err);

#endif
