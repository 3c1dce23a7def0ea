# What people and CI run. Each target ends non-zero if anything it ran failed.

CARGO ?= cargo
PYTHON ?= python3
# Tests of the Python side start this binary.
BINARY = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/anp-proxy

.PHONY: help demo build release install profile operations-vm wheel test test-rust pebble test-python lint bench promises guard fuzz

help:
	@echo "make demo       build and run gateway, receiver and a sample app; prints what to try"
	@echo "make test       every test, Rust and Python"
	@echo "make pebble     install pebble, without which ACME is not tested; make test does it"
	@echo "make install    anp-proxy for this user, optimised by a profile of its own load, as by cargo install"
	@echo "make release    the same binary, as target/profiled/anp-proxy"
	@echo "make profile    write that profile anew; needs llvm-profdata"
	@echo "make wheel      the Python package, optimised, in python/dist"
	@echo "make lint       format, clippy, documentation, licences of dependencies"
	@echo "make bench      us beside our peers on this machine"
	@echo "make promises   times, memory and long runs beside their limits"
	@echo "make operations-vm  docs/operations.md command by command, on three virtual machines of Debian (11 minutes)"
	@echo "make fuzz       each fuzz target for FUZZ_SECONDS (12); needs nightly Rust and cargo-fuzz"
	@echo "make guard      instruction counts of codec, session and whole requests against the recorded ones"

# Optimised a little: a tunnel worth trying after a short build.
demo:
	$(CARGO) run --locked --profile demo -p anp-proxy -- demo

build:
	$(CARGO) build --locked -p anp-proxy

test: test-rust test-python

# The ACME authority that a test orders certificates from. Debian and Ubuntu have it.
pebble:
	@command -v pebble >/dev/null || apt-get install --yes pebble >/dev/null 2>&1 \
	  || echo "SKIPPED, ACME IS NOT TESTED: pebble cannot be installed (as root: apt-get install pebble)"

test-rust: pebble
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  set -ex; \
	  $(CARGO) nextest run --workspace --locked --no-fail-fast; \
	  $(CARGO) test --workspace --locked --doc; \
	else \
	  set -ex; \
	  $(CARGO) test --workspace --locked; \
	fi

# Laid out by a profile of its own load: a sixth less CPU a request (docs/performance.md). With a target
# named, as the profile was made: it is part of the names of functions.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
PROFILE = target/anp-proxy.profdata
# What changed since is built as without it, and nobody needs to hear of it.
PROFILED = RUSTFLAGS="$(strip $(RUSTFLAGS) -Cprofile-use=$(CURDIR)/$(PROFILE) -Cllvm-args=-no-pgo-warn-mismatch)" $(CARGO)

$(PROFILE): bench/anp-proxy.profdata.gz
	@mkdir -p $(@D)
	gzip -dc $< > $@

.PHONY: profile-is-current
profile-is-current:
	@! command -v sha256sum >/dev/null || sha256sum --quiet --check bench/anp-proxy.profdata.sha256 \
	  || echo "the profile is older than these, and little of it is used: the binary will be slower (make profile)"

release: $(PROFILE) profile-is-current
	$(PROFILED) build --release --locked -p anp-proxy --target $(HOST) --target-dir target/profiled
	@cp target/profiled/$(HOST)/release/anp-proxy target/profiled/anp-proxy

install: $(PROFILE) profile-is-current
	$(PROFILED) install --locked --path crates/anp-proxy --target $(HOST) --target-dir target/profiled

profile: .venv/installed
	.venv/bin/python bench/profile

# As root; says what is missing where it cannot.
operations-vm:
	$(CARGO) build --release --locked -p anp-proxy
	bench/operations_vm

wheel: .venv/installed
	.venv/bin/maturin build --release --locked --manifest-path python/Cargo.toml --out python/dist

# The wheel that the tests install: quick to build.
TEST_WHEELS = python/target/test-wheels

test-python: build .venv/installed
	rm -rf $(TEST_WHEELS)
	$(CARGO) build --locked --workspace --examples
	.venv/bin/maturin build --profile dev --locked --manifest-path python/Cargo.toml --out $(TEST_WHEELS)
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall $(TEST_WHEELS)/*.whl
	ANP_PROXY_BIN="$(abspath $(BINARY))" TEST_WHEELS="$(abspath $(TEST_WHEELS))" .venv/bin/python -m pytest python/tests vectors

.venv/installed: python/requirements-test.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r python/requirements-test.txt
	touch $@

lint:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path python/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --manifest-path python/Cargo.toml --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	  set -x; $(CARGO) deny --locked check bans licenses sources; \
	else \
	  echo "skipped: licences of dependencies (cargo install cargo-deny --locked)"; \
	fi

bench:
	bench/run

promises:
	bench/promises

guard:
	bench/guard

FUZZ_SECONDS ?= 12
FUZZ_TARGETS = decode round_trip reassembly session_ops hostile_peer

fuzz:
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then \
	  set -ex; \
	  for target in $(FUZZ_TARGETS); do \
	    $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -verbosity=0; \
	  done; \
	else \
	  echo "skipped: fuzzing (nightly Rust and cargo install cargo-fuzz --locked)"; \
	fi
