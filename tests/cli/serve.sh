# sluice serve over curl on loopback: limits, errors in each API's shape, batching, reuse of state, disconnection, shutdown.
. "${SLUICE_SOURCE_DIR:?the checkout}/tests/cli/support/cli.sh" || exit 1
. "$SLUICE_SOURCE_DIR/tests/cli/support/serve.sh" || exit 1
command -v curl >/dev/null 2>&1 || { echo "SKIPPED: curl is not installed"; exit 77; }

# What would open the server to others is refused before a model is loaded.
run 2 serve --host 0.0.0.0
one_sentence
has err "--api-key"
run 2 serve --slice 100
has err "multiple of 64"
run 2 serve --api-key ''
has err "empty"
run 2 serve --api-key a --api-key-file b
has err "exclude each other"

serve --parallel 8 --queue 40 --body 1M --timeout 2

get /health
answer 200 '.status == "ok" and .active == 0 and .queued == 0'
get /v1/models
answer 200 '.object == "list" and .data[0].id == "nano"'
get /v1/models/nano
answer 200 '.id == "nano" and .settings.activations == "f32" and .settings.lossy == ""'
get /v1/models/other
answer 404 '.error.code == "model_not_found"'
get /nowhere
answer 404 '.error.type == "not_found_error"'
get /v1/messages/nowhere
answer 404 '.type == "error" and .error.type == "not_found_error"'
get /v1/chat/completions
answer 405 '.error.message | test("GET")'
get /metrics
[ "$code" = 200 ] || fail "metrics: $code"
has out "# TYPE sluice_requests_total counter"
for name in prompt_tokens_total answer_tokens_total queue_length queue_seconds_count expert_hit_rate expert_bytes_read_total expert_wait_seconds_total memory_bytes; do
    has out "sluice_$name "
done

post /tokenize '{"content": "Hello <|im_end|>"}'
answer 200 '.count == (.tokens | length) and (.tokens | index(8178) | not)'
tokens=$(jq -c .tokens "$scratch/out")
post /detokenize "{\"tokens\": $tokens}"
answer 200 '.content == "Hello <|im_end|>"'

# As lm-evaluation-harness finds a tokenizer: "prompt" is what its own would be given, special tokens included.
get /tokenizer_info
answer 200 '.eos_token == "<|im_end|>" and .pad_token == "<|endoftext|>" and .bos_token == null and has("bos_token")'
post /tokenize '{"prompt": "<|im_end|>", "add_special_tokens": false}'
answer 200 '.tokens == [8178]'
post /tokenize '{"prompt": "test", "add_special_tokens": 1}'
answer 400 '.error.param == "add_special_tokens"'
post /detokenize '{"tokens": [8178]}'
answer 200 '.prompt == "<|im_end|>"'

post /tokenize "$(head -c 300 "$nano/text/"*.txt | jq -Rsc '{content: .}')"
answer 200 '.count > 40'
cp "$scratch/out" "$scratch/ids"

# Malformed, foreign, huge and nested requests.
post /v1/chat/completions '{"messages": '
answer 400 '.error.message | test("not valid JSON")'
post /v1/messages '[1]'
answer 400 '.type == "error" and .error.type == "invalid_request_error"'
post /v1/chat/completions "$(printf '{"messages":[{"role":"user","content":"\377"}]}')"
answer 400 '.error.message | test("not valid JSON")'
post /v1/chat/completions "$(printf '%5000s' '' | tr ' ' '[')"
answer 400 '.error.message | test("depth")'
post /v1/chat/completions '{"messages": [], "messages": []}'
answer 400 '.error.message | test("duplicate")'
head -c 1100000 /dev/zero >"$scratch/huge"
post /v1/messages "@$scratch/huge"
answer 413 '.error.type == "request_too_large"'
post /v1/messages "@$scratch/huge" -H 'Transfer-Encoding: chunked'
answer 413 '.error.type == "request_too_large"'
code=$(curl -s -o "$scratch/out" -w '%{http_code}' -d '{}' "$url/v1/chat/completions")
answer 415 '.error.message | test("application/json")'
get /health -H 'Host: rebound.example'
answer 403 '.error.type == "permission_error"'
get /health -H 'Origin: http://page.example'
answer 403 '.error.type == "permission_error"'
lacks head "Access-Control-Allow-Origin"

