// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The virtual machine: KVM's slots, one processor, and the loop that runs it.
 *
 * The processor is run either by the caller (vm_run_to) or by a thread of its
 * own (vm_start, vm_stop). In both cases the loop is left only when KVM_RUN
 * returns EINTR, never from the handling of an exit: KVM finishes an exit (the
 * instruction pointer behind an OUT, say) when it is entered again, and with
 * immediate_exit set it does that and nothing more. Only then the registers
 * are those of a moment between two instructions.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "minivmm.h"

#define KICK	SIGUSR1

/* What Intel's processors need beside the guest's memory: three pages */
#define TSS_ADDRESS	0xfffbd000

/* Of the thread that runs the processor; the signal's handler wants it */
static _Thread_local struct kvm_run *running;

static void kick(int signal)
{
	(void)signal;
	running->immediate_exit = 1;
}

/*
 * KVM_CREATE_VM gives up when a signal is pending, and io_uring's completions,
 * which an engine may have under way in this thread, look like one to it.
 */
static int vm_ioctl(int fd, unsigned long request, const char *name, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		die("%s: %s", name, strerror(errno));
	return ret;
}
#define VM_IOCTL(fd, request, arg) \
	vm_ioctl(fd, request, #request, (void *)(uintptr_t)(arg))

static void set_slots(struct vm *vm, uint32_t flags)
{
	for (int i = 0; i < SLOTS; i++) {
		const struct slot *s = &vm->ram.slots[i];
		uint8_t *addr = vm->ram.regions[s->region].addr + s->offset;
		struct kvm_userspace_memory_region r = {
			.slot = i,
			.flags = flags,
			.guest_phys_addr = s->gpa,
			.memory_size = s->length,
			.userspace_addr = (uintptr_t)addr,
		};

		VM_IOCTL(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &r);
	}
}

static void set_cpuid(struct vm *vm)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };

	VM_IOCTL(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid);
	VM_IOCTL(vm->vcpu_fd, KVM_SET_CPUID2, &cpuid);
}

/* Make the machine around memory that ram_allocate() made */
void vm_create(struct vm *vm, bool manual_protect)
{
	struct sigaction action = { .sa_handler = kick };
	uint64_t before;
	int size;

	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		die("/dev/kvm: %s", strerror(errno));
	vm->vm_fd = VM_IOCTL(vm->kvm_fd, KVM_CREATE_VM, 0);
	VM_IOCTL(vm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS);
	if (manual_protect) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
			.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
		};

		VM_IOCTL(vm->vm_fd, KVM_ENABLE_CAP, &cap);
	}
	/* Tables, as large as the guest */
	before = cpu_ns();
	set_slots(vm, 0);
	vm->slots_cpu = cpu_ns() - before;

	vm->vcpu_fd = VM_IOCTL(vm->vm_fd, KVM_CREATE_VCPU, 0);
	size = VM_IOCTL(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vm->vcpu_fd, 0);
	if (vm->run == MAP_FAILED)
		die("vcpu: %s", strerror(errno));
	set_cpuid(vm);
	sigaction(KICK, &action, NULL);
}

/* From now on KVM notes which pages the guest writes */
void vm_log_dirty(struct vm *vm)
{
	set_slots(vm, KVM_MEM_LOG_DIRTY_PAGES);
}

/* Put the processor at the guest's first instruction, in 64-bit mode */
void vm_reset(struct vm *vm)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1,
		.l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1,
		.db = 1, .g = 1,
	};
	struct kvm_regs regs = {
		.rip = GUEST_FIRMWARE + GUEST_CODE * GUEST_PAGE,
		.rbp = GUEST_FIRMWARE + GUEST_STATE * GUEST_PAGE,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	VM_IOCTL(vm->vcpu_fd, KVM_GET_SREGS, &sregs);
	sregs.cr0 = 0x80050033;		/* PG, AM, WP, NE, ET, MP, PE */
	sregs.cr3 = GUEST_FIRMWARE + GUEST_PML4 * GUEST_PAGE;
	sregs.cr4 = 0x620;		/* OSXMMEXCPT, OSFXSR, PAE */
	sregs.efer = 0x500;		/* LMA, LME */
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	VM_IOCTL(vm->vcpu_fd, KVM_SET_SREGS, &sregs);
	VM_IOCTL(vm->vcpu_fd, KVM_SET_REGS, &regs);
}

