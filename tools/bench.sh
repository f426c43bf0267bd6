#!/bin/sh
# Runs every benchmark of a build directory and writes one CSV each to bench/results/, headed by commit and machine.
# tools/bench.sh [DIR]
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build}
out=bench/results
mkdir -p "$out"
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
machine=$(awk -F': ' '/^model name/ { print $2; exit }' /proc/cpuinfo 2>/dev/null || uname -m)
count=0
for program in "$dir"/bench/bench_*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=$(basename "$program")
    echo "$name -> $out/${name#bench_}.csv"
    {
        echo "# commit $commit, $machine, $(nproc 2>/dev/null || echo ?) threads"
        "$program"
    } >"$out/${name#bench_}.csv.part"
    mv "$out/${name#bench_}.csv.part" "$out/${name#bench_}.csv"
    count=$((count + 1))
done
[ "$count" -gt 0 ] || echo "no benchmarks in $dir/bench yet"
