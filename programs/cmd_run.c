/* sluice run: one generation, from a text, from token ids or from a chat request.
 *
 * Text appears as it is generated. Special tokens come only from the template (--chat) or from a
 * text whose author is trusted by --special. What keeps a conversation is cmd_chat.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sampling_flags.h"
#include "statistics.h"

typedef struct run_args {
    cli_model_flags model;
    cli_output_flags output;
    cli_sampling_flags sampling;
    const char *prompt, *ids, *chat;
    int32_t tokens_max;
    bool special, ignore_stop;
} run_args;

static const cli_option options[] = {
    {"prompt", 'p', CLI_TEXT, "TEXT", offsetof(run_args, prompt), 0, 0,
     "Go on with this text; - reads it from stdin."},
    {"ids", 0, CLI_TEXT, "LIST", offsetof(run_args, ids), 0, 0,
     "Go on with these token ids, such as 1,2,3; - reads them from stdin."},
    {"chat", 0, CLI_TEXT, "FILE", offsetof(run_args, chat), 0, 0,
     "Answer a chat request: JSON with \"messages\" and, if wanted, \"tools\" and "
     "\"enable_thinking\" (see 'sluice render --help'); - is stdin."},
    {"tokens", 'n', CLI_INTEGER, "N", offsetof(run_args, tokens_max), 0, INT32_MAX,
     "Generate at most N tokens (256)."},
    {"special", 0, CLI_FLAG, NULL, offsetof(run_args, special), 0, 0,
     "With -p: let text such as <|im_start|> become the special token of that name."},
    {"ignore-stop", 0, CLI_FLAG, NULL, offsetof(run_args, ignore_stop), 0, 0,
     "Go on past the tokens that end an answer."},
    {0}};
static const cli_group groups[] = {{"What to run", options, 0},
                                   {"Sampling", cli_sampling_options, offsetof(run_args, sampling)},
                                   {"Model", cli_model_options, offsetof(run_args, model)},
                                   {"Lossy", cli_lever_options, offsetof(run_args, model)},
                                   {"Output", cli_output_options, offsetof(run_args, output)},
                                   {0}};

/* What to go on with. */
typedef struct prompt {
    int32_t *ids; /* owned by one of the two below */
    size_t count;
    bool thinking;
    cli_ids listed;
    sluice_ids encoded;
} prompt;

static void prompt_free(prompt *p)
{
    free(p->listed.ids);
    sluice_ids_free(&p->encoded);
}

static int encode_text(const sluice_tokenizer *tokenizer, const run_args *args, prompt *out)
{
    cli_bytes text = {0};
    sluice_error err = {0};
    sluice_special special = args->special ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER;
    bool from_stdin = strcmp(args->prompt, "-") == 0;
    int status = from_stdin ? cli_read("-", &text) : CLI_OK;
    if (status != CLI_OK) return status;
    const char *bytes = from_stdin ? text.bytes : args->prompt;
    size_t length = from_stdin ? text.length : strlen(args->prompt);
    if (sluice_tokenizer_encode(tokenizer, bytes, length, special, &out->encoded, &err) !=
        SLUICE_OK)
        status = cli_fail_error(&err);
    free(text.bytes);
    return status;
}

/* The request with "add_generation_prompt": true as its last member, which is the one that counts.
 * It is edited as text, because numbers must reach the template as they were written. */
static int ask_for_answer(const cli_bytes *request, cli_bytes *out)
{
    static const char member[] = ", \"add_generation_prompt\": true}";
    static const char space[] = " \t\r\n";
    size_t length = request->length, members;
    while (length > 0 && strchr(space, request->bytes[length - 1]))
        length--;
    out->bytes = malloc(length + sizeof member);
    if (!out->bytes) return cli_fail("not enough memory for the request");
    memcpy(out->bytes, request->bytes, length);
    out->length = length;
    /* What is no object stays as it is, and is refused as it is. */
    if (length == 0 || request->bytes[length - 1] != '}') return CLI_OK;
    for (members = length - 1; members > 0 && strchr(space, request->bytes[members - 1]);)
        members--;
    bool first = members > 0 && request->bytes[members - 1] == '{'; /* then without the comma */
    memcpy(out->bytes + members, member + first, sizeof member - first);
    out->length = members + sizeof member - first - 1;
    return CLI_OK;
}

