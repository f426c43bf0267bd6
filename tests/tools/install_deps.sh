#!/bin/bash
# tools/install-deps.sh on systems that this one is not: with a PATH of stand-ins it must install what is missing on Debian,
# print the right line elsewhere, be silent when nothing is missing, and fail only if sluice cannot be built.
set -u
script=$SLUICE_SOURCE_DIR/tools/install-deps.sh
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failures=0
expect() { # expect WHAT STATUS PATTERN, of the last run
    # shellcheck disable=SC2053
    if [ "$status" -ne "$2" ] || [[ $output != $3 ]]; then
        printf 'FAIL: %s: status %d (expected %d), output:\n%s\n' "$1" "$status" "$2" "$output"
        failures=$((failures + 1))
    fi
}
fake() { # fake NAME [BODY]
    printf '#!/bin/sh\n%s\n' "${2:-exit 0}" >"$root/$1"
    chmod +x "$root/$1"
}
reset() {
    rm -rf "${root:?}"/*
    for tool in sh env cat test sleep; do ln -s "$(command -v $tool)" "$root/$tool"; done
    fake uname 'case $1 in -s) echo Linux ;; -m) echo riscv64 ;; esac'
    fake id 'echo 0'
    for tool in gcc make cmake ninja clang clang-format-14 curl git jq setarch; do fake $tool; done
    fake pkg-config
}
run() {
    output=$(PATH=$root sh "$script" "$@" 2>&1)
    status=$?
}

reset
run test
expect "nothing is missing" 0 ""
fake pkg-config '[ "$2" != jansson ] && [ "$2" != libutf8proc ]'
rm "$root/ninja"
run build
expect "an unknown system" 1 "*missing (names as in Debian): ninja-build libjansson-dev libutf8proc-dev*cannot be built without*"
fake dnf
run build
expect "Fedora" 1 "*sudo dnf install ninja-build jansson-devel utf8proc-devel*"
rm "$root/dnf"
fake pacman
run build
expect "Arch" 1 "*sudo pacman -S --needed ninja jansson libutf8proc*"

reset
rm "$root/jq" "$root/clang"
fake brew
run test
expect "only test tools are missing" 0 "*brew install jq llvm*going on without*skipped*"
run build
expect "test tools are not asked for to build" 0 ""

reset
rm "$root/ninja"
fake apt-cache
fake apt-get "case \"\$*\" in *update*) [ -e $root/updated ] || { : >$root/updated; exit 1; } ;; *install*ninja-build*) $(command -v ln) -s $root/sh $root/ninja ;; *) exit 1 ;; esac"
run build
expect "Debian, where the first update fails" 0 "*installing ninja-build*"
[ -e "$root/ninja" ] || { echo "FAIL: ninja was not installed"; failures=$((failures + 1)); }
run build
expect "Debian, where nothing is missing any more" 0 ""
rm "$root/ninja"
fake id 'echo 1000'
run build
expect "Debian without root and sudo" 1 "*neither root nor sudo: apt-get install ninja-build*"

echo "$failures failures"
[ "$failures" -eq 0 ]
