# The two main commands are `make train` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# The newest JAX needs a newer Python. This is the first python3.12 that runs, including pyenv's.
NEWEST_PYTHON ?= $(shell for python in python3.12 \
  $$(pyenv root 2> /dev/null)/versions/3.12.*/bin/python3.12; do \
  $$python -c '' 2> /dev/null && echo $$python && break; done)
NEWEST := $(VENV)-newest
# Files that an installation depends on; the rest of the checkout is used in place.
INSTALLED := pyproject.toml constraints.txt hatch_build.py $(wildcard chifoumi_jax/ops/cpp/*)

# pip does not compile modules (`--no-compile` below), because that takes half of an installation's
# time and many modules are never imported. Python compiles a module at its first import instead. It
# must be allowed to write the result, because otherwise every start takes three times as long.
export PYTHONDONTWRITEBYTECODE :=

# Installs with uv, which takes a fifth of the time, or with pip if uv is not available or does not
# find all packages. uv gets pip's settings for local wheels (find-links) and for the index.
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
pip_setting = $(shell $(PYTHON) -m pip config list 2> /dev/null | sed -n "s/.*\.$(1)='\(.*\)'$$/\1/p")
UV_SETTINGS = $(addprefix --find-links=,$(sort $(call pip_setting,find-links))) \
  $(addprefix --default-index=,$(firstword $(call pip_setting,index-url)))
install = { $(1) $(PIP) uv && $(1) -m uv pip install --quiet --python $(1) $(UV_SETTINGS) \
  -c constraints.txt $(2); } || $(1) $(PIP) -c constraints.txt $(2)

# The tests of a file stay together, because they share fixtures that are slow to make. Files run in
# the order of conftest.py, because by default files with few tests come last, and these are the
# slowest.
TWO_WORKERS := -n 2 --dist loadfile --no-loadscope-reorder

# Half of the test time is compilation of networks that run for a second. So LLVM does not optimise,
# and XLA gives LLVM as little code as possible. Only `make tests` sets these flags. The tests on
# the newest JAX, and pytest as a user calls it, compile as a training does.
FAST_COMPILATION := --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 \
  --xla_cpu_use_fusion_emitters=false

# The tests that take longest and repeat at another size what others prove. `make parity` runs them.
NOT_LONG := -m "not long"

# Several processes share the processor. PyTorch's threads wait for each other in busy loops, which
# would slow the other processes down.
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: train test tests environments checks test-newest parity browser lint types format constraints docs \
  wheel clean

train: $(VENV)/.base
	$(BIN)/python -m chifoumi_jax.train

# Tests and checks run in parallel, because neither keeps two cores busy. The checks run one after
# another.
test: environments
	@$(MAKE) --no-print-directory --jobs=2 tests checks

tests: $(VENV)/.test
	$(ONE_THREAD) XLA_FLAGS="$(FAST_COMPILATION) $$XLA_FLAGS" $(BIN)/python -m pytest \
	  $(TWO_WORKERS) $(NOT_LONG)

environments: $(VENV)/.test $(if $(NEWEST_PYTHON),$(NEWEST)/.packages)

checks: lint types test-newest

# Runs on the newest JAX what depends most on its version: the fast operations, and a benchmark that
# compares with the originals in the other environment. The output goes to a file, because it would
# mix with the lines of the other tests.
ifneq ($(NEWEST_PYTHON),)
test-newest: $(VENV)/.test $(NEWEST)/.packages
	@$(ONE_THREAD) CHIFOUMI_BASELINES_PYTHON=$(abspath $(BIN))/python $(NEWEST)/bin/python -m pytest \
	  tests/test_ops.py tests/test_depthwise.py tests/test_benchmarks.py > $(NEWEST)/tests.log \
	  && echo "On the newest JAX: $$(tail -n 1 $(NEWEST)/tests.log | tr -d =)" \
	  || { cat $(NEWEST)/tests.log; false; }
else
test-newest:
	@echo "There is no python3.12: the operations are tested with one version of JAX only."
endif

# The whole ladder with its report, and the tests that `make test` leaves out.
parity: $(VENV)/.test
	$(BIN)/python -m parity --report build/parity
	$(BIN)/python -m pytest -m long

# Installs the browser for the tests of the game's pages, if this is possible without a question: as
# root on Debian. Elsewhere these tests report that there is no browser.
browser:
	@if ! command -v chromium > /dev/null \
	    && command -v apt-get > /dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    chromium fonts-dejavu-core > /dev/null || echo "Chromium could not be installed."; \
	fi

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.test
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the wheel and the sdist in dist/.
wheel: $(VENV)/.test
	$(BIN)/python -m build

# Builds the documentation site in build/site. A broken link or a faulty docstring fails.
docs: $(VENV)/.docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going -q docs build/site
	@echo "Open build/site/index.html."

# Resolves the pins for every supported Python from the lower bounds in pyproject.toml. PyTorch's
# version is fixed, because it decides whether a build with or without CUDA is found.
constraints: $(VENV)/.test
	$(BIN)/python $(PIP) uv
	echo "torch==2.13.0" | $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --extra test --extra heic --extra docs --no-annotate --no-header --no-emit-index-url \
	  --constraint - --quiet --upgrade --output-file constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python $(INSTALLED)
	$(call install,$(BIN)/python,-e .)
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(INSTALLED)
	$(call install,$(BIN)/python,-e '.[test]')
	@touch $@ $(VENV)/.base

$(VENV)/.docs: $(VENV)/bin/python $(INSTALLED)
	$(call install,$(BIN)/python,-e '.[docs]')
	@touch $@ $(VENV)/.base

# Installs the package's dependencies but not the package. The package is used from the checkout,
# with the fast operations that the other environment's installation compiled.
$(NEWEST)/.packages: pyproject.toml constraints.txt
	$(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb')) \
	  ['project']['dependencies'], sep='\n')" > $(NEWEST)/requirements.txt
	$(call install,$(NEWEST)/bin/python,-r $(NEWEST)/requirements.txt \
	  beartype hypothesis pytest pytest-xdist)
	@touch $@

clean:
	rm -rf $(VENV) $(NEWEST) dist build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
