# `make demo` and `make test` set up all they need; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
WARDROBE := data/raw/wardrobe

.PHONY: help demo test test-slow check prove image-check format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.installed ## from nothing to a registered model and a searchable embeddings
	@test -e $(WARDROBE)/truth.parquet || \
	  $(RUN) hemline wardrobe --out $(WARDROBE) --images 5000 --image-size 128
	@$(RUN) dvc repro
	@$(RUN) hemline promote || [ $$? -eq 10 ] # a later version may well be rejected
	@$(RUN) hemline summary

test: $(VENV)/.installed-dev ## the tests that start no programs, Ray or servers of their own
	$(RUN) pytest -n 2 --dist loadfile -m 'not slow and not proof' # two files side by side

test-slow: $(VENV)/.installed-dev ## the others: the DAG for real, Ray, servers, kills
	$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow # the longest files first

check: $(VENV)/.installed-dev ## format, lint, types, import direction
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) pytest -q tests/test_imports.py

prove: $(VENV)/.installed-dev ## a scheduled retrain against PostgreSQL, MLflow, S3, two Ray nodes
	$(RUN) pytest -q -s -m proof tests/infra

image-check: ## build the container image and run a tiny line in it: root, buildah, debootstrap
	infra/docker/check_image.sh

format: $(VENV)/.installed-dev ## format the code and mend what the linter can
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

clean: ## remove the environment and caches; data, models and runs stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# --no-compile: compiling 200 packages ahead takes longer than compiling the modules in use, which
# Python does when it first imports them; a setting that forbids it would repeat that every time
unexport PYTHONDONTWRITEBYTECODE
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hemline needs Python 3.11")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing 200 packages (7 GB, mostly PyTorch) into $(VENV): some minutes"
	@$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@