# What is not supported is refused by name.
refused() { # refused PATH PARAM BODY
    post "$1" "$3"
    answer 400 '(.error.message + " " + (.error.param // "")) | contains($p)' --arg p "$2"
}
hello='"messages": [{"role": "user", "content": "Hello"}]'
for pair in '"n": 2' '"logit_bias": {"5": 1}' '"frobnicate": true' '"temperature": 3' '"top_logprobs": 3' \
    '"tool_choice": "required"' '"seed": -1' '"stop": [1]' '"modalities": ["audio"]' '"store": true' \
    '"reasoning_effort": "colossal"' '"stream_options": {"include_usage": true}' '"max_tokens": 0'; do
    name=${pair#\"}
    refused /v1/chat/completions "${name%%\"*}" "{$hello, $pair}"
done
refused /v1/chat/completions image_url '{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}'
refused /v1/chat/completions 'messages[0].name' '{"messages": [{"role": "user", "name": "x", "content": "y"}]}'
refused /v1/completions suffix '{"prompt": "x", "suffix": "y"}'
refused /v1/completions prompt '{"prompt": []}'
refused /v1/completions prompt '{"prompt": [99999999]}'
refused /v1/messages max_tokens "{$hello}"
refused /v1/messages image '{"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "image"}]}]}'
refused /v1/messages thinking "{\"max_tokens\": 1, $hello, \"thinking\": {\"type\": \"enabled\"}}"
refused /v1/chat/completions 'grammar is not supported together with response_format' "{$hello, \"grammar\": \"root ::= [a]\", \"response_format\": {\"type\": \"json_object\"}}"
refused /v1/chat/completions 'grammar is not supported together with tools' "{$hello, \"grammar\": \"root ::= [a]\", \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]}"
refused /v1/chat/completions 'line 2' "{$hello, \"grammar\": \"root ::= a\\na ::= [b\"}"
refused /v1/completions 'grammar must be a string' '{"prompt": "x", "grammar": {}}'
refused /v1/completions 'root' '{"prompt": ["x", "y"], "grammar": "other ::= [a]"}'
post /v1/chat/completions "{$hello, \"model\": \"gpt\"}"
answer 404 '.error.code == "model_not_found"'
jq -n '{messages: [{role: "user", content: ("word " * 9000)}]}' >"$scratch/long"
post /v1/chat/completions "@$scratch/long"
answer 400 '.error.code == "context_length_exceeded"'

# A slow client is told so in its API's shape and cut off, in its body or in its headers; others are served meanwhile.
trap '' PIPE
slowly() { # slowly PATH PIECE: sends a request whose body, or else whose headers, never end
    exec 8<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n%b' "$1" "$2" >&8
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        printf 'x' >&8 2>/dev/null || break
        sleep 0.5
    done
    timeout 5 cat <&8 >"$scratch/late" || fail "a slow client is not cut off"
    exec 8>&- 8<&-
    head -n 1 "$scratch/late" | grep -q '^HTTP/1.1 408 ' || fail "a slow client was answered: $(head -c 300 "$scratch/late")"
    sed '1,/^\r$/d' "$scratch/late" >"$scratch/out"
}
slowly /v1/chat/completions '\r\n'
json '.error.code == "request_timeout" and .error.type == "invalid_request_error"'
slowly '/v1/messages?beta=true' ''
json '.type == "error" and .error.type == "invalid_request_error"'
# What libmicrohttpd refuses itself has the API's shape too.
raw() { # raw STATUS FILTER REQUEST
    exec 8<>"/dev/tcp/127.0.0.1/$port"
    printf '%b' "$3" >&8 2>/dev/null || true
    timeout 5 cat <&8 >"$scratch/late" || fail "a malformed request is not cut off"
    exec 8>&- 8<&-
    head -n 1 "$scratch/late" | grep -q "^HTTP/1.1 $1 " || fail "not $1: $(head -c 300 "$scratch/late")"
    sed '1,/^\r$/d' "$scratch/late" >"$scratch/out"
    json "$2"
}
head='Host: localhost\r\nContent-Type: application/json\r\n'
openai='.error.type == "invalid_request_error"' anthropic='.type == "error" and .error.type == "invalid_request_error"'
raw 400 "$openai" 'GET /health\r\n\r\n'
raw 400 "$openai" 'GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n'
raw 400 "$openai" "POST /v1/chat/completions HTTP/1.1\r\n${head}Content-Length: many\r\n\r\n{}"
raw 400 "$anthropic" "POST /v1/messages HTTP/1.1\r\n${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"
raw 413 '.error.type == "request_too_large"' "POST /v1/messages HTTP/1.1\r\n${head}Content-Length: 99999999999999999999999\r\n\r\n"
raw 414 "$openai" "GET /$(head -c 70000 /dev/zero | tr '\0' a) HTTP/1.1\r\n$head\r\n"
raw 431 "$anthropic" "POST /v1/messages HTTP/1.1\r\n${head}X-Long: $(head -c 70000 /dev/zero | tr '\0' a)\r\n\r\n"
raw 505 '.error.type == "server_error"' "GET /health HTTP/3.0\r\n$head\r\n"
trap - PIPE
get /health
answer 200 '.active == 0'

# Greedy answers are the same alone, in a batch of 8, and streamed.
question() { sed -n "$(($1 + 1))p" "$nano/tasks/word.jsonl" | jq -c .question; }
body() { echo "{\"messages\": [{\"role\": \"user\", \"content\": $(question "$1")}], \"temperature\": 0, \"max_tokens\": 120, \"stream\": $2}"; }
for i in 0 1 2 3 4 5 6 7; do
    post /v1/chat/completions "$(body "$i" false)"
    answer 200 '.choices[0].finish_reason == "stop" or .usage.completion_tokens == 120'
    jq -c '.choices[0].message | [.reasoning_content, .content]' "$scratch/out" >"$scratch/alone.$i"
done
for i in 0 1 2 3 4 5 6 7; do
    curl -sN -H 'Content-Type: application/json' -d "$(body "$i" true)" "$url/v1/chat/completions" >"$scratch/stream.$i" &
done
wait_for_jobs
for i in 0 1 2 3 4 5 6 7; do
    has_line "$scratch/stream.$i" 'data: [DONE]'
    sed -n 's/^data: \({.*\)/\1/p' "$scratch/stream.$i" |
        jq -sc '[[.[].choices[0].delta.reasoning_content // ""], [.[].choices[0].delta.content // ""]] | map(add)' >"$scratch/together.$i"
    same "$scratch/alone.$i" "$scratch/together.$i" "the answer alone and in a batch of 8"
done

# Answers by a grammar of the request's own, whatever the model prefers.
grammar='root ::= "<" [a-z]{4} ":" ("yes" | "no") ">"'
for thinking in true false; do
    post /v1/chat/completions "$(jq -nc --arg g "$grammar" --argjson t $thinking '{messages: [{role: "user", content: "Hello"}], grammar: $g, enable_thinking: $t, max_tokens: 200, seed: 7}')"
    answer 200 '.choices[0].finish_reason == "stop" and (.choices[0].message.content | test("^<[a-z]{4}:(yes|no)>$")) and (.choices[0].message | has("reasoning_content")) == $t' --argjson t $thinking
done
post /v1/completions "$(jq -nc --arg g "$grammar" '{prompt: ["One", "Two"], grammar: $g, max_tokens: 40, logprobs: 1}')"
answer 200 '(.choices | length) == 2 and all(.choices[]; .finish_reason == "stop" and (.text | test("^<[a-z]{4}:(yes|no)>$")))'

# Turn n of a conversation prefills only what is new, and replays earlier answers as sampled.
echo '[{"role": "system", "content": "You answer with a number."}]' >"$scratch/messages"
before=0
for i in 1 2 3 4 5 6; do
    jq -c --arg q "What is $i plus 4?" '. + [{role: "user", content: $q}]' "$scratch/messages" >"$scratch/next"
    post /v1/chat/completions "$(jq -c '{messages: ., temperature: 0, enable_thinking: false}' "$scratch/next")"
    answer 200 '.usage.prompt_tokens_details.cached_tokens >= $before and .usage.prompt_tokens - .usage.prompt_tokens_details.cached_tokens < 60' --argjson before "$before"
    before=$(jq '.usage.total_tokens - 0' "$scratch/out")
    jq -c --slurpfile m "$scratch/next" '$m[0] + [.choices[0].message]' "$scratch/out" >"$scratch/messages"
done
[ "$before" -gt 100 ] || fail "the conversation is too short to show anything: $before tokens"

# Logprobs and echo, as evaluation harnesses use them.
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 0, "echo": true, "logprobs": 1}'
answer 200 '.choices[0] | .text == "Once upon a time" and .logprobs.token_logprobs[0] == null and (.logprobs.token_logprobs[1:] | all(. < 0)) and (.logprobs.tokens | add) == "Once upon a time"'
# The request of lm-evaluation-harness (local-completions), read as it does: the same likelihood as "sluice score" gives.
ids=$(jq -c '.tokens[:24]' "$scratch/ids")
run 0 score --ids "$(echo "$ids" | tr -d '[]')" --top 0 --json --quiet
nll=$(jq .mean_nll "$scratch/out")
post /v1/completions "{\"model\": \"nano\", \"prompt\": [$ids, $ids], \"temperature\": 0, \"max_tokens\": 1, \"logprobs\": 1, \"seed\": 1234, \"echo\": true}"
answer 200 '[.choices[].index] == [0, 1]'
answer 200 '.choices | all(.[].logprobs; .token_logprobs[1:-1] | length == 23 and (-add / 23 - $nll | fabs) < 1e-4)' --argjson nll "$nll"
answer 200 '.choices[1].logprobs | [.token_logprobs[1:], .top_logprobs[1:]] | transpose | all(.[0] <= ([.[1][]] | max))'
post /v1/completions '{"prompt": ["The cat", [10, 20, 30]], "max_tokens": 3, "temperature": 0}'
answer 200 '[.choices[].index] == [0, 1] and .usage.prompt_tokens == 5 and (.choices[0].text | length > 0)'
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0, "stop": ["habit", "zzz"]}'
answer 200 '.choices[0] | .finish_reason == "stop" and (.text | contains("habit") | not)'

