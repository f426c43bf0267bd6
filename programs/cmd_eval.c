/* sluice eval: how good a model is, and what a setting that makes it faster costs.
 *
 * Several commands in one: each verb has its own table of options, "eval" itself shows them all.
 * ppl, kld and tasks are here, public benchmarks in eval_benchmarks.c. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "eval_args.h"
#include "eval_report.h"
#include "interrupt.h"

enum { CHUNK_MAX = 8192 };

#define AT EVAL_AT

static const cli_option text_options[] = {
    {"text", 0, CLI_LIST, "FILE...", AT(texts), 0, 0, "Texts to predict."},
    {"window", 0, CLI_INTEGER, "N", AT(window), 2, 1 << 24, "Tokens of a window (1024)."},
    {"stride", 0, CLI_INTEGER, "N", AT(stride), 1, 1 << 24,
     "Tokens from the start of a window to the next one's (a window)."},
    {"windows", 0, CLI_INTEGER, "N", AT(windows), 1, INT32_MAX,
     "Only the first N windows of each text (all)."},
    {"special", 0, CLI_FLAG, NULL, AT(special), 0, 0,
     "Let text such as <|im_start|> become the special token of that name: for conversations."},
    {"decode", 0, CLI_FLAG, NULL, AT(decode), 0, 0,
     "Give tokens one at a time, as while answering: slow, and what shows the price of "
     "--cache-bias."},
    {0}};
static const cli_option ppl_options[] = {
    {"out", 0, CLI_TEXT, "FILE", AT(out), 0, 0,
     "Write every window as a line of JSON; called again, go on where the file ends."},
    {0}};
static const cli_option kld_options[] = {
    {"save", 0, CLI_TEXT, "FILE", AT(save), 0, 0,
     "Write this model's predictions: 2 bytes for each position and token of the vocabulary."},
    {"against", 0, CLI_TEXT, "FILE", AT(against), 0, 0,
     "Compare with predictions that were saved; the texts are in the file."},
    {"out", 0, CLI_TEXT, "FILE", AT(out), 0, 0,
     "Write every window that is compared as a line of JSON; called again, go on where the file "
     "ends."},
    {0}};
static const cli_option task_options[] = {
    {"tasks", 0, CLI_LIST, "FILE...", AT(tasks), 0, 0, "Questions with answers, as JSONL."}, {0}};
const cli_option eval_answer_options[] = {
    {"limit", 0, CLI_INTEGER, "N", AT(limit), 1, INT32_MAX,
     "Only the first N questions of each file (all)."},
    {"out", 0, CLI_TEXT, "FILE", AT(out), 0, 0,
     "Write every answer as a line of JSON; called again, go on where the file ends."},
    {0}};
const cli_option eval_length_options[] = {
    {"tokens", 'n', CLI_INTEGER, "N", AT(tokens), 1, 1 << 20,
     "Tokens of an answer at most (tasks 256, with --think 1024; gsm8k 1024, 8192; humaneval "
     "512)."},
    {0}};
const cli_option eval_common_options[] = {
    {"batch", 0, CLI_INTEGER, "N", AT(batch), 1, 256,
     "Windows (1) or questions (8) that go through the model together: more memory, fewer reads, "
     "the same result."},
    {0}};

static const cli_group ppl_groups[] = {
    {"Texts", text_options, 0}, {"Windows", ppl_options, 0}, EVAL_COMMON_GROUPS, {0}};
static const cli_group kld_groups[] = {
    {"Texts", text_options, 0}, {"Predictions", kld_options, 0}, EVAL_COMMON_GROUPS, {0}};
static const cli_group task_groups[] = {{"Tasks", task_options, 0},
                                        {"Thinking", eval_think_options, 0},
                                        {"Answers", eval_answer_options, 0},
                                        {"Length", eval_length_options, 0},
                                        EVAL_COMMON_GROUPS,
                                        {0}};
static const cli_group all_groups[] = {
    {"Texts (ppl, kld)", text_options, 0},
    {"Predictions (kld)", kld_options, 0},
    {"Tasks (tasks)", task_options, 0},
    {"MMLU (mmlu)", eval_mmlu_options, 0},
    {"Programs (humaneval)", eval_code_options, 0},
    {"Thinking (tasks, gsm8k)", eval_think_options, 0},
    {"Answers (all but kld; ppl: --out)", eval_answer_options, 0},
    {"Length (tasks, gsm8k, humaneval)", eval_length_options, 0},
    EVAL_COMMON_GROUPS,
    {0}};

eval_progress eval_progress_begin(const eval_args *args, const char *unit)
{
    return (eval_progress){.line = {.quiet = args->output.quiet}, .unit = unit};
}

bool eval_progress_show(void *context, int64_t done, int64_t total)
{
    eval_progress *p = context;
    cli_progress_show(&p->line, "%lld of %lld %s", (long long)done, (long long)total, p->unit);
    return !cli_interrupted();
}

int eval_progress_end(eval_progress *p, sluice_status status, const sluice_error *err)
{
    cli_progress_clear(&p->line);
    return status == SLUICE_OK ? CLI_OK : cli_fail_error(err);
}

static sluice_eval_text_options text_plan(const eval_args *args, eval_progress *p)
{
    *p = eval_progress_begin(args, "windows");
    return (sluice_eval_text_options){.window = args->window,
                                      .stride = args->stride,
                                      .windows_max = args->windows,
                                      .batch = args->batch,
                                      .special = args->special,
                                      .decode = args->decode,
                                      .progress = eval_progress_show,
                                      .context = p};
}

bool eval_is_exact(const eval_args *args)
{
    return sluice_engine_options_default().exact ? !args->model.int8 : args->model.exact;
}

static int run_ppl(sluice_engine *engine, const eval_args *args)
{
    eval_progress p;
    sluice_error err = {0};
    sluice_perplexity all, *each = calloc((size_t)args->texts.count, sizeof *each);
    if (!each) return cli_fail("not enough memory for the results");
    sluice_eval_text_options options = text_plan(args, &p);
    options.log = args->out;
    int status =
        eval_progress_end(&p,
                          sluice_eval_perplexity(engine, args->texts.words, args->texts.count,
                                                 &options, each, &all, &err),
                          &err);
    if (status == CLI_OK)
        status = eval_report_perplexity(engine, eval_is_exact(args), &args->texts, each, &all,
                                        args->output.json);
    free(each);
    return status;
}

static int run_save(sluice_engine *engine, const eval_args *args)
{
    eval_progress p;
    sluice_error err = {0};
    sluice_perplexity all;
    sluice_eval_text_options options = text_plan(args, &p);
    int status =
        eval_progress_end(&p,
                          sluice_eval_predictions_save(engine, args->texts.words, args->texts.count,
                                                       &options, args->save, &all, &err),
                          &err);
    if (status != CLI_OK) return status;
    static const cli_list none;
    return eval_report_perplexity(engine, eval_is_exact(args), &none, NULL, &all,
                                  args->output.json);
}

static int run_against(sluice_engine *engine, const eval_args *args)
{
    eval_progress p;
    sluice_error err = {0};
    sluice_divergence divergence;
    sluice_eval_text_options options = text_plan(args, &p);
    options.log = args->out;
    int status = eval_progress_end(
        &p, sluice_eval_divergence(engine, args->against, &options, &divergence, &err), &err);
    if (status != CLI_OK) return status;
    return eval_report_divergence(engine, eval_is_exact(args), &divergence, args->output.json);
}

sluice_eval_task_options eval_task_options(const eval_args *args, eval_progress *p)
{
    return (sluice_eval_task_options){.thinking = args->think,
                                      .tokens_max = args->tokens,
                                      .items_max = args->limit,
                                      .batch = args->batch,
                                      .log = args->out,
                                      .progress = eval_progress_show,
                                      .context = p};
}

static int run_tasks(sluice_engine *engine, const eval_args *args)
{
    eval_progress p = eval_progress_begin(args, "answers");
    sluice_eval_task_options options = eval_task_options(args, &p);
    sluice_error err = {0};
    sluice_task_score all, *each = calloc((size_t)args->tasks.count, sizeof *each);
    if (!each) return cli_fail("not enough memory for the results");
    int status = eval_progress_end(
        &p,
        sluice_eval_tasks(engine, args->tasks.words, args->tasks.count, &options, each, &all, &err),
        &err);
    if (status == CLI_OK)
        status = eval_report_tasks(engine, eval_is_exact(args), &args->tasks, each, &all,
                                   args->output.json);
    free(each);
    return status;
}

int eval_with_engine(const char *model, eval_args *args,
                     int (*run)(sluice_engine *engine, const eval_args *args))
{
    sluice_engine *engine = NULL;
    args->model.sessions = args->batch + 1;
    int status = cli_engine_open(model, &args->model, args->output.quiet, &engine);
    if (status != CLI_OK) return status;
    cli_interrupt_catch(true);
    status = run(engine, args);
    sluice_engine_close(engine);
    return status;
}

/* Windows: the context is one of them, and a chunk holds a batch of them. */
static int with_windows(const char *model, eval_args *args, int32_t window,
                        int (*run)(sluice_engine *engine, const eval_args *args))
{
    if (!args->batch) args->batch = 1;
    if (!args->model.context) args->model.context = window;
    if (!args->model.chunk && args->batch > 1) {
        int64_t rows = ((int64_t)args->batch * window + 63) / 64 * 64;
        args->model.chunk = rows < CHUNK_MAX ? (int32_t)rows : CHUNK_MAX;
    }
    return eval_with_engine(model, args, run);
}

