# `make` alone says what there is.
.DEFAULT_GOAL := help
.PHONY: help tools build image demo test chaos chaos-audit fuzz e2e-kind lint fmt-check clippy doc deny shellcheck actionlint hadolint yamllint advisories bench-accuracy bench-attribution bench-correlation bench-footprint lab-up lab-down clean

CACHE := $(or $(VSO_PROBER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vso-prober)
# The linters, in a folder that is named after what it holds.
LINTERS := $(CACHE)/linters-$(firstword $(shell cat .ci/requirements.txt .ci/actionlint/go.mod | cksum))
PYTHON ?= python3
# What took longest of the last end-to-end trials.
SLOWEST := $(or $(CARGO_TARGET_DIR),target)/tmp/slowest.txt

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

tools: ## Build and install the parts of the lab (minutes the first time, nothing after); VAULT=1 for HashiCorp Vault too
	@VAULT=$(VAULT) e2e/tools/install.sh

build: ## Build the prober for release
	cargo build --release --locked --bin vso-prober

# BINARY=target/debug/vso-prober makes one of another build.
BINARY ?= target/release/vso-prober

image: $(if $(filter target/release/%,$(BINARY)),build) ## Make an image, as an archive: target/image/vso-prober.tar (no container engine needed)
	@cargo run --quiet --locked --package e2e --bin image -- '$(BINARY)'

demo: ## See the prober at work on real parts, in a lab of its own
	@e2e/tools/install.sh demo
	cargo build --locked --workspace --bin vso-prober --bin standin --bin demo
	@target/debug/demo

test: tools ## Run every test, those against the lab too, and say which took longest
	@rm -f '$(SLOWEST)'
	@cargo test --workspace --locked --no-fail-fast; code=$$?; cat '$(SLOWEST)' 2>/dev/null; exit $$code

# CHAOS_SEED=17 has one storm again; with VSO_BIN and VSO_CRDS they befall the real operator.
chaos: tools ## Have 300 storms of random faults, and see that nobody is blamed who had none (an hour)
	cargo build --locked --workspace --bins
	CHAOS_SEEDS=$(or $(CHAOS_SEEDS),300) cargo test --locked --workspace --test suites chaos::

# CHAOS_AUDIT_SEED=17 has one storm again.
chaos-audit: tools ## Rotate an audit log, and kill its reader, in 1000 storms, and see that no line is lost silently; restart the operator 100 times and have it sync 10,000 times, and see that nobody is suspected
	CHAOS_AUDIT_STORMS=$(or $(CHAOS_AUDIT_STORMS),1000) cargo test --release --locked --lib tail::trials::
	cargo build --locked --workspace --bins
	AUDIT_RESTARTS=$(or $(AUDIT_RESTARTS),100) AUDIT_REPLACEMENTS=$(or $(AUDIT_REPLACEMENTS),20) AUDIT_SYNCS=$(or $(AUDIT_SYNCS),10000) cargo test --locked --workspace --test suites audit_innocent::

fuzz: ## Give every parser of what comes from outside a million odd inputs (FUZZ_CASES; some minutes)
	FUZZ_CASES=$(or $(FUZZ_CASES),1000000) cargo test --profile fuzz --locked --test fuzz
	PROPTEST_CASES=$(or $(FUZZ_CASES),1000000) cargo test --profile fuzz --locked --lib whatever

e2e-kind: ## Try it all in a cluster of kind's: needs docker, kind, helm, kubectl (VSO_VERSION chooses the operator's)
	e2e/kind/run.sh

lint: fmt-check shellcheck actionlint hadolint yamllint deny clippy doc ## Run every check that is not a test

fmt-check: ## Check the format
	cargo fmt --all --check

clippy: ## Check the code
	cargo clippy --workspace --all-targets --locked -- -D warnings

doc: ## Check the documentation
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

deny: | $(LINTERS) ## Check licences, bans and sources of what the tree pulls in
	PATH='$(LINTERS)/bin':"$$PATH" cargo deny --locked check --hide-inclusion-graph licenses bans sources

advisories: | $(LINTERS) ## Check what the tree pulls in against known advisories
	PATH='$(LINTERS)/bin':"$$PATH" cargo deny --locked check --hide-inclusion-graph advisories

shellcheck: | $(LINTERS) ## Check the scripts
	'$(LINTERS)/bin/shellcheck' .ci/run $$(git ls-files '*.sh')

actionlint: | $(LINTERS) ## Check the workflows
	PATH='$(LINTERS)/bin':"$$PATH" actionlint

hadolint: | $(LINTERS) ## Check the Dockerfile
	'$(LINTERS)/bin/hadolint' Dockerfile

yamllint: | $(LINTERS) ## Check the YAML, but for the chart's templates
	PYTHONPATH='$(LINTERS)' $(PYTHON) -m yamllint --strict .

# ACCURACY='--link 60,120,250 --busy 2' puts a way of so many milliseconds between prober and API server, and keeps two cores busy.
bench-accuracy: tools build ## Compare what the prober measures with the API server's own audit log
	cargo build --locked --workspace --bins
	@target/debug/bench-accuracy $(ACCURACY)

bench-correlation: tools ## See what latencies move with, over 120 runs each, on a machine at rest: with a slow Vault, in a crowd, at rest, and far from the API server (an hour)
	cargo build --locked --workspace --bins
	CORRELATION_AT_REST=1 CORRELATION_RUNS=120 cargo test --locked --workspace --test suites moves_with:: -- --nocapture

bench-attribution: tools ## Lay the stages of steps beside the audit logs, and insist on milliseconds: for a machine at rest
	cargo build --locked --workspace --bins
	ATTRIBUTION_AT_REST=1 cargo test --locked --workspace --test suites exactly -- --nocapture

# FOOTPRINT='--only-audit --gigabytes 10' measures what an audit log costs alone.
bench-footprint: tools build ## Measure what the prober costs: memory, CPU, under load, many canaries at once, and audit logs
	cargo build --locked --workspace --bins
	@target/debug/bench-footprint $(FOOTPRINT)

lab-up: tools ## Start a lab: a real control plane, Vault, PostgreSQL and the operator, on loopback
	@cargo build --quiet --locked --package e2e --bins
	@cargo run --quiet --locked --package e2e --bin lab -- up

lab-down: ## Stop it and remove it
	@cargo run --quiet --locked --package e2e --bin lab -- down

clean: ## Remove what was built here; the cache stays
	cargo clean

# `demo`, the benches and `lab-up` build all binaries first: the lab looks for the stand-in beside its own.

# As a whole or not at all, so that an interrupted installation is none.
$(LINTERS):
	@mkdir -p '$(CACHE)'
	@rm -rf '$@.new'
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
		--only-binary :all: --require-hashes --target '$@.new' --requirement .ci/requirements.txt
	go -C .ci/actionlint build -trimpath -o '$@.new/bin/actionlint' github.com/rhysd/actionlint/cmd/actionlint
	@mv '$@.new' '$@'
