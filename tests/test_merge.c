/* Merging: what an adapter adds beside the weights is in them, everything else keeps its bytes; and
 * a container is a source of conversion like any other. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapter/peft.h"
#include "format/container.h"
#include "sluice/merge.h"
#include "support/engines.h"
#include "support/folders.h"
#include "support/random_layer.h"
#include "support/same_weights.h"

#define TOKENS 24
#define PLAIN "hf-split-f32-sharded"
#define QUANTISED "mlx-8bit-g32"

static char dir[FOLDERS_PATH_MAX];

static const char *in_folder(const char *name)
{
    return folders_path(dir, name);
}

static const char *source(const char *name)
{
    return folders_path(engines_source_path("tests/data/tiny"), name);
}

/* An adapter of the model: every matrix of layers before `layers`, experts 1 and 2 of each. */
static const char *adapter_of(const char *model, const char *name, int32_t layers, uint64_t seed)
{
    sluice_adapter_key keys[512];
    sluice_config config;
    sluice_adapter *adapter;
    sluice_error err = {0};
    int32_t n = 0, in, out;
    assert_int_equal(sluice_config_load(folders_path(source(model), "config.json"), &config, &err),
                     SLUICE_OK);
    if (layers > config.layers) layers = config.layers;
    for (int32_t layer = 0; layer < layers; layer++)
        for (int m = 0; m < SLUICE_ADAPTER_MODULES; m++) {
            sluice_adapter_key key = {layer, (sluice_adapter_module)m, -1, 2, 1.5f};
            if (!sluice_adapter_shape(&config, layer, key.module, &in, &out)) continue;
            if (m < SLUICE_ADAPTER_EXPERT_GATE) keys[n++] = key;
            for (key.expert = 1; m >= SLUICE_ADAPTER_EXPERT_GATE && key.expert < 3; key.expert++)
                keys[n++] = key;
        }
    assert_int_equal(sluice_adapter_new(&config, keys, n, false, NULL, &adapter, &err), SLUICE_OK);
    sluice_adapter_init(adapter, seed);
    sluice_rng rng;
    sluice_rng_seed(&rng, seed);
    for (int32_t i = 0; i < adapter->n_entries; i++)
        for (int32_t j = 0; j < adapter->entries[i].out * 2; j++)
            adapter->entries[i].b[j] = 0.1f * random_normal(&rng);
    const char *path = in_folder(name);
    const sluice_peft_write_options options = {"tiny", true};
    if (sluice_peft_write(adapter, &config, &options, path, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    sluice_adapter_free(adapter);
    return path;
}

static void merge(const char *model, const sluice_adapter_choice *adapters, int32_t n,
                  const char *out, const sluice_convert_options *options)
{
    sluice_error err = {0};
    if (sluice_merge(model, adapters, n, out, options, NULL, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    if (sluice_verify(out, NULL, NULL, &err) != SLUICE_OK) fail_msg("%s", err.detail);
}

static engines_rows logits_of(const char *model, const sluice_adapter_choice *adapters, int32_t n)
{
    sluice_engine_options options = engines_options();
    int32_t tokens[TOKENS];
    options.adapters = adapters;
    options.n_adapters = n;
    sluice_engine *engine = engines_open(model, &options);
    engines_rows rows = engines_rows_new(engine, TOKENS);
    sluice_session *session = engines_session(engine);
    for (int32_t i = 0; i < TOKENS; i++)
        tokens[i] = (i * 37 + 5) % rows.vocab;
    engines_step(engine, &(sluice_input){session, tokens, TOKENS, 0}, 1, engines_rows_keep, &rows);
    sluice_session_close(session);
    sluice_engine_close(engine);
    return rows;
}

/* The median row's largest difference of logits: a route that rounding flips is not what is asked
 * for. Frees both. */
static double distance(engines_rows a, engines_rows b)
{
    double rows[TOKENS];
    assert_true(a.count == TOKENS && b.count == TOKENS && a.vocab == b.vocab);
    for (int i = 0; i < TOKENS; i++) {
        double worst = 0.0;
        for (int64_t v = (int64_t)i * a.vocab; v < (int64_t)(i + 1) * a.vocab; v++)
            worst = fmax(worst, fabs((double)a.logits[v] - (double)b.logits[v]));
        int at = i;
        for (; at > 0 && rows[at - 1] > worst; at--)
            rows[at] = rows[at - 1];
        rows[at] = worst;
    }
    engines_rows_free(&a);
    engines_rows_free(&b);
    return rows[TOKENS / 2];
}

static void weights_in_full_answer_as_with_adapters(void **state)
{
    const char *model = source(PLAIN);
    const sluice_adapter_choice both[] = {{adapter_of(PLAIN, "one", 99, 1), 1.0f},
                                          {adapter_of(PLAIN, "two", 2, 2), -0.5f}};
    (void)state;
    merge(model, both, 2, in_folder("full"), NULL);
    const double apart = distance(logits_of(model, both, 2), logits_of(in_folder("full"), NULL, 0));
    const double moved = distance(logits_of(model, NULL, 0), logits_of(in_folder("full"), NULL, 0));
    if (apart > 2e-4 || moved < 0.1) fail_msg("%g apart, moved by %g", apart, moved);
}

static void the_format_asked_for_is_that_of_what_changes(void **state)
{
    const char *model = source(QUANTISED);
    const sluice_adapter_choice one = {adapter_of(QUANTISED, "some", 2, 3), 1.0f};
    const sluice_convert_options fine = {.experts = "bf16", .trunk = "bf16"};
    sluice_container *own, *more;
    int32_t changed = 0, count = 0;
    (void)state;
    merge(model, &one, 1, in_folder("own"), NULL);
    merge(model, &one, 1, in_folder("more"), &fine);
    assert_int_equal(sluice_container_open(in_folder("own"), &own, NULL), SLUICE_OK);
    assert_int_equal(sluice_container_open(in_folder("more"), &more, NULL), SLUICE_OK);
    const sluice_trunk_tensor *a = sluice_container_trunk(own, &count);
    const sluice_trunk_tensor *b = sluice_container_trunk(more, &count);
    for (int32_t i = 0; i < count; i++) {
        const bool finer = b[i].format.kind == SLUICE_WEIGHT_BF16;
        if (finer && a[i].format.kind == SLUICE_WEIGHT_AFFINE) {
            changed++;
            assert_true(!strncmp(a[i].name, "layers.0.", 9) || !strncmp(a[i].name, "layers.1.", 9));
        } else {
            assert_int_equal(a[i].format.kind, b[i].format.kind);
        }
    }
    assert_true(changed >= 2 * 4);
    for (int32_t i = 0; i < sluice_container_expert_layers(own); i++) {
        assert_int_equal(sluice_container_experts(own, i)->layout.gate.bits, 8);
        assert_int_equal(sluice_container_experts(more, i)->layout.gate.bits, i < 2 ? 16 : 8);
        assert_int_equal(sluice_container_experts(more, i)->layout.down.bits, i < 2 ? 16 : 8);
    }
    sluice_container_close(own);
    sluice_container_close(more);
    const double rough = distance(logits_of(model, &one, 1), logits_of(in_folder("own"), NULL, 0));
    const double near = distance(logits_of(model, &one, 1), logits_of(in_folder("more"), NULL, 0));
    const double moved = distance(logits_of(model, &one, 1), logits_of(model, NULL, 0));
    if (!(near < 0.1 * moved && near < rough && rough < 0.5 * moved))
        fail_msg("8 bits %g apart, bf16 %g, moved by %g", rough, near, moved);
}

/* The same from the checkpoint and from its container; and what no adapter touches. */
static void a_container_is_a_source_like_its_checkpoint(void **state)
{
    const char *model = source(QUANTISED), *container = in_folder("container");
    const sluice_adapter_choice one = {adapter_of(QUANTISED, "again", 1, 4), 1.0f};
    sluice_container *base, *a, *b;
    int32_t count = 0, same = 0;
    sluice_error err = {0};
    (void)state;
    if (sluice_convert(model, container, NULL, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    merge(model, &one, 1, in_folder("from-checkpoint"), NULL);
    merge(container, &one, 1, in_folder("from-container"), NULL);
    assert_int_equal(sluice_container_open(container, &base, NULL), SLUICE_OK);
    assert_int_equal(sluice_container_open(in_folder("from-checkpoint"), &a, NULL), SLUICE_OK);
    assert_int_equal(sluice_container_open(in_folder("from-container"), &b, NULL), SLUICE_OK);
    assert_string_equal(sluice_container_layout(a), sluice_container_layout(b));
    const sluice_trunk_tensor *tensors = sluice_container_trunk(base, &count);
    for (int32_t i = 0; i < count; i++) {
        const uint32_t crc = sluice_container_trunk_crc32c(a, i);
        assert_int_equal(crc, sluice_container_trunk_crc32c(b, i));
        const bool kept = crc == sluice_container_trunk_crc32c(base, i);
        if (!kept) assert_memory_equal(tensors[i].name, "layers.0.", 9);
        same += kept;
    }
    assert_true(same < count);
    for (int32_t i = 0; i < sluice_container_expert_layers(base); i++) {
        const sluice_expert_file *was = sluice_container_experts(base, i);
        const sluice_expert_file *is = sluice_container_experts(a, i);
        const sluice_expert_file *too = sluice_container_experts(b, i);
        for (int32_t e = 0; e < was->count; e++) {
            assert_int_equal(is->crc32c[e], too->crc32c[e]);
            assert_int_equal(is->crc32c[e] == was->crc32c[e], !(i == 0 && (e == 1 || e == 2)));
        }
    }
    sluice_container_close(base);
    sluice_container_close(a);
    sluice_container_close(b);
    /* Without a change: the checkpoint's values, and others on request. */
    if (sluice_convert(container, in_folder("copy"), NULL, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    same_weights_assert(model, in_folder("copy"));
    const sluice_convert_options fewer = {.experts = "q4/32"};
    if (sluice_convert(container, in_folder("fewer"), &fewer, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    same_weights_assert_near(model, in_folder("fewer"), 4, 0);
}

typedef struct stopper {
    int32_t files;
    bool resumed;
} stopper;

static bool starting(void *context, const sluice_convert_plan *plan)
{
    ((stopper *)context)->resumed = plan->written_bytes > 0;
    return true;
}

static bool stop_at(void *context, const sluice_convert_progress *progress)
{
    const stopper *at = context;
    return progress->files_done < at->files;
}

static void an_interrupted_merge_goes_on(void **state)
{
    const char *model = source(QUANTISED);
    sluice_adapter_choice one = {adapter_of(QUANTISED, "stopped", 3, 5), 1.0f};
    sluice_error err = {0};
    sluice_merge_plan plan;
    (void)state;
    merge(model, &one, 1, in_folder("at-once"), NULL);
    stopper how = {.files = 3};
    sluice_convert_options options = {
        .threads = 1, .starting = starting, .progress = stop_at, .context = &how};
    int tries = 0;
    while (sluice_merge(model, &one, 1, in_folder("stopped-out"), &options, &plan, &err) !=
           SLUICE_OK) {
        assert_non_null(strstr(err.detail, "stopped"));
        assert_false(folders_exists(in_folder("stopped-out")));
        how.files = 99; /* the report at ten times a second may not come: then it is through */
        assert_true(++tries < 3);
    }
    assert_true(plan.matrices > 0 && plan.experts == 6);
    folders_assert_equal(in_folder("at-once"), in_folder("stopped-out"));
    /* Another scale is another merge: it begins anew, and gives something else. */
    one.scale = 2.0f;
    merge(model, &one, 1, in_folder("scaled"), NULL);
    size_t a, b;
    char *left = folders_load(folders_path(in_folder("at-once"), "trunk.safetensors"), &a);
    char *right = folders_load(folders_path(in_folder("scaled"), "trunk.safetensors"), &b);
    assert_int_equal(a, b);
    assert_memory_not_equal(left, right, a);
    free(left);
    free(right);
}

static void what_cannot_be_merged_is_refused(void **state)
{
    const char *model = source(QUANTISED);
    const sluice_adapter_choice good = {adapter_of(QUANTISED, "good", 1, 6), 1.0f};
    const sluice_adapter_choice other = {adapter_of(PLAIN, "other", 1, 6), 1.0f};
    const sluice_adapter_choice none = {in_folder("nothing"), 1.0f}, wrong = {good.path, NAN};
    const sluice_convert_options consume = {.consume = true}, odd = {.experts = "q7"};
    const struct {
        const sluice_adapter_choice *adapter;
        int32_t n;
        const sluice_convert_options *options;
        sluice_status status;
        const char *words;
    } cases[] = {{&good, 0, NULL, SLUICE_USAGE, "0 adapters"},
                 {&other, 1, NULL, SLUICE_BAD_INPUT, "another model"},
                 {&none, 1, NULL, SLUICE_NOT_FOUND, "nothing"},
                 {&wrong, 1, NULL, SLUICE_USAGE, "scale"},
                 {&good, 1, &consume, SLUICE_USAGE, "consume"},
                 {&good, 1, &odd, SLUICE_USAGE, "q7"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_error err = {0};
        assert_int_equal(sluice_merge(model, cases[i].adapter, cases[i].n, in_folder("refused"),
                                      cases[i].options, NULL, &err),
                         cases[i].status);
        if (!strstr(err.detail, cases[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.detail, cases[i].words);
        assert_false(folders_exists(in_folder("refused")));
    }
    sluice_error err = {0};
    if (sluice_convert(model, in_folder("kept"), NULL, &err) != SLUICE_OK)
        fail_msg("%s", err.detail);
    assert_int_equal(sluice_convert(in_folder("kept"), in_folder("refused"), &consume, &err),
                     SLUICE_UNSUPPORTED);
    assert_non_null(strstr(err.detail, "is a container already"));
}

static int set_up(void **state)
{
    (void)state;
    folders_make(dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folders_remove(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_in_full_answer_as_with_adapters),
        cmocka_unit_test(the_format_asked_for_is_that_of_what_changes),
        cmocka_unit_test(a_container_is_a_source_like_its_checkpoint),
        cmocka_unit_test(an_interrupted_merge_goes_on),
        cmocka_unit_test(what_cannot_be_merged_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
