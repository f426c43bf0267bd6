# A thin front to CMake and tools/: everything here can be done without it.
# PRESET=asan|tsan|fuzz|aarch64 builds another preset; SLUICE_QUICK=1 shortens "make test" to checks and release.
PRESET ?= release
prefix ?= /usr/local

.PHONY: all build deps demo test check bench fuzz format install clean help
all: build

build:
	@tools/build.sh $(PRESET)

demo:
	@tools/install-deps.sh build
	@SLUICE_TARGET=sluice tools/build.sh release
	@tools/demo.sh build/sluice

test:
	@tools/install-deps.sh test
	@tools/test.sh

check:
	@tools/check.sh

bench: build
	@tools/bench.sh build

fuzz:
	@tools/build.sh fuzz
	@tools/fuzz-smoke.sh build/fuzz $(or $(SECONDS_EACH),60)

format:
	@tools/check-format --fix

# The prefix is compiled in: the library looks for Nano below it.
install:
	@tools/build.sh release -DCMAKE_INSTALL_PREFIX="$(prefix)"
	@cmake --install build

clean:
	@rm -rf build

deps:
	@tools/install-deps.sh test

help:
	@echo "make [build]  build/sluice          make test     every check and test, as CI runs them"
	@echo "make demo     run the bundled model make check    includes, symbols, sizes, formatting"
	@echo "make bench    measure, as CSV       make fuzz     libFuzzer, SECONDS_EACH=60"
	@echo "make install  prefix=/usr/local     make format   clang-format everything"
