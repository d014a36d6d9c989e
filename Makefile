# Everything runs in .venv, which the first target that needs it makes.
VENV := .venv
PYTHON := $(VENV)/bin/python
# The versions that the tests ran with.
CONSTRAINTS := launch/constraints.txt
UV := $(shell command -v uv 2>/dev/null)
CHECK_VERSION := 'import sys; sys.exit(sys.version_info < (3, 11) and \
  "python3 is " + sys.version.split()[0] + "; 3.11 or later is needed.")'

ifdef UV
  MAKE_VENV = uv venv --python '>=3.11' $(VENV)
  INSTALL = uv pip install --python $(PYTHON) -c $(CONSTRAINTS)
else
  MAKE_VENV = python3 -c $(CHECK_VERSION) && python3 -m venv $(VENV)
  # A .venv that uv made has no pip.
  INSTALL = ( $(PYTHON) -m pip --version >/dev/null 2>&1 || \
    $(PYTHON) -m ensurepip ) && \
    $(PYTHON) -m pip install -c $(CONSTRAINTS)
endif

# One stamp per extra: what is installed is installed once.
PLOTS := $(VENV)/.installed-plots
TEST := $(VENV)/.installed-test
BENCH := $(VENV)/.installed-bench
# The compiler for GPUs has an environment of its own: beside it, and without a
# GPU, every start of jax prints a traceback unless JAX_PLATFORMS is cpu.
GPU_COMPILER := $(VENV)/gpu-compiler
# Runtimes that exported models are checked in.
EXPORT := $(addprefix $(VENV)/.installed-export-,hf litert onnx stablehlo)

PYTEST := $(PYTHON) -m pytest
# What needs nothing that the first three installations do not bring.
HERE := not slow and not slurm and not browser and not gpu_compiler
# What compiles no training step and no network of the paper's size.
FAST := $(wildcard tests/test_*.py $(addprefix tests/, \
  audio data data_pipelines losses metrics codec cli export))

# Two processes, files in the order given, the longest first. A process that
# crashes ends the run: pytest-xdist 3.8 replaces it and then may wait for ever
# (its issue 1378).
PAIR := -n 2 --dist=loadscope --no-loadscope-reorder --max-worker-restart=0
LONG := $(addprefix tests/,train launch evaluate convolution model)
LONGEST := $(addprefix tests/,test_readme.py launch/test_demo.py \
  launch/test_kills.py train/test_topology.py launch/test_sweep_kills.py \
  test_package.py)
SHORT := $(filter-out $(LONG) tests/__pycache__, \
  $(patsubst %/,%,$(wildcard tests/*/)) $(wildcard tests/test_*.py))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo browser test test-fast test-slow test-slurm test-browser \
  test-gpu-compiler bench bench-gpu-compiler bench-export bench-faults lint format clean constraints

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' \
	  $(MAKEFILE_LIST)

demo: $(PLOTS) ## train a small codec on synthetic sound and decode clips
	$(PYTHON) -m soundstream_jax.launch.demo --out=out/demo

# A model, or a folder of `soundstream export --format=onnx`.
MODEL := out/demo/workdir
PORT := 8000

browser: $(VENV)/.installed-export-onnx ## a codec in a page: MODEL=FOLDER, PORT=8000
	$(PYTHON) examples/browser/build.py --model=$(MODEL) --out=out/browser
	$(PYTHON) examples/browser/serve.py out/browser/page --port=$(PORT)

test: $(TEST) ## all tests but the slow ones
	$(PYTEST) -m "$(HERE)" $(PAIR) \
	  $(LONG) $(SHORT)

test-fast: $(TEST) ## two minutes of tests: no training, no big network
	$(PYTEST) -m "$(HERE)" $(FAST)

# Two processes, the longest files first; then what minds the clock, by itself.
test-slow: $(TEST) $(EXPORT) ## wheel, several processes, long training
	failed=0; \
	$(PYTEST) -m "slow and not alone" $(PAIR) $(LONGEST) tests || failed=$$?; \
	$(PYTEST) -m "slow and alone" || failed=$$?; \
	exit $$failed

test-slurm: $(TEST) ## a real SLURM of two nodes, where it is installed
	$(PYTEST) -m slurm tests/launch

test-browser: $(TEST) $(VENV)/.installed-export-onnx ## the pages in Chromium, where it is installed
	$(PYTEST) -m browser tests/evaluate tests/browser

test-gpu-compiler: | $(PYTHON) ## a step compiled for an H100, which need not be there
	$(MAKE) VENV=$(GPU_COMPILER) $(GPU_COMPILER)/.installed-compiler
	JAX_PLATFORMS=cpu $(GPU_COMPILER)/bin/python -m pytest -m gpu_compiler \
	  tests/launch/preflight/test_gpu_compiler.py

# make bench-gpu-compiler CASES=--cases=h100:1/plain
bench-gpu-compiler: | $(PYTHON) ## a step in every method, compiled for an H100; half an hour
	$(MAKE) VENV=$(GPU_COMPILER) $(GPU_COMPILER)/.installed-compiler
	JAX_PLATFORMS=cpu $(GPU_COMPILER)/bin/python -m benchmarks.gpu_compiler $(CASES)

bench: $(BENCH) ## speed on this CPU, beside PyTorch
	$(PYTHON) -m benchmarks.cpu

# make bench-export SOUND=--data=data/speech,data/music
bench-export: $(EXPORT) ## parity, size and speed of exports, on SOUND
	$(PYTHON) -m benchmarks.export $(SOUND)

bench-faults: $(TEST) ## a hundred faults, and what they cost; an hour
	$(PYTHON) -m benchmarks.faults

lint: $(TEST) ## ruff: rules and format
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: $(TEST) ## ruff: apply the format and the safe fixes
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

constraints: | $(PYTHON) ## renew what is installed; then run all tests
	$(PYTHON) .ci/constraints.py

clean: ## remove caches and build products; keeps .venv and out
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o \
	  -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.installed-%: setup.py pyproject.toml $(CONSTRAINTS) | $(PYTHON)
	$(INSTALL) -e '.[$*]'
	@touch $@

$(VENV)/.installed-compiler: setup.py pyproject.toml $(CONSTRAINTS) | $(PYTHON)
	$(INSTALL) -e '.[preflight-gpu]' pytest pytest-timeout
	@touch $@

$(PYTHON):
	$(MAKE_VENV)
