// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory which a userfaultfd supplies is saved as supplied: a page
 * that is not there yet is unknown, not zero.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH	(1 * MIB)
#define PAGES	(LENGTH / PAGE)

FIXTURE(supplied) {
	struct memory mem;
	struct mram_session *s;
	unsigned char *data;
	char *path;
	int uffd;
	volatile unsigned int served;
	volatile bool last;
};

FIXTURE_VARIANT(supplied) {
	int engine;
	enum memory_kind kind;
};

#define VARIANT(engine_, kind_, number, KIND)				\
	FIXTURE_VARIANT_ADD(supplied, engine_##_##kind_) {		\
		.engine = number,					\
		.kind = MEMORY_##KIND,					\
	}
VARIANT(module, private, 0, PRIVATE);
VARIANT(module, memfd, 0, MEMFD);
VARIANT(uring, private, 1, PRIVATE);
VARIANT(uring, memfd, 1, MEMFD);
VARIANT(pwrite, private, 2, PRIVATE);
VARIANT(pwrite, memfd, 2, MEMFD);

static int register_memory(int uffd, const struct memory *m)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (uintptr_t)m->p, m->length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(uffd, UFFDIO_API, &api) ||
	    ioctl(uffd, UFFDIO_REGISTER, &reg))
		return -errno;
	return 0;
}

FIXTURE_SETUP(supplied)
{
	struct mram_region_opts o;
	int ret;

	if (!engine_works(engine_names[variant->engine]))
		SKIP(return, "%s", error.message);
	random_seed(23);
	self->mem = memory_make(variant->kind, LENGTH);
	self->data = calloc(1, LENGTH);
	random_fill(self->data, LENGTH / 2);
	self->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (self->uffd < 0)
		SKIP(return, "no userfaultfd: %s", strerror(errno));
	ret = register_memory(self->uffd, &self->mem);
	ASSERT_EQ(0, ret);

	self->path = image_path();
	self->s = engine_open(engine_names[variant->engine], self->path);
	o = memory_opts(&self->mem);
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p, LENGTH,
					  &o, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(supplied)
{
	mram_session_close(self->s);
	memory_free(&self->mem);
	free(self->data);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

static void *serve(void *arg)
{
	FIXTURE_DATA(supplied) *self = arg;
	struct uffd_msg msg;

	while (read(self->uffd, &msg, sizeof(msg)) == sizeof(msg)) {
		uint64_t page = msg.arg.pagefault.address & ~(PAGE - 1);
		struct uffdio_copy copy = {
			.dst = page,
			.src = (uintptr_t)self->data + page -
			       (uintptr_t)self->mem.p,
			.len = PAGE,
		};
		bool last = self->last;

		/* The copy wakes the pass, which may end before we go on. */
		self->served++;
		if (ioctl(self->uffd, UFFDIO_COPY, &copy) && errno != EEXIST)
			break;
		if (last)
			break;
	}
	return NULL;
}

TEST_F(supplied, saved_as_supplied)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_image *img;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, serve, self));
	/* Only what is dirty is waited for. */
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 10, PAGES - 10, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	EXPECT_EQ(PAGES / 2 - 10, st.written);
	EXPECT_EQ(PAGES / 2, st.zero);
	EXPECT_EQ(PAGES - 10, self->served);
	ASSERT_OK(mram_session_commit(self->s, &error));
	/* One more fault, which ends the thread. */
	self->last = true;
	EXPECT_EQ(self->data[0], *(volatile unsigned char *)self->mem.p);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	close(self->uffd);

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, LENGTH, NULL, NULL,
				     &error));
	EXPECT_EQ(0, memcmp(to.p + 10 * PAGE, self->data + 10 * PAGE,
			    LENGTH - 10 * PAGE));
	mram_image_close(img);
	memory_free(&to);
}

TEST_HARNESS_MAIN
