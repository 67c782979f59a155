// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that what another process writes to shared memory arrives in a session:
 * exactly the pages that it wrote, also those whose page table entries are gone
 * when the bits are fetched, holes that it punched, and nothing lost while it
 * keeps writing and is stopped for fetching and clearing alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"

#define PAGES	3000ul
#define LENGTH	(PAGES * PAGE)

enum op {
	OP_WRITE,	/* with content that is new each time */
	OP_READ,
	OP_ZERO,	/* written, with zero */
	OP_ZAP,		/* let go of the page table entries */
	OP_PUNCH,	/* let go of the memory */
	OPS,
	OP_RUN,		/* write here and there for ever */
};

struct order {
	enum op op;
	unsigned long first, count;
};

/* The same numbers in each process that is given the same seed. */
static uint64_t step(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

static void do_page(enum op op, unsigned char *p, uint64_t content)
{
	switch (op) {
	case OP_WRITE:
		memset(p, (int)(content % 255) + 1, PAGE);
		break;
	case OP_READ:
		*(volatile unsigned char *)p;
		break;
	case OP_ZERO:
		memset(p, 0, PAGE);
		break;
	case OP_ZAP:
		madvise(p, PAGE, MADV_DONTNEED);
		break;
	case OP_PUNCH:
		madvise(p, PAGE, MADV_REMOVE);
		break;
	default:
		break;
	}
}

/* @steps is how many steps of running for ever it has made. */
static void obey(int in, int out, unsigned char *p, unsigned long *steps)
{
	uint64_t x = 88172645463325252ull;
	struct order o;
	unsigned long i;
	enum op op;

	while (read(in, &o, sizeof(o)) == sizeof(o)) {
		while (o.op == OP_RUN) {
			i = step(&x) % PAGES;
			op = step(&x) % 64 ? OP_WRITE :
			     step(&x) % 2 ? OP_PUNCH : OP_ZAP;
			do_page(op, p + i * PAGE, x);
			__atomic_add_fetch(steps, 1, __ATOMIC_RELEASE);
		}
		for (i = o.first; i < o.first + o.count; i++)
			do_page(o.op, p + i * PAGE, step(&x));
		if (write(out, "", 1) != 1)
			_exit(1);
	}
	_exit(0);
}

FIXTURE(softdirty) {
	struct memory m;
	char *path;
	struct mram_session *s;
	struct mram_softdirty *t;
	pid_t child;
	unsigned long *steps;	/* of the child, see obey() */
	int orders, done;
};

FIXTURE_SETUP(softdirty)
{
	struct mram_region_opts opts;
	int in[2], out[2], ret;

	self->m = memory_make(MEMORY_MEMFD, LENGTH);
	self->path = image_path();
	self->t = NULL;
	random_seed(7);
	ASSERT_EQ(0, pipe2(in, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(out, O_CLOEXEC));
	self->steps = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->steps);
	self->child = fork();
	ASSERT_LE(0, self->child);
	if (!self->child) {
		close(in[1]);
		close(out[0]);
		obey(in[0], out[1], self->m.p, self->steps);
	}
	close(in[0]);
	close(out[1]);
	self->orders = in[1];
	self->done = out[0];
	self->s = engine_open(NULL, self->path);
	opts = memory_opts(&self->m);
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->m.p, LENGTH,
					  &opts, &error));
	ret = mram_softdirty_open(&self->t, self->child, self->s, NULL, &error);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", error.message);
	ASSERT_OK(ret);
	ASSERT_OK(mram_softdirty_add_file(self->t, 0, self->m.fd,
					  self->m.fd_offset, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(softdirty)
{
	mram_softdirty_close(self->t);
	mram_session_close(self->s);
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, 0);
	close(self->orders);
	close(self->done);
	munmap(self->steps, PAGE);
	image_remove(self->path);
	memory_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void order(const FIXTURE_DATA(softdirty) *self, enum op op,
		  unsigned long first, unsigned long count)
{
	struct order o = { op, first, count };
	char byte;

	if (write(self->orders, &o, sizeof(o)) != sizeof(o) ||
	    read(self->done, &byte, 1) != 1)
		abort();
}

/* Start anew, and write what was fetched before. */
static int next_round(FIXTURE_DATA(softdirty) *self)
{
	int ret;

	ret = mram_softdirty_clear(self->t, &error);
	if (!ret)
		ret = mram_softdirty_settle(self->t, &error);
	return ret ? ret : mram_session_pass(self->s, NULL, NULL, &error);
}

/* What is in the image is what is in the memory. */
static void check_image(struct __test_metadata *_metadata,
			FIXTURE_DATA(softdirty) *self)
{
	struct memory copy = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_image *img;

	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, copy.p, LENGTH, NULL, NULL,
				     &error));
	EXPECT_EQ(0, memcmp(copy.p, self->m.p, LENGTH));
	mram_image_close(img);
	memory_free(&copy);
}

