/* JSON schemas: what each keyword allows, and that everything else is refused by name and place. */
#include "grammar_cases.h"

#include "sluice/grammar.h"

static void check(const char *source, const char *const *good, const char *const *bad)
{
    grammar_check(SLUICE_ANSWER_SCHEMA, source, good, bad);
}

static void refused(const char *source, sluice_status status, const char *words)
{
    sluice_answer answer = {
        .content = SLUICE_ANSWER_SCHEMA, .source = source, .source_length = strlen(source)};
    grammar_check_refused(&answer, status, words);
}

static void test_types(void **state)
{
    (void)state;
    check("{\"type\":\"null\"}", GRAMMAR_TEXTS("null"), GRAMMAR_TEXTS("", "nul", "None", "0"));
    check("{\"type\":\"boolean\"}", GRAMMAR_TEXTS("true", "false"), GRAMMAR_TEXTS("True", "1"));
    check("{\"type\":\"integer\"}", GRAMMAR_TEXTS("0", "-7", "123456789012345678"),
          GRAMMAR_TEXTS("01", "-", "1.0", "1e3", "+1", "1234567890123456789"));
    check("{\"type\":\"number\"}", GRAMMAR_TEXTS("0", "-7.25", "1e10", "2.5E-3", "1e+9"),
          GRAMMAR_TEXTS(".5", "1.", "1e", "01", "1e999", "Infinity", "NaN"));
    check("{\"type\":\"string\"}",
          GRAMMAR_TEXTS("\"\"", "\"a b\"", "\"\\n\\u00e9\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\"",
                        "\"</parameter>\""),
          GRAMMAR_TEXTS("a", "\"", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\u0000\"",
                        "\"\xC3\"", "\"\xED\xA0\x80\"", "\"\t\""));
    check("{\"type\":[\"integer\",\"null\"]}", GRAMMAR_TEXTS("3", "null"),
          GRAMMAR_TEXTS("\"3\"", "3null"));
    check("{\"type\":\"array\"}", GRAMMAR_TEXTS("[]", "[1, \"a\", [null], {}]"),
          GRAMMAR_TEXTS("[1,]", "[,]", "{}", "[1"));
    check("{\"type\":\"object\"}", GRAMMAR_TEXTS("{}", "{\"a\": {\"b\": [1]}}"),
          GRAMMAR_TEXTS("{a: 1}", "{\"a\": 1,}", "[]"));
    check("{}", GRAMMAR_TEXTS("1", "\"x\"", "null", "[true]", "{\"a\":{}}"),
          GRAMMAR_TEXTS("x", ""));
    check("true", GRAMMAR_TEXTS("1", "{}"), GRAMMAR_TEXTS(""));
}

static void test_objects_have_their_properties_in_order(void **state)
{
    (void)state;
    const char *schema = "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},"
                         "\"age\":{\"type\":\"integer\"},\"x\":{\"type\":\"null\"}},"
                         "\"required\":[\"name\"]}";
    check(schema,
          GRAMMAR_TEXTS("{\"name\": \"A\"}", "{\"name\":\"A\",\"age\":3}",
                        "{\"name\": \"A\", \"x\": null}",
                        "{\"name\": \"\", \"age\": 1, \"x\": null}"),
          GRAMMAR_TEXTS("{}", "{\"age\": 3}", "{\"age\": 3, \"name\": \"A\"}",
                        "{\"name\": \"A\", \"name\": \"B\"}", "{\"name\": 1}",
                        "{\"name\": \"A\", \"y\": 1}", "{\"name\": \"A\",}",
                        "{, \"name\": \"A\"}"));
    check("{\"properties\":{\"a\":{},\"b\":{}},\"additionalProperties\":false}",
          GRAMMAR_TEXTS("{}", "{\"a\":1}", "{\"b\":[]}", "{\"a\":1,\"b\":2}"),
          GRAMMAR_TEXTS("{\"c\":1}", "{\"b\":1,\"a\":1}"));
    check("{\"properties\":{\"q\\\"\\n\\u00e9\":{\"const\":1}},\"required\":[\"q\\\"\\n\\u00e9\"]}",
          GRAMMAR_TEXTS("{\"q\\\"\\n\xC3\xA9\": 1}"), GRAMMAR_TEXTS("{}"));
    check("{\"type\":\"object\",\"properties\":{}}", GRAMMAR_TEXTS("{}"),
          GRAMMAR_TEXTS("{\"a\":1}"));
    check("{\"type\":\"object\",\"required\":[\"z\"],\"properties\":{\"a\":{\"const\":1}}}",
          GRAMMAR_TEXTS("{\"z\": [1]}", "{\"a\":1,\"z\":null}"), GRAMMAR_TEXTS("{}", "{\"a\":1}"));
}

