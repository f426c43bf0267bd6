/* Model flags and opening models; see model_flags.h. */
#include "model_flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conversion.h"
#include "interrupt.h"

#define AT(field) offsetof(cli_model_flags, field)

const cli_option cli_model_options[] = {
    {"threads", 0, CLI_INTEGER, "N", AT(threads), 1, 1024,
     "Worker threads (one per physical core)."},
    {"cache", 0, CLI_SIZE, "SIZE", AT(cache), 0, 0,
     "Memory for experts, such as 4M or 6GiB (what --memory leaves). Any size gives the same "
     "output; more is faster."},
    {"memory", 0, CLI_SIZE, "SIZE", AT(memory), 0, 0,
     "Memory for everything (what the machine or its cgroup has free, less some slack)."},
    {"context", 0, CLI_INTEGER, "N", AT(context), 1, INT32_MAX,
     "Tokens that a session can hold (the model's own limit, or what fits in memory)."},
    {"chunk", 0, CLI_INTEGER, "N", AT(chunk), 64, 1 << 20,
     "Tokens of a prompt that go through the model together, a multiple of 64 (chosen by memory)."},
    {"cpu", 0, CLI_CHOICE, "scalar|avx2|avx512|neon|auto", AT(cpu), 0, 0,
     "Instructions to use; never more than the machine has (auto)."},
    {"exact", 0, CLI_FLAG, NULL, AT(exact), 0, 0,
     "Activations in f32 everywhere, as the reference has them (the default)."},
    {"int8", 0, CLI_FLAG, NULL, AT(int8), 0, 0,
     "Activations rounded to int8 in products with quantised weights: faster, less exact."},
    {"io", 0, CLI_CHOICE, "auto|uring|pread|buffered|mmap", AT(io), 0, 0,
     "How experts are read from disk (auto)."},
    {"cache-policy", 0, CLI_CHOICE, "reuse|lfru|lru|s3fifo", AT(cache_policy), 0, 0,
     "Which experts stay in memory; never what comes out (reuse)."},
    {"lookahead", 0, CLI_TEXT, "N|off", AT(lookahead), 0, 0,
     "While decoding, read N experts that the next layer will probably want (4)."},
    {"experts", 0, CLI_TEXTS, "DIR", AT(experts), 0, 0,
     "Look for expert files in this folder too; may be given again. What lies in several folders "
     "is "
     "read from all of them, by their speed."},
    {"adapter", 0, CLI_TEXTS, "DIR[:SCALE]", AT(adapters), 0, 0,
     "Add a low-rank adapter (a PEFT folder, as sluice train writes) to the model, times SCALE "
     "(1); "
     "may be given again."},
    {"mlock", 0, CLI_FLAG, NULL, AT(mlock), 0, 0,
     "Lock the model's trunk into memory, so that it is never swapped out."},
    {"prefault", 0, CLI_FLAG, NULL, AT(prefault), 0, 0,
     "Take the cache's memory at the start, not as experts arrive: a later start, but the first "
     "answers are as fast as those after them."},
    {"warm", 0, CLI_FLAG, NULL, AT(warm), 0, 0,
     "Begin with the experts in memory that earlier runs with --warm wanted most."},
    {"verify-reads", 0, CLI_FLAG, NULL, AT(verify_reads), 0, 0,
     "Check the checksum of every expert that is read."},
    {0}};

