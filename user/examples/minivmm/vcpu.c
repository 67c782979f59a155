// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The processor's state as one piece of bytes, to be stored beside the memory.
 * The structs are KVM's own, so the bytes mean something only to KVM on the
 * same architecture. There is no interrupt controller to be stored: the guest
 * has none.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "minivmm.h"

static const uint32_t msr_list[] = {
	0x10,						/* TSC */
	0x174, 0x175, 0x176,				/* SYSENTER_* */
	0x277,						/* PAT */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,	/* STAR ... FMASK */
	0xc0000102,					/* KERNEL_GS_BASE */
};
#define MSRS	(sizeof(msr_list) / sizeof(msr_list[0]))

struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_xsave xsave;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[MSRS];
	} msrs;
};

size_t vcpu_state_size(void)
{
	return sizeof(struct vcpu_state);
}

static void vcpu_ioctl(struct vm *vm, unsigned long request, const char *name,
		       const void *arg, int want)
{
	int ret = ioctl(vm->vcpu_fd, request, arg);

	if (ret < 0)
		die("%s: %s", name, strerror(errno));
	if (ret != want)
		die("%s: did %d of %d", name, ret, want);
}
#define VCPU_IOCTL(vm, request, arg) vcpu_ioctl(vm, request, #request, arg, 0)

/* Only while the processor is stopped, see the top of vm.c */
void vcpu_get_state(struct vm *vm, void *state)
{
	struct vcpu_state *s = state;

	memset(s, 0, sizeof(*s));
	s->msrs.head.nmsrs = MSRS;
	for (size_t i = 0; i < MSRS; i++)
		s->msrs.entries[i].index = msr_list[i];

	/* KVM asks for the state of the processor as a whole first */
	VCPU_IOCTL(vm, KVM_GET_MP_STATE, &s->mp_state);
	VCPU_IOCTL(vm, KVM_GET_REGS, &s->regs);
	VCPU_IOCTL(vm, KVM_GET_SREGS, &s->sregs);
	VCPU_IOCTL(vm, KVM_GET_XCRS, &s->xcrs);
	VCPU_IOCTL(vm, KVM_GET_XSAVE, &s->xsave);
	VCPU_IOCTL(vm, KVM_GET_DEBUGREGS, &s->debugregs);
	VCPU_IOCTL(vm, KVM_GET_VCPU_EVENTS, &s->events);
	vcpu_ioctl(vm, KVM_GET_MSRS, "KVM_GET_MSRS", &s->msrs, MSRS);
}

/* The processor is new and has not run yet */
void vcpu_set_state(struct vm *vm, const void *state)
{
	const struct vcpu_state *s = state;

	VCPU_IOCTL(vm, KVM_SET_SREGS, &s->sregs);
	VCPU_IOCTL(vm, KVM_SET_REGS, &s->regs);
	VCPU_IOCTL(vm, KVM_SET_XCRS, &s->xcrs);
	VCPU_IOCTL(vm, KVM_SET_XSAVE, &s->xsave);
	VCPU_IOCTL(vm, KVM_SET_DEBUGREGS, &s->debugregs);
	vcpu_ioctl(vm, KVM_SET_MSRS, "KVM_SET_MSRS", &s->msrs, MSRS);
	VCPU_IOCTL(vm, KVM_SET_VCPU_EVENTS, &s->events);
	VCPU_IOCTL(vm, KVM_SET_MP_STATE, &s->mp_state);
}
