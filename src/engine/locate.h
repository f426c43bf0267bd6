/* From what a user calls a model to the folder of a container.
 *
 * What: NULL is the bundled Nano (beside the program, in the checkout, or where it was installed);
 * a container is itself; a source folder is converted once into the user's cache folder, under a
 * name made of its path and of its files' names, sizes and times, so that a changed source is
 * converted anew. Processes that want the same one wait for each other.
 *
 * What it does not do: open the container, or delete old conversions. */
#ifndef SLUICE_ENGINE_LOCATE_H
#define SLUICE_ENGINE_LOCATE_H

#include "sluice/sluice.h"

/* Where a source folder's conversion belongs, freed with free(); nothing is created. */
sluice_status sluice_locate_cache(const char *source, char **path, sluice_error *err);

/* The user's folder for what can be made again: $XDG_CACHE_HOME/sluice or ~/.cache/sluice, freed
 * with free(); nothing is created. */
sluice_status sluice_locate_cache_home(char **path, sluice_error *err);

#endif
