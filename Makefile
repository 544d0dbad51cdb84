# Everything a person does here is a target; `make` alone lists them.
# A clean machine needs Python 3.11 with venv, and the package registry: the rest is installed into .venv.

PYTHON ?= python3.11
ifeq (,$(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
BIN := .venv/bin
# The lists are complete, each with its hashes: there is nothing to resolve. What is imported is compiled then, and most
# of what is installed never is; so Python may keep what it compiled, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-compile --require-hashes
FOR ?=
COST ?=
ONLY ?=
FULL ?=
KILLS ?= 50
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types imports check chaos fuzz bench models cost dashboards docs requirements wheel bundle infra-check clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Marquee needs Python 3.11 or newer; $(PYTHON) is older. Say which: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

# Two stamps: running the system needs less than testing it.
.venv/.local: requirements/local.txt pyproject.toml | .venv/bin/python
	@echo "Installing what the system runs on (about a minute, once) ..."
	$(INSTALL) -qq -r requirements/local.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.local
	@echo "Installing what the tests need ..."
	$(INSTALL) -qq -r requirements/dev.txt
	$(BIN)/python -m pip check --quiet
	@touch $@

# Half a gigabyte, for `engine: spark` and its tests alone. Built with what is installed: nothing without a hash.
.venv/.spark: requirements/spark.txt .venv/.dev
	@echo "Installing Spark ..."
	$(INSTALL) --quiet --no-build-isolation -r requirements/spark.txt
	@touch $@

demo: .venv/.local ## run the whole system on MovieLens, live; FOR=60 stops after 60 s with a summary
	$(BIN)/marquee local demo $(if $(FOR),--for $(FOR))

test: .venv/.dev ## run all tests (TESTS=tests/bridge for some)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 12 $(TESTS)

lint: .venv/.dev ## style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.dev ## put the code into its one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## static types
	$(BIN)/mypy

imports: .venv/.dev ## the one-way import contract
	$(BIN)/lint-imports

check: lint types imports test ## all that CI runs

fuzz: .venv/.dev ## ten million mutated lines and a hundred thousand malformed envelopes (minutes)
	$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED))

bench: .venv/.dev ## measure speed, memory and accuracy (ONLY=name for one, FULL=1 for the long ones, too)
	FULL=$(FULL) $(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

chaos: .venv/.dev ## kill everything between Kafka and the tables, KILLS=50 times, and count the lines (SEED=1)
	$(BIN)/python -m tests.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

dashboards: .venv/.dev ## write the dashboards' files anew from dashboards/*.py
	$(BIN)/python -m dashboards.generate

models: .venv/.local ## compare all models on MovieLens 100K: docs/models.md with its plots (minutes)
	$(BIN)/marquee compare

cost: .venv/.local ## print the monthly cost on Google Cloud (COST="--records-per-s 500")
	$(BIN)/python -m infra.cost $(COST)

docs: .venv/.dev ## write the generated pages anew
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.code_map
	$(BIN)/python -m benchmarks.page

wheel: .venv/.dev ## build the library's wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

bundle: .venv/.dev ## build each function's source archive into dist/bundles/
	$(BIN)/python -m infra.bundle

infra-check: ## check Terraform, Dockerfiles, Compose and workflows, in an environment of its own
	@PYTHON=$(PYTHON) infra/check.sh

requirements: .venv/.dev ## resolve the pinned requirements anew
	$(BIN)/python requirements/compile.py

clean: ## remove what was built; keeps .venv and the demo's data (.local)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
