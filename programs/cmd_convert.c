/* sluice convert: makes a container of a checkpoint, and says what it costs before it starts. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "conversion.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/convert.h"

typedef struct convert_args {
    cli_output_flags output;
    const char *experts, *trunk, *importance;
    bool consume;
    int32_t threads;
} convert_args;

static const cli_option options[] = {
    {"experts", 0, CLI_TEXT, CLI_FORMATS "|mix:B", offsetof(convert_args, experts), 0, 0,
     "Requantise the experts (the source's own values, bit for bit). mix:3.5 gives each layer's "
     "matrices 2 to 8 bits, 3.5 in the mean, where they lose least; it needs --importance. q4/32 "
     "and so on: that many columns share a scale (64)."},
    {"trunk", 0, CLI_TEXT, CLI_FORMATS, offsetof(convert_args, trunk), 0, 0,
     "Requantise everything else (the source's own values, bit for bit)."},
    {"importance", 0, CLI_TEXT, "FILE", offsetof(convert_args, importance), 0, 0,
     "Round to 2 to 6 bits so that what weighs loses least, by what 'sluice importance' measured "
     "(plain rounding)."},
    {"consume", 0, CLI_FLAG, NULL, offsetof(convert_args, consume), 0, 0,
     "Delete each file of SRC once everything in it is safely written, so that little more than "
     "one model's disk space is needed. SRC is then gone."},
    {"threads", 0, CLI_INTEGER, "N", offsetof(convert_args, threads), 1, 1024,
     "Worker threads (one per processor)."},
    {0}};
static const cli_group groups[] = {
    {"Options", options, 0}, {"Output", cli_output_options, offsetof(convert_args, output)}, {0}};

static int run(int argc, char **argv)
{
    convert_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_convert, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    cli_conversion work = {.progress = {.quiet = args.output.quiet}, .out = positional[1]};
    sluice_convert_options convert = {.experts = args.experts,
                                      .trunk = args.trunk,
                                      .importance = args.importance,
                                      .consume = args.consume,
                                      .threads = args.threads,
                                      .starting = cli_conversion_starting,
                                      .progress = cli_conversion_progress,
                                      .context = &work};
    sluice_error err = {0};
    if (sluice_convert_check(&convert, &err) != SLUICE_OK) return cli_usage("%s", err.detail);
    cli_interrupt_catch(true);
    sluice_status converted = sluice_convert(positional[0], positional[1], &convert, &err);
    status = cli_conversion_finish(&work, converted, &err, args.output.json, NULL);
    if (converted == SLUICE_OK && work.plan.shards_kept)
        cli_note("%d files of %s were kept, because they hold tensors that are left out",
                 work.plan.shards_kept, positional[0]);
    return status;
}

const cli_command cli_command_convert = {
    .name = "convert",
    .summary = "Make a folder that sluice can stream from, out of a checkpoint",
    .usage = "SRC OUT [options]",
    .description =
        "Converts the checkpoint in folder SRC (safetensors with Hugging Face or MLX names; bf16, "
        "f16, f32 or MLX-quantised; or a converted model, to change its formats) into the folder "
        "OUT, where each expert is one aligned record "
        "that is read in one go. OUT is still a folder of valid safetensors. Values are kept bit "
        "for "
        "bit unless --experts or --trunk asks for another format.\n"
        "The disk space needed is said first, and the conversion refuses to start without it. It "
        "may be interrupted at any moment, even by power loss: the same command goes on where it "
        "stopped, and OUT appears only when it is whole.",
    .examples = "sluice convert ~/Downloads/Qwen3.5-397B-4bit ~/models/qwen3.5-397b.sluice\n"
                "sluice convert ~/Downloads/Qwen3.5-35B ~/models/qwen3.5-35b-q4.sluice --experts "
                "q4 --trunk q8",
    .positional_min = 2,
    .positional_max = 2,
    .groups = groups,
    .run = run,
};
