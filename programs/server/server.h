/* What the parts of "sluice serve" share: the model, the options, the counters.
 *
 * Threads: libmicrohttpd gives each connection one, which parses, renders and waits; one more, the
 * engine's, runs steps (scheduler.h) and is the only one to touch engine and sessions. Tokenizer
 * and model information are immutable and shared. */
#ifndef SLUICE_PROGRAMS_SERVER_SERVER_H
#define SLUICE_PROGRAMS_SERVER_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "server/histogram.h"
#include "sluice/grammar.h"
#include "sluice/sluice.h"

typedef struct server_options {
    const char *host, *api_key, *cors, *aliases, *state;
    int32_t port, parallel, queue_max, connections_max, slice, timeout_s, time_limit_s;
    uint64_t body_bytes_max, keep_bytes, state_bytes;
    bool no_keep, log_prompts, quiet;
} server_options;

/* Counted by whoever sees it happen. */
typedef struct server_counters {
    atomic_ullong requests, errors_client, errors_server, cancelled;
    atomic_ullong prompt_tokens, cached_tokens, answer_tokens;
    server_histogram queued, first_token, answered; /* from a request's arrival on */
} server_counters;

struct server_scheduler;
struct server_replay;
struct server_response_store;
struct server_store;

typedef struct server {
    server_options options;
    const struct cli_model_flags *model; /* as the engine was opened */
    const char *name; /* of the model, as clients say it: the last part of its path */
    sluice_engine *engine;
    const sluice_tokenizer *tokenizer;
    const sluice_model_info *info;
    sluice_token_trie *trie;
    struct server_scheduler *scheduler;
    struct server_replay *replay;
    struct server_response_store *responses;
    struct server_store *store; /* NULL: nothing outlives the server */
    time_t started;
    server_counters counters;
} server;

/* Whether a request's "model" names this server's. */
bool server_answers_to(const server *s, const char *model);

#endif
