# SPDX-License-Identifier: MIT
# make demo      the demonstration: a whole standard library from process to process, in place
# make test      all that must hold: the C tests, the simulator, pytest
# make bench     the figures, beside a cache-line probe and a hand-made ring of the same run
# make lint      ruff, cython-lint, mypy and stubtest; every header alone as C++
# make sanitize  the C tests under the address and undefined-behaviour sanitizers
# make coverage  the C core's lines and branches that the C tests take, and those that none does
# make tsan      threads as processes under ThreadSanitizer
# make single-step  each operation, and who recovers it, killed and frozen before each machine instruction (x86-64)
# make soak      programs of all roles killed at random, KILLS of C, then PYTHON_KILLS, SECONDS each at most; adds two
#                rows to docs/soak.md
# make reclaim   how long it takes from a death until all is back, by the size of the region
# make corrupt   shared memory is damaged under the sanitizers while peers work (MUTATIONS=…, SEED=…)
# make models    the headers under Relacy, every state of a model of the queue under Spin
# make test-arm  the C tests and a slice of the simulator for aarch64, under qemu-user
# make test-pythons  pytest on every CPython from 3.10 to 3.14 that is here
# make clean     remove all that was built, and the virtual environment
#
# Each sets itself up: a virtual environment in .venv, what it needs from PyPI, the compiled core.

PYTHON ?= python3
CC ?= cc
JOBS ?= $(shell nproc)
SCHEDULES ?= 200000
SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

HEADERS := $(wildcard include/shmq/*.h)
EXTENSION_SOURCES := setup.py $(HEADERS) $(wildcard shmq/*.pyx shmq/*.pxd shmq/*.h)

.PHONY: demo test py-test c-test sim bench lint sanitize coverage tsan test-arm arm-tools test-pythons clean
.DELETE_ON_ERROR:
.SECONDARY:

demo: $(VENV)/with-demo $(VENV)/built
	$(BIN)/python -m shmq demo

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
	! LC_ALL=C.UTF-8 grep -nE '^.{121}' $(HEADERS) $(wildcard shmq/*.h tests/*/*.[ch] tests/*/*.cc bench/*.c)
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

# Is this the version asked for, whole, and with the GIL?
USABLE := 'import ensurepip, os, sys, sysconfig, venv; os.stat(sysconfig.get_path("include") + "/Python.h"); \
    sys.exit(sys.implementation.name != "cpython" or bool(sysconfig.get_config_var("Py_GIL_DISABLED")) \
    or "%d.%d" % sys.version_info[:2] != sys.argv[1])'
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14

# On the PATH or pyenv's; each in a virtual environment of its own.
test-pythons:
	@tested=; absent=; for version in $(PYTHONS); do \
	    found=; for python in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	        [ -n "$$found" ] || ! "$$python" -c $(USABLE) $$version 2>/dev/null || found=$$python; \
	    done; \
	    [ -n "$$found" ] || { absent="$$absent $$version"; continue; }; \
	    "$$found" -VV; \
	    $(MAKE) --no-print-directory PYTHON="$$found" VENV=build/python-$$version py-test || exit; \
	    tested="$$tested $$version"; \
	done; \
	echo "tested:$${tested:- none}; not here, or without headers, venv or GIL:$${absent:- none}"; [ -n "$$tested" ]

# ---- C ----------------------------------------------------------------------------------------------------

C_FLAGS := -std=gnu11 -Wall -Wextra -Werror -Iinclude -Itests/c -pthread
OPTIMISED := -O2 -g
SIMULATED := -DSHMQ_SIMULATOR -DSHMQ_CLUSTERS=2u -DSHMQ_CLUSTER_BLOCKS=2u # so few that recoveries judge in mid-scan
SANITIZED := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
C_HEADERS := $(HEADERS) $(wildcard tests/c/*.h)

# Each test_*.c is a program of its own. Other files with a main are the simulator's programs: they share its parts and
# reach the headers through its hooks.
C_FILES := $(wildcard tests/c/*.c)
TESTS := $(notdir $(basename $(filter tests/c/test_%,$(C_FILES))))
SIM_PROGRAMS := $(notdir $(basename $(shell grep -l '^int main' $(filter-out tests/c/test_%,$(C_FILES)))))
SIM_PARTS := $(filter-out $(TESTS) $(SIM_PROGRAMS),$(notdir $(basename $(C_FILES))))

C_BUILD := build/c

$(C_BUILD) build/sanitized:
	mkdir -p $@

$(C_BUILD)/test_%: tests/c/test_%.c $(C_HEADERS) | $(C_BUILD)
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/sanitized/test_%: tests/c/test_%.c $(C_HEADERS) | build/sanitized
	$(CC) $(C_FLAGS) $(SANITIZED) -o $@ $<

build/c/native: bench/native.c shmq/probe.h $(HEADERS) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

$(C_BUILD)/%.o: tests/c/%.c $(C_HEADERS) | $(C_BUILD)
	$(CC) $(C_FLAGS) $(OPTIMISED) $(SIMULATED) -c -o $@ $<

$(C_BUILD)/simulator.a: $(patsubst %,$(C_BUILD)/%.o,$(SIM_PARTS))
	rm -f $@
	$(AR) rc $@ $^

$(addprefix $(C_BUILD)/,$(SIM_PROGRAMS)): $(C_BUILD)/%: $(C_BUILD)/%.o $(C_BUILD)/simulator.a
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $^

# Compiled as many at once as there are cores, whatever the -j that make was called with.
BUILD := @$(MAKE) --no-print-directory -j $(JOBS)
RUN_EACH = @set -e; for program in $(addprefix $(1)/,$(TESTS)); do echo $$program; $$program; done

c-test:
	$(BUILD) $(addprefix $(C_BUILD)/,$(TESTS))
	$(call RUN_EACH,$(C_BUILD))

# All at once, as many as there are cores; what one prints appears when it has finished.
RUN_AND_SHOW := 'out=$$({} 2>&1) || { echo "$$out"; echo "{} failed"; exit 255; }; echo "{}"; echo "$$out"'

sim:
	$(BUILD) $(addprefix $(C_BUILD)/,$(SIM_PROGRAMS))
	@{ for part in $$(seq 0 $$(($(JOBS) - 1))); do \
	       echo $(C_BUILD)/sim_exhaustive 0 1000 $(JOBS) $$part; \
	   done; \
	   for part in $$(seq 0 $$(($(JOBS) - 1))); do \
	       echo $(C_BUILD)/sim_random $$((part * $(SCHEDULES) / $(JOBS) + 1)) $$((($(SCHEDULES) + $(JOBS) - 1) / $(JOBS))); \
	   done; \
	   for program in $(filter-out sim_random sim_exhaustive,$(SIM_PROGRAMS)); do echo $(C_BUILD)/$$program; done; \
	} | xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW)

sanitize:
	$(BUILD) $(addprefix build/sanitized/,$(TESTS))
	$(call RUN_EACH,build/sanitized)

# All that runs in one process's memory, or ends by itself: who is killed tells nothing.
COVERED := -O0 -g --coverage -fprofile-update=atomic -fno-builtin-fork -include tests/c/flushed.h
COVERAGE_SCHEDULES := 1000
COVERAGE_TESTS := $(filter-out test_threads,$(TESTS)) # threads take another way each time
COVERAGE_PROGRAMS := $(COVERAGE_TESTS) sim_exhaustive sim_random

coverage:
	rm -f build/coverage/*.gcda
	mkdir -p build/coverage && chmod a+rwx build/coverage # tests become other users
	$(BUILD) C_BUILD=build/coverage OPTIMISED="$(COVERED)" $(addprefix build/coverage/,$(COVERAGE_PROGRAMS))
	@{ for test in $(COVERAGE_TESTS); do echo build/coverage/$$test; done; \
	   echo build/coverage/sim_exhaustive 0 1000 297; \
	   echo build/coverage/sim_random 1 $(COVERAGE_SCHEDULES); \
	} | (umask 0; xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW))
	$(PYTHON) tests/branches.py build/coverage

build/tsan/test_threads: tests/c/test_threads.c $(C_HEADERS)
	mkdir -p $(@D)
	$(CC) $(C_FLAGS) -O1 -g -fsanitize=thread -o $@ $<

# Orders without which ThreadSanitizer must report a race: of a hand-over, of a free, of a ticket given back.
WEAKENED := S1+S2 F1 T_CLEAR
# GCC's before 14 does not start where the kernel places mappings too much at random.
UNSHUFFLED := $(shell setarch -R true 2>/dev/null && echo setarch -R)

tsan: build/tsan/test_threads
	$(UNSHUFFLED) $<
	@for steps in $(WEAKENED); do \
	    found=$$(SHMQ_WEAKEN=$$steps TSAN_OPTIONS=halt_on_error=1 $(UNSHUFFLED) $< 2>&1 | grep "^SUMMARY.*data race") \
	        || { echo "without the orders of $$steps nothing was reported" >&2; exit 1; }; \
	    echo "without the orders of $$steps: $$found"; \
	done

# ---- what stops, kills and damages processes ---------------------------------------------------------------

# A tests/*/rules.mk adds the slice of itself that belongs to `make test`. pytest comes last: its summary ends the run.
include $(wildcard tests/*/rules.mk)

test: c-test sim $(SLICES) py-test

# ---- aarch64 ----------------------------------------------------------------------------------------------

# An emulator orders memory as strictly as the processor that it runs on: this tests the code, its layout and its system
# calls, not its orders. What the emulator itself cannot do a test says (tests/c/emulated.h).
ARM := aarch64-linux-gnu
ARM_BUILD := build/arm
ARM_SCHEDULES ?= 20000
ARM_PAIRS := 0 1000 31 # each 31st
ARM_PROGRAMS := $(filter-out test_faults,$(TESTS)) directed model_life # of faults there are too many for an emulator
QEMU := $(firstword $(foreach name,qemu-aarch64 qemu-aarch64-static,$(shell command -v $(name))))
QEMU_FEW_PAGES := -R 0x20000000 # what 7.2 notes of each page ever mapped makes a fork slow; so it meets few
QEMU_test_fork := $(QEMU_FEW_PAGES)
QEMU_test_life := $(QEMU_FEW_PAGES)

arm-tools:
	@missing=; \
	echo 'int main(void) { return 0; }' | $(ARM)-gcc -static -x c -o /dev/null - 2>/dev/null \
	    || missing="$$missing gcc-$(ARM) libc6-dev-arm64-cross"; \
	[ -n "$(QEMU)" ] || missing="$$missing qemu-user"; \
	[ -z "$$missing" ] || { echo "make test-arm: not there or not complete:$$missing." \
	    "Debian and Ubuntu: apt-get install -y$$missing" >&2; exit 1; }

test-arm: arm-tools
	$(BUILD) C_BUILD=$(ARM_BUILD) CC=$(ARM)-gcc AR=$(ARM)-ar \
	    OPTIMISED="$(OPTIMISED) -static -DCHECK_EMULATED" \
	    $(addprefix $(ARM_BUILD)/,$(ARM_PROGRAMS) sim_random sim_exhaustive)
	@{ $(foreach program,$(ARM_PROGRAMS),echo $(QEMU) $(QEMU_$(program)) $(ARM_BUILD)/$(program);) \
	   echo $(QEMU) $(ARM_BUILD)/sim_exhaustive $(ARM_PAIRS); \
	   for part in $$(seq 0 $$(($(JOBS) - 1))); do \
	       echo $(QEMU) $(ARM_BUILD)/sim_random $$((part * $(ARM_SCHEDULES) / $(JOBS) + 1)) \
	           $$((($(ARM_SCHEDULES) + $(JOBS) - 1) / $(JOBS))); \
	   done; } | xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW)

clean:
	rm -rf build $(VENV) shmq/_*.c shmq/*.so *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} +
