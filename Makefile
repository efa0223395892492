# The project's verbs. `make` alone builds .venv with the native engine in it.
VENV := .venv
BIN := $(VENV)/bin
export CARGO_TARGET_DIR ?= $(HOME)/.cache/pancar-target

ENGINE := relay/engine
ENGINE_SOURCES := $(shell find $(ENGINE)/src $(ENGINE)/vendor -name '*.rs') $(ENGINE)/Cargo.toml $(ENGINE)/Cargo.lock
PROTOS := $(shell find proto -name '*.proto')
FUZZ_SECONDS ?= 60
PIP = $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_WORKERS ?= 2

.PHONY: all engine peers cluster demo test test-machine test-cluster lint format bench bench-scale fuzz proto crds
all: $(VENV)/.engine

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "Building $(VENV): first the Python packages, then the engine in Rust; a few minutes on a new machine"
	test -x $(BIN)/python || python3 -m venv $(VENV)
	@# Without isolation, so that the engine is compiled once, by the setuptools-rust that builds it later on too.
	$(PIP) 'setuptools>=80' setuptools-rust
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

# Only what changed: the editable install finds the library beside the sources.
$(VENV)/.engine: $(VENV)/.installed $(ENGINE_SOURCES)
	$(BIN)/python -W ignore -c 'import setuptools; setuptools.setup()' --quiet build_rust --inplace
	touch $@

engine: $(VENV)/.engine

demo: all
	$(BIN)/pancar demo

peers:
	@tests/install-peers.sh

cluster: all peers
	@tests/install-peers.sh cluster
	PYTHONPATH=tests/support $(BIN)/python -m rigs.cluster.build

# One after the other: two cores are soon full, and much of it is about time.
test:
	@$(MAKE) --no-print-directory test-machine
	@$(MAKE) --no-print-directory test-cluster

test-machine: all peers
	cd $(ENGINE) && cargo test --quiet --locked --no-default-features
	$(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) --ignore tests/cluster

# The first test starts the cluster, an outage is waited out, and a slow machine takes four times as long.
test-cluster: cluster
	$(BIN)/python -m pytest tests/cluster -o faulthandler_timeout=1200

lint: all
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python tools/sizes.py
	$(BIN)/mypy operator relay proto cli tests tools
	$(BIN)/python -m mypy.stubtest pancar_relay._engine
	$(BIN)/lint-imports --no-logo
	cd $(ENGINE) && cargo fmt --check
	cd $(ENGINE) && cargo clippy --quiet --locked --all-targets -- --deny warnings
	cd $(ENGINE) && cargo clippy --quiet --locked --all-targets --features python -- --deny warnings
	cd $(ENGINE)/fuzz && cargo clippy --quiet --locked --no-default-features -- --deny warnings
	$(BIN)/python tools/generate.py --check $(PROTOS)
	$(BIN)/python tools/crds.py --check
	$(BIN)/python tools/licences.py
	@# Lock files and settings that name where packages are downloaded from stay out; Cargo.lock does not.
	! git ls-files | grep -E '(^|/)(uv\.lock|poetry\.lock|package-lock\.json|pip\.conf|\.npmrc)$$'

format: all
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .
	cd $(ENGINE) && cargo fmt

bench: all
	$(BIN)/pancar bench

# A quarter of an hour: a city's cameras on a real API server.
bench-scale: cluster
	PYTHONPATH=tests/support $(BIN)/python -m rigs.scale

fuzz: all
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(ENGINE)/fuzz/run.sh
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python tests/fuzz/manifests.py
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python tests/fuzz/sdp.py

proto: all
	$(BIN)/python tools/generate.py $(PROTOS)

crds: all
	$(BIN)/python tools/crds.py