static void test_other_properties_are_those_without_a_name(void **state)
{
    (void)state;
    check("{\"properties\":{\"ab\":{\"type\":\"integer\"},\"\xC3\xA9\":{\"type\":\"integer\"}},"
          "\"additionalProperties\":{\"type\":\"boolean\"}}",
          GRAMMAR_TEXTS("{}", "{\"ab\":1}", "{\"a\":true}", "{\"abc\":true}", "{\"\":true}",
                        "{\"ab\":1,\"b\":false,\"c\":true}", "{\"\xC3\xA8\":true}"),
          GRAMMAR_TEXTS("{\"ab\":true}", "{\"a\":1}", "{\"\xC3\xA9\":true}",
                        "{\"b\":true,\"ab\":1}", "{\"\\u0061b\":true}"));
    check("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
          GRAMMAR_TEXTS("{}", "{\"a\":1, \"b\":2}"), GRAMMAR_TEXTS("{\"a\":\"1\"}"));
    check(
        "{\"properties\":{\"a\":{\"const\":1}},\"required\":[\"a\"],\"additionalProperties\":true}",
        GRAMMAR_TEXTS("{\"a\":1}", "{\"a\":1,\"b\":[2]}"), GRAMMAR_TEXTS("{\"b\":1}", "{}"));
}

