/* Random schemas: documents made for them are accepted, whatever is accepted after a change is JSON
 * that the validator passes too, and tokens drawn at random under the mask always make such JSON.
 */
#include "grammar_cases.h"
#include "grammar_validate.h"

#include "base/rng.h"
#include "sluice/grammar.h"
#include "sluice/text.h"

static sluice_rng rng;

static size_t below(size_t n)
{
    return (size_t)sluice_rng_below(&rng, n);
}

static const char *const names[] = {"a", "name", "n\xC3\xA4me", "x y", "quote\"", "", "list", "b2"};
enum { NAMES = sizeof names / sizeof *names };

static json_t *random_schema(int depth);

static json_t *random_scalar(void)
{
    switch (below(5)) {
    case 0: return json_null();
    case 1: return json_boolean(below(2));
    case 2: return json_integer((json_int_t)below(2000) - 1000);
    case 3: return json_string(names[below(NAMES)]);
    default: return json_real((double)below(4000) / 8 - 200);
    }
}

static json_t *random_object_schema(int depth)
{
    json_t *schema = json_pack("{s:s}", "type", "object"), *properties = json_object();
    json_t *required = json_array();
    for (size_t i = below(4); i-- > 0;) {
        const char *name = names[below(NAMES)];
        if (json_object_get(properties, name)) continue;
        json_object_set_new(properties, name, random_schema(depth + 1));
        if (below(2)) json_array_append_new(required, json_string(name));
    }
    json_object_set_new(schema, "properties", properties);
    json_object_set_new(schema, "required", required);
    size_t kind = below(3);
    if (kind == 0) json_object_set_new(schema, "additionalProperties", random_schema(depth + 1));
    if (kind == 1) json_object_set_new(schema, "additionalProperties", json_false());
    return schema;
}

static json_t *random_array_schema(int depth)
{
    json_t *schema = json_pack("{s:s, s:o}", "type", "array", "items", random_schema(depth + 1));
    size_t min = below(3);
    if (below(2)) json_object_set_new(schema, "minItems", json_integer((json_int_t)min));
    if (below(2))
        json_object_set_new(schema, "maxItems", json_integer((json_int_t)(min + below(3))));
    if (below(3) == 0) {
        json_object_set_new(schema, "prefixItems", json_pack("[o]", random_schema(depth + 1)));
        if (below(2)) json_object_del(schema, "maxItems");
    }
    return schema;
}

static json_t *random_schema(int depth)
{
    json_t *list;
    size_t low = below(300);
    switch (below(depth > 3 ? 6 : 10)) {
    case 0:
        return json_pack("{s:s, s:i, s:i}", "type", "integer", "minimum", (int)low - 150, "maximum",
                         (int)(low + below(500)) - 150);
    case 1:
        return json_pack("{s:s, s:f, s:f}", "type", "number", "minimum", (double)low / 4 - 40,
                         "maximum", (double)(low + below(60)) / 4 - 40);
    case 2:
        return json_pack("{s:s, s:i, s:i}", "type", "string", "minLength", (int)(low % 3),
                         "maxLength", (int)(low % 3 + below(4)));
    case 3:
        list = json_array();
        for (size_t i = 1 + below(3); i-- > 0;)
            json_array_append_new(list, random_scalar());
        return json_pack("{s:o}", "enum", list);
    case 4: return json_pack("{s:[s,s]}", "type", below(2) ? "string" : "boolean", "null");
    case 5: return json_pack("{s:s}", "type", below(2) ? "string" : "number");
    case 6:
        return json_pack("{s:[o,o]}", "anyOf", random_schema(depth + 1), random_schema(depth + 1));
    case 7: return json_pack("{s:s}", "$ref", "#/$defs/tree");
    case 8: return random_array_schema(depth);
    default: return random_object_schema(depth);
    }
}

static json_t *random_root(void)
{
    static const char tree[] = "{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":"
                               "\"integer\"},\"kids\":{\"type\":\"array\",\"items\":{\"$ref\":"
                               "\"#/$defs/tree\"}}},\"required\":[\"v\"]}}";
    json_t *schema = below(2) ? random_object_schema(0) : random_array_schema(0);
    json_object_set_new(schema, "$defs", json_loads(tree, 0, NULL));
    return schema;
}

/* A document that a schema allows, its properties in the schema's order. */
static json_t *random_document(const json_t *root, const json_t *schema, int depth);

