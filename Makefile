# The map of habits: `make` lists them. Each target sets up what it needs on a fresh machine with
# Rust and Python 3.11 or newer.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := target/setup
DENY_VERSION := 0.20.2
NEXTEST_VERSION := 0.9.143
# The binaries that the local world runs.
BINARIES := --workspace --bins

export CARGO_TERM_COLOR ?= auto


.PHONY: help setup build run world story test test-rust test-python check fmt clippy deny infra \
	simulate mutations bench-bounds bench-footprint bench-judge bench-storm kill-matrix clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-18s %s\n", $$1, $$2}'

setup: $(STAMPS)/python $(STAMPS)/nextest ## install what is missing: Python tools in .venv, cargo-nextest

$(STAMPS)/python: tests/requirements.txt
	@mkdir -p $(STAMPS)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	echo "installing Python tools in $(VENV)"
	$(PY) -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

$(STAMPS)/nextest:
	@mkdir -p $(STAMPS)
	cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version $(NEXTEST_VERSION)
	touch $@

$(STAMPS)/deny:
	@mkdir -p $(STAMPS)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug cargo-deny --version $(DENY_VERSION)
	touch $@

build: ## build everything that the local world runs (a first build takes some minutes)
	@cargo build $(BINARIES)

run: $(STAMPS)/python build ## the whole story on this machine, no AWS account; KEEP=1 leaves the world up
	@target/debug/world story $(if $(KEEP),--keep)

story: run

world: $(STAMPS)/python build ## the local world without the story, to try a model of your own
	@target/debug/world up

test: setup build ## all tests, end to end included
	@.ci/steps test-rust test-python

test-rust: setup build
	@cargo nextest run --workspace

test-python: $(STAMPS)/python
	@for folder in infra tests/sagemaker-local/container tests/sagemaker-local/conformance tests/end-to-end tests/end-to-end/projects tests/end-to-end/newcomer; do
		echo "== $$folder"
		$(PY) -W error -m unittest discover -s $$folder -p 'test_*.py'
	done

check: setup ## format, lint, licences, template: what a review would refuse
	@.ci/steps fmt clippy deny infra

fmt:
	@cargo fmt --all --check

clippy:
	@cargo clippy --workspace --all-targets -- -D warnings

deny: $(STAMPS)/deny
	@cargo deny --log-level error check licenses bans sources

infra: $(STAMPS)/python
	@$(PY) infra/check.py

simulate: ## core under faults on a virtual clock: SEEDS=n stories from FIRST=n on, or SEED=n alone with its log
	@cargo build --quiet --profile simulation -p tidegate-simulation
	target/simulation/simulate $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0) $(if $(SECONDS_AT_MOST),--seconds $(SECONDS_AT_MOST)))

mutations: ## deliberate bugs in core, and which promise of the simulation catches each
	@cargo build --quiet --profile simulation -p tidegate-simulation --features mutations --target-dir target/mutations
	target/mutations/simulation/simulate --mutations --seeds $(or $(SEEDS),6000)

kill-matrix: $(STAMPS)/python build ## each call of the main story by each fault, processes killed; ARGS="--only CreateModel", "--quick"
	@target/debug/world faults $(ARGS)

bench-bounds: build ## a pipeline of 10,000 versions and 100,000 entries beside a new one: calls and bytes (VERSIONS, ENTRIES)
	@VERSIONS=$(or $(VERSIONS),10000) ENTRIES=$(or $(ENTRIES),100000) cargo nextest run --workspace --test bounds -E 'test(long_past)' --no-capture

bench-footprint: $(STAMPS)/python ## size, start time and memory of the release binaries
	@$(PY) tests/bench/footprint.py --build

bench-judge: ## the judge of canaries beside its peers: table, target/bench/judge.json and .svg; ARGS="--only NAME"
	@cargo run --release --package tidegate-bench --bin judge -- --json target/bench/judge.json --svg target/bench/judge.svg $(ARGS)

bench-storm: $(STAMPS)/python build ## 10,000 events at once and 1,000 on one pipeline, beside the same one by one: table, target/bench/storm.json; ARGS="--events 500 --groups 10"
	@target/debug/world storm $(ARGS)

clean: ## remove what was built and installed here
	@cargo clean
	rm -rf $(VENV)
