# Each target does all its own set-up: Python 3.11 or later and make are enough.
# `make bench BENCH=--full` also measures the largest sizes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE # hundreds of processes would compile the same files

.PHONY: install demo test test-long test-soak test-all wheel-test lint docs bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	touch $@

demo: install
	$(BIN)/ignota demo

test test-long test-soak: export OMP_NUM_THREADS = 1

test: install
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-long: install
	$(BIN)/python -m pytest -m long -n auto --dist worksteal

# Every kill, mutation and flood at full number: about two hours.
test-soak: install
	$(BIN)/python -m pytest -m soak -n auto --dist worksteal

test-all: test test-long

wheel-test:
	.ci/wheel

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/prose.py

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: install
	$(BIN)/python -m pytest benchmarks --benchmark-only --record experiments/measured/performance/races.json $(BENCH)
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m experiments.render performance

clean:
	rm -rf $(VENV) runs build dist site
