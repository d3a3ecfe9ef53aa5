# The habits of the project. `make help` lists them.
#
# Stamps in .venv keep a second run quick: a step runs again only when what it depends on changed.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Absolute, so that a rule may change directory. One target directory serves every cargo call.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
export PIP_DISABLE_PIP_VERSION_CHECK := 1

RUST_SOURCES := $(shell find rust -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock

# For `make demo`: somebody's own cameras (addresses), or somebody's files (a folder).
CAMERAS ?=
FOOTAGE ?=
# For `make fuzz`: of each target.
FUZZ_SECONDS ?= 10
# For `make test-python`, `make soak` and `make bench`.
ARGS ?=
# How many processes of pytest run the tests, a file each. Most of them wait for cameras and nodes.
WORKERS ?= 2

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- build -------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.built ## create .venv with all tools and build the Rust core into it

$(VENV)/.created: scripts/preflight.sh
	@python="$$(scripts/preflight.sh)"; \
	echo "[1/3] creating $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo "[2/3] installing Python packages"
	@$(BIN)/python -m pip install --progress-bar on --group dev
	@touch $@

# maturin installs the package editable: Python sources are used from python/ as they are.
$(VENV)/.built: $(VENV)/.installed $(RUST_SOURCES)
	@echo "[3/3] building the Rust core (the first time takes a few minutes)"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked
	@touch $@

.PHONY: wheel
wheel: $(VENV)/.installed ## build the wheel into dist/
	$(BIN)/maturin build --release --locked --out dist

.PHONY: protos
protos: $(VENV)/.built ## generate Python code from protos/
	$(BIN)/python scripts/generate_protos.py

# --- use ---------------------------------------------------------------------

.PHONY: demo
demo: venv ## record simulated cameras and show it (CAMERAS="rtsp://… …" or FOOTAGE=folder: yours)
	@$(BIN)/nvr demo $(foreach c,$(CAMERAS),--camera '$(c)') $(if $(FOOTAGE),--footage '$(FOOTAGE)')

# --- check -------------------------------------------------------------------

.PHONY: test
test: lint test-rust fuzz test-python ## every check and test that this machine can run

.PHONY: lint
lint: lint-rust lint-python lint-protos lint-docs ## formatting, linters, types, contracts, links

.PHONY: lint-rust
lint-rust:
	@scripts/preflight.sh >/dev/null
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-python
lint-python: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest nvr._core
	$(BIN)/lint-imports

.PHONY: lint-protos
lint-protos: venv
	$(BIN)/buf lint
	$(BIN)/python scripts/generate_protos.py --check
	@tag="$$(git describe --tags --abbrev=0 2>/dev/null || true)"; \
	if [ -n "$$tag" ]; then \
		echo "buf breaking against $$tag"; $(BIN)/buf breaking --against ".git#tag=$$tag"; \
	else \
		echo "no release tag yet: nothing to be compatible with"; \
	fi

.PHONY: lint-docs
lint-docs: $(VENV)/.created
	$(BIN)/python scripts/check_links.py

# nvr-py is the extension module: it links only inside a Python process, and pytest covers it.
.PHONY: test-rust
test-rust:
	@scripts/preflight.sh >/dev/null
	cargo test --workspace --exclude nvr-py --locked

.PHONY: fuzz
fuzz: ## fuzz every parser for FUZZ_SECONDS (10) seconds each
	@scripts/preflight.sh >/dev/null
	FUZZ_SEED=1 scripts/fuzz.sh $(FUZZ_SECONDS)

.PHONY: test-python
test-python: venv ## pytest alone (ARGS="-k clip -x")
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

.PHONY: test-deps
test-deps: ## install the Debian packages and Rust components that tests need
	scripts/install_test_deps.sh

.PHONY: soak
soak: venv ## what takes longer than `make test` may: more examples, crashes, cuts, the last release beside
	NVR_SIM_SEEDS=5000 HYPOTHESIS_PROFILE=slow PROPTEST_CASES=10000 cargo test --workspace --exclude nvr-py --locked --release
	scripts/fuzz.sh 600
	scripts/build_previous.sh
	NVR_SOAK=1 HYPOTHESIS_PROFILE=slow $(BIN)/pytest --timeout=7200 $(ARGS)

.PHONY: bench
bench: venv ## measure beside peers and write benches/RESULTS.md (ARGS="--only clip")
	$(BIN)/python -m benches.run $(ARGS)

# --- keep --------------------------------------------------------------------

.PHONY: fmt
fmt: $(VENV)/.installed ## format Rust and Python sources
	cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: clean
clean: ## remove everything that was built
	rm -rf $(VENV) target dist python/nvr/*.so .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
