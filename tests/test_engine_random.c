/* Whole engines over a simulated disk, in random settings: cache, policy, lookahead, threads, chunk
 * and slices of the prompt, memory taken away in between, and faults. Checked in each: every row of
 * logits that comes is right to the bit; an error names layer, expert, file and offset and comes
 * from a disk that has faults; once the disk is whole again the same session goes on to the bit.
 *
 * SLUICE_RUNS=10000 runs more; SLUICE_SEED=n runs that one alone. A failure prints its seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "experts/policy.h"
#include "io/sim.h"
#include "sluice/synth.h"
#include "support/engines.h"
#include "support/folders.h"

#ifdef __SANITIZE_THREAD__
enum { RUNS = 100 }; /* of a third of a second each */
#else
enum { RUNS = 250 };
#endif
enum { PROMPT = 150, DECODED = 6, ROWS = PROMPT + DECODED, VOCAB = 300 };

static const char geometry[] =
    "{\"model_type\":\"qwen3_5_moe_text\",\"num_hidden_layers\":4,\"hidden_size\":64,"
    "\"vocab_size\":300,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":32,"
    "\"linear_num_key_heads\":1,\"linear_num_value_heads\":2,\"linear_key_head_dim\":32,"
    "\"linear_value_head_dim\":32,\"linear_conv_kernel_dim\":4,\"num_experts\":24,"
    "\"num_experts_per_tok\":3,\"moe_intermediate_size\":64,"
    "\"shared_expert_intermediate_size\":64,\"max_position_embeddings\":256,"
    "\"rope_parameters\":{\"rope_theta\":10000,\"partial_rotary_factor\":0.32}}";

static char folder[FOLDERS_PATH_MAX];
static const char *model;
static int32_t tokens[ROWS];
static float *expected[2]; /* [ROWS, VOCAB], with int8 activations and exact */

typedef struct scenario {
    uint64_t seed;
    sluice_rng rng;
    bool faulty;
    sluice_io_sim_options disk;
    sluice_engine_options options;
    sluice_io *io;
    sluice_engine *engine;
    sluice_session *session;
    int32_t done;   /* tokens that ran */
    int32_t failed; /* steps that did not */
} scenario;

#define CHECK(s, condition, ...)                                                                   \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("SLUICE_SEED=%llu: ", (unsigned long long)(s)->seed);                      \
            print_error(__VA_ARGS__);                                                              \
            fail_msg("%s", #condition);                                                            \
        }                                                                                          \
    } while (0)

static int32_t below(scenario *s, int32_t n)
{
    return (int32_t)sluice_rng_below(&s->rng, (uint64_t)n);
}

static void draw_disk(scenario *s)
{
    s->disk = (sluice_io_sim_options){.seed = s->seed,
                                      .depth = 1 + below(s, 12),
                                      .latency_max = (uint32_t)below(s, 200),
                                      .short_permille = (uint32_t)below(s, 300),
                                      .refuse_permille = (uint32_t)below(s, 500)};
    s->faulty = below(s, 2);
    if (!s->faulty) return;
    s->disk.error_permille = (uint32_t)below(s, 300);
    if (s->options.verify_reads) s->disk.corrupt_permille = (uint32_t)below(s, 300);
    if (below(s, 3) == 0) s->disk.bad_permille = (uint32_t)below(s, 100);
    if (below(s, 3) == 0) s->disk.unplug_after = 1 + (uint64_t)below(s, 300);
}

static void draw(scenario *s, uint64_t seed)
{
    int32_t policies = 0;
    *s = (scenario){.seed = seed};
    sluice_rng_seed(&s->rng, seed);
    while (sluice_cache_policy_names()[policies])
        policies++;
    s->options = engines_options();
    s->options.threads = 1 + below(s, 3);
    s->options.exact = below(s, 2);
    s->options.chunk = 64 * (1 + below(s, 3));
    s->options.verify_reads = below(s, 2);
    s->options.cache_policy = sluice_cache_policy_names()[below(s, policies)];
    s->options.lookahead = below(s, 3) ? below(s, 30) : -1;
    s->options.prefault = seed % 2;
    draw_disk(s);
}

static void open_all(scenario *s)
{
    sluice_error err = {0};
    CHECK(s, sluice_io_sim_new(&s->disk, &s->io, &err) == SLUICE_OK, "%s\n", err.detail);
    /* From the least to all, mostly little. */
    const uint64_t record = 16384, least = (3 + SLUICE_CACHE_SLOTS_SPARE) * record;
    s->options.cache_bytes = least + (uint64_t)below(s, below(s, 2) ? 8 : 96) * record;
    CHECK(s, sluice_engine_open_over(model, &s->options, s->io, &s->engine, &err) == SLUICE_OK,
          "%s\n", err.detail);
    CHECK(s, sluice_session_open(s->engine, &s->session, &err) == SLUICE_OK, "%s\n", err.detail);
}

