/* Constrained answers of Nano with everything at 2 bits, where unconstrained tool calls are never
 * right and JSON hardly ever is: each one parses and validates.
 *
 * A sample of the shipped tasks; with SLUICE_GRAMMAR_TASKS=all, all 200 of each kind, on three
 * models (as shipped, 2-bit experts, all at 2 bits), with and without the constraint, and the share
 * of right answers is printed. */
#include "grammar_cases.h"
#include "grammar_validate.h"

#include "sluice/convert.h"
#include "sluice/grammar.h"
#include "sluice/sluice.h"
#include "sluice/text.h"
#include "support/engines.h"
#include "support/folders.h"

#define TASKS SLUICE_SOURCE_DIR "/models/nano/tasks/"
#define NANO SLUICE_SOURCE_DIR "/models/nano"
#define TOKENS_MAX 200

static sluice_engine *engine;
static sluice_session *session;
static sluice_token_trie *trie;
static bool all, constrained;
static size_t asked, valid, right;

static void must(sluice_status status, const sluice_error *err)
{
    if (status != SLUICE_OK) fail_msg("%s", err->detail);
}

static sluice_ids make_prompt(json_t *task)
{
    json_t *request = json_pack("{s:[{s:s, s:O}], s:b, s:b}", "messages", "role", "user", "content",
                                json_object_get(task, "question"), "add_generation_prompt", 1,
                                "enable_thinking", 0);
    json_t *tools = json_object_get(task, "tools");
    if (tools) json_object_set(request, "tools", tools);
    char *text = json_dumps(request, JSON_PRESERVE_ORDER);
    sluice_prompt prompt;
    sluice_ids ids;
    sluice_error err = {0};
    must(sluice_chat_render(text, strlen(text), &prompt, &err), &err);
    must(sluice_tokenizer_encode_trusted(sluice_engine_tokenizer(engine), prompt.text.bytes,
                                         prompt.text.length, prompt.trusted, prompt.trusted_count,
                                         &ids, &err),
         &err);
    sluice_prompt_free(&prompt);
    free(text);
    json_decref(request);
    return ids;
}

/* The greedy answer to a task, under the answer's rules if that is on. */
static sluice_text answer_to(json_t *task, const sluice_answer *rules)
{
    const sluice_model_info *info = sluice_engine_info(engine);
    sluice_grammar *grammar = constrained ? grammar_new(rules) : NULL;
    sluice_constraint *constraint = NULL;
    sluice_error err = {0};
    sluice_ids prompt = make_prompt(task);
    if (grammar) {
        must(sluice_constraint_new(grammar, trie, info->stop_ids, info->n_stop_ids, &constraint,
                                   &err),
             &err);
    }
    sluice_generation generation = {.prompt = prompt.ids,
                                    .prompt_count = (int32_t)prompt.count,
                                    .tokens_max = TOKENS_MAX,
                                    .sampling = sluice_sampling_greedy(),
                                    .constraint = constraint};
    int32_t ids[TOKENS_MAX], count;
    sluice_finish finish;
    sluice_session_clear(session);
    must(sluice_generate(session, &generation, ids, &count, &finish, &err), &err);
    sluice_text text;
    must(sluice_tokenizer_decode(sluice_engine_tokenizer(engine), ids, (size_t)count, false, &text,
                                 &err),
         &err);
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
    sluice_ids_free(&prompt);
    return text;
}

static void count(bool is_valid, bool is_right, const char *text)
{
    asked++;
    valid += is_valid;
    right += is_valid && is_right;
    if (constrained && !is_valid) fail_msg("no valid answer: %s", text);
}

static json_t *schema_of(const json_t *value)
{
    const char *key;
    json_t *member;
    if (json_is_array(value)) {
        return json_pack("{s:s, s:{s:s}}", "type", "array", "items", "type", "string");
    }
    if (!json_is_object(value)) {
        return json_pack("{s:s}", "type", json_is_string(value) ? "string" : "integer");
    }
    json_t *properties = json_object(), *required = json_array();
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        json_object_set_new(properties, key, schema_of(member));
        json_array_append_new(required, json_string(key));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required",
                     required, "additionalProperties", 0);
}

static bool is_due(size_t index)
{
    return all || index % 20 == 7;
}

static void ask_for_json(size_t index, const char *line, size_t length)
{
    (void)length;
    if (!is_due(index)) return;
    json_t *task = json_loads(line, 0, NULL);
    json_t *wanted = json_loads(json_string_value(json_object_get(task, "answer")), 0, NULL);
    json_t *schema = schema_of(wanted);
    char *source = json_dumps(schema, 0);
    sluice_answer rules = {
        .content = SLUICE_ANSWER_SCHEMA, .source = source, .source_length = strlen(source)};
    sluice_text text = answer_to(task, &rules);
    json_t *got = json_loadb(text.bytes, text.length, JSON_REJECT_DUPLICATES, NULL);
    count(got && validate(schema, schema, got), got && json_equal(got, wanted), text.bytes);
    json_decref(got);
    sluice_text_free(&text);
    free(source);
    json_decref(schema);
    json_decref(wanted);
    json_decref(task);
}

static const json_t *find_parameters(const json_t *tools, const char *name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_object_get(json_array_get(tools, i), "function");
        if (strcmp(json_string_value(json_object_get(tool, "name")), name) == 0) {
            return json_object_get(tool, "parameters");
        }
    }
    return NULL;
}

