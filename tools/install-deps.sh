#!/bin/sh
# Installs the system packages that sluice needs and that are missing; says nothing when none is.
#
#   tools/install-deps.sh [build|test]     build: what "make" and "make demo" need. test (default): what "make test" needs too
#
# On Debian and Ubuntu it calls apt-get, through sudo when not root. Elsewhere it prints the package manager's line, goes on
# if only test tools are missing, and fails if sluice cannot be built. doc/dependencies.md says what each package is for.
set -eu
set_of=${1:-test}
case $set_of in build | test) ;; *) echo "usage: tools/install-deps.sh [build|test]" >&2; exit 2 ;; esac

have_program() { command -v "$1" >/dev/null 2>&1; }
have_library() { have_program pkg-config && pkg-config --exists "$1"; }
have_cc() { have_program cc || have_program gcc; }
# The fuzzers need clang and its run-time libraries, which Debian packages apart.
have_fuzzer() {
    have_program clang && echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n ? 0 : 0; }' |
        clang -fsanitize=fuzzer,address -x c - -o /dev/null 2>/dev/null
}
have_qemu() { have_program qemu-aarch64-static || have_program qemu-aarch64; }

needed=
missing=
need() { # need SET PACKAGE CHECK...
    in_set=$1 package=$2
    shift 2
    [ "$in_set" = build ] || [ "$set_of" = test ] || return 0
    "$@" && return 0
    missing="$missing $package"
    [ "$in_set" = test ] || needed="$needed $package"
}
find_missing() {
    needed=
    missing=
    need build gcc have_cc
    need build libc6-dev test -e /usr/include/stdio.h
    need build make have_program make
    need build cmake have_program cmake
    need build ninja-build have_program ninja
    need build pkg-config have_program pkg-config
    need build libjansson-dev have_library jansson
    need build libpcre2-dev have_library libpcre2-8
    need build libutf8proc-dev have_library libutf8proc
    need build libedit-dev have_library libedit
    need build libmicrohttpd-dev have_library libmicrohttpd
    need build libcurl4-openssl-dev have_library libcurl
    need build zlib1g-dev have_library zlib
    [ "$(uname -s)" != Linux ] || need build liburing-dev have_library liburing
    need test libcmocka-dev have_library cmocka
    need test git have_program git
    need test jq have_program jq
    need test curl have_program curl
    need test clang-format-14 have_program clang-format-14
    need test clang have_program clang
    need test libclang-rt-14-dev have_fuzzer
    [ "$(uname -s)" != Linux ] || need test util-linux have_program setarch
    if [ "$(uname -m)" = x86_64 ] && [ "$(uname -s)" = Linux ]; then
        need test gcc-aarch64-linux-gnu have_program aarch64-linux-gnu-gcc
        need test libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
        need test qemu-user-static have_qemu
    fi
}

