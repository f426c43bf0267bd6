/* What sequences that decode together gain over one after the other, as CSV: no server, no
 * prompts, no sampling, only steps of one row each.
 *
 * Usage: bench_batch [MODEL [CACHE_MB [exact|int8 [TOKENS [STREAMS...]]]]], by default Nano with
 * 8 MB. Each of 8 sequences is fed TOKENS (64) tokens of another place of a book, behind 32 of a
 * prompt that does not count; with S streams S of them run at a time. So every line runs the same
 * tokens; times is the gain over the first line. A model without a tokenizer gets random tokens. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sluice/sluice.h"

enum { SEQUENCES = 8, PROMPT = 32 };

typedef struct bench_texts {
    int32_t *ids; /* [SEQUENCES][PROMPT + tokens] */
    int32_t tokens;
} bench_texts;

static int die(const char *what)
{
    fprintf(stderr, "bench_batch: %s\n", what);
    return 1;
}

static bool read_texts(const sluice_engine *engine, const char *path, bench_texts *out)
{
    FILE *file = fopen(path, "rb");
    size_t room = 1 << 20, each = (size_t)(PROMPT + out->tokens);
    char *text = malloc(room);
    size_t length = file && text ? fread(text, 1, room, file) : 0;
    if (file) fclose(file);
    sluice_ids ids = {0};
    const sluice_tokenizer *tokenizer = sluice_engine_tokenizer(engine);
    bool ok = length > 0;
    if (ok && tokenizer)
        ok = sluice_tokenizer_encode(tokenizer, text, length, SLUICE_SPECIAL_NEVER, &ids, NULL) ==
             SLUICE_OK;
    size_t count = tokenizer ? ids.count : length;
    out->ids = malloc(SEQUENCES * each * sizeof *out->ids);
    ok = ok && out->ids && count >= SEQUENCES * each;
    for (size_t i = 0; ok && i < SEQUENCES; i++)
        for (size_t t = 0; t < each; t++) {
            size_t at = i * (count / SEQUENCES) + t;
            uint32_t mixed = (uint32_t)(at * 2654435761u) ^ (unsigned char)text[at];
            out->ids[i * each + t] =
                tokenizer ? ids.ids[at]
                          : (int32_t)(mixed % (uint32_t)sluice_engine_info(engine)->vocab);
        }
    sluice_ids_free(&ids);
    free(text);
    return ok;
}

/* All texts, so many at a time. */
static sluice_status run(sluice_engine *engine, sluice_session **sessions, const bench_texts *texts,
                         int32_t streams, sluice_error *err)
{
    size_t each = (size_t)(PROMPT + texts->tokens);
    sluice_input inputs[SEQUENCES];
    for (int32_t first = 0; first < SEQUENCES; first += streams)
        for (int32_t t = 0; t < texts->tokens; t++) {
            for (int32_t i = 0; i < streams; i++)
                inputs[i] = (sluice_input){
                    sessions[first + i],
                    texts->ids + (size_t)(first + i) * each + PROMPT + (size_t)t, 1, 0};
            sluice_status status =
                sluice_engine_step(engine, inputs, streams, sluice_logits_drop, NULL, err);
            if (status != SLUICE_OK) return status;
        }
    return SLUICE_OK;
}

static sluice_status begin(sluice_engine *engine, sluice_session **sessions,
                           const bench_texts *texts, sluice_error *err)
{
    for (int32_t i = 0; i < SEQUENCES; i++) {
        sluice_session_clear(sessions[i]);
        sluice_input input = {
            sessions[i], texts->ids + (size_t)i * (size_t)(PROMPT + texts->tokens), PROMPT, PROMPT};
        sluice_status status = sluice_engine_step(engine, &input, 1, sluice_logits_drop, NULL, err);
        if (status != SLUICE_OK) return status;
    }
    sluice_engine_stats_reset(engine);
    return SLUICE_OK;
}

