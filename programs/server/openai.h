/* What the OpenAI APIs share: members of requests, usage, logprobs. */
#ifndef SLUICE_PROGRAMS_SERVER_OPENAI_H
#define SLUICE_PROGRAMS_SERVER_OPENAI_H

#include "server/answer.h"
#include "server/http.h"

/* Members that change nothing about the answer here (who asks, where it is billed). NULL-ended. */
extern const char *const server_openai_harmless[];

/* The member "model", if given, must be this server's. */
void server_check_model(const server *s, const server_fields *fields);

/* What only one setting of is supported: n, store, service_tier, ... */
void server_openai_check_fixed(const server_fields *fields);

/* Member name, how much to think: not at all, or as the model does. */
void server_openai_effort(const server_fields *fields, const char *name, bool *thinking);

json_t *server_openai_usage(int64_t prompt, int64_t cached, int64_t answer, int64_t reasoning);
const char *server_openai_finish(server_finish finish, bool has_calls);

/* [from, to) of the answer's tokens as logprobs.content has them. */
json_t *server_openai_logprobs(const server *s, const server_job *job, int32_t from, int32_t to);

/* A token's text, and its bytes as numbers. */
json_t *server_token_text(const server *s, int32_t token);
json_t *server_token_bytes(const server *s, int32_t token);

/* chat_request.c: fills *chat; err is set where it is refused. */
typedef struct server_openai_extra {
    bool stream, include_usage;
} server_openai_extra;
void server_openai_chat_read(const server *s, json_t *request, server_chat *chat,
                             server_openai_extra *extra, server_error *err);

void server_openai_chat(server_request *request);
void server_openai_completions(server_request *request);
void server_openai_responses(server_request *request);

#endif
