/* Masks of tokens: they allow exactly the tokens whose bytes the grammar allows, whatever is kept
 * of earlier walks; stop tokens exactly at ends; and few tokens left still make a whole answer. */
#include "grammar_cases.h"

#include "base/rng.h"
#include "sluice/grammar.h"
#include "sluice/text.h"

static sluice_tokenizer *tokenizer;
static sluice_token_trie *trie;
static int32_t stop;

static int set_up(void **state)
{
    (void)state;
    sluice_error err = {0};
    if (sluice_tokenizer_open(TEXT_NANO, &tokenizer, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    if (sluice_token_trie_new(tokenizer, &trie, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    stop = sluice_tokenizer_find(tokenizer, "<|im_end|>");
    return stop < 0;
}

static int tear_down(void **state)
{
    (void)state;
    sluice_token_trie_free(trie);
    sluice_tokenizer_close(tokenizer);
    return 0;
}

static sluice_constraint *constrain(const sluice_grammar *grammar)
{
    sluice_constraint *constraint;
    sluice_error err = {0};
    if (sluice_constraint_new(grammar, trie, &stop, 1, &constraint, &err) != SLUICE_OK) {
        fail_msg("%s", err.detail);
    }
    return constraint;
}

static const uint32_t *mask_of(sluice_constraint *constraint, int32_t left)
{
    const uint32_t *mask;
    sluice_error err = {0};
    if (sluice_constraint_mask(constraint, left, &mask, &err) != SLUICE_OK) {
        fail_msg("%s", err.detail);
    }
    return mask;
}

static bool allows(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

static int32_t take(const char *content)
{
    int32_t id = sluice_tokenizer_find(tokenizer, content);
    if (id < 0) fail_msg("no token '%s'", content);
    return id;
}

/* The sum of what is drawn at random: one allowed token, the id after a random one. */
static int32_t draw(sluice_rng *rng, const uint32_t *mask)
{
    int32_t vocab = sluice_tokenizer_vocab(tokenizer);
    int32_t id = (int32_t)sluice_rng_below(rng, (uint64_t)vocab);
    for (int32_t i = 0; i < vocab; i++, id = (id + 1) % vocab)
        if (allows(mask, id)) return id;
    fail_msg("nothing may come: the grammar has a dead end");
    return -1;
}

/* Appends tokens at random until a stop token or the limit; true if it stopped. */
static bool generate(sluice_constraint *constraint, sluice_rng *rng, int32_t left, sluice_text *out)
{
    int32_t ids[4096], count = 0;
    sluice_error err = {0};
    bool stopped = false;
    while (left > 0) {
        int32_t id = draw(rng, mask_of(constraint, left));
        if (sluice_constraint_accept(constraint, id, &err) != SLUICE_OK) fail_msg("%s", err.detail);
        stopped = id == stop;
        if (stopped) break;
        ids[count++] = id;
        left--;
    }
    if (sluice_tokenizer_decode(tokenizer, ids, (size_t)count, false, out, &err) != SLUICE_OK) {
        fail_msg("%s", err.detail);
    }
    return stopped;
}

static const char *const grammars[] = {
    "root ::= [a-z]+ (\" \" [a-z]+)*",
    ("root ::= \"<\" name \">\" (root | text)* \"</\" name \">\"\nname ::= [a-z]{1,4}\n"
     "text ::= [^<]{1,3}"),
    "root ::= ([0-9]{1,3} (\", \" | \"\\n\")){3}",
    "root ::= item ([,;] item){0,5}\nitem ::= \"(\" root \")\" | [A-Z] [a-z]* | .",
    "root ::= <think> [^<]* <think> \"x\" | \"<thi\" [a-z]*",
};

/* Every token against the grammar itself, on random ways through it. */
static void test_masks_allow_what_the_grammar_allows(void **state)
{
    (void)state;
    sluice_rng rng;
    sluice_rng_seed(&rng, 1);
    size_t checked = 0;
    for (size_t g = 0; g < sizeof grammars / sizeof *grammars; g++) {
        sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, grammars[g]);
        sluice_constraint *constraint = constrain(grammar), *probe;
        assert_int_equal(sluice_constraint_copy(constraint, &probe, NULL), SLUICE_OK);
        for (int step = 0; step < 60; step++) {
            const uint32_t *mask = mask_of(constraint, INT32_MAX);
            int32_t vocab = sluice_tokenizer_vocab(tokenizer);
            uint32_t *kept = malloc(((size_t)vocab / 32 + 1) * sizeof *kept);
            assert_non_null(kept);
            memcpy(kept, mask, ((size_t)vocab + 31) / 32 * sizeof *kept);
            for (int32_t id = 0; id < vocab; id++) {
                sluice_constraint_set(probe, constraint);
                bool accepted = sluice_constraint_accept(probe, id, NULL) == SLUICE_OK;
                if (accepted != allows(kept, id)) {
                    fail_msg("grammar %zu, step %d: token %d is %s", g, step, id,
                             accepted ? "left out" : "too much");
                }
                checked += accepted;
            }
            int32_t id = draw(&rng, kept);
            free(kept);
            assert_int_equal(sluice_constraint_accept(constraint, id, NULL), SLUICE_OK);
            if (id == stop) sluice_constraint_restart(constraint);
        }
        sluice_constraint_free(constraint);
        sluice_constraint_free(probe);
        sluice_grammar_free(grammar);
    }
    assert_true(checked > 10000);
}

/* A token is allowed by its bytes alone: what accept says equals what a text of them says. */
static void test_tokens_are_their_bytes(void **state)
{
    (void)state;
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, grammars[3]);
    sluice_constraint *constraint = constrain(grammar);
    const uint32_t *mask = mask_of(constraint, INT32_MAX);
    size_t allowed = 0;
    for (int32_t id = 0; id < sluice_tokenizer_vocab(tokenizer); id++) {
        size_t length = 0;
        const char *bytes = sluice_tokenizer_token(tokenizer, id, &length);
        bool is_added = bytes && length > 2 && bytes[0] == '<' && id >= take("<|endoftext|>");
        bool fits = bytes && !is_added && grammar_fit(grammar, bytes, length) != SLUICE_FIT_NONE;
        if (fits != allows(mask, id)) fail_msg("token %d", id);
        allowed += fits;
    }
    assert_true(allowed > 100);
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void test_stop_tokens_come_exactly_at_ends(void **state)
{
    (void)state;
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, "root ::= \"a\" | \"ab\"");
    sluice_constraint *constraint = constrain(grammar);
    assert_false(sluice_constraint_is_complete(constraint));
    assert_false(allows(mask_of(constraint, 10), stop));
    assert_int_equal(sluice_constraint_accept(constraint, stop, NULL), SLUICE_BAD_INPUT);
    assert_int_equal(sluice_constraint_accept(constraint, take("a"), NULL), SLUICE_OK);
    assert_true(sluice_constraint_is_complete(constraint));
    assert_true(allows(mask_of(constraint, 10), stop));
    assert_true(allows(mask_of(constraint, 10), take("b")));
    assert_int_equal(sluice_constraint_accept(constraint, take("a"), NULL), SLUICE_BAD_INPUT);
    assert_int_equal(sluice_constraint_accept(constraint, stop, NULL), SLUICE_OK);
    const uint32_t *mask;
    assert_int_equal(sluice_constraint_mask(constraint, 10, &mask, NULL), SLUICE_USAGE);
    assert_int_equal(sluice_constraint_accept(constraint, stop, NULL), SLUICE_USAGE);
    sluice_constraint_restart(constraint);
    assert_false(sluice_constraint_is_complete(constraint));
    assert_int_equal(sluice_constraint_accept(constraint, take("a"), NULL), SLUICE_OK);
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void test_special_tokens_come_only_where_the_grammar_names_them(void **state)
{
    (void)state;
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, "root ::= .* \"|\" <think> .*");
    sluice_constraint *constraint = constrain(grammar);
    const uint32_t *mask = mask_of(constraint, INT32_MAX);
    assert_false(allows(mask, take("<think>")));
    assert_false(allows(mask, take("<|im_start|>")));
    assert_true(allows(mask, take("<")));
    assert_int_equal(sluice_constraint_accept(constraint, take("|"), NULL), SLUICE_OK);
    mask = mask_of(constraint, INT32_MAX);
    assert_true(allows(mask, take("<think>")));
    assert_false(allows(mask, take("</think>")));
    assert_false(sluice_constraint_is_complete(constraint));
    assert_int_equal(sluice_constraint_accept(constraint, take("<think>"), NULL), SLUICE_OK);
    assert_true(sluice_constraint_is_complete(constraint));
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void test_filters_are_masks_on_logits(void **state)
{
    (void)state;
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, "root ::= [a-d]+");
    sluice_constraint *constraint = constrain(grammar);
    int32_t vocab = sluice_tokenizer_vocab(tokenizer) + 40;
    float *logits = malloc((size_t)vocab * sizeof *logits);
    assert_non_null(logits);
    for (int32_t i = 0; i < vocab; i++)
        logits[i] = 1.5f;
    assert_int_equal(sluice_constraint_filter(constraint, 9, logits, vocab, NULL), SLUICE_OK);
    const uint32_t *mask = mask_of(constraint, 9);
    for (int32_t i = 0; i < vocab; i++) {
        bool allowed = i < vocab - 40 && allows(mask, i);
        assert_true(allowed ? logits[i] == 1.5f : logits[i] < -3e38f);
    }
    free(logits);
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void test_few_tokens_left_make_a_whole_answer(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"properties\":{\"name\":{\"type\":\"string\"},\"list\":{\"items\":{\"type\":\"integer\"}"
        ","
        "\"minItems\":2}},\"required\":[\"name\",\"list\"]}",
        "{}",
        "{\"type\":\"object\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":5}}",
    };
    sluice_rng rng;
    sluice_rng_seed(&rng, 7);
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        for (int thinking = 0; thinking < 2; thinking++) {
            sluice_answer answer = {.content = SLUICE_ANSWER_SCHEMA,
                                    .source = schemas[i],
                                    .source_length = strlen(schemas[i]),
                                    .thinking = thinking};
            sluice_grammar *grammar = grammar_new(&answer);
            for (int run = 0; run < 30; run++) {
                sluice_constraint *constraint = constrain(grammar);
                sluice_text text;
                int32_t limit = 40 + (int32_t)sluice_rng_below(&rng, 60);
                bool stopped = generate(constraint, &rng, limit, &text);
                if (!stopped && !sluice_constraint_is_complete(constraint)) {
                    fail_msg("schema %zu is cut off: %s", i, text.bytes);
                }
                sluice_text_free(&text);
                sluice_constraint_free(constraint);
            }
            sluice_grammar_free(grammar);
        }
    }
}

