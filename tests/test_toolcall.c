/* The reader of replies: the inverse of the rendering, the same however the text arrives, and
 * tolerant of what models write. */
#include "text_cases.h"

#include "sluice/text.h"

static const char tools_json[] =
    "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
    "\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"i\":{\"type\":\"integer\"},"
    "\"n\":{\"type\":\"number\"},\"b\":{\"type\":\"boolean\"},\"z\":{\"type\":\"null\"},"
    "\"o\":{\"type\":\"object\"},\"a\":{\"type\":\"array\"},"
    "\"si\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},"
    "\"sn\":{\"type\":[\"string\",\"null\"]},\"e\":{\"enum\":[\"1\",\"2\"]},"
    "\"r\":{\"$ref\":\"#/$defs/R\"},\"l\":{\"$ref\":\"#/$defs/L\"}},"
    "\"$defs\":{\"R\":{\"type\":\"string\"},\"L\":{\"$ref\":\"#/$defs/L\"}}}}}]}";

static sluice_tools *open_tools(const char *json, size_t length)
{
    sluice_tools *tools;
    sluice_error err;
    if (sluice_tools_open(json, length, &tools, &err) != SLUICE_OK) fail_msg("%s", err.detail);
    return tools;
}

static sluice_reply read_reply(const sluice_tools *tools, bool thinking, const char *text)
{
    sluice_reply reply;
    assert_int_equal(sluice_reply_read(tools, thinking, text, strlen(text), &reply, NULL),
                     SLUICE_OK);
    return reply;
}

static void assert_value(const char *parameter, const char *text, const char *want)
{
    char reply_text[256], arguments[256];
    snprintf(reply_text, sizeof reply_text,
             "<tool_call>\n<function=f>\n<parameter=%s>\n%s\n</parameter>\n</function>\n"
             "</tool_call>",
             parameter, text);
    snprintf(arguments, sizeof arguments, "{\"%s\": %s}", parameter, want);
    sluice_tools *tools = open_tools(tools_json, strlen(tools_json));
    sluice_reply reply = read_reply(tools, false, reply_text);
    assert_int_equal(reply.call_count, 1);
    assert_true(reply.calls[0].complete);
    assert_string_equal(reply.calls[0].name.bytes, "f");
    assert_string_equal(reply.calls[0].arguments.bytes, arguments);
    assert_int_equal(reply.content.length, 0);
    sluice_reply_free(&reply);
    sluice_tools_close(tools);
}

static void test_values_follow_their_schema(void **state)
{
    (void)state;
    assert_value("s", "42", "\"42\"");
    assert_value("s", "{\"a\":1}", "\"{\\\"a\\\":1}\"");
    assert_value("s", "  two\nlines\n", "\"  two\\nlines\\n\"");
    assert_value("i", " 42 ", "42");
    assert_value("i", "12345678901234567890123", "12345678901234567890123");
    assert_value("i", "forty", "\"forty\"");
    assert_value("n", "-1e-7", "-1e-7");
    assert_value("b", "True", "true");
    assert_value("b", "false", "false");
    assert_value("b", "yes", "\"yes\"");
    assert_value("z", "None", "null");
    assert_value("o", "{\"x\":[1,2.50]}", "{\"x\": [1, 2.50]}");
    assert_value("o", "{broken", "\"{broken\"");
    assert_value("a", "[]", "[]");
    assert_value("a", "{}", "\"{}\"");
    assert_value("si", "7", "7");
    assert_value("si", "seven", "\"seven\"");
    assert_value("sn", "null", "null");
    assert_value("sn", "7", "\"7\"");
    assert_value("e", "1", "\"1\"");
    assert_value("r", "7", "\"7\"");
    assert_value("l", "7", "7");
    assert_value("unknown", "[1, 2]", "[1, 2]");
    assert_value("unknown", "\"quoted\"", "\"\\\"quoted\\\"\"");
    assert_value("unknown", "plain", "\"plain\"");
    assert_value("unknown", "", "\"\"");
}

static void test_a_value_may_hold_the_tags_themselves(void **state)
{
    (void)state;
    assert_value("s", "a</parameter>b\n</parameter> c", "\"a</parameter>b\\n</parameter> c\"");
    assert_value("s", "<tool_call>\n<function=g>", "\"<tool_call>\\n<function=g>\"");
}

