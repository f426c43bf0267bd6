#!/bin/bash
# What continuous batching gives when experts stream from disk: tokens per second of 1 stream and of N together, as CSV.
#
#   bench/serve-batch.sh SLUICE MODEL CACHE [STREAMS [TOKENS [apart|alike|same [ROUNDS [OPTIONS OF SERVE...]]]]]
#
# The same STREAMS x ROUNDS requests are answered one after the other, and then N at a time; their answers must be the same.
# apart: every one goes on from another place of two books, drawn at temperature 1. alike: greedy answers to questions of
# one kind (Nano's word problems), as an evaluation or agents on one code base ask. same: one question for all.
# The time is that of whole requests: prompts and their answers.
set -euo pipefail
sluice=$1 model=$2 cache=$3 streams=${4:-8} tokens=${5:-64} kind=${6:-apart} rounds=${7:-3}
shift $(($# < 7 ? $# : 7))
nano=$(dirname "$0")/../models/nano
scratch=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
"$sluice" serve "$model" --port 0 --parallel "$streams" --cache "$cache" --context 1024 --no-keep --quiet "$@" >"$scratch/out" &
server=$!
until grep -q listening "$scratch/out"; do
    kill -0 "$server" || exit 1
    sleep 0.2
done
url=$(sed -n 's/^listening on //p' "$scratch/out")
count=$((streams * rounds))

body() { # body REQUEST
    if [ "$kind" = apart ]; then
        book=$nano/text/alice.txt
        [ $(($1 % 2)) -eq 0 ] || book=$nano/text/a_christmas_carol.txt
        text=$(grep -E '.{200}' "$book" | sed -n "$((1 + $1 * 5))p" | head -c 200 | jq -Rs .)
        echo "{\"prompt\": $text, \"max_tokens\": $tokens, \"temperature\": 1, \"seed\": $1}"
    else
        line=$1
        [ "$kind" = alike ] || line=1
        question=$(sed -n "${line}p" "$nano/tasks/word.jsonl" | jq -c .question)
        echo "{\"messages\": [{\"role\": \"user\", \"content\": $question}], \"max_tokens\": $tokens, \"temperature\": 0}"
    fi
}
path=chat/completions
[ "$kind" != apart ] || path=completions
for i in $(seq "$count"); do
    body "$i" >"$scratch/body.$i"
    [ "$i" -eq 1 ] || echo next
    printf 'url = "%s/v1/%s"\nheader = "Content-Type: application/json"\ndata = "@%s"\noutput = "%s"\nsilent\nfail\n' \
        "$url" "$path" "$scratch/body.$i" "$scratch/answer.$i"
done >"$scratch/requests"

metric() { sed -n "s/^sluice_$1 //p" "$scratch/$2"; }
measure() { # measure N: all requests, N at a time
    curl -sf -o "$scratch/before" "$url/metrics"
    begun=$(date +%s.%N)
    curl --no-progress-meter --parallel --parallel-immediate --parallel-max "$1" -K "$scratch/requests"
    ended=$(date +%s.%N)
    curl -sf -o "$scratch/after" "$url/metrics"
    for i in $(seq "$count"); do jq -c '.choices[0] | [.text, .message]' "$scratch/answer.$i"; done >"$scratch/answers.$1"
    made=$(jq -s 'map(.usage.completion_tokens) | add' "$scratch"/answer.*)
    jq -nr --arg model "$(basename "$model")" --arg cache "$cache" --arg kind "$kind" --argjson n "$1" --argjson made "$made" \
        --argjson s "$(jq -n "$ended - $begun")" --argjson steps "$(($(metric steps_total after) - $(metric steps_total before)))" \
        --argjson mb "$(jq -n "($(metric expert_bytes_read_total after) - $(metric expert_bytes_read_total before)) / 1e6")" \
        --argjson hit "$(jq -n "($(metric expert_hits_total after) - $(metric expert_hits_total before)) / ($(metric expert_requests_total after) - $(metric expert_requests_total before))")" \
        'def round_to($n): . * $n | round / $n; [$model, $cache, $kind, $n, $made, $steps, ($s | round_to(1000)), ($made / $s | round_to(100)), ($mb / $made | round_to(100)), ($mb / $s / 1000 | round_to(100)), ($hit | round_to(1000))] | join(",")'
}
echo "model,cache,kind,streams,tokens,steps,seconds,tokens_s,mb_read_a_token,read_gb_s,hit_rate"
measure "$streams" >"$scratch/warm" # what the first requests alone have to do
measure 1
measure "$streams"
cmp -s "$scratch/answers.1" "$scratch/answers.$streams" || { echo "answers together differ from those alone" >&2; exit 1; }