static void check_call(const json_t *task, const sluice_reply *reply, const char *text)
{
    const json_t *call = json_object_get(task, "call"), *tools = json_object_get(task, "tools");
    if (!reply->call_count) {
        count(false, false, text);
        return;
    }
    const json_t *schema = find_parameters(tools, reply->calls[0].name.bytes);
    json_t *arguments = json_loadb(reply->calls[0].arguments.bytes,
                                   reply->calls[0].arguments.length, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_array_get(call, 0));
    bool is_known = true;
    const char *key;
    json_t *value;
    json_object_foreach(arguments, key, value)
    {
        is_known &= json_object_get(json_object_get(schema, "properties"), key) != NULL;
    }
    count(schema && arguments && is_known && reply->calls[0].complete && reply->call_count == 1 &&
              validate(schema, schema, arguments),
          strcmp(name, reply->calls[0].name.bytes) == 0 &&
              json_equal(arguments, json_array_get(call, 1)),
          text);
    json_decref(arguments);
}

static void ask_for_call(size_t index, const char *line, size_t length)
{
    if (!is_due(index)) return;
    json_t *task = json_loads(line, 0, NULL);
    /* The line is a request with tools, in their order. */
    sluice_answer rules = {.tools = line,
                           .tools_length = length,
                           .tool_choice = SLUICE_TOOLS_REQUIRED,
                           .single_call = true};
    sluice_text text = answer_to(task, &rules);
    sluice_tools *tools;
    sluice_reply reply;
    sluice_error err = {0};
    must(sluice_tools_open(line, length, &tools, &err), &err);
    must(sluice_reply_read(tools, false, text.bytes, text.length, &reply, &err), &err);
    check_call(task, &reply, text.bytes);
    sluice_reply_free(&reply);
    sluice_tools_close(tools);
    sluice_text_free(&text);
    json_decref(task);
}

static void run_tasks(const char *model, const char *kind,
                      void (*ask)(size_t index, const char *line, size_t length))
{
    char path[512];
    snprintf(path, sizeof path, TASKS "%s.jsonl", kind);
    asked = valid = right = 0;
    assert_int_equal(text_each_line(path, ask), 200);
    assert_true(asked >= 10);
    print_message("%s, %s, %s: %zu asked, %zu valid, %zu right\n", model, kind,
                  constrained ? "constrained" : "free", asked, valid, right);
}

/* Twelve tokens are enough for a whole answer, if not for a good one. */
static void check_limits(void)
{
    static const char schema[] = "{\"properties\":{\"name\":{\"type\":\"string\"}},\"required\":"
                                 "[\"name\"]}";
    const sluice_model_info *info = sluice_engine_info(engine);
    sluice_grammar *grammar = grammar_of(SLUICE_ANSWER_SCHEMA, schema);
    sluice_constraint *constraint;
    sluice_error err = {0};
    int32_t ids[TOKENS_MAX], got;
    sluice_finish finish;
    must(sluice_constraint_new(grammar, trie, info->stop_ids, info->n_stop_ids, &constraint, &err),
         &err);
    for (int32_t limit = 12; limit <= 16; limit++) {
        sluice_sampling sampling = sluice_sampling_recommended(true);
        sampling.seed = (uint64_t)limit;
        sluice_generation generation = {.prompt = &(int32_t){300},
                                        .prompt_count = 1,
                                        .tokens_max = limit,
                                        .sampling = sampling,
                                        .constraint = constraint};
        sluice_constraint_restart(constraint);
        sluice_session_clear(session);
        must(sluice_generate(session, &generation, ids, &got, &finish, &err), &err);
        if (finish == SLUICE_FINISH_LENGTH && !sluice_constraint_is_complete(constraint)) {
            fail_msg("cut off after %d tokens", limit);
        }
        generation.ignore_stop = true;
        assert_int_equal(sluice_generate(session, &generation, ids, &got, &finish, NULL),
                         SLUICE_USAGE);
    }
    sluice_constraint_free(constraint);
    sluice_grammar_free(grammar);
}

static void run_model(const char *model, const char *experts, const char *trunk)
{
    char folder[FOLDERS_PATH_MAX];
    folders_make(folder);
    const char *out = folders_path(folder, "model");
    sluice_convert_options options = {.experts = experts, .trunk = trunk, .threads = 2};
    sluice_error err = {0};
    must(sluice_convert(NANO, out, &options, &err), &err);
    sluice_engine_options defaults = engines_options();
    defaults.exact = false;
    engine = engines_open(out, &defaults);
    session = engines_session(engine);
    must(sluice_token_trie_new(sluice_engine_tokenizer(engine), &trie, &err), &err);
    for (int on = 1; on >= (all ? 0 : 1); on--) {
        constrained = on;
        run_tasks(model, "json", ask_for_json);
        run_tasks(model, "tool", ask_for_call);
    }
    check_limits();
    sluice_token_trie_free(trie);
    sluice_session_close(session);
    sluice_engine_close(engine);
    folders_remove(folder);
}

static void test_answers_at_two_bits_parse_and_validate(void **state)
{
    (void)state;
    const char *tasks = getenv("SLUICE_GRAMMAR_TASKS");
    all = tasks && strcmp(tasks, "all") == 0;
    run_model("all at 2 bits", "q2", "q2");
    if (!all) return;
    run_model("experts at 2 bits", "q2", NULL);
    run_model("4 bits", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_at_two_bits_parse_and_validate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
