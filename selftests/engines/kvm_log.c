// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that KVM's dirty log arrives in a session: exactly the pages that a
 * guest wrote, at the right place when slots and regions do not align, in slots
 * that end in the middle of a word, with and without manual protection, and
 * without touching bits that stand in the session already.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

/* Guest-physical: the code's page, then two slots that share a region. */
#define CODE_PAGE	1
#define SLOT_A		8
#define PAGES_A		70
#define SLOT_B		(SLOT_A + PAGES_A)
#define PAGES_B		50
/* The region holds more, before and between: A at page 5, B at page 99. */
#define AT_A		5
#define AT_B		99
#define REGION_PAGES	160

/*
 * Real mode. Writes one byte to each of CX pages from segment BX on (a page is
 * 256 paragraphs), then says so on a port.
 */
static const unsigned char code[] = {
	0x8e, 0xdb,			/* again: mov %bx, %ds */
	0xc6, 0x06, 0x10, 0x00, 0x77,	/* movb $0x77, 0x10 */
	0x81, 0xc3, 0x00, 0x01,		/* add $0x100, %bx */
	0xe2, 0xf3,			/* loop again */
	0xe6, 0x10,			/* out %al, $0x10 */
};

FIXTURE(kvm_log) {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	unsigned char *code;
	struct memory mem;
	struct mram_session *s;
	struct mram_kvm_tracker *t;
	char *path;
};

FIXTURE_VARIANT(kvm_log) {
	bool manual;
	uint32_t page_size;
};

FIXTURE_VARIANT_ADD(kvm_log, plain) { .page_size = PAGE };
FIXTURE_VARIANT_ADD(kvm_log, manual) { .manual = true, .page_size = PAGE };
FIXTURE_VARIANT_ADD(kvm_log, large_pages) { .page_size = 4 * PAGE };

static int set_slot(int vm, uint32_t slot, uint64_t page, void *addr,
		    uint64_t pages)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot,
		.flags = slot ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = page * PAGE,
		.memory_size = pages * PAGE,
		.userspace_addr = (uintptr_t)addr,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

