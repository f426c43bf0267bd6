#!/bin/sh
# Runs every fuzz target of a build directory over its committed corpus and then for some seconds with new inputs.
# tools/fuzz-smoke.sh DIR [SECONDS]. A crashing input is left in DIR/crashes; new inputs are kept in DIR/found.
set -eu
cd "$(dirname "$0")/.."
dir=${1:?usage: tools/fuzz-smoke.sh DIR [SECONDS]}
seconds=${2:-10}
crashes=$dir/crashes
mkdir -p "$crashes"
count=0
failed=
for target in "$dir"/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    name=$(basename "$target")
    corpus=tests/fuzz/corpus/${name#fuzz_}
    if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
        echo "$name: no seed corpus in $corpus" >&2
        failed="$failed $name"
        continue
    fi
    found=$dir/found/${name#fuzz_}
    mkdir -p "$found"
    count=$((count + 1))
    log=$crashes/$name.log
    if "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$crashes/$name-" "$found" "$corpus" >"$log" 2>&1; then
        echo "$name: $(awk '/number_of_executed_units/ { print $2 }' "$log") inputs in ${seconds} s, no crash"
    else
        echo "$name: FAILED; the end of $log:" >&2
        tail -n 40 "$log" >&2
        failed="$failed $name"
    fi
done
if [ -n "$failed" ]; then
    echo "fuzzing failed:$failed" >&2
    exit 1
fi
if [ "$count" -eq 0 ]; then
    echo "no fuzz targets in $dir: build them with tools/build.sh fuzz" >&2
    exit 1
fi
