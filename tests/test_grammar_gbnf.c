/* GBNF: what each part of the notation describes, and what is refused with its line. */
#include "grammar_cases.h"

#include "sluice/grammar.h"

static void check(const char *source, const char *const *good, const char *const *bad)
{
    grammar_check(SLUICE_ANSWER_GBNF, source, good, bad);
}

static void refused(const char *source, sluice_status status, const char *words)
{
    sluice_answer answer = {
        .content = SLUICE_ANSWER_GBNF, .source = source, .source_length = strlen(source)};
    grammar_check_refused(&answer, status, words);
}

static void test_literals_sequences_and_alternatives(void **state)
{
    (void)state;
    check("root ::= \"ab\" \"c\" | \"x\"", GRAMMAR_TEXTS("abc", "x"),
          GRAMMAR_TEXTS("", "ab", "abcx", "abcabc", "y"));
    check("root ::= a | b\na ::= \"1\"\nb ::= \"2\" a", GRAMMAR_TEXTS("1", "21"),
          GRAMMAR_TEXTS("2", "12", "22"));
    check("root ::= \"\" | \"a\"", GRAMMAR_TEXTS("", "a"), GRAMMAR_TEXTS("aa"));
    check("root ::= \"\\x41\\u00e9\\U0001F600\\t\\n\\r\\\\\\\"\"",
          GRAMMAR_TEXTS("A\xC3\xA9\xF0\x9F\x98\x80\t\n\r\\\""), GRAMMAR_TEXTS("A"));
}

static void test_repetitions_count(void **state)
{
    (void)state;
    check("root ::= \"a\"*", GRAMMAR_TEXTS("", "a", "aaaa"), GRAMMAR_TEXTS("b", "ab"));
    check("root ::= \"a\"+ \"b\"?", GRAMMAR_TEXTS("a", "aab"), GRAMMAR_TEXTS("", "b", "abb"));
    check("root ::= \"ab\"{2}", GRAMMAR_TEXTS("abab"), GRAMMAR_TEXTS("ab", "ababab"));
    check("root ::= [ab]{2,}", GRAMMAR_TEXTS("ab", "aba", "bbbb"), GRAMMAR_TEXTS("a", ""));
    check("root ::= (\"a\" | \"bc\"){1,3}", GRAMMAR_TEXTS("a", "bc", "abca"),
          GRAMMAR_TEXTS("", "aaaa", "abcab"));
    check("root ::= \"a\"{,2}", GRAMMAR_TEXTS("", "a", "aa"), GRAMMAR_TEXTS("aaa"));
    check("root ::= \"x\" \"a\"{0} \"y\"", GRAMMAR_TEXTS("xy"), GRAMMAR_TEXTS("xay"));
    check("root ::= (\"a\"* \"b\"?)*", GRAMMAR_TEXTS("", "aab", "bb", "ba"), GRAMMAR_TEXTS("c"));
    check("root ::= ((\"a\"?){2} \"b\"){2}", GRAMMAR_TEXTS("bb", "aabab"),
          GRAMMAR_TEXTS("b", "aaabb"));
}

