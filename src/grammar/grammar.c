/* Grammars of whole answers: reasoning, then content or tool calls. */
#include "grammar/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/gbnf.h"
#include "grammar/machine.h"
#include "grammar/schema.h"
#include "grammar/tool_calls.h"

/* Bytes of a source or of the tools. */
#define SOURCE_MAX ((size_t)4 << 20)

static sluice_status build_schema(sluice_automaton *a, const sluice_answer *answer, uint32_t from,
                                  uint32_t *to, sluice_error *err)
{
    sluice_json_document document;
    sluice_json_rules json = {.a = a, .space = answer->space};
    SLUICE_TRY(sluice_json_parse("the schema", SLUICE_BAD_INPUT, answer->source,
                                 answer->source_length, &document, err));
    sluice_schema_builder b;
    sluice_schema_begin(&b, &json, document.root, "the schema", "", err);
    sluice_status status = sluice_schema_build(&b, document.root, SLUICE_SCHEMA_JSON, from, to);
    sluice_schema_end(&b);
    sluice_json_document_free(&document);
    return status;
}

/* Content other than free text. */
static sluice_status build_content(sluice_automaton *a, const sluice_answer *answer, uint32_t from,
                                   uint32_t *to, sluice_error *err)
{
    uint32_t rule;
    if (answer->content == SLUICE_ANSWER_SCHEMA) return build_schema(a, answer, from, to, err);
    if (answer->content == SLUICE_ANSWER_OBJECT) {
        sluice_json_rules json = {.a = a, .space = answer->space};
        rule = sluice_json_rules_object(&json);
    } else {
        SLUICE_TRY(sluice_gbnf_build(a, answer->source, answer->source_length, &rule, err));
    }
    *to = sluice_build_call(a, from, rule);
    return SLUICE_OK;
}

static sluice_status build_calls(sluice_automaton *a, const sluice_answer *answer,
                                 const sluice_json_value *tools, uint32_t from, uint32_t to,
                                 sluice_error *err)
{
    sluice_json_rules json = {.a = a, .space = answer->space, .in_call = true};
    bool named = answer->tool_choice == SLUICE_TOOLS_NAMED;
    uint32_t end;
    SLUICE_TRY(sluice_tool_calls_build(a, &json, tools, named ? answer->tool_name : NULL,
                                       answer->single_call, from, &end, err));
    sluice_automaton_empty(a, end, to);
    return SLUICE_OK;
}

/* What comes behind the reasoning. */
static sluice_status build_body(sluice_automaton *a, const sluice_answer *answer,
                                const sluice_json_value *tools, uint32_t from, uint32_t to,
                                sluice_error *err)
{
    static const char open[] = "<tool_call>";
    bool must_call = answer->tool_choice >= SLUICE_TOOLS_REQUIRED;
    bool may_call = tools && answer->tool_choice != SLUICE_TOOLS_NONE;
    bool is_text = answer->content == SLUICE_ANSWER_TEXT;
    uint32_t end, call;
    if (must_call && !tools) {
        return sluice_fail(err, SLUICE_BAD_INPUT, "a tool must be called, but there are none");
    }
    if (answer->tool_choice == SLUICE_TOOLS_NAMED && !answer->tool_name) {
        return sluice_fail(err, SLUICE_USAGE, "a tool must be called, but none is named");
    }
    if (!must_call && !is_text) {
        uint32_t start = sluice_automaton_state(a);
        sluice_automaton_empty(a, from, start);
        SLUICE_TRY(build_content(a, answer, start, &end, err));
        sluice_automaton_empty(a, end, to);
    }
    if (!must_call && is_text) {
        sluice_text_until_build(a, from, open, &end, &call);
        sluice_automaton_empty(a, end, to);
    } else {
        call = may_call ? sluice_build_tag(a, from, open, sizeof open - 1) : 0;
    }
    return may_call ? build_calls(a, answer, tools, call, to, err) : SLUICE_OK;
}

static sluice_status build_answer(sluice_automaton *a, const sluice_answer *answer,
                                  const sluice_json_value *tools, sluice_error *err)
{
    uint32_t start = sluice_automaton_state(a), end = sluice_automaton_state(a);
    uint32_t root = sluice_automaton_rule(a, "the answer", start, end);
    if (answer->thinking) {
        uint32_t text, behind;
        sluice_text_until_build(a, start, "</think>", &text, &behind);
        start = sluice_automaton_state(a);
        sluice_automaton_empty(a, behind, start);
        uint32_t line = sluice_build_text(a, behind, "\n");
        sluice_automaton_empty(a, line, start);
        sluice_automaton_empty(a, sluice_build_text(a, line, "\n"), start);
    }
    SLUICE_TRY(build_body(a, answer, tools, start, end, err));
    const char *what = answer->content == SLUICE_ANSWER_SCHEMA ? "the schema"
                       : answer->content == SLUICE_ANSWER_GBNF ? "the grammar"
                       : tools                                 ? "the tools"
                                                               : "the answer";
    return sluice_automaton_finish(a, root, what, err);
}

static sluice_status check(const sluice_answer *answer, sluice_error *err)
{
    bool needs_source =
        answer->content == SLUICE_ANSWER_SCHEMA || answer->content == SLUICE_ANSWER_GBNF;
    if (needs_source && !answer->source) {
        return sluice_fail(err, SLUICE_USAGE, "a schema or grammar is asked for, but not given");
    }
    if (answer->source_length > SOURCE_MAX || answer->tools_length > SOURCE_MAX) {
        return sluice_fail(err, SLUICE_LIMIT, "a schema, grammar or tools of more than 4 MiB");
    }
    return SLUICE_OK;
}

sluice_status sluice_grammar_new(const sluice_answer *answer, sluice_grammar **out,
                                 sluice_error *err)
{
    *out = NULL;
    SLUICE_TRY(check(answer, err));
    sluice_json_document tools = {0};
    if (answer->tools) {
        SLUICE_TRY(sluice_json_parse("the tools", SLUICE_BAD_INPUT, answer->tools,
                                     answer->tools_length, &tools, err));
    }
    sluice_grammar *grammar = calloc(1, sizeof *grammar);
    sluice_status status = grammar
                               ? build_answer(&grammar->automaton, answer,
                                              tools.root ? sluice_tool_list(tools.root) : NULL, err)
                               : sluice_fail(err, SLUICE_NO_MEMORY, "no memory for a grammar");
    sluice_json_document_free(&tools);
    if (status == SLUICE_OK) {
        *out = grammar;
    } else {
        sluice_grammar_free(grammar);
    }
    return status;
}

void sluice_grammar_free(sluice_grammar *grammar)
{
    if (!grammar) return;
    sluice_automaton_free(&grammar->automaton);
    free(grammar);
}

sluice_status sluice_grammar_match(const sluice_grammar *grammar, const char *text, size_t length,
                                   sluice_fit *fit, sluice_error *err)
{
    sluice_machine machine;
    SLUICE_TRY(sluice_machine_init(&machine, &grammar->automaton, err));
    uint32_t set = sluice_machine_start(&machine);
    for (size_t i = 0; i < length && set != SLUICE_SET_DEAD; i++)
        set = sluice_machine_next(&machine, set, (uint8_t)text[i]);
    *fit = set == SLUICE_SET_DEAD       ? SLUICE_FIT_NONE
           : machine.sets[set].complete ? SLUICE_FIT_WHOLE
                                        : SLUICE_FIT_PREFIX;
    sluice_status status = sluice_machine_check(&machine, err);
    sluice_machine_free(&machine);
    return status;
}