static void test_arrays_count_their_items(void **state)
{
    (void)state;
    check("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
          GRAMMAR_TEXTS("[1]", "[1, 2]", "[1,2,3]"),
          GRAMMAR_TEXTS("[]", "[1,2,3,4]", "[1 2]", "[\"1\"]", "[1,]"));
    check("{\"items\":{\"const\":0},\"minItems\":2}", GRAMMAR_TEXTS("[0,0]", "[0,0,0,0]"),
          GRAMMAR_TEXTS("[]", "[0]"));
    check("{\"items\":{\"const\":0},\"maxItems\":0}", GRAMMAR_TEXTS("[]"), GRAMMAR_TEXTS("[0]"));
    check("{\"prefixItems\":[{\"const\":1},{\"const\":2}]}", GRAMMAR_TEXTS("[]", "[1]", "[1, 2]"),
          GRAMMAR_TEXTS("[2]", "[1,2,3]"));
    check("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3},\"minItems\":2}",
          GRAMMAR_TEXTS("[1,2]", "[1,2,3,3]"), GRAMMAR_TEXTS("[1]", "[]", "[1,2,2]"));
    check("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":{\"const\":3},\"minItems\":3,"
          "\"maxItems\":4}",
          GRAMMAR_TEXTS("[1,2,3]", "[1,2,3,3]"), GRAMMAR_TEXTS("[1,2]", "[1,2,3,3,3]"));
    check("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"maxItems\":1}",
          GRAMMAR_TEXTS("[]", "[1]"), GRAMMAR_TEXTS("[1,2]"));
    check("{\"items\":false}", GRAMMAR_TEXTS("[]"), GRAMMAR_TEXTS("[1]"));
}

static void test_enums_constants_and_alternatives(void **state)
{
    (void)state;
    check("{\"enum\":[\"a\",\"ab\",3,null,true,[1, 2]]}",
          GRAMMAR_TEXTS("\"a\"", "\"ab\"", "3", "null", "true", "[1, 2]"),
          GRAMMAR_TEXTS("\"b\"", "4", "false", "a"));
    check("{\"type\":\"string\",\"enum\":[\"x\",1]}", GRAMMAR_TEXTS("\"x\""), GRAMMAR_TEXTS("1"));
    check("{\"const\":{\"a\":[1]}}", GRAMMAR_TEXTS("{\"a\": [1]}"), GRAMMAR_TEXTS("{}"));
    check("{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}", GRAMMAR_TEXTS("1", "null"),
          GRAMMAR_TEXTS("true", "\"\""));
    check("{\"oneOf\":[{\"const\":\"a\"},{\"items\":{\"const\":1}}]}",
          GRAMMAR_TEXTS("\"a\"", "[1]"), GRAMMAR_TEXTS("[2]"));
}

static void test_all_of_objects_is_their_union(void **state)
{
    (void)state;
    check("{\"allOf\":[{\"properties\":{\"a\":{\"const\":1}},\"required\":[\"a\"]},"
          "{\"$ref\":\"#/$defs/b\"}],\"properties\":{\"c\":{\"const\":3}},"
          "\"$defs\":{\"b\":{\"type\":\"object\",\"properties\":{\"b\":{\"const\":2}},"
          "\"required\":[\"c\"]}}}",
          GRAMMAR_TEXTS("{\"a\":1,\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3}"),
          GRAMMAR_TEXTS("{}", "{\"a\":1}", "{\"a\":1,\"b\":2}"));
    check("{\"allOf\":[{\"type\":\"integer\",\"minimum\":5}],\"description\":\"d\"}",
          GRAMMAR_TEXTS("5", "12"), GRAMMAR_TEXTS("4"));
    refused("{\"allOf\":[{\"type\":\"integer\"},{\"minimum\":5}]}", SLUICE_UNSUPPORTED, "allOf");
    refused("{\"allOf\":[{\"properties\":{\"a\":{}}},{\"properties\":{\"a\":{}}}]}",
            SLUICE_UNSUPPORTED, "a is a property in several parts");
}

static void test_references_may_recurse(void **state)
{
    (void)state;
    check("{\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},"
          "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},"
          "\"required\":[\"v\",\"next\"]}},\"$ref\":\"#/$defs/node\"}",
          GRAMMAR_TEXTS("{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"),
          GRAMMAR_TEXTS("{\"v\":1}", "{\"v\":1,\"next\":{}}"));
    check("{\"properties\":{\"c\":{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}}}",
          GRAMMAR_TEXTS("{}", "{\"c\":[{},{\"c\":[]}]}"), GRAMMAR_TEXTS("{\"c\":[1]}"));
    check("{\"definitions\":{\"a/b~c\":{\"const\":1}},\"items\":{\"$ref\":"
          "\"#/definitions/a~1b~0c\"}}",
          GRAMMAR_TEXTS("[1,1]"), GRAMMAR_TEXTS("[2]"));
    refused("{\"$ref\":\"#\"}", SLUICE_BAD_INPUT, "can never end");
    refused("{\"$ref\":\"#/$defs/x\"}", SLUICE_BAD_INPUT, "leads nowhere");
    refused("{\"$ref\":\"other.json\"}", SLUICE_UNSUPPORTED, "leads out");
    refused("{\"$defs\":{\"n\":{\"properties\":{\"n\":{\"$ref\":\"#/$defs/n\"}},\"required\":["
            "\"n\"]}},\"$ref\":\"#/$defs/n\"}",
            SLUICE_BAD_INPUT, "#/$defs/n can never end");
}

static void test_lengths_patterns_and_formats(void **state)
{
    (void)state;
    check("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
          GRAMMAR_TEXTS("\"ab\"", "\"\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80\"", "\"\\n\\\"\""),
          GRAMMAR_TEXTS("\"a\"", "\"abcd\"", "\"\\n\""));
    check("{\"pattern\":\"^[a-c]+$\"}", GRAMMAR_TEXTS("\"abc\""), GRAMMAR_TEXTS("\"\"", "\"abd\""));
    check("{\"pattern\":\"b\"}", GRAMMAR_TEXTS("\"b\"", "\"abc\"", "\"\\nb\""),
          GRAMMAR_TEXTS("\"\"", "\"ac\""));
    check("{\"pattern\":\"^(?:a|bb){2,3}?\\\\d?$\"}",
          GRAMMAR_TEXTS("\"aa\"", "\"abba7\"", "\"bbbb\""),
          GRAMMAR_TEXTS("\"a\"", "\"aaaa\"", "\"aax\""));
    check("{\"pattern\":\"^a|b$\"}", GRAMMAR_TEXTS("\"ax\"", "\"xb\"", "\"a\""),
          GRAMMAR_TEXTS("\"xa\"", "\"bx\""));
    check("{\"pattern\":\"^\\\"\\\\\\\\\\\\n$\"}", GRAMMAR_TEXTS("\"\\\"\\\\\\n\""),
          GRAMMAR_TEXTS("\"n\""));
    check("{\"pattern\":\"^[^\\\\W_]\\\\.\\\\u00e9.$\"}", GRAMMAR_TEXTS("\"q.\xC3\xA9!\""),
          GRAMMAR_TEXTS("\"_.\xC3\xA9!\"", "\"qx\xC3\xA9!\"", "\"q.\xC3\xA9\\n\""));
    check("{\"format\":\"date\"}",
          GRAMMAR_TEXTS("\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""),
          GRAMMAR_TEXTS("\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"2024-04-31\"",
                        "\"24-01-01\""));
    check("{\"format\":\"date-time\"}",
          GRAMMAR_TEXTS("\"2024-01-02T03:04:05Z\"", "\"2024-01-02T23:59:59.123+02:00\""),
          GRAMMAR_TEXTS("\"2024-01-02\"", "\"2024-01-02T24:00:00Z\"", "\"2024-01-02T03:04:05\""));
    check("{\"format\":\"time\"}", GRAMMAR_TEXTS("\"03:04:05Z\""), GRAMMAR_TEXTS("\"3:04:05Z\""));
    check("{\"format\":\"uuid\"}", GRAMMAR_TEXTS("\"123e4567-e89b-12d3-a456-426614174000\""),
          GRAMMAR_TEXTS("\"123e4567e89b12d3a456426614174000\""));
    check("{\"format\":\"email\"}", GRAMMAR_TEXTS("\"a.b+c@mail.example.org\""),
          GRAMMAR_TEXTS("\"a\"", "\"@x.y\"", "\"a@b\"", "\"a..b@x.y\""));
    check("{\"format\":\"ipv4\"}", GRAMMAR_TEXTS("\"255.0.10.199\""),
          GRAMMAR_TEXTS("\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""));
    refused("{\"pattern\":\"(?=a)\"}", SLUICE_UNSUPPORTED, "look-around");
    refused("{\"pattern\":\"(a)\\\\1\"}", SLUICE_UNSUPPORTED, "back reference");
    refused("{\"pattern\":\"\\\\bword\"}", SLUICE_UNSUPPORTED, "\\b");
    refused("{\"pattern\":\"\\\\p{L}\"}", SLUICE_UNSUPPORTED, "\\p");
    refused("{\"pattern\":\"(a\"}", SLUICE_BAD_INPUT, "without )");
    refused("{\"pattern\":\"a)\"}", SLUICE_BAD_INPUT, "without (");
    refused("{\"pattern\":\"*a\"}", SLUICE_UNSUPPORTED, "behind nothing");
    refused("{\"pattern\":\"a{2,1}\"}", SLUICE_BAD_INPUT, "{m}");
    refused("{\"format\":\"uri\"}", SLUICE_UNSUPPORTED, "the format uri");
    refused("{\"pattern\":\"a\",\"minLength\":1}", SLUICE_UNSUPPORTED, "only one of");
}

/* The number of texts that a schema of an integer accepts, of all from low to high. */
static void check_integers(const char *schema, int low, int high, int first, int last)
{
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, schema);
    for (int i = low; i <= high; i++) {
        char text[32];
        size_t length = (size_t)snprintf(text, sizeof text, "%d", i);
        bool fits = grammar_fit(grammar, text, length) == SLUICE_FIT_WHOLE;
        if (fits != (i >= first && i <= last)) fail_msg("%s and %d", schema, i);
    }
    sluice_grammar_free(grammar);
}

static void test_bounds_of_integers_are_exact(void **state)
{
    (void)state;
    static const int ends[] = {-1000, -999, -101, -100, -99, -10, -9,  -1,   0,   1,
                               9,     10,   11,   99,   100, 123, 999, 1000, 1001};
    enum { COUNT = sizeof ends / sizeof *ends };
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = i; j < COUNT; j++) {
            char schema[128];
            snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%d,\"maximum\":%d}",
                     ends[i], ends[j]);
            check_integers(schema, -1100, 1100, ends[i], ends[j]);
        }
    }
    check_integers("{\"type\":\"integer\",\"minimum\":-3}", -2000, 2000, -3, 2000);
    check_integers("{\"type\":\"integer\",\"maximum\":17}", -2000, 2000, -2000, 17);
    check_integers("{\"type\":\"integer\",\"exclusiveMinimum\":-3,\"exclusiveMaximum\":12}", -50,
                   50, -2, 11);
    check_integers("{\"type\":\"integer\",\"minimum\":-2.5,\"maximum\":2.5}", -50, 50, -2, 2);
    check_integers("{\"type\":\"integer\",\"minimum\":1.2e1,\"maximum\":1e300}", -50, 5000, 12,
                   5000);
    refused("{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", SLUICE_BAD_INPUT,
            "no integer lies");
    refused("{\"type\":\"integer\",\"exclusiveMinimum\":1,\"exclusiveMaximum\":2}",
            SLUICE_BAD_INPUT, "no integer lies");
}