static int check_texts(const eval_args *args)
{
    int32_t window = args->window ? args->window : 1024;
    if (args->stride > window)
        return cli_usage("--stride %d is more than a window of %d", args->stride, window);
    if (args->model.context && args->model.context < window)
        return cli_usage("--context %d is less than a window of %d", args->model.context, window);
    return CLI_GO_ON;
}

static int eval_ppl(int argc, char **argv);
static int eval_kld(int argc, char **argv);
static int eval_tasks(int argc, char **argv);

static const cli_command verbs[] = {
    {.name = "eval ppl",
     .summary = "Perplexity of texts",
     .usage = "[MODEL] --text FILE... [--window N] [--stride N] [--out FILE] [options]",
     .description =
         "How well a model predicts texts: the exponential of the mean negative log-likelihood of "
         "their tokens. Each text is cut into windows that start cold, and only whole windows "
         "count. With a --stride of less than a window they overlap, and every token is predicted "
         "once, by the window that gives it the most context. The interval in brackets holds the "
         "perplexity of such texts with 95% confidence, judged by the spread of the windows.\n"
         "--out keeps every window; a run that was interrupted goes on where it stopped.",
     .examples = "sluice eval ppl --text models/nano/text/*.txt\n"
                 "sluice eval ppl ~/models/qwen3.5-397b.sluice --text book.txt --k 4 --batch 4",
     .positional_max = 1,
     .groups = ppl_groups,
     .run = eval_ppl},
    {.name = "eval kld",
     .summary = "Divergence from the full model's predictions",
     .usage = "[MODEL] --text FILE... --save FILE [--window N] [--stride N] [options]\n"
              "[MODEL] --against FILE [--out FILE] [options]",
     .description =
         "How far a model's predictions are from those of another one, or from its own without a "
         "setting that makes it faster. --save writes what the first model predicts at every "
         "position: the whole distribution, 16 bits for each token of the vocabulary (1.9 GB for "
         "4096 positions of the 397B, 64 MB for Nano). --against runs the same windows and prints "
         "the mean of the Kullback-Leibler divergence in nats a token, its median, 99th percentile "
         "and maximum, how often both find the same token likeliest, and both perplexities. This "
         "tells models apart long before perplexity does: windows are compared in pairs.\n"
         "--save that was interrupted goes on when it is called again (until it is done, its file "
         "has .sluice-tmp after its name); --against does so with --out.",
     .examples = "sluice eval kld --text models/nano/text/alice.txt --save alice.predictions\n"
                 "sluice eval kld --against alice.predictions --int8\n"
                 "sluice eval kld ~/models/nano-q3.sluice --against alice.predictions",
     .positional_max = 1,
     .groups = kld_groups,
     .run = eval_kld},
    {.name = "eval tasks",
     .summary = "Questions with known answers",
     .usage = "[MODEL] --tasks FILE... [--think] [--limit N] [--out FILE] [options]",
     .description =
         "Asks questions, each as one user turn, and counts right answers, with Wilson's 95% "
         "interval. A file holds a JSON object a line: {\"question\", \"answer\"}, or "
         "{\"question\", \"tools\", \"call\": [name, {arguments}]}. An answer must equal the "
         "expected one but for white space around it; a call must be the only one, with the same "
         "name and arguments. Answers are greedy. 'cut' counts those that did not end in time.\n"
         "--out keeps every answer; a run that was interrupted goes on where it stopped.",
     .examples = "sluice eval tasks --tasks models/nano/tasks/*.jsonl\n"
                 "sluice eval tasks --tasks models/nano/tasks/word.jsonl --think --k 4\n"
                 "sluice eval tasks ~/models/qwen3.5-397b.sluice --tasks mine.jsonl --out mine.log",
     .positional_max = 1,
     .groups = task_groups,
     .run = eval_tasks},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static int eval_ppl(int argc, char **argv)
{
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&verbs[0], argc, argv, &args, positional);
    if (status == CLI_GO_ON && !args.texts.count)
        return cli_usage("'sluice eval ppl' needs --text; see 'sluice eval ppl --help'");
    if (status == CLI_GO_ON) status = check_texts(&args);
    if (status != CLI_GO_ON) return status;
    return with_windows(positional[0], &args, args.window ? args.window : 1024, run_ppl);
}

