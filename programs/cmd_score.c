/* sluice score: how likely a model finds a sequence of tokens, and what it would say next. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "input.h"
#include "model_flags.h"
#include "output.h"

typedef struct score_args {
    cli_model_flags model;
    cli_output_flags output;
    const char *ids, *text;
    bool special;
    int32_t top;
} score_args;

static const cli_option options[] = {
    {"ids", 0, CLI_TEXT, "LIST", offsetof(score_args, ids), 0, 0,
     "Token ids, such as 1,2,3; - reads them from stdin."},
    {"text", 0, CLI_TEXT, "FILE", offsetof(score_args, text), 0, 0,
     "Score the text of a file instead; - is stdin."},
    {"special", 0, CLI_FLAG, NULL, offsetof(score_args, special), 0, 0,
     "With --text: let text such as <|im_start|> become the special token of that name."},
    {"top", 0, CLI_INTEGER, "N", offsetof(score_args, top), 0, 1 << 20,
     "How many of the likeliest next tokens to show (20)."},
    {0}};
static const cli_group groups[] = {{"What to score", options, 0},
                                   {"Model", cli_model_options, offsetof(score_args, model)},
                                   {"Lossy", cli_lever_options, offsetof(score_args, model)},
                                   {"Output", cli_output_options, offsetof(score_args, output)},
                                   {0}};

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

/* What the rows of logits are folded into as they come. */
typedef struct score {
    const int32_t *ids;
    int32_t n, vocab;
    int32_t *argmax; /* [n] */
    double nll;      /* summed over the n-1 predicted tokens */
    candidate *all;  /* [vocab], the last row, sorted */
    int32_t bad_row; /* first with a logit that is not finite, or -1 */
} score;

/* Largest logit first, the lower id on a tie. */
static int compare(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static sluice_status on_logits(void *context, int32_t input, int32_t token, const float *logits)
{
    score *s = context;
    int32_t best = 0;
    double sum = 0;
    (void)input;
    for (int32_t i = 0; i < s->vocab; i++) {
        if (!isfinite(logits[i])) {
            s->bad_row = token;
            return SLUICE_CORRUPT;
        }
        if (logits[i] > logits[best]) best = i;
    }
    s->argmax[token] = best;
    if (token + 1 < s->n) {
        for (int32_t i = 0; i < s->vocab; i++)
            sum += exp((double)logits[i] - (double)logits[best]);
        s->nll += log(sum) + (double)logits[best] - (double)logits[s->ids[token + 1]];
        return SLUICE_OK;
    }
    for (int32_t i = 0; i < s->vocab; i++)
        s->all[i] = (candidate){logits[i], i};
    qsort(s->all, (size_t)s->vocab, sizeof *s->all, compare);
    return SLUICE_OK;
}

static int step(sluice_engine *engine, score *s)
{
    sluice_error err = {0};
    sluice_session *session;
    if (sluice_session_open(engine, &session, &err) != SLUICE_OK) return cli_fail_error(&err);
    sluice_session_prompt(session, s->n);
    sluice_input input = {.session = session, .tokens = s->ids, .count = s->n, .logits_from = 0};
    sluice_status status = sluice_engine_step(engine, &input, 1, on_logits, s, &err);
    sluice_session_close(session);
    if (s->bad_row >= 0)
        return cli_fail("the model computed a logit that is not finite at position %d: its files "
                        "hold weights that are not numbers; try 'sluice verify'",
                        s->bad_row);
    return status == SLUICE_OK ? CLI_OK : cli_fail_error(&err);
}

static int print_json(const score *s, int32_t top)
{
    json_t *argmax = json_array(), *best = json_array();
    for (int32_t i = 0; i < s->n; i++)
        json_array_append_new(argmax, json_integer(s->argmax[i]));
    for (int32_t i = 0; i < top; i++)
        json_array_append_new(
            best, json_pack("{s:i, s:f}", "id", s->all[i].id, "logit", (double)s->all[i].logit));
    /* One token alone predicts nothing. */
    json_t *mean = s->n > 1 ? json_real(s->nll / (s->n - 1)) : json_null();
    return cli_output_json(json_pack("{s:i, s:o, s:o, s:o}", "n", s->n, "mean_nll", mean, "argmax",
                                     argmax, "top", best));
}

static int print_text(const sluice_tokenizer *tokenizer, const char *lossy, const score *s,
                      int32_t top)
{
    if (*lossy) printf("lossy: %s\n", lossy);
    if (s->n > 1)
        printf("%d tokens, mean NLL %.6f, perplexity %.4f\n", s->n, s->nll / (s->n - 1),
               exp(s->nll / (s->n - 1)));
    else
        puts("1 token: nothing was predicted");
    if (top > 0) puts("next token       logit");
    for (int32_t i = 0; i < top; i++) {
        sluice_text text = {0};
        sluice_error err;
        printf("%10d  %10.5f  ", s->all[i].id, (double)s->all[i].logit);
        if (tokenizer &&
            sluice_tokenizer_decode(tokenizer, &s->all[i].id, 1, false, &text, &err) == SLUICE_OK) {
            json_t *quoted = json_stringn(text.bytes, text.length);
            if (quoted) json_dumpf(quoted, stdout, JSON_ENCODE_ANY);
            json_decref(quoted);
        }
        sluice_text_free(&text);
        putchar('\n');
    }
    return cli_output_finish();
}

static int score_ids(sluice_engine *engine, const score_args *args, const int32_t *ids,
                     size_t count)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    int status = cli_ids_check(ids, count, info->vocab);
    if (status != CLI_OK) return status;
    if (count > (size_t)info->context)
        return cli_fail("%zu tokens are more than the context of %d", count, info->context);
    score s = {.ids = ids, .n = (int32_t)count, .vocab = info->vocab, .bad_row = -1};
    s.argmax = calloc(count, sizeof *s.argmax);
    s.all = calloc((size_t)info->vocab, sizeof *s.all);
    status = s.argmax && s.all ? step(engine, &s) : cli_fail("not enough memory for the scores");
    int32_t top = args->top < info->vocab ? args->top : info->vocab;
    if (status == CLI_OK && args->output.json)
        status = print_json(&s, top);
    else if (status == CLI_OK)
        status =
            print_text(sluice_engine_tokenizer(engine), sluice_engine_info(engine)->lossy, &s, top);
    free(s.all);
    free(s.argmax);
    return status;
}

