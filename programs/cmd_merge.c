/* sluice merge: a new container with adapters taken into the weights. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "conversion.h"
#include "interrupt.h"
#include "model_flags.h"
#include "sluice/merge.h"

typedef struct merge_args {
    cli_output_flags output;
    cli_texts adapters;
    const char *experts, *trunk, *importance;
    int32_t threads;
} merge_args;

#define AT(field) offsetof(merge_args, field)
static const cli_option options[] = {
    {"adapter", 0, CLI_TEXTS, "DIR[:SCALE]", AT(adapters), 0, 0,
     "A low-rank adapter (a PEFT folder, as sluice train writes), times SCALE (1); may be given "
     "again."},
    {"experts", 0, CLI_TEXT, CLI_FORMATS, AT(experts), 0, 0,
     "Format of the experts of every layer where one is adapted (their own)."},
    {"trunk", 0, CLI_TEXT, CLI_FORMATS, AT(trunk), 0, 0,
     "Format of the other matrices that are adapted (their own)."},
    {"importance", 0, CLI_TEXT, "FILE", AT(importance), 0, 0,
     "Round by what 'sluice importance' measured (plain rounding)."},
    {"threads", 0, CLI_INTEGER, "N", AT(threads), 1, 1024, "Worker threads (one per processor)."},
    {0}};
#undef AT
static const cli_group groups[] = {
    {"Options", options, 0}, {"Output", cli_output_options, offsetof(merge_args, output)}, {0}};

typedef struct merging {
    cli_conversion conversion; /* first: what its callbacks get */
    sluice_merge_plan plan;
} merging;

static bool starting(void *context, const sluice_convert_plan *plan)
{
    const merging *work = context;
    if (!work->conversion.progress.quiet)
        cli_note("%d matrices change, those of %d routed experts among them", work->plan.matrices,
                 work->plan.experts);
    return cli_conversion_starting(context, plan);
}

static int merge(const merge_args *args, const char *model, const sluice_adapter_choice *adapters,
                 merging *work)
{
    const sluice_convert_options convert = {.experts = args->experts,
                                            .trunk = args->trunk,
                                            .importance = args->importance,
                                            .threads = args->threads,
                                            .starting = starting,
                                            .progress = cli_conversion_progress,
                                            .context = work};
    sluice_error err = {0};
    if (sluice_convert_check(&convert, &err) != SLUICE_OK) return cli_usage("%s", err.detail);
    cli_interrupt_catch(true);
    const sluice_status status = sluice_merge(model, adapters, args->adapters.n,
                                              work->conversion.out, &convert, &work->plan, &err);
    return cli_conversion_finish(
        &work->conversion, status, &err, args->output.json,
        json_pack("{s:i, s:i}", "matrices", work->plan.matrices, "experts", work->plan.experts));
}

static int run(int argc, char **argv)
{
    merge_args args = {0};
    sluice_adapter_choice adapters[SLUICE_ADAPTERS_MAX] = {{0}};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_merge, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.adapters.n) return cli_usage("--adapter DIR is needed; see 'sluice merge --help'");

    merging work = {.conversion = {.progress = {.quiet = args.output.quiet}, .out = positional[1]}};
    status = cli_adapters_read(&args.adapters, adapters);
    if (status == CLI_OK) status = merge(&args, positional[0], adapters, &work);
    cli_adapters_free(adapters);
    return status;
}

const cli_command cli_command_merge = {
    .name = "merge",
    .summary = "Take adapters into the weights of a new model",
    .usage = "MODEL OUT --adapter DIR[:SCALE]... [options]",
    .description =
        "Writes to the folder OUT what MODEL is with adapters: every adapted matrix W becomes W + "
        "SCALE * alpha / rank * B A, everything else keeps its bytes. MODEL is a converted model "
        "or a checkpoint.\n"
        "An adapted matrix is rounded again, in its own format unless --experts or --trunk says "
        "another. Few bits round much of a small change away; more bits cost space, and of "
        "experts reading time. It may be interrupted at any moment: the same command goes on where "
        "it "
        "stopped.",
    .examples = "sluice merge ~/models/qwen3.5-35b --adapter calls-adapter "
                "~/models/qwen3.5-35b-calls\n"
                "sluice merge models/nano --adapter a --adapter b:0.5 --trunk q8 merged",
    .positional_min = 2,
    .positional_max = 2,
    .groups = groups,
    .run = run,
};
