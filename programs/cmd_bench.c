/* sluice bench: how fast a model runs here, where the time goes, and how far that is from what disk
 * and memory allow. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench_report.h"
#include "bench_run.h"
#include "bench_svg.h"
#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"

typedef struct bench_args {
    cli_model_flags model;
    cli_output_flags output;
    bool csv;
    const char *frontiers, *svg;
    cli_texts prefill;
    int32_t decode, warmup, repetitions;
    cli_seed seed;
    uint64_t cap;
} bench_args;

static const cli_option options[] = {
    {"frontiers", 0, CLI_TEXT, "LIST", offsetof(bench_args, frontiers), 0, 0,
     "Measure with so many tokens of context, such as 0,1024 (0)."},
    {"prefill", 0, CLI_TEXTS, "N|full|shared|k=N", offsetof(bench_args, prefill), 0, 0,
     "A number: tokens of a measured prompt, 0 leaves prompts out (256). Else, besides it or "
     "alone, "
     "the lossy setting of that name."},
    {"decode", 0, CLI_INTEGER, "N", offsetof(bench_args, decode), 0, 1 << 20,
     "Tokens that are measured one by one; 0 leaves them out (16)."},
    {"warmup", 0, CLI_INTEGER, "N", offsetof(bench_args, warmup), 0, 1 << 20,
     "Tokens decoded before those that are measured (until the cache has turned over)."},
    {"repetitions", 0, CLI_INTEGER, "N", offsetof(bench_args, repetitions), 1,
     BENCH_REPETITIONS_MAX, "Repetitions, after a warm-up that does not count (3)."},
    {"seed", 0, CLI_SEED, "N", offsetof(bench_args, seed), 0, 0, "Of the random tokens (0)."},
    {"cap", 0, CLI_SIZE, "SIZE", offsetof(bench_args, cap), 0, 0,
     "Run under a memory limit of the system, in a control group of its own (needs root)."},
    {"csv", 0, CLI_FLAG, NULL, offsetof(bench_args, csv), 0, 0, "Print the result as CSV."},
    {"svg", 0, CLI_TEXT, "FILE", offsetof(bench_args, svg), 0, 0, "Also draw the result."},
    {0}};
static const cli_group groups[] = {{"What to measure", options, 0},
                                   {"Model", cli_model_options, offsetof(bench_args, model)},
                                   {"Lossy", cli_lever_options, offsetof(bench_args, model)},
                                   {"Output", cli_output_options, offsetof(bench_args, output)},
                                   {0}};

static int read_frontiers(const char *list, bench_plan *plan)
{
    const char *at = list;
    for (;;) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (end == at || errno || value < 0 || value > 1 << 24 || (*end && *end != ','))
            return cli_usage("--frontiers must be numbers of tokens such as 0,1024, not '%s'",
                             list);
        if (plan->n_frontiers && value <= plan->frontiers[plan->n_frontiers - 1])
            return cli_usage("--frontiers must ascend, unlike '%s'", list);
        if (plan->n_frontiers == BENCH_FRONTIERS_MAX)
            return cli_usage("--frontiers takes at most %d numbers", BENCH_FRONTIERS_MAX);
        plan->frontiers[plan->n_frontiers++] = (int32_t)value;
        if (!*end) return CLI_OK;
        at = end + 1;
    }
}

/* The two meanings of --prefill: how many tokens, and (a lever, as in all commands) by which
 * experts. */
static int read_prefill(bench_args *args, bench_plan *plan)
{
    for (int32_t i = 0; i < args->prefill.n; i++) {
        const char *text = args->prefill.at[i];
        if (*text < '0' || *text > '9') {
            args->model.levers.prefill = text;
            continue;
        }
        char *end;
        long tokens = strtol(text, &end, 10);
        if (*end || tokens > 1 << 20)
            return cli_usage("--prefill must be full, shared, k=N or a whole number up to %d, not "
                             "'%s'",
                             1 << 20, text);
        plan->prefill = (int32_t)tokens;
    }
    return CLI_OK;
}

static int save_svg(const char *path, const bench_result *result, const bench_row *rows)
{
    FILE *out = fopen(path, "w");
    if (!out) return cli_fail("%s: cannot be written: %s", path, strerror(errno));
    bench_print_svg(out, result, rows);
    bool good = !ferror(out);
    if (fclose(out) != 0 || !good) return cli_fail("%s: cannot be written", path);
    return CLI_OK;
}

