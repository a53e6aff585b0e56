# SPDX-License-Identifier: MIT
# The headers under Relacy, and every state of a model of the queue under Spin.

.PHONY: models model-test
SLICES += model-test

RELACY := $(wildcard /usr/include/relacy/relacy.hpp)
SPIN := $(shell command -v spin)
SEARCHES ?= all

build/models/orders: tests/models/orders.cc $(wildcard tests/models/*.h) $(HEADERS)
	mkdir -p $(@D)
	$(CXX) -std=gnu++17 -O2 -g -Wall -Wextra -Werror -Iinclude -o $@ $<

models: $(if $(RELACY),build/models/orders)
ifeq ($(RELACY),)
	@echo "models of orders: skipped, Relacy is not here (Debian and Ubuntu: apt install relacy-dev)"
else
	build/models/orders
endif
ifeq ($(SPIN),)
	@echo "model of the queue: skipped, Spin is not here (Debian and Ubuntu: apt install spin)"
else
	tests/models/queue.sh build/models/spin $(SEARCHES)
endif

# The whole is short enough, but for the largest searches.
model-test:
	@$(MAKE) --no-print-directory models SEARCHES=