static sluice_status compare(void *context, int32_t input, int32_t token, const float *logits)
{
    scenario *s = context;
    int32_t row = s->done + token;
    (void)input;
    CHECK(s, row < ROWS, "row %d\n", row);
    CHECK(s,
          !memcmp(logits, expected[s->options.exact] + (size_t)row * VOCAB, VOCAB * sizeof *logits),
          "row %d differs\n", row);
    return SLUICE_OK;
}

static void check_error(scenario *s, sluice_status status, const sluice_error *err)
{
    int layer, expert;
    unsigned long long offset;
    const char *place = strstr(err->detail, ": layer ");
    CHECK(s, s->faulty, "%s\n", err->detail);
    CHECK(s, status == err->code && (status == SLUICE_IO || status == SLUICE_CORRUPT), "%s\n",
          err->detail);
    CHECK(s,
          place &&
              sscanf(place, ": layer %d, expert %d at byte %llu", &layer, &expert, &offset) == 3,
          "%s\n", err->detail);
    char name[64];
    snprintf(name, sizeof name, "experts-%03d.safetensors: layer", layer);
    CHECK(s, strstr(err->detail, name), "%s\n", err->detail);
}

/* Runs the next count tokens. After a failure the session may have kept whole chunks of them. */
static void run_step(scenario *s, int32_t count)
{
    sluice_error err = {0};
    int32_t held;
    sluice_input input = {s->session, tokens + s->done, count, below(s, 3) ? 0 : count - 1};
    sluice_status status = sluice_engine_step(s->engine, &input, 1, compare, s, &err);
    const int32_t *seen = sluice_session_tokens(s->session, &held);
    CHECK(s, !memcmp(seen, tokens, (size_t)held * sizeof *seen), "tokens differ\n");
    if (status == SLUICE_OK) {
        CHECK(s, held == s->done + count, "%d tokens are held\n", held);
    } else {
        check_error(s, status, &err);
        CHECK(s, held >= s->done && held < s->done + count, "%d tokens are held\n", held);
        if (++s->failed == 3) sluice_io_sim_heal(s->io);
    }
    s->done = held;
}

static void run_all(scenario *s)
{
    int32_t slots = sluice_experts_slots(s->engine->experts);
    while (s->done < ROWS) {
        if (below(s, 8) == 0) sluice_experts_resize(s->engine->experts, below(s, slots + 1));
        int32_t left = PROMPT - s->done, blocks = left / 64;
        if (left <= 0)
            run_step(s, 1);
        else if (blocks && below(s, 2))
            run_step(s, 64 * (1 + below(s, blocks)));
        else
            run_step(s, left);
    }
}

static void close_all(scenario *s)
{
    sluice_session_close(s->session);
    sluice_engine_close(s->engine);
    s->io->free(s->io);
}

static int keep_expected(bool exact)
{
    sluice_engine_options options = engines_options();
    options.exact = exact;
    options.lookahead = -1;
    sluice_engine *engine = engines_open(model, &options);
    sluice_session *session = engines_session(engine);
    engines_rows rows = engines_rows_new(engine, ROWS);
    sluice_input prompt = {session, tokens, PROMPT, 0};
    engines_step(engine, &prompt, 1, engines_rows_keep, &rows);
    for (int32_t i = PROMPT; i < ROWS; i++) {
        sluice_input one = {session, tokens + i, 1, 0};
        engines_step(engine, &one, 1, engines_rows_keep, &rows);
    }
    expected[exact] = rows.logits;
    sluice_session_close(session);
    sluice_engine_close(engine);
    return 0;
}

static int prepare(void **state)
{
    (void)state;
    sluice_error err = {0};
    folders_make(folder);
    const char *config = folders_path(folder, "config.json");
    model = folders_path(folder, "model");
    folders_save(config, geometry, sizeof geometry - 1);
    const sluice_synth_options synth = {.geometry = config, .seed = 5};
    if (sluice_synth(model, &synth, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    for (int32_t i = 0; i < ROWS; i++)
        tokens[i] = (i * 89 + i * i % 7) % VOCAB;
    return keep_expected(false) + keep_expected(true);
}

static int tidy(void **state)
{
    (void)state;
    folders_remove(folder);
    free(expected[0]);
    free(expected[1]);
    return 0;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void random_engines_give_the_same_bits_or_a_clean_error(void **state)
{
    (void)state;
    uint64_t only = number_from("SLUICE_SEED", UINT64_MAX);
    uint64_t first = only == UINT64_MAX ? 0 : only, failed = 0;
    uint64_t end = only == UINT64_MAX ? number_from("SLUICE_RUNS", RUNS) : only + 1;
    for (uint64_t seed = first; seed < end; seed++) {
        scenario s;
        draw(&s, seed);
        open_all(&s);
        run_all(&s);
        failed += s.failed > 0;
        close_all(&s);
    }
    if (only == UINT64_MAX) assert_true(failed > end / 10); /* the faults were really there */
    print_message("%llu of %llu engines met errors\n", (unsigned long long)failed,
                  (unsigned long long)(end - first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_engines_give_the_same_bits_or_a_clean_error),
    };
    return cmocka_run_group_tests_name("engine_random", tests, prepare, tidy);
}