static int make_vm(FIXTURE_DATA(kvm_log) *self)
{
	struct kvm_sregs sregs;

	self->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (self->kvm < 0)
		return -errno;
	self->vm = ioctl(self->kvm, KVM_CREATE_VM, 0);
	if (self->vm < 0)
		return -errno;
	self->vcpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
	if (self->vcpu < 0)
		return -errno;
	self->run = mmap(NULL, ioctl(self->kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
			 PROT_READ | PROT_WRITE, MAP_SHARED, self->vcpu, 0);
	if (self->run == MAP_FAILED)
		return -errno;
	self->code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(self->code, code, sizeof(code));
	if (set_slot(self->vm, 0, CODE_PAGE, self->code, 1))
		return -errno;
	if (ioctl(self->vcpu, KVM_GET_SREGS, &sregs))
		return -errno;
	sregs.cs.selector = CODE_PAGE * PAGE / 16;
	sregs.cs.base = CODE_PAGE * PAGE;
	return ioctl(self->vcpu, KVM_SET_SREGS, &sregs) ? -errno : 0;
}

/* Let the guest write to @nr pages from guest page @page on. */
static int guest_writes(FIXTURE_DATA(kvm_log) *self, uint64_t page,
			uint64_t nr)
{
	struct kvm_regs regs = {
		.rflags = 2,
		.rbx = page * PAGE / 16,
		.rcx = nr,
	};

	if (ioctl(self->vcpu, KVM_SET_REGS, &regs))
		return -errno;
	if (ioctl(self->vcpu, KVM_RUN, 0))
		return -errno;
	return self->run->exit_reason == KVM_EXIT_IO ? 0 : -EIO;
}

/*
 * /dev/kvm being there does not mean that a guest runs: on some hosts it hangs.
 * So a child tries, and is not waited for long.
 */
static bool guests_run(void)
{
	int status, tenths;
	pid_t pid = fork();

	if (!pid) {
		FIXTURE_DATA(kvm_log) probe = { 0 };
		unsigned char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		_exit(make_vm(&probe) ||
		      set_slot(probe.vm, 1, SLOT_A, p, 1) ||
		      guest_writes(&probe, SLOT_A, 1) || p[0x10] != 0x77);
	}
	for (tenths = 0; tenths < 100; tenths++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && !WEXITSTATUS(status);
		usleep(100000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return false;
}

FIXTURE_SETUP(kvm_log)
{
	struct mram_kvm_tracker_opts to = MRAM_OPTS(mram_kvm_tracker_opts);
	struct mram_region_opts ro = MRAM_OPTS(mram_region_opts,
					       .page_size = variant->page_size);

	if (access("/dev/kvm", R_OK | W_OK))
		SKIP(return, "no /dev/kvm: %s", strerror(errno));
	if (!guests_run())
		SKIP(return, "/dev/kvm is there, but no guest runs");
	ASSERT_EQ(0, make_vm(self));
	if (variant->manual) {
		struct kvm_enable_cap cap = {
			.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
			.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
		};

		ASSERT_EQ(0, ioctl(self->vm, KVM_ENABLE_CAP, &cap));
		to.flags = MRAM_KVM_MANUAL_PROTECT;
	}
	self->mem = memory_make(MEMORY_PRIVATE, REGION_PAGES * PAGE);
	ASSERT_EQ(0, set_slot(self->vm, 1, SLOT_A, self->mem.p + AT_A * PAGE,
			      PAGES_A));
	ASSERT_EQ(0, set_slot(self->vm, 2, SLOT_B, self->mem.p + AT_B * PAGE,
			      PAGES_B));

	self->path = image_path();
	self->s = engine_open("pwrite", self->path);
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p,
					  self->mem.length, &ro, &error));
	ASSERT_OK(mram_kvm_tracker_open(&self->t, self->vm, self->s, &to,
					&error));
	ASSERT_OK(mram_kvm_tracker_add_slot(self->t, 1, 0, AT_A * PAGE,
					    PAGES_A * PAGE, &error));
	ASSERT_OK(mram_kvm_tracker_add_slot(self->t, 2, 0, AT_B * PAGE,
					    PAGES_B * PAGE, &error));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     mram_kvm_tracker_sync(self->t, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(kvm_log)
{
	mram_kvm_tracker_close(self->t);
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

/* Are exactly the pages [@first, @first + @nr) of the region dirty? */
static bool dirty_is(FIXTURE_DATA(kvm_log) *self, uint64_t page_size,
		     uint64_t first, uint64_t nr)
{
	uint64_t last = (first + nr - 1) * PAGE / page_size;
	struct mram_pass_stats st = { .size = sizeof(st) };
	const uint64_t *words;
	struct mram_image *img;
	uint64_t page, set = 0;

	/* Only dirty pages get into the image, and each has a byte set. */
	first = first * PAGE / page_size;
	if (mram_session_count_dirty(self->s, 0) != (int64_t)(last - first + 1))
		return false;
	if (mram_session_pass(self->s, NULL, &st, &error) ||
	    st.written != last - first + 1 ||
	    mram_session_commit(self->s, &error) ||
	    mram_image_open(&img, self->path, &error) ||
	    mram_image_bitmap(img, 0, &words, &error))
		return false;
	for (page = first; page <= last; page++)
		set += !!(words[page / 64] & BIT(page));
	mram_image_close(img);
	return set == last - first + 1;
}

TEST_F(kvm_log, pages_arrive)
{
	uint64_t size = variant->page_size;

	ASSERT_EQ(0, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));

	ASSERT_EQ(0, guest_writes(self, SLOT_A + 60, 7));
	ASSERT_EQ(7, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_TRUE(dirty_is(self, size, AT_A + 60, 7));

	/* Protected again: the same pages show up again, once. */
	ASSERT_EQ(0, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));
	ASSERT_EQ(0, guest_writes(self, SLOT_A + 60, 7));
	ASSERT_EQ(7, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_TRUE(dirty_is(self, size, AT_A + 60, 7));

	/* The ends of a slot, and the other slot. */
	ASSERT_EQ(0, guest_writes(self, SLOT_A, 1));
	ASSERT_EQ(1, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_TRUE(dirty_is(self, size, AT_A, 1));
	ASSERT_EQ(0, guest_writes(self, SLOT_A + PAGES_A - 1, 1));
	ASSERT_EQ(1, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_TRUE(dirty_is(self, size, AT_A + PAGES_A - 1, 1));
	ASSERT_EQ(0, guest_writes(self, SLOT_B, PAGES_B));
	ASSERT_EQ(PAGES_B, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_TRUE(dirty_is(self, size, AT_B, PAGES_B));
	ASSERT_EQ(0, guest_writes(self, SLOT_A, PAGES_A + PAGES_B));
	ASSERT_EQ(PAGES_A + PAGES_B, mram_kvm_tracker_sync(self->t, &error));
}

TEST_F(kvm_log, bits_stay)
{
	/* What a pass gave back, say, while the guest wrote elsewhere. */
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 1, &error));
	ASSERT_EQ(0, guest_writes(self, SLOT_B + 40, 1));
	ASSERT_EQ(1, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_EQ(2, mram_session_count_dirty(self->s, 0));
	ASSERT_EQ(0, mram_kvm_tracker_sync(self->t, &error));
	ASSERT_EQ(2, mram_session_count_dirty(self->s, 0));
}

TEST_F(kvm_log, arguments)
{
	struct mram_kvm_tracker *t;

	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_kvm_tracker_open(&t, self->vm, self->s,
					   &MRAM_OPTS(mram_kvm_tracker_opts,
						      .flags = 1u << 31),
					   &error));
	ASSERT_FAILS(-EINVAL, "no region 1",
		     mram_kvm_tracker_add_slot(self->t, 1, 1, 0, PAGE, &error));
	ASSERT_FAILS(-EINVAL, "multiples",
		     mram_kvm_tracker_add_slot(self->t, 1, 0, 1, PAGE, &error));
	ASSERT_FAILS(-EINVAL, "multiples",
		     mram_kvm_tracker_add_slot(self->t, 1, 0, 0, 0, &error));
	ASSERT_FAILS(-ERANGE, "'ram'",
		     mram_kvm_tracker_add_slot(self->t, 1, 0, PAGE,
					       REGION_PAGES * PAGE, &error));
	/* Slot 0 logs nothing. */
	ASSERT_OK(mram_kvm_tracker_add_slot(self->t, 0, 0, 0, PAGE, &error));
	ASSERT_FAILS(-ENOENT, "KVM_MEM_LOG_DIRTY_PAGES",
		     mram_kvm_tracker_sync(self->t, &error));
}

TEST_HARNESS_MAIN
