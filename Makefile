# Two commands for a fresh clone with Python 3.11+ and nothing else: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch first and pinned: whatever else asks for torch then finds it there, and no CUDA build comes along.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CHROMIUM := (for name in chromium chromium-browser google-chrome chrome; do command -v $$name && exit; done; exit 1) >/dev/null
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadscope

.PHONY: demo test test-slow test-all lint types layers docs check bench paper-quick tables clean

demo: $(VENV)/.demo
	$(BIN)/hidlr train digits --compare

test: $(VENV)/.test
	$(PYTEST)

# Only what `make test` leaves out.
test-slow: $(VENV)/.test
	$(PYTEST) -m slow

# The report in a real browser: Debian's Chromium, driven by Playwright. Where one of them cannot be had, the tests are
# skipped and say why.
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -m browser tests/browser

test-all: test test-slow

check: test lint types layers docs

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/python -m benchmarks.tables --check
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html
	$(BIN)/python -m sphinx -W -q -b doctest docs docs/_build/doctest

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks run --tier quick

# The paper's experiments at small size: under 20 minutes of two cores; prints claims and verdicts.
paper-quick: $(VENV)/.test
	$(BIN)/python -m benchmarks paper all --quick --processes 2 --draw docs/paper/images
	$(BIN)/python -m benchmarks.tables

tables: $(VENV)/.test
	$(BIN)/python -m benchmarks.tables

clean:
	rm -rf $(VENV) dist docs/_build

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	$(PIP) torch
	touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[demo]"
	touch $@

$(VENV)/.test: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[test]"
	touch $@

# What could not be had is tried again the next time.
$(VENV)/.browser: $(VENV)/.torch pyproject.toml
	-$(PIP) --editable ".[browser]"
	-@$(CHROMIUM) || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  apt-get install -qq --yes --no-install-recommends chromium; } >/dev/null
	@if $(CHROMIUM) && $(BIN)/python -c "import playwright"; then touch $@; fi

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[dev]"
	touch $@
