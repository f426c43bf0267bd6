/* sluice plan: what a model would do on this machine, before it is downloaded. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "conversion.h"
#include "interrupt.h"
#include "model_flags.h"
#include "output.h"
#include "sluice/plan.h"

typedef struct plan_args {
    cli_output_flags output;
    const char *geometry, *experts, *trunk, *disk, *cpu, *io, *kv;
    int32_t layers, vocab, threads, context, chunk, prompt;
    uint64_t memory;
    bool exact, int8;
} plan_args;

#define AT(field) offsetof(plan_args, field)
static const cli_option options[] = {
    {"geometry", 0, CLI_TEXT, "NAME|FILE", AT(geometry), 0, 0,
     "Instead of MODEL: qwen3.5-397b, qwen3.5-122b, qwen3.5-35b, or the sizes of a config.json."},
    {"layers", 0, CLI_INTEGER, "N", AT(layers), 1, 512, "Layers (all of the geometry's)."},
    {"vocab", 0, CLI_INTEGER, "N", AT(vocab), 1, 1 << 24, "Vocabulary (the geometry's)."},
    {"experts", 0, CLI_CHOICE, CLI_FORMATS, AT(experts), 0, 0,
     "Format of the experts (the model's own; q4 for a geometry)."},
    {"trunk", 0, CLI_CHOICE, CLI_FORMATS, AT(trunk), 0, 0,
     "Format of everything else (the model's own; q8 for a geometry)."},
    {"memory", 0, CLI_SIZE, "SIZE", AT(memory), 0, 0,
     "Memory for everything (what the machine or its cgroup has free, less some slack)."},
    {"disk", 0, CLI_TEXT, "FOLDER", AT(disk), 0, 0,
     "Measure the disk of this folder (beside MODEL, or here)."},
    {"prompt", 0, CLI_INTEGER, "N", AT(prompt), 1, 1 << 24,
     "Tokens of the prompt whose time is told (512)."},
    {"context", 0, CLI_INTEGER, "N", AT(context), 1, INT32_MAX,
     "Tokens that a session can hold (what fits)."},
    {"kv", 0, CLI_CHOICE, "f32|f16|int8", AT(kv), 0, 0, "As in 'sluice run'."},
    {"chunk", 0, CLI_INTEGER, "N", AT(chunk), 64, 1 << 20,
     "Tokens of a prompt that go through the model together (chosen by memory)."},
    {"threads", 0, CLI_INTEGER, "N", AT(threads), 1, 1024,
     "Worker threads (one per physical core)."},
    {"cpu", 0, CLI_CHOICE, "scalar|avx2|avx512|neon|auto", AT(cpu), 0, 0,
     "Instructions to use (auto)."},
    {"exact", 0, CLI_FLAG, NULL, AT(exact), 0, 0, "As in 'sluice run'."},
    {"int8", 0, CLI_FLAG, NULL, AT(int8), 0, 0, "As in 'sluice run'."},
    {"io", 0, CLI_CHOICE, "auto|uring|pread|buffered|mmap", AT(io), 0, 0,
     "How experts are read from disk (auto)."},
    {0}};
#undef AT
static const cli_group groups[] = {
    {"What to plan", options, 0}, {"Output", cli_output_options, offsetof(plan_args, output)}, {0}};

static bool interrupted(void *context)
{
    (void)context;
    return cli_interrupted();
}

static void print_machine(const sluice_plan *plan)
{
    cli_human read = cli_human_bytes(plan->disk.read_bytes);
    cli_human free_bytes = cli_human_bytes(plan->disk_free_bytes);
    printf("Machine (measured in %.0f s)\n", plan->seconds);
    printf(
        "  disk      %.2f GB/s in reads of %s (%s, %d in flight), %.2f while decoding; %s free\n",
        plan->disk.bytes_per_second * 1e-9, read.text, plan->disk.io, plan->disk.depth,
        plan->stream_speed * 1e-9, free_bytes.text);
    printf("  memory    %.1f GB/s with %d thread%s\n", plan->memory_speed * 1e-9, plan->threads,
           plan->threads == 1 ? "" : "s");
    printf("  kernels   %.1f ms a token for trunk and head, %.2f ms an expert\n",
           (plan->trunk_seconds + plan->head_seconds) * 1e3, plan->rates[0].expert_seconds * 1e3);
}

static void print_fit(const sluice_plan *plan)
{
    cli_human memory = cli_human_bytes(plan->memory_bytes),
              floor = cli_human_bytes(plan->floor_bytes);
    cli_human trunk = cli_human_bytes(plan->trunk_bytes),
              state = cli_human_bytes(plan->state_bytes);
    cli_human scratch = cli_human_bytes(plan->scratch_bytes);
    cli_human cache = cli_human_bytes(plan->cache_bytes), bank = cli_human_bytes(plan->bank_bytes);
    cli_human disk = cli_human_bytes(plan->disk_bytes);
    puts("Fit");
    if (plan->on_disk)
        printf("  disk      %s, already there\n", disk.text);
    else
        printf("  disk      %s needed: %s\n", disk.text,
               plan->disk_bytes <= plan->disk_free_bytes ? "fits" : "does NOT fit");
    if (!plan->fits) {
        printf("  memory    %s is NOT enough: %s is the least\n", memory.text, floor.text);
        return;
    }
    printf("  memory    %s (%s is the least): trunk %s, a session of %d tokens %s, scratch %s\n",
           memory.text, floor.text, trunk.text, plan->context, state.text, scratch.text);
    printf("  experts   %s of %s in memory (%.1f%%)\n", cache.text, bank.text,
           100.0 * (double)plan->cache_bytes / (double)plan->bank_bytes);
}

static void print_rates(const sluice_plan *plan)
{
    puts("Decoding, tokens/s          experts chosen uniformly      as the field has measured "
         "(LRU)");
    puts("  experts     k     on disk     found   tokens/s            found   tokens/s");
    for (int32_t i = 0; i < plan->n_rates; i++) {
        const sluice_plan_rate *rate = &plan->rates[i];
        cli_human disk = cli_human_bytes(rate->disk_bytes);
        printf("  %-10s %2d  %10s  ", rate->format, rate->k, disk.text);
        if (!(rate->rate_uniform > 0)) {
            puts("does not fit into memory");
            continue;
        }
        printf("%6.1f%%  %8.2f  %-8s  %6.1f%%  %8.2f%s\n", rate->hits_uniform * 100,
               rate->rate_uniform, rate->disk_bound ? "by disk" : "by cores",
               rate->hits_recency * 100, rate->rate_recency, i == 0 ? "  the model as it is" : "");
    }
    puts("  Fewer experts or bits change the answers; what it costs is for an evaluation to say.");
}

static void print_help(const sluice_plan *plan)
{
    static const char *const names[SLUICE_PLAN_HELPS] = {
        "a disk twice as fast", "twice the memory for experts", "computing twice as fast"};
    int best = 0;
    for (int i = 1; i < SLUICE_PLAN_HELPS; i++)
        if (plan->help[i] > plan->help[best]) best = i;
    printf("Prompt of %d tokens: %.1f s, %.1f tokens/s (chunks of %d)\n", plan->prompt,
           plan->prompt_seconds, plan->prompt / plan->prompt_seconds, plan->chunk);
    printf("What would help most: %s (%.2f times as fast; ", names[best], plan->help[best]);
    for (int i = 0, n = 0; i < SLUICE_PLAN_HELPS; i++)
        if (i != best) printf("%s%s %.2f", n++ ? ", " : "", names[i], plan->help[i]);
    puts(")");
}

static json_t *rates_json(const sluice_plan *plan)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < plan->n_rates; i++) {
        const sluice_plan_rate *rate = &plan->rates[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:s}", "experts",
                      rate->format, "bits", rate->bits, "k", rate->k, "record_bytes",
                      (json_int_t)rate->record_bytes, "disk_bytes", (json_int_t)rate->disk_bytes,
                      "cache_bytes", (json_int_t)rate->cache_bytes, "expert_ms",
                      rate->expert_seconds * 1e3, "hit_rate_uniform", rate->hits_uniform,
                      "hit_rate_lru", rate->hits_recency, "tokens_per_second_uniform",
                      rate->rate_uniform, "tokens_per_second_lru", rate->rate_recency, "bound_by",
                      rate->disk_bound ? "disk" : "cores"));
    }
    return list;
}

static json_t *plan_json(const sluice_plan *plan)
{
    json_t *machine = json_pack(
        "{s:f, s:f, s:I, s:i, s:s, s:f, s:i, s:f, s:f, s:f, s:f}", "disk_gb_per_second",
        plan->disk.bytes_per_second * 1e-9, "stream_gb_per_second", plan->stream_speed * 1e-9,
        "read_bytes", (json_int_t)plan->disk.read_bytes, "depth", plan->disk.depth, "io",
        plan->disk.io, "memory_gb_per_second", plan->memory_speed * 1e-9, "threads", plan->threads,
        "trunk_ms", plan->trunk_seconds * 1e3, "head_ms", plan->head_seconds * 1e3,
        "slowdown_while_reading", plan->slowdown, "seconds", plan->seconds);
    json_t *model =
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:I}", "layers", plan->layers, "hidden",
                  plan->hidden, "vocab", plan->vocab, "experts", plan->experts, "top_k",
                  plan->top_k, "expert_format", plan->expert_format, "trunk_format",
                  plan->trunk_format, "weights", (json_int_t)plan->weights);
    json_t *memory = json_pack(
        "{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "fits", plan->fits, "memory_bytes",
        (json_int_t)plan->memory_bytes, "floor_bytes", (json_int_t)plan->floor_bytes, "trunk_bytes",
        (json_int_t)plan->trunk_bytes, "state_bytes", (json_int_t)plan->state_bytes,
        "scratch_bytes", (json_int_t)plan->scratch_bytes, "cache_bytes",
        (json_int_t)plan->cache_bytes, "bank_bytes", (json_int_t)plan->bank_bytes, "context",
        plan->context, "chunk", plan->chunk);
    return json_pack(
        "{s:o, s:o, s:o, s:{s:I, s:I, s:b}, s:o, s:{s:i, s:f, s:f}, s:{s:f, s:f, s:f}}", "machine",
        machine, "model", model, "memory", memory, "disk", "needed_bytes",
        (json_int_t)plan->disk_bytes, "free_bytes", (json_int_t)plan->disk_free_bytes, "there",
        plan->on_disk, "decode", rates_json(plan), "prefill", "tokens", plan->prompt, "seconds",
        plan->prompt_seconds, "tokens_per_second",
        plan->prompt_seconds > 0 ? plan->prompt / plan->prompt_seconds : 0.0, "help",
        "disk_twice_as_fast", plan->help[SLUICE_PLAN_HELP_DISK], "twice_the_memory_for_experts",
        plan->help[SLUICE_PLAN_HELP_MEMORY], "computing_twice_as_fast",
        plan->help[SLUICE_PLAN_HELP_CORES]);
}

static void print_plan(const char *name, const sluice_plan *plan)
{
    printf("%s: %.4g billion weights, %d layers, %d of %d experts; experts %s, trunk %s\n", name,
           (double)plan->weights * 1e-9, plan->layers, plan->top_k, plan->experts,
           plan->expert_format, plan->trunk_format);
    print_machine(plan);
    print_fit(plan);
    print_rates(plan);
    if (plan->fits) print_help(plan);
}

static int run(int argc, char **argv)
{
    plan_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_plan, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!positional[0] == !args.geometry)
        return cli_usage("either a MODEL or --geometry is needed, such as --geometry qwen3.5-397b");
    if (positional[0] && (args.layers || args.vocab))
        return cli_usage("--layers and --vocab belong to --geometry");
    if (args.chunk % 64 != 0)
        return cli_usage("--chunk must be a multiple of 64, not %d", args.chunk);
    if (args.exact && args.int8) return cli_usage("--exact and --int8 exclude each other");

    sluice_plan_options plan_options = sluice_plan_options_default();
    plan_options.model = positional[0];
    plan_options.geometry = args.geometry;
    plan_options.layers = args.layers;
    plan_options.vocab = args.vocab;
    plan_options.experts = args.experts;
    plan_options.trunk = args.trunk;
    plan_options.disk = args.disk;
    plan_options.memory_bytes = args.memory;
    plan_options.threads = args.threads;
    plan_options.cpu = args.cpu;
    plan_options.io = args.io;
    if (args.exact || args.int8) plan_options.exact = args.exact;
    plan_options.kv = args.kv;
    plan_options.context = args.context;
    plan_options.chunk = args.chunk;
    plan_options.prompt = args.prompt;
    plan_options.interrupted = interrupted;

    sluice_plan plan;
    sluice_error err = {0};
    cli_interrupt_catch(true);
    cli_progress progress = {.quiet = args.output.quiet};
    cli_progress_show(&progress, "measuring disk, memory and kernels for some seconds");
    sluice_status made = sluice_plan_make(&plan_options, &plan, &err);
    cli_progress_clear(&progress);
    if (made == SLUICE_CANCELLED) return cli_fail("stopped; nothing was left behind");
    if (made != SLUICE_OK) return cli_fail_error(&err);
    if (args.output.json) return cli_output_json(plan_json(&plan));
    print_plan(args.geometry ? args.geometry : positional[0], &plan);
    return cli_output_finish();
}

const cli_command cli_command_plan = {
    .name = "plan",
    .summary = "What a model would do on this machine, before it is downloaded",
    .usage = "MODEL [options]\n--geometry NAME|FILE [options]",
    .description =
        "Measures disk, memory and cores for about ten seconds, and says what fits, how often an "
        "expert would be found in memory, and tokens per second for fewer experts and fewer bits; "
        "how long a prompt takes, how much disk space is needed, and what would help most. For "
        "measuring it writes up to 1.5 GB beside the model and deletes it again.\n"
        "Two cases are told: every expert as likely as any other, which is the worst, and the hit "
        "rates that others have measured on real text with an LRU cache and 512 experts (67% with "
        "an eighth of them in memory, 81% with a quarter), with other sizes put between.",
    .examples = "sluice plan --geometry qwen3.5-397b\n"
                "sluice plan --geometry qwen3.5-122b --memory 16GiB --disk /mnt/ssd\n"
                "sluice plan ~/models/qwen3.5-397b.sluice --json",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
