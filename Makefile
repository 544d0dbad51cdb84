# Every task of a developer is a target; `make` alone lists them.
# A clean machine needs Python 3.11 or newer with venv and a package index. Everything else is installed into .venv.

PYTHON ?= python3.11
ifeq (,$(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
BIN := .venv/bin
# The requirements are complete and have hashes, so pip resolves nothing. Most installed modules are never imported, so
# they are compiled at their first import; Python keeps the bytecode even where the environment forbids it.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-compile --require-hashes
COVERAGE := --cov --cov-report=xml:build/coverage.xml
FOR ?=
COST ?=
ONLY ?=
ORIGIN ?=
FULL ?=
KILLS ?= 50
SEED ?=
USERS ?= 100
DEMO ?=
ifneq (,$(filter-out canary,$(DEMO)))
$(error DEMO=$(DEMO) is unknown: the only one is DEMO=canary)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types imports check forget chaos fuzz bench models fairness loops cost dashboards docs requirements wheel bundle android infra-check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Marquee needs Python 3.11 or newer and $(PYTHON) is older. Name another: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

# Two stamp files: running the system needs fewer packages than testing it.
.venv/.local: requirements/local.txt pyproject.toml | .venv/bin/python
	@echo "Installing the packages of the system (about a minute, once) ..."
	$(INSTALL) -qq -r requirements/local.txt
	$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: requirements/dev.txt .venv/.local
	@echo "Installing the packages of the tests ..."
	$(INSTALL) -qq -r requirements/dev.txt
	$(BIN)/python -m pip check --quiet
	@touch $@

# Half a gigabyte, for `engine: spark` and its tests only. Built without isolation, so that every package has a hash.
.venv/.spark: requirements/spark.txt .venv/.dev
	@echo "Installing Spark ..."
	$(INSTALL) --quiet --no-build-isolation -r requirements/spark.txt
	@touch $@

demo: .venv/.local ## run the whole system live on MovieLens (FOR=60 stops after 60 s, DEMO=canary stages a bad model, DATA=DIR replays imported data)
	$(BIN)/marquee local demo$(if $(DATA), --ratings $(DATA)) $(if $(FOR),--for $(FOR)) $(if $(filter canary,$(DEMO)),--bad-canary)

test: .venv/.dev ## run all tests with branch coverage (TESTS=tests/bridge for some, without)
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 12 $(if $(TESTS),$(TESTS),$(COVERAGE))

lint: .venv/.dev ## check style, common mistakes, prose and names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m infra.prose --quiet
	$(BIN)/python -m infra.names

format: .venv/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/.dev ## check static types
	$(BIN)/mypy

imports: .venv/.dev ## check the import contract
	$(BIN)/lint-imports

check: lint types imports test ## run the checks of CI

fuzz: .venv/.dev ## parse ten million mutated records and a hundred thousand malformed envelopes (minutes)
	$(BIN)/python -m tests.fuzz $(if $(SEED),--seed $(SEED))

bench: .venv/.dev ## measure speed, memory and accuracy (ONLY=name for one, FULL=1 for the long ones, too)
	FULL=$(FULL) $(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

forget: .venv/.dev ## forget USERS=100 users of a system under load, kill the command 20 times, search for traces
	$(BIN)/python -m tests.privacy --users $(USERS) --kills 20 $(if $(SEED),--seed $(SEED))

chaos: .venv/.dev ## kill everything between Kafka and the tables KILLS=50 times and count the records (SEED=1)
	$(BIN)/python -m tests.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

dashboards: .venv/.dev ## generate the dashboard files from dashboards/*.py
	$(BIN)/python -m dashboards.generate

models: .venv/.dev ## compare all models on MovieLens 100K: docs/models.md with its plots (minutes)
	$(BIN)/python -m benchmarks.models

loops: .venv/.dev ## simulate feedback loops: docs/feedback-loops.md with its plots (minutes)
	$(BIN)/python -m benchmarks.loops

fairness: .venv/.dev ## analyze fairness on MovieLens 100K: docs/fairness.md with its plots (minutes)
	$(BIN)/python -m benchmarks.fairness

cost: .venv/.local ## print the monthly cost on Google Cloud (COST="--records-per-s 500")
	$(BIN)/python -m infra.cost $(COST)

docs: .venv/.dev ## write the generated pages and sections
	$(BIN)/python -m docs.generate
	$(BIN)/python -m docs.code_map
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m docs.privacy_table

wheel: .venv/.dev ## build the library's wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

bundle: .venv/.dev ## build each function's source archive into dist/bundles/
	$(BIN)/python -m infra.bundle

android: .venv/.dev ## build the Android package without an SDK into build/android/out (ORIGIN=https://... is its site)
	$(BIN)/python -m infra.android $(if $(ORIGIN),--origin $(ORIGIN))

infra-check: ## check Terraform, Dockerfiles, Compose and workflows
	@PYTHON=$(PYTHON) infra/check.sh

requirements: .venv/.dev ## resolve the pinned requirements
	$(BIN)/python requirements/compile.py

clean: ## remove build results; keeps .venv and the data of the demo (.local)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
