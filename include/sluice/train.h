/* Fine-tuning: low-rank adapters on a quantised model whose experts are streamed from disk.
 *
 * What: `sluice_train` reads a file of examples, chooses what to adapt, and runs AdamW on the
 * adapters alone; the model's weights never change. The result is a folder in the form of
 * Hugging Face's PEFT, that sluice_engine_options.adapters takes. A run is a function of model,
 * data, options and seed: neither the number of threads nor the size of the cache changes a bit of
 * it, and a run that was interrupted goes on as if it had not been.
 *
 * Threads: one call at a time on the calling thread, which drives its own workers. */
#ifndef SLUICE_TRAIN_H
#define SLUICE_TRAIN_H

#include "sluice/sluice.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sluice_train_schedule {
    SLUICE_TRAIN_COSINE, /* down to a tenth of the rate */
    SLUICE_TRAIN_CONSTANT
} sluice_train_schedule;

/* What happened in a step, and how far the run is. */
typedef struct sluice_train_progress {
    int32_t step, steps;     /* steps done, and of the whole run */
    double loss;             /* mean over the step's target tokens, nats */
    double gradient_norm;    /* before clipping */
    double rate;             /* learning rate of this step */
    double validation_loss;  /* NaN in steps without validation */
    int64_t tokens, targets; /* of the step */
    double seconds;          /* of the step */
    double tokens_per_s;     /* of this step */
    uint64_t bytes_read;     /* by the step, of experts */
    double seconds_left;     /* of the run, from the steps so far */
    uint64_t rss_peak_bytes; /* of the process, as the system counts it */
} sluice_train_progress;

/* Known before the first step. */
typedef struct sluice_train_plan {
    int64_t samples, validation_samples, cut_samples; /* cut: shortened to the context */
    int64_t tokens, targets;                          /* of one pass over the samples */
    int32_t rows, steps;
    int64_t parameters;                       /* adapted floats */
    int32_t matrices, experts, experts_total; /* adapted; routed experts among them */
    uint64_t adapter_bytes;
    uint64_t spilled_bytes; /* of gradients and optimiser: on disk, as memory is short */
    uint64_t step_bytes;    /* of experts, that a step reads at most: forward and backward */
    int32_t resumed_step;
} sluice_train_plan;

typedef struct sluice_train_options {
    const char *data;        /* JSONL, see doc/training.md */
    const char *validation;  /* JSONL; NULL: a share of data */
    double validation_share; /* of data, if validation is NULL; 0: none */
    const char *out;         /* folder of the adapter, made or written over */
    const char *targets;     /* "shared,experts:15%": of attn, gdn, shared, experts[:N%] */
    int32_t rank;
    float alpha;
    float dropout; /* share of an adapted matrix's inputs left out of a step; 0: off */
    float rate;
    sluice_train_schedule schedule;
    int32_t warmup_steps; /* negative: 3% of the run's */
    float weight_decay, beta1, beta2, epsilon;
    float clip;         /* global norm of the gradient; 0: off */
    int32_t steps;      /* 0: epochs decide */
    double epochs;      /* passes over the data, if steps is 0 */
    int32_t context;    /* tokens of a row: samples are packed into it */
    int32_t batch;      /* rows of a forward and backward pass */
    int32_t accumulate; /* passes of a step */
    bool all_tokens;    /* loss on the prompt's tokens too */
    bool refuse_long;   /* a sample over the context is an error, not cut */
    uint64_t seed;
    int32_t validate_every; /* steps; 0: at the end of every epoch and of the run */
    int32_t save_every;     /* steps; 0: at the end only */
    bool fused;  /* routed experts in PEFT's own form whatever its size, not up to 1 GB alone */
    bool resume; /* go on from out's last checkpoint; a new run if there is none */
    /* All may be NULL: before the steps, while experts' uses are counted on the data; the plan;
     * after each step. */
    void (*counting)(void *context, int64_t tokens, int64_t total);
    void (*started)(void *context, const sluice_train_plan *plan);
    void (*progress)(void *context, const sluice_train_progress *progress);
    void *context_user; /* for all */
} sluice_train_options;

/* rank 8, alpha 16, rate 2e-4, cosine after 3% of warm-up, no decay, clipping at 1, one epoch,
 * rows of 1024 tokens, one at a time, 5% validation. */
sluice_train_options sluice_train_options_default(void);

/* engine: how the model is opened (memory, threads, cache, ...). Writes options->out: the adapter,
 * log.jsonl, loss.svg and the optimiser's state. The engine's `interrupted` ends the run after the
 * step under way with a checkpoint and SLUICE_CANCELLED. A loss or a gradient that is not a number
 * is SLUICE_CORRUPT and names the step; the last checkpoint stays. (A checkpoint is written once
 * the pass after it gave numbers, so that the one that stays is one to go on from.) */
sluice_status sluice_train(const char *model, const sluice_engine_options *engine,
                           const sluice_train_options *options, sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
