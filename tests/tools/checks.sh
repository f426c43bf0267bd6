#!/bin/bash
# Each check of tools/ must fail when it should: this makes a small tree that passes, breaks one rule at a time, and demands
# a failure that names the culprit.
set -u
tools=$SLUICE_SOURCE_DIR/tools
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
failures=0
cases=0

reset() {
    rm -rf "${root:?}"/*
    mkdir -p "$root"/{tools,include/sluice,src/base,src/os,src/io,src/kernels/x86,programs/server}
    printf 'base:\nos: base\nio: base os\nkernels: base os/cpu.h\n<liburing.h>: io\n<immintrin.h>: kernels/x86\n' >"$root/tools/dependencies.txt"
    printf '# nothing\n' >"$root/tools/ratchet.txt"
    printf '/* Public. */\nint sluice_one(void);\n' >"$root/include/sluice/one.h"
    printf '/* Base. */\n#include <stdio.h>\n' >"$root/src/base/base.h"
    printf '/* Os. */\n#include "base/base.h"\n' >"$root/src/os/os.h"
    printf '/* Cpu. */\n' >"$root/src/os/cpu.h"
    printf '/* Io. */\n#include "os/os.h"\n#include "sluice/one.h"\n\n#include <liburing.h>\n' >"$root/src/io/io.c"
    printf '/* Vector. */\n#include "os/cpu.h"\n\n#include <immintrin.h>\n' >"$root/src/kernels/x86/vector.c"
    printf '/* Program. */\n#include "cli.h"\n#include "sluice/one.h"\n' >"$root/programs/main.c"
    printf '/* Shared by the programs. */\n' >"$root/programs/cli.h"
    printf '/* Server. */\n#include "cli.h"\n' >"$root/programs/server/server.c"
}

passes() { # passes WHAT COMMAND...
    local what=$1 output
    shift
    cases=$((cases + 1))
    if ! output=$("$@" 2>&1); then
        printf 'FAIL: %s: should pass, but:\n%s\n' "$what" "$output"
        failures=$((failures + 1))
    fi
}
refuses() { # refuses WHAT EXPECTED COMMAND...
    local what=$1 expected=$2 output
    shift 2
    cases=$((cases + 1))
    if output=$("$@" 2>&1); then
        printf 'FAIL: %s: should have failed\n' "$what"
        failures=$((failures + 1))
    elif [[ $output != *"$expected"* ]]; then
        printf 'FAIL: %s: failed without saying "%s":\n%s\n' "$what" "$expected" "$output"
        failures=$((failures + 1))
    fi
}
lines() { for ((i = 0; i < $1; i++)); do echo "    int a$i;"; done; }

includes() { "$tools/check-includes" "$root"; }
reset
passes "the tree as it is" includes
echo '#include "os/os.h"' >>"$root/src/base/base.h"
refuses "an arrow that points up" 'src/base/base.h:3: room base may not include "os/os.h"' includes
reset
echo '#include "os/os.h"' >>"$root/src/kernels/x86/vector.c"
refuses "another header where one is allowed" 'may not include "os/os.h"' includes
reset
echo '#include "base/base.h"' >>"$root/programs/main.c"
refuses "a program that looks inside" 'programs/main.c:4: "base/base.h"' includes
reset
echo '#include "../src/base/base.h"' >>"$root/programs/main.c"
refuses "a program that climbs inside" 'not a path with ..' includes
reset
echo '#include "base/base.h"' >>"$root/include/sluice/one.h"
refuses "a public header that needs a private one" 'include/sluice/one.h:3' includes
reset
echo '#include "cpu.h"' >>"$root/src/os/os.h"
refuses "a header without its room" 'write "os/cpu.h"' includes
reset
echo '#include "os/none.h"' >>"$root/src/os/os.h"
refuses "a header that does not exist" 'there is no src/os/none.h' includes
reset
echo ' #  include <liburing.h>' >>"$root/src/os/os.h"
refuses "a foreign library outside its room" 'src/os/os.h:3: <liburing.h> belongs to io' includes
reset
mkdir "$root/src/kernels/arm"
printf '/* x */\n#include <immintrin.h>\n' >"$root/src/kernels/arm/vector.c"
refuses "intrinsics of the other architecture" 'kernels/arm/vector.c:2' includes
reset
mkdir "$root/src/attic"
printf '/* x */\n' >"$root/src/attic/old.c"
refuses "a room that is not in the table" 'room attic is not in' includes
reset
echo 'low: high' >>"$root/tools/dependencies.txt"
refuses "a table whose arrow points up" 'room low may not use high' includes
reset
echo '#include HEADER' >>"$root/src/os/os.h"
refuses "an include that cannot be read" 'cannot be checked' includes