static sluice_status measure(sluice_engine *engine, sluice_session **sessions,
                             const bench_texts *texts, int32_t streams, double *first,
                             sluice_error *err)
{
    sluice_stats s;
    sluice_status status = begin(engine, sessions, texts, err);
    uint64_t start = sluice_clock_ns();
    if (status == SLUICE_OK) status = run(engine, sessions, texts, streams, err);
    if (status != SLUICE_OK) return status;
    double ns = (double)(sluice_clock_ns() - start);
    double tokens = (double)SEQUENCES * texts->tokens, steps = tokens / streams;
    if (*first <= 0) *first = ns;
    sluice_engine_stats(engine, &s);
    const sluice_model_info *info = sluice_engine_info(engine);
    printf("%s,%.0f,%d,%.1f,%.2f,%.3f,%.3f,%.3f,%.3f,%.3f,%.1f,%.3f,%.2f,%.2f\n", info->name,
           (double)info->cache_bytes / 1e6, streams, tokens / ns * 1e9, *first / ns,
           ns / steps / 1e6, (double)s.trunk_us / steps / 1e3, (double)s.expert_us / steps / 1e3,
           (double)s.expert_wait_us / steps / 1e3, (double)s.head_us / steps / 1e3,
           (double)s.expert_requests / steps / info->layers,
           (double)s.expert_hits / (double)s.expert_requests,
           (double)s.expert_bytes_read / tokens / 1e6, (double)s.expert_bytes_read / ns);
    fflush(stdout);
    return SLUICE_OK;
}

static sluice_status open_all(const char *model, const sluice_engine_options *options,
                              sluice_engine **engine, sluice_session **sessions, sluice_error *err)
{
    sluice_status status = sluice_engine_open(model, options, engine, err);
    for (int i = 0; i < SEQUENCES && status == SLUICE_OK; i++)
        status = sluice_session_open(*engine, &sessions[i], err);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const defaults[] = {"1", "2", "4", "8"};
    char *nano, book[4096];
    sluice_error err = {0};
    sluice_engine *engine;
    sluice_session *sessions[SEQUENCES];
    bench_texts texts = {.tokens = argc > 4 ? atoi(argv[4]) : 64};
    sluice_engine_options options = sluice_engine_options_default();
    options.cache_bytes = (uint64_t)(argc > 2 ? atoi(argv[2]) : 8) * 1000000;
    options.exact = argc < 4 || strcmp(argv[3], "int8") != 0;
    options.context = PROMPT + texts.tokens;
    options.sessions = SEQUENCES;
    if (texts.tokens < 1) return die("TOKENS must be positive");
    if (sluice_locate_nano(&nano, &err) != SLUICE_OK) return die(err.detail);
    snprintf(book, sizeof book, "%s/text/alice.txt", nano);
    if (open_all(argc > 1 ? argv[1] : nano, &options, &engine, sessions, &err) != SLUICE_OK)
        return die(err.detail);
    if (!read_texts(engine, book, &texts)) return die("the book cannot be read, or is too short");
    printf("model,cache_mb,streams,tokens_s,times,ms_a_step,trunk_ms,experts_ms,wait_ms,head_ms,"
           "distinct_a_layer,hit_rate,mb_read_a_token,read_gb_s\n");
    double first = 0;
    for (int i = 0; i < (argc > 5 ? argc - 5 : 4); i++) {
        int streams = atoi(argc > 5 ? argv[5 + i] : defaults[i]);
        if (streams < 1 || SEQUENCES % streams) return die("STREAMS: 1, 2, 4 or 8");
        if (measure(engine, sessions, &texts, streams, &first, &err) != SLUICE_OK)
            return die(err.detail);
    }
    for (int i = 0; i < SEQUENCES; i++)
        sluice_session_close(sessions[i]);
    sluice_engine_close(engine);
    free(texts.ids);
    free(nano);
    return 0;
}
