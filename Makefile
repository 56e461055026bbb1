# make demo | test | lint | bench: each installs what it needs into .venv first, and again only when
# pyproject.toml or constraints.txt change. Another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3
VENV ?= .venv
XROUTE_TEST_DATA ?= ../shared/data
PYTEST_ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
export MPLBACKEND ?= Agg

.PHONY: help install demo test lint bench clean

help:
	@echo "make demo   route a small river, print a table, draw demo/discharge.png"
	@echo "make test   run the tests (data from XROUTE_TEST_DATA, now $(XROUTE_TEST_DATA))"
	@echo "make lint   ruff and mypy"
	@echo "make bench  reach-steps per second against a plain array copy"

install: $(STAMP)

# pip learned --group (dependency groups) in 25.1, and a venv may start with an older one.
$(STAMP): pyproject.toml constraints.txt
	@version=$$($(PYTHON) -c 'import sys; print(sys.version.split()[0])' 2>/dev/null); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "xroute needs Python 3.11 or newer; '$(PYTHON)' is $${version:-missing}." \
	    "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing xroute and its dependencies into $(VENV) (some minutes the first time)"
	@$(PIP) install --quiet --upgrade "pip>=25.1"
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[complete]" --group test --group lint
	@touch $@

demo: $(STAMP)
	@$(BIN)/xroute demo

test: $(STAMP)
	@XROUTE_TEST_DATA="$(abspath $(XROUTE_TEST_DATA))" $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/python benchmarks/cpu.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
