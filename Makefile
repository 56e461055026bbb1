# make demo | test | lint | docs | dist | resolve | bench: each installs what it needs into .venv first, and again only when
# pyproject.toml or constraints.txt change. Another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3
VENV ?= .venv
# Where real data sets are; "none" says that there are none, and that this is known, also on CI.
XROUTE_TEST_DATA ?= ../shared/data
PYTEST_ARGS ?=
# What `make resolve` asks about; PyTorch has wheels for macOS from 14 on.
PYTHONS := 3.11 3.12 3.13
MACOS := 14.0

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
export MPLBACKEND ?= Agg

.PHONY: help install demo test lint docs dist resolve bench clean

help:
	@echo "make demo     route a small river, print a table, draw demo/discharge.png"
	@echo "make test     run the tests (data from XROUTE_TEST_DATA, now $(XROUTE_TEST_DATA))"
	@echo "make lint     ruff and mypy"
	@echo "make docs     the documentation, into docs/_build/html, with its notebooks run"
	@echo "make dist     sdist and wheel, checked, into dist/"
	@echo "make resolve  that a fresh machine can install this: each Python, Linux, macOS and Windows"
	@echo "make bench    reach-steps per second against a plain array copy"

install: $(STAMP)

# pip learned --group (dependency groups) in 25.1, and a venv may start with an older one.
$(STAMP): pyproject.toml constraints.txt
	@version=$$($(PYTHON) -c 'import sys; print(sys.version.split()[0])' 2>/dev/null); \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "xroute needs Python 3.11 or newer; '$(PYTHON)' is $${version:-missing}." \
	    "Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing xroute and its dependencies into $(VENV) (some minutes the first time)"
	@$(PIP) install --quiet --upgrade --constraint constraints.txt "pip>=25.1"
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[complete]" --group test --group lint --group docs --group package
	@touch $@

demo: $(STAMP)
	@$(BIN)/xroute demo

test: $(STAMP)
	@XROUTE_TEST_DATA="$(if $(filter none,$(XROUTE_TEST_DATA)),none,$(abspath $(XROUTE_TEST_DATA)))" $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: $(STAMP)
	@$(BIN)/sphinx-build -W --keep-going -q -j 2 -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

dist: $(STAMP)
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist .
	@$(BIN)/twine check --strict dist/*

# Nothing is installed: would it be, on a machine that has the package index and neither wheels nor settings of its own?
# pip answers for this Python and machine, as a user would ask it. It takes every marker from the Python that it runs on,
# so uv answers for the others; from wheels alone (--no-build), for nobody is to need a compiler.
# fast-deps reads what a wheel needs without the wheel: 40 MB instead of the 3 GB that an index without metadata costs.
resolve: $(STAMP)
	@echo "Resolving for this machine"
	@PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_EXTRA_INDEX_URL= $(PIP) install --dry-run --ignore-installed \
	  --use-feature=fast-deps --constraint constraints.txt ".[complete]" --group test --group lint --group docs --group package \
	  >$(VENV)/resolve.log 2>&1 || { tail -n 40 $(VENV)/resolve.log; exit 1; }
	@set -e; for platform in linux macos windows; do for python in $(PYTHONS); do \
	  echo "Resolving for $$platform, Python $$python"; \
	  UV_FIND_LINKS= UV_EXTRA_INDEX_URL= UV_INDEX= UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$PIP_INDEX_URL}" \
	  MACOSX_DEPLOYMENT_TARGET=$(MACOS) $(BIN)/uv pip compile --quiet --no-config --no-python-downloads --no-build \
	    --python $(BIN)/python --python-version $$python --python-platform $$platform \
	    --constraint constraints.txt --extra complete --group test --group lint --group docs --group package pyproject.toml >/dev/null; \
	done; done

bench: $(STAMP)
	@$(BIN)/python benchmarks/cpu.py $(BENCH_ARGS)

clean:
	rm -rf $(VENV) demo dist docs/_build docs/reference/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis
