# make demo       install what is missing, build, and show a chain at work
# make demo-containers  the same with each NF in a container
# make test       build everything and run every test
# make test-lab   what takes its time or a virtual machine: a thousand edits and five hundred killed NFs under traffic, a minute of
#                 soak, control groups, cores on several NUMA nodes, network cards, a container engine whose parts are killed, Debian
#                 packages
# make test-nic   `pci` ports on emulated network cards with their own drivers, in a virtual machine; a part of test-lab
# make soak       ten minutes at full rate with a killed NF every second, scaling, and flow entries that come and end; SECONDS=3600
#                 for an hour
# make test-tsan  the manager's own tests of several threads under ThreadSanitizer
# make fuzz       fuzz parser, formatter, checker and manager; SECONDS=600 for ten minutes each instead of one
# make bench      all benchmarks; bench-quick: a two-minute part of them
# make lint       formatting, clippy, documentation
# make install    onvmc, onvm-run and onvm-nf to $(DESTDIR)$(PREFIX)/bin, in release form, manual pages, completions, a unit file
# make deb        the Debian packages onvm and onvm-dev in target/debian
# make setup      only install the system's packages that building and testing need
# make setup-lab  also what test-lab and test-nic need: QEMU and a kernel
# make sdk        what NFs in C and Python are built with, in release form, to target/sdk: include, lib, wheel
# make clean      remove everything that was built

CARGO ?= cargo
PREFIX ?= /usr/local
PACKAGES = -p onvmc-cli -p onvm-run -p stdlib-nfs
# The language server outlives a defect in one answer; the manager and NFs end with one.
UNWIND = --config 'profile.release.panic="unwind"'
SECONDS ?= 60
# Rounds of a second.
SOAK = $(CARGO) test --workspace --test operation -- --exact --nocapture soak::nothing_is_left_behind
BUILD = $(CARGO) build $(PACKAGES) --bins

.PHONY: demo demo-containers test test-lab test-nic test-tsan soak fuzz bench bench-quick lint docs release install sdk deb setup \
        setup-bench setup-lab clean

demo:
	@sh .ci/setup build
	@$(BUILD)
	@sh .ci/demo

demo-containers:
	@sh .ci/setup build containers
	@$(BUILD)
	@sh .ci/static
	@sh .ci/demo-containers

# Builds the programs, too, since integration tests need them.
test: setup
	sh .ci/static
	$(CARGO) test --workspace

# Built as for `make test`: other features would have everything built anew.
test-lab: setup-lab
	sh .ci/static
	$(CARGO) test --workspace --no-run
	ONVM_TEST_ROUNDS=500 $(CARGO) test --workspace --test operation -- --exact --nocapture apply::many_edits_and_losses_leave_nothing_behind
	ONVM_TEST_ROUNDS=60 $(SOAK)
	$(CARGO) test --workspace --test containers -- --ignored --test-threads 1
	PROFILE=debug FAST=yes sh .ci/deb
	$(CARGO) test --workspace --test guests --test nic --test packages -- --ignored --test-threads 1

test-nic: setup-lab
	$(CARGO) test --workspace --no-run
	$(CARGO) test --workspace --test nic -- --ignored --test-threads 1

soak: SECONDS = 600
soak: setup
	$(CARGO) test --workspace --no-run
	ONVM_TEST_ROUNDS=$(SECONDS) $(SOAK)

# The standard library is not built with it, so that its own channels, by which tests are reported, are left out; and one test at a
# time, since it does not know that memory files of former tests are gone. Loom's models and the jail are not tested so.
test-tsan: setup
	TSAN_OPTIONS="suppressions=$(CURDIR)/.ci/tsan" RUSTC_BOOTSTRAP=1 \
	RUSTFLAGS='-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer' \
	$(CARGO) test -p onvm-run --lib --target x86_64-unknown-linux-gnu -- --test-threads 1 --skip model --skip jail

# What it finds is in tests/fuzz/artifacts.
fuzz:
	@sh .ci/setup build fuzz
	@sh .ci/fuzz $(SECONDS)

bench: setup-bench
	$(CARGO) build --release --workspace --bins
	$(CARGO) run --release -p onvm-benches --bin onvm-bench

bench-quick: setup-bench
	$(CARGO) build --release --workspace --bins
	$(CARGO) run --release -p onvm-benches --bin onvm-bench -- --quick

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Writes the pages of diagnostics, then executes every example and follows every link; a part of `make test`.
docs:
	UPDATE_DOCS=1 $(CARGO) test -p onvmc --lib docs

release:
	@sh .ci/setup build
	sh .ci/static --release
	$(CARGO) build --release -p onvm-run --bins
	$(CARGO) build --release -p onvmc-cli --bins $(UNWIND)

# `make release && sudo make install` where only the user has Rust.
install:
	@if command -v $(CARGO) >/dev/null; then $(MAKE) release; fi
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" sh .ci/install

# Debian packages: target/debian/*.deb.
deb:
	@sh .ci/setup build deb
	@$(MAKE) release
	$(CARGO) build --release -p nflib-c
	@sh .ci/deb

sdk:
	@sh .ci/setup build sdk
	$(CARGO) build --release -p nflib-c
	@target=$$(sh .ci/target) && sh .ci/sdk "$$target/release" "$$target/sdk" && echo "$$target/sdk"

setup:
	@sh .ci/setup build test

setup-bench:
	@sh .ci/setup build test bench

setup-lab:
	@sh .ci/setup build test lab

clean:
	$(CARGO) clean
	rm -rf target/demo
