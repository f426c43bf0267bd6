/* OpenAI's Responses API: /v1/responses.
 *
 * responses_request.c turns the request's items into a conversation, responses.c collects the
 * answer as items, responses_events.c tells of them as they come, response_store.c remembers
 * conversations for previous_response_id. */
#ifndef SLUICE_PROGRAMS_SERVER_RESPONSES_H
#define SLUICE_PROGRAMS_SERVER_RESPONSES_H

#include "server/answer.h"
#include "server/http.h"

/* What a request asks for beside the conversation itself. */
typedef struct server_responses_asked {
    bool stream, store;
    char *previous; /* owned, as below; NULL: none */
    /* The conversation without the instructions, which hold for one response: messages in OpenAI's
     * chat form. */
    json_t *history;
    json_t *echo; /* members that the response repeats */
} server_responses_asked;

/* err is set where the request is refused; free in either case. */
void server_responses_read(server *s, json_t *request, server_chat *chat,
                           server_responses_asked *asked, server_error *err);
void server_responses_asked_free(server_responses_asked *asked);

typedef enum server_item_kind {
    SERVER_ITEM_REASONING,
    SERVER_ITEM_MESSAGE,
    SERVER_ITEM_CALL
} server_item_kind;

typedef struct server_item {
    server_item_kind kind;
    server_buffer text; /* of reasoning or message, arguments of a call */
    size_t call;        /* which of the answer's calls */
    bool ended, whole;  /* whole: not cut off by a limit */
} server_item;

typedef struct server_response {
    server_answer *answer;
    server_responses_asked asked;
    char id[SERVER_ID_SIZE];
    server_item *items; /* [n_items] */
    size_t n_items, items_room;
    bool failed; /* no memory */

    /* Of a stream. */
    server_buffer *out; /* while a step runs; NULL: nothing is to be told */
    int64_t sequence;
    bool begun;
} server_response;

/* The item as JSON, as far as it is known; with everything empty, as when it begins, if not whole.
 */
json_t *server_item_json(const server_response *r, size_t index, bool whole);
const char *server_item_id(const server_response *r, size_t index, char id[SERVER_ID_SIZE + 24]);

/* status: "in_progress", "completed", "incomplete" or "failed". */
json_t *server_response_json(const server_response *r, const char *status);
const char *server_response_status(const server_response *r, server_error *err);

/* The item that is open, if any, is over. */
void server_response_end_item(server_response *r, bool whole);

/* Remembers the conversation with its answer, if it is to be stored and came to an end. */
void server_response_remember(const server_response *r);
void server_response_close(server_response *r);

/* responses_events.c. The answer's events come one by one; item is its index. */
void server_events_item_begins(server_response *r, size_t item);
void server_events_item_grows(server_response *r, size_t item, const char *text, size_t length);
void server_events_item_ends(server_response *r, size_t item);
void server_answer_response_events(server_request *request, server_response *r);

#endif
