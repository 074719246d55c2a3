# make run: install and train the default composition.  make test: install and run the tests.  make slow: the tests that take
# long or start servers and clusters.  make check: lint and types.  make study: docs/study_capital.md, run and written anew.
PYTHON ?= python3.11
BIN := .venv/bin

STUDY := study_capital study_capital_homogeneous

.PHONY: run test slow check study

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

study: .venv/installed
	for sweep in $(STUDY); do $(BIN)/python run.py -m +sweeps=$${sweep}_tuning && $(BIN)/python run.py -m +sweeps=$$sweep || exit; done
	for sweep in $(STUDY) $(STUDY:=_tuning); do $(BIN)/python -m analysis compare --sweep $$sweep --page docs/study_capital.md || exit; done

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