/* Numbers written with up to four digits behind the point, against their value. */
static void check_numbers(double low, bool low_open, double high, bool high_open)
{
    char schema[200];
    snprintf(schema, sizeof schema, "{\"type\":\"number\",\"%s\":%.9g,\"%s\":%.9g}",
             low_open ? "exclusiveMinimum" : "minimum", low,
             high_open ? "exclusiveMaximum" : "maximum", high);
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, schema);
    for (int units = -130000; units <= 130000; units += 125) {
        for (int digits = 0; digits <= 4; digits++) {
            int scale = 1;
            for (int i = digits; i < 4; i++)
                scale *= 10;
            if (units % scale) continue;
            char text[32];
            size_t length = (size_t)snprintf(text, sizeof text, "%.*f", digits, units / 10000.0);
            double value = strtod(text, NULL);
            bool wanted = (low_open ? value > low : value >= low) &&
                          (high_open ? value < high : value <= high);
            bool fits = grammar_fit(grammar, text, length) == SLUICE_FIT_WHOLE;
            if (fits != wanted) fail_msg("%s and %s", schema, text);
        }
    }
    sluice_grammar_free(grammar);
}

static void test_bounds_of_numbers_are_exact(void **state)
{
    (void)state;
    static const double ends[] = {-12.5, -10, -1.0375, -1, -0.5, 0, 0.025, 0.5, 1, 2.25, 10, 12};
    enum { COUNT = sizeof ends / sizeof *ends };
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = i; j < COUNT; j++)
            for (int open = 0; open < 4; open++)
                if (i != j || open == 0) check_numbers(ends[i], open & 1, ends[j], open & 2);
    check("{\"minimum\":0}", GRAMMAR_TEXTS("0", "0.5", "123456.75"),
          GRAMMAR_TEXTS("-0.5", "-1", "1e5", "00"));
    refused("{\"minimum\":1,\"maximum\":0.5}", SLUICE_BAD_INPUT, "no number lies");
    refused("{\"minimum\":0.12345678901234567}", SLUICE_UNSUPPORTED, "too many digits");
}

