#!/bin/sh
# Eight layers of the 397B with random weights, under caps that leave most of them on the disk: is decoding and reading a
# prompt as fast as the disk allows?
#
# bench/stream-8-layers.sh MODEL [BENCH OPTION...]: MODEL from "sluice synth" (made if it does not exist: 30 GB). Runs under
# caps of 6 and 3 GiB (root), two threads, exact and int8 kernels; prints CSV. SLUICE names the program (build/sluice),
# PREFIX goes before it (such as "chrt -r 1", so that other work on the machine takes less of it).
# Exits with 1 if any of them is below 0.8 of the floor.
set -eu
[ $# -ge 1 ] || { sed -n '5,7s/^# //p' "$0" >&2; exit 2; }
model=$1
shift
sluice=${SLUICE:-$(dirname "$0")/../build/sluice}
[ -d "$model" ] || "$sluice" synth --geometry qwen3.5-397b --layers 8 --vocab 32768 "$model" >&2
for cap in 6GiB 3GiB; do
    for kernels in exact int8; do
        # shellcheck disable=SC2086
        ${PREFIX:-} "$sluice" bench "$model" --cap $cap --threads 2 --$kernels "$@" --csv --quiet |
            sed "1s/^/setting,/; 2,\$s/^/cap-$cap-$kernels,/"
    done
done | awk -F, '
    NR == 1 { for (i = 1; i <= NF; i++) if ($i == "floor_fraction") column = i; print; next }
    $1 == "setting" { next }
    { print; if ($column < 0.8) slow = 1 }
    END { exit (slow || NR < 2) }'
