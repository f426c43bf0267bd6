/* sluice eval mmlu, gsm8k, humaneval: public benchmarks in their official files. */
#include <stdlib.h>

#include "commands.h"
#include "eval_args.h"
#include "eval_report.h"

enum { LONG_CONTEXT = 4096, THINKING_CONTEXT = 10240, CODE_CONTEXT = 2048 };

const cli_option eval_mmlu_options[] = {
    {"data", 0, CLI_TEXT, "DIR", EVAL_AT(folder), 0, 0,
     "MMLU's folder, with dev/ and test/ or val/."},
    {"split", 0, CLI_CHOICE, "test|val", EVAL_AT(split), 0, 0, "Which questions (test)."},
    {"shots", 0, CLI_INTEGER, "N", EVAL_AT(shots), 0, 64,
     "Examples before each question, from dev (5); fewer where they do not fit."},
    {0}};
const cli_option eval_code_options[] = {
    {"run-code", 0, CLI_FLAG, NULL, EVAL_AT(run_code), 0, 0,
     "Allow the programs that the model writes to be run. They have no network, can start no "
     "other program, and write in a folder of their own alone."},
    {"seconds", 0, CLI_INTEGER, "N", EVAL_AT(seconds), 1, 3600, "For each program (10)."},
    {"python", 0, CLI_TEXT, "FILE", EVAL_AT(python), 0, 0,
     "The interpreter (the first python3 of the PATH)."},
    {0}};
const cli_option eval_think_options[] = {
    {"think", 0, CLI_FLAG, NULL, EVAL_AT(think), 0, 0, "Let the model think before it answers."},
    {0}};
static const cli_option data_options[] = {
    {"data", 0, CLI_LIST, "FILE...", EVAL_AT(tasks), 0, 0, "The official JSONL, perhaps gzip."},
    {0}};

static const cli_group mmlu_groups[] = {
    {"MMLU", eval_mmlu_options, 0}, {"Answers", eval_answer_options, 0}, EVAL_COMMON_GROUPS, {0}};
static const cli_group gsm8k_groups[] = {{"GSM8K", data_options, 0},
                                         {"Thinking", eval_think_options, 0},
                                         {"Answers", eval_answer_options, 0},
                                         {"Length", eval_length_options, 0},
                                         EVAL_COMMON_GROUPS,
                                         {0}};
static const cli_group humaneval_groups[] = {{"HumanEval", data_options, 0},
                                             {"Programs", eval_code_options, 0},
                                             {"Answers", eval_answer_options, 0},
                                             {"Length", eval_length_options, 0},
                                             EVAL_COMMON_GROUPS,
                                             {0}};

static int run_mmlu(sluice_engine *engine, const eval_args *args)
{
    eval_progress p = eval_progress_begin(args, "answers");
    sluice_eval_task_options options = eval_task_options(args, &p);
    sluice_error err = {0};
    sluice_mmlu mmlu;
    int status =
        eval_progress_end(&p,
                          sluice_eval_mmlu(engine, args->folder, args->split ? args->split : "test",
                                           args->shots, &options, &mmlu, &err),
                          &err);
    if (status != CLI_OK) return status;
    status = eval_report_mmlu(engine, eval_is_exact(args), &mmlu, args->output.json);
    sluice_mmlu_free(&mmlu);
    return status;
}

static int eval_mmlu(int argc, char **argv)
{
    eval_args args = {.shots = -1};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&eval_verb_mmlu, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.folder)
        return cli_usage("'sluice eval mmlu' needs --data; see 'sluice eval mmlu --help'");
    if (!args.batch) args.batch = EVAL_TASK_BATCH;
    if (!args.model.context) args.model.context = LONG_CONTEXT;
    return eval_with_engine(positional[0], &args, run_mmlu);
}

typedef sluice_status (*files_fn)(sluice_engine *engine, const eval_args *args,
                                  const sluice_eval_task_options *options, sluice_task_score *each,
                                  sluice_task_score *all, sluice_error *err);

static int run_files(sluice_engine *engine, const eval_args *args, files_fn run)
{
    eval_progress p = eval_progress_begin(args, "answers");
    sluice_eval_task_options options = eval_task_options(args, &p);
    sluice_error err = {0};
    sluice_task_score all, *each = calloc((size_t)args->tasks.count, sizeof *each);
    if (!each) return cli_fail("not enough memory for the results");
    int status = eval_progress_end(&p, run(engine, args, &options, each, &all, &err), &err);
    if (status == CLI_OK)
        status = eval_report_tasks(engine, eval_is_exact(args), &args->tasks, each, &all,
                                   args->output.json);
    free(each);
    return status;
}

static sluice_status gsm8k(sluice_engine *engine, const eval_args *args,
                           const sluice_eval_task_options *options, sluice_task_score *each,
                           sluice_task_score *all, sluice_error *err)
{
    return sluice_eval_gsm8k(engine, args->tasks.words, args->tasks.count, options, each, all, err);
}