static int report(const bench_args *args, const bench_result *result)
{
    bench_row rows[2 * BENCH_FRONTIERS_MAX];
    bench_rows(result, rows);
    if (args->svg) {
        int status = save_svg(args->svg, result, rows);
        if (status != CLI_OK) return status;
    }
    if (args->output.json) return cli_output_json(bench_json(result, rows));
    if (args->csv)
        bench_print_csv(stdout, result, rows);
    else
        bench_print_table(result, rows);
    return cli_output_finish();
}

/* The same command line without --cap, in a control group. */
static int run_capped(int argc, char **argv, uint64_t bytes)
{
    char program[4096];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) return cli_fail("/proc/self/exe: %s", strerror(errno));
    program[length] = '\0';
    char **args = calloc((size_t)argc + 2, sizeof *args);
    if (!args) return cli_fail("not enough memory for the arguments");
    int n = 0;
    args[n++] = program;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--cap") == 0)
            i++;
        else if (strncmp(argv[i], "--cap=", 6) != 0)
            args[n++] = argv[i];
    }
    sluice_error err = {0};
    int status = CLI_FAILED;
    if (sluice_run_limited(bytes, args, &status, &err) != SLUICE_OK) status = cli_fail_error(&err);
    free(args);
    if (status == 128 + 9)
        cli_note("the system ended the bench: it went over its limit of %.2f GiB",
                 (double)bytes / 0x1p30);
    return status;
}

static int measure(const char *model, bench_args *args, const bench_plan *plan)
{
    sluice_engine *engine = NULL;
    char *path = NULL;
    int status = cli_container_locate(model, args->output.quiet, &path);
    if (status != CLI_OK) return status;
    if (!args->model.context) args->model.context = bench_context(plan);
    args->model.prefault = true; /* what is measured is what lasts */
    status = cli_engine_open(model, &args->model, args->output.quiet, &engine);
    if (status == CLI_OK) {
        cli_progress progress = {.quiet = args->output.quiet};
        bench_result *result = malloc(sizeof *result);
        cli_interrupt_catch(true);
        status = result ? bench_run(engine, path, plan, &progress, result)
                        : cli_fail("not enough memory for the results");
        if (status == CLI_OK) status = report(args, result);
        free(result);
        sluice_engine_close(engine);
    }
    free(path);
    return status;
}

static int run(int argc, char **argv)
{
    bench_args args = {.decode = 16, .warmup = -1, .repetitions = 3};
    const char *positional[CLI_POSITIONAL_MAX];
    if (argc > 1 && strcmp(argv[1], "cache") == 0)
        return cli_command_bench_cache.run(argc - 1, argv + 1);
    int status = cli_options_parse(&cli_command_bench, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (args.csv && args.output.json) return cli_usage("--csv and --json exclude each other");
    bench_plan plan = {.prefill = 256,
                       .decode = args.decode,
                       .warmup = args.warmup,
                       .repetitions = args.repetitions,
                       .seed = args.seed.value,
                       .io = args.model.io};
    status = read_prefill(&args, &plan);
    if (status != CLI_OK) return status;
    if (!plan.prefill && !plan.decode)
        return cli_usage("with --prefill 0 and --decode 0 nothing is left to measure");
    status = read_frontiers(args.frontiers ? args.frontiers : "0", &plan);
    if (status != CLI_OK) return status;
    if (args.cap) return run_capped(argc, argv, args.cap);
    return measure(positional[0], &args, &plan);
}

const cli_command cli_command_bench = {
    .name = "bench",
    .summary = "How fast a model runs here, and how far that is from the limit",
    .usage = "[MODEL] [options]\ncache TRACE [options]",
    .description =
        "Measures prompts and single tokens at given lengths of context, with random tokens: "
        "tokens per second, where a token's time goes (trunk, routed experts, waiting for the "
        "disk, head), what is read, and how much of it is found in memory. The cache's pages are "
        "there from the start (--prefault, always).\n"
        "The floor is the time that a token takes at least: the bytes that were missed at the "
        "speed of the disk, or all weights that it goes through at the speed of memory, whichever "
        "is longer. Both speeds are measured between the repetitions of the same run.\n"
        "--cap shows what a machine with less memory would do.\n"
        "'sluice bench cache' replays a trace of routing through every cache policy.",
    .examples = "sluice bench ~/models/qwen3.5-397b.sluice --cap 24GiB --frontiers 0,4096\n"
                "sluice bench /tmp/q397-8-layers --memory 6GiB --svg bench.svg --csv > bench.csv",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
