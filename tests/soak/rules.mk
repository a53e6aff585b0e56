# SPDX-License-Identifier: MIT
# Programs of all roles, killed at random.

.PHONY: soak soak-test reclaim reclaim-test
SLICES += soak-test
SLICES += reclaim-test

SOAK_FILES := $(wildcard tests/soak/*.h) $(C_HEADERS)

$(foreach build,$(C_BUILD) build/sanitized,$(build)/test_account $(build)/test_progress): $(wildcard tests/soak/*.h)

build/c/soak: tests/soak/soak.c $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/c/soak_worker: tests/soak/worker.c $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/c/soak_worker_without: tests/soak/worker.c tests/step/without.h $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -include tests/step/without.h -o $@ $<

# Steps without which the soak must report something, and what.
SOAK_MISSED := C3_REQUEUE=lost C4_RQ=lost RQ1=duplicated A2=torn C3_TICKET=leaked C5=hung
KILLS ?= 200000
PYTHON_KILLS ?= 10000
SECONDS ?= 600
SOAK_PROGRAMS := build/c/soak build/c/soak_worker build/c/soak_worker_without
WATCHED := build/corrupt/quiet $(if $(filter x86_64,$(shell uname -m)),build/c/single_step) # as the soak is (watcher.h)
SOAK := build/c/soak build/c/soak_worker
SOAK_PYTHON = $(BIN)/python tests/soak/worker.py $(CURDIR)

# Each run is a row, a bad one, too.
SOAK_RECORD = status=$$?; $(BIN)/python tests/soak/record.py build/soak.json docs/soak.md \
    "$$(git rev-parse --short HEAD)$$(git diff --quiet HEAD -- include shmq tests/soak || echo +)"; exit $$status

soak: $(SOAK_PROGRAMS) $(VENV)/built
	rm -f build/soak.json
	$(SOAK) $(KILLS) $(SECONDS) build/soak.json; $(SOAK_RECORD)
	rm -f build/soak.json
	$(SOAK) 0 $(SECONDS) build/soak.json $(SOAK_PYTHON) $(PYTHON_KILLS); $(SOAK_RECORD)

soak-test: $(VENV)/built
	$(BUILD) $(SOAK_PROGRAMS) $(WATCHED)
	tests/soak/self_test.sh build/c $(SOAK_MISSED)
	$(BIN)/python tests/soak/killed.py $(SOAK) $(WATCHED)
	$(SOAK) 100000 25
	$(SOAK) 0 15 build/soak.json $(SOAK_PYTHON) 100000

build/c/reclaim: tests/soak/reclaim.c $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

reclaim: build/c/reclaim
	build/c/reclaim

# That it measures; times are judged by nobody here.
reclaim-test: build/c/reclaim
	$< 3 10000
