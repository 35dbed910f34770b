# `make help` lists the targets. Needs: GNU make, Python >= 3.10 with venv and headers, Rust >= 1.89, a C compiler.
PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(VENV)/bin
WHEELS := build/wheels
MANIFEST := core/Cargo.toml

# A stamp lives where its result lives: deleting .venv or build/ is enough to redo the work.
TOOLS := $(VENV)/.tools
WHEEL := $(WHEELS)/.built
INSTALLED := $(VENV)/.installed

RUST_SOURCES := $(shell find core -path core/target -prune -o \( -name '*.rs' -o -name '*.toml' -o -name Cargo.lock \) -print 2>/dev/null)
PYTHON_SOURCES := $(shell find python -name '*.py' -o -name 'py.typed' 2>/dev/null)
SOURCES := $(RUST_SOURCES) $(PYTHON_SOURCES) $(wildcard include/* build_ffi.py setup.py pyproject.toml MANIFEST.in)
LINTED := $(wildcard python tests examples benchmarks ci build_ffi.py setup.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-rust test-python lint format header wheel audit test-c differential fuzz conformance bench goals clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## triage 243 support tickets: routing, loops, a human decision between processes
	$(BIN)/python examples/triage/triage.py --work build/demo

test: test-rust test-python test-c ## all tests: Rust, Python (on the installed wheel), C

test-rust: check-cargo
	$(CARGO) test --workspace --manifest-path $(MANIFEST)

test-python: $(INSTALLED)
	$(BIN)/python -m pytest tests/python

lint: $(TOOLS) check-cargo ## formatting, clippy, ruff, mypy --strict
	$(CARGO) fmt --manifest-path $(MANIFEST) --all -- --check
	$(CARGO) clippy --manifest-path $(MANIFEST) --workspace --all-targets -- -D warnings
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy --strict python/the_edge_agent

format: $(TOOLS) check-cargo ## rewrites Rust and Python sources in the project's format
	$(CARGO) fmt --manifest-path $(MANIFEST) --all
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

header: check-cargo ## regenerates include/tea.h and include/tea.symbols
	TEA_WRITE_HEADER=1 $(CARGO) test --manifest-path $(MANIFEST) -p tea --test header

wheel: $(WHEEL) ## builds the wheel into build/wheels

audit: $(WHEEL) ## checks tag, run path, symbols and contents of the wheel
	$(BIN)/python ci/verify_wheel.py $(WHEELS)/*.whl

test-c: check-cargo ## builds and runs the C programs: plain, static, under valgrind and sanitizers
	ci/c_hosts.sh

differential: $(TOOLS) check-cargo ## compares the YAML reader with PyYAML, templates with Jinja2
	ci/differential.sh $(BIN)/python

fuzz: check-cargo ## fuzzes the readers of YAML, templates and JSON, each for a minute
	ci/fuzz.sh

conformance: $(INSTALLED) ## runs the shared conformance cases of the finished areas
	ci/conformance.sh $(BIN)/python

bench: $(INSTALLED) ## speed and memory as ratios to a bare Python loop, and to peers if installed
	$(BIN)/python benchmarks/bench.py

PEERS := build/peers
SHARED := $(if $(TEA_SHARED),$(TEA_SHARED),../shared)
ROUNDS ?= 5
GOAL_WORKLOADS := w01_chain w02_large_state w03_loop w05_stream w07_startup w08_checkpoint

$(PEERS)/.installed: ci/requirements-peers.txt $(TOOLS)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r ci/requirements-peers.txt
	@touch $@

goals: $(INSTALLED) $(PEERS)/.installed ## measures the goals of docs/benchmarks.md against limits and peers
	rm -f build/goals.jsonl
	$(PEERS)/bin/python $(SHARED)/bench/run.py --out build/goals.jsonl --rounds $(ROUNDS) \
	  --target new=$(CURDIR)/$(BIN)/python --peers $(CURDIR)/$(PEERS)/bin/python \
	  --only new,limit,pocketflow,langgraph $(GOAL_WORKLOADS)
	$(PEERS)/bin/python $(SHARED)/bench/accept.py build/goals.jsonl --issue spine

clean: ## removes everything that was built
	rm -rf build $(VENV) core/target python/*.egg-info

.PHONY: check-cargo
check-cargo:
	@command -v $(CARGO) >/dev/null || { echo "make: $(CARGO) is not on PATH; install Rust 1.89 or newer from https://rustup.rs" >&2; exit 1; }

$(TOOLS): ci/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "make: $(PYTHON) is older than Python 3.10; try make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r ci/requirements.txt
	@touch $@

# build/lib is removed first: setuptools would pack files of an older build that no longer exist.
$(WHEEL): $(TOOLS) $(SOURCES) | check-cargo
	rm -rf $(WHEELS) build/lib* build/bdist* build/temp*
	$(BIN)/python -m pip wheel . --quiet --no-deps --no-build-isolation -w $(WHEELS)
	@touch $@

$(INSTALLED): $(WHEEL)
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall $(WHEELS)/*.whl
	@touch $@
