/* sluice chat: a conversation with a model, on a terminal or through a pipe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "chat.h"
#include "chat_line.h"
#include "chat_remote.h"
#include "commands.h"
#include "interrupt.h"

typedef struct chat_args {
    cli_model_flags model;
    cli_sampling_flags sampling;
    const char *system, *think, *server;
    int32_t answer_max;
    bool quiet;
} chat_args;

static const cli_option options[] = {
    {"system", 0, CLI_TEXT, "TEXT", offsetof(chat_args, system), 0, 0, "The system prompt (none)."},
    {"think", 0, CLI_CHOICE, "on|off|hide", offsetof(chat_args, think), 0, 0,
     "Think before answering: shown, not at all, or hidden (on)."},
    {"server", 0, CLI_TEXT, "URL", offsetof(chat_args, server), 0, 0,
     "Talk with the model of a server, such as http://127.0.0.1:8080, instead of a MODEL; its key, "
     "if it wants one, is in SLUICE_API_KEY."},
    {"tokens", 'n', CLI_INTEGER, "N", offsetof(chat_args, answer_max), 1, INT32_MAX,
     "Tokens of an answer at most (until the context is full)."},
    {"quiet", 0, CLI_FLAG, NULL, offsetof(chat_args, quiet), 0, 0, "Nothing on stderr but errors."},
    {0}};
static const cli_group groups[] = {
    {"Conversation", options, 0},
    {"Sampling", cli_sampling_options, offsetof(chat_args, sampling)},
    {"Model", cli_model_options, offsetof(chat_args, model)},
    {"Lossy", cli_lever_options, offsetof(chat_args, model)},
    {0}};

static bool is_blank(const cli_message *message)
{
    return strspn(message->text, " \t\r\n") == message->length;
}

/* Reads and answers until the end. */
static int converse(cli_chat *chat, cli_line_reader *reader)
{
    for (;;) {
        cli_message message;
        cli_line_result result = cli_message_read(reader, &message);
        if (result == CLI_LINE_END) break;
        if (result == CLI_LINE_NO_MEMORY) return cli_fail("not enough memory for a message");
        if (result == CLI_LINE_INTERRUPTED) {
            if (!chat->quiet) cli_note("Ctrl-D or /quit leaves");
            continue;
        }
        bool stay = true;
        if (!message.block && message.text[0] == '/')
            stay = cli_chat_command(chat, message.text);
        else if (!is_blank(&message))
            cli_chat_answer(chat, message.text, message.length);
        free(message.text);
        if (cli_output_flush() != CLI_OK) break;
        if (!stay) break;
    }
    return cli_output_finish();
}

/* engine or remote; the other one is NULL. */
static int chat_with(sluice_engine *engine, cli_remote *remote, const char *name,
                     const chat_args *args)
{
    cli_chat chat = {.engine = engine,
                     .remote = remote,
                     .sampling = args->sampling,
                     .answer_max = args->answer_max,
                     .quiet = args->quiet,
                     .color = isatty(STDOUT_FILENO) != 0};
    chat.thinking = !args->think || strcmp(args->think, "off") != 0;
    chat.thinking_hidden = args->think && strcmp(args->think, "hide") == 0;
    if (!chat.sampling.seed.given) {
        chat.sampling.seed.given = true;
        if (getrandom(&chat.sampling.seed.value, sizeof chat.sampling.seed.value, 0) < 0)
            chat.sampling.seed.value = 0;
    }
    int status = cli_chat_open(&chat);
    if (status != CLI_OK) return status;
    if (args->system) status = cli_chat_set_system(&chat, args->system, strlen(args->system));
    cli_line_reader *reader = status == CLI_OK ? cli_line_reader_open() : NULL;
    if (reader) {
        bool greet = !chat.quiet && isatty(STDIN_FILENO);
        if (greet && remote)
            cli_note("chatting with %s at %s\n/help lists commands, Ctrl-D leaves", name,
                     args->server);
        else if (greet)
            cli_note(
                "chatting with %s, %d layers of %d experts\n/help lists commands, Ctrl-D leaves",
                name, chat.info->layers, chat.info->experts);
        cli_interrupt_catch(false);
        status = converse(&chat, reader);
        cli_line_reader_close(reader);
    } else if (status == CLI_OK) {
        status = cli_fail("not enough memory for reading lines");
    }
    cli_chat_close(&chat);
    return status;
}

/* What the user calls the model: the last part of the path. */
static const char *model_name(const char *model, char *name, size_t size)
{
    if (!model) return "Nano";
    size_t end = strlen(model), begin;
    while (end > 1 && model[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && model[begin - 1] != '/'; begin--)
        continue;
    snprintf(name, size, "%.*s", (int)(end - begin), model + begin);
    return name;
}

/* No flag is accepted and then ignored: those of the engine are for the server's command line. */
static int chat_with_server(const char *model, const chat_args *args)
{
    static const cli_model_flags none;
    cli_remote *remote = NULL;
    if (model) return cli_usage("--server and MODEL exclude each other");
    if (memcmp(&args->model, &none, sizeof none) != 0)
        return cli_usage("--server: options of the model are for 'sluice serve'");
    cli_interrupt_catch(false);
    int status = cli_remote_open(args->server, getenv("SLUICE_API_KEY"), &remote);
    if (status != CLI_OK) return status;
    status = chat_with(NULL, remote, cli_remote_model(remote), args);
    cli_remote_close(remote);
    return status;
}

static int run(int argc, char **argv)
{
    chat_args args = {.answer_max = INT32_MAX, .sampling = CLI_SAMPLING_FLAGS_NONE};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_chat, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    if (args.server) return chat_with_server(positional[0], &args);
    char name[64];
    sluice_engine *engine;
    status = cli_engine_open(positional[0], &args.model, args.quiet, &engine);
    if (status != CLI_OK) return status;
    status = chat_with(engine, NULL, model_name(positional[0], name, sizeof name), &args);
    sluice_engine_close(engine);
    return status;
}

const cli_command cli_command_chat = {
    .name = "chat",
    .summary = "Talk with a model",
    .usage = "[MODEL] [options]",
    .description =
        "An interactive conversation, with editing, history and answers as they are generated. "
        "Ctrl-C stops an answer, Ctrl-D leaves, /help lists the commands: /new /system /think "
        "/temp "
        "/stats /save /load /quit. Only the new tokens of a turn are run through the model.\n"
        "Sampling is what the family recommends, with and without thinking; the flags below "
        "replace "
        "parts of it. Without --seed every run differs. Input from a pipe works too: one message a "
        "line.",
    .examples = "sluice chat\n"
                "sluice chat ~/models/qwen3.5-397b.sluice --memory 48GiB --think hide\n"
                "sluice chat --server http://127.0.0.1:8080\n"
                "echo 'What is the capital of France?' | sluice chat --think off --temp 0",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