static int encode_chat(const sluice_tokenizer *tokenizer, const run_args *args, prompt *out)
{
    cli_bytes request = {0}, edited = {0};
    sluice_error err = {0};
    sluice_prompt rendered = {0};
    int status = cli_read(args->chat, &request);
    if (status == CLI_OK) status = ask_for_answer(&request, &edited);
    if (status == CLI_OK) {
        if (sluice_chat_render(edited.bytes, edited.length, &rendered, &err) != SLUICE_OK ||
            sluice_tokenizer_encode_trusted(tokenizer, rendered.text.bytes, rendered.text.length,
                                            rendered.trusted, rendered.trusted_count, &out->encoded,
                                            &err) != SLUICE_OK)
            status = cli_fail_error(&err);
        out->thinking = rendered.thinking;
        sluice_prompt_free(&rendered);
    }
    free(edited.bytes);
    free(request.bytes);
    return status;
}

/* Fills ids and count from whichever source was given. */
static int prompt_read(const sluice_engine *engine, const run_args *args, prompt *out)
{
    const sluice_tokenizer *tokenizer = NULL;
    const sluice_model_info *info = sluice_engine_info(engine);
    /* Only token ids that go in and come out need no text. */
    int status = args->ids && args->output.json ? CLI_OK : cli_engine_tokenizer(engine, &tokenizer);
    if (status != CLI_OK) return status;
    if (args->prompt) status = encode_text(tokenizer, args, out);
    if (args->chat) status = encode_chat(tokenizer, args, out);
    if (status != CLI_OK) return status;
    out->ids = args->ids ? out->listed.ids : out->encoded.ids;
    out->count = args->ids ? out->listed.count : out->encoded.count;
    if (out->count == 0) return cli_fail("the prompt is empty: there is nothing to go on with");
    if (out->count > (size_t)info->context)
        return cli_fail("the prompt's %zu tokens are more than the context of %d", out->count,
                        info->context);
    return cli_ids_check(out->ids, out->count, info->vocab);
}

/* A generation in progress, as its callback sees it. */
typedef struct stream {
    const sluice_engine *engine;
    sluice_detokenizer *detokenizer; /* NULL: nothing is shown */
    cli_statistics statistics;
    bool write_failed;
} stream;

static bool on_token(void *context, int32_t token)
{
    stream *s = context;
    const char *text;
    size_t length;
    cli_statistics_token(&s->statistics, s->engine);
    if (s->detokenizer) {
        if (sluice_detokenizer_push(s->detokenizer, token, &text, &length, NULL) != SLUICE_OK)
            return false;
        fwrite(text, 1, length, stdout);
        if (length > 0 && cli_output_flush() != CLI_OK) s->write_failed = true;
    }
    return !s->write_failed && !cli_interrupted();
}

/* The text of ids as JSON; null for a model without a tokenizer. */
static json_t *json_text(const sluice_tokenizer *tokenizer, const int32_t *ids, int32_t count)
{
    sluice_text text = {0};
    json_t *json = NULL;
    if (!tokenizer) return json_null();
    if (sluice_tokenizer_decode(tokenizer, ids, (size_t)count, false, &text, NULL) == SLUICE_OK)
        json = json_stringn(text.bytes, text.length);
    sluice_text_free(&text);
    return json;
}

static int print_json(const sluice_tokenizer *tokenizer, const int32_t *ids, int32_t count,
                      sluice_finish finish, const cli_statistics *statistics)
{
    static const char *const names[] = {"stop", "length", "cancelled"};
    json_t *list = json_array();
    for (int32_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer(ids[i]));
    return cli_output_json(json_pack("{s:o, s:o, s:s, s:o}", "ids", list, "text",
                                     json_text(tokenizer, ids, count), "finish", names[finish],
                                     "stats", cli_statistics_json(statistics)));
}

/* The end of streamed text: what was held back, a newline on a terminal's line, the statistics. */
static int finish_text(stream *s, bool quiet)
{
    const char *text;
    size_t length;
    char line[512];
    sluice_detokenizer_finish(s->detokenizer, &text, &length);
    fwrite(text, 1, length, stdout);
    putchar('\n');
    int status = cli_output_finish();
    cli_statistics_line(&s->statistics, line, sizeof line);
    if (!quiet) cli_note("%s", line);
    return status;
}