# A client that goes away frees its place at once. An answer may end before its client leaves; then the next one is asked for.
cancelled() { get /metrics && sed -n 's/^sluice_cancelled_total //p' "$scratch/out"; }
tries=0
until [ "$(cancelled)" -ge 4 ]; do
    tries=$((tries + 1))
    [ "$tries" -le 40 ] || fail "cancelled answers are not counted"
    curl -sN --max-time 0.3 -H 'Content-Type: application/json' -o "$scratch/cut" "$url/v1/completions" \
        -d '{"prompt": "Once upon a time", "max_tokens": 8000, "temperature": 1, "stream": true}' || true
done
tries=0
until get /health && jq -e '.active == 0' "$scratch/out" >/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || fail "places are not freed"
    sleep 0.05
done

# SIGTERM: what runs is finished, then the server leaves with status 0.
curl -sN -H 'Content-Type: application/json' -o "$scratch/last" "$url/v1/completions" \
    -d '{"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0, "stream": true}' &
wait_for "$scratch/last" data:
kill -HUP "$server"
stop_server 0
wait_for_jobs
has_line "$scratch/last" 'data: [DONE]'
grep -q '"finish_reason":"length"' "$scratch/last" || fail "SIGTERM cut an answer off"
! grep -q "Once upon" "$scratch/serve.err" || fail "a prompt is in the log"

