/* sluice verify: reads a whole model and compares every checksum. */
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"

static const cli_group groups[] = {{"Options", cli_output_options, 0}, {0}};

static bool show_progress(void *context, uint64_t bytes_done, uint64_t bytes_total)
{
    cli_human done = cli_human_bytes(bytes_done), total = cli_human_bytes(bytes_total);
    cli_progress_show(context, "verifying: %3.0f%%  %s of %s",
                      bytes_total ? 100.0 * (double)bytes_done / (double)bytes_total : 100.0,
                      done.text, total.text);
    return !cli_interrupted();
}

static int run(int argc, char **argv)
{
    cli_output_flags args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_verify, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    char *path;
    status = cli_container_locate(positional[0], args.quiet, &path);
    if (status != CLI_OK) return status;

    cli_progress progress = {.quiet = args.quiet};
    sluice_verify_options options = {.progress = show_progress, .context = &progress};
    sluice_verify_report report = {0};
    sluice_error err = {0};
    cli_interrupt_catch(true);
    sluice_status verified = sluice_verify(path, &options, &report, &err);
    cli_progress_clear(&progress);
    cli_human bytes = cli_human_bytes(report.bytes);
    if (args.json)
        status = cli_output_json(json_pack(
            "{s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "path", path, "ok", verified == SLUICE_OK,
            "tensors", (json_int_t)report.tensors, "tensors_bad", (json_int_t)report.tensors_bad,
            "records", (json_int_t)report.records, "records_bad", (json_int_t)report.records_bad,
            "bytes", (json_int_t)report.bytes));
    else if (verified == SLUICE_OK) {
        printf("%s: sound: %llu trunk tensors and %llu expert records, %s\n", path,
               (unsigned long long)report.tensors, (unsigned long long)report.records, bytes.text);
        status = cli_output_finish();
    }
    if (verified != SLUICE_OK) status = cli_fail_error(&err);
    if (verified == SLUICE_CORRUPT && report.tensors_bad + report.records_bad > 1)
        cli_note("%llu of %llu trunk tensors and %llu of %llu expert records are bad",
                 (unsigned long long)report.tensors_bad, (unsigned long long)report.tensors,
                 (unsigned long long)report.records_bad, (unsigned long long)report.records);
    free(path);
    return status;
}

const cli_command cli_command_verify = {
    .name = "verify",
    .summary = "Check every checksum of a converted model",
    .usage = "[MODEL] [options]",
    .description =
        "Reads every expert record and every other tensor of a converted model and compares their "
        "checksums (CRC32C). All of it is read even after a bad one; the first is named. Status 1 "
        "if "
        "anything is bad. A checkpoint that is not converted yet is converted first.",
    .examples = "sluice verify ~/models/qwen3.5-397b.sluice",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