static void test_reasoning_text_and_several_calls_are_told_apart(void **state)
{
    (void)state;
    sluice_reply reply = read_reply(
        NULL, true,
        "I <b>think</b>\n</think>\n\nLet me see.\n\n<tool_call>\n<function=a>\n</function>\n"
        "</tool_call>\n<tool_call>\n<function=b>\n<parameter=x>\n1\n</parameter>\n"
        "<parameter=y>\ntwo\n</parameter>\n<parameter=x>\n3\n</parameter>\n</function>\n"
        "</tool_call>");
    assert_string_equal(reply.reasoning.bytes, "I <b>think</b>");
    assert_string_equal(reply.content.bytes, "Let me see.");
    assert_int_equal(reply.call_count, 2);
    assert_string_equal(reply.calls[0].name.bytes, "a");
    assert_string_equal(reply.calls[0].arguments.bytes, "{}");
    assert_string_equal(reply.calls[1].arguments.bytes, "{\"x\": 1, \"y\": \"two\"}");
    assert_true(reply.calls[0].complete && reply.calls[1].complete);
    sluice_reply_free(&reply);
}

static void test_plain_text_with_angle_brackets_is_content(void **state)
{
    (void)state;
    static const char *const texts[] = {"a < b",    "<tool_call>not a call</tool_call>",
                                        "x <tool_", "<",
                                        "</think>", "tail \n",
                                        "",         "\xC3\xA9<thin"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sluice_reply reply = read_reply(NULL, false, texts[i]);
        assert_string_equal(reply.content.bytes, texts[i]);
        assert_int_equal(reply.call_count, 0);
        assert_false(reply.has_reasoning);
        sluice_reply_free(&reply);
    }
}

static void test_loosely_written_calls_are_read(void **state)
{
    (void)state;
    sluice_reply reply = read_reply(
        NULL, false,
        "<tool_call><function=f><parameter=a><b>1</b></parameter><parameter=b>2</parameter> "
        "</function></tool_call> done");
    assert_int_equal(reply.call_count, 1);
    assert_string_equal(reply.calls[0].arguments.bytes, "{\"a\": \"<b>1</b>\", \"b\": 2}");
    assert_true(reply.calls[0].complete);
    assert_string_equal(reply.content.bytes, " done");
    sluice_reply_free(&reply);
}

static void test_calls_that_break_off_are_incomplete(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *arguments;
    } cases[] = {
        {"<tool_call>", "", "{}"},
        {"<tool_call>\n<func", "", "{}"},
        {"<tool_call>\n<function=na", "na", "{}"},
        {"<tool_call>\n<function=f>\n<param", "f", "{}"},
        {"<tool_call>\n<function=f>\n<parameter=a", "f", "{}"},
        {"<tool_call>\n<function=f>\n<parameter=a>\n1\n</para", "f", "{}"},
        {"<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>", "f", "{\"a\": 1}"},
        {"<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<", "f", "{\"a\": 1}"},
        {"<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</func", "f", "{\"a\": 1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sluice_reply reply = read_reply(NULL, false, cases[i].text);
        assert_int_equal(reply.call_count, 1);
        assert_false(reply.calls[0].complete);
        assert_string_equal(reply.calls[0].name.bytes, cases[i].name);
        assert_string_equal(reply.calls[0].arguments.bytes, cases[i].arguments);
        assert_int_equal(reply.content.length, 0);
        sluice_reply_free(&reply);
    }
}

static char *quote(const char *bytes, size_t length)
{
    json_t *string = json_stringn(bytes, length);
    char *text = json_dumps(string, JSON_ENCODE_ANY);
    json_decref(string);
    return text;
}

/* The message that a reply would be in the next request. The template strips a content beside a
 * reasoning_content; one that begins with a blank only comes back from behind think tags. An empty
 * reasoning_content keeps the template from looking for tags in the content. */