static void test_white_space_is_bounded(void **state)
{
    (void)state;
    const char *schema = "{\"properties\":{\"a\":{\"items\":{\"type\":\"integer\"}}}}";
    const char *one = "{\"a\": [1, 2]}", *none = "{\"a\":[1,2]}";
    const char *lines = "{\n  \"a\": [\n    1,\n    2\n  ]\n}", *loose = "{ \"a\" : [1 ,2]}";
    sluice_answer answer = {
        .content = SLUICE_ANSWER_SCHEMA, .source = schema, .source_length = strlen(schema)};
    const bool wanted[3][4] = {
        {true, true, false, false}, {false, true, false, false}, {true, true, true, false}};
    for (int space = 0; space < 3; space++) {
        const char *const texts[] = {one, none, lines, loose};
        answer.space = (sluice_json_space)space;
        sluice_grammar *grammar = grammar_new(&answer);
        for (int i = 0; i < 4; i++) {
            bool fits = grammar_fit(grammar, texts[i], strlen(texts[i])) == SLUICE_FIT_WHOLE;
            if (fits != wanted[space][i]) fail_msg("space %d, text %d", space, i);
        }
        assert_int_equal(grammar_fit(grammar, "{\"a\":  ", 7), SLUICE_FIT_NONE);
        assert_int_equal(grammar_fit(grammar, "{\n\n", 3), SLUICE_FIT_NONE);
        sluice_grammar_free(grammar);
    }
}

