// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a restore of several blocks at once gives each what is its own:
 * blocks that lie side by side, and blocks of two processes that are at the same
 * addresses, of which one discards memory. Blocks that would share memory are
 * refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)

FIXTURE(blocks) {
	char *path;
	unsigned char *want[2];
	uint64_t set;
	/* For two, side by side. */
	unsigned char *p;
	struct mram_image *img;
	struct mram_restore_lazy *l;
};

static unsigned char *map(void *at, size_t length)
{
	return mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
}

FIXTURE_SETUP(blocks)
{
	static const char *const names[] = { "ram0", "ram1" };
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	struct mram_session *s;
	uint64_t page;
	int i;

	random_seed(900);
	self->path = image_path();
	s = engine_open("pwrite", self->path);
	for (i = 0; i < 2; i++) {
		self->want[i] = map(NULL, LENGTH);
		ASSERT_NE(MAP_FAILED, self->want[i]);
		for (page = 0; page < PAGES; page++) {
			if (!random_below(3))
				continue;
			random_fill(self->want[i] + page * PAGE, PAGE);
			self->set++;
		}
		ASSERT_EQ(i, mram_session_add_region(s, names[i], self->want[i],
						     LENGTH, NULL, &error));
	}
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(s, NULL, NULL, &error));
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);
	self->p = map(NULL, 2 * LENGTH);
	ASSERT_NE(MAP_FAILED, self->p);
	ASSERT_OK(mram_image_open(&self->img, self->path, &error));
	ASSERT_OK(mram_restore_lazy_open(&self->l, self->img, &o, &error));
}

FIXTURE_TEARDOWN(blocks)
{
	int i;

	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	munmap(self->p, 2 * LENGTH);
	for (i = 0; i < 2; i++)
		munmap(self->want[i], LENGTH);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

static int add(FIXTURE_DATA(blocks) *self, int index, unsigned char *p)
{
	return mram_restore_lazy_add(self->l, index, p, LENGTH, NULL, &error);
}

TEST_F_TIMEOUT(blocks, side_by_side, 180)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	uint64_t i, page;

	ASSERT_OK(add(self, 1, self->p));
	ASSERT_FAILS(-EEXIST, "'ram1' was added already",
		     add(self, 1, self->p + LENGTH));
	ASSERT_FAILS(-EBUSY, "that of block 'ram1', too",
		     add(self, 0, self->p));
	ASSERT_FAILS(-EBUSY, "that of block 'ram1', too",
		     add(self, 0, self->p + LENGTH - PAGE));
	ASSERT_FAILS(-EBUSY, "that of block 'ram1', too",
		     add(self, 0, self->p - LENGTH + PAGE));
	ASSERT_OK(add(self, 0, self->p + LENGTH));
	ASSERT_OK(mram_restore_lazy_start(self->l, &error));
	EXPECT_EQ(self->set, stats_of(self->l).left);
	for (i = 0; i < 300; i++) {
		page = random_below(PAGES);
		EXPECT_EQ(0, memcmp(self->p + page * PAGE,
				    self->want[1] + page * PAGE, PAGE));
		EXPECT_EQ(0, memcmp(self->p + LENGTH + page * PAGE,
				    self->want[0] + page * PAGE, PAGE));
	}
	ASSERT_OK(mram_restore_lazy_finish(self->l, &st, &error));
	EXPECT_EQ(0, memcmp(self->p, self->want[1], LENGTH));
	EXPECT_EQ(0, memcmp(self->p + LENGTH, self->want[0], LENGTH));
	EXPECT_EQ(2 * PAGES, st.pages);
	EXPECT_EQ(self->set, st.read);
}