static int generate(sluice_engine *engine, const run_args *args, const prompt *p, int32_t *ids)
{
    sluice_error err = {0};
    sluice_session *session;
    sluice_finish finish = SLUICE_FINISH_LENGTH;
    int32_t count = 0;
    stream s = {.engine = engine};
    sluice_sampling base =
        args->chat ? sluice_sampling_recommended(p->thinking) : sluice_sampling_greedy();
    sluice_generation generation = {.prompt = p->ids,
                                    .prompt_count = (int32_t)p->count,
                                    .tokens_max = args->tokens_max,
                                    .sampling = cli_sampling(&args->sampling, base),
                                    .ignore_stop = args->ignore_stop,
                                    .on_token = on_token,
                                    .context = &s};
    if (!args->output.json && sluice_detokenizer_new(sluice_engine_tokenizer(engine), false,
                                                     &s.detokenizer, &err) != SLUICE_OK)
        return cli_fail_error(&err);
    int status = CLI_FAILED;
    sluice_status result = sluice_session_open(engine, &session, &err);
    if (result == SLUICE_OK) {
        cli_interrupt_catch(true);
        cli_statistics_begin(&s.statistics, engine);
        result = sluice_generate(session, &generation, ids, &count, &finish, &err);
        cli_statistics_end(&s.statistics, engine);
        sluice_session_close(session);
    }
    if (result != SLUICE_OK)
        cli_fail_error(&err);
    else if (args->output.json)
        status = print_json(sluice_engine_tokenizer(engine), ids, count, finish, &s.statistics);
    else
        status = finish_text(&s, args->output.quiet);
    sluice_detokenizer_free(s.detokenizer);
    return status;
}

static int run_model(const char *model, const run_args *args, prompt *p)
{
    sluice_engine *engine;
    int status = cli_engine_open(model, &args->model, args->output.quiet, &engine);
    if (status != CLI_OK) return status;
    status = prompt_read(engine, args, p);
    if (status == CLI_OK) {
        int32_t context = sluice_engine_info(engine)->context;
        int32_t room = args->tokens_max < context ? args->tokens_max : context;
        int32_t *ids = malloc(((size_t)room + 1) * sizeof *ids);
        run_args fitted = *args;
        fitted.tokens_max = room; /* the context ends there in any case */
        status = ids ? generate(engine, &fitted, p, ids)
                     : cli_fail("not enough memory for %d tokens", room);
        free(ids);
    }
    sluice_engine_close(engine);
    return status;
}

static int run(int argc, char **argv)
{
    run_args args = {.tokens_max = 256, .sampling = CLI_SAMPLING_FLAGS_NONE};
    const char *positional[CLI_POSITIONAL_MAX];
    prompt p = {0};
    int status = cli_options_parse(&cli_command_run, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!!args.prompt + !!args.ids + !!args.chat != 1)
        return cli_usage("'sluice run' needs one of -p, --ids and --chat; see 'sluice run --help'");
    if (args.special && !args.prompt) return cli_usage("--special goes with -p alone");

    status = args.ids ? cli_ids_read(args.ids, false, &p.listed) : CLI_OK;
    if (status == CLI_OK) status = run_model(positional[0], &args, &p);
    prompt_free(&p);
    return status;
}

const cli_command cli_command_run = {
    .name = "run",
    .summary = "Go on with a text, or answer one chat request",
    .usage = "[MODEL] -p TEXT [-n N] [options]\n"
             "[MODEL] --ids LIST [-n N] [options]\n"
             "[MODEL] --chat FILE [-n N] [options]",
    .description =
        "Generates tokens until the model ends its answer, N are reached or the context is full. "
        "Text is printed as it is generated, and one line of statistics to stderr at the end. "
        "Ctrl-C stops early and still prints them.\n"
        "A raw text (-p, --ids) is continued greedily. A chat request is answered with the "
        "sampling that the family recommends, which differs with and without thinking. Any flag "
        "below replaces its part of that; --temp 0 is greedy in both. The seed is 0 unless given, "
        "so that a command line always gives the same text.\n"
        "--json prints one object at the end: {\"ids\", \"text\", \"finish\": \"stop\" or "
        "\"length\", \"stats\"}. The token that ends an answer is not among the ids.",
    .examples = "sluice run -p 'Once upon a time' -n 100\n"
                "sluice run models/nano --cache 4M --chat request.json --temp 0\n"
                "cat story.txt | sluice run -p - -n 50 --temp 0.8 --seed 7",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
