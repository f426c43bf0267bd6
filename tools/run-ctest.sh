#!/bin/sh
# Runs ctest in a build directory and ends with a list of everything that was skipped: whole tests (status 77) and single
# cases inside tests that passed (lines with "SKIPPED"). tools/run-ctest.sh DIR [ctest options...]
set -eu
dir=${1:?usage: tools/run-ctest.sh DIR [ctest options...]}
shift
status=0
ctest --test-dir "$dir" --output-on-failure --no-tests=error -j "${SLUICE_JOBS:-2}" "$@" || status=$?
awk '
    /^[0-9]+\/[0-9]+ (Test|Testing): / { test = $NF }
    /SKIPPED/ && test != "" { sub(/^[ \t]+/, ""); if (!seen[test, $0]++) { list[++n] = test ": " $0; any[test] = 1 } }
    /^Test (Skipped|Not Run)/ && test != "" && !any[test] { list[++n] = test ": skipped as a whole, giving no reason" }
    END {
        if (!n) { print "Nothing was skipped."; exit }
        printf "\n*** SKIPPED, and therefore not tested here:\n"
        for (i = 1; i <= n; i++) print "***   " list[i]
    }' "$dir/Testing/Temporary/LastTest.log"
exit $status
