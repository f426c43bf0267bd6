#!/bin/sh
# Configures (once, or when asked for other options) and builds one preset: tools/build.sh PRESET [cmake options...]
# SLUICE_TARGET names one target instead of everything.
set -eu
cd "$(dirname "$0")/.."
preset=${1:?usage: tools/build.sh PRESET [cmake options...]}
shift
case $preset in release) dir=build ;; *) dir=build/$preset ;; esac
if [ ! -f "$dir/build.ninja" ] || [ $# -gt 0 ]; then
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    cmake --preset "$preset" "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
cmake --build "$dir" ${SLUICE_TARGET:+--target "$SLUICE_TARGET"}
