#!/bin/sh
# The first step of CI: rules that a machine can check. tools/check.sh [--sources]
# --sources leaves out the symbols, which need a build.
set -u
cd "$(dirname "$0")/.." || exit 2
failed=0
run() { "$@" || failed=1; }
run tools/check-includes
run tools/check-sizes
run tools/check-text
run tools/check-format
if [ "${1:-}" != --sources ]; then
    if [ -f build/libsluice.a ]; then
        run tools/check-symbols build/libsluice.a
    else
        echo "*** SKIPPED: check-symbols: no build/libsluice.a, build first"
    fi
fi
[ "$failed" -eq 0 ] || echo "check: FAILED" >&2
exit "$failed"
