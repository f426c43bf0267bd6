# sluice serve --state: conversations, tool calls and system prompts go on after a restart at the cost of their new tokens alone;
# the folder's limit; files that are of no use.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
command -v curl >/dev/null 2>&1 || { echo "SKIPPED: curl is not installed"; exit 77; }

warm
run 1 serve --state "$nano/config.json" --port 0
one_sentence
has err "--state"

state=$scratch/folder
tools='[{"type": "function", "function": {"name": "set_timer", "description": "Start a timer", "parameters": {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}}}]'
# Long enough that its state is kept: states of prompts are taken at multiples of 64 tokens.
system='{"role": "system", "content": "You are a helpful assistant who answers every question with a number and nothing else. You are a helpful assistant who answers every question with a number and nothing else. You are a helpful assistant who answers every question with a number and nothing else. You are a helpful assistant who answers every question with a number and nothing else. You are a helpful assistant who answers every question with a number and nothing else."}'
cached='.usage.prompt_tokens_details.cached_tokens'

# ask TEXT: the next turn of the conversation in $scratch/messages; checks what was prefilled of it: new tokens only.
ask() {
    jq -c --arg q "$1" '. + [{role: "user", content: $q}]' "$scratch/messages" >"$scratch/next"
    post /v1/chat/completions "$(jq -c '{messages: ., temperature: 0, enable_thinking: false, max_tokens: 60}' "$scratch/next")"
    answer 200 "$cached >= \$before and .usage.prompt_tokens - $cached < 60" --argjson before "$before"
    # The end of an answer that was cut off is not remembered as sampled.
    answer 200 '.choices[0].finish_reason == "stop"'
    before=$(jq '.usage.total_tokens' "$scratch/out")
    jq -c --slurpfile m "$scratch/next" '$m[0] + [.choices[0].message]' "$scratch/out" >"$scratch/messages"
    jq -c '.choices[0].message' "$scratch/out" >>"$scratch/answers"
}
conversation() { # conversation FROM TO
    for i in $(seq "$1" "$2"); do
        [ "$i" -gt 1 ] || { echo '[{"role": "system", "content": "You answer with a number."}]' >"$scratch/messages"; before=0; : >"$scratch/answers"; }
        ask "What is $i plus 4?"
    done
}

serve --parallel 2 --state "$state"
[ "$(stat -c %a "$state")" = 700 ] || fail "others can read the states"
conversation 1 19
post /v1/chat/completions "{\"messages\": [$system, {\"role\": \"user\", \"content\": \"What is 7 plus 8?\"}], \"temperature\": 0, \"max_tokens\": 4, \"enable_thinking\": false}"
answer 200 "$cached == 0"
post /v1/chat/completions "{\"messages\": [{\"role\": \"user\", \"content\": \"Set a timer for 5 minutes.\"}], \"tools\": $tools, \"temperature\": 0, \"enable_thinking\": false}"
answer 200 '.choices[0].finish_reason == "tool_calls"'
cp "$scratch/out" "$scratch/call"
stop_server 0

# After a restart turn 20 prefills its new tokens alone, a tool call is replayed as it was sampled, the system's turn is there.
serve --parallel 2 --state "$state"
conversation 20 20
cp "$scratch/answers" "$scratch/restarted"
post /v1/chat/completions "{\"messages\": [$system, {\"role\": \"user\", \"content\": \"Name a colour.\"}], \"temperature\": 0, \"max_tokens\": 4, \"enable_thinking\": false}"
answer 200 "$cached >= 64 and $cached % 64 == 0"
body=$(jq -c --argjson tools "$tools" '{messages: [{role: "user", content: "Set a timer for 5 minutes."}, .choices[0].message, {role: "tool", tool_call_id: .choices[0].message.tool_calls[0].id, content: "ok"}], tools: $tools, temperature: 0, enable_thinking: false, max_tokens: 20}' "$scratch/call")
post /v1/chat/completions "$body"
answer 200 "$cached == \$before" --argjson before "$(jq .usage.total_tokens "$scratch/call")"
get /metrics
has_line "$scratch/out" 'sluice_kept_file_hits_total 3'
! grep -q ignored "$scratch/serve.err" || fail "$(cat "$scratch/serve.err")"
stop_server 0

