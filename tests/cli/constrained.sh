# Tool calls and JSON by a schema, asked of a server whose model has everything at 2 bits and can do neither by itself: every
# answer of every API parses and validates. SLUICE_GRAMMAR_TASKS=all asks all 200 tasks of each kind of three models, and prints
# CSV with how many answers are right.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
command -v curl >/dev/null 2>&1 || { echo "SKIPPED: curl is not installed"; exit 77; }
every=40
[ "${SLUICE_GRAMMAR_TASKS:-}" != all ] || every=1

cat >"$scratch/tasks.jq" <<'JQ'
def schema: if type == "object" then {type: "object", properties: map_values(schema), required: keys, additionalProperties: false}
    elif type == "array" then {type: "array", items: {type: "string"}}
    elif type == "string" then {type: "string"} else {type: "integer"} end;
def valid($s): if $s.type == "object" then type == "object" and keys - ($s.properties | keys) == [] and ($s.required // []) - keys == []
        and all(to_entries[]; .key as $k | .value | valid($s.properties[$k]))
    elif $s.type == "array" then type == "array" and all(.[]; valid($s.items))
    elif $s.type == "integer" then type == "number" and floor == .
    else type == $s.type end;

# What each API is asked, of a task with a schema or with tools.
def chat: {messages: [{role: "user", content: .question}], temperature: 0, enable_thinking: false, max_tokens: 200}
    + if .tools then {tools, tool_choice: "required", parallel_tool_calls: false}
      else {response_format: {type: "json_schema", json_schema: {name: "answer", schema: (.answer | fromjson | schema)}}} end;
def messages: {messages: [{role: "user", content: .question}], temperature: 0, max_tokens: 200}
    + if .tools then {tools: [.tools[].function | {name, description, input_schema: .parameters}], tool_choice: {type: "any", disable_parallel_tool_use: true}}
      else {output_config: {format: {type: "json_schema", schema: (.answer | fromjson | schema)}}} end;
def responses: {input: .question, temperature: 0, reasoning: {effort: "none"}, max_output_tokens: 200, store: false}
    + if .tools then {tools: [.tools[].function + {type: "function"}], tool_choice: "required", parallel_tool_calls: false}
      else {text: {format: {type: "json_schema", name: "answer", schema: (.answer | fromjson | schema)}}} end;

# What each API answered: {text}, or {name, arguments}. Arguments must be text that parses, or the API's own JSON.
def calls: [.choices[]?.message.tool_calls[]?.function | {name, arguments: (.arguments | fromjson)}]
    + [.content[]? | select(.type == "tool_use") | {name, arguments: .input}]
    + [.output[]? | select(.type == "function_call") | {name, arguments: (.arguments | fromjson)}];
def text: .choices[0].message.content // (.content | arrays | map(.text)[0]) // ([.output[]? | select(.type == "message") | .content[0].text][0]);
def judge($task): if $task.tools
    then try (calls as $c | $task.tools | map(.function | {(.name): .parameters}) | add as $schemas | $c
        | if length == 1 and (.[0] | .name as $n | $schemas[$n] and (.arguments | valid($schemas[$n])))
          then (if [.[0].name, .[0].arguments] == $task.call then "right" else "valid" end) else "bad" end) catch "bad"
    else try (text | fromjson | ($task.answer | fromjson) as $wanted | if valid($wanted | schema)
        then (if . == $wanted then "right" else "valid" end) else "bad" end) catch "bad" end;
JQ

ask_all() { # ask_all MODEL KIND API PATH
    jq -c "$(cat "$scratch/tasks.jq") $3" "$scratch/tasks" >"$scratch/bodies"
    : >"$scratch/answers"
    while read -r body; do
        curl -s -H 'Content-Type: application/json' -d "$body" "$url$4" | jq -c . >>"$scratch/answers"
    done <"$scratch/bodies"
    jq -n -r --slurpfile tasks "$scratch/tasks" --slurpfile answers "$scratch/answers" \
        "$(cat "$scratch/tasks.jq")"' $tasks | to_entries[] | .key as $i | .value as $task | $answers[$i] | judge($task)' >"$scratch/verdicts"
    asked=$(wc -l <"$scratch/tasks") judged=$(wc -l <"$scratch/verdicts")
    [ "$asked" -eq "$judged" ] || fail "$judged of $asked answers"
    ! grep -q bad "$scratch/verdicts" || fail "$1, $2, $3: $(grep -c bad "$scratch/verdicts") of $asked answers do not validate, the first is $(sed -n "$(grep -n bad "$scratch/verdicts" | head -n 1 | cut -d: -f1)p" "$scratch/answers")"
    [ "$every" -ne 1 ] || echo "$1,$2,$3,$asked,$asked,$(grep -c right "$scratch/verdicts" || true)"
    echo >>"$scratch/checks"
}
ask_model() { # ask_model NAME CONVERT-OPTIONS...
    model=$1
    shift
    run 0 convert "$nano" "$scratch/model" --quiet "$@"
    serve "$scratch/model" --parallel 2
    for kind in tool json; do
        sed -n "7~${every}p" "$nano/tasks/$kind.jsonl" >"$scratch/tasks"
        [ "$every" -ne 1 ] || cp "$nano/tasks/$kind.jsonl" "$scratch/tasks"
        ask_all "$model" "$kind" chat /v1/chat/completions
        ask_all "$model" "$kind" messages /v1/messages
        ask_all "$model" "$kind" responses /v1/responses
    done
    stop_server 0
    rm -r "$scratch/model"
}
[ "$every" -ne 1 ] || echo "model,kind,api,asked,valid,right"
ask_model q2-all --experts q2 --trunk q2
[ "$every" -ne 1 ] || { ask_model q2-experts --experts q2 && ask_model q4; }
passed
