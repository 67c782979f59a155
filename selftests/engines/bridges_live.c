// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the engines in user space keep the dirty bits of what a guest
 * writes while a pass is at it: of the clean pages of a bridge, which nobody
 * claimed, as well as of those that the pass is about. mapped_ram/bridge_live
 * is the same for the module.
 *
 * The moments are chosen, not hoped for: a userfaultfd holds the pass up where
 * it looks whether its first page is zero, which is after the claim and before
 * there is any extent, and then inside of the I/O, which waits for a page of the
 * bridge.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define PAGES	256
#define EVERY	4
/* Dirty pages of the pass that is held up, all in one I/O */
#define DIRTY	8
#define SPAN	((DIRTY - 1) * EVERY + 1)
/* Where the pass is held up: a dirty page, and one of a bridge */
#define GATE	0
#define INSIDE	(2 * EVERY + 1)
#define MSEC	20000

FIXTURE(bridges_live) {
	struct memory mem;
	struct mram_session *s;
	char *path;
	int uffd;
};

FIXTURE_VARIANT(bridges_live) {
	const char *engine;
};

FIXTURE_VARIANT_ADD(bridges_live, uring) { .engine = "uring" };
FIXTURE_VARIANT_ADD(bridges_live, pwrite) { .engine = "pwrite" };

/* Pages that are in the memfd and not mapped are asked for, by the kernel too. */
static int hold_up(const struct memory *m)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MINOR_SHMEM,
	};
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->p, m->length },
		.mode = UFFDIO_REGISTER_MODE_MINOR,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api) &&
	    !ioctl(fd, UFFDIO_REGISTER, &reg))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

FIXTURE_SETUP(bridges_live)
{
	struct mram_region_opts o;

	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	random_seed(0x11fe);
	self->path = image_path();
	self->mem = memory_make(MEMORY_MEMFD, PAGES * PAGE);
	self->uffd = hold_up(&self->mem);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd for minor faults: %s",
		     strerror(errno));
	/* What is not in the memfd yet is nothing that this one waits for. */
	random_fill(self->mem.p, self->mem.length);
	o = memory_opts(&self->mem);
	self->s = engine_open(variant->engine, self->path);
	ASSERT_EQ(0, mram_session_add_region(self->s, "ram", self->mem.p,
					     self->mem.length, &o, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
}

FIXTURE_TEARDOWN(bridges_live)
{
	close(self->uffd);
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

/* Who touches it next waits. */
static void unmap_page(const struct memory *m, uint64_t page)
{
	if (madvise(m->p + page * PAGE, PAGE, MADV_DONTNEED))
		abort();
}

/* As a guest does, and its dirty log. */
static void change(struct __test_metadata *_metadata,
		   FIXTURE_DATA(bridges_live) *self, uint64_t page)
{
	random_fill(self->mem.p + page * PAGE, PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, page, 1, &error));
}

/* Somebody waits for this page, and for no other. */
static void await_fault(struct __test_metadata *_metadata,
			FIXTURE_DATA(bridges_live) *self, uint64_t page)
{
	struct pollfd p = { .fd = self->uffd, .events = POLLIN };
	struct uffd_msg msg;

	ASSERT_EQ(1, poll(&p, 1, MSEC));
	ASSERT_EQ(sizeof(msg), read(self->uffd, &msg, sizeof(msg)));
	ASSERT_EQ(UFFD_EVENT_PAGEFAULT, msg.event);
	ASSERT_EQ(page, (msg.arg.pagefault.address -
			 (uintptr_t)self->mem.p) / PAGE);
}

static void let_go(struct __test_metadata *_metadata,
		   FIXTURE_DATA(bridges_live) *self, uint64_t page)
{
	struct uffdio_continue c = {
		.range = { (uintptr_t)self->mem.p + page * PAGE, PAGE },
	};

	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_CONTINUE, &c));
}

struct pass {
	struct mram_session *s;
	struct mram_pass_stats st;
	struct mram_error err;
	int ret;
};

static void *run_pass(void *data)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts, .bridge = EVERY);
	struct pass *p = data;

	p->ret = mram_session_pass(p->s, &o, &p->st, &p->err);
	return NULL;
}

static void check_image(struct __test_metadata *_metadata,
			FIXTURE_DATA(bridges_live) *self)
{
	struct memory to = memory_make(MEMORY_PRIVATE, self->mem.length);
	struct mram_image *img;

	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, to.length, NULL, NULL,
				     &error));
	EXPECT_EQ(0, memcmp(to.p, self->mem.p, to.length));
	mram_image_close(img);
	memory_free(&to);
}

TEST_F(bridges_live, stays_dirty)
{
	/* A page of a bridge and one that was claimed, at each moment */
	static const uint64_t early[] = { EVERY + 1, EVERY };
	static const uint64_t late[] = { 1, 3 * EVERY + 2, 3 * EVERY };
	struct pass p = { .s = self->s, .st = { .size = sizeof(p.st) } };
	struct mram_pass_stats st = { .size = sizeof(st) };
	const size_t nr = sizeof(early) / 8 + sizeof(late) / 8;
	pthread_t thread;
	uint64_t page;
	size_t i;

	for (page = 0; page < SPAN; page += EVERY)
		change(_metadata, self, page);
	unmap_page(&self->mem, GATE);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_pass, &p));

	await_fault(_metadata, self, GATE);
	EXPECT_EQ(0, mram_session_count_dirty(self->s, 0));
	for (i = 0; i < sizeof(early) / 8; i++)
		change(_metadata, self, early[i]);
	unmap_page(&self->mem, INSIDE);
	let_go(_metadata, self, GATE);

	await_fault(_metadata, self, INSIDE);
	EXPECT_EQ(sizeof(early) / 8, mram_session_count_dirty(self->s, 0));
	for (i = 0; i < sizeof(late) / 8; i++)
		change(_metadata, self, late[i]);
	let_go(_metadata, self, INSIDE);

	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, p.ret) {
		TH_LOG("%s", p.err.message);
	}
	ASSERT_EQ(1, p.st.ios);
	ASSERT_EQ(DIRTY, p.st.written);
	ASSERT_EQ(SPAN - DIRTY, p.st.bridged);

	EXPECT_EQ(nr, mram_session_count_dirty(self->s, 0));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	EXPECT_EQ(nr, st.written);
	EXPECT_EQ(0, mram_session_count_dirty(self->s, 0));
	check_image(_metadata, self);
}

TEST_HARNESS_MAIN