# The same answers without any reuse.
serve --parallel 2 --no-keep
for i in $(seq 0 19); do
    jq -c --argjson n $((2 + 2 * i)) '{messages: .[:$n], temperature: 0, enable_thinking: false, max_tokens: 60}' "$scratch/messages" >"$scratch/body"
    [ $((i % 7)) -eq 5 ] || [ "$i" -eq 19 ] || continue
    post /v1/chat/completions "@$scratch/body"
    answer 200 "$cached == 0"
    jq -c '.choices[0].message' "$scratch/out" >"$scratch/fresh"
    sed -n "$((i + 1))p" "$scratch/restarted" >"$scratch/reused"
    same "$scratch/fresh" "$scratch/reused" "turn $((i + 1)) with and without reuse of states"
done
stop_server 0

# Files that are truncated, damaged, of another version, of another model, or no states at all are ignored with a warning each.
newest() { ls -t "$state"/*."$1" | sed -n "$2p"; }
truncated=$(newest state 1) damaged=$(newest state 2) version=$(newest state 3) model=$(newest state 4) turn=$(newest turn 1) foreign=$(newest state 5)
truncate -s -100 "$truncated"
size=$(stat -c %s "$damaged")
printf 'x' | dd of="$damaged" bs=1 seek=$((size / 2)) conv=notrunc status=none
printf '\t' | dd of="$version" bs=1 seek=16 conv=notrunc status=none
printf 'abcd' | dd of="$model" bs=1 seek=20 conv=notrunc status=none
printf 'not a state' >"$foreign"
printf 'x' | dd of="$turn" bs=1 seek=100 conv=notrunc status=none
touch -r "$nano/config.json" "$state/unrelated"
serve --parallel 2 --state "$state"
for file in "$truncated" "$version" "$model" "$foreign" "$turn"; do
    grep -F "ignored: $file" "$scratch/serve.err" >>"$scratch/checks" || fail "no warning of $file: $(cat "$scratch/serve.err")"
done
before=0
jq -c '.[:-2]' "$scratch/messages" >"$scratch/shorter"
cp "$scratch/shorter" "$scratch/messages"
post /v1/chat/completions "$(jq -c '{messages: (. + [{role: "user", content: "What is 20 plus 4?"}]), temperature: 0, enable_thinking: false, max_tokens: 60}' "$scratch/messages")"
answer 200 '.choices[0].message | tojson == $same' --arg same "$(tail -n 1 "$scratch/restarted" | jq -c .)"
stop_server 0
[ -e "$state/unrelated" ] || fail "a file that is not the server's is gone"

# Other settings: nothing of it is used.
serve --parallel 2 --state "$state" --int8
grep -q 'files are ignored, being of another model or of other settings' "$scratch/serve.err" || fail "no word of other activations: $(cat "$scratch/serve.err")"
get /v1/models
answer 200 '.data[0].settings.activations == "int8"'
post /v1/chat/completions "$(jq -c '{messages: (. + [{role: "user", content: "What is 20 plus 4?"}]), temperature: 0, enable_thinking: false, max_tokens: 1}' "$scratch/messages")"
answer 200 "$cached == 0"
stop_server 0

# The same with fewer experts. The limit: the oldest go.
serve --parallel 2 --state "$state" --k 4 --state-limit 2MB
grep -q 'files are ignored, being of another model or of other settings' "$scratch/serve.err" || fail "no word of other settings: $(cat "$scratch/serve.err")"
get /v1/models
answer 200 '.data[0].settings | .k == 4 and .lossy == "k 4 of 8"'
conversation 1 3
stop_server 0
[ "$(du -cb "$state"/*-* | tail -n 1 | cut -f1)" -le 2000000 ] || fail "over the limit: $(ls -l "$state")"
serve --parallel 2 --state "$state" --k 4 --state-limit 2MB
conversation 4 4

# kill -9 leaves nothing half written behind.
post /v1/chat/completions "$(jq -c '{messages: (. + [{role: "user", content: "What is 5 plus 4?"}]), temperature: 0, max_tokens: 30}' "$scratch/messages")"
kill -9 "$server"
wait "$server" 2>/dev/null || true
serve --parallel 2 --state "$state" --k 4
! ls "$state"/*.sluice-tmp 2>/dev/null || fail "half a file was left"
! grep -q 'ignored: ' "$scratch/serve.err" || fail "a file was written in part: $(cat "$scratch/serve.err")"
stop_server 0
passed
