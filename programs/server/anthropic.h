/* The Anthropic API: /v1/messages and /v1/messages/count_tokens. */
#ifndef SLUICE_PROGRAMS_SERVER_ANTHROPIC_H
#define SLUICE_PROGRAMS_SERVER_ANTHROPIC_H

#include "server/answer.h"
#include "server/http.h"

/* anthropic_request.c: fills *chat; err is set where the request is refused. counting: of
 * count_tokens, which has no max_tokens. */
void server_anthropic_read(const server *s, json_t *request, bool counting, server_chat *chat,
                           bool *stream, server_error *err);

void server_anthropic_messages(server_request *request);
void server_anthropic_count(server_request *request);

#endif
