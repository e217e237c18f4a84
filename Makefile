# The two commands: `make train` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# The newest JAX needs a newer Python: the first one that runs, pyenv's among them.
NEWEST_PYTHON ?= $(shell for python in python3.12 \
  $$(pyenv root 2> /dev/null)/versions/3.12.*/bin/python3.12; do \
  $$python -c '' 2> /dev/null && echo $$python && break; done)
NEWEST := $(VENV)-newest
# What an installation is made from; the rest of the checkout is used where it is.
INSTALLED := pyproject.toml constraints.txt hatch_build.py $(wildcard chifoumi_jax/ops/cpp/*)

# What is never imported need not be compiled: half of an installation's time. What is imported is
# compiled then, once, for which Python must be let write it: every start of it takes thrice as long
# otherwise.
export PYTHONDONTWRITEBYTECODE :=

# By uv, in a fifth of the time; where it cannot be had or does not find all, by pip. Of wheels on
# this machine, and of another index than the usual one, pip has been told: uv is to know them too.
PIP := -m pip install --quiet --disable-pip-version-check --no-compile
told = $(shell $(PYTHON) -m pip config list 2> /dev/null | sed -n "s/.*\.$(1)='\(.*\)'$$/\1/p")
UV_SETTINGS = $(addprefix --find-links=,$(sort $(call told,find-links))) \
  $(addprefix --default-index=,$(firstword $(call told,index-url)))
install = { $(1) $(PIP) uv && $(1) -m uv pip install --quiet --python $(1) $(UV_SETTINGS) \
  -c constraints.txt $(2); } || $(1) $(PIP) -c constraints.txt $(2)

# A file's tests stay together: they share what is slow to make. In the order of conftest.py: files of
# few tests, which else come last, are the slowest.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

# Half of the time goes into compiling networks that run for a second: LLVM is not to make them fast,
# and XLA to write as little for it as it can. Here alone: the newest JAX, and pytest as a user calls
# it, compile as a training does.
SOON := --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1 \
  --xla_cpu_use_fusion_emitters=false

# Several processes share the processor: PyTorch's threads would wait for each other by turning round
# and round, at the cost of the others.
ALONE := OMP_NUM_THREADS=1

.PHONY: train test tests environments checks test-newest browser lint types format constraints \
  wheel clean

train: $(VENV)/.base
	$(BIN)/python -m chifoumi_jax.train

# The checks beside the tests, one after another: neither keeps two cores busy.
test: environments
	@$(MAKE) --no-print-directory --jobs=2 tests checks

tests: $(VENV)/.test
	$(ALONE) XLA_FLAGS="$(SOON) $$XLA_FLAGS" $(BIN)/python -m pytest $(IN_TWO)

environments: $(VENV)/.test $(if $(NEWEST_PYTHON),$(NEWEST)/.packages)

checks: lint types test-newest

# What depends on JAX' version most, on the newest one: the fast operations, and that a benchmark
# runs, beside the originals in the other environment. What it says would stand between the lines of
# the other tests.
ifneq ($(NEWEST_PYTHON),)
test-newest: $(VENV)/.test $(NEWEST)/.packages
	@$(ALONE) CHIFOUMI_BASELINES_PYTHON=$(abspath $(BIN))/python $(NEWEST)/bin/python -m pytest \
	  tests/test_ops.py tests/test_depthwise.py tests/test_benchmarks.py > $(NEWEST)/tests.log \
	  && echo "On the newest JAX: $$(tail -n 1 $(NEWEST)/tests.log | tr -d =)" \
	  || { cat $(NEWEST)/tests.log; false; }
else
test-newest:
	@echo "There is no python3.12: the operations are tested with one version of JAX only."
endif

# What the tests of the game's pages drive, where it can be had without asking: as root on Debian.
# Elsewhere those tests say that there was no browser.
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
	$(BIN)/python $(PIP) uv
	echo "torch==2.13.0" | $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 \
	  --extra test --extra heic --no-annotate --no-header --no-emit-index-url \
	  --constraint - --quiet --upgrade --output-file constraints.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python $(INSTALLED)
	$(call install,$(BIN)/python,-e .)
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(INSTALLED)
	$(call install,$(BIN)/python,-e '.[test]')
	@touch $@ $(VENV)/.base

# What the package needs, and not itself: it is used where it lies, with the fast operations that the
# other environment's installation compiled.
$(NEWEST)/.packages: pyproject.toml constraints.txt
	$(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb')) \
	  ['project']['dependencies'], sep='\n')" > $(NEWEST)/requirements.txt
	$(call install,$(NEWEST)/bin/python,-r $(NEWEST)/requirements.txt pytest pytest-xdist hypothesis)
	@touch $@

clean:
	rm -rf $(VENV) $(NEWEST) dist build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
