/* The tool calls of the Qwen3.5 family, as the chat template writes them. */
#ifndef SLUICE_GRAMMAR_TOOL_CALLS_H
#define SLUICE_GRAMMAR_TOOL_CALLS_H

#include "grammar/json_rules.h"
#include "tokenizer/json_value.h"

/* The array of tools in a parsed document, as sluice_tools_open reads it; NULL if there are none.
 */
const sluice_json_value *sluice_tool_list(const sluice_json_value *root);

/* From behind <tool_call>: builds one call or, unless single, several on lines of their own: the
 * tools are those of the
 * list, or with a name that one. json is within calls. */
sluice_status sluice_tool_calls_build(sluice_automaton *a, sluice_json_rules *json,
                                      const sluice_json_value *list, const char *name, bool single,
                                      uint32_t from, uint32_t *to, sluice_error *err);

/* Any text without a tag such as "<tool_call>", which has no '<' but its first: *text receives the
 * state in which the text may end, and *behind the one behind the tag. */
void sluice_text_until_build(sluice_automaton *a, uint32_t from, const char *tag, uint32_t *text,
                             uint32_t *behind);

#endif