static void test_what_is_not_supported_is_refused_by_name_and_place(void **state)
{
    (void)state;
    refused("{\"type\":\"object\",\"properties\":{\"a\":{\"items\":{\"multipleOf\":2}}}}",
            SLUICE_UNSUPPORTED, "the schema at /properties/a/items: multipleOf is not supported");
    refused("{\"properties\":{\"a~b/c\":{\"not\":{}}}}", SLUICE_UNSUPPORTED,
            "at /properties/a~0b~1c: not is not supported");
    refused("{\"anyOf\":[{},{\"uniqueItems\":true}]}", SLUICE_UNSUPPORTED,
            "at /anyOf/1: uniqueItems");
    refused("{\"$defs\":{\"d\":{\"if\":{}}},\"items\":{\"$ref\":\"#/$defs/d\"}}",
            SLUICE_UNSUPPORTED, "at /$defs/d: if");
    static const char *const names[] = {
        "patternProperties",     "propertyNames",   "minProperties", "maxProperties",
        "dependentRequired",     "contains",        "then",          "else",
        "unevaluatedProperties", "contentEncoding", "nullable",      "madeUp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char schema[128];
        snprintf(schema, sizeof schema, "{\"type\":\"object\",\"%s\":1}", names[i]);
        refused(schema, SLUICE_UNSUPPORTED, names[i]);
    }
    refused("{\"type\":\"string\",\"minimum\":1}", SLUICE_UNSUPPORTED, "minimum");
    refused("{\"anyOf\":[{}],\"oneOf\":[{}]}", SLUICE_UNSUPPORTED, "oneOf beside anyOf");
    refused("{\"anyOf\":[{}],\"minLength\":1}", SLUICE_UNSUPPORTED, "minLength beside anyOf");
    refused("{\"items\":{},\"properties\":{}}", SLUICE_UNSUPPORTED, "several types");
    refused("{\"items\":[{}]}", SLUICE_UNSUPPORTED, "prefixItems");
    refused("false", SLUICE_UNSUPPORTED, "false allows nothing");
    refused("{\"properties\":{\"a\":false}}", SLUICE_UNSUPPORTED, "at /properties/a: false");
    refused("{\"type\":\"strnig\"}", SLUICE_BAD_INPUT, "type names no type");
    refused("{\"type\":\"string\",\"enum\":[1]}", SLUICE_BAD_INPUT, "no value of the type");
    refused("{\"enum\":[]}", SLUICE_BAD_INPUT, "no value");
    refused("{\"anyOf\":[]}", SLUICE_BAD_INPUT, "anyOf");
    refused("{\"properties\":{},\"required\":[\"a\"],\"additionalProperties\":false}",
            SLUICE_BAD_INPUT, "a is required");
    refused("{\"items\":{},\"minItems\":3,\"maxItems\":2}", SLUICE_BAD_INPUT, "more items");
    refused("{\"type\":\"string\",\"minLength\":-1}", SLUICE_BAD_INPUT, "minLength");
    refused("{\"type\":\"string\",\"maxLength\":1.5}", SLUICE_BAD_INPUT, "maxLength");
    refused("[]", SLUICE_BAD_INPUT, "a schema is an object");
    refused("{", SLUICE_BAD_INPUT, "the schema");
}

static void test_sizes_are_limited(void **state)
{
    (void)state;
    refused("{\"type\":\"string\",\"maxLength\":10000000}", SLUICE_LIMIT, "100000");
    /* Eleven arrays of 100000 items each. */
    char schema[2048] = "{\"prefixItems\":[";
    for (int i = 0; i < 11; i++) {
        strcat(schema, i ? "," : "");
        strcat(schema, "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"maxItems\":100000}");
    }
    strcat(schema, "]}");
    refused(schema, SLUICE_LIMIT, "too large");
    /* Nesting beyond what readers of JSON take cannot be written, and can always end. */
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, "{}");
    char text[1024];
    size_t depth = 0;
    while (depth < 500 && (text[depth] = '[', grammar_fit(grammar, text, depth + 1)))
        depth++;
    assert_in_range(depth, 200, 256);
    memset(text + depth, ']', depth);
    assert_int_equal(grammar_fit(grammar, text, 2 * depth), SLUICE_FIT_WHOLE);
    sluice_grammar_free(grammar);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_objects_have_their_properties_in_order),
        cmocka_unit_test(test_other_properties_are_those_without_a_name),
        cmocka_unit_test(test_arrays_count_their_items),
        cmocka_unit_test(test_enums_constants_and_alternatives),
        cmocka_unit_test(test_all_of_objects_is_their_union),
        cmocka_unit_test(test_references_may_recurse),
        cmocka_unit_test(test_lengths_patterns_and_formats),
        cmocka_unit_test(test_bounds_of_integers_are_exact),
        cmocka_unit_test(test_bounds_of_numbers_are_exact),
        cmocka_unit_test(test_white_space_is_bounded),
        cmocka_unit_test(test_what_is_not_supported_is_refused_by_name_and_place),
        cmocka_unit_test(test_sizes_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
