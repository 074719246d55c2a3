# make run: install and train the default composition.  make test: install and run the tests.  make slow: the tests that take
# long or start servers and clusters.  make check: lint and types.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: run test slow check

run: .venv/installed
	$(BIN)/python run.py

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup -m "not slow and not slurm"

slow: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup -m "slow or slurm"

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
