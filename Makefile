# make run: install and train the default composition.  make test: install and run the tests.  make check: lint and types.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: run test check

run: .venv/installed
	$(BIN)/python run.py

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadgroup

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
