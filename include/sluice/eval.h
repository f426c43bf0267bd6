/* How good a model is: perplexity, divergence from the full model, and tasks with known answers.
 *
 * All of them run on an engine that the caller has opened, so every option of an engine (fewer
 * experts, int8 activations, a small cache) can be judged. Several windows of text, or several
 * questions, go through the model together; what is computed does not depend on how many. An
 * engine that should run many wants memory for them: sluice_engine_options.sessions = batch, and a
 * context of a window, or of the longest question and its answer.
 *
 * Data files are checked before anything runs: what is wrong is SLUICE_BAD_INPUT, naming file and
 * line. The engine's `interrupted` and a progress that returns false end an evaluation with
 * SLUICE_CANCELLED. Threads: as for the engine. */
#ifndef SLUICE_EVAL_H
#define SLUICE_EVAL_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A measured value and where the true one lies with 95% confidence; low and high are NaN where one
 * sample says nothing about that. */
typedef struct sluice_interval {
    double value, low, high;
} sluice_interval;

/* done of total windows or items; false stops. */
typedef bool (*sluice_eval_progress_fn)(void *context, int64_t done, int64_t total);

/* ---- text ---- */

/* A text's tokens are cut into windows that begin every `stride` tokens; only whole windows count.
 * Each starts cold. The first predicts all of its tokens but the first; later ones, where they
 * overlap, only what the window before did not reach. So stride = window gives window - 1
 * predictions each, as usual for disjoint windows; a smaller stride gives every prediction at least
 * window - stride tokens of context. */
typedef struct sluice_eval_text_options {
    int32_t window;      /* tokens; 0: 1024 */
    int32_t stride;      /* 1 to window; 0: window */
    int32_t windows_max; /* of each text; 0: all */
    int32_t batch;       /* windows that go through the model together; 0: 1 */
    /* For perplexity and divergence: every window as a line of JSON, as it is done. If the file
     * exists, what it holds is not run again; made by another model or with other settings it is
     * refused. NULL: none. */
    const char *log;
    bool special; /* text such as <|im_start|> becomes that special token */
    /* Tokens go in one at a time, as while answering, instead of as prompts: slow, and what shows
     * the price of a lever that depends on the cache. */
    bool decode;
    sluice_eval_progress_fn progress; /* may be NULL */
    void *context;
} sluice_eval_text_options;

typedef struct sluice_perplexity {
    int32_t windows;
    int64_t predicted; /* tokens */
    double nll;        /* their sum, nats */
    sluice_interval
        perplexity; /* exp(nll / predicted); the interval is from the spread of windows */
} sluice_perplexity;

/* paths: n files of UTF-8. each [n] may be NULL. */
sluice_status sluice_eval_perplexity(sluice_engine *engine, const char *const *paths, int32_t n,
                                     const sluice_eval_text_options *options,
                                     sluice_perplexity *each, sluice_perplexity *all,
                                     sluice_error *err);

/* The model's predictions for all of these windows, written to file (all or nothing): the
 * distribution over the whole vocabulary at every position in 16 bits a token, 2 * vocab + 16 bytes
 * a position. The file holds the tokens too. Until it is complete its name ends in .sluice-tmp; the
 * windows that a call left there before it was stopped are not run again. */
sluice_status sluice_eval_predictions_save(sluice_engine *engine, const char *const *paths,
                                           int32_t n, const sluice_eval_text_options *options,
                                           const char *file, sluice_perplexity *all,
                                           sluice_error *err);

/* Who made a file of predictions, and what this engine makes of the same windows. p is the file's
 * distribution, q the engine's; KL is the sum of p log(p / q), in nats a token. The file's 16 bits
 * blur a single one by some 1e-5 nats and their mean, over some hundred positions, by less than
 * 1e-6. */
typedef struct sluice_divergence {
    char model[64];       /* that made the file */
    uint32_t fingerprint; /* of its weights */
    int32_t k;            /* experts that it ran */
    bool exact;
    int32_t window, stride;
    sluice_perplexity base, perplexity; /* of the file, and of this engine */
    sluice_interval ratio;              /* of the perplexities; windows are compared in pairs */
    sluice_interval kl;                 /* mean */
    double kl_median, kl_p99, kl_max;
    sluice_interval top_1; /* how often both find the same token likeliest */
} sluice_divergence;

/* Tokens of a window of such a file: the context that a comparison needs. */
sluice_status sluice_eval_predictions_window(const char *file, int32_t *window, sluice_error *err);

/* Of options only batch, log and progress count: windows, and how they are run, are the file's.
 * SLUICE_CORRUPT: the file is damaged; SLUICE_USAGE: it is for another vocabulary. */
sluice_status sluice_eval_divergence(sluice_engine *engine, const char *file,
                                     const sluice_eval_text_options *options,
                                     sluice_divergence *out, sluice_error *err);

/* ---- tasks ---- */

/* A file of tasks is JSONL: on each line an object with "question", and either "answer" (text) or
 * "call" ([name, arguments]) with "tools". Each is asked as one user turn and answered greedily. An
 * answer is right if it equals the expected one, both stripped of white space around; a call is
 * right if it is the only one, complete, and name and arguments (as JSON) are equal. */
typedef struct sluice_eval_task_options {
    bool thinking;      /* let the model think before it answers */
    int32_t tokens_max; /* of an answer, thinking included; 0: 256, or 1024 with thinking */
    int32_t items_max;  /* of each file, from its beginning; 0: all */
    int32_t batch;      /* questions that are answered together; 0: 1 */
    /* Every answer as a line of JSON, as it comes. If the file exists, what it holds is not asked
     * again; made by another model or with other settings it is refused. NULL: none. */
    const char *log;
    sluice_eval_progress_fn progress; /* may be NULL */
    void *context;
} sluice_eval_task_options;

typedef struct sluice_task_score {
    int32_t items, right;
    int32_t cut;              /* answers that did not end within tokens_max or the context */
    int32_t resumed;          /* of the items, those that were in the log already */
    sluice_interval accuracy; /* Wilson's interval */
} sluice_task_score;

/* paths: n files; each [n] may be NULL. SLUICE_LIMIT: a question does not fit into the context. */
sluice_status sluice_eval_tasks(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
