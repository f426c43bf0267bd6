/* What a conversion says before, meanwhile and at its end (see conversion.h). */
#include "conversion.h"

#include <stdio.h>

#include "interrupt.h"

bool cli_conversion_starting(void *context, const sluice_convert_plan *plan)
{
    cli_conversion *conversion = context;
    cli_human source = cli_human_bytes(plan->source_bytes);
    cli_human output = cli_human_bytes(plan->output_bytes);
    cli_human needed = cli_human_bytes(plan->needed_bytes);
    cli_human available = cli_human_bytes(plan->free_bytes);
    cli_human written = cli_human_bytes(plan->written_bytes);
    conversion->plan = *plan;
    if (conversion->progress.quiet) return true;
    cli_note("reading %s, writing %s to %s; %s of disk space needed, %s free", source.text,
             output.text, conversion->out, needed.text, available.text);
    if (plan->written_bytes)
        cli_note("%s of it are there already; going on where it stopped", written.text);
    if (plan->tensors_left_out)
        cli_note("%d tensors of the vision tower are left out", plan->tensors_left_out);
    return true;
}

bool cli_conversion_progress(void *context, const sluice_convert_progress *progress)
{
    cli_conversion *conversion = context;
    conversion->seconds = progress->seconds;
    cli_conversion_show(&conversion->progress, progress);
    return !cli_interrupted();
}

void cli_conversion_show(cli_progress *line, const sluice_convert_progress *p)
{
    double percent =
        p->bytes_total ? 100.0 * (double)p->bytes_done / (double)p->bytes_total : 100.0;
    cli_human done = cli_human_bytes(p->bytes_done), total = cli_human_bytes(p->bytes_total);
    cli_human rate = cli_human_bytes((uint64_t)p->bytes_per_second);
    cli_human left = cli_human_seconds(p->seconds_left);
    cli_progress_show(line, "converting: %3.0f%%  %s of %s  %s/s  %s%s  file %d of %d (%s)",
                      percent, done.text, total.text, rate.text,
                      p->seconds_left < 0 ? "time left not known yet" : left.text,
                      p->seconds_left < 0 ? "" : " left", p->files_done, p->files_total,
                      p->file ? p->file : "finishing");
}

int cli_conversion_finish(cli_conversion *conversion, sluice_status status, const sluice_error *err,
                          bool json, json_t *details)
{
    const sluice_convert_plan *plan = &conversion->plan;
    json_t *result = NULL;
    cli_progress_clear(&conversion->progress);
    if (json && status == SLUICE_OK) {
        result = json_pack("{s:s, s:I, s:I, s:f}", "path", conversion->out, "source_bytes",
                           (json_int_t)plan->source_bytes, "output_bytes",
                           (json_int_t)plan->output_bytes, "seconds", conversion->seconds);
        if (details && json_object_update(result, details)) {
            json_decref(result);
            result = NULL;
        }
    }
    json_decref(details);
    if (status == SLUICE_CANCELLED)
        return cli_fail("stopped; the same command goes on where it stopped");
    if (status != SLUICE_OK) return cli_fail_error(err);
    if (json) return cli_output_json(result);
    cli_human bytes = cli_human_bytes(plan->output_bytes);
    cli_human seconds = cli_human_seconds(conversion->seconds);
    printf("%s: %s in %s\n", conversion->out, bytes.text, seconds.text);
    return cli_output_finish();
}
