/* Public benchmarks in their official files: MMLU, GSM8K, HumanEval.
 *
 * The data sets are not part of sluice; these functions read them as they are published. All run on
 * an open engine as sluice/eval.h says, take the same options (log, limits, progress), and refuse
 * bad files with SLUICE_BAD_INPUT, naming file and line. */
#ifndef SLUICE_BENCHMARKS_H
#define SLUICE_BENCHMARKS_H

#include "sluice/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- MMLU (Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding") ---- */

#define SLUICE_MMLU_SHOTS 5
#define SLUICE_MMLU_GROUPS 5 /* STEM, humanities, social sciences, other, unlisted */

typedef struct sluice_mmlu_subject {
    char name[64]; /* "abstract_algebra" */
    int32_t group; /* of sluice_mmlu.groups */
    sluice_task_score score;
} sluice_mmlu_subject;

typedef struct sluice_mmlu {
    sluice_mmlu_subject *subjects; /* by name */
    int32_t n_subjects;
    sluice_task_score groups[SLUICE_MMLU_GROUPS]; /* over the questions of their subjects */
    sluice_task_score all;                        /* over all questions: the published average */
    double subjects_mean;                         /* of the subjects' shares */
} sluice_mmlu;

const char *sluice_mmlu_group_name(int32_t group);

/* folder holds dev/SUBJECT_dev.csv and SPLIT/SUBJECT_SPLIT.csv, split being "test" or "val"; a
 * record is question, A, B, C, D, answer. Each question is text that goes on after `shots` examples
 * of dev (as many as fit into the context; -1: 5); the answer is the likeliest of " A" to " D".
 * items_max: of each subject. thinking and tokens_max do not count. SLUICE_UNSUPPORTED: a letter is
 * not one token. Release with sluice_mmlu_free. */
sluice_status sluice_eval_mmlu(sluice_engine *engine, const char *folder, const char *split,
                               int32_t shots, const sluice_eval_task_options *options,
                               sluice_mmlu *out, sluice_error *err);
void sluice_mmlu_free(sluice_mmlu *results);

/* ---- GSM8K (Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems") ---- */

/* paths: JSONL, perhaps gzip, {"question", "answer": "... #### 18"}. Each is asked as one user turn
 * "Q: ...\nA: Let's think step by step."; right if the last number of the answer (thoughts apart)
 * has the value of the expected one. "$", thousands' commas, units and a full stop behind do not
 * count. tokens_max 0: 1024, or 8192 with thinking. */
sluice_status sluice_eval_gsm8k(sluice_engine *engine, const char *const *paths, int32_t n,
                                const sluice_eval_task_options *options, sluice_task_score *each,
                                sluice_task_score *all, sluice_error *err);

/* ---- HumanEval (Chen et al. 2021, "Evaluating Large Language Models Trained on Code") ---- */

/* How the programs that a model wrote are run: each in a process that has no network, can start no
 * other, and writes files in a folder of its own alone. */
typedef struct sluice_code_limits {
    const char *python; /* path of the interpreter; NULL: the first python3 of the PATH that runs */
    int32_t seconds;    /* 0: 10 */
    uint64_t memory_bytes; /* 0: 1 GiB */
} sluice_code_limits;

/* What sluice_eval_humaneval needs of the system. SLUICE_NOT_FOUND: no python3; SLUICE_UNSUPPORTED:
 * programs cannot be kept from the network. *files_guarded: the kernel keeps them from changing
 * files of the user; otherwise only the limits do. */
sluice_status sluice_code_check(const sluice_code_limits *limits, bool *files_guarded,
                                sluice_error *err);

/* paths: JSONL, perhaps gzip, {"task_id", "prompt", "entry_point", "test"}. Each prompt is text
 * that goes on until a line that begins a definition, a class, a comment, an if or a print; right
 * if the program passes its test. Runs code that a model wrote: ask the user. tokens_max 0: 512.
 * thinking does not count. */
sluice_status sluice_eval_humaneval(sluice_engine *engine, const char *const *paths, int32_t n,
                                    const sluice_code_limits *limits,
                                    const sluice_eval_task_options *options,
                                    sluice_task_score *each, sluice_task_score *all,
                                    sluice_error *err);

#ifdef __cplusplus
}
#endif
#endif
