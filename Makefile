# make demo    see the backends, the speed-up, and a GAN that learns
# make test    the test suite
# make test-slow    the tests that take long: a minute
# make lint    style and types
# make static  compile the GPU kernels, read the machine code: a quarter of an hour on 2 cores, no GPU
# make bench-results    measure everything anew into bench/results: about three quarters of an hour on 2 cores
# make sanitize    the tests of the native module under sanitizers: about ten minutes
# make emulate    the CUDA kernels on the host: less than a minute
# make emulate-sanitize    the same under sanitizers: about five minutes
# make cuda-check    the CUDA kernels compiled by nvcc for every GPU: a few minutes
#
# Each works on a clean clone with Python 3.10+ and a C++17 compiler. ADACONV_BUILD=none leaves the
# native module out; ADACONV_CPU=avx2 forces an instruction set.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export ADACONV_BUILD ?= cpu
# Threads that wait do not spin: kinder to what else runs here, and steadier to measure.
export OMP_WAIT_POLICY ?= PASSIVE

SOURCES := $(shell find adaconv bench/adaconv_bench csrc kernels -name '*.py' -o -name '*.cpp' -o -name '*.h')
FORMATTED := $(shell find csrc tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
INSTALLED := $(VENV)/.installed-$(ADACONV_BUILD)
DEMO := demo
# What is installed: these sources, or a wheel made of them.
PACKAGE ?= .

.PHONY: demo test test-slow lint static sanitize emulate emulate-sanitize cuda-check format bench-results clean

$(INSTALLED): pyproject.toml setup.py CMakeLists.txt constraints.txt $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt '$(PACKAGE)[dev]'
	rm -rf build *.egg-info $(VENV)/.installed-*
	touch $@

# The package once more, compiled with sanitizers: thread, or address,undefined.
.sanitize/%/.installed: $(INSTALLED)
	rm -rf $(@D) .sanitize/build
	ADACONV_BUILD=cpu ADACONV_SANITIZE=$* $(BIN)/pip install --quiet --disable-pip-version-check \
	  --no-deps --target $(@D) .
	rm -rf .sanitize/build *.egg-info
	touch $@

demo: $(INSTALLED)
	rm -rf $(DEMO)
	$(BIN)/adaconv info
	$(BIN)/adaconv bench adaptive_conv --preset adagan-cifar10 --batch 16 --against eager \
	  --json $(DEMO)/bench.json --plot $(DEMO)/bench.png
	@echo
	@echo 'Training AdaGAN-3x3 with half the channels and batch 16, so that it learns within minutes:'
	$(BIN)/adaconv train adagan-3x3 --width 0.5 --batch-size 16 --steps $(or $(STEPS),1000) \
	  --sample-every 100 --out $(DEMO)/train --compare reference
	@echo 'plot of the benchmark: $(DEMO)/bench.png'

test: $(INSTALLED)
	$(BIN)/pytest -n auto --dist loadfile $(ARGS)

test-slow: $(INSTALLED)
	$(BIN)/pytest -m slow $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/clang-format --dry-run --Werror $(FORMATTED)
	$(BIN)/mypy

# The table changes with the kernels: `adaconv bench static --csv` writes it anew.
static: $(INSTALLED)
	$(BIN)/adaconv bench static --against bench/results/static.csv $(ARGS)

# Each result is a table of numbers and a plot that is made from it alone.
BENCH = $(BIN)/adaconv bench adaptive_conv $(BENCH_ARGS) \
  --csv bench/results/$@.csv --plot bench/results/$@.png
RESULTS := adagan-cifar10 adagan-cifar10-batch8 adagan-cifar10-1-thread \
  adagan-cifar10-bfloat16 sweep
adagan-cifar10: BENCH_ARGS = --against eager eager-tuned compile limit
adagan-cifar10-batch8: BENCH_ARGS = --batch 8 --against eager eager-tuned limit
adagan-cifar10-1-thread: BENCH_ARGS = --threads 1 --against limit
adagan-cifar10-bfloat16: BENCH_ARGS = --dtype bfloat16 --against eager limit
sweep: BENCH_ARGS = --preset sweep --seconds 2 --against limit
.PHONY: $(RESULTS) cost
bench-results: $(RESULTS) cost
$(RESULTS): $(INSTALLED)
	$(BENCH)

cost: $(INSTALLED)
	$(BIN)/adaconv bench cost --csv bench/results/$@.csv --plot bench/results/$@.png

sanitize: $(INSTALLED)
	bash .ci/sanitize

emulate: $(INSTALLED)
	$(BIN)/pytest tests/emulation --durations=5 $(ARGS)

emulate-sanitize: $(INSTALLED)
	bash .ci/emulate-sanitize

# Code for every GPU in full; fails where there is no nvcc.
cuda-check: $(INSTALLED)
	nvcc --version
	ADACONV_CUDA_ARCHITECTURES="75 80 86 89 90 100 120" \
	  $(BIN)/pytest tests/emulation/test_compiles_cuda.py --durations=0 $(ARGS)

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(FORMATTED)

clean:
	rm -rf $(VENV) .sanitize build dist *.egg-info $(DEMO) .*_cache .hypothesis .benchmarks
