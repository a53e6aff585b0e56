# SPDX-License-Identifier: MIT
# The headers under Relacy, and every state of a model of the queue under Spin.

.PHONY: models model-test
SLICES += model-test

RELACY := $(wildcard /usr/include/relacy/relacy.hpp)

build/models/orders: tests/models/orders.cc $(wildcard tests/models/*.h) $(HEADERS)
	mkdir -p $(@D)
	$(CXX) -std=gnu++17 -O2 -g -Wall -Wextra -Werror -Iinclude -o $@ $<

models: $(if $(RELACY),build/models/orders)
ifeq ($(RELACY),)
	@echo "models of orders: skipped, Relacy is not here (Debian and Ubuntu: apt install relacy-dev)"
else
	build/models/orders
endif