static void test_classes_are_of_characters_not_bytes(void **state)
{
    (void)state;
    check("root ::= [a-c\xC3\xA9]", GRAMMAR_TEXTS("a", "c", "\xC3\xA9"),
          GRAMMAR_TEXTS("d", "\xC3", "\xC3\xA8", "ab"));
    check("root ::= [^a]", GRAMMAR_TEXTS("b", "\n", "\xC3\xA9", "\xE2\x82\xAC", "\xF4\x8F\xBF\xBF"),
          GRAMMAR_TEXTS("a", "", "\xC3", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\x80"));
    check("root ::= [\\u0400-\\u04FF]+", GRAMMAR_TEXTS("\xD0\x96\xD1\x8F", "\xD3\xBF"),
          GRAMMAR_TEXTS("\xD4\x80", "\xCF\xBF", "a"));
    check("root ::= .", GRAMMAR_TEXTS("x", "\n", "\xE4\xBD\xA0"), GRAMMAR_TEXTS("xx", "\xE4\xBD"));
    check("root ::= [-a\\]\\\\]", GRAMMAR_TEXTS("-", "a", "]", "\\"), GRAMMAR_TEXTS("b"));
    check("root ::= [\\x00-\\U0010FFFF]", GRAMMAR_TEXTS("a", "\xEE\x80\x80"),
          GRAMMAR_TEXTS("\xED\xBF\xBF"));
}

static void test_ranges_over_every_length_of_utf8_are_exact(void **state)
{
    (void)state;
    /* Each range against each character near its ends and near changes of length. */
    static const uint32_t ends[] = {0x1,    0x7F,    0x80,    0x7FF,   0x800,    0xD7FF,  0xE000,
                                    0xFFFF, 0x10000, 0x1F600, 0xFFFFF, 0x100000, 0x10FFFF};
    enum { COUNT = sizeof ends / sizeof *ends };
    for (size_t low = 0; low < COUNT; low++) {
        for (size_t high = low; high < COUNT; high++) {
            char source[64];
            snprintf(source, sizeof source, "root ::= [\\U%08X-\\U%08X]", (unsigned)ends[low],
                     (unsigned)ends[high]);
            sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, source);
            for (size_t i = 0; i < 3 * COUNT; i++) {
                uint32_t c = ends[i / 3] + (uint32_t)(i % 3) - 1;
                if (c < 1 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) continue;
                char bytes[4];
                size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
                static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
                for (size_t at = length; at-- > 0;)
                    bytes[at] = (char)(0x80 | (c >> 6 * (length - 1 - at) & 0x3F));
                bytes[0] = (char)(length == 1 ? c : lead[length] | c >> 6 * (length - 1));
                bool fits = grammar_fit(grammar, bytes, length) == SLUICE_FIT_WHOLE;
                if (fits != (c >= ends[low] && c <= ends[high])) {
                    fail_msg("%s and U+%X", source, (unsigned)c);
                }
            }
            sluice_grammar_free(grammar);
        }
    }
}

static void test_lines_comments_and_recursion(void **state)
{
    (void)state;
    check("# a comment\n\nroot ::= # another\n  \"a\" (\n \"b\" # inside\n | \"c\"\n ) # end\n\n",
          GRAMMAR_TEXTS("ab", "ac"), GRAMMAR_TEXTS("a"));
    check("root ::= \"a\"\n  | \"b\"\n", GRAMMAR_TEXTS("a", "b"), GRAMMAR_TEXTS("ab"));
    check("root ::= \"(\" root \")\" | \"x\"", GRAMMAR_TEXTS("x", "(x)", "((x))"),
          GRAMMAR_TEXTS("(x", "x)", "()", "((x)"));
    check("root ::= item root | item\nitem ::= [a-z]+ \";\"", GRAMMAR_TEXTS("a;", "ab;c;"),
          GRAMMAR_TEXTS("", ";", "a;b"));
}

static void test_the_grammar_of_json_describes_json(void **state)
{
    (void)state;
    check("root   ::= object\n"
          "value  ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n"
          "object ::=\n  \"{\" ws (\n            string \":\" ws value\n"
          "    (\",\" ws string \":\" ws value)*\n  )? \"}\" ws\n"
          "array  ::=\n  \"[\" ws (\n            value\n    (\",\" ws value)*\n  )? \"]\" ws\n"
          "string ::=\n  \"\\\"\" (\n    [^\"\\\\\\x7F\\x00-\\x1F] |\n"
          "    \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}) # escapes\n  )* \"\\\"\" ws\n"
          "number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] "
          "[1-9]{0,15})? ws\n"
          "ws ::= | \" \" | \"\\n\" [ \\t]{0,20}\n",
          GRAMMAR_TEXTS("{}", "{\"a\": [1, -2.5e3, {\"b\":null}]}", "{\"\\u00e9\": \"\xC3\xA9\"}"),
          GRAMMAR_TEXTS("[]", "{\"a\"}", "{\"a\": 01}", "{\"a\": \"\\x\"}", "{,}"));
}

static void test_depth_is_limited_and_what_is_accepted_can_end(void **state)
{
    (void)state;
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_GBNF, "root ::= \"(\" root \")\" | \"x\"");
    char text[2048];
    size_t deepest = 0;
    for (size_t depth = 1; depth <= 1000; depth++) {
        memset(text, '(', depth);
        if (grammar_fit(grammar, text, depth) == SLUICE_FIT_NONE) break;
        deepest = depth;
        text[depth] = 'x';
        memset(text + depth + 1, ')', depth);
        assert_int_equal(grammar_fit(grammar, text, 2 * depth + 1), SLUICE_FIT_WHOLE);
    }
    assert_in_range(deepest, 200, 256);
    sluice_grammar_free(grammar);
    /* A tail call does not nest. */
    grammar = grammar_of(SLUICE_ANSWER_GBNF, "root ::= \"a\" root | \"b\"");
    memset(text, 'a', 2000);
    text[2000] = 'b';
    assert_int_equal(grammar_fit(grammar, text, 2001), SLUICE_FIT_WHOLE);
    sluice_grammar_free(grammar);
}