static int score_text(sluice_engine *engine, const score_args *args, const cli_bytes *text)
{
    sluice_ids ids = {0};
    sluice_error err = {0};
    sluice_special special = args->special ? SLUICE_SPECIAL_EVERYWHERE : SLUICE_SPECIAL_NEVER;
    const sluice_tokenizer *tokenizer;
    int status = cli_engine_tokenizer(engine, &tokenizer);
    if (status != CLI_OK) return status;
    if (sluice_tokenizer_encode(tokenizer, text->bytes, text->length, special, &ids, &err) !=
        SLUICE_OK)
        return cli_fail_error(&err);
    status = ids.count ? score_ids(engine, args, ids.ids, ids.count)
                       : cli_fail("%s: empty, there is nothing to score", args->text);
    sluice_ids_free(&ids);
    return status;
}

static int run(int argc, char **argv)
{
    score_args args = {.top = 20};
    const char *positional[CLI_POSITIONAL_MAX];
    int status = cli_options_parse(&cli_command_score, argc, argv, &args, positional);
    if (status != CLI_GO_ON) return status;
    if (!args.ids == !args.text)
        return cli_usage("'sluice score' needs either --ids or --text; see 'sluice score --help'");
    if (args.special && !args.text) return cli_usage("--special goes with --text alone");

    cli_ids ids = {0};
    cli_bytes text = {0};
    sluice_engine *engine = NULL;
    status = args.ids ? cli_ids_read(args.ids, false, &ids) : cli_read(args.text, &text);
    if (status != CLI_OK) return status;
    status = cli_engine_open(positional[0], &args.model, args.output.quiet, &engine);
    if (status == CLI_OK) {
        status = args.ids ? score_ids(engine, &args, ids.ids, ids.count)
                          : score_text(engine, &args, &text);
        sluice_engine_close(engine);
    }
    free(text.bytes);
    free(ids.ids);
    return status;
}

const cli_command cli_command_score = {
    .name = "score",
    .summary = "How likely a sequence of tokens is, and the likeliest next ones",
    .usage = "[MODEL] --ids LIST [--top N] [options]\n[MODEL] --text FILE [--top N] [options]",
    .description =
        "Runs a sequence through the model in one go and prints the mean negative log-likelihood "
        "of "
        "its tokens (in nats; the first is not predicted), and the logits of the likeliest next "
        "tokens. --json also gives the likeliest token after every position: "
        "{\"n\", \"mean_nll\", \"argmax\": [...], \"top\": [{\"id\", \"logit\"}, ...]}; mean_nll "
        "is "
        "null for a single token.",
    .examples = "sluice score --ids 8134,324,2831 --top 5\n"
                "echo 'Once upon a time' | sluice tokenize | sluice score --ids - --json\n"
                "sluice score ~/models/qwen3.5-397b.sluice --text letter.txt",
    .positional_max = 1,
    .groups = groups,
    .run = run,
};
