/* What the verbs of "sluice eval" share: their arguments, options and the engine that they open. */
#ifndef SLUICE_PROGRAMS_EVAL_ARGS_H
#define SLUICE_PROGRAMS_EVAL_ARGS_H

#include "model_flags.h"
#include "options.h"
#include "output.h"
#include "sluice/benchmarks.h"

enum { EVAL_TASK_CONTEXT = 2048, EVAL_TASK_BATCH = 8 };

typedef struct eval_args {
    cli_model_flags model;
    cli_output_flags output;
    cli_list texts, tasks;
    int32_t window, stride, windows, batch, limit, tokens, shots, seconds;
    const char *save, *against, *out, *folder, *split, *python;
    bool think, run_code, special, decode;
} eval_args;

#define EVAL_AT(field) offsetof(eval_args, field)

typedef struct eval_progress {
    cli_progress line;
    const char *unit;
} eval_progress;

/* Begins a line of progress about so many units, and its end: an exit status. */
eval_progress eval_progress_begin(const eval_args *args, const char *unit);
bool eval_progress_show(void *context, int64_t done, int64_t total); /* false once interrupted */
int eval_progress_end(eval_progress *p, sluice_status status, const sluice_error *err);

/* The options of questions, as the command line has them; progress goes to p. */
sluice_eval_task_options eval_task_options(const eval_args *args, eval_progress *p);

/* Runs with an engine that has memory for args->batch sessions and one more. */
int eval_with_engine(const char *model, eval_args *args,
                     int (*run)(sluice_engine *engine, const eval_args *args));

/* Whether activations are f32. */
bool eval_is_exact(const eval_args *args);

extern const cli_option eval_common_options[]; /* --batch */
extern const cli_option eval_answer_options[]; /* --limit, --out */
extern const cli_option eval_length_options[]; /* --tokens */
extern const cli_option eval_think_options[];  /* --think */
extern const cli_option eval_mmlu_options[];   /* --data, --split, --shots */
extern const cli_option eval_code_options[];   /* --run-code, --seconds, --python */

#define EVAL_COMMON_GROUPS                                                                         \
    {"Together", eval_common_options, 0}, {"Model", cli_model_options, EVAL_AT(model)},            \
        {"Lossy", cli_lever_options, EVAL_AT(model)},                                              \
    {                                                                                              \
        "Output", cli_output_options, EVAL_AT(output)                                              \
    }

/* The verbs of eval_benchmarks.c. */
extern const cli_command eval_verb_mmlu, eval_verb_gsm8k, eval_verb_humaneval;

#endif
