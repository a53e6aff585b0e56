# SPDX-License-Identifier: MIT
# Shared memory is damaged under the sanitizers while peers work.

.PHONY: corrupt corrupt-run corrupt-test
SLICES += corrupt-test

CORRUPT := build/corrupt
CORRUPT_FILES := $(wildcard tests/corrupt/*.h) tests/c/check.h tests/c/watcher.h $(HEADERS)
MUTATIONS ?= 10000000
RACING = $$(($(MUTATIONS) / 50)) # each is written while others work, and waits for them
CORRUPT_PROGRAMS := $(CORRUPT)/quiet $(CORRUPT)/race $(CORRUPT)/quiet_without $(CORRUPT)/race_without

$(CORRUPT)/%: tests/corrupt/%.c $(CORRUPT_FILES)
	mkdir -p $(@D)
	$(CC) $(C_FLAGS) $(SANITIZED) -o $@ $<

# Headers of which each check can be left out.
$(CORRUPT)/without: tests/corrupt/without.sed $(HEADERS)
	rm -rf $@
	mkdir -p $@/shmq
	for header in $(HEADERS); do sed -f $< $$header > $@/shmq/$${header##*/}; done

$(CORRUPT)/%_without: tests/corrupt/%.c $(CORRUPT)/without $(CORRUPT_FILES)
	$(CC) -include tests/corrupt/without.h -I$(CORRUPT)/without $(C_FLAGS) $(SANITIZED) -o $@ $<

# First the checks left out, each of which must be missed.
corrupt-run:
	$(BUILD) $(CORRUPT_PROGRAMS)
	tests/corrupt/self_test.sh $(CORRUPT) 1000000
	@{ for part in $$(seq 0 $$(($(JOBS) - 1))); do \
	       echo $(CORRUPT)/quiet $$((($(MUTATIONS) + $(JOBS) - 1) / $(JOBS))) $$(($(SEED) + part)); \
	   done; \
	   echo $(CORRUPT)/race $(RACING) $(SEED); \
	} | xargs -P $(JOBS) -I{} sh -c $(RUN_AND_SHOW) > $(CORRUPT)/output; status=$$?; cat $(CORRUPT)/output; exit $$status

corrupt: corrupt-run
	tests/corrupt/record.sh docs/corruption.md $(SEED) < $(CORRUPT)/output

# A slice of it, of which nothing is recorded.
corrupt-test:
	@$(MAKE) --no-print-directory corrupt-run MUTATIONS=1000000
