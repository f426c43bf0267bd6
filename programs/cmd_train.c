/* sluice train: low-rank adapters learnt from examples. */
#include <math.h>
#include <stdio.h>

#include "commands.h"
#include "interrupt.h"
#include "model_flags.h"
#include "sluice/train.h"

typedef struct train_args {
    cli_model_flags model;
    cli_output_flags output;
    const char *data, *validation, *out, *targets, *schedule;
    int32_t rank, steps, warmup, context, batch, accumulate, validate_every, save_every;
    float alpha, dropout, rate, decay, clip, epochs, share;
    cli_seed seed;
    bool all_tokens, refuse_long, fused, resume;
} train_args;

#define AT(field) offsetof(train_args, field)
static const cli_option options[] = {
    {"data", 0, CLI_TEXT, "FILE.jsonl", AT(data), 0, 0,
     "Examples, one a line: messages (with tools), instruction/input/output, instruction/response, "
     "question/answer, prompt/completion, or text."},
    {"out", 0, CLI_TEXT, "DIR", AT(out), 0, 0,
     "Where the adapter goes, a PEFT folder, with log.jsonl, loss.svg and the state to go on "
     "from."},
    {"val", 0, CLI_TEXT, "FILE.jsonl", AT(validation), 0, 0,
     "Examples to validate on (a share of the data)."},
    {"val-share", 0, CLI_NUMBER, "X", AT(share), 0, 0.9,
     "How much of the data is held out for validation (0.05)."},
    {"all-tokens", 0, CLI_FLAG, NULL, AT(all_tokens), 0, 0,
     "Learn prompts too, not the assistant's tokens alone."},
    {"context", 0, CLI_INTEGER, "N", AT(context), 8, 1 << 20,
     "Tokens of an example at most; examples are packed together up to it (1024)."},
    {"refuse-long", 0, CLI_FLAG, NULL, AT(refuse_long), 0, 0,
     "Refuse longer examples; they are cut, and counted, otherwise."},
    {"resume", 0, CLI_FLAG, NULL, AT(resume), 0, 0,
     "Go on with the run that is in --out, as if it had never stopped."},
    {0}};

static const cli_option adapter_options[] = {
    {"targets", 0, CLI_TEXT, "LIST", AT(targets), 0, 0,
     "What is adapted, of attn, gdn, shared, experts and experts:N%, the N% that the data uses "
     "most (shared,experts:15%)."},
    {"rank", 0, CLI_INTEGER, "N", AT(rank), 1, 256, "Rank of the adapters (8)."},
    {"alpha", 0, CLI_NUMBER, "X", AT(alpha), 1e-6, 1e6,
     "What an adapter adds counts alpha / rank (twice the rank)."},
    {"fused", 0, CLI_FLAG, NULL, AT(fused), 0, 0,
     "Write routed experts in the form that PEFT reads, which holds zeros for all that are not "
     "adapted, whatever its size (up to 1 GB)."},
    {"dropout", 0, CLI_NUMBER, "X", AT(dropout), 0, 0.99,
     "Share of an adapted matrix's inputs that a step leaves out of its adapter (0)."},
    {0}};

static const cli_option optimiser_options[] = {
    {"rate", 0, CLI_NUMBER, "X", AT(rate), 1e-9, 10, "Learning rate (2e-4)."},
    {"schedule", 0, CLI_CHOICE, "cosine|constant", AT(schedule), 0, 0,
     "The rate after warm-up: down to a tenth, or as it is (cosine)."},
    {"warmup", 0, CLI_INTEGER, "N", AT(warmup), 0, 1 << 30, "Steps of warm-up (3% of the run's)."},
    {"epochs", 0, CLI_NUMBER, "X", AT(epochs), 1e-6, 1e6, "Passes over the data (1)."},
    {"steps", 0, CLI_INTEGER, "N", AT(steps), 1, 1 << 30, "Steps, whatever the epochs."},
    {"batch", 0, CLI_INTEGER, "N", AT(batch), 1, 4096,
     "Rows of --context tokens that go through the model together (1)."},
    {"accumulate", 0, CLI_INTEGER, "N", AT(accumulate), 1, 1 << 20,
     "Batches whose gradients make one step (1)."},
    {"decay", 0, CLI_NUMBER, "X", AT(decay), 0, 10, "Decoupled weight decay (0)."},
    {"clip", 0, CLI_NUMBER, "X", AT(clip), 0, 1e9,
     "Largest global norm of a step's gradient; 0 for any (1)."},
    {"validate-every", 0, CLI_INTEGER, "N", AT(validate_every), 1, 1 << 30,
     "Steps between validations (an epoch)."},
    {"save-every", 0, CLI_INTEGER, "N", AT(save_every), 1, 1 << 30,
     "Steps between checkpoints (the whole run)."},
    {"seed", 0, CLI_SEED, "N", AT(seed), 0, 0, "The same seed gives the same adapter (0)."},
    {0}};

