#!/bin/bash
# Runs every fuzz target of a build directory over its committed corpus and then for some seconds with new inputs,
# as many at a time as there are processors. tools/fuzz-smoke.sh DIR [SECONDS]. A crashing input is left in
# DIR/crashes; new inputs are kept in DIR/found. SLUICE_FUZZ_SEED=N makes the new inputs the same every time.
set -eu
cd "$(dirname "$0")/.."
dir=${1:?usage: tools/fuzz-smoke.sh DIR [SECONDS]}
seconds=${2:-10}
crashes=$dir/crashes
rm -rf "$crashes"
mkdir -p "$crashes"

fuzz() { # TARGET: one line if it holds, else the end of its log and a file TARGET.failed
    local target=$1 name corpus found log
    name=$(basename "$target")
    corpus=tests/fuzz/corpus/${name#fuzz_}
    found=$dir/found/${name#fuzz_}
    log=$crashes/$name.log
    if [ -z "$(ls "$corpus" 2>/dev/null)" ]; then
        echo "$name: no seed corpus in $corpus" >&2
        touch "$crashes/$name.failed"
        return
    fi
    mkdir -p "$found"
    if "$target" -seed="${SLUICE_FUZZ_SEED:-0}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="$crashes/$name-" "$found" "$corpus" >"$log" 2>&1; then
        echo "$name: $(awk '/number_of_executed_units/ { print $2 }' "$log") inputs in ${seconds} s, no crash"
    else
        { echo "$name: FAILED; the end of $log:" && tail -n 40 "$log"; } >&2
        touch "$crashes/$name.failed"
    fi
}

count=0
for target in "$dir"/tests/fuzz/fuzz_*; do
    [ -f "$target" ] && [ -x "$target" ] || continue
    count=$((count + 1))
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
    fuzz "$target" &
done
wait
if [ -n "$(ls "$crashes" | grep '\.failed$')" ]; then
    echo "fuzzing failed: $(cd "$crashes" && echo *.failed | sed "s,\.failed,,g")" >&2
    exit 1
fi
if [ "$count" -eq 0 ]; then
    echo "no fuzz targets in $dir: build them with tools/build.sh fuzz" >&2
    exit 1
fi