TEST_F(softdirty, exactly_what_was_written)
{
	order(self, OP_WRITE, 10, 100);
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(next_round(self));
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	order(self, OP_READ, 0, 200);
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	order(self, OP_WRITE, 20, 3);
	order(self, OP_WRITE, PAGES - 1, 1);
	EXPECT_EQ(4, mram_softdirty_fetch(self->t, &error));
	EXPECT_EQ(4, mram_session_count_dirty(self->s, -1));
	/* Fetching alone forgets nothing. */
	EXPECT_EQ(4, mram_softdirty_fetch(self->t, &error));
	ASSERT_OK(next_round(self));
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	EXPECT_EQ(0, mram_session_count_dirty(self->s, -1));
	check_image(_metadata, self);
}

TEST_F(softdirty, entries_that_are_gone)
{
	order(self, OP_WRITE, 0, 64);
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(next_round(self));
	order(self, OP_WRITE, 5, 1);
	order(self, OP_ZAP, 5, 1);
	order(self, OP_ZAP, 9, 1);
	/* Nobody can tell them apart any more. */
	EXPECT_EQ(2, mram_softdirty_fetch(self->t, &error));
	ASSERT_OK(next_round(self));
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	/* A hole where the image has a page; and one where it has none. */
	order(self, OP_PUNCH, 7, 1);
	order(self, OP_PUNCH, 1000, 1);
	EXPECT_EQ(1, mram_softdirty_fetch(self->t, &error));
	ASSERT_OK(next_round(self));
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	check_image(_metadata, self);
}

TEST_F(softdirty, pages_that_it_never_touched)
{
	random_fill(self->m.p + 50 * PAGE, 20 * PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_softdirty_clear(self->t, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	EXPECT_EQ(20, mram_softdirty_fetch(self->t, &error));
	ASSERT_OK(next_round(self));
	/* Settled: now they have entries, and holes are holes still. */
	EXPECT_EQ(0, mram_softdirty_fetch(self->t, &error));
	EXPECT_EQ(20, memory_pages(&self->m));
	order(self, OP_WRITE, 55, 1);
	EXPECT_EQ(1, mram_softdirty_fetch(self->t, &error));
	ASSERT_OK(next_round(self));
	check_image(_metadata, self);
}

TEST_F(softdirty, by_chance)
{
	int round, i;

	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(next_round(self));
	for (round = 0; round < 40; round++) {
		for (i = 0; i < 20; i++) {
			unsigned long first = random_below(PAGES);
			unsigned long count = 1 + random_below(40);

			if (count > PAGES - first)
				count = PAGES - first;
			order(self, random_below(OPS), first, count);
		}
		ASSERT_OK(mram_softdirty_fetch(self->t, &error));
		ASSERT_OK(next_round(self));
	}
	check_image(_metadata, self);
}

/* On one processor it may not have had a turn since it was let go. */
static void let_it_write(const FIXTURE_DATA(softdirty) *self)
{
	unsigned long before = __atomic_load_n(self->steps, __ATOMIC_ACQUIRE);

	while (__atomic_load_n(self->steps, __ATOMIC_ACQUIRE) < before + 100)
		usleep(100);
}

/* It runs all the time, but for fetching and clearing. */
TEST_F(softdirty, while_it_runs)
{
	struct order run = { OP_RUN, 0, 0 };
	int round, status;

	ASSERT_OK(mram_softdirty_clear(self->t, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_EQ(sizeof(run), write(self->orders, &run, sizeof(run)));
	for (round = 0; round < 30; round++) {
		ASSERT_OK(mram_softdirty_settle(self->t, &error));
		ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
		let_it_write(self);
		ASSERT_EQ(0, kill(self->child, SIGSTOP));
		ASSERT_EQ(self->child,
			  waitpid(self->child, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		ASSERT_LT(0, mram_softdirty_fetch(self->t, &error));
		ASSERT_OK(mram_softdirty_clear(self->t, &error));
		if (round < 29)
			ASSERT_EQ(0, kill(self->child, SIGCONT));
	}
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	check_image(_metadata, self);
}

TEST_F(softdirty, refuses)
{
	struct mram_softdirty_opts opts = MRAM_OPTS(mram_softdirty_opts,
						    .flags = 1);
	struct mram_softdirty *t;
	int fd;

	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_softdirty_open(&t, self->child, self->s, &opts,
					 &error));
	ASSERT_FAILS(-ENOENT, "/proc/",
		     mram_softdirty_open(&t, 0x7ffffff0, self->s, NULL,
					 &error));
	ASSERT_FAILS(-EINVAL, "no region 1",
		     mram_softdirty_add_file(self->t, 1, self->m.fd, 0,
					     &error));
	ASSERT_FAILS(-ENXIO, "does not map its file",
		     mram_softdirty_add_file(self->t, 0, self->m.fd,
					     self->m.fd_offset + PAGE, &error));
	fd = memfd_create("other", MFD_CLOEXEC);
	ASSERT_FAILS(-ENXIO, "does not map its file",
		     mram_softdirty_add_file(self->t, 0, fd, 0, &error));
	close(fd);
	fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	ASSERT_LE(0, fd);
	ASSERT_FAILS(-EOPNOTSUPP, "hugetlbfs",
		     mram_softdirty_add_file(self->t, 0, fd, 0, &error));
	close(fd);
	kill(self->child, SIGKILL);
	waitpid(self->child, NULL, 0);
	ASSERT_FAILS(-ESRCH, "it has ended",
		     (int)mram_softdirty_fetch(self->t, &error));
}

TEST_HARNESS_MAIN
