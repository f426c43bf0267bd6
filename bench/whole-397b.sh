#!/bin/bash
# The whole Qwen3.5-397B-A17B, all 60 layers with random weights, on a machine with a large disk: plan, synth, bench.
# bench/whole-397b.sh SLUICE WORKDIR [SECONDS [SETTING...]]    needs about 235 GB of disk, root for the caps, and prints tables
#
# Shrinks by itself: fewer layers where the disk is smaller, fewer settings where the time runs short. With the names of
# settings it measures only those; a model that lies in WORKDIR already is used as it is.
set -u
sluice=$1 work=$2 limit=${3:-540}
shift $(($# < 3 ? $# : 3))
wanted=" $* "
out=${OUT:-$work}
mkdir -p "$work" "$out"
left() { echo $((limit - SECONDS)); }
say() { printf '\n=== %s (%d s)\n' "$*" $SECONDS; }

layer=3790 trunk=4500 # MB: a layer with its trunk; embeddings, head and slack
free=$(df -m --output=avail "$work" | tail -1)
layers=$(((free - trunk) / layer))
[ "$layers" -gt 60 ] && layers=60
[ "$layers" -lt 60 ] && layers=$((layers / 4 * 4))
say "machine: $(nproc) cores, $(df -h --output=avail "$work" | tail -1) of disk: $layers of 60 layers"
grep -m1 'model name' /proc/cpuinfo
uname -r
"$sluice" version

if [ ! -f "$work/q397/config.json" ]; then
    for memory in 24GiB 48GiB; do
        say "plan for $memory"
        timeout 60 "$sluice" plan --geometry qwen3.5-397b --layers "$layers" --memory "$memory" --disk "$work" 2>&1 | head -40
    done
    say "synth"
    "$sluice" synth --geometry qwen3.5-397b --layers "$layers" --vocab 248320 --experts q4 --trunk q8 "$work/q397" 2>&1 | tail -2 || exit 1
fi
du -sh "$work/q397"

measure() { # NAME NEED_SECONDS ARGUMENTS: skipped when less time is left
    local name=$1 need=$2
    shift 2
    [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || return
    [ "$(left)" -lt "$need" ] && { echo "*** SKIPPED: $name: only $(left) s left"; return; }
    say "$name: sluice bench $*"
    timeout "$(left)" "$sluice" bench "$work/q397" --int8 "$@" --csv >"$out/$name.csv" 2>"$out/$name.err" || tail -3 "$out/$name.err"
    cat "$out/$name.csv"
}
measure cap24-k10 60 --cap 24GiB --memory 23GiB --decode 6 --warmup 6 --repetitions 2 --prefill 0
measure cap24-k4 40 --cap 24GiB --memory 23GiB --k 4 --decode 6 --warmup 6 --repetitions 2 --prefill 0
measure cap48-k10 60 --cap 48GiB --memory 46GiB --decode 6 --warmup 8 --repetitions 2 --prefill 0
measure cap48-k4 40 --cap 48GiB --memory 46GiB --k 4 --decode 6 --warmup 8 --repetitions 2 --prefill 0
# A prompt first, which reads the whole bank; everything after it is in memory. --memory is said because some
# virtual machines show their memory only once it is touched.
measure memory-k10 180 --memory 300GiB --decode 16 --warmup 1 --repetitions 1 --prefill 512
measure memory-k4 160 --memory 300GiB --k 4 --decode 16 --warmup 1 --repetitions 1 --prefill 512
measure cap24-prefill 110 --cap 24GiB --memory 23GiB --decode 0 --warmup 1 --prefill 512 --repetitions 1
measure cap48-prefill 110 --cap 48GiB --memory 46GiB --decode 0 --warmup 1 --prefill 512 --repetitions 1
say "done"