const cli_option cli_lever_options[] = {
    {"k", 0, CLI_INTEGER, "N", AT(k), 1, 1024,
     "Run only the N most wanted experts of each layer (all that the model was made for)."},
    {"experts-top-p", 0, CLI_NUMBER, "P", AT(levers.top_p), 0, 1,
     "Of a token's experts run the fewest whose gates hold this share (1)."},
    {"tiers", 0, CLI_TEXT, "off|aggressive|balanced|FILE", AT(levers.tiers), 0, 0,
     "Layers whose experts change little run few or none, by a calibration; or a file of "
     "{\"k\": [one number a layer]} (off)."},
    {"skip-above", 0, CLI_NUMBER, "C", AT(levers.skip_above), 0, 1,
     "With --tiers: layers run the shared expert alone if it keeps the residual stream within this "
     "cosine (0.995; balanced 0.999)."},
    {"light-above", 0, CLI_NUMBER, "C", AT(levers.light_above), 0, 1,
     "With --tiers: within this cosine layers run few experts (0.98; balanced 0.99)."},
    {"light-k", 0, CLI_INTEGER, "N", AT(levers.light_k), 1, 1024,
     "With --tiers: how many those run (a fifth of all; balanced half)."},
    {"full-k", 0, CLI_INTEGER, "N", AT(levers.full_k), 1, 1024,
     "With --tiers: how many all other layers run (half of all; balanced all)."},
    {"budget-loads", 0, CLI_NUMBER, "N", AT(levers.budget_loads), 0, 1e6,
     "So many loads of experts a token over all layers, on average, where a calibration says that "
     "they matter most."},
    {"prefill", 0, CLI_TEXT, "full|shared|k=N", AT(levers.prefill), 0, 0,
     "Run the prompt, but for its end, by shared experts alone or with N of each layer (full)."},
    {"prefill-full-tail", 0, CLI_INTEGER, "N", AT(levers.prefill_full_tail), 1, 1 << 24,
     "With --prefill: so many tokens of a prompt's end run in full (64)."},
    {"cache-bias", 0, CLI_NUMBER, "B", AT(levers.cache_bias), 0, 1,
     "Prefer experts in memory whose gates are less than this share of all weaker. The only one of "
     "these with which answers depend on the cache (0)."},
    {"kv", 0, CLI_CHOICE, "f32|f16|int8", AT(levers.kv), 0, 0,
     "How keys and values are kept: f16 takes half the memory and is rounded; int8 takes a "
     "quarter, "
     "is rounded more, and makes long contexts faster (f32)."},
    {"calibration", 0, CLI_TEXT, "FILE", AT(levers.calibration), 0, 0,
     "For --tiers and --budget-loads (calibration.json in the model's folder)."},
    {0}};

const cli_option cli_output_options[] = {
    {"json", 0, CLI_FLAG, NULL, offsetof(cli_output_flags, json), 0, 0,
     "Print the result as one line of JSON."},
    {"quiet", 0, CLI_FLAG, NULL, offsetof(cli_output_flags, quiet), 0, 0,
     "Nothing on stderr but errors."},
    {0}};

int cli_model_path(const char *model, char **path)
{
    sluice_error err = {0};
    if (!model) return sluice_locate_nano(path, &err) == SLUICE_OK ? CLI_OK : cli_fail_error(&err);
    *path = strdup(model);
    return *path ? CLI_OK : cli_fail("not enough memory for a path");
}

static void notice(void *context, const char *line)
{
    const cli_progress *progress = context;
    if (!progress->quiet) cli_note("%s", line);
}

static bool show_conversion(void *context, const sluice_convert_progress *progress)
{
    cli_conversion_show(context, progress);
    return true;
}

static bool interrupted(void *context)
{
    (void)context;
    return cli_interrupted();
}

/* false: neither a number of experts nor "off". */
static bool read_lookahead(const char *text, int32_t *lookahead)
{
    char *end;
    *lookahead = 0;
    if (!text) return true;
    if (!strcmp(text, "off")) {
        *lookahead = -1;
        return true;
    }
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 1024) return false;
    *lookahead = (int32_t)n;
    return true;
}

/* DIR:SCALE, where what follows the last colon is a number; else all of it is DIR. */
int cli_adapters_read(const cli_texts *texts, sluice_adapter_choice *choices)
{
    if (texts->n > SLUICE_ADAPTERS_MAX)
        return cli_usage("--adapter can be given %d times, not %d", SLUICE_ADAPTERS_MAX, texts->n);
    for (int32_t i = 0; i < texts->n; i++) {
        const char *text = texts->at[i], *colon = strrchr(text, ':');
        char *end = NULL;
        float scale = colon && colon[1] ? strtof(colon + 1, &end) : 1.0f;
        const bool scaled = end && !*end;
        char *path = scaled ? strndup(text, (size_t)(colon - text)) : strdup(text);
        if (!path) return cli_fail("not enough memory for a path");
        choices[i] = (sluice_adapter_choice){path, scaled ? scale : 1.0f};
    }
    return CLI_OK;
}