static char *message_of(const sluice_reply *reply)
{
    bool in_tags = reply->content.length && reply->content.bytes[0] == ' ';
    char *message = NULL, *text = NULL;
    size_t size, length;
    FILE *whole = open_memstream(&text, &length);
    if (in_tags) fprintf(whole, "<think>\n%s\n</think>\n\n", reply->reasoning.bytes);
    fwrite(reply->content.bytes, 1, reply->content.length, whole);
    fclose(whole);
    char *content = quote(text, length);
    char *reasoning = quote(reply->reasoning.bytes, reply->reasoning.length);
    FILE *to = open_memstream(&message, &size);
    fprintf(to, "{\"role\":\"assistant\",\"content\":%s", content);
    if (!in_tags) fprintf(to, ",\"reasoning_content\":%s", reasoning);
    fprintf(to, ",\"tool_calls\":[");
    for (size_t i = 0; i < reply->call_count; i++) {
        char *name = quote(reply->calls[i].name.bytes, reply->calls[i].name.length);
        fprintf(to, "%s{\"name\":%s,\"arguments\":%s}", i ? "," : "", name,
                reply->calls[i].arguments.bytes);
        free(name);
    }
    fprintf(to, "]}");
    fclose(to);
    free(content);
    free(reasoning);
    free(text);
    return message;
}

/* The assistant's turn as rendered: behind its header and before its end. As history it stands
 * before the last query and has no reasoning. */
static char *render_turn(const char *message, bool history)
{
    static const char head[] = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n";
    const char *tail = history ? "<|im_end|>\n<|im_start|>user\nq<|im_end|>\n" : "<|im_end|>\n";
    char *request = NULL;
    size_t size;
    FILE *to = open_memstream(&request, &size);
    fprintf(to, "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"},%s%s]}", message,
            history ? ",{\"role\":\"user\",\"content\":\"q\"}" : "");
    fclose(to);
    sluice_prompt prompt;
    sluice_error err;
    if (sluice_chat_render(request, size, &prompt, &err) != SLUICE_OK) {
        fail_msg("%s: %s", request, err.detail);
    }
    free(request);
    size_t length = prompt.text.length - strlen(head) - strlen(tail);
    assert_memory_equal(prompt.text.bytes, head, strlen(head));
    char *turn = strndup(prompt.text.bytes + strlen(head), length);
    sluice_prompt_free(&prompt);
    return turn;
}

typedef struct joined {
    char *text;
    size_t length;
    FILE *to;
    int last;
} joined;

/* Writes events down so that pieces of one part join. */
static void join(void *context, const sluice_reply_event *event)
{
    joined *j = context;
    if ((int)event->part != j->last || event->part == SLUICE_REPLY_CALL) {
        fprintf(j->to, "|%d,%zu:", (int)event->part, event->call);
    }
    j->last = (int)event->part;
    fwrite(event->text, 1, event->length, j->to);
    if (event->part == SLUICE_REPLY_CALL_END) fprintf(j->to, "%d", event->complete);
    for (size_t i = 0; event->part <= SLUICE_REPLY_CONTENT && i < event->length; i++) {
        /* No piece ends or begins within a character. */
        unsigned char byte = (unsigned char)event->text[i];
        if (i == 0) assert_true((byte & 0xC0) != 0x80);
    }
}

static char *join_events(const sluice_tools *tools, bool thinking, const char *text, size_t length,
                         size_t piece)
{
    joined j = {.last = -1};
    j.to = open_memstream(&j.text, &j.length);
    sluice_reply_reader *reader;
    assert_int_equal(sluice_reply_reader_new(tools, thinking, join, &j, &reader, NULL), SLUICE_OK);
    for (size_t at = 0; at < length; at += piece) {
        size_t part = length - at < piece ? length - at : piece;
        /* A copy of its own, so that a reader that keeps the pointer is caught. */
        char *copy = malloc(part);
        memcpy(copy, text + at, part);
        assert_int_equal(sluice_reply_reader_feed(reader, copy, part, NULL), SLUICE_OK);
        free(copy);
    }
    assert_int_equal(sluice_reply_reader_finish(reader, NULL), SLUICE_OK);
    sluice_reply_reader_free(reader);
    fclose(j.to);
    return j.text;
}

static void assert_streams_alike(const sluice_tools *tools, bool thinking, const char *text)
{
    size_t length = strlen(text);
    char *whole = join_events(tools, thinking, text, length, length ? length : 1);
    for (size_t piece = 1; piece < 40 && piece < length; piece += piece < 4 ? 1 : 9) {
        char *pieces = join_events(tools, thinking, text, length, piece);
        assert_string_equal(pieces, whole);
        free(pieces);
    }
    free(whole);
}