static json_t *document_of_object(const json_t *root, const json_t *schema, int depth)
{
    json_t *object = json_object(), *property;
    const json_t *required = json_object_get(schema, "required");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *key;
    json_object_foreach(json_object_get(schema, "properties"), key, property)
    {
        bool needed = false;
        for (size_t i = 0; i < json_array_size(required); i++)
            needed |= strcmp(json_string_value(json_array_get(required, i)), key) == 0;
        if (needed || (below(2) && depth < 6)) {
            json_object_set_new(object, key, random_document(root, property, depth + 1));
        }
    }
    if (json_is_object(more) && depth < 6) {
        json_object_set_new(object, "other", random_document(root, more, depth + 1));
    }
    return object;
}

static json_t *document_of_array(const json_t *root, const json_t *schema, int depth)
{
    json_t *array = json_array();
    const json_t *prefix = json_object_get(schema, "prefixItems");
    const json_t *max = json_object_get(schema, "maxItems");
    size_t count = (size_t)json_integer_value(json_object_get(schema, "minItems"));
    if (depth < 6 && !max) count += below(3);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = i < json_array_size(prefix) ? json_array_get(prefix, i)
                                                         : json_object_get(schema, "items");
        json_array_append_new(array, random_document(root, item, depth + 1));
    }
    return array;
}

static json_t *document_of_string(const json_t *schema)
{
    static const char *const characters[] = {
        "a", "\"", "\\", "\n", "\xC3\xA9", "\xE4\xBD\xA0", "\xF0\x9F\x98\x80", "<", "/", "\x1F"};
    char text[64] = "";
    size_t count = (size_t)json_integer_value(json_object_get(schema, "minLength"));
    if (!json_object_get(schema, "maxLength")) count += below(5);
    while (count--)
        strcat(text, characters[below(10)]);
    return json_string(text);
}

static json_t *random_document(const json_t *root, const json_t *schema, int depth)
{
    const json_t *list = json_object_get(schema, "enum");
    if (list) return json_deep_copy(json_array_get(list, below(json_array_size(list))));
    list = json_object_get(schema, "anyOf");
    if (list) {
        return random_document(root, json_array_get(list, below(json_array_size(list))), depth);
    }
    if (json_object_get(schema, "$ref")) {
        return random_document(root, json_object_get(json_object_get(root, "$defs"), "tree"),
                               depth);
    }
    const json_t *type = json_object_get(schema, "type");
    if (json_is_array(type)) type = json_array_get(type, below(json_array_size(type)));
    const char *name = json_string_value(type);
    const json_t *low = json_object_get(schema, "minimum");
    double minimum = low ? json_number_value(low) : -7;
    if (strcmp(name, "object") == 0) return document_of_object(root, schema, depth);
    if (strcmp(name, "array") == 0) return document_of_array(root, schema, depth);
    if (strcmp(name, "string") == 0) return document_of_string(schema);
    if (strcmp(name, "integer") == 0) return json_integer((json_int_t)minimum);
    if (strcmp(name, "number") == 0) return json_real(minimum);
    return strcmp(name, "null") == 0 ? json_null() : json_boolean(below(2));
}

/* JSON that the validator passes. */
static bool is_valid(const json_t *schema, const char *text, size_t length)
{
    json_t *value = json_loadb(text, length, JSON_DECODE_ANY, NULL);
    bool valid = value && validate(schema, schema, value);
    json_decref(value);
    return valid;
}

/* One byte more, less or other. */
static size_t change(char *text, size_t length)
{
    static const char bytes[] = "{}[]\",: 0123456789-.eEtrufalsn\\\xC3\x01";
    size_t at = below(length);
    switch (below(3)) {
    case 0: memmove(text + at, text + at + 1, length - at - 1); return length - 1;
    case 1: text[at] = bytes[below(sizeof bytes - 1)]; return length;
    default:
        memmove(text + at + 1, text + at, length - at);
        text[at] = bytes[below(sizeof bytes - 1)];
        return length + 1;
    }
}

