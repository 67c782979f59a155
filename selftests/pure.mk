# SPDX-License-Identifier: GPL-2.0
# A file of the module that needs no kernel, kmod/$(NAME).c: compiled for
# userspace and tested there, against a definition that is too slow for the kernel
# but obvious, or in a world that is played. `make check` runs it.
HERE := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
PROJECT := $(realpath $(HERE)/..)
O ?= $(PROJECT)/build
OUT := $(abspath $(O))/selftests/$(NAME)
TEST := $(HERE)/$(NAME)/$(NAME)_test.c
SRC := $(PROJECT)/kmod/$(NAME).c
KSELFTEST_DIR ?= $(shell $(HERE)/vm/kselftest-src)/tools/testing/selftests
CFLAGS ?= -O1 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-I$(HERE)/$(NAME) -I$(PROJECT)/kmod -isystem $(KSELFTEST_DIR)/kselftest \
	-Wno-sign-compare -Wno-unused-parameter -Wno-missing-field-initializers

.PHONY: all check
all: $(OUT)/$(NAME)

$(OUT)/$(NAME): $(TEST) $(wildcard $(HERE)/$(NAME)/*.h) $(SRC) $(wildcard $(PROJECT)/kmod/$(NAME)*.h)
	@mkdir -p $(OUT)
	$(CC) $(ALL_CFLAGS) $(TEST) $(SRC) -o $@

check: all
	@$(HERE)/lib/run-all $(OUT)/$(NAME)
