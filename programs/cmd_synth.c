/* sluice synth: a model of random weights with the geometry of a real one. */
#include <stdio.h>

#include "commands.h"
#include "conversion.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/synth.h"

typedef struct synth_args {
    cli_output_flags output;
    const char *geometry, *experts, *trunk;
    int32_t layers, vocab, threads;
    cli_seed seed;
} synth_args;

static const cli_option options[] = {
    {"geometry", 0, CLI_TEXT, "NAME|FILE", offsetof(synth_args, geometry), 0, 0,
     "Sizes: qwen3.5-397b, qwen3.5-122b, qwen3.5-35b, or those of a config.json."},
    {"layers", 0, CLI_INTEGER, "N", offsetof(synth_args, layers), 1, 512,
     "Layers (all of the geometry's)."},
    {"vocab", 0, CLI_INTEGER, "N", offsetof(synth_args, vocab), SLUICE_SYNTH_VOCAB_MIN, 1 << 24,
     "Vocabulary (the geometry's)."},
    {"experts", 0, CLI_CHOICE, CLI_FORMATS, offsetof(synth_args, experts), 0, 0,
     "Format of the experts (q4)."},
    {"trunk", 0, CLI_CHOICE, CLI_FORMATS, offsetof(synth_args, trunk), 0, 0,
     "Format of everything else (q8)."},
    {"seed", 0, CLI_SEED, "N", offsetof(synth_args, seed), 0, 0,
     "The same seed gives the same bytes (0)."},
    {"threads", 0, CLI_INTEGER, "N", offsetof(synth_args, threads), 1, 1024,
     "Writes in flight (chosen)."},
    {0}};
static const cli_group groups[] = {
    {"Options", options, 0}, {"Output", cli_output_options, offsetof(synth_args, output)}, {0}};

typedef struct synthesis {
    cli_progress progress;
    const char *out;
    sluice_synth_plan plan;
    sluice_synth_progress last;
} synthesis;

static bool show_plan(void *context, const sluice_synth_plan *plan)
{
    synthesis *work = context;
    cli_human output = cli_human_bytes(plan->output_bytes);
    cli_human available = cli_human_bytes(plan->free_bytes);
    work->plan = *plan;
    if (!work->progress.quiet)
        cli_note("writing %.4g billion random weights in %d layers, %s, to %s; %s free",
                 (double)plan->weights * 1e-9, plan->layers, output.text, work->out,
                 available.text);
    return true;
}

static bool show_progress(void *context, const sluice_synth_progress *progress)
{
    synthesis *work = context;
    cli_human done = cli_human_bytes(progress->bytes_done);
    cli_human total = cli_human_bytes(progress->bytes_total);
    cli_human rate = cli_human_bytes((uint64_t)progress->bytes_per_second);
    cli_human left = cli_human_seconds(progress->seconds_left < 0 ? 0 : progress->seconds_left);
    work->last = *progress;
    cli_progress_show(&work->progress, "%s of %s, %s/s, %s left", done.text, total.text, rate.text,
                      left.text);
    return !cli_interrupted();
}

static int run(int argc, char **argv)
{
    synth_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_synth, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.geometry) return cli_usage("--geometry is needed, such as --geometry qwen3.5-397b");

    synthesis work = {.progress = {.quiet = args.output.quiet}, .out = positional[0]};
    const sluice_synth_options synth = {.geometry = args.geometry,
                                        .layers = args.layers,
                                        .vocab = args.vocab,
                                        .experts = args.experts,
                                        .trunk = args.trunk,
                                        .seed = args.seed.value,
                                        .threads = args.threads,
                                        .starting = show_plan,
                                        .progress = show_progress,
                                        .context = &work};
    sluice_error err = {0};
    cli_interrupt_catch(true);
    sluice_status made = sluice_synth(positional[0], &synth, &err);
    cli_progress_clear(&work.progress);
    if (made == SLUICE_CANCELLED) return cli_fail("stopped; nothing was left behind");
    if (made != SLUICE_OK) return cli_fail_error(&err);
    if (args.output.json)
        return cli_output_json(json_pack(
            "{s:s, s:I, s:I, s:f}", "path", work.out, "bytes", (json_int_t)work.plan.output_bytes,
            "weights", (json_int_t)work.plan.weights, "seconds", work.last.seconds));
    cli_human bytes = cli_human_bytes(work.plan.output_bytes);
    cli_human seconds = cli_human_seconds(work.last.seconds);
    cli_human rate = cli_human_bytes((uint64_t)work.last.bytes_per_second);
    printf("%s: %s in %s, %s/s\n", work.out, bytes.text, seconds.text, rate.text);
    return cli_output_finish();
}

const cli_command cli_command_synth = {
    .name = "synth",
    .summary = "Make a model of random weights with the geometry of a real one",
    .usage = "--geometry NAME|FILE OUT [options]",
    .description =
        "Writes a whole container of random weights to the folder OUT, as fast as the disk takes "
        "it: every record is there and checksummed, so that reading, memory and speed can be "
        "measured before anything is downloaded. Experts are chosen about uniformly, which is the "
        "worst case for a cache. What the model says means nothing.",
    .examples =
        "sluice synth --geometry qwen3.5-397b --layers 8 --vocab 32768 /tmp/q397-8-layers\n"
        "sluice synth --geometry ~/Downloads/some-model/config.json --experts q3 /tmp/some-model",
    .positional_min = 1,
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
