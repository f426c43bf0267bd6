/* sluice inspect: what a model is, how large, and what a token costs; from headers alone. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/convert.h"

typedef struct inspect_args {
    bool json;
} inspect_args;

static const cli_option options[] = {{"json", 0, CLI_FLAG, NULL, offsetof(inspect_args, json), 0, 0,
                                      "Print the result as one line of JSON."},
                                     {0}};
static const cli_group groups[] = {{"Options", options, 0}, {0}};

static void row(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void row(const char *name, const char *format, ...)
{
    va_list args;
    printf("  %-22s", name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void print_geometry(const sluice_inspection *m)
{
    puts("Geometry");
    row("layers", "%d: %d attention, %d GDN%s", m->layers, m->attention_layers, m->gdn_layers,
        m->mtp_layers ? ", and an MTP head" : "");
    row("hidden, vocabulary", "%d, %d%s", m->hidden, m->vocab,
        m->tied ? " (head tied to the embedding)" : "");
    row("experts a layer", "%d of width %d, %d at work; a shared one of width %d", m->experts,
        m->expert_width, m->top_k, m->shared_width);
    row("attention", "%d query and %d KV heads of %d, RoPE on %d", m->heads, m->kv_heads,
        m->head_dim, m->rotary_dim);
    row("GDN", "%d key heads of %d, %d value heads of %d, convolution %d", m->gdn_k_heads,
        m->gdn_k_dim, m->gdn_v_heads, m->gdn_v_dim, m->conv_width);
    row("context", "%d tokens", m->context_max);
}

static void print_sizes(const sluice_inspection *m)
{
    cli_human files = cli_human_bytes(m->file_bytes), trunk = cli_human_bytes(m->trunk_bytes);
    cli_human experts = cli_human_bytes(m->expert_bytes), record = cli_human_bytes(m->record_bytes);
    cli_human kv = cli_human_bytes(m->kv_bytes_per_token), state = cli_human_bytes(m->state_bytes);
    puts("Sizes");
    row("weights", "%.4g %s", (double)m->weights / (m->weights >= 1000000000 ? 1e9 : 1e6),
        m->weights >= 1000000000 ? "billion" : "million");
    row("expert format", "%s", m->expert_formats);
    row("trunk format", "%s", m->trunk_formats);
    row("files", "%s", files.text);
    row("experts, on disk", "%s; one expert at most %s", experts.text, record.text);
    row("trunk, in memory", "%s", trunk.text);
    row("state of a session", "%s, and %s a token of context", state.text, kv.text);
    if (m->tensors_left_out) row("left out", "%d tensors (vision)", m->tensors_left_out);
}

static void print_tokens(const sluice_inspection *m)
{
    puts("Read per token with nothing cached");
    for (int k = m->top_k < 64 ? m->top_k : 64; k >= 1; k--) {
        char name[32];
        cli_human bytes = cli_human_bytes(m->token_bytes[k]);
        snprintf(name, sizeof name, "%d expert%s a layer", k, k == 1 ? "" : "s");
        row(name, "%s%s", bytes.text, k == m->top_k ? "  (the full model)" : "");
    }
}

static int inspect_json(const char *path)
{
    sluice_error err = {0};
    char *json = NULL;
    if (sluice_inspect_json(path, &json, &err) != SLUICE_OK) return cli_fail_error(&err);
    size_t length = strlen(json);
    fputs(json, stdout);
    if (length == 0 || json[length - 1] != '\n') putchar('\n');
    free(json);
    return cli_output_finish();
}

static int inspect_text(const char *path)
{
    sluice_inspection inspection;
    sluice_error err = {0};
    if (sluice_inspect(path, &inspection, &err) != SLUICE_OK) return cli_fail_error(&err);
    printf("%s: %s, %s\n", path,
           inspection.kind == SLUICE_MODEL_CONTAINER ? "converted" : "a checkpoint, not converted",
           inspection.layout);
    print_geometry(&inspection);
    print_sizes(&inspection);
    print_tokens(&inspection);
    return cli_output_finish();
}

static int run(int argc, char **argv)
{
    inspect_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_inspect, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;

    char *path;
    status = cli_model_path(positional[0], &path);
    if (status != CLI_OK) return status;
    status = args.json ? inspect_json(path) : inspect_text(path);
    free(path);
    return status;
}

const cli_command cli_command_inspect = {
    .name = "inspect",
    .summary = "Geometry, formats, sizes, and bytes read per token",
    .usage = "[MODEL] [--json]",
    .description =
        "Shows what a model is, converted or not, from the headers of its files: geometry, number "
        "formats, sizes on disk and in memory, and how many bytes a token reads when nothing is "
        "cached, with all of its experts or fewer.",
    .examples = "sluice inspect\nsluice inspect ~/models/qwen3.5-397b.sluice --json",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
