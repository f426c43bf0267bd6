/* The flags that every command with an engine shares, and opening models by them.
 *
 * MODEL is always the first positional argument and always a folder; without it the bundled Nano is
 * meant. Conversion of a checkpoint is announced and its progress shown, unless quiet. */
#ifndef SLUICE_PROGRAMS_MODEL_FLAGS_H
#define SLUICE_PROGRAMS_MODEL_FLAGS_H

#include "options.h"
#include "output.h"
#include "sluice/sluice.h"

typedef struct cli_model_flags {
    int32_t threads, context, chunk, k; /* 0: chosen */
    int32_t sessions;       /* to set memory aside for, by who opens them; 0: one; no flag */
    uint64_t cache, memory; /* bytes; 0: chosen */
    const char *cpu, *io;   /* NULL: auto */
    cli_texts experts;      /* folders */
    cli_texts adapters;     /* DIR or DIR:scale */
    sluice_levers levers;
    /* Not a flag: see sluice_engine_options. */
    void (*routes)(void *context, int32_t layer, const int32_t *ids, int32_t n);
    void *routes_context;
    const char *cache_policy; /* NULL: the default */
    const char *lookahead;    /* a number or "off"; NULL: the default */
    bool exact, int8, verify_reads, mlock, prefault, warm;
} cli_model_flags;

typedef struct cli_output_flags {
    bool json, quiet;
} cli_output_flags;

extern const cli_option cli_model_options[];
/* Of the same struct: what trades quality for speed. Every command with the other ones has them. */
extern const cli_option cli_lever_options[];
extern const cli_option cli_output_options[];

/* All of these tell what went wrong and return an exit status. */

/* The folder that a MODEL argument means, converted or not; freed with free(). */
int cli_model_path(const char *model, char **path);

int cli_engine_open(const char *model, const cli_model_flags *flags, bool quiet,
                    sluice_engine **out);
/* What --adapter was given, into [SLUICE_ADAPTERS_MAX] zeroed choices; to be freed even so. */
int cli_adapters_read(const cli_texts *texts, sluice_adapter_choice *choices);
void cli_adapters_free(sluice_adapter_choice *choices);
/* The options that these flags mean, for who opens no engine: without adapters and lookahead.
 * Progress must outlive what they are given to. */
sluice_engine_options cli_engine_options(const cli_model_flags *flags, cli_progress *progress);
int cli_tokenizer_open(const char *model, sluice_tokenizer **out);

/* The engine's tokenizer; a model without one can still be scored and continued by token ids. */
int cli_engine_tokenizer(const sluice_engine *engine, const sluice_tokenizer **out);

/* The container's folder, after conversion where needed; freed with free(). */
int cli_container_locate(const char *model, bool quiet, char **path);

#endif