static int eval_kld(int argc, char **argv)
{
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&verbs[1], argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.save == !args.against)
        return cli_usage("'sluice eval kld' needs either --save or --against; see 'sluice eval kld "
                         "--help'");
    if (args.save && !args.texts.count) return cli_usage("--save needs --text");
    if (args.save && args.out)
        return cli_usage("--out is for --against; --save goes on by itself when called again");
    if (args.against && (args.texts.count || args.window || args.stride || args.windows))
        return cli_usage("--against takes texts and windows from its file, not from --text, "
                         "--window, --stride or --windows");
    if ((status = check_texts(&args)) != CLI_GO_ON) return status;
    if (args.save)
        return with_windows(positional[0], &args, args.window ? args.window : 1024, run_save);
    sluice_error err = {0};
    int32_t window;
    if (sluice_eval_predictions_window(args.against, &window, &err) != SLUICE_OK)
        return cli_fail_error(&err);
    return with_windows(positional[0], &args, window, run_against);
}

static int eval_tasks(int argc, char **argv)
{
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&verbs[2], argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.tasks.count)
        return cli_usage("'sluice eval tasks' needs --tasks; see 'sluice eval tasks --help'");
    if (!args.batch) args.batch = EVAL_TASK_BATCH;
    if (!args.model.context) args.model.context = EVAL_TASK_CONTEXT;
    return eval_with_engine(positional[0], &args, run_tasks);
}

