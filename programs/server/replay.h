/* Replay: earlier answers of a conversation as the exact tokens that were sampled.
 *
 * A client sends back a whole conversation each turn, as text. Rendered anew it would differ from
 * what the model said (thinking is left out, a tool call is formatted again, text may be cut into
 * other tokens), and its state could not be used again. So each answer is remembered with the
 * messages that led to it; where a request begins with the same messages and the same answer, its
 * prompt begins with the same tokens, and only what follows is rendered.
 *
 * This decides what the prompt is, and does not depend on which states are kept. Thread-safe. */
#ifndef SLUICE_PROGRAMS_SERVER_REPLAY_H
#define SLUICE_PROGRAMS_SERVER_REPLAY_H

#include "server/chat.h"
#include "server/store.h"

typedef struct server_replay server_replay;

/* store: where answers are remembered across restarts, and read from now; NULL: nowhere. NULL: no
 * memory. */
server_replay *server_replay_new(server_store *store, int32_t vocab);
void server_replay_free(server_replay *replay);

/* Remembers tokens (prompt and answer) for chat's messages and the answer to them, in OpenAI's
 * form. Without memory it is forgotten at once. */
void server_replay_note(server_replay *replay, const server_chat *chat, json_t *answer,
                        const int32_t *prompt, size_t prompt_count, const int32_t *tokens,
                        size_t count);

/* The longest beginning of the conversation that is remembered: *at is the index of the answer that
 * ends it, *out its tokens (to be freed). False: none is. */
bool server_replay_find(server_replay *replay, const server_chat *chat, size_t *at,
                        sluice_ids *out);

#endif