static void test_documents_and_their_changes(void **state)
{
    (void)state;
    sluice_rng_seed(&rng, 11);
    size_t kept = 0, refused = 0;
    for (int run = 0; run < 300; run++) {
        json_t *schema = random_root();
        char *source = json_dumps(schema, 0);
        sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, source);
        for (int i = 0; i < 5; i++) {
            json_t *document = random_document(schema, schema, 0);
            char *text = json_dumps(document, below(2) ? 0 : JSON_COMPACT);
            size_t length = strlen(text);
            if (!is_valid(schema, text, length))
                fail_msg("the test is wrong: %s: %s", source, text);
            if (grammar_fit(grammar, text, length) != SLUICE_FIT_WHOLE) {
                fail_msg("%s refuses %s", source, text);
            }
            char *changed = malloc(length + 1);
            assert_non_null(changed);
            for (int j = 0; j < 40; j++) {
                memcpy(changed, text, length);
                size_t now = change(changed, length);
                bool fits = grammar_fit(grammar, changed, now) == SLUICE_FIT_WHOLE;
                if (fits && !is_valid(schema, changed, now)) {
                    fail_msg("%s accepts %.*s", source, (int)now, changed);
                }
                kept += fits;
                refused += !fits;
            }
            free(changed);
            free(text);
            json_decref(document);
        }
        sluice_grammar_free(grammar);
        free(source);
        json_decref(schema);
    }
    assert_true(kept > 1000 && refused > 10000);
}

/* An allowed token, drawn over all of them. */
static int32_t draw(const sluice_tokenizer *tokenizer, const uint32_t *mask)
{
    int32_t vocab = sluice_tokenizer_vocab(tokenizer), count = 0, chosen = -1;
    for (int32_t id = 0; id < vocab; id++)
        if (mask[id / 32] >> (id % 32) & 1 && below((size_t)++count) == 0) chosen = id;
    if (chosen < 0) fail_msg("nothing may come: the grammar has a dead end");
    return chosen;
}

/* Draws an answer of at most limit tokens; false if it is cut off. */
static bool generate(const sluice_tokenizer *tokenizer, sluice_constraint *constraint, int32_t stop,
                     int32_t limit, sluice_text *out)
{
    int32_t ids[512], count = 0;
    sluice_error err = {0};
    const uint32_t *mask;
    while (count < limit) {
        if (sluice_constraint_mask(constraint, limit - count, &mask, &err) != SLUICE_OK) {
            fail_msg("%s", err.detail);
        }
        int32_t id = draw(tokenizer, mask);
        if (sluice_constraint_accept(constraint, id, &err) != SLUICE_OK) fail_msg("%s", err.detail);
        if (id == stop) break;
        ids[count++] = id;
    }
    assert_int_equal(sluice_tokenizer_decode(tokenizer, ids, (size_t)count, false, out, NULL),
                     SLUICE_OK);
    return count < limit || sluice_constraint_is_complete(constraint);
}

static void test_random_tokens_make_valid_json(void **state)
{
    (void)state;
    sluice_tokenizer *tokenizer;
    sluice_token_trie *trie;
    assert_int_equal(sluice_tokenizer_open(TEXT_NANO, &tokenizer, NULL), SLUICE_OK);
    assert_int_equal(sluice_token_trie_new(tokenizer, &trie, NULL), SLUICE_OK);
    int32_t stop = sluice_tokenizer_find(tokenizer, "<|im_end|>");
    sluice_rng_seed(&rng, 12);
    size_t whole = 0, runs = 0;
    for (int run = 0; run < 150; run++) {
        json_t *schema = random_root();
        char *source = json_dumps(schema, 0);
        sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, source);
        sluice_constraint *constraint;
        assert_int_equal(sluice_constraint_new(grammar, trie, &stop, 1, &constraint, NULL),
                         SLUICE_OK);
        for (int i = 0; i < 4; i++, runs++) {
            sluice_text text;
            sluice_constraint_restart(constraint);
            if (generate(tokenizer, constraint, stop, 200, &text)) {
                whole++;
                if (!is_valid(schema, text.bytes, text.length)) {
                    fail_msg("%s allows %s", source, text.bytes);
                }
            }
            sluice_text_free(&text);
        }
        sluice_constraint_free(constraint);
        sluice_grammar_free(grammar);
        free(source);
        json_decref(schema);
    }
    /* Few tokens make whole answers too, as far as one token does not open too much. */
    if (whole * 100 < runs * 99) fail_msg("%zu of %zu answers are whole", whole, runs);
    sluice_token_trie_free(trie);
    sluice_tokenizer_close(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_and_their_changes),
        cmocka_unit_test(test_random_tokens_make_valid_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