static int run(int argc, char **argv)
{
    static const cli_command *const benchmarks[] = {&eval_verb_mmlu, &eval_verb_gsm8k,
                                                    &eval_verb_humaneval};
    static const char needed[] = "'sluice eval' needs ppl, kld, tasks, mmlu, gsm8k or humaneval; "
                                 "see 'sluice eval --help'";
    if (argc < 2) return cli_usage("%s", needed);
    for (int i = 0; i < VERBS + (int)(sizeof benchmarks / sizeof *benchmarks); i++) {
        const cli_command *verb = i < VERBS ? &verbs[i] : benchmarks[i - VERBS];
        if (strcmp(argv[1], strchr(verb->name, ' ') + 1) == 0) return verb->run(argc - 1, argv + 1);
    }
    if (argv[1][0] != '-') return cli_usage("%s, not '%s'", needed, argv[1]);
    eval_args args = {0};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_eval, argc, argv, &args, positional);
    return status == CLI_GO_ON ? cli_usage("%s", needed) : status;
}

const cli_command cli_command_eval = {
    .name = "eval",
    .summary = "How good a model is, and what a faster setting costs",
    .usage = "ppl [MODEL] --text FILE... [options]\n"
             "kld [MODEL] --text FILE... --save FILE [options]\n"
             "kld [MODEL] --against FILE [options]\n"
             "tasks [MODEL] --tasks FILE... [options]\n"
             "mmlu [MODEL] --data DIR [options]\n"
             "gsm8k [MODEL] --data FILE... [options]\n"
             "humaneval [MODEL] --data FILE... --run-code [options]",
    .description =
        "Measures a model with any settings: fewer experts (--k), int8 activations (--int8), or "
        "fewer bits (another MODEL).\n"
        "ppl: perplexity of texts. kld: divergence from predictions that the full model made. "
        "tasks: questions with known answers. mmlu, gsm8k, humaneval: public benchmarks in their "
        "official files, which --data names. 'sluice eval ppl --help' and so on say more.",
    .examples = "sluice eval ppl --text models/nano/text/*.txt\n"
                "sluice eval kld --against alice.predictions --k 4\n"
                "sluice eval tasks --tasks models/nano/tasks/*.jsonl --out answers.jsonl",
    .positional_max = 1,
    .groups = all_groups,
    .run = run,
};
