/* Text in and out of a model: the tokenizer, the chat rendering and the reader of replies.
 *
 * Everything here works on bytes of UTF-8 with an explicit length; text may hold NUL bytes. Objects
 * that are const in a signature may be shared by any number of threads. */
#ifndef SLUICE_TEXT_H
#define SLUICE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes owned by the caller, freed with sluice_text_free; bytes[length] is NUL. */
typedef struct sluice_text {
    char *bytes;
    size_t length;
} sluice_text;

/* Token ids owned by the caller, freed with sluice_ids_free. */
typedef struct sluice_ids {
    int32_t *ids; /* never NULL after a success */
    size_t count;
} sluice_ids;

/* Bytes [begin, end) of a text. */
typedef struct sluice_span {
    size_t begin, end;
} sluice_span;

void sluice_text_free(sluice_text *text);
void sluice_ids_free(sluice_ids *ids);

/* A byte-level BPE tokenizer as Hugging Face tokenizers writes it (tokenizer.json): NFC or no
 * normaliser, Split and ByteLevel pre-tokenizers, added tokens, ByteLevel decoder. Immutable. */
typedef struct sluice_tokenizer sluice_tokenizer;

/* Reads a tokenizer.json. SLUICE_NOT_FOUND or SLUICE_IO: the file; SLUICE_CORRUPT: it contradicts
 * itself; SLUICE_UNSUPPORTED: it asks for something else than the above, which the error names. */
sluice_status sluice_tokenizer_open(const char *path, sluice_tokenizer **out, sluice_error *err);

/* The same from the file's bytes (not kept); name stands for the file in errors. */
sluice_status sluice_tokenizer_open_bytes(const char *name, const char *json, size_t length,
                                          sluice_tokenizer **out, sluice_error *err);
void sluice_tokenizer_close(sluice_tokenizer *tokenizer); /* NULL is allowed */

/* The highest id plus one. */
int32_t sluice_tokenizer_vocab(const sluice_tokenizer *tokenizer);

/* Which added tokens a text may turn into. */
typedef enum sluice_special {
    SLUICE_SPECIAL_NEVER,     /* none that is marked special: what text from a user needs */
    SLUICE_SPECIAL_EVERYWHERE /* all of them: what a prompt needs whose author is trusted */
} sluice_special;

/* Text to ids. SLUICE_BAD_INPUT: the text is not UTF-8 (the error names the byte);
 * SLUICE_LIMIT: over 1 GiB. out is zero after a failure. */
sluice_status sluice_tokenizer_encode(const sluice_tokenizer *tokenizer, const char *text,
                                      size_t length, sluice_special special, sluice_ids *out,
                                      sluice_error *err);

/* The same for a text whose parts differ in trust: an added token, special or not, is recognised
 * only where it lies entirely within one of the spans (sorted, not overlapping); elsewhere its
 * characters stay plain text. All else is as if the text were encoded as a whole. */
sluice_status sluice_tokenizer_encode_trusted(const sluice_tokenizer *tokenizer, const char *text,
                                              size_t length, const sluice_span *trusted,
                                              size_t trusted_count, sluice_ids *out,
                                              sluice_error *err);

/* Ids to UTF-8 text; bytes that are not UTF-8 become U+FFFD, one for each maximal ill-formed part.
 * An id that names no token adds nothing (a model may have more rows than its tokenizer). */
sluice_status sluice_tokenizer_decode(const sluice_tokenizer *tokenizer, const int32_t *ids,
                                      size_t count, bool skip_special, sluice_text *out,
                                      sluice_error *err);

/* The bytes of a token, owned by the tokenizer, possibly not UTF-8; NULL if the id names none. */
const char *sluice_tokenizer_token(const sluice_tokenizer *tokenizer, int32_t id, size_t *length);

/* The id of the token with this content (for example "<|im_end|>"), or -1. */
int32_t sluice_tokenizer_find(const sluice_tokenizer *tokenizer, const char *content);

bool sluice_tokenizer_is_special(const sluice_tokenizer *tokenizer, int32_t id);

/* A detokenizer turns a stream of ids into a stream of UTF-8: it holds back the bytes of a
 * character that is not complete yet. The pieces together equal sluice_tokenizer_decode. */
typedef struct sluice_detokenizer sluice_detokenizer;

/* The tokenizer must outlive it. */
sluice_status sluice_detokenizer_new(const sluice_tokenizer *tokenizer, bool skip_special,
                                     sluice_detokenizer **out, sluice_error *err);
void sluice_detokenizer_free(sluice_detokenizer *detokenizer);

