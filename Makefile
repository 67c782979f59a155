# SPDX-License-Identifier: GPL-2.0
# Everything starts here; `make help` says what there is.
#
# KERNEL picks a line of selftests/vm/kernels (or "debug"): the kernel that the
# module is built for and that the test machine boots. KDIR builds the module
# against any other kernel's build directory instead.

KERNEL ?= 6.1
BUILD ?= $(CURDIR)/build
VM := selftests/vm

# A directory for each kernel, so that one tree serves any number of them.
KMOD_OUT := $(BUILD)/kmod-$(KERNEL)
KMOD_SRC := $(wildcard kmod/*.c kmod/*.h) kmod/Kbuild

.DELETE_ON_ERROR:
.PHONY: all help deps module floor user demo check bench vm lint clean install

all: module user

help:
	@echo 'Two commands do everything, as root on Debian 12 or 13:'
	@echo '  make demo         save and restore a real KVM guest in the test machine'
	@echo '  make check        build and run all tests there'
	@echo
	@echo 'The others:'
	@echo '  make              build module, library, tool and example'
	@echo '  make module       the module, for KERNEL=$(KERNEL) or KDIR=/lib/modules/.../build'
	@echo '  make user         library, tool and example'
	@echo '  make bench        what saving costs, engine by engine: see user/bench/run'
	@echo '  make lint         checkpatch, sparse and shellcheck'
	@echo '  make vm           a shell in the test machine'
	@echo '  make deps         install what building and testing needs'
	@echo '  make install      library, tool, headers and man pages, to DESTDIR/PREFIX'
	@echo '  make clean        remove build/'
	@echo
	@echo 'KERNEL=NAME picks a kernel: $(shell sed -n 's/^\([^# \t]\+\).*/\1/p' $(VM)/kernels 2>/dev/null | tr '\n' ' ')debug'

deps:
	@$(VM)/install-deps

# Where there is sparse, it looks at the module with every build.
SPARSE ?= $(shell command -v sparse)

# kbuild writes beside the sources, so it gets a directory of links to them.
# Without the kernel's own type information a module can have none either.
module: $(KMOD_SRC) include/uapi/linux/mapped_ram.h
	@mkdir -p $(KMOD_OUT)
	@ln -sf $(abspath $(KMOD_SRC)) $(KMOD_OUT)/
	@kdir="$(KDIR)"; [ -n "$$kdir" ] || kdir=$$($(VM)/kdir $(KERNEL)) && \
	{ [ -e "$$kdir/vmlinux" ] || btf=CONFIG_DEBUG_INFO_BTF_MODULES=; } && \
	$(MAKE) --no-print-directory -C "$$kdir" M=$(abspath $(KMOD_OUT)) \
		MRAM_INCLUDE=$(abspath include) W=1 $(if $(SPARSE),C=1) $$btf modules

# What `make bench` compares with: no part of what is shipped.
FLOOR_OUT := $(BUILD)/floor-$(KERNEL)
floor:
	@mkdir -p $(FLOOR_OUT)
	@ln -sf $(CURDIR)/user/bench/floor/* $(FLOOR_OUT)/
	@kdir=$$($(VM)/kdir $(KERNEL)) && \
	{ [ -e "$$kdir/vmlinux" ] || btf=CONFIG_DEBUG_INFO_BTF_MODULES=; } && \
	$(MAKE) --no-print-directory -C "$$kdir" M=$(abspath $(FLOOR_OUT)) \
		W=1 $(if $(SPARSE),C=1) $$btf modules

user:
	@$(MAKE) --no-print-directory -C user O=$(abspath $(BUILD))/user

# What is missing is installed before anything else is looked at.
demo: deps
	@$(MAKE) --no-print-directory module user
	@$(VM)/run --kernel $(KERNEL) -- selftests/demo/demo.sh

# One part sees that the experiments run, and makes their report.
check:
	@$(VM)/install-deps build check vm debug bench
	@selftests/check

# KERNEL may name several here.
bench:
	@$(VM)/install-deps build vm bench
	@for kernel in $(KERNEL); do \
		$(MAKE) --no-print-directory module floor KERNEL=$$kernel || \
			exit; \
	done
	@$(MAKE) --no-print-directory user
	@KERNEL="$(KERNEL)" user/bench/run $(BUILD)

lint:
	@selftests/lint

vm: module user
	@$(VM)/shell --kernel $(KERNEL)

install: user
	@$(MAKE) --no-print-directory -C user O=$(abspath $(BUILD))/user install

clean:
	rm -rf $(BUILD)
