/* Turning a downloaded checkpoint into a sluice container, and looking at either.
 *
 * A source is a folder as users have it: config.json, model.safetensors or shards with
 * model.safetensors.index.json, tokenizer files; Hugging Face or MLX names; bf16, f16, f32 or MLX
 * affine quantisation. A container is what convert writes (doc/format.md): the same folder, with
 * one aligned record per expert.
 *
 * Nothing here prints. All functions may be called from any thread; two conversions into one folder
 * exclude each other. Strings in options and callbacks are UTF-8 paths or names and are borrowed.
 */
#ifndef SLUICE_CONVERT_H
#define SLUICE_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

#include "sluice/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sluice_model_kind {
    SLUICE_MODEL_NONE,     /* no folder, or nothing in it that sluice knows */
    SLUICE_MODEL_SOURCE,   /* a checkpoint that convert reads */
    SLUICE_MODEL_CONTAINER /* what convert wrote */
} sluice_model_kind;

/* A quick look at the files that are there; says nothing about whether they are sound. */
sluice_model_kind sluice_model_kind_of(const char *dir);

/* ---- convert ---- */

/* Known before anything is written. */
typedef struct sluice_convert_plan {
    uint64_t source_bytes;    /* that will be read */
    uint64_t output_bytes;    /* of the finished container */
    uint64_t written_bytes;   /* of it already there, from a conversion that was interrupted */
    uint64_t needed_bytes;    /* free space that the rest needs at its peak (consume lowers it) */
    uint64_t free_bytes;      /* on the target's file system */
    int32_t tensors_left_out; /* of the vision tower */
    int32_t shards_kept;      /* by consume, because they hold tensors that are left out */
} sluice_convert_plan;

typedef struct sluice_convert_progress {
    uint64_t bytes_done, bytes_total; /* of the source, what an interrupted run did included */
    double bytes_per_second;          /* of this run */
    double seconds, seconds_left;     /* seconds_left < 0: not known yet */
    int32_t files_done, files_total;  /* of the container's tensor files */
    const char *file;                 /* being written, e.g. "experts-007.safetensors" */
} sluice_convert_progress;

typedef struct sluice_convert_options {
    /* "q2" "q3" "q4" "q5" "q6" "q8" "bf16", or NULL: the source's values. "q2/32", "q2/128": the
     * columns that share a scale, else 64 (32 where 64 does not divide the columns). "mix:3.5" or
     * "mix:3.5/32", for experts and only with importance: bits of every layer's gate, up and down
     * chosen so that 3.5 is their mean (scales not counted) and little is lost. */
    const char *experts;
    const char *trunk; /* the same for everything else; router and shared gate stay at 8 bits */
    /* A file of sluice/importance.h: values are rounded so that what weighs loses little. NULL:
     * each to the nearest of its group. */
    const char *importance;
    bool consume; /* delete each source shard once everything in it is safely written */
    int threads;  /* 0: as many as there are processors */
    /* Both may be NULL and are called in the thread that called convert; returning false stops the
     * conversion with SLUICE_CANCELLED (what is done stays, and is resumed). starting comes once,
     * before anything is written; progress at most ten times a second and at the end. */
    bool (*starting)(void *context, const sluice_convert_plan *plan);
    bool (*progress)(void *context, const sluice_convert_progress *progress);
    void *context;
} sluice_convert_options;

/* SLUICE_USAGE, with a sentence, where options name a format that is none; sluice_convert checks it
 * too. options may be NULL. */
sluice_status sluice_convert_check(const sluice_convert_options *options, sluice_error *err);

/* Reads the headers of source and fills plan, as if converting it to out. Writes nothing.
 * options may be NULL. */
sluice_status sluice_convert_measure(const char *source, const char *out,
                                     const sluice_convert_options *options,
                                     sluice_convert_plan *plan, sluice_error *err);

/* Converts the folder source to the folder out, which must not exist (or be empty). Works in
 * "OUT.partial" beside it and renames at the very end, so out is whole or absent. Calling it again
 * after an interruption of any kind goes on where it stopped. options may be NULL. Uses less than
 * 2 GB of memory whatever the size of the source.
 * Errors: SLUICE_NO_SPACE (with the numbers) before anything is written; SLUICE_CORRUPT and
 * SLUICE_UNSUPPORTED name file and tensor; SLUICE_USAGE if out exists or is being written. */
sluice_status sluice_convert(const char *source, const char *out,
                             const sluice_convert_options *options, sluice_error *err);

/* ---- inspect ---- */

/* What a model is, from its headers alone. */
typedef struct sluice_inspection {
    sluice_model_kind kind;
    char layout[32]; /* "container", "hf fused", "hf split", "mlx stacked" */
    int32_t layers, attention_layers, gdn_layers, mtp_layers;
    int32_t hidden, vocab, experts, top_k, expert_width, shared_width;
    int32_t heads, kv_heads, head_dim, rotary_dim;
    int32_t gdn_k_heads, gdn_v_heads, gdn_k_dim, gdn_v_dim, conv_width;
    int32_t context_max;
    bool tied;                /* lm_head is embed_tokens */
    char expert_formats[256]; /* "q4/64/bf16", or several with their share: "q4/64/bf16 75%, ..." */
    char trunk_formats[256];
    uint64_t weights;      /* number of weights */
    uint64_t file_bytes;   /* all tensor files of the folder */
    uint64_t trunk_bytes;  /* as a container holds it (what a source would become) */
    uint64_t expert_bytes; /* all records of all layers */
    uint64_t record_bytes; /* the largest record */
    uint64_t kv_bytes_per_token, state_bytes; /* of one sequence, f32 */
    int32_t tensors_left_out;
    uint64_t token_bytes[65]; /* [k]: expert bytes of one token with k experts a layer and an empty
                                 cache, 1 <= k <= top_k; zero beyond */
} sluice_inspection;

sluice_status sluice_inspect(const char *dir, sluice_inspection *inspection, sluice_error *err);

/* The same as a JSON object; *json is freed with free(). */
sluice_status sluice_inspect_json(const char *dir, char **json, sluice_error *err);

/* ---- verify ---- */

typedef struct sluice_verify_report {
    uint64_t tensors, tensors_bad; /* of the trunk */
    uint64_t records, records_bad; /* experts, all layers */
    uint64_t bytes;                /* read */
} sluice_verify_report;

typedef struct sluice_verify_options {
    bool (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total); /* false cancels */
    void *context;
} sluice_verify_options;

/* Reads every record and every trunk tensor of a container and compares their CRC32C. Goes on after
 * a bad one: the report counts all, and SLUICE_CORRUPT names the first (file, layer, expert,
 * offset). options and report may be NULL. */
sluice_status sluice_verify(const char *dir, const sluice_verify_options *options,
                            sluice_verify_report *report, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