static void test_what_is_wrong_is_refused_with_its_line(void **state)
{
    (void)state;
    refused("", SLUICE_BAD_INPUT, "no rule root");
    refused("a ::= \"x\"", SLUICE_BAD_INPUT, "no rule root");
    refused("root ::= \"x\"\nroot ::= \"y\"", SLUICE_BAD_INPUT, "line 2: root is defined twice");
    refused("root ::= b", SLUICE_BAD_INPUT, "b is used but not defined");
    refused("root ::= \"x", SLUICE_BAD_INPUT, "line 1: a literal lacks its end");
    refused("root ::= \"\\q\"", SLUICE_BAD_INPUT, "unknown escape");
    refused("root ::= \"\\ud800\"", SLUICE_BAD_INPUT, "no character");
    refused("root ::= \"a\"\nb ::= [z-a]", SLUICE_BAD_INPUT, "line 2: a range");
    refused("root ::= [a", SLUICE_BAD_INPUT, "lacks its ]");
    refused("root ::= (\"a\"", SLUICE_BAD_INPUT, "lacks its )");
    refused("root ::= \"a\")", SLUICE_BAD_INPUT, "no part of a rule");
    refused("root \"a\"", SLUICE_BAD_INPUT, "::= expected");
    refused("root ::= \"a\"{3,2}", SLUICE_BAD_INPUT, "a repetition is");
    refused("root ::= \"a\"{,}", SLUICE_BAD_INPUT, "a repetition is");
    refused("root ::= \"a\"{1000000}", SLUICE_LIMIT, "more than 100000 times");
    refused("root ::= <[12]>", SLUICE_UNSUPPORTED, "tokens by id");
    refused("root ::= !<think>", SLUICE_UNSUPPORTED, "negated");
    refused("root ::= \"\xFF\"", SLUICE_BAD_INPUT, "not UTF-8");
    refused("root ::= a\na ::= a \"x\" | \"y\"", SLUICE_UNSUPPORTED, "left recursion");
    refused("root ::= b \"x\" | \"y\"\nb ::= c? root\nc ::= \"z\"", SLUICE_UNSUPPORTED,
            "left recursion");
    refused("root ::= \"a\" root", SLUICE_BAD_INPUT, "root can never end");
    refused("root ::= a a\na ::= b{100000} b{100000}\nb ::= \"x\"{100000} \"y\"{100000}"
            "\"y\"{100000}\"y\"{100000}\"y\"{100000}\"y\"{100000}\"y\"{100000}\"y\"{100000}",
            SLUICE_LIMIT, "too large");
}

static void test_needed_nesting_is_limited(void **state)
{
    (void)state;
    char source[8192] = "root ::= r0 \"!\"\n";
    for (int i = 0; i < 100; i++) {
        char line[64];
        snprintf(line, sizeof line, "r%d ::= \"a\" r%d \"b\"\n", i, i + 1);
        strcat(source, line);
    }
    strcat(source, "r100 ::= \"c\"\n");
    refused(source, SLUICE_LIMIT, "nesting");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals_sequences_and_alternatives),
        cmocka_unit_test(test_repetitions_count),
        cmocka_unit_test(test_classes_are_of_characters_not_bytes),
        cmocka_unit_test(test_ranges_over_every_length_of_utf8_are_exact),
        cmocka_unit_test(test_lines_comments_and_recursion),
        cmocka_unit_test(test_the_grammar_of_json_describes_json),
        cmocka_unit_test(test_depth_is_limited_and_what_is_accepted_can_end),
        cmocka_unit_test(test_what_is_wrong_is_refused_with_its_line),
        cmocka_unit_test(test_needed_nesting_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