sizes() { "$tools/check-sizes" "$root"; }
reset
passes "no large file" sizes
{ printf '/* x */\nint sluice_long(void)\n{\n'; lines 98; echo '}'; } >"$root/src/base/long.c"
passes "a function of exactly 100 lines" sizes
{ printf '/* x */\n__attribute__((format(printf, 1, 2))) static int\nlong_name(const char *f,\n    int b)\n{\n'; lines 99; echo '}'; } >"$root/src/base/long.c"
refuses "a function of 101 lines" 'src/base/long.c:long_name: a function of 101 lines' sizes
echo 'function 101 src/base/long.c:long_name' >>"$root/tools/ratchet.txt"
passes "an exception of the same size" sizes
{ printf '/* x */\nint long_name(void)\n{\n'; lines 100; echo '}'; } >"$root/src/base/long.c"
refuses "an exception that grew" '102 lines, 101 allowed' sizes
refuses "an exception that grew is not tightened away" '102 lines, 101 allowed' "$tools/check-sizes" --tighten "$root"
refuses "and stays refused" '102 lines, 101 allowed' sizes
echo 'function 120 src/base/gone.c:gone' >>"$root/tools/ratchet.txt"
refuses "an exception of what is gone" 'src/base/gone.c:gone does not exist' sizes
reset
{ printf '/* x */\n'; lines 600; } >"$root/src/base/big.c"
refuses "a file of 601 lines" 'src/base/big.c: a file of 601 lines' sizes
echo 'file 700 src/base/big.c' >>"$root/tools/ratchet.txt"
refuses "an exception that shrank" 'is now 601 lines, the entry says 700' sizes
passes "tightening" "$tools/check-sizes" --tighten "$root"
passes "a tightened ratchet" sizes
grep -qx 'file 601 src/base/big.c' "$root/tools/ratchet.txt" || { echo "FAIL: tightening did not write 601"; failures=$((failures + 1)); }

text() { "$tools/check-text" "$root"; }
reset
passes "clean text" text
printf 'int a;\n' >"$root/src/base/none.c"
refuses "no comment at the top" 'src/base/none.c:1: the first line must be a comment' text
reset
printf '\tint a;\n' >>"$root/src/base/base.h"
refuses "a tab" 'src/base/base.h:3: a tab' text
reset
printf 'int a; \n' >>"$root/src/base/base.h"
refuses "a blank at the end" 'src/base/base.h:3' text
reset
printf '/* %s */\n' "$(printf 'ä%.0s' {1..94})" >>"$root/src/base/base.h"
passes "100 columns of two bytes each" text
printf '/* %s */\n' "$(printf 'a%.0s' {1..95})" >>"$root/src/base/base.h"
refuses "101 columns" '101 columns' text
reset
printf 'see /%s/main/x\n' work >"$root/notes.md"
refuses "the path of a machine" 'notes.md:1' text

format() { "$tools/check-format" "$root"; }
reset
if "$tools/check-format" "$root" | grep SKIPPED; then
    :
else
    cp "$SLUICE_SOURCE_DIR/.clang-format" "$root/.clang-format"
    passes "formatted sources" format
    printf 'int  a ;\n' >>"$root/src/base/base.h"
    refuses "unformatted sources" 'src/base/base.h:3' format
    passes "formatting them" "$tools/check-format" --fix "$root"
    passes "formatted again" format
fi

printf 'int sluice_a(void) { return 1; }\nstatic int b(void) { return 2; }\nint sluice_c(void) { return b(); }\n' >"$root/a.c"
${CC:-cc} -c "$root/a.c" -o "$root/a.o" && ar rcs "$root/a.a" "$root/a.o"
passes "prefixed symbols" "$tools/check-symbols" "$root/a.a"
printf 'int stray_object = 3;\n' >>"$root/a.c"
${CC:-cc} -c "$root/a.c" -o "$root/a.o" && ar rcs "$root/a.a" "$root/a.o"
refuses "an object without the prefix" 'exports stray_object' "$tools/check-symbols" "$root/a.a"
refuses "no archive" 'cannot read' "$tools/check-symbols" "$root/none.a"

echo "$cases cases, $failures failures"
[ "$failures" -eq 0 ]