/* The text that is complete after id, possibly empty; valid until the next call. */
sluice_status sluice_detokenizer_push(sluice_detokenizer *detokenizer, int32_t id,
                                      const char **text, size_t *length, sluice_error *err);

/* What was held back, as U+FFFD, and starts afresh; text is a static string. */
void sluice_detokenizer_finish(sluice_detokenizer *detokenizer, const char **text, size_t *length);

/* A rendered chat request. */
typedef struct sluice_prompt {
    sluice_text text;
    sluice_span *trusted; /* the template's own parts, for sluice_tokenizer_encode_trusted */
    size_t trusted_count;
    bool thinking; /* the text ends within <think>: the reply begins with reasoning */
} sluice_prompt;

/* Renders a request as the chat template of the Qwen3.5 family does. request is JSON:
 *   {"messages": [...], "tools"?: [...], "add_generation_prompt"?: false, "enable_thinking"?: true,
 *    "add_vision_id"?: false}; other members are ignored.
 * SLUICE_BAD_INPUT: not such JSON, or what the template refuses, and then the error's detail is
 * exactly the template's message. Numbers keep their value whatever their size and are written as
 * Python's json.dumps writes them. */
sluice_status sluice_chat_render(const char *request, size_t length, sluice_prompt *out,
                                 sluice_error *err);

/* The same for requests in OpenAI's form, where the arguments of earlier tool calls are a string of
 * JSON (the template itself accepts only an object). */
sluice_status sluice_chat_render_openai(const char *request, size_t length, sluice_prompt *out,
                                        sluice_error *err);
void sluice_prompt_free(sluice_prompt *prompt);

/* The tools of a request, as far as the reader of replies needs them. Immutable. */
typedef struct sluice_tools sluice_tools;

/* json: a request with a member "tools", or the array itself. No tools give an empty set. */
sluice_status sluice_tools_open(const char *json, size_t length, sluice_tools **out,
                                sluice_error *err);
void sluice_tools_close(sluice_tools *tools);

/* A reply, read as it comes: the inverse of the rendering. */
typedef enum sluice_reply_part {
    SLUICE_REPLY_REASONING, /* text: a piece of reasoning; the first is empty */
    SLUICE_REPLY_CONTENT,   /* text: a piece of the answer */
    SLUICE_REPLY_CALL,      /* text: the name of the function; a call begins */
    SLUICE_REPLY_ARGUMENTS, /* text: a piece of its arguments; the pieces together are JSON */
    SLUICE_REPLY_CALL_END   /* complete says whether the model wrote the call to its end */
} sluice_reply_part;

typedef struct sluice_reply_event {
    sluice_reply_part part;
    size_t call;      /* which call, from 0 */
    const char *text; /* valid during the callback */
    size_t length;
    bool complete;
} sluice_reply_event;

typedef void (*sluice_reply_fn)(void *context, const sluice_reply_event *event);
typedef struct sluice_reply_reader sluice_reply_reader;

/* tools may be NULL; otherwise it must outlive the reader. thinking: the text begins within <think>
 * (sluice_prompt.thinking). Each value of a call is coerced by the schema of its parameter: a
 * string stays as it is; what should be JSON and does not parse is kept as a string. */
sluice_status sluice_reply_reader_new(const sluice_tools *tools, bool thinking, sluice_reply_fn fn,
                                      void *context, sluice_reply_reader **out, sluice_error *err);

/* Text may be cut anywhere, even within a character. A tag is never reported as content, nor is
 * what might still become one. SLUICE_NO_MEMORY is the only failure; the reader is then useless. */
sluice_status sluice_reply_reader_feed(sluice_reply_reader *reader, const char *text, size_t length,
                                       sluice_error *err);

/* The text is over: reports what was held back, and an open call as incomplete. */
sluice_status sluice_reply_reader_finish(sluice_reply_reader *reader, sluice_error *err);
void sluice_reply_reader_free(sluice_reply_reader *reader);

typedef struct sluice_call {
    sluice_text name;
    sluice_text arguments; /* a JSON object, closed even if the call is incomplete */
    bool complete;
} sluice_call;

typedef struct sluice_reply {
    sluice_text content;
    sluice_text reasoning;
    bool has_reasoning; /* there was a reasoning part, if only an empty one */
    sluice_call *calls;
    size_t call_count;
} sluice_reply;

/* Reads a whole reply at once. */
sluice_status sluice_reply_read(const sluice_tools *tools, bool thinking, const char *text,
                                size_t length, sluice_reply *out, sluice_error *err);
void sluice_reply_free(sluice_reply *reply);

#ifdef __cplusplus
}
#endif
#endif
