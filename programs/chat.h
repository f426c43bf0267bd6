/* The parts of "sluice chat".
 *
 * A conversation is held twice: as messages, which the family's template can render at any time,
 * and as the transcript, the exact tokens that the model has seen and said. A turn normally only
 * appends to the transcript, so that its cost is its own new tokens and earlier answers (with the
 * thinking that led to them) stay as they were sampled. When that does not fit the context, or the
 * system prompt changed, the messages are rendered anew, which leaves earlier thinking out. */
#ifndef SLUICE_PROGRAMS_CHAT_H
#define SLUICE_PROGRAMS_CHAT_H

#include <jansson.h>

#include "model_flags.h"
#include "sampling_flags.h"
#include "statistics.h"

typedef struct cli_chat {
    sluice_engine *engine;
    sluice_session *session;
    const sluice_tokenizer *tokenizer;
    const sluice_model_info *info;

    json_t *messages;         /* array of {"role", "content", "reasoning_content"?} */
    int32_t *transcript;      /* [context] */
    int32_t transcript_count; /* 0: to be rendered from the messages */

    bool thinking, thinking_hidden;
    cli_sampling_flags sampling;
    int32_t answer_max; /* tokens of an answer */
    uint64_t turns;     /* answered, in this run of the program */

    struct cli_remote *remote;   /* the server that answers instead (--server), or NULL; with it
                                    engine, session, tokenizer, info, transcript are not used */
    char remote_statistics[256]; /* of its last answer; "" before */

    bool color; /* stdout is a terminal */
    bool quiet;
    cli_statistics statistics; /* of the last answer */
    bool has_statistics;
} cli_chat;

/* chat_conversation.c: tells what is wrong; exit statuses. */
int cli_chat_open(cli_chat *chat);
void cli_chat_close(cli_chat *chat);
void cli_chat_forget(cli_chat *chat); /* everything but the system prompt */
int cli_chat_set_system(cli_chat *chat, const char *text, size_t length); /* empty: none */

/* Tokens in the order that the model is to see them. */
typedef struct cli_chat_prompt {
    int32_t *ids; /* freed with free() */
    int32_t count;
    int32_t kept; /* of them, from the front, are the transcript */
    bool thinking;
} cli_chat_prompt;

/* The tokens of the whole conversation, whose last message is the user's, up to the answer. */
int cli_chat_prompt_make(cli_chat *chat, cli_chat_prompt *prompt);

/* chat_answer.c: one turn. A turn that fails is told and leaves the conversation as it was. */
void cli_chat_answer(cli_chat *chat, const char *text, size_t length);

/* chat_remote_answer.c: the answer to the last message, from the server; an exit status. */
int cli_chat_answer_remote(cli_chat *chat);

/* chat_display.c: an answer on the screen, part by part. */
typedef struct cli_chat_display {
    const cli_chat *chat;
    cli_progress waiting; /* instead of hidden thinking */
    int part;             /* a sluice_reply_part, or -1 */
    bool started;         /* the part has shown something other than space */
    bool write_failed;
    int32_t hidden_tokens;
} cli_chat_display;
void cli_chat_display_begin(cli_chat_display *display, const cli_chat *chat);
void cli_chat_display_event(cli_chat_display *display, const sluice_reply_event *event);
void cli_chat_display_token(cli_chat_display *display);
void cli_chat_display_end(cli_chat_display *display);

/* chat_commands.c: a line that begins with "/". False: leave. */
bool cli_chat_command(cli_chat *chat, const char *line);

/* chat_file.c: conversation in FILE, the model's state in FILE.state. */
void cli_chat_save(cli_chat *chat, const char *path);
void cli_chat_load(cli_chat *chat, const char *path);

#endif
