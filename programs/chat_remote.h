/* A chat with a server's model instead of one in this process (sluice chat --server URL): any
 * server that speaks OpenAI's chat completions, streamed. Needs libcurl; without it opening fails
 * and says so. */
#ifndef SLUICE_PROGRAMS_CHAT_REMOTE_H
#define SLUICE_PROGRAMS_CHAT_REMOTE_H

#include "chat.h"

typedef struct cli_remote cli_remote;

/* Asks the server which models it has and takes the first. key: NULL for none. Tells what is wrong;
 * an exit status. */
int cli_remote_open(const char *url, const char *key, cli_remote **out);
void cli_remote_close(cli_remote *remote);
const char *cli_remote_model(const cli_remote *remote);

/* Sends request (released; "model" is filled in) and calls back for each piece of the answer, until
 * it ends or cli_interrupted. */
typedef struct cli_remote_answer {
    void (*on_piece)(void *context, const sluice_reply_event *event);
    void *context;
    const char *finish; /* "stop", "length", or "" if it was interrupted */
    int64_t prompt_tokens, cached_tokens, answer_tokens;
    double seconds, first_seconds; /* until it was over; until the first piece */
} cli_remote_answer;
int cli_remote_ask(cli_remote *remote, json_t *request, cli_remote_answer *answer);

#endif
