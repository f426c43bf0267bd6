#!/bin/bash
# What continuous batching gives when experts stream from disk: tokens per second of 1 stream and of N together, as CSV.
#
#   bench/serve-batch.sh SLUICE MODEL CACHE [STREAMS [TOKENS [apart|alike|same [OPTIONS OF SERVE...]]]]
#
# apart: every stream begins with other tokens and is drawn hot, so that streams share experts as seldom as the model's
# routing lets them. alike: greedy answers to questions of one kind (Nano's word problems), as an evaluation or agents on
# one code base ask. same: one question for all. The time is that of whole requests: prompts and their answers.
set -euo pipefail
sluice=$1 model=$2 cache=$3 streams=${4:-8} tokens=${5:-48} kind=${6:-apart}
shift $(($# < 6 ? $# : 6))
scratch=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
"$sluice" serve "$model" --port 0 --parallel "$streams" --cache "$cache" --context 1024 --no-keep --quiet "$@" >"$scratch/out" &
server=$!
until grep -q listening "$scratch/out"; do
    kill -0 "$server" || exit 1
    sleep 0.2
done
url=$(sed -n 's/^listening on //p' "$scratch/out")

metric() { curl -sf "$url/metrics" | sed -n "s/^sluice_$1 //p"; }
ask() { # ask STREAM
    path=completions line=$1
    case $kind in
    apart)
        step=$((7 * ($1 % 3) + 5))
        body="{\"prompt\": [$(seq -s, $(($1 * 97 + 11)) $step $(($1 * 97 + 11 + 15 * step)))], \"max_tokens\": $tokens, \"temperature\": 1, \"seed\": $1}"
        ;;
    *)
        [ "$kind" = alike ] || line=1
        path=chat/completions
        question=$(sed -n "${line}p" "$(dirname "$0")/../models/nano/tasks/word.jsonl" | jq -c .question)
        body="{\"messages\": [{\"role\": \"user\", \"content\": $question}], \"max_tokens\": $tokens, \"temperature\": 0}"
        ;;
    esac
    curl -sf -o "$scratch/answer.$1" -H 'Content-Type: application/json' "$url/v1/$path" -d "$body"
}
measure() { # measure N
    bytes=$(metric expert_bytes_read_total) wanted=$(metric expert_requests_total) hits=$(metric expert_hits_total)
    begun=$(date +%s.%N)
    for i in $(seq "$1"); do ask "$i" & jobs[i]=$!; done
    for i in $(seq "$1"); do wait "${jobs[i]}"; done
    ended=$(date +%s.%N)
    made=$(jq -s 'map(.usage.completion_tokens) | add' "$scratch"/answer.*)
    rm -f "$scratch"/answer.*
    jq -nr --arg model "$(basename "$model")" --arg cache "$cache" --arg kind "$kind" --argjson n "$1" --argjson made "$made" \
        --argjson s "$(jq -n "$ended - $begun")" --argjson mb "$(jq -n "($(metric expert_bytes_read_total) - $bytes) / 1e6")" \
        --argjson hit "$(jq -n "($(metric expert_hits_total) - $hits) / ($(metric expert_requests_total) - $wanted)")" \
        '[$model, $cache, $kind, $n, $made, ($s * 1000 | round / 1000), ($made / $s * 100 | round / 100), ($mb / $made * 100 | round / 100), ($mb / $s / 10 | round / 100), ($hit * 1000 | round / 1000)] | join(",")'
}
declare -a jobs
echo "model,cache,kind,streams,tokens,seconds,tokens_s,mb_read_a_token,read_gb_s,hit_rate"
measure 1 >"$scratch/warm" # what the first request alone has to do
measure 1
measure "$streams"
