/* An answer, read while its job runs: what it has said so far, sorted into reasoning, content and
 * calls. Every API shows it in its own way. */
#ifndef SLUICE_PROGRAMS_SERVER_ANSWER_H
#define SLUICE_PROGRAMS_SERVER_ANSWER_H

#include <time.h>

#include "server/chat.h"
#include "server/http.h"

enum { SERVER_ID_SIZE = 40, SERVER_QUIET_MS = 10000 };

typedef struct server_answer server_answer;

/* Each event as it comes, after it was noted in the answer. */
typedef void (*server_answer_fn)(void *context, const server_answer *answer,
                                 const sluice_reply_event *event);

typedef struct server_call {
    char id[SERVER_ID_SIZE];
    server_buffer name, arguments;
    bool complete;
} server_call;

struct server_answer {
    server *server;
    server_job *job;
    server_chat chat;
    int socket;
    time_t created;
    sluice_tools *tools;
    sluice_reply_reader *reader;
    server_answer_fn listener; /* may be NULL */
    void *context;
    const char *call_prefix; /* of the ids of calls */
    int32_t tokens_seen;
    size_t text_seen;

    server_buffer content, reasoning;
    bool has_reasoning;
    server_call *calls;
    size_t n_calls, calls_room;
    bool over; /* the fields below are set */
    server_finish finish;
    int32_t cached, prompt_count, count, reasoning_count;
    const char *stop; /* the stop string that was found, or NULL */
};

/* prefix and random letters. */
void server_id(char id[SERVER_ID_SIZE], const char *prefix);

/* Makes the job, submits it and begins to read it. Takes over chat. NULL: the request's error is
 * set. */
server_answer *server_answer_open(server_request *request, server_chat *chat,
                                  const char *call_prefix);
void server_answer_close(server_answer *answer); /* a job that still runs is cancelled */

/* Waits for more and takes it in. GONE: the client is; nothing more can be done for it. */
server_wait server_answer_step(server_answer *answer);

/* Until it is over. False: the client is gone. */
bool server_answer_wait(server_answer *answer);

/* The answer as a message in OpenAI's form. */
json_t *server_answer_message(const server_answer *answer);

#endif