/* The other process: never returns. */
static void other(int sock, unsigned char *p, const unsigned char *want)
{
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_EVENT_REMOVE };
	struct uffdio_register r = { .range = { (uintptr_t)p, LENGTH },
				     .mode = UFFDIO_REGISTER_MODE_MISSING };
	static bool gone[PAGES];
	uint64_t i, page;
	char go;
	int fd;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (map(p, LENGTH) != p || fd < 0 || ioctl(fd, UFFDIO_API, &api) ||
	    ioctl(fd, UFFDIO_REGISTER, &r))
		_exit(102);
	hand_over(sock, fd, (uintptr_t)p);
	close(fd);
	if (read(sock, &go, 1) != 1)
		_exit(103);
	for (i = 0; i < 100; i++) {
		page = random_below(PAGES);
		if (memcmp(p + page * PAGE, want + page * PAGE, PAGE))
			_exit(105);
	}
	if (write(sock, &go, 1) != 1)
		_exit(106);
	for (i = 0; i < 300; i++) {
		page = random_below(PAGES);
		if (madvise(p + page * PAGE, PAGE, MADV_DONTNEED))
			_exit(104);
		gone[page] = true;
	}
	_exit(wrong_pages(want, p, PAGES, gone) ? 1 : 0);
}

TEST_F_TIMEOUT(blocks, at_the_same_address, 60)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	int socks[2], uffd, status;
	uint64_t addr, i, page;
	pid_t pid;
	char went;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		other(socks[1], self->p, self->want[1]);
	close(socks[1]);
	uffd = take_over(socks[0], &addr);
	ASSERT_LE(0, uffd);
	ASSERT_EQ((uintptr_t)self->p, addr);
	ASSERT_OK(add(self, 0, self->p));
	ASSERT_OK(mram_restore_lazy_add_uffd(self->l, 1, uffd, addr, LENGTH,
					     NULL, &error));
	ASSERT_OK(mram_restore_lazy_start(self->l, &error));
	ASSERT_EQ(1, write(socks[0], "", 1));
	for (i = 0; i < 300; i++) {
		page = random_below(PAGES);
		EXPECT_EQ(0, memcmp(self->p + page * PAGE,
				    self->want[0] + page * PAGE, PAGE));
	}
	/* It has seen its own, too, before streaming can have brought all. */
	ASSERT_EQ(1, read(socks[0], &went, 1));
	STATS_WHEN(st, self->l, st.discarded);
	ASSERT_OK(mram_restore_lazy_finish(self->l, &st, &error));
	EXPECT_EQ(0, memcmp(self->p, self->want[0], LENGTH));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(self->set, st.read + st.discarded);
	close(uffd);
	close(socks[0]);
}

/* What was refused is nobody's any more: its owner closes it. */
TEST_F(blocks, of_a_userfaultfd_that_is_gone)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_FAILS(-EINVAL, "'ram0'",
		     mram_restore_lazy_add_uffd(self->l, 0, fd,
						(uintptr_t)self->p,
						LENGTH - PAGE, NULL, &error));
	close(fd);
	ASSERT_OK(add(self, 0, self->p));
	ASSERT_OK(add(self, 1, self->p + LENGTH));
	ASSERT_OK(mram_restore_lazy_start(self->l, &error));
	EXPECT_EQ(0, touch(self->p));
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(0, memcmp(self->p, self->want[0], LENGTH));
}

/* A start that cannot listen to faults fails: later nobody would serve them. */
TEST_F(blocks, without_file_descriptors)
{
	struct rlimit most, few;
	int fd;

	ASSERT_OK(add(self, 0, self->p));
	ASSERT_OK(add(self, 1, self->p + LENGTH));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &most));
	few = most;
	/* Room for an eventfd, and not for an epoll. */
	fd = dup(0);
	ASSERT_LE(0, fd);
	close(fd);
	few.rlim_cur = (rlim_t)fd + 1;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &few));
	ASSERT_FAILS(-EMFILE, "cannot listen for faults",
		     mram_restore_lazy_start(self->l, &error));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &most));
	/* It is nobody's any more, and empty. */
	EXPECT_EQ(0, touch(self->p));
}

TEST_HARNESS_MAIN