/* The guest reports: check it, hold it back to its rate, maybe stop it */
static void report(struct vm *vm)
{
	struct kvm_run *run = vm->run;
	uint64_t step = ram_state(&vm->ram)->step;
	uint32_t value;

	memcpy(&value, (uint8_t *)run + run->io.data_offset, sizeof(value));
	if (run->io.direction != KVM_EXIT_IO_OUT || run->io.port != GUEST_PORT ||
	    run->io.size != 4 || run->io.count != 1)
		die("the guest used port %#x", run->io.port);
	if (value != (uint32_t)step)
		die("the guest says step %u, its memory says %llu", value,
		    (unsigned long long)step);

	if (vm->dirty_rate) {
		uint64_t now = now_ns();
		struct timespec until;

		if (vm->next_report > now) {
			until.tv_sec = vm->next_report / 1000000000;
			until.tv_nsec = vm->next_report % 1000000000;
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until,
					NULL);
			now = vm->next_report;
		}
		vm->next_report = now + GUEST_REPORT * UINT64_C(1000000000) /
					vm->dirty_rate;
	}
	if (step >= vm->target) {
		vm->stop = true;
		run->immediate_exit = 1;
	}
}

static void *run_loop(void *arg)
{
	struct vm *vm = arg;
	struct kvm_run *run = vm->run;
	sigset_t set;

	running = run;
	sigemptyset(&set);
	sigaddset(&set, KICK);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);

	for (;;) {
		if (ioctl(vm->vcpu_fd, KVM_RUN, 0) < 0) {
			if (errno != EINTR && errno != EAGAIN)
				die("KVM_RUN: %s", strerror(errno));
			if (vm->stop)
				break;
			continue;
		}
		if (run->exit_reason != KVM_EXIT_IO)
			die("the guest broke down: KVM exit reason %u",
			    run->exit_reason);
		report(vm);
	}
	return NULL;
}

static void get_ready(struct vm *vm, uint64_t target, uint64_t dirty_rate)
{
	vm->target = target;
	vm->dirty_rate = dirty_rate;
	vm->next_report = 0;
	vm->stop = false;
	vm->run->immediate_exit = 0;
}

/* Run the guest at full speed, in this thread, until it reports @step */
void vm_run_to(struct vm *vm, uint64_t step)
{
	get_ready(vm, step, 0);
	run_loop(vm);
}

/* Run one instruction of the guest; if it reports by that, that is heard, too */
void vm_step(struct vm *vm)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};

	get_ready(vm, NO_TARGET, 0);
	VM_IOCTL(vm->vcpu_fd, KVM_SET_GUEST_DEBUG, &debug);
	while (ioctl(vm->vcpu_fd, KVM_RUN, 0) < 0)
		if (errno != EINTR && errno != EAGAIN)
			die("KVM_RUN: %s", strerror(errno));
	if (vm->run->exit_reason == KVM_EXIT_IO)
		report(vm);
	else if (vm->run->exit_reason != KVM_EXIT_DEBUG)
		die("the guest broke down: KVM exit reason %u",
		    vm->run->exit_reason);
	debug.control = 0;
	VM_IOCTL(vm->vcpu_fd, KVM_SET_GUEST_DEBUG, &debug);
}

/* Run the guest in a thread of its own, @dirty_rate steps a second (0: all) */
void vm_start(struct vm *vm, uint64_t dirty_rate)
{
	sigset_t set;
	int ret;

	/* Nothing may kick the new thread before it knows what is running */
	sigemptyset(&set);
	sigaddset(&set, KICK);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	get_ready(vm, NO_TARGET, dirty_rate);
	ret = pthread_create(&vm->thread, NULL, run_loop, vm);
	if (ret)
		die("thread: %s", strerror(ret));
}

/*
 * Stop it wherever it is. The signal gets it out of guest mode or out of its
 * sleep; the handler's immediate_exit catches the moment between the two.
 */
void vm_stop(struct vm *vm)
{
	vm->stop = true;
	pthread_kill(vm->thread, KICK);
	pthread_join(vm->thread, NULL);
}