#undef AT
#define AT(field) offsetof(cli_model_flags, field)
static const cli_option machine_options[] = {
    {"threads", 0, CLI_INTEGER, "N", AT(threads), 1, 1024,
     "Worker threads (one per physical core). Any number gives the same adapter."},
    {"memory", 0, CLI_SIZE, "SIZE", AT(memory), 0, 0,
     "Memory for everything (what the machine or its cgroup has free, less some slack)."},
    {"cache", 0, CLI_SIZE, "SIZE", AT(cache), 0, 0,
     "Memory for experts (what --memory leaves). Any size gives the same adapter."},
    {"cpu", 0, CLI_CHOICE, "scalar|avx2|avx512|neon|auto", AT(cpu), 0, 0,
     "Instructions to use; never more than the machine has (auto)."},
    {"io", 0, CLI_CHOICE, "auto|uring|pread|buffered|mmap", AT(io), 0, 0,
     "How experts are read from disk (auto)."},
    {"experts", 0, CLI_TEXTS, "DIR", AT(experts), 0, 0,
     "Look for expert files in this folder too; may be given again."},
    {"verify-reads", 0, CLI_FLAG, NULL, AT(verify_reads), 0, 0,
     "Check the checksum of every expert that is read."},
    {0}};

static const cli_group groups[] = {{"Data", options, 0},
                                   {"Adapter", adapter_options, 0},
                                   {"Optimiser", optimiser_options, 0},
                                   {"Machine", machine_options, offsetof(train_args, model)},
                                   {"Output", cli_output_options, offsetof(train_args, output)},
                                   {0}};

typedef struct training {
    cli_progress progress;
    sluice_train_plan plan;
    sluice_train_progress last;
    double loss, weight, validation_first, validation_last;
} training;

static void show_counting(void *context, int64_t tokens, int64_t total)
{
    training *work = context;
    cli_progress_show(&work->progress, "counting which experts the data uses: token %lld of %lld",
                      (long long)tokens, (long long)total);
}

static void show_plan(void *context, const sluice_train_plan *plan)
{
    training *work = context;
    cli_human bytes = cli_human_bytes(plan->adapter_bytes),
              step = cli_human_bytes(plan->step_bytes);
    work->plan = *plan;
    cli_progress_clear(&work->progress);
    if (work->progress.quiet) return;
    cli_note("%lld samples of %lld tokens, %lld of them to learn; %lld samples held out; %lld cut",
             (long long)plan->samples, (long long)plan->tokens, (long long)plan->targets,
             (long long)plan->validation_samples, (long long)plan->cut_samples);
    cli_note(
        "%lld parameters (%s) beside %d matrices, %d of %d experts among them; %d steps; a step "
        "reads at most %s of experts",
        (long long)plan->parameters, bytes.text, plan->matrices, plan->experts, plan->experts_total,
        plan->steps, step.text);
    if (plan->spilled_bytes) {
        cli_human spilled = cli_human_bytes(plan->spilled_bytes);
        cli_note("%s of gradients and optimiser are on disk between uses: memory is short",
                 spilled.text);
    }
    if (plan->resumed_step) cli_note("going on after step %d", plan->resumed_step);
    if (plan->resumed_step < plan->steps)
        cli_progress_show(&work->progress, "step %d of %d", plan->resumed_step + 1, plan->steps);
}

static void show_progress(void *context, const sluice_train_progress *p)
{
    training *work = context;
    cli_human left = cli_human_seconds(p->seconds_left);
    work->last = *p;
    work->loss = 0.9 * work->loss + 0.1 * p->loss;
    work->weight = 0.9 * work->weight + 0.1;
    if (!isnan(p->validation_loss)) {
        if (work->validation_first == 0) work->validation_first = p->validation_loss;
        work->validation_last = p->validation_loss;
        cli_progress_clear(&work->progress);
        if (!work->progress.quiet)
            cli_note("step %d: loss %.4f, validation %.4f", p->step, work->loss / work->weight,
                     p->validation_loss);
    }
    cli_progress_show(&work->progress, "step %d of %d  loss %.4f  %.0f tok/s  %.2f GB/s  %s left",
                      p->step, p->steps, work->loss / work->weight, p->tokens_per_s,
                      p->seconds > 0 ? (double)p->bytes_read / p->seconds * 1e-9 : 0.0, left.text);
}