static int run_gsm8k(sluice_engine *engine, const eval_args *args)
{
    return run_files(engine, args, gsm8k);
}

static int eval_gsm8k(int argc, char **argv)
{
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&eval_verb_gsm8k, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.tasks.count)
        return cli_usage("'sluice eval gsm8k' needs --data; see 'sluice eval gsm8k --help'");
    if (!args.batch) args.batch = EVAL_TASK_BATCH;
    if (!args.model.context) args.model.context = args.think ? THINKING_CONTEXT : EVAL_TASK_CONTEXT;
    return eval_with_engine(positional[0], &args, run_gsm8k);
}

static sluice_code_limits code_limits(const eval_args *args)
{
    return (sluice_code_limits){.python = args->python, .seconds = args->seconds};
}

static sluice_status humaneval(sluice_engine *engine, const eval_args *args,
                               const sluice_eval_task_options *options, sluice_task_score *each,
                               sluice_task_score *all, sluice_error *err)
{
    sluice_code_limits limits = code_limits(args);
    return sluice_eval_humaneval(engine, args->tasks.words, args->tasks.count, &limits, options,
                                 each, all, err);
}

static int run_humaneval(sluice_engine *engine, const eval_args *args)
{
    return run_files(engine, args, humaneval);
}

static int eval_humaneval(int argc, char **argv)
{
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    bool files_guarded;
    sluice_error err = {0};
    int status = cli_options_parse(&eval_verb_humaneval, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.tasks.count)
        return cli_usage(
            "'sluice eval humaneval' needs --data; see 'sluice eval humaneval --help'");
    if (!args.run_code)
        return cli_usage("'sluice eval humaneval' runs programs that the model writes: allow it "
                         "with --run-code");
    sluice_code_limits limits = code_limits(&args);
    if (sluice_code_check(&limits, &files_guarded, &err) != SLUICE_OK) return cli_fail_error(&err);
    if (!files_guarded && !args.output.quiet)
        cli_note("this kernel has no Landlock: programs can change files of this user");
    if (!args.batch) args.batch = EVAL_TASK_BATCH;
    if (!args.model.context) args.model.context = CODE_CONTEXT;
    return eval_with_engine(positional[0], &args, run_humaneval);
}

const cli_command eval_verb_mmlu = {
    .name = "eval mmlu",
    .summary = "MMLU: multiple choice in 57 subjects",
    .usage = "[MODEL] --data DIR [--split test|val] [--shots N] [options]",
    .description =
        "The questions of MMLU from its official CSV files (data/dev, data/test, data/val), each "
        "asked as text that goes on after five examples of its subject; the answer is the "
        "likeliest of ' A' to ' D'. Printed are each subject, the authors' four groups, and the "
        "average over all questions. --limit takes the first questions of each subject.",
    .examples = "sluice eval mmlu ~/models/qwen3.5-397b.sluice --data ~/mmlu/data --out mmlu.log\n"
                "sluice eval mmlu ~/models/qwen3.5-397b.sluice --data ~/mmlu/data --k 4 --limit 10",
    .positional_max = 1,
    .groups = mmlu_groups,
    .run = eval_mmlu};

const cli_command eval_verb_gsm8k = {
    .name = "eval gsm8k",
    .summary = "GSM8K: word problems, the last number counts",
    .usage = "[MODEL] --data FILE... [--think] [--limit N] [--out FILE] [options]",
    .description =
        "The problems of GSM8K from its official JSONL, each asked as one user turn without "
        "examples, 'Q: ... A: Let's think step by step.'. An answer is right if its last number "
        "has the expected value; dollar signs, commas between thousands and units do not count, "
        "nor do thoughts (--think).",
    .examples = "sluice eval gsm8k ~/models/qwen3.5-397b.sluice --data test.jsonl --limit 200",
    .positional_max = 1,
    .groups = gsm8k_groups,
    .run = eval_gsm8k};

const cli_command eval_verb_humaneval = {
    .name = "eval humaneval",
    .summary = "HumanEval: programs that must pass their tests",
    .usage = "[MODEL] --data FILE... --run-code [--seconds N] [--out FILE] [options]",
    .description =
        "The functions of HumanEval from its official JSONL (gzip or not), each completed once, "
        "greedily, as text that goes on; right if the program passes its test (pass@1). The "
        "programs run in Python, only with --run-code, each in a process of its own that has no "
        "network, starts no other process, may use 1 GiB of memory and --seconds, and changes no "
        "file outside of a temporary folder. Where the system cannot cut off the network nothing "
        "is run.",
    .examples = "sluice eval humaneval ~/models/qwen3.5-397b.sluice --data HumanEval.jsonl.gz "
                "--run-code",
    .positional_max = 1,
    .groups = humaneval_groups,
    .run = eval_humaneval};
