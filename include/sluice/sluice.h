/* sluice as a C library: open a model, keep conversations as sessions, run steps, generate.
 *
 * An engine owns one model, its memory budget, its worker threads and its expert cache. A session
 * is everything that one sequence remembers (KV, Gated DeltaNet state, tokens). One thread at a
 * time may use an engine and its sessions. The library never prints, never exits and calls back
 * only from inside the function that was given the callback. */
#ifndef SLUICE_SLUICE_H
#define SLUICE_SLUICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/convert.h"
#include "sluice/grammar.h"
#include "sluice/levers.h"
#include "sluice/status.h"
#include "sluice/text.h"

#ifdef __cplusplus
extern "C" {
#endif

const char *sluice_version(void); /* "0.1.0" */

/* The instruction sets that kernels use for a name as in sluice_engine_options.cpu, as words:
 * "avx2 avx512 avx512vnni", or "scalar". Cut to size. SLUICE_UNSUPPORTED: this machine lacks them.
 */
sluice_status sluice_cpu_describe(const char *cpu, char *words, size_t size, sluice_error *err);

/* ---- engine ---- */

typedef struct sluice_engine sluice_engine;
typedef struct sluice_session sluice_session;

/* A low-rank adapter: a folder in the form of Hugging Face's PEFT, and what it counts (1: as it was
 * trained). */
typedef struct sluice_adapter_choice {
    const char *path;
    float scale;
} sluice_adapter_choice;
#define SLUICE_ADAPTERS_MAX 8

typedef struct sluice_engine_options {
    uint64_t memory_bytes; /* budget for everything; 0: from cgroup limits and free memory */
    uint64_t cache_bytes;  /* expert cache; 0: what the budget leaves, at most the whole bank */
    int threads;           /* 0: one per physical core */
    const char *cpu;       /* "scalar", "avx2", "avx512", "neon" or "auto"; NULL is "auto" */
    bool exact;            /* f32 activations everywhere; false: int8 activations */
    int32_t context; /* positions of a session at most; 0: the model's, cut to fit the budget */
    int32_t k;       /* lossy: routed experts of a token, fewer than the model's; 0: the model's */
    sluice_levers levers; /* lossy: where speed is traded for quality; zeroed: nowhere */
    int32_t chunk;        /* rows of a step at most, a multiple of 64; 0: chosen from the budget */
    int32_t sessions;     /* keep memory aside for so many; 0: one. More may fail to open */
    const char *io;       /* "auto", "uring", "pread", "buffered", "mmap"; NULL is "auto" */
    bool verify_reads;    /* check the CRC32C of every record that is read */
    const char
        *cache_policy; /* which experts stay: "reuse", "lfru", "lru", "s3fifo"; NULL: the first */
    int32_t lookahead; /* experts of the next layer that are read on a guess while decoding; 0: the
                          default; negative: none */
    /* Folders besides the model's own that hold some or all of its expert files: for a model on
     * several disks. A file that lies in several is read from all, by their speed. At most 7. */
    const char *const *expert_folders;
    int32_t n_expert_folders;
    bool warm_start; /* begin with the experts that earlier runs with this option wanted most */
    bool prefault;   /* take the expert cache's memory at the start, not as experts arrive */
    bool lock_trunk; /* keep the trunk from being swapped out (mlock) */
    const sluice_adapter_choice *adapters; /* added to the model, in this order */
    int32_t n_adapters;
    /* Called with the distinct experts of every step and layer before they run, ascending. */
    void (*routes)(void *context, int32_t layer, const int32_t *ids, int32_t n);
    void *routes_context;
    /* Called with one line when the model must be converted first, then with its progress (whose
     * false stops it). */
    void (*notice)(void *context, const char *line);
    bool (*progress)(void *context, const sluice_convert_progress *progress);
    /* Asked before each chunk of a step; true ends it with SLUICE_CANCELLED, the sessions being
     * left at the last chunk. May be NULL. */
    bool (*interrupted)(void *context);
    void *callback_context;
} sluice_engine_options;

/* All defaults; change what differs. */
sluice_engine_options sluice_engine_options_default(void);

/* model: a container, a source folder (converted once into the user's cache folder, after notice),
 * or NULL for the bundled Nano. */
sluice_status sluice_engine_open(const char *model, const sluice_engine_options *options,
                                 sluice_engine **out, sluice_error *err);
void sluice_engine_close(sluice_engine *engine); /* after all of its sessions are closed */

/* Where model would be read from: the container's folder, after conversion into the cache if
 * needed. *path is freed with free(). */
sluice_status sluice_model_locate(const char *model, const sluice_engine_options *options,
                                  char **path, sluice_error *err);

/* The folder of the bundled model, Nano: beside the program, in the checkout that it was built
 * from, or where it was installed. *path is freed with free(). SLUICE_NOT_FOUND names the places
 * searched. */
sluice_status sluice_locate_nano(char **path, sluice_error *err);

/* NULL if the model's folder has no tokenizer.json. */
const sluice_tokenizer *sluice_engine_tokenizer(const sluice_engine *engine);

typedef struct sluice_model_info {
    const char *name; /* last part of the path */
    int32_t layers, hidden, vocab, experts, top_k, context_max;
    int32_t k;         /* routed experts of a token and layer in this engine at most */
    const char *lossy; /* names every setting that trades quality, such as "k 4 of 8"; "": none */
    double loads;      /* of experts a token, as calibrated for a budget; negative: not known */
    int32_t context;   /* what a session gets */
    int32_t chunk, threads; /* rows of a batch; threads that compute */
    uint64_t trunk_bytes;   /* that a batch goes through: all but embedding, head, routed experts */
    uint64_t head_bytes, record_bytes, bank_bytes; /* of the head, one routed expert, all of them */
    uint64_t cache_bytes;                          /* of them that memory can hold */
    const char *adapters; /* names of those in use, "NAME, NAME:0.5"; "" without */
    uint64_t adapter_bytes;
    const int32_t *stop_ids; /* tokens that end an answer */
    int32_t n_stop_ids;
} sluice_model_info;
const sluice_model_info *sluice_engine_info(const sluice_engine *engine);

typedef struct sluice_stats {
    uint64_t prompt_tokens, prompt_us;     /* prefilled */
    uint64_t decode_tokens, decode_us;     /* one step a token */
    uint64_t first_token_us;               /* of the last generation, from its start */
    uint64_t expert_requests, expert_hits; /* distinct experts of each step and layer */
    uint64_t expert_uses; /* experts of each token and layer: tokens of a step may share one */
    uint64_t expert_bytes_read, expert_wait_us;
    uint64_t lookahead_reads, lookahead_used; /* read before they were asked for; and then wanted */
    /* Of the layers that were guessed for: experts guessed, wanted, and both. Recall is right /
     * wanted; a guess that was in memory already counts too. */
    uint64_t lookahead_guessed, lookahead_wanted, lookahead_right;
    /* Where the time of all steps went: trunk (mixers, routers, shared experts), routed experts
     * without waiting for the disk (that is expert_wait_us), head. */
    uint64_t trunk_us, expert_us, head_us;
    uint64_t batches, head_batches; /* times that the trunk, and the head, were gone through */
    uint64_t memory_bytes, memory_peak_bytes; /* charged to the budget */
    uint64_t cache_bytes; /* of experts in memory at most, now: less while the machine needs it */
    uint64_t rss_peak_bytes; /* of the process, as the system counts it */
} sluice_stats;
void sluice_engine_stats(const sluice_engine *engine, sluice_stats *stats);
void sluice_engine_stats_reset(sluice_engine *engine);

/* ---- sessions ---- */

sluice_status sluice_session_open(sluice_engine *engine, sluice_session **out, sluice_error *err);
void sluice_session_close(sluice_session *session);

/* The tokens that the session has seen, owned by it, valid until it changes. */
const int32_t *sluice_session_tokens(const sluice_session *session, int32_t *count);

/* Says that the session's next count tokens are a prompt, in however many steps they come: all of
 * them but its end run as levers.prefill says. What a generation gets is a prompt without this.
 * Ends with the prompt, and when the session is cleared or takes over another state. */
void sluice_session_prompt(sluice_session *session, int32_t count);

/* Forget everything; take over another session's state (same engine); write it as a versioned,
 * checksummed file and read it back (refused for another model or version). */
void sluice_session_clear(sluice_session *session);
sluice_status sluice_session_copy(sluice_session *to, const sluice_session *from,
                                  sluice_error *err);
sluice_status sluice_session_save(sluice_session *session, const char *path, sluice_error *err);
sluice_status sluice_session_load(sluice_session *session, const char *path, sluice_error *err);

/* ---- steps ---- */

typedef struct sluice_input {
    sluice_session *session; /* at most once in a step */
    const int32_t *tokens;   /* appended to the session */
    int32_t count;
    int32_t logits_from; /* logits are wanted for tokens [logits_from, count); count for none */
} sluice_input;

/* Called for each row of logits [vocab] that was asked for, in order of inputs and tokens; valid
 * during the call. A status other than SLUICE_OK stops the step's remaining rows. */
typedef sluice_status (*sluice_logits_fn)(void *context, int32_t input, int32_t token,
                                          const float *logits);
/* One that drops them: they are computed all the same, for who measures. */
sluice_status sluice_logits_drop(void *context, int32_t input, int32_t token, const float *logits);

/* Runs all inputs through the model, in chunks of at most the engine's chunk rows, each chunk as
 * one batch. The result of a row does not depend on the others. If it fails the sessions that took
 * part are left at the last chunk that succeeded and stay usable (after a read error, the next step
 * first runs their tokens again). Too many tokens for the context is SLUICE_LIMIT before anything
 * runs. */
sluice_status sluice_engine_step(sluice_engine *engine, const sluice_input *inputs, int32_t n,
                                 sluice_logits_fn on_logits, void *context, sluice_error *err);

/* What a step computed inside, for tests and research; pointers valid during the call.
 * layer: routes of the rows of one layer: ids and renormalised weights [rows, k], largest first,
 * and hidden [rows, hidden] after the layer. */
typedef struct sluice_probe {
    void (*layer)(void *context, int32_t layer, int32_t rows, int32_t k, const int32_t *ids,
                  const float *weights, const float *hidden);
    void *context;
} sluice_probe;
void sluice_engine_probe(sluice_engine *engine, const sluice_probe *probe); /* NULL: off */

/* ---- sampling and generation ---- */

typedef struct sluice_sampling {
    float temperature;                         /* 0: greedy */
    int32_t top_k;                             /* 0: off */
    float top_p;                               /* 1: off */
    float min_p;                               /* 0: off */
    float presence_penalty, frequency_penalty; /* 0: off; over generated tokens, as OpenAI */
    float repetition_penalty;                  /* 1: off; over prompt and generated tokens */
    uint64_t seed;                             /* same seed, same text */
} sluice_sampling;

sluice_sampling sluice_sampling_greedy(void);
/* The family's recommendation: thinking T 1.0, top-p 0.95, top-k 20, presence 1.5; without thinking
 * T 0.7, top-p 0.8, top-k 20, presence 1.5. seed 0. */
sluice_sampling sluice_sampling_recommended(bool thinking);

typedef enum sluice_finish {
    SLUICE_FINISH_STOP,
    SLUICE_FINISH_LENGTH,
    SLUICE_FINISH_CANCELLED
} sluice_finish;

typedef struct sluice_generation {
    const int32_t *prompt; /* appended to the session first; may be empty to go on after an answer
                              that tokens_max or the callback cut off */
    int32_t prompt_count;
    int32_t tokens_max; /* generated at most; the context's end also stops */
    sluice_sampling sampling;
    bool ignore_stop; /* go on past stop tokens */
    /* NULL: none. Holds the answer to a grammar, from where the constraint is; made with the
     * engine's stop tokens. Not with ignore_stop. */
    sluice_constraint *constraint;
    /* Each token as it comes; false cancels. The stop token is not reported. */
    bool (*on_token)(void *context, int32_t token);
    void *context;
} sluice_generation;

/* Prefills the prompt and samples. ids (room for tokens_max) receives the *count tokens, without
 * the stop token. The session then holds prompt and answer; a stop token is not appended. Logits
 * that are not numbers are SLUICE_CORRUPT. If it fails, *count says how many tokens had come. */
sluice_status sluice_generate(sluice_session *session, const sluice_generation *generation,
                              int32_t *ids, int32_t *count, sluice_finish *finish,
                              sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
