#!/bin/sh
# Is what plan predicts what bench measures? On a model of random weights, within 25%.
#
# bench/plan-vs-bench.sh MODEL MEMORY [ROUNDS]: MODEL from "sluice synth" (made with 8 layers of the 397B if it does not
# exist: 30 GB), MEMORY as for --memory; plan and bench alternate ROUNDS (3) times, so that a busy machine burdens both,
# and the median of the rounds' ratios decides. What both saw of the machine is printed on stderr: where it differs, other
# work was in the way and the comparison means nothing. SLUICE names the program (build/sluice). Prints CSV; the status is 1 if a prediction is off.
set -eu
[ $# -ge 2 ] || { sed -n '4,6s/^# //p' "$0" >&2; exit 2; }
model=$1 memory=$2 rounds=${3:-3}
sluice=${SLUICE:-$(dirname "$0")/../build/sluice}
context=2048 prompt=256
command -v jq >/dev/null || { echo "jq is missing" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM

[ -d "$model" ] || "$sluice" synth --geometry qwen3.5-397b --layers 8 --vocab 32768 "$model" >&2
round=1
while [ "$round" -le "$rounds" ]; do
    echo "round $round of $rounds" >&2
    "$sluice" plan "$model" --memory "$memory" --context $context --prompt $prompt --json >>"$scratch/plan"
    "$sluice" bench "$model" --memory "$memory" --context $context --prefill $prompt --repetitions 1 --json >>"$scratch/bench"
    jq -rn --slurpfile plan "$scratch/plan" --slurpfile bench "$scratch/bench" --arg load "$(cut -d ' ' -f 1 /proc/loadavg)" '
        "disk \($plan[-1].machine.disk_gb_per_second) and \($bench[-1].disk_gb_per_second.median) GB/s, trunk and head " +
        "\($plan[-1].machine | .trunk_ms + .head_ms) and \($bench[-1].results[] | select(.kind == "decode") | .trunk_ms + .head_ms) ms, load \($load)"' >&2
    round=$((round + 1))
done

echo "what,memory,predicted_tokens_s,measured_tokens_s,ratio,verdict"
jq -rn --arg memory "$memory" --slurpfile plan "$scratch/plan" --slurpfile bench "$scratch/bench" '
    def median: sort | .[(length - 1) / 2 | floor];
    def row(what; predicted; measured): ([predicted, measured] | transpose | map(.[0] / .[1]) | median) as $ratio
        | [what, $memory, (predicted | median), (measured | median), $ratio, (if $ratio > 0.75 and $ratio < 1.25 then "good" else "OFF" end)];
    def measured(kind): [$bench[] | .results[] | select(.kind == kind) | .tokens_per_second.median];
    row("decode"; [$plan[].decode[0].tokens_per_second_uniform]; measured("decode")),
    row("prefill"; [$plan[].prefill.tokens_per_second]; measured("prefill"))
    | map(if type == "number" then . * 1000 | round / 1000 else . end) | @csv' | tr -d '"' | tee "$scratch/result"
! grep -q OFF "$scratch/result"