static sluice_train_options train_options(const train_args *args, training *work)
{
    sluice_train_options o = sluice_train_options_default();
    o.data = args->data;
    o.validation = args->validation;
    o.validation_share = (double)args->share;
    o.out = args->out;
    if (args->targets) o.targets = args->targets;
    o.rank = args->rank;
    o.alpha = args->alpha > 0 ? args->alpha : 2.0f * (float)args->rank;
    o.dropout = args->dropout;
    o.rate = args->rate;
    if (args->schedule && args->schedule[2] == 'n') o.schedule = SLUICE_TRAIN_CONSTANT;
    o.warmup_steps = args->warmup;
    o.weight_decay = args->decay;
    o.clip = args->clip;
    o.steps = args->steps;
    o.epochs = (double)args->epochs;
    o.context = args->context;
    o.batch = args->batch;
    o.accumulate = args->accumulate;
    o.all_tokens = args->all_tokens;
    o.refuse_long = args->refuse_long;
    o.seed = args->seed.value;
    o.validate_every = args->validate_every;
    o.save_every = args->save_every;
    o.fused = args->fused;
    o.resume = args->resume;
    o.counting = show_counting;
    o.started = show_plan;
    o.progress = show_progress;
    o.context_user = work;
    return o;
}

static int run(int argc, char **argv)
{
    const sluice_train_options defaults = sluice_train_options_default();
    train_args args = {.share = (float)defaults.validation_share,
                       .rank = defaults.rank,
                       .rate = defaults.rate,
                       .warmup = -1,
                       .clip = defaults.clip,
                       .epochs = (float)defaults.epochs,
                       .context = defaults.context,
                       .batch = defaults.batch,
                       .accumulate = defaults.accumulate};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_train, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.data || !args.out)
        return cli_usage("--data FILE.jsonl and --out DIR are needed; see 'sluice train --help'");

    training work = {.progress = {.quiet = args.output.quiet}};
    const sluice_engine_options engine = cli_engine_options(&args.model, &work.progress);
    const sluice_train_options train = train_options(&args, &work);
    sluice_error err = {0};
    cli_interrupt_catch(true);
    const sluice_status trained = sluice_train(positional[0], &engine, &train, &err);
    cli_progress_clear(&work.progress);
    if (trained == SLUICE_USAGE) return cli_usage("%s", err.detail);
    if (trained != SLUICE_OK) return cli_fail_error(&err);
    if (args.output.json)
        return cli_output_json(json_pack(
            "{s:s, s:i, s:f, s:o, s:I, s:I, s:I, s:I}", "path", args.out, "steps", work.plan.steps,
            "loss", work.weight > 0 ? work.loss / work.weight : 0.0, "validation_loss",
            work.validation_last > 0 ? json_real(work.validation_last) : json_null(), "parameters",
            (json_int_t)work.plan.parameters, "adapter_bytes", (json_int_t)work.plan.adapter_bytes,
            "spilled_bytes", (json_int_t)work.plan.spilled_bytes, "rss_peak_bytes",
            (json_int_t)work.last.rss_peak_bytes));
    cli_human bytes = cli_human_bytes(work.plan.adapter_bytes);
    cli_human peak = cli_human_bytes(work.last.rss_peak_bytes);
    printf("%s: %s after %d steps, loss %.4f", args.out, bytes.text, work.plan.steps,
           work.weight > 0 ? work.loss / work.weight : 0.0);
    if (work.validation_last > 0) printf(", validation %.4f", work.validation_last);
    printf(", peak memory %s\n", peak.text);
    return cli_output_finish();
}

const cli_command cli_command_train = {
    .name = "train",
    .summary = "Fine-tune: learn a low-rank adapter from examples",
    .usage = "[MODEL] --data FILE.jsonl --out DIR [options]",
    .description =
        "Learns a LoRA adapter beside the quantised weights, which never change. The experts that "
        "a batch uses are read once forward and once backward, so what is trained may be far "
        "larger than memory. Loss is on the assistant's tokens alone unless told otherwise. Ctrl-C "
        "saves and ends; --resume goes on bit for bit. Use the result by --adapter DIR with run, "
        "chat, serve and eval, or by PEFT in Python.",
    .examples = "sluice train --data calls.jsonl --out calls-adapter --rate 2e-3 --epochs 2\n"
                "sluice run --adapter calls-adapter \"Write as a call: Ann orders 3 pears at 2 "
                "each.\"",
    .positional_min = 0,
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