/* What is made on the way is thrown away when there is much of it, without a trace: one constraint
 * looks at masks all the time, the other only at the end. */
static void test_long_answers_stay_the_same_when_caches_go(void **state)
{
    (void)state;
    /* Ever new sets: the counts multiply. */
    sluice_grammar *grammar =
        grammar_of(SLUICE_ANSWER_GBNF, "root ::= (a b){0,90000}\na ::= [^x]{0,80} [a-z]\n"
                                       "b ::= [^x]{0,60} \"!\"");
    sluice_constraint *constraint = constrain(grammar), *other = constrain(grammar);
    sluice_rng rng;
    sluice_rng_seed(&rng, 3);
    int32_t plain[64], count = 0;
    for (const char *c = "abcdefgh !?.,;ABC0123"; *c; c++)
        plain[count++] = take((const char[]){*c, 0});
    for (int step = 0; step < 600; step++) {
        int32_t id = plain[sluice_rng_below(&rng, (uint64_t)count)];
        sluice_status status = sluice_constraint_accept(constraint, id, NULL);
        assert_int_equal(status, SLUICE_OK);
        if (step % 4 == 0) mask_of(constraint, INT32_MAX);
        assert_int_equal(sluice_constraint_accept(other, id, NULL), SLUICE_OK);
        assert_int_equal(sluice_constraint_is_complete(constraint),
                         sluice_constraint_is_complete(other));
    }
    const uint32_t *mask = mask_of(constraint, INT32_MAX), *wanted = mask_of(other, INT32_MAX);
    size_t words = ((size_t)sluice_tokenizer_vocab(tokenizer) + 31) / 32;
    assert_memory_equal(mask, wanted, words * sizeof *mask);
    sluice_constraint_free(constraint);
    sluice_constraint_free(other);
    sluice_grammar_free(grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_allow_what_the_grammar_allows),
        cmocka_unit_test(test_tokens_are_their_bytes),
        cmocka_unit_test(test_stop_tokens_come_exactly_at_ends),
        cmocka_unit_test(test_special_tokens_come_only_where_the_grammar_names_them),
        cmocka_unit_test(test_filters_are_masks_on_logits),
        cmocka_unit_test(test_few_tokens_left_make_a_whole_answer),
        cmocka_unit_test(test_long_answers_stay_the_same_when_caches_go),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