void cli_adapters_free(sluice_adapter_choice *choices)
{
    for (int i = 0; i < SLUICE_ADAPTERS_MAX; i++)
        free((char *)(uintptr_t)choices[i].path);
}

static sluice_engine_options engine_options(const cli_model_flags *flags, int32_t lookahead,
                                            cli_progress *progress)
{
    sluice_engine_options options = sluice_engine_options_default();
    options.memory_bytes = flags->memory;
    options.cache_bytes = flags->cache;
    options.threads = flags->threads;
    options.cpu = flags->cpu;
    if (flags->exact || flags->int8) options.exact = flags->exact;
    options.context = flags->context;
    options.chunk = flags->chunk;
    options.sessions = flags->sessions;
    options.k = flags->k;
    options.levers = flags->levers;
    options.io = flags->io;
    options.verify_reads = flags->verify_reads;
    options.cache_policy = flags->cache_policy;
    options.lookahead = lookahead;
    options.routes = flags->routes;
    options.routes_context = flags->routes_context;
    options.expert_folders = flags->experts.at;
    options.n_expert_folders = flags->experts.n;
    options.warm_start = flags->warm;
    options.lock_trunk = flags->mlock;
    options.prefault = flags->prefault;
    options.notice = notice;
    options.progress = show_conversion;
    options.interrupted = interrupted;
    options.callback_context = progress;
    return options;
}

int cli_engine_open(const char *model, const cli_model_flags *flags, bool quiet,
                    sluice_engine **out)
{
    sluice_error err = {0};
    cli_progress progress = {.quiet = quiet};
    if (flags->chunk % 64 != 0)
        return cli_usage("--chunk must be a multiple of 64, not %d", flags->chunk);
    if (flags->exact && flags->int8) return cli_usage("--exact and --int8 exclude each other");
    int32_t lookahead;
    if (!read_lookahead(flags->lookahead, &lookahead))
        return cli_usage("--lookahead takes a number of experts from 1 to 1024 or 'off', not '%s'",
                         flags->lookahead);
    sluice_engine_options options = engine_options(flags, lookahead, &progress);
    sluice_adapter_choice adapters[SLUICE_ADAPTERS_MAX] = {{0}};
    int result = cli_adapters_read(&flags->adapters, adapters);
    options.adapters = adapters;
    options.n_adapters = flags->adapters.n;
    if (result == CLI_OK && sluice_engine_open(model, &options, out, &err) != SLUICE_OK) {
        cli_progress_clear(&progress);
        result = cli_fail_error(&err);
    }
    cli_progress_clear(&progress);
    cli_adapters_free(adapters);
    return result;
}

sluice_engine_options cli_engine_options(const cli_model_flags *flags, cli_progress *progress)
{
    return engine_options(flags, 0, progress);
}

int cli_tokenizer_open(const char *model, sluice_tokenizer **out)
{
    sluice_error err = {0};
    char *folder, *path = NULL;
    int status = cli_model_path(model, &folder);
    if (status != CLI_OK) return status;
    if (asprintf(&path, "%s/tokenizer.json", folder) < 0)
        status = cli_fail("not enough memory for a path");
    else if (sluice_tokenizer_open(path, out, &err) != SLUICE_OK)
        status = cli_fail_error(&err);
    free(path);
    free(folder);
    return status;
}

int cli_engine_tokenizer(const sluice_engine *engine, const sluice_tokenizer **out)
{
    *out = sluice_engine_tokenizer(engine);
    if (*out) return CLI_OK;
    return cli_fail("the model's folder has no tokenizer.json: only token ids can be used (--ids)");
}

int cli_container_locate(const char *model, bool quiet, char **path)
{
    sluice_error err = {0};
    cli_progress progress = {.quiet = quiet};
    cli_model_flags flags = {0};
    sluice_engine_options options = engine_options(&flags, 0, &progress);
    sluice_status status = sluice_model_locate(model, &options, path, &err);
    cli_progress_clear(&progress);
    return status == SLUICE_OK ? CLI_OK : cli_fail_error(&err);
}
