# The two commands: `make train` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# What an installation is made from; the rest of the checkout is used where it is.
INSTALLED := pyproject.toml constraints.txt hatch_build.py $(wildcard chifoumi_jax/ops/cpp/*)

.PHONY: train test lint types format constraints wheel clean

train: $(VENV)/.base
	$(BIN)/python -m chifoumi_jax.train

test: $(VENV)/.test lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The wheel and the sdist, in dist/.
wheel: $(VENV)/.test
	$(BIN)/python -m build

# Compile the pins for every supported Python from the lower bounds in pyproject.toml. PyTorch is
# held: which build of it is found, with or without CUDA, depends on its version.
constraints: $(VENV)/.test
	$(BIN)/python -m pip install --quiet uv
	echo "torch==2.13.0" | $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --extra test --extra heic --no-annotate --no-header --no-emit-index-url \
	  --constraint - --quiet --upgrade --output-file constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) dist build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