# Debian's name of a package on another system; empty: it has none, or it is part of another.
name_on() {
    case $1:$2 in
    dnf:libc6-dev | pacman:libc6-dev | brew:libc6-dev | brew:gcc | brew:make) ;;
    zypper:libc6-dev) echo glibc-devel ;;
    *:libc6-dev-arm64-cross) [ "$1" != pacman ] || echo aarch64-linux-gnu-glibc ;;
    dnf:gcc-aarch64-linux-gnu | pacman:gcc-aarch64-linux-gnu)
        [ "$1" = pacman ] && echo aarch64-linux-gnu-gcc || echo gcc-aarch64-linux-gnu ;;
    zypper:gcc-aarch64-linux-gnu) echo cross-aarch64-gcc13 ;;
    pacman:ninja-build | brew:ninja-build | zypper:ninja-build) echo ninja ;;
    pacman:pkg-config | dnf:pkg-config | zypper:pkg-config) echo pkgconf ;;
    dnf:libjansson-dev) echo jansson-devel ;;
    zypper:libjansson-dev) echo libjansson-devel ;;
    *:libjansson-dev) echo jansson ;;
    dnf:libpcre2-dev | zypper:libpcre2-dev) echo pcre2-devel ;;
    *:libpcre2-dev) echo pcre2 ;;
    dnf:libutf8proc-dev | zypper:libutf8proc-dev) echo utf8proc-devel ;;
    pacman:libutf8proc-dev) echo libutf8proc ;;
    *:libutf8proc-dev) echo utf8proc ;;
    dnf:libedit-dev | zypper:libedit-dev) echo libedit-devel ;;
    *:libedit-dev) echo libedit ;;
    dnf:libmicrohttpd-dev | zypper:libmicrohttpd-dev) echo libmicrohttpd-devel ;;
    *:libmicrohttpd-dev) echo libmicrohttpd ;;
    dnf:libcurl4-openssl-dev | zypper:libcurl4-openssl-dev) echo libcurl-devel ;;
    *:libcurl4-openssl-dev) echo curl ;;
    dnf:zlib1g-dev | zypper:zlib1g-dev) echo zlib-devel ;;
    *:zlib1g-dev) echo zlib ;;
    dnf:liburing-dev | zypper:liburing-dev) echo liburing-devel ;;
    *:liburing-dev) echo liburing ;;
    dnf:libcmocka-dev | zypper:libcmocka-dev) echo libcmocka-devel ;;
    *:libcmocka-dev) echo cmocka ;;
    dnf:clang-format-14) echo clang-tools-extra ;;
    zypper:clang-format-14 | pacman:clang-format-14) echo clang ;;
    brew:clang-format-14) echo clang-format ;;
    dnf:libclang-rt-14-dev | pacman:libclang-rt-14-dev) echo compiler-rt ;;
    brew:clang | brew:libclang-rt-14-dev) echo llvm ;;
    zypper:libclang-rt-14-dev) ;;
    pacman:qemu-user-static | dnf:qemu-user-static) echo qemu-user-static ;;
    zypper:qemu-user-static) echo qemu-linux-user ;;
    *) echo "$2" ;;
    esac
}

install_apt() {
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        if ! have_program sudo; then
            echo "install-deps: missing, and neither root nor sudo: apt-get install$missing" >&2
            [ -z "$needed" ] || exit 1
            return 0
        fi
        sudo=sudo
    fi
    echo "install-deps: installing$missing"
    $sudo apt-get -qq update || { sleep 5; $sudo apt-get -qq update; } || echo "install-deps: apt-get update failed; trying with the lists there are" >&2
    # A release that lacks a test tool under this name (clang 14 is Debian 12's) must not stop the rest.
    known=
    for package in $missing; do
        if apt-cache show "$package" >/dev/null 2>&1; then
            known="$known $package"
        else
            echo "install-deps: this release has no package $package" >&2
        fi
    done
    [ -n "$known" ] || return 0
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $known >/dev/null
}

print_line() { # print_line MANAGER COMMAND
    names=
    for package in $missing; do
        name=$(name_on "$1" "$package")
        case " $names " in *" $name "*) ;; *) names="$names${name:+ $name}" ;; esac
    done
    echo "install-deps: missing; install with: $2$names" >&2
}

find_missing
[ -n "$missing" ] || exit 0
if have_program apt-get; then
    install_apt
    find_missing
elif have_program dnf; then print_line dnf "sudo dnf install"
elif have_program pacman; then print_line pacman "sudo pacman -S --needed"
elif have_program zypper; then print_line zypper "sudo zypper install"
elif have_program brew; then print_line brew "brew install"
else echo "install-deps: missing (names as in Debian):$missing" >&2
fi
if [ -n "$needed" ]; then
    echo "install-deps: sluice cannot be built without:$needed" >&2
    exit 1
fi
[ -z "$missing" ] || echo "install-deps: going on without:$missing (some checks will be skipped, loudly)" >&2
