#!/bin/bash
# Everything that CI runs, in the order in which it fails soonest. SLUICE_QUICK=1 stops after the release build's tests.
# Needs tools/install-deps.sh to have run; "make test" does both.
set -euo pipefail
cd "$(dirname "$0")/.."
started=$SECONDS
skipped=()
stage= # when it began
took() { [ -z "$stage" ] || printf -- '--- that took %d s\n' $((SECONDS - stage)); }
step() {
    took
    stage=$SECONDS
    printf '\n=== %s (%d s)\n' "$*" $((SECONDS - started))
}
skip() {
    printf '*** SKIPPED: %s\n' "$*"
    skipped+=("$*")
}
have() { command -v "$1" >/dev/null 2>&1; }

step "checks of the sources"
tools/check.sh --sources

step "release build, warnings are errors"
tools/build.sh release -DSLUICE_WERROR=ON
tools/check-symbols build/libsluice.a
step "release tests"
tools/run-ctest.sh build

if [ "${SLUICE_QUICK:-0}" = 1 ]; then
    took
    printf '\n=== quick run passed in %d s; sanitizers, fuzzing and aarch64 were left out\n' $((SECONDS - started))
    exit 0
fi

step "address and undefined behaviour sanitizers"
tools/build.sh asan
UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_stack_use_after_return=1 tools/run-ctest.sh build/asan -LE 'tools|release'

step "thread sanitizer, on the tests that use threads"
SLUICE_TARGET=threaded_tests tools/build.sh tsan
# gcc 12's thread sanitizer cannot place its shadow when the kernel randomises addresses by more than 28 bits.
norandom=()
if setarch -R true 2>/dev/null; then norandom=(setarch -R); fi
export SLUICE_SOAK_SECONDS=${SLUICE_SOAK_SECONDS:-3} SLUICE_SOAK_CLIENTS=${SLUICE_SOAK_CLIENTS:-24}
TSAN_OPTIONS=halt_on_error=1 "${norandom[@]}" tools/run-ctest.sh build/tsan -L threads -LE release

step "fuzzing smoke run"
if have clang; then
    tools/build.sh fuzz
    SLUICE_FUZZ_SEED=${SLUICE_FUZZ_SEED:-1} tools/fuzz-smoke.sh build/fuzz "${SLUICE_FUZZ_SECONDS:-1}"
else
    skip "fuzzing: no clang"
fi

step "kernels on aarch64"
if [ "$(uname -m)" = aarch64 ]; then
    echo "this is aarch64: the release tests ran them"
elif have aarch64-linux-gnu-gcc && { have qemu-aarch64-static || have qemu-aarch64; }; then
    tools/build.sh aarch64
    # Plain C and the checker itself were tested above; "auto" is the best of these.
    tools/run-ctest.sh build/aarch64 -E '_(scalar|auto|self_test)$'
else
    skip "kernels on aarch64: no aarch64-linux-gnu-gcc or no qemu-aarch64"
fi

took
printf '\n=== all passed in %d s\n' $((SECONDS - started))
for what in ${skipped[@]+"${skipped[@]}"}; do printf '*** SKIPPED: %s\n' "$what"; done