# What passed is in the metrics.
serve --parallel 1
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 5, "temperature": 0}'
answer 200 '.usage.completion_tokens == 5'
get /metrics
for line in 'sluice_prompt_tokens_total 5' 'sluice_answer_tokens_total 5' 'sluice_first_token_seconds_count 1' 'sluice_answer_seconds_bucket{le="+Inf"} 1'; do
    has_line "$scratch/out" "$line"
done
stop_server 0

# No answer outlives the time limit: it ends there, or is refused where nothing of it came in that time.
serve --parallel 1 --time-limit 1
post /v1/completions '{"prompt": "Once upon a time", "max_tokens": 8000, "temperature": 0}'
[ "$code" = 200 ] || answer 503 '.error.code == "timeout"'
answer "$code" '.error or (.choices[0].finish_reason == "length" and .usage.completion_tokens < 8000)'
stop_server 0

# With a key: refused without it, whatever the header; /health stays open for supervisors.
printf 'secret\n' >"$scratch/key"
serve --api-key-file "$scratch/key" --cors http://page.example --alias gpt-x,other
get /health
answer 200 '.status == "ok"'
get /v1/models
answer 401 '.error.code == "invalid_api_key"'
get /v1/models -H 'Authorization: Bearer secretx'
answer 401 '.error.code == "invalid_api_key"'
get /v1/models -H 'Authorization: Bearer secret'
answer 200 '.data | length == 1'
get /v1/models/other -H 'x-api-key: secret' -H 'Origin: http://page.example'
answer 200 '.id == "nano"'
has head "Access-Control-Allow-Origin: http://page.example"
get /v1/models -H 'x-api-key: secret' -H 'Origin: http://other.example'
answer 403 '.error.type == "permission_error"'
stop_server 0
passed
