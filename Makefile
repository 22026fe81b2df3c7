# make demo   the main job on a synthetic market, with a report to look at
# make test   the tests
# Each does all the set-up it needs: Python >= 3.11 and make are enough.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo fake-provider test test-slow coverage check lint types imports format clean

help:
	@sed -n 's/^# make /make /p' Makefile

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=python3.x" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/stableyield demo

# make fake-provider   every data provider, on 127.0.0.1:8090, from a simulated market
fake-provider: $(VENV)/.run
	$(BIN)/python -m stableyield.sources.fake --port 8090 $(FAKE)

test: $(VENV)/.dev
	$(BIN)/pytest -m 'not slow' -n 2 -q

# make test-slow   browser tests and full-size runs on real data
test-slow: $(VENV)/.dev
	$(BIN)/pytest -m slow -n 2 -q

# make coverage   the tests, with the coverage of the rooms that handle money
coverage: $(VENV)/.dev
	$(BIN)/pytest -m 'not slow' -n 2 -q --cov --cov-report=
	$(BIN)/coverage report --skip-covered --fail-under=95 \
	  --include='*/stableyield/domain/*,*/stableyield/allocation/*,*/stableyield/screening/*,*/stableyield/backtest/*,*/stableyield/loops/*'

# make check   format, lint, types and import direction
check: lint types imports

lint: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

# make format   rewrite the sources in the project's format
format: $(VENV)/.dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) build dist demo-report .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
