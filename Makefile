# Needs make and Python >= 3.11, nothing else. `make PYTHON=python3.12 test` picks another
# interpreter; PIP_FLAGS reaches every pip install (an index of CPU builds of torch, say).

PYTHON ?= python3
PIP_FLAGS ?=
WORKERS ?= 2

VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
EDITABLE = --no-deps --no-build-isolation --editable .

# SciPy reads SCIPY_ARRAY_API once, when it is first imported. Two test processes with one
# thread each are faster than one with two.
TEST_ENV = SCIPY_ARRAY_API=1 MPLBACKEND=Agg OMP_NUM_THREADS=1 \
	HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci}
PYTEST = $(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test test-all test-peers coverage lint format docs docs-check bench clean

help:
	@echo "make demo      install, then domain adaptation and colour transfer on real data"
	@echo "make test      install, then lint, types, architecture and the test suite"
	@echo "make test-all  the same with the slow tests, the distributions and the other libraries"
	@echo "make coverage  the test suite with a coverage report"
	@echo "make lint      lint, types, architecture only;  make format  rewrites the files"
	@echo "make docs      build the documentation into docs/_build/html; every example runs"
	@echo "make docs-check  its links, and its pages in Chromium"
	@echo "make bench     compare with other libraries and write docs/benchmarks.md"
	@echo "make clean     remove environments and everything generated"

# --- environments: a stamp file a lock file, so that a second run installs nothing ------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "skot needs Python 3.11 or newer: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.lock: $(VENV)/.created requirements/lock.txt
	@echo "Installing into $(VENV) (a minute or two, the first time only)"
	$(BIN)/python $(PIP_INSTALL) -r requirements/lock.txt
	@touch $@

$(VENV)/.skot: $(VENV)/.lock pyproject.toml skot/__init__.py
	$(BIN)/python $(PIP_INSTALL) $(EDITABLE)
	@touch $@

$(VENV)/.test: $(VENV)/.skot requirements/test.txt
	$(BIN)/python $(PIP_INSTALL) -r requirements/test.txt
	@touch $@

$(VENV)/.docs: $(VENV)/.skot requirements/docs.txt
	$(BIN)/python $(PIP_INSTALL) -r requirements/docs.txt
	@touch $@

$(VENV)/.site: $(VENV)/.docs requirements/site.txt
	$(BIN)/python $(PIP_INSTALL) -r requirements/site.txt
	@touch $@

$(BENCH)/.bench: requirements/lock.txt requirements/bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	@echo "Installing into $(BENCH) (a few minutes, the first time only)"
	$(BENCH)/bin/python $(PIP_INSTALL) -r requirements/bench.txt
	$(BENCH)/bin/python $(PIP_INSTALL) $(EDITABLE)
	@touch $@

# --- what one asks for ------------------------------------------------------------------

demo: $(VENV)/.skot
	$(BIN)/python examples/demo.py

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.test
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test: lint
	$(PYTEST)

test-all: lint test-peers
	PIP_FLAGS="$(PIP_FLAGS)" $(PYTEST) -m "not gpu"

# The tables of equivalent calls whose other half needs an environment of its own.
test-peers: $(BENCH)/.bench
	PYTHONPATH=. $(BENCH)/bin/python tests/_equivalents.py docs/coming_from/ott_jax.md
	PYTHONPATH=. $(BENCH)/bin/python tests/_equivalents.py docs/coming_from/geomloss.md

coverage: $(VENV)/.test
	$(PYTEST) --cov --cov-report=term --cov-report=html

docs: $(VENV)/.docs
	MPLBACKEND=Agg OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

docs-check: $(VENV)/.site
	$(BIN)/python docs/check_site.py

bench: $(BENCH)/.bench
	$(BENCH)/bin/python examples/benchmarks/bench_sinkhorn.py

clean:
	rm -rf $(VENV) $(BENCH) build dist *.egg-info docs/_build docs/auto_examples docs/generated \
		docs/sg_execution_times.rst demo_output htmlcov .coverage \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
