/* sluice merge: a new container with adapters taken into the weights. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "sluice/merge.h"

#define FORMATS "q2|q3|q4|q5|q6|q8|bf16"

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
    {"experts", 0, CLI_TEXT, FORMATS, AT(experts), 0, 0,
     "Format of the experts of every layer where one is adapted (their own)."},
    {"trunk", 0, CLI_TEXT, FORMATS, AT(trunk), 0, 0,
     "Format of the other matrices that are adapted (their own)."},
    {"importance", 0, CLI_TEXT, "FILE", AT(importance), 0, 0,
     "Round by what 'sluice importance' measured (plain rounding)."},
    {"threads", 0, CLI_INTEGER, "N", AT(threads), 1, 1024, "Worker threads (one per processor)."},
    {0}};
#undef AT
static const cli_group groups[] = {
    {"Options", options, 0}, {"Output", cli_output_options, offsetof(merge_args, output)}, {0}};

typedef struct merging {
    cli_progress progress;
    const char *out;
    sluice_merge_plan merge;
    sluice_convert_plan plan;
    double seconds;
} merging;

static bool show_plan(void *context, const sluice_convert_plan *plan)
{
    merging *work = context;
    cli_human source = cli_human_bytes(plan->source_bytes);
    cli_human output = cli_human_bytes(plan->output_bytes);
    cli_human needed = cli_human_bytes(plan->needed_bytes);
    cli_human available = cli_human_bytes(plan->free_bytes);
    cli_human written = cli_human_bytes(plan->written_bytes);
    work->plan = *plan;
    if (work->progress.quiet) return true;
    cli_note("%d matrices change, those of %d routed experts among them", work->merge.matrices,
             work->merge.experts);
    cli_note("reading %s, writing %s to %s; %s of disk space needed, %s free", source.text,
             output.text, work->out, needed.text, available.text);
    if (plan->written_bytes)
        cli_note("%s of it are there already; going on where it stopped", written.text);
    return true;
}

static bool show_progress(void *context, const sluice_convert_progress *progress)
{
    merging *work = context;
    work->seconds = progress->seconds;
    cli_convert_progress(&work->progress, progress);
    return !cli_interrupted();
}

static int finish(const merging *work, bool json)
{
    cli_human bytes = cli_human_bytes(work->plan.output_bytes);
    cli_human seconds = cli_human_seconds(work->seconds);
    if (json)
        return cli_output_json(json_pack("{s:s, s:i, s:i, s:I, s:f}", "path", work->out, "matrices",
                                         work->merge.matrices, "experts", work->merge.experts,
                                         "output_bytes", (json_int_t)work->plan.output_bytes,
                                         "seconds", work->seconds));
    printf("%s: %s in %s\n", work->out, bytes.text, seconds.text);
    return cli_output_finish();
}

static int merge(const merge_args *args, const char *model, const sluice_adapter_choice *adapters,
                 merging *work)
{
    const sluice_convert_options convert = {.experts = args->experts,
                                            .trunk = args->trunk,
                                            .importance = args->importance,
                                            .threads = args->threads,
                                            .starting = show_plan,
                                            .progress = show_progress,
                                            .context = work};
    sluice_error err = {0};
    cli_interrupt_catch(true);
    const sluice_status status =
        sluice_merge(model, adapters, args->adapters.n, work->out, &convert, &work->merge, &err);
    cli_progress_clear(&work->progress);
    if (status == SLUICE_CANCELLED)
        return cli_fail("stopped; the same command goes on where it stopped");
    if (status == SLUICE_USAGE) return cli_usage("%s", err.detail);
    if (status != SLUICE_OK) return cli_fail_error(&err);
    return finish(work, args->output.json);
}

static int run(int argc, char **argv)
{
    merge_args args = {0};
    sluice_adapter_choice adapters[SLUICE_ADAPTERS_MAX] = {{0}};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_merge, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.adapters.n) return cli_usage("--adapter DIR is needed; see 'sluice merge --help'");

    merging work = {.progress = {.quiet = args.output.quiet}, .out = positional[1]};
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
