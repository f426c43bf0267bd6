/* The settings of the engine that change what the model answers. */
#ifndef SLUICE_PROGRAMS_SERVER_SETTINGS_H
#define SLUICE_PROGRAMS_SERVER_SETTINGS_H

#include <jansson.h>

#include "server/server.h"

/* For /v1/models: each with its value, and "lossy", the names of those that give up quality. */
json_t *server_settings_json(const server *s);

/* Of the model and these settings together: states of one identity fit no other. */
uint32_t server_identity(const server *s);

#endif
