#!/bin/bash
# tools/run-ctest.sh must fail with a failing test even if that test also skipped something, must list what was skipped in
# tests that passed, and must not pass when there are no tests at all.
set -u
run=$SLUICE_SOURCE_DIR/tools/run-ctest.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() {
    printf 'FAIL: %s\n%s\n' "$1" "$output"
    exit 1
}
make_test() { # make_test NAME SHELL-COMMAND
    printf 'add_test(%s "sh" "-c" "%s")\nset_tests_properties(%s PROPERTIES SKIP_RETURN_CODE 77)\n' "$1" "$2" "$1" >>"$dir/CTestTestfile.cmake"
}

output=$("$run" "$dir" 2>&1) && fail "no tests at all, and it passed"
make_test good "echo fine"
output=$("$run" "$dir" 2>&1) || fail "a good test, and it failed"
[[ $output == *"Nothing was skipped."* ]] || fail "nothing was skipped, and it does not say so"
make_test partly "echo '[  SKIPPED ] case_without_weights'"
make_test wholly "echo 'SKIPPED: no reference data'; exit 77"
make_test silent "exit 77"
output=$("$run" "$dir" 2>&1) || fail "skipped tests, and it failed"
[[ $output == *"***   partly: [  SKIPPED ] case_without_weights"* ]] || fail "a skipped case is not listed"
[[ $output == *"***   wholly: SKIPPED: no reference data"* ]] || fail "a skipped test is not listed with its reason"
[[ $output == *"***   silent: skipped as a whole"* ]] || fail "a silently skipped test is not listed"
make_test bad "echo '[  SKIPPED ] one case'; exit 1"
output=$("$run" "$dir" 2>&1) && fail "a failing test that skipped something, and it passed"
echo "ok"
