/* A conversation to be answered, whatever API it came through: messages and tools in OpenAI's form,
 * checked, with text as the only content.
 *
 * chat_prompt.c turns it into a job: the family's template, the tokens of earlier answers as they
 * were sampled (replay.h), the grammar that the answer must follow. */
#ifndef SLUICE_PROGRAMS_SERVER_CHAT_H
#define SLUICE_PROGRAMS_SERVER_CHAT_H

#include "server/sampling.h"
#include "server/server.h"

typedef struct server_chat {
    json_t *messages; /* owned, as all below */
    json_t *tools;    /* NULL: none */
    sluice_tool_choice tool_choice;
    char *tool_name;
    bool single_call;
    sluice_answer_content format;
    char *schema; /* of SLUICE_ANSWER_SCHEMA or GBNF */
    bool thinking;
    server_sampling sampling;
    int64_t tokens_max;     /* 0: what the context leaves */
    int32_t top;            /* as of a job */
    server_job_request job; /* stops so far; server_chat_job makes the rest */
} server_chat;

void server_chat_free(server_chat *chat);

/* NULL: err says what is wrong. client: server_request_client. */
server_job *server_chat_job(server *s, server_chat *chat, uint64_t client, server_error *err);

/* The tokens of the prompt alone, and what the job needs to know of it. */
bool server_chat_prompt(server *s, const server_chat *chat, server_job_request *out,
                        server_error *err);

/* Whether id is a call of the last message that has any: what a tool's result must answer. */
bool server_chat_has_call(const json_t *messages, const char *id);
bool server_chat_has_tool(const server_chat *chat, const char *name);

/* Appends a message to a conversation; system messages at its beginning become one. */
void server_chat_append(server_chat *chat, json_t *message, server_error *err);

/* The text of content parts, joined, as a JSON string; place is for errors. Only the part types
 * that types names (NULL-ended) hold text; others are refused by name. */
json_t *server_chat_text(json_t *content, const char *place, const char *const *types,
                         server_error *err);

#endif
