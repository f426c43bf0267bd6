/* sluice report: settings compared, speed against quality, as a page and as tables. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "report_run.h"

typedef struct report_args {
    cli_output_flags output;
    cli_list configs;
    const char *work, *html, *markdown, *csv, *svg;
} report_args;

#define AT(field) offsetof(report_args, field)

static const cli_option options[] = {
    {"config", 0, CLI_LIST, "FILE...", AT(configs), 0, 0,
     "What to compare and on what (doc/levers.md)."},
    {"work", 0, CLI_TEXT, "DIR", AT(work), 0, 0,
     "Where measurements are kept, and converted models (./sluice-report); called again, what is "
     "there is not measured again."},
    {0}};
static const cli_option forms[] = {
    {"html", 0, CLI_TEXT, "FILE", AT(html), 0, 0, "One page with everything (DIR/report.html)."},
    {"markdown", 0, CLI_TEXT, "FILE", AT(markdown), 0, 0, "The tables (standard output)."},
    {"csv", 0, CLI_TEXT, "FILE", AT(csv), 0, 0, "All figures, with the command."},
    {"svg", 0, CLI_TEXT, "FILE", AT(svg), 0, 0, "The drawing of speed against perplexity."},
    {"quiet", 0, CLI_FLAG, NULL, AT(output.quiet), 0, 0, "Nothing on stderr but errors."},
    {0}};
static const cli_group groups[] = {{"What to measure", options, 0}, {"Forms", forms, 0}, {0}};

static void print_svg(FILE *out, const report_result *result)
{
    report_print_chart(out, result, REPORT_PERPLEXITY, true);
}

/* All or nothing. */
static int save(const char *path, const report_result *result,
                void (*print)(FILE *out, const report_result *result))
{
    char *temporary = NULL;
    if (asprintf(&temporary, "%s.tmp", path) < 0) return cli_fail("not enough memory for a path");
    FILE *out = fopen(temporary, "w");
    bool good = out != NULL;
    if (good) {
        print(out, result);
        good = !ferror(out);
        good = fclose(out) == 0 && good && rename(temporary, path) == 0;
    }
    int status = good ? CLI_OK : cli_fail("%s: cannot be written: %s", path, strerror(errno));
    if (out && !good) remove(temporary);
    free(temporary);
    return status;
}

static int write_all(const report_args *args, const char *work, const report_result *result)
{
    char *html = NULL;
    if (!args->html && asprintf(&html, "%s/report.html", work) < 0)
        return cli_fail("not enough memory for a path");
    int status = save(args->html ? args->html : html, result, report_print_html);
    if (status == CLI_OK && args->csv) status = save(args->csv, result, report_print_csv);
    if (status == CLI_OK && args->svg) status = save(args->svg, result, print_svg);
    if (status == CLI_OK && args->markdown)
        status = save(args->markdown, result, report_print_markdown);
    else if (status == CLI_OK)
        report_print_markdown(stdout, result);
    if (status == CLI_OK && !args->output.quiet)
        cli_note("the page is %s", args->html ? args->html : html);
    free(html);
    return status == CLI_OK ? cli_output_finish() : status;
}

/* The command line again, for whoever wants to repeat it. */
static char *join(int argc, char **argv)
{
    size_t bytes = sizeof "sluice";
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]) + 1;
    char *line = malloc(bytes);
    if (!line) return NULL;
    char *at = stpcpy(line, "sluice");
    for (int i = 0; i < argc; i++)
        at = stpcpy(stpcpy(at, " "), argv[i]);
    return line;
}

static int compare(const char *model, const report_args *args, const report_config *config,
                   char *command)
{
    const char *work = args->work ? args->work : "sluice-report";
    cli_progress progress = {.quiet = args->output.quiet};
    time_t now = time(NULL);
    struct tm today;
    if (mkdir(work, 0777) != 0 && errno != EEXIST)
        return cli_fail("%s: cannot be made: %s", work, strerror(errno));
    report_result *result = calloc(1, sizeof *result);
    if (!result) return cli_fail("not enough memory for the results");
    result->config = config;
    result->command = command;
    if (gmtime_r(&now, &today)) strftime(result->when, sizeof result->when, "%Y-%m-%d", &today);
    cli_interrupt_catch(true);
    int status = report_run(model, work, &progress, result);
    if (status == CLI_OK) status = write_all(args, work, result);
    free(result);
    return status;
}

static int run(int argc, char **argv)
{
    report_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_report, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.configs.count)
        return cli_usage("'sluice report' needs --config; see 'sluice report --help'");
    report_config *config = calloc(1, sizeof *config);
    char *command = join(argc, argv);
    status = config && command ? report_config_read(&args.configs, config)
                               : cli_fail("not enough memory for the settings");
    if (status == CLI_OK) status = compare(positional[0], &args, config, command);
    if (config) report_config_free(config);
    free(config);
    free(command);
    return status;
}

const cli_command cli_command_report = {
    .name = "report",
    .summary = "Compare settings: speed against quality, as a page and tables",
    .usage = "[MODEL] --config FILE... [--work DIR] [--html FILE] [--markdown FILE] [--csv FILE]",
    .description =
        "Runs a list of settings over perplexity, divergence from the first one, tasks and bench "
        "and shows which of them no other one beats in both speed and quality. Each measurement is "
        "a process of its own; those of speed take turns, so that all settings have the same "
        "disturbances.\n"
        "What was measured is kept: a report that was interrupted goes on, and one with another "
        "setting measures only that one. doc/levers.md describes the file.",
    .examples = "sluice report --config bench/nano-levers.json --work /tmp/levers\n"
                "sluice report ~/models/qwen3.5-397b.sluice --config mine.json --csv mine.csv",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
