# SPDX-License-Identifier: GPL-2.0
# What the Makefiles of the library's tests share; HERE is the directory of the
# one that includes this. Every .c there with a TEST_HARNESS_MAIN is one test
# program, the others belong to each. The harness comes from a kernel's
# tools/testing/selftests (KSELFTEST_DIR). SANITIZE=1 builds library and tests
# with ASan and UBSan, SANITIZE=thread with TSan, in directories of their own.
SELFTESTS := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
PROJECT := $(realpath $(SELFTESTS)/..)
O ?= $(PROJECT)/build

CFLAGS ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror $(CFLAGS) -MMD -MP
ifeq ($(SANITIZE),thread)
ALL_CFLAGS += -fsanitize=thread -fno-omit-frame-pointer
OUT_SUFFIX := -thread
USER_SUFFIX := -tsan
else ifneq ($(SANITIZE),)
ALL_CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-fno-omit-frame-pointer
OUT_SUFFIX := -sanitize
USER_SUFFIX := -asan
endif
OUT_BASE := $(abspath $(O))/selftests/$(notdir $(HERE))
OUT := $(OUT_BASE)$(OUT_SUFFIX)
USER_OUT := $(abspath $(O))/user$(USER_SUFFIX)

ifeq ($(filter clean,$(MAKECMDGOALS)),)
ifeq ($(KSELFTEST_DIR),)
KSELFTEST_DIR := $(shell $(SELFTESTS)/vm/kselftest-src)/tools/testing/selftests
endif
ifeq ($(wildcard $(KSELFTEST_DIR)/kselftest_harness.h),)
$(error no kselftest harness in "$(KSELFTEST_DIR)"; selftests/vm/kselftest-src fetches it)
endif
endif

TESTS := $(sort $(basename $(notdir $(shell grep -l '^TEST_HARNESS_MAIN' $(HERE)/*.c))))
COMMON := $(filter-out $(TESTS),$(basename $(notdir $(wildcard $(HERE)/*.c))))
COMMON_OBJS := $(COMMON:%=$(OUT)/%.o)
PROGRAMS := $(TESTS:%=$(OUT)/%)

# Tests say "../kselftest_harness.h", as in a kernel tree: the last path finds
# it from here. The harness compares what the caller gives it, signed or not,
# names a parameter that a test may not use, and ends initialisers early.
TEST_CPPFLAGS := -I$(PROJECT)/include -isystem $(KSELFTEST_DIR)/kselftest \
	-Wno-sign-compare -Wno-unused-parameter -Wno-missing-field-initializers
LIBS := $(shell pkg-config --libs json-c liburing) -lpthread

all: $(PROGRAMS)

$(OUT):
	@mkdir -p $@

$(OUT)/%.o: $(HERE)/%.c | $(OUT)
	$(CC) $(ALL_CFLAGS) $(TEST_CPPFLAGS) -c $< -o $@

# The library as others link it, for those who test that.
library:
	@$(MAKE) --no-print-directory -C $(PROJECT)/user O=$(abspath $(O))/user \
		SANITIZE=$(SANITIZE) lib

# Has a recipe so that make looks at its time again.
$(USER_OUT)/libmappedram.a: library
	@:

clean:
	rm -rf $(OUT_BASE) $(OUT_BASE)-sanitize $(OUT_BASE)-thread

.PHONY: all library check clean
.SECONDARY:
-include $(wildcard $(OUT)/*.d $(OUT)/*/*.d)
