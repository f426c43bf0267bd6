/* What is wrong with a request, before any API has given it its shape. The first error counts:
 * readers of a request go on past it without harm and do not overwrite it. */
#ifndef SLUICE_PROGRAMS_SERVER_ERROR_H
#define SLUICE_PROGRAMS_SERVER_ERROR_H

#include <jansson.h>
#include <stdbool.h>

#include "sluice/status.h"

typedef enum server_api { SERVER_API_OPENAI, SERVER_API_ANTHROPIC } server_api;

typedef struct server_error {
    int status;       /* of HTTP; 0: nothing is wrong */
    const char *code; /* OpenAI's, a static string; may be NULL */
    char param[96];   /* the member at fault, "messages[2].content"; may be empty */
    char message[640];
} server_error;

/* Sets *err unless it is set; always returns false. param may be NULL. */
bool server_error_set(server_error *err, int status, const char *code, const char *param,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same from a library's error. */
bool server_error_from(server_error *err, const sluice_error *from);

/* As the API's clients expect it; NULL without memory. */
json_t *server_error_json(server_api api, const server_error *err);

/* The API's own status for "too busy" is not HTTP's: 529 for Anthropic. */
int server_error_status(server_api api, const server_error *err);

#endif
