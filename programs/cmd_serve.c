/* sluice serve: the model behind HTTP, for clients of the OpenAI and Anthropic APIs.
 *
 * Options, start and end; everything between is in server/. The first SIGTERM or SIGINT drains:
 * nothing new is accepted, what runs is finished. The second one cancels what runs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "input.h"
#include "model_flags.h"
#include "output.h"
#include "server/access.h"
#include "server/http.h"
#include "server/replay.h"
#include "server/response_store.h"
#include "server/scheduler.h"
#include "server/settings.h"
#include "server/store.h"

typedef struct serve_args {
    cli_model_flags model;
    server_options server;
    const char *key_file;
} serve_args;

#define AT(field) offsetof(serve_args, server.field)
static const cli_option options[] = {
    {"host", 0, CLI_TEXT, "ADDRESS", AT(host), 0, 0,
     "Listen here (127.0.0.1). Anywhere but on this machine alone needs an API key."},
    {"port", 0, CLI_INTEGER, "N", AT(port), 0, 65535,
     "Listen on this port (8080); 0 is one that is free, which the first line tells."},
    {"api-key", 0, CLI_TEXT, "KEY", AT(api_key), 0, 0,
     "Ask every client for this key. Others on the machine can see it in the list of processes: "
     "SLUICE_API_KEY in the environment, or --api-key-file, are better places."},
    {"api-key-file", 0, CLI_TEXT, "FILE", offsetof(serve_args, key_file), 0, 0,
     "The same, from the first line of a file."},
    {"cors", 0, CLI_TEXT, "ORIGIN", AT(cors), 0, 0,
     "Let scripts of pages from this origin ask, such as http://localhost:3000; * is any (none)."},
    {"alias", 0, CLI_TEXT, "NAMES", AT(aliases), 0, 0,
     "Answer to these model names too, separated by commas; * is any name."},
    {"parallel", 0, CLI_INTEGER, "N", AT(parallel), 1, 256,
     "Requests that are answered at the same time (4); memory is set aside for each."},
    {"queue", 0, CLI_INTEGER, "N", AT(queue_max), 0, 65536,
     "Requests that may wait for that (64)."},
    {"slice", 0, CLI_INTEGER, "N", AT(slice), 64, 1 << 20,
     "Tokens of a prompt that are read between two tokens of others' answers, a multiple of 64 "
     "(256)."},
    {"keep", 0, CLI_SIZE, "SIZE", AT(keep_bytes), 0, 0,
     "Memory for the states of earlier conversations and prompts, within --memory (1GiB)."},
    {"no-keep", 0, CLI_FLAG, NULL, AT(no_keep), 0, 0, "Keep no states."},
    {"state", 0, CLI_TEXT, "DIR", AT(state), 0, 0,
     "Keep states, sampled answers and responses in this folder too, so that conversations go on "
     "from where they were after a restart (none)."},
    {"state-limit", 0, CLI_SIZE, "SIZE", AT(state_bytes), 0, 0,
     "What that folder may take (16GiB); the least recently used goes first."},
    {"connections", 0, CLI_INTEGER, "N", AT(connections_max), 1, 65536,
     "Connections that may be open at the same time (256)."},
    {"body", 0, CLI_SIZE, "SIZE", AT(body_bytes_max), 0, 0, "Largest request (32MiB)."},
    {"timeout", 0, CLI_INTEGER, "SECONDS", AT(timeout_s), 1, 86400,
     "Time that a client may take to send a request, or to take a piece of the answer (60)."},
    {"time-limit", 0, CLI_INTEGER, "SECONDS", AT(time_limit_s), 0, 604800,
     "Time that a request may take in all; its answer then ends where it is, as at max_tokens, and "
     "one that has not begun is refused (0: none)."},
    {"log-prompts", 0, CLI_FLAG, NULL, AT(log_prompts), 0, 0,
     "Write every prompt and answer to stderr."},
    {"quiet", 0, CLI_FLAG, NULL, AT(quiet), 0, 0, "Nothing on stderr but errors."},
    {0}};
static const cli_group groups[] = {{"Serving", options, 0},
                                   {"Model", cli_model_options, offsetof(serve_args, model)},
                                   {"Lossy", cli_lever_options, offsetof(serve_args, model)},
                                   {0}};

static int signals[2]; /* a pipe: one byte a signal */

