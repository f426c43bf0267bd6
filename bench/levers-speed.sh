#!/bin/bash
# Speed of every setting of a list for 'sluice report', streaming, in turns: CSV of medians, with what was read.
#
#   bench/levers-speed.sh SLUICE MODEL CONFIG CACHE [ROUNDS [PREFIX]]    PREFIX: what a run is started with, such as "chrt -r 1"
set -euo pipefail
sluice=$1 model=$2 config=$3 cache=$4 rounds=${5:-5} prefix=${6:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
n=$(jq '.settings | length' "$config")
for round in $(seq "$rounds"); do
    for i in $(seq 0 $((n - 1))); do
        mapfile -t flags < <(jq -r ".settings[$i].flags // [] | .[]" "$config")
        # shellcheck disable=SC2086
        $prefix "$sluice" bench "$model" --threads 1 --cache "$cache" --prefill 128 --decode 96 --warmup 32 --repetitions 1 "${flags[@]}" --json \
            2>/dev/null >>"$scratch/$i"
    done
done
echo "setting,decode_tokens_s,decode_min,decode_max,prefill_tokens_s,experts_per_token,mb_read_a_token,hit_rate,rounds"
for i in $(seq 0 $((n - 1))); do
    jq -rs --arg name "$(jq -r ".settings[$i].name" "$config")" '
        def median: sort | .[length / 2 | floor];
        def of(kind; field): [.[].results[] | select(.kind == kind) | field];
        [$name, (of("decode"; .tokens_per_second.median) | median, min, max), (of("prefill"; .tokens_per_second.median) | median),
         (of("decode"; .experts_per_token) | median), (of("decode"; .bytes_read_per_token) | median / 1e6), (of("decode"; .hit_rate) | median), length] | @csv' "$scratch/$i"
done