static void test_a_stream_of_any_pieces_reads_like_the_whole(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\xF0\x9F\x8E\x89 x < y \n\n <tool_call>\n<function=f>\n<parameter=s>\n</parameter>\n<b\n"
        "</parameter>\n</function>\n</tool_call>\n\ntail </tool_call",
        "<think>\n\xE6\x97\xA5 <tool_call> \n</think>\n\n\n<tool_call>\n<function=a>b>\n<parameter="
        "c>d>\n1\n</parameter>\n</function>\n</tool_call>",
        "  \n<think",
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n </tool_call>\n",
        "<tool_call>\n<function=f></function><function=g>\n</function></tool",
        "a <tool_call>\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_streams_alike(NULL, false, texts[i]);
        assert_streams_alike(NULL, true, texts[i]);
    }
}

static size_t turns, turns_with_calls, ambiguous_turns;

static void check_turn(const sluice_tools *tools, const char *message, bool history)
{
    char *turn = render_turn(message, history);
    sluice_reply reply = read_reply(tools, false, turn);
    bool thinks = strncmp(turn, "<think>", 7) == 0;
    assert_true(reply.has_reasoning == thinks);
    char *again = message_of(&reply), *turn_again = render_turn(again, history);
    /* Some contents are written to look like reasoning; history drops what reads as reasoning. */
    if (history && thinks) {
        ambiguous_turns++;
    } else {
        assert_string_equal(turn_again, turn);
    }
    assert_streams_alike(tools, false, turn);
    for (size_t i = 0; i < reply.call_count; i++)
        assert_true(reply.calls[i].complete);
    turns++;
    turns_with_calls += reply.call_count > 0;
    free(again);
    free(turn_again);
    free(turn);
    sluice_reply_free(&reply);
}

static void check_case(size_t index, const char *line, size_t length)
{
    (void)index;
    json_t *request = text_parse(line), *message;
    if (!json_object_get(request, "expected")) {
        json_decref(request);
        return;
    }
    sluice_tools *tools = open_tools(line, length);
    size_t i;
    json_array_foreach(json_object_get(request, "messages"), i, message)
    {
        const char *role = json_string_value(json_object_get(message, "role"));
        if (strcmp(role, "assistant") != 0) continue;
        char *text = json_dumps(message, 0);
        check_turn(tools, text, false);
        check_turn(tools, text, true);
        free(text);
    }
    sluice_tools_close(tools);
    json_decref(request);
}

static void test_every_recorded_turn_renders_again_as_it_was_read(void **state)
{
    (void)state;
    turns = turns_with_calls = ambiguous_turns = 0;
    assert_int_equal(text_each_line(TEXT_CHAT_CASES, check_case), 160);
    assert_true(turns > 300);
    assert_true(turns_with_calls > 100);
    assert_true(ambiguous_turns < turns / 20);
    print_message("%zu turns, %zu with calls, %zu ambiguous\n", turns, turns_with_calls,
                  ambiguous_turns);
}

static void test_tools_that_are_no_json_are_refused(void **state)
{
    (void)state;
    sluice_tools *tools;
    sluice_error err;
    assert_int_equal(sluice_tools_open("[{", 2, &tools, &err), SLUICE_BAD_INPUT);
    assert_null(tools);
    tools = open_tools("{\"tools\":[5,{\"function\":null},{\"name\":\"f\"}]}", 44);
    sluice_reply reply = read_reply(tools, false,
                                    "<tool_call>\n<function=f>\n<parameter=a>\n5\n</parameter>\n"
                                    "</function>\n</tool_call>");
    assert_string_equal(reply.calls[0].arguments.bytes, "{\"a\": 5}");
    sluice_reply_free(&reply);
    sluice_tools_close(tools);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_follow_their_schema),
        cmocka_unit_test(test_a_value_may_hold_the_tags_themselves),
        cmocka_unit_test(test_reasoning_text_and_several_calls_are_told_apart),
        cmocka_unit_test(test_plain_text_with_angle_brackets_is_content),
        cmocka_unit_test(test_loosely_written_calls_are_read),
        cmocka_unit_test(test_calls_that_break_off_are_incomplete),
        cmocka_unit_test(test_a_stream_of_any_pieces_reads_like_the_whole),
        cmocka_unit_test(test_every_recorded_turn_renders_again_as_it_was_read),
        cmocka_unit_test(test_tools_that_are_no_json_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
