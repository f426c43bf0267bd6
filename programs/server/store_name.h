/* Names of files in the folder of --state, and whole files of bytes in it; see store.h. */
#ifndef SLUICE_PROGRAMS_SERVER_STORE_NAME_H
#define SLUICE_PROGRAMS_SERVER_STORE_NAME_H

#include "server/store.h"

enum { SERVER_STORE_NAME_SIZE = 64 };

void server_store_name(const server_store_file *file, char name[SERVER_STORE_NAME_SIZE]);

/* False: the name is not ours. bytes and used are zero. */
bool server_store_name_read(const char *name, server_store_file *out);

/* What a write leaves behind that was cut off. */
bool server_store_name_is_temporary(const char *name);

#endif
