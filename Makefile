PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: demo test setup

demo: setup  ## train the tiny policy under four credit methods and print the path of the report
	$(RUN)/apportion train recipes/words_quickstart.yaml --out runs/demo --clean

test: setup  ## ruff, pyright, import-linter, pytest
	$(RUN)/ruff check
	$(RUN)/ruff format --check
	$(RUN)/pyright
	$(RUN)/lint-imports
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(RUN)/pytest -n 2 --dist loadfile

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
