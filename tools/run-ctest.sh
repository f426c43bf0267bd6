#!/bin/sh
# Runs ctest in a build directory and ends with a list of everything that was skipped: whole tests (status 77) and single
# cases inside tests that passed (lines with "SKIPPED"). tools/run-ctest.sh DIR [ctest options...]
set -eu
dir=${1:?usage: tools/run-ctest.sh DIR [ctest options...]}
shift
status=0
# One more at a time than there are processors: some tests wait for a disk or a client.
jobs=${SLUICE_JOBS:-$(($(nproc 2>/dev/null || echo 2) + 1))}
summary=$dir/Testing/summary.log
mkdir -p "$dir/Testing"
ctest --test-dir "$dir" --output-on-failure --no-tests=error --no-label-summary -j "$jobs" --output-log "$summary" "$@" || status=$?
# The log of the tests' output has the single cases and the reasons; the summary knows which tests were skipped as a whole.
[ -f "$dir/Testing/Temporary/LastTest.log" ] || exit $status
awk '
    function add(line) { if (!seen[line]++) list[++n] = line }
    FNR == 1 { log_number++ }
    log_number == 1 && /^[0-9]+\/[0-9]+ Test: / { test = $3; output = 0 }
    log_number == 1 && /^Output:/ { output = 1 }
    log_number == 1 && /^<end of output>/ { output = 0 }
    log_number == 1 && output && /SKIPPED/ && !/SKIPPED TEST\(S\)|test\(s\), listed below/ { sub(/^[ \t]+/, ""); add(test ": " $0); any[test] = 1 }
    log_number == 2 && /\(Skipped\)$/ { if (!any[$3]) add($3 ": skipped as a whole, giving no reason") }
    log_number == 2 && /\((Not Run|Disabled)\)$/ { add($3 ": did not run") }
    END {
        if (!n) { print "Nothing was skipped."; exit }
        printf "\n*** SKIPPED, and therefore not tested here:\n"
        for (i = 1; i <= n; i++) print "***   " list[i]
    }' "$dir/Testing/Temporary/LastTest.log" "$summary"
exit $status
