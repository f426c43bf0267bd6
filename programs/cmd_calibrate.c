/* sluice calibrate: what each layer loses by running fewer experts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calibrate_report.h"
#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"

typedef struct calibrate_args {
    cli_model_flags model;
    cli_output_flags output;
    cli_list texts;
    int32_t tokens, effect_tokens, window;
    const char *file, *svg;
    float budget;
    bool show;
} calibrate_args;

#define AT(field) offsetof(calibrate_args, field)

static const cli_option options[] = {
    {"text", 0, CLI_LIST, "FILE...", AT(texts), 0, 0, "Texts like those that will be asked for."},
    {"tokens", 'n', CLI_INTEGER, "N", AT(tokens), 2, 1 << 30,
     "Measure so many tokens of them, in whole windows (16384)."},
    {"effect-tokens", 0, CLI_INTEGER, "N", AT(effect_tokens), 0, 1 << 30,
     "And on so many what each layer does to the predictions: costs five passes a layer; 0 leaves "
     "it out (1024)."},
    {"window", 0, CLI_INTEGER, "N", AT(window), 8, 1 << 20, "Tokens of a window (1024)."},
    {"output", 'o', CLI_TEXT, "FILE", AT(file), 0, 0,
     "Where it goes, and what to go on with (calibration.json in the model's folder)."},
    {"show", 0, CLI_FLAG, NULL, AT(show), 0, 0, "Measure nothing: show the file as a table."},
    {"budget-loads", 0, CLI_NUMBER, "N", AT(budget), 0.001, 1e6,
     "With --show: what so many loads a token run in each layer; with --json as --tiers reads it."},
    {"svg", 0, CLI_TEXT, "FILE", AT(svg), 0, 0, "Also draw it."},
    {0}};
static const cli_group groups[] = {{"What to measure", options, 0},
                                   {"Model", cli_model_options, AT(model)},
                                   {"Output", cli_output_options, AT(output)},
                                   {0}};

static bool progress(void *context, const sluice_calibrate_progress *p)
{
    cli_progress *line = context;
    if (p->windows_done < p->windows)
        cli_progress_show(line, "%d of %d windows%s", p->windows_done, p->windows,
                          p->resumed ? " (going on from the file)" : "");
    else
        cli_progress_show(line, "%d of %d windows layer by layer", p->effects_done, p->effects);
    return !cli_interrupted();
}

static int measure(const char *model, calibrate_args *args, const char *file)
{
    sluice_engine *engine;
    sluice_error err = {0};
    cli_progress line = {.quiet = args->output.quiet};
    int32_t window = args->window ? args->window : 1024;
    if (!args->model.context) args->model.context = window;
    if (args->model.context < window)
        return cli_usage("--context %d is less than a window of %d", args->model.context, window);
    int status = cli_engine_open(model, &args->model, args->output.quiet, &engine);
    if (status != CLI_OK) return status;
    cli_interrupt_catch(true);
    const sluice_calibrate_options calibrate = {.file = file,
                                                .window = window,
                                                .tokens_max = args->tokens,
                                                .effect_tokens =
                                                    args->effect_tokens ? args->effect_tokens : -1,
                                                .progress = progress,
                                                .context = &line};
    sluice_status result =
        sluice_calibrate(engine, args->texts.words, args->texts.count, &calibrate, &err);
    cli_progress_clear(&line);
    sluice_engine_close(engine);
    return result == SLUICE_OK ? CLI_OK : cli_fail_error(&err);
}

static int draw(const char *path, const sluice_calibration *calibration)
{
    FILE *out = fopen(path, "w");
    if (!out) return cli_fail("%s: cannot be written: %s", path, strerror(errno));
    calibrate_print_svg(out, calibration);
    bool good = !ferror(out);
    if (fclose(out) != 0 || !good) return cli_fail("%s: cannot be written", path);
    return CLI_OK;
}

static int show(const calibrate_args *args, const char *file)
{
    sluice_error err = {0};
    sluice_calibration *calibration;
    if (sluice_calibration_read(file, &calibration, &err) != SLUICE_OK) return cli_fail_error(&err);
    int status = args->svg ? draw(args->svg, calibration) : CLI_OK;
    if (status == CLI_OK && args->budget > 0) {
        status = calibrate_print_budget(calibration, (double)args->budget, args->output.json);
    } else if (status == CLI_OK && args->output.json) {
        status = cli_output_json(calibrate_json(calibration));
    } else if (status == CLI_OK) {
        calibrate_print_table(calibration);
        status = cli_output_finish();
    }
    sluice_calibration_free(calibration);
    return status;
}

static int default_file(const char *model, char **file)
{
    char *folder;
    int status = cli_model_path(model, &folder);
    if (status != CLI_OK) return status;
    if (asprintf(file, "%s/calibration.json", folder) < 0)
        status = cli_fail("not enough memory for a path");
    free(folder);
    return status;
}

static int run(int argc, char **argv)
{
    calibrate_args args = {.effect_tokens = 1024};
    const char *positional[CLI_POSITIONAL_MAX];
    char *file = NULL;
    int status = cli_options_parse(&cli_command_calibrate, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (args.show == (args.texts.count > 0))
        return cli_usage("'sluice calibrate' needs either --text or --show; see 'sluice calibrate "
                         "--help'");
    if (args.budget > 0 && !args.show) return cli_usage("--budget-loads needs --show");
    if (!args.file) {
        status = default_file(positional[0], &file);
        if (status != CLI_OK) return status;
        args.file = file;
    }
    status = args.show ? CLI_OK : measure(positional[0], &args, args.file);
    if (status == CLI_OK) status = show(&args, args.file);
    free(file);
    return status;
}

const cli_command cli_command_calibrate = {
    .name = "calibrate",
    .summary = "Measure what each layer loses by running fewer experts",
    .usage = "[MODEL] --text FILE... [--tokens N] [-o FILE] [options]\n"
             "[MODEL] --show [-o FILE] [--budget-loads N] [--svg FILE] [--json]",
    .description =
        "Runs texts through the full model once and writes, for every layer, what it would give "
        "with the shared expert alone and with 1, 2, ... of its experts: cosine and relative error "
        "against the full output, the gates by rank, how often each expert is wanted, how often "
        "again at once. Then each layer in turn runs with fewer experts on a few windows, and the "
        "divergence of the predictions tells what its errors do.\n"
        "--tiers and --budget-loads of all other commands work by this file. It is written after "
        "every window; a run that was interrupted goes on there.",
    .examples = "sluice calibrate --text models/nano/text/alice.txt\n"
                "sluice calibrate --show --svg layers.svg\n"
                "sluice calibrate ~/models/qwen3.5-397b.sluice --text mine.txt --memory 24GiB",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
