/* sluice trace: records which experts a generation asks for, for 'sluice bench cache'. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "input.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sampling_flags.h"

typedef struct trace_args {
    cli_model_flags model;
    cli_sampling_flags sampling;
    const char *prompt, *ids, *output;
    int32_t tokens_max;
    bool quiet;
} trace_args;

static const cli_option options[] = {
    {"prompt", 'p', CLI_TEXT, "TEXT", offsetof(trace_args, prompt), 0, 0,
     "Go on with this text; - reads it from stdin."},
    {"ids", 0, CLI_TEXT, "LIST", offsetof(trace_args, ids), 0, 0,
     "Go on with these token ids, such as 1,2,3; - reads them from stdin."},
    {"tokens", 'n', CLI_INTEGER, "N", offsetof(trace_args, tokens_max), 1, INT32_MAX,
     "Generate so many tokens (256)."},
    {"output", 'o', CLI_TEXT, "FILE", offsetof(trace_args, output), 0, 0,
     "Where the trace goes; - is stdout."},
    {"quiet", 0, CLI_FLAG, NULL, offsetof(trace_args, quiet), 0, 0,
     "Nothing on stderr but errors."},
    {0}};
static const cli_group groups[] = {
    {"What to trace", options, 0},
    {"Sampling", cli_sampling_options, offsetof(trace_args, sampling)},
    {"Model", cli_model_options, offsetof(trace_args, model)},
    {"Lossy", cli_lever_options, offsetof(trace_args, model)},
    {0}};

typedef struct recorder {
    FILE *file;
    uint64_t lines;
} recorder;

static void record(void *context, int32_t layer, const int32_t *ids, int32_t n)
{
    recorder *r = context;
    fprintf(r->file, "%d", layer);
    for (int32_t i = 0; i < n; i++)
        fprintf(r->file, " %d", ids[i]);
    putc('\n', r->file);
    r->lines++;
}

static bool on_token(void *context, int32_t token)
{
    (void)token;
    return !ferror((FILE *)context) && !cli_interrupted();
}

static int read_prompt(const sluice_engine *engine, const trace_args *args, cli_ids *listed,
                       sluice_ids *encoded)
{
    sluice_error err = {0};
    cli_bytes text = {0};
    if (args->ids)
        return cli_ids_check(listed->ids, listed->count, sluice_engine_info(engine)->vocab);
    if (!sluice_engine_tokenizer(engine))
        return cli_fail("the model's folder has no tokenizer.json; use --ids");
    bool from_stdin = strcmp(args->prompt, "-") == 0;
    int status = from_stdin ? cli_read("-", &text) : CLI_OK;
    if (status != CLI_OK) return status;
    const char *bytes = from_stdin ? text.bytes : args->prompt;
    if (sluice_tokenizer_encode(sluice_engine_tokenizer(engine), bytes,
                                from_stdin ? text.length : strlen(bytes), SLUICE_SPECIAL_NEVER,
                                encoded, &err) != SLUICE_OK)
        status = cli_fail_error(&err);
    else if (!encoded->count)
        status = cli_fail("the prompt is empty: there is nothing to go on with");
    free(text.bytes);
    return status;
}

static int generate(sluice_engine *engine, const trace_args *args, const int32_t *ids, size_t count,
                    FILE *file)
{
    sluice_error err = {0};
    sluice_session *session;
    sluice_finish finish;
    int32_t context = sluice_engine_info(engine)->context, n;
    if (count > (size_t)context)
        return cli_fail("the prompt's %zu tokens are more than the context of %d", count, context);
    int32_t room = args->tokens_max < context ? args->tokens_max : context;
    int32_t *out = malloc(((size_t)room + 1) * sizeof *out);
    if (!out) return cli_fail("not enough memory for %d tokens", room);
    const sluice_generation generation = {
        .prompt = ids,
        .prompt_count = (int32_t)count,
        .tokens_max = room,
        .sampling = cli_sampling(&args->sampling, sluice_sampling_greedy()),
        .ignore_stop = true,
        .on_token = on_token,
        .context = file};
    cli_interrupt_catch(true);
    sluice_status status = sluice_session_open(engine, &session, &err);
    if (status == SLUICE_OK) {
        status = sluice_generate(session, &generation, out, &n, &finish, &err);
        sluice_session_close(session);
    }
    free(out);
    return status == SLUICE_OK ? CLI_OK : cli_fail_error(&err);
}

static int trace(const char *model, trace_args *args, cli_ids *listed, FILE *file)
{
    sluice_engine *engine;
    sluice_ids encoded = {0};
    recorder r = {.file = file};
    args->model.routes = record;
    args->model.routes_context = &r;
    int status = cli_engine_open(model, &args->model, args->quiet, &engine);
    if (status != CLI_OK) return status;
    status = read_prompt(engine, args, listed, &encoded);
    if (status == CLI_OK)
        status = generate(engine, args, args->ids ? listed->ids : encoded.ids,
                          args->ids ? listed->count : encoded.count, file);
    if (status == CLI_OK && !args->quiet)
        cli_note("%llu lines of %d layers", (unsigned long long)r.lines,
                 sluice_engine_info(engine)->layers);
    sluice_ids_free(&encoded);
    sluice_engine_close(engine);
    return status;
}

/* Into a file that is whole or, after a failure, absent. */
static int trace_to_file(const char *model, trace_args *args, cli_ids *listed)
{
    FILE *file = fopen(args->output, "w");
    if (!file) return cli_fail("%s: %s", args->output, strerror(errno));
    int status = trace(model, args, listed, file);
    bool bad = ferror(file) != 0;
    if ((fclose(file) != 0 || bad) && status == CLI_OK)
        status = cli_fail("%s: could not be written: %s", args->output, strerror(errno));
    if (status != CLI_OK) unlink(args->output);
    return status;
}

static int run(int argc, char **argv)
{
    trace_args args = {.tokens_max = 256, .sampling = CLI_SAMPLING_FLAGS_NONE};
    const char *positional[CLI_POSITIONAL_MAX];
    cli_ids listed = {0};
    int status = cli_options_parse(&cli_command_trace, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.prompt == !args.ids)
        return cli_usage("'sluice trace' needs either -p or --ids; see 'sluice trace --help'");
    if (!args.output) return cli_usage("'sluice trace' needs -o FILE; see 'sluice trace --help'");
    status = args.ids ? cli_ids_read(args.ids, false, &listed) : CLI_OK;
    if (status == CLI_OK && strcmp(args.output, "-") == 0) {
        status = trace(positional[0], &args, &listed, stdout);
        if (status == CLI_OK) status = cli_output_finish();
    } else if (status == CLI_OK) {
        status = trace_to_file(positional[0], &args, &listed);
    }
    free(listed.ids);
    return status;
}

const cli_command cli_command_trace = {
    .name = "trace",
    .summary = "Record which experts a generation asks for",
    .usage = "[MODEL] -p TEXT -o FILE [-n N] [options]\n"
             "[MODEL] --ids LIST -o FILE [-n N] [options]",
    .description =
        "Goes on with a text, past tokens that would end it, and writes one line for every step "
        "and layer: the layer, then the experts that were wanted at once (a prompt's chunk is one "
        "step). 'sluice bench cache' replays it. Neither cache nor lookahead change what is "
        "wanted.",
    .examples = "sluice trace -p 'Once upon a time' -n 500 --temp 0.8 -o routes.txt",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
