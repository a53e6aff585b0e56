# SPDX-License-Identifier: MIT
# Programs of all roles, killed at random.

.PHONY: soak soak-test
SLICES += soak-test

SOAK_FILES := $(wildcard tests/soak/*.h) $(C_HEADERS)

build/c/soak: tests/soak/soak.c $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/c/soak_worker: tests/soak/worker.c $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -o $@ $<

build/c/soak_worker_without: tests/soak/worker.c tests/step/without.h $(SOAK_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -include tests/step/without.h -o $@ $<

# Steps without which the soak must report something, and what.
SOAK_MISSED := C3_REQUEUE=lost C4_RQ=lost C3_TICKET=leaked
KILLS ?= 1000000
SECONDS ?= 600
SOAK_PROGRAMS := build/c/soak build/c/soak_worker build/c/soak_worker_without

soak: $(SOAK_PROGRAMS)
	rm -f build/soak.json
	status=0; build/c/soak build/c/soak_worker $(KILLS) $(SECONDS) build/soak.json || status=$$?; \
	$(PYTHON) tests/soak/record.py build/soak.json docs/soak.md \
	    "$$(git rev-parse --short HEAD)$$(git diff --quiet HEAD -- include shmq tests/soak || echo +)"; exit $$status

soak-test:
	$(BUILD) $(SOAK_PROGRAMS)
	@for missed in $(SOAK_MISSED); do \
	    found=$$(SHMQ_WITHOUT=$${missed%=*} build/c/soak build/c/soak_worker_without 100000 3 2>&1) \
	        && { echo "without the step $${missed%=*} nothing was reported" >&2; exit 1; }; \
	    echo "$$found" | grep -q "^$${missed#*=}: [^0]" || { echo "$$found" | tail; exit 1; }; \
	    echo "without the step $${missed%=*}: $$(echo "$$found" | grep -m 1 "^$${missed#*=}: [^0]")"; \
	done
	build/c/soak build/c/soak_worker 1000000 40
