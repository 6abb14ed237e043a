# make setup | demo | space | test | check | bench
PYTHON ?= python3
BIN := .venv/bin
.PHONY: setup demo space test check bench

setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --constraint requirements.txt --editable ".[dev,bench]"
	touch $@

demo: setup
	$(BIN)/hf-unlearn demo

space: setup
	$(BIN)/python app.py

test: setup check
	$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python benchmarks/arena.py
