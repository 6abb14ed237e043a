# make demo | space | test | check | docs | bench | gpu | screenshots
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
.PHONY: setup dev demo space test check docs bench gpu screenshots

setup: .venv/ready

dev: .venv/ready-dev

# What a user needs. `pip` shows what it fetches and how far it is.
.venv/ready: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Setting up .venv: about 1 GB of packages, once."
	$(PIP) install --requirement requirements.txt
	$(PIP) install --no-deps --editable .
	touch $@

# What its developers need besides: tests, linters, documentation, benchmarks.
.venv/ready-dev: .venv/ready
	$(PIP) install --constraint requirements.txt --editable ".[dev,docs,bench]"
	touch $@

demo: setup
	$(BIN)/hf-unlearn demo

space: setup
	$(BIN)/python app.py

test: dev check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --ignore tests/space/test_page.py
	$(BIN)/python -m pytest tests/space/test_page.py  # alone: a browser needs both cores

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/lint_prose.py README.md CONTRIBUTING.md SECURITY.md docs hf_unlearn space

docs: dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --site-dir site

bench: dev
	$(BIN)/python benchmarks/speed.py --json runs/speed.json

# On a bare machine with a GPU: nothing is installed, its own Python and PyTorch are used; cmaes is all it may lack.
gpu: export PYTHONPATH := $(CURDIR):$(PYTHONPATH)
gpu:
	@$(PYTHON) -c "import sys, torch; torch.cuda.is_available() or sys.exit('make gpu: this PyTorch sees no CUDA device')"
	$(PYTHON) -m pytest -m gpu tests/test_gpu.py
	$(PYTHON) benchmarks/whole_run.py --queries 2000 --moderation 500
	$(PYTHON) benchmarks/speed.py --device cuda --shapes ViT-B/16 --protocols cifar10 cifar100 imagenet \
		--dtypes float16 bfloat16 tf32 float32 --seconds 2 --json runs/speed-gpu.json
	$(PYTHON) benchmarks/image_encoding.py --files 2000 --peer-files 500

screenshots: dev
	$(BIN)/python docs/make_screenshots.py