static void on_signal(int number)
{
    int kept = errno;
    char byte = (char)number;
    ssize_t written = write(signals[1], &byte, 1);
    (void)written; /* a full pipe has said it already */
    errno = kept;
}

static int catch_signals(void)
{
    struct sigaction action;
    if (pipe2(signals, O_CLOEXEC | O_NONBLOCK) != 0)
        return cli_fail("no pipe for signals: %s", strerror(errno));
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    return CLI_OK;
}

/* Whether a signal came within so many milliseconds; negative: waits for one. */
static bool signalled(int wait_ms)
{
    struct pollfd look = {.fd = signals[0], .events = POLLIN};
    char byte;
    while (poll(&look, 1, wait_ms) < 0 && errno == EINTR)
        ;
    return read(signals[0], &byte, 1) == 1;
}

static void serve_until_told(server *s, server_http *http)
{
    while (!signalled(-1))
        ;
    if (!s->options.quiet) cli_note("finishing what runs; once more to stop now");
    server_scheduler_drain(s->scheduler);
    server_http_quiesce(http);
    while (!server_scheduler_is_idle(s->scheduler))
        if (signalled(50)) break;
}

static int serve(server *s)
{
    sluice_error err = {0};
    server_http *http;
    int port = s->options.port;
    int status = catch_signals();
    if (status != CLI_OK) return status;
    if (server_scheduler_start(s, &s->scheduler, &err) != SLUICE_OK) return cli_fail_error(&err);
    if (server_http_start(s, &http, &port, &err) == SLUICE_OK) {
        bool six = strchr(s->options.host, ':') != NULL;
        printf("listening on http://%s%s%s:%d\n", six ? "[" : "", s->options.host, six ? "]" : "",
               port);
        status = cli_output_flush();
        serve_until_told(s, http);
    } else {
        http = NULL;
        status = cli_fail_error(&err);
    }
    /* Connections wait for their jobs, so the jobs end first; connections may still ask about the
     * scheduler, so it goes last. */
    server_scheduler_cancel(s->scheduler);
    server_http_stop(http);
    server_store_close(s->store); /* all states are in their files before their snapshots go */
    s->store = NULL;
    server_scheduler_free(s->scheduler);
    return status;
}

/* The key's first line, without white space around it. */
static int read_key(const char *path, char **out)
{
    cli_bytes bytes = {0};
    int status = cli_read(path, &bytes);
    if (status != CLI_OK) return status;
    size_t end = bytes.length ? strcspn(bytes.bytes, "\r\n") : 0;
    *out = strndup(bytes.bytes ? bytes.bytes : "", end);
    free(bytes.bytes);
    return *out ? CLI_OK : cli_fail("not enough memory for the API key");
}

static int choose_key(serve_args *args, char **owned)
{
    server_options *o = &args->server;
    if (o->api_key && args->key_file)
        return cli_usage("--api-key and --api-key-file exclude each other");
    if (args->key_file) {
        int status = read_key(args->key_file, owned);
        if (status != CLI_OK) return status;
        o->api_key = *owned;
    }
    if (!o->api_key) o->api_key = getenv("SLUICE_API_KEY");
    if (o->api_key && !*o->api_key) return cli_usage("the API key is empty");
    if (!o->api_key && !server_access_is_loopback(o->host))
        return cli_usage("--host %s can be reached by others: it needs --api-key-file, --api-key "
                         "or SLUICE_API_KEY",
                         o->host);
    return CLI_OK;
}

