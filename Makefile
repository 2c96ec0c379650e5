PY := .venv/bin/python
# Test processes. Two servers' worth of work each: more processes than cores only slow one another down.
WORKERS ?= 2
BENCHMARKS ?= ledger http detection analysis optim population time_to_target suggest quality pruning verdict curvature precondition sparse wide_theory
FAULTS ?= 20

.DEFAULT_GOAL := help
.PHONY: help setup services demo test test-all check bench faults gpu format

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv and install everything, at the versions in constraints.txt
	@scripts/setup

services: setup # see that PostgreSQL, Redis and Chromium can be had; not a target one runs by hand
	@$(PY) scripts/services.py ensure

demo: setup ## the main job: serve embedded, tune examples/digits.yaml, print the best configuration
	@$(PY) examples/demo.py

test: setup services check ## check, then every test but the slow ones, with real PostgreSQL, Redis and Chromium
	$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not gpu" --ignore=tests/architecture

test-all: setup services check ## check, then every test but those for a GPU
	$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not gpu" --ignore=tests/architecture

check: setup ## ruff, mypy strict, import contracts, and the house rules in tests/architecture
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q tests/architecture

bench: setup ## each benchmark in turn (BENCHMARKS="ledger ..."): what is promised, measured beside its peers
	@for name in $(BENCHMARKS); do $(PY) -m benchmarks.$$name --json || exit 1; done

faults: setup services ## FAULTS=n random faults on real servers, the invariants checked after each run; goes on where it was stopped
	@$(PY) -m tests.faults --faults $(FAULTS)

gpu: setup ## the tests that need a CUDA device
	@$(PY) -c 'import torch; raise SystemExit(0 if torch.cuda.is_available() else "make gpu: PyTorch finds no CUDA device here; nothing was tested.")'
	$(PY) -m pytest -m gpu

format: setup ## put the code into the house format and apply ruff's safe fixes
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
