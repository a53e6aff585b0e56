# SPDX-License-Identifier: MIT
# Each operation, and who recovers it, killed and frozen before each machine instruction.

.PHONY: single-step step-test
SLICES += step-test

STEP_FILES := $(wildcard tests/step/*.h) $(C_HEADERS)

build/c/single_step build/c/pairs: build/c/%: tests/step/%.c $(STEP_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -Wl,-z,now -o $@ $<

build/c/single_step_without: tests/step/single_step.c $(STEP_FILES) | build/c
	$(CC) $(C_FLAGS) $(OPTIMISED) -Wl,-z,now -include tests/step/without.h -o $@ $<

# Steps without which a killed process must be reported to have left something, and by which check: of blocks, or of how
# often a message came.
MISSED := C3_REQUEUE=SHMQ_STATE_FREE C3_FREE=SHMQ_STATE_FREE C3_BACK=SHMQ_STATE_FREE C3_TICKET=SHMQ_STATE_FREE \
    'C4_RQ=total >= least'
STRIDE ?= 1
SAMPLES ?= 100000
PAIRS_STRIDE ?= 1
STEP_PROGRAMS := build/c/single_step build/c/pairs build/c/single_step_without

single-step: $(STEP_PROGRAMS)
	@found=$$(SHMQ_WITHOUT=none build/c/single_step_without "" 97 2>&1) \
	    || { echo "$$found"; echo "something was reported though no step was left out" >&2; exit 1; }
	@for missed in $(MISSED); do \
	    found=$$(SHMQ_WITHOUT=$${missed%%=*} build/c/single_step_without "" 7 2>&1) \
	        && { echo "without the step $${missed%%=*} nothing was reported" >&2; exit 1; }; \
	    said=$$(echo "$$found" | grep -m 1 "^tests/step/.*$${missed#*=}.* in .*, killed before") \
	        || { echo "$$found"; echo "without the step $${missed%%=*} another thing was reported" >&2; exit 1; }; \
	    echo "without the step $${missed%%=*}: $$said"; \
	done
	@{ echo 'build/c/single_step \"\" $(STRIDE)'; echo 'build/c/pairs \"\" $(SAMPLES) $(SEED) $(PAIRS_STRIDE)'; } \
	    | xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW)

# A slice of it; what is left to the whole is the number of points.
step-test:
ifeq ($(shell uname -m),x86_64)
	$(BUILD) $(STEP_PROGRAMS)
	@$(MAKE) --no-print-directory single-step STRIDE=97 SAMPLES=300 PAIRS_STRIDE=12
else
	@echo "single steps: not here, they are written for x86-64"
endif