/* The last part of a path; path loses slashes at its end. */
static const char *last_part(char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int open_and_serve(const char *model, char *path, serve_args *args)
{
    server s = {.options = args->server,
                .model = &args->model,
                .name = last_part(path),
                .started = time(NULL)};
    if (s.options.no_keep) s.options.keep_bytes = 0;
    /* Room for kept states, which must not depend on what the expert cache leaves. */
    bool keeps = s.options.keep_bytes > 0 || s.options.state;
    args->model.sessions = s.options.parallel + (keeps ? 2 : 0);
    int status = cli_engine_open(model, &args->model, s.options.quiet, &s.engine);
    if (status != CLI_OK) return status;
    s.tokenizer = sluice_engine_tokenizer(s.engine);
    s.info = sluice_engine_info(s.engine);
    sluice_error err = {0};
    if (s.options.state && server_store_open(s.options.state, s.options.state_bytes,
                                             server_identity(&s), &s.store, &err) == SLUICE_OK)
        s.replay = server_replay_new(s.store, s.info->vocab);
    else if (!s.options.state)
        s.replay = server_replay_new(NULL, s.info->vocab);
    if (s.replay) s.responses = server_response_store_new(s.store);
    if (!s.tokenizer)
        status = cli_fail("the model has no tokenizer.json");
    else if (err.code != SLUICE_OK)
        status = cli_fail_error(&err);
    else if (!s.responses)
        status = cli_fail("not enough memory for the server");
    else if (sluice_token_trie_new(s.tokenizer, &s.trie, &err) != SLUICE_OK)
        status = cli_fail_error(&err);
    else
        status = serve(&s);
    server_store_close(s.store);
    sluice_token_trie_free(s.trie);
    server_response_store_free(s.responses);
    server_replay_free(s.replay);
    sluice_engine_close(s.engine);
    return status;
}

static int run(int argc, char **argv)
{
    serve_args args = {.server = {.host = "127.0.0.1",
                                  .port = 8080,
                                  .parallel = 4,
                                  .queue_max = 64,
                                  .connections_max = 256,
                                  .slice = 256,
                                  .timeout_s = 60,
                                  .body_bytes_max = (uint64_t)32 << 20,
                                  .keep_bytes = (uint64_t)1 << 30,
                                  .state_bytes = (uint64_t)16 << 30}};
    const char *positional[CLI_POSITIONAL_MAX];
    char *key = NULL, *path = NULL;
    int status = cli_options_parse(&cli_command_serve, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (args.server.slice % 64 != 0)
        return cli_usage("--slice must be a multiple of 64, not %d", args.server.slice);
    status = choose_key(&args, &key);
    if (status == CLI_OK) status = cli_model_path(positional[0], &path);
    if (status == CLI_OK) status = open_and_serve(positional[0], path, &args);
    free(path);
    free(key);
    return status;
}

const cli_command cli_command_serve = {
    .name = "serve",
    .summary = "Serve a model over HTTP (OpenAI and Anthropic APIs)",
    .usage = "[MODEL] [options]",
    .description =
        "Answers /v1/chat/completions, /v1/completions, /v1/responses and /v1/models as OpenAI "
        "does, /v1/messages and /v1/messages/count_tokens as Anthropic does, and /tokenize, "
        "/detokenize, /tokenizer_info, /health and /metrics. Requests join a running batch, so "
        "that an expert is read once for "
        "all who need it. What a request asks for and sluice does not do is refused by name.\n"
        "Listens on this machine alone unless told otherwise. Logs hold no prompts unless asked. "
        "SIGTERM and Ctrl-C finish what runs and leave; a second one stops at once.",
    .examples = "sluice serve\n"
                "sluice serve models/nano --port 0 --parallel 8\n"
                "sluice serve --host 0.0.0.0 --api-key-file key.txt",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
