# SPDX-License-Identifier: MIT
# make demo      the demonstration: a whole standard library from process to process, in place
# make test      all that must hold: the C tests, the simulator, pytest
# make bench     the figures, beside a cache-line probe and a hand-made ring of the same run
# make lint      ruff, cython-lint, mypy and stubtest; every header alone as C++
# make sanitize  the C tests under the address and undefined-behaviour sanitizers
# make clean     remove all that was built, and the virtual environment
#
# Each sets itself up: a virtual environment in .venv, what it needs from PyPI, the compiled core.

PYTHON ?= python3
CC ?= cc
JOBS ?= $(shell nproc)
SCHEDULES ?= 200000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

HEADERS := $(wildcard include/shmq/*.h)
EXTENSION_SOURCES := setup.py $(HEADERS) $(wildcard shmq/*.pyx shmq/*.pxd shmq/*.h)

.PHONY: demo test py-test c-test sim bench lint sanitize clean
.DELETE_ON_ERROR:
.SECONDARY:

demo: $(VENV)/with-demo $(VENV)/built
	$(BIN)/python -m shmq demo

test: c-test sim py-test

py-test: $(VENV)/with-test $(VENV)/built
	$(BIN)/python -m pytest

bench: $(VENV)/with-test $(VENV)/built build/c/native
	build/c/native | tee build/bench-native.txt
	$(BIN)/python bench/bench_python.py --json build/bench-python.json
	$(BIN)/python bench/costs.py --json build/bench-costs.json
	$(BIN)/python -m pytest bench --benchmark-enable --benchmark-columns=min,median,max --benchmark-sort=name

lint: $(VENV)/with-lint $(VENV)/built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/cython-lint shmq
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest shmq
	set -e; for header in $(HEADERS); do echo "#include \"$$header\"" | \
	    $(CXX) -std=c++17 -Wall -Wextra -Werror -I. -Iinclude -x c++ -fsyntax-only -; done

# ---- Python -----------------------------------------------------------------------------------------------

$(VENV)/made:
	$(PYTHON) -m venv $(VENV) || { echo "Debian and Ubuntu: apt install python3-venv python3-dev" >&2; exit 1; }
	$(PIP) "setuptools>=77" "Cython>=3.1,<4" "numpy>=2"
	touch $@

# A stamp for each extra of pyproject.toml.
$(VENV)/with-%: pyproject.toml | $(VENV)/made $(VENV)/built
	$(PIP) --no-build-isolation -e ".[demo,$*]"
	touch $@

$(VENV)/built: $(EXTENSION_SOURCES) | $(VENV)/made
	$(BIN)/python setup.py -q build_ext --inplace -j $(JOBS)
	touch $@

# ---- C ----------------------------------------------------------------------------------------------------

C_FLAGS := -std=gnu11 -Wall -Wextra -Werror -Iinclude -Itests/c -pthread
OPTIMISED := -O2 -g
SANITIZED := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
C_HEADERS := $(HEADERS) $(wildcard tests/c/*.h)

# Each test_*.c is a program of its own. Other files with a main are the simulator's programs: they share its parts and
# reach the headers through its hooks.
C_FILES := $(wildcard tests/c/*.c)
TESTS := $(notdir $(basename $(filter tests/c/test_%,$(C_FILES))))
SIM_PROGRAMS := $(notdir $(basename $(shell grep -l '^int main' $(filter-out tests/c/test_%,$(C_FILES)))))
SIM_PARTS := $(filter-out $(TESTS) $(SIM_PROGRAMS),$(notdir $(basename $(C_FILES))))

build/c build/sanitized:
	mkdir -p $@

build/c/test_%: tests/c/test_%.c $(C_HEADERS) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/sanitized/test_%: tests/c/test_%.c $(C_HEADERS) | build/sanitized
	$(CC) $(C_FLAGS) $(SANITIZED) -o $@ $<

build/c/native: bench/native.c shmq/probe.h $(HEADERS) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/c/%.o: tests/c/%.c $(C_HEADERS) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -DSHMQ_SIMULATOR -c -o $@ $<

build/c/simulator.a: $(patsubst %,build/c/%.o,$(SIM_PARTS))
	rm -f $@
	$(AR) rc $@ $^

$(addprefix build/c/,$(SIM_PROGRAMS)): build/c/%: build/c/%.o build/c/simulator.a
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $^

c-test: $(addprefix build/c/,$(TESTS))
	@set -e; for program in $^; do echo $$program; $$program; done

# All at once, as many as there are cores; what one prints appears when it has finished.
RUN_AND_SHOW := 'out=$$({} 2>&1) || { echo "$$out"; echo "{} failed"; exit 255; }; echo "{}"; echo "$$out"'

sim: $(addprefix build/c/,$(SIM_PROGRAMS))
	@{ for program in $(filter-out %/sim_random,$^); do echo $$program; done; \
	   for part in $$(seq 0 $$(($(JOBS) - 1))); do \
	       echo build/c/sim_random $$((part * $(SCHEDULES) / $(JOBS) + 1)) $$((($(SCHEDULES) + $(JOBS) - 1) / $(JOBS))); \
	   done; } | xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW)

sanitize: $(addprefix build/sanitized/,$(TESTS))
	@set -e; for program in $^; do echo $$program; $$program; done

clean:
	rm -rf build $(VENV) shmq/_*.c shmq/*.so *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} +
