/* sluice importance: what text shows of a model for quantising it (sluice/importance.h). */
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/importance.h"

typedef struct importance_args {
    cli_model_flags model;
    cli_output_flags output;
    cli_list texts;
    const char *out;
    int32_t window, windows, block, expert_block, expert_in;
    uint64_t sums;
    bool special;
} importance_args;

#define AT(field) offsetof(importance_args, field)

static const cli_option options[] = {
    {"text", 0, CLI_LIST, "FILE...", AT(texts), 0, 0, "Texts to run through the model."},
    {"special", 0, CLI_FLAG, NULL, AT(special), 0, 0,
     "Let text such as <|im_start|> become the special token of that name: for conversations."},
    {"output", 'o', CLI_TEXT, "FILE", AT(out), 0, 0, "Where the importances go."},
    {"window", 0, CLI_INTEGER, "N", AT(window), 2, 1 << 24,
     "Tokens that are run as one sequence (1024)."},
    {"windows", 0, CLI_INTEGER, "N", AT(windows), 1, INT32_MAX,
     "Only the first N windows of each text (all)."},
    {"block", 0, CLI_INTEGER, "N", AT(block), 128, 65536,
     "Columns of the trunk's inputs that are measured together, a multiple of 128 (512)."},
    {"expert-block", 0, CLI_INTEGER, "N", AT(expert_block), 128, 65536,
     "The same within each expert (128)."},
    {"expert-in-block", 0, CLI_INTEGER, "N", AT(expert_in), 1, 65536,
     "The same of what enters each expert; 1: only squares (512 if that takes at most 1 GiB for "
     "all experts, else 1)."},
    {"sums", 0, CLI_SIZE, "SIZE", AT(sums), 0, 0,
     "Refuse to start if the sums take more memory than this (no limit)."},
    {0}};
static const cli_group groups[] = {{"Measurement", options, 0},
                                   {"Model", cli_model_options, AT(model)},
                                   {"Output", cli_output_options, AT(output)},
                                   {0}};

static bool show(void *context, int64_t done, int64_t total)
{
    cli_progress_show(context, "%lld of %lld windows", (long long)done, (long long)total);
    return !cli_interrupted();
}

static int finish(const importance_args *args, const sluice_importance_report *report)
{
    cli_human bytes = cli_human_bytes(report->bytes);
    if (args->output.json)
        return cli_output_json(json_pack(
            "{s:s, s:i, s:I, s:I, s:i, s:i, s:f, s:f}", "path", args->out, "windows",
            report->windows, "tokens", (json_int_t)report->tokens, "bytes",
            (json_int_t)report->bytes, "experts", report->experts, "experts_unseen", report->unseen,
            "expert_rows_min", report->rows_min, "expert_rows_mean", report->rows_mean));
    printf("%s: %s from %lld tokens; an expert saw %.0f of them (%.0f at least)\n", args->out,
           bytes.text, (long long)report->tokens, report->rows_mean, report->rows_min);
    if (report->unseen)
        printf("%d of %d experts saw none: they are weighed by their layer's mean\n",
               report->unseen, report->experts);
    return cli_output_finish();
}

static int run(int argc, char **argv)
{
    importance_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX] = {0};
    sluice_engine *engine = NULL;
    sluice_error err = {0};
    sluice_importance_report report;
    int status = cli_options_parse(&cli_command_importance, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.texts.count) return cli_usage("no text: --text FILE");
    if (!args.out) return cli_usage("nowhere to write to: -o FILE");
    if (!args.model.context) args.model.context = args.window ? args.window : 1024;
    status = cli_engine_open(positional[0], &args.model, args.output.quiet, &engine);
    if (status != CLI_OK) return status;
    cli_progress progress = {.quiet = args.output.quiet};
    const sluice_importance_options measure = {.text = {.window = args.window,
                                                        .windows_max = args.windows,
                                                        .special = args.special,
                                                        .progress = show,
                                                        .context = &progress},
                                               .block = args.block,
                                               .expert_block = args.expert_block,
                                               .expert_in = args.expert_in,
                                               .bytes_max = args.sums};
    cli_human bytes = cli_human_bytes(sluice_importance_bytes(engine, &measure));
    if (!args.output.quiet) cli_note("the sums take %s of memory and of disk", bytes.text);
    cli_interrupt_catch(true);
    sluice_status measured = sluice_importance_measure(engine, args.texts.words, args.texts.count,
                                                       &measure, args.out, &report, &err);
    cli_progress_clear(&progress);
    sluice_engine_close(engine);
    return measured == SLUICE_OK ? finish(&args, &report) : cli_fail_error(&err);
}

const cli_command cli_command_importance = {
    .name = "importance",
    .summary = "Measure on text what weighs in a model, for quantising it",
    .usage = "[MODEL] --text FILE... -o FILE [options]",
    .description =
        "Runs texts through the model and writes how much the inputs of each matrix weigh, and how "
        "they go together. 'sluice convert --importance FILE' then loses less at 2, 3 and 4 bits. "
        "The model should be the one with the most bits; the text like what the quantised one will "
        "be used for, some 100000 tokens, and never a text that it is judged by.\n"
        "The sums are kept in memory until the end: --block, --expert-block and --expert-in-block "
        "trade how much they show against memory; doc/quantisation.md says how much that is.",
    .examples = "sluice importance ~/Downloads/Qwen3.5-35B --text chats.txt --special -o "
                "35b.importance\n"
                "sluice convert ~/Downloads/Qwen3.5-35B ~/models/35b-q2.sluice --experts q2 "
                "--importance 35b.importance",
    .positional_min = 0,
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
