// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the scan tracker marks exactly the pages that were written, in
 * memory of every kind, also where they are many ranges; that nothing is lost
 * while threads write that are never stopped, nor by a fetch that fails; and
 * that it refuses what it could not follow.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "tracked.h"

FIXTURE(scan) {
	struct tracked k;
};

FIXTURE_VARIANT(scan) {
	enum tracked_kind kind;
	bool fd;
};

FIXTURE_VARIANT_ADD(scan, private) { TRACKED_PRIVATE, false };
FIXTURE_VARIANT_ADD(scan, thp) { TRACKED_THP, false };
FIXTURE_VARIANT_ADD(scan, shared) { TRACKED_SHARED, false };
FIXTURE_VARIANT_ADD(scan, memfd) { TRACKED_MEMFD, true };
FIXTURE_VARIANT_ADD(scan, memfd_unknown) { TRACKED_MEMFD, false };
FIXTURE_VARIANT_ADD(scan, file) { TRACKED_FILE, true };
FIXTURE_VARIANT_ADD(scan, copy) { TRACKED_COPY, true };
FIXTURE_VARIANT_ADD(scan, copy_unknown) { TRACKED_COPY, false };
FIXTURE_VARIANT_ADD(scan, huge) { TRACKED_HUGE, false };
FIXTURE_VARIANT_ADD(scan, huge_shared) { TRACKED_HUGE_SHARED, true };

FIXTURE_SETUP(scan)
{
	int ret;

	random_seed(71);
	ret = tracked_start(&self->k, variant->kind, variant->fd);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", error.message);
	ASSERT_OK(ret);
}

FIXTURE_TEARDOWN(scan)
{
	tracked_stop(&self->k);
	EXPECT_NO_LEAKS();
}

static void read_all(const struct tracked *k)
{
	unsigned long i;

	for (i = 0; i < k->pages; i++)
		*(volatile unsigned char *)tracked_page(k, i);
}

TEST_F(scan, exactly_what_was_written)
{
	struct tracked *k = &self->k;
	unsigned long expected = k->unit == 1 ? 4 : 2 * k->unit;

	random_fill(k->m.p, k->m.length);
	/* All that there is. */
	EXPECT_EQ(k->pages, mram_scan_tracker_fetch(k->t, &error));
	EXPECT_EQ(0, mram_scan_tracker_fetch(k->t, &error));
	EXPECT_EQ(k->pages, mram_session_count_dirty(k->s, -1));
	EXPECT_EQ(0, tracked_save(k));
	read_all(k);
	EXPECT_EQ(0, tracked_save(k));
	random_fill(tracked_page(k, 20), 3 * PAGE);
	*tracked_page(k, k->pages - 1) += 1;
	EXPECT_EQ(expected, mram_scan_tracker_fetch(k->t, &error));
	/* In the session once, however often it is asked. */
	EXPECT_EQ(0, mram_scan_tracker_fetch(k->t, &error));
	EXPECT_EQ(expected, mram_session_count_dirty(k->s, -1));
	*tracked_page(k, 1) += 1;
	EXPECT_EQ(k->unit, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

/* More ranges than the library asks for at once. */
TEST_F(scan, every_other_page)
{
	struct tracked *k = &self->k;
	unsigned long i;
	int round;

	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	for (round = 0; round < 2; round++) {
		for (i = round; i < k->pages; i += 2)
			*tracked_page(k, i) += 1;
		EXPECT_EQ(k->unit == 1 ? k->pages / 2 : k->pages,
			  tracked_save(k));
		EXPECT_EQ(0, tracked_save(k));
	}
	EXPECT_TRUE(tracked_same(k));
}

/* Whatever an earlier tracker has left in the page tables. */
TEST_F(scan, closed_and_opened_again)
{
	struct tracked *k = &self->k;

	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	if (k->kind == TRACKED_MEMFD || k->kind == TRACKED_SHARED)
		tracked_discard(k, 100, 10, true);
	mram_scan_tracker_close(k->t);
	*tracked_page(k, 7) += 1;
	ASSERT_OK(mram_scan_tracker_open(&k->t, k->s, NULL, &error));
	ASSERT_OK(mram_scan_tracker_add(k->t, 0, &error));
	EXPECT_EQ(k->pages, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

struct writer {
	struct tracked *k;
	atomic_bool *stop;
	uint64_t x;
	bool discards;
};

/* Both sides of every page, so that a torn one is noticed. */
static void *write_on(void *arg)
{
	struct writer *w = arg;
	unsigned long i, n;
	unsigned char *p;

	while (!atomic_load(w->stop)) {
		w->x ^= w->x << 13;
		w->x ^= w->x >> 7;
		w->x ^= w->x << 17;
		i = w->x % w->k->pages;
		n = i + 8 < w->k->pages ? 8 : w->k->pages - i;
		p = tracked_page(w->k, i);
		if (w->discards && !(w->x >> 32 & 63)) {
			tracked_discard(w->k, i, n, false);
			continue;
		}
		memcpy(p, &w->x, sizeof(w->x));
		memcpy(p + PAGE - sizeof(w->x), &w->x, sizeof(w->x));
	}
	return NULL;
}

TEST_F(scan, writers_are_never_stopped)
{
	struct tracked *k = &self->k;
	atomic_bool stop = false;
	struct writer w[2];
	pthread_t thread[2];
	int i, round;

	for (i = 0; i < 2; i++) {
		w[i] = (struct writer){
			.k = k, .stop = &stop, .x = random_below(1u << 30) + 1,
			.discards = k->kind == TRACKED_PRIVATE ||
				    k->kind == TRACKED_THP ||
				    k->kind == TRACKED_MEMFD,
		};
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, write_on, &w[i]));
	}
	for (round = 0; round < 30; round++) {
		ASSERT_LE(0, tracked_save(k)) {
			TH_LOG("%s", error.message);
		}
		usleep(1000);
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

/* What it has protected before it failed is dirty. */
TEST_F(scan, a_fetch_that_fails)
{
	struct tracked *k = &self->k;
	unsigned long last = k->pages - k->unit, i;
	int flags = k->m.fd < 0 ? MAP_ANONYMOUS : 0;

	if (k->unit > 1)
		flags |= k->m.fd < 0 ? MAP_HUGETLB : 0;
	flags |= k->kind == TRACKED_PRIVATE || k->kind == TRACKED_THP ||
		 k->kind == TRACKED_COPY || k->kind == TRACKED_HUGE ?
		 MAP_PRIVATE : MAP_SHARED;
	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	for (i = 0; i < 700; i++)
		*tracked_page(k, 2 * i) += 1;
	ASSERT_NE(MAP_FAILED,
		  mmap(tracked_page(k, last), k->unit * PAGE,
		       PROT_READ | PROT_WRITE, flags | MAP_FIXED, k->m.fd,
		       k->m.fd < 0 ? 0 : k->m.fd_offset + last * PAGE));
	ASSERT_FAILS(-EPERM, "mapped anew",
		     (int)mram_scan_tracker_fetch(k->t, &error));
	ASSERT_OK(mram_session_pass(k->s, NULL, NULL, &error));
	EXPECT_TRUE(tracked_same(k));
}

FIXTURE(refused) {
	struct memory m;
	char *path;
	struct mram_session *s;
	struct mram_scan_tracker *t;
};

FIXTURE_SETUP(refused)
{
	int ret;

	self->m = memory_make(MEMORY_PRIVATE, 64 * PAGE);
	self->path = image_path();
	self->s = engine_open(NULL, self->path);
	ret = mram_scan_tracker_open(&self->t, self->s, NULL, &error);
	if (ret == -EOPNOTSUPP) {
		/* And says what can be done. */
		EXPECT_NE(NULL, strstr(error.message, "Linux 6.7"));
		EXPECT_NE(NULL, strstr(error.message, "KVM's dirty log"));
		SKIP(return, "%s", error.message);
	}
	ASSERT_OK(ret);
}

FIXTURE_TEARDOWN(refused)
{
	mram_scan_tracker_close(self->t);
	mram_session_close(self->s);
	image_remove(self->path);
	memory_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* A region of @pages pages from page @first on. */
static int add(FIXTURE_DATA(refused) *self, const char *name,
	       unsigned long first, unsigned long pages)
{
	return mram_session_add_region(self->s, name, self->m.p + first * PAGE,
				       pages * PAGE, NULL, &error);
}

TEST_F(refused, wrong_use)
{
	struct mram_scan_tracker_opts opts = MRAM_OPTS(mram_scan_tracker_opts,
						       .flags = 1);
	struct mram_scan_tracker *t;

	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_scan_tracker_open(&t, self->s, &opts, &error));
	ASSERT_FAILS(-EINVAL, "no region 0",
		     mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_EQ(0, add(self, "ram", 0, 32));
	ASSERT_FAILS(-EINVAL, "no region -1",
		     mram_scan_tracker_add(self->t, -1, &error));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_FAILS(-EEXIST, "tracked already",
		     mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     (int)mram_scan_tracker_fetch(self->t, &error));
}

/* After something that cannot be read; and no more than once is anything freed. */
TEST_F(refused, nothing_there)
{
	ASSERT_EQ(0, add(self, "ram", 0, 32));
	ASSERT_EQ(1, add(self, "unmapped", 32, 32));
	ASSERT_EQ(0, mprotect(self->m.p, 32 * PAGE, PROT_NONE));
	ASSERT_EQ(0, munmap(self->m.p + 32 * PAGE, 32 * PAGE));
	ASSERT_FAILS(-EACCES, "may not be read",
		     mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_FAILS(-EFAULT, "nothing is mapped",
		     mram_scan_tracker_add(self->t, 1, &error));
	ASSERT_FAILS(-EFAULT, "nothing is mapped",
		     mram_scan_tracker_add(self->t, 1, &error));
}

TEST_F(refused, memory_that_cannot_be_followed)
{
	int fd = (int)syscall(SYS_userfaultfd, UFFD_USER_MODE_ONLY);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)self->m.p, .len = 8 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	ASSERT_EQ(0, add(self, "supplied", 0, 32));
	ASSERT_FAILS(-EBUSY, "userfaultfd",
		     mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_EQ(0, ioctl(fd, UFFDIO_UNREGISTER, &reg.range));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));

	ASSERT_EQ(1, add(self, "hidden", 32, 16));
	ASSERT_EQ(0, mprotect(self->m.p + 40 * PAGE, PAGE, PROT_NONE));
	ASSERT_FAILS(-EACCES, "may not be read",
		     mram_scan_tracker_add(self->t, 1, &error));
	ASSERT_EQ(2, add(self, "gap", 48, 16));
	ASSERT_EQ(0, munmap(self->m.p + 50 * PAGE, PAGE));
	ASSERT_FAILS(-EFAULT, "offset 8192",
		     mram_scan_tracker_add(self->t, 2, &error));
	/* What was registered before it failed is free again. */
	reg.range.start = (uintptr_t)self->m.p + 48 * PAGE;
	reg.range.len = PAGE;
	ASSERT_EQ(0, ioctl(fd, UFFDIO_REGISTER, &reg));
	close(fd);
	ASSERT_NE(MAP_FAILED, mmap(self->m.p + 50 * PAGE, PAGE,
				   PROT_READ | PROT_WRITE, MAP_PRIVATE |
				   MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_OK(mram_scan_tracker_add(self->t, 2, &error));
}

/* Two regions in one huge page: what one fetched would be lost for the other. */
TEST_F(refused, half_a_huge_page)
{
	unsigned char *p = mmap(NULL, HUGE_PAGES * PAGE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1,
				0);
	size_t half = HUGE_PAGES / 2 * PAGE;

	if (p == MAP_FAILED)
		SKIP(return, "no huge page: raise vm.nr_hugepages");
	ASSERT_EQ(0, mram_session_add_region(self->s, "low", p, half, NULL,
					     &error));
	ASSERT_EQ(1, mram_session_add_region(self->s, "high", p + half, half,
					     NULL, &error));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_FAILS(-EEXIST, "shares a page of 2097152",
		     mram_scan_tracker_add(self->t, 1, &error));
	/* One alone is followed, by the huge page. */
	ASSERT_OK(mram_session_begin(self->s, &error));
	p[half] = 1;
	EXPECT_EQ(HUGE_PAGES / 2, mram_scan_tracker_fetch(self->t, &error));
	EXPECT_EQ(0, mram_scan_tracker_fetch(self->t, &error));
	munmap(p, HUGE_PAGES * PAGE);
}

/* A child has the userfaultfd open still, but nothing is tracked any more. */
TEST_F(refused, not_after_a_fork)
{
	pid_t pid;

	ASSERT_EQ(0, add(self, "ram", 0, 32));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		pause();
		_exit(0);
	}
	mram_scan_tracker_close(self->t);
	self->t = NULL;
	ASSERT_OK(mram_scan_tracker_open(&self->t, self->s, NULL, &error));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST_F(refused, to_end_with_a_child)
{
	pid_t pid;

	ASSERT_EQ(0, add(self, "ram", 0, 32));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		mram_scan_tracker_close(self->t);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	*self->m.p = 1;
	EXPECT_EQ(1, mram_scan_tracker_fetch(self->t, &error));
}

/* A device's file has no size, and data all the same. */
TEST_F(refused, to_take_a_device_for_a_hole)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts,
					      .flags = MRAM_REGION_HAS_FD);
	const char *dev = getenv("MRAM_TEST_BLKDEV");
	unsigned char *p;

	if (!dev)
		SKIP(return, "no MRAM_TEST_BLKDEV");
	o.fd = open(dev, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, o.fd);
	p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, o.fd, 0);
	ASSERT_NE(MAP_FAILED, p);
	ASSERT_OK(mram_session_add_region(self->s, "device", p, 64 * PAGE, &o,
					  &error));
	ASSERT_OK(mram_scan_tracker_add(self->t, 0, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	EXPECT_EQ(64, mram_scan_tracker_fetch(self->t, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	p[5 * PAGE] ^= 1;
	EXPECT_EQ(1, mram_scan_tracker_fetch(self->t, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	mram_scan_tracker_close(self->t);
	self->t = NULL;
	munmap(p, 64 * PAGE);
	close(o.fd);
}

/* Without any privilege; the session's maker may have had some. */
TEST_F(refused, nobody_is_not)
{
	struct mram_scan_tracker *t;
	struct mram_session *s;
	char *path = image_path();
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		s = engine_open("pwrite", path);
		if (mram_session_add_region(s, "ram", self->m.p, 32 * PAGE,
					    NULL, &error) ||
		    mram_session_begin(s, &error))
			_exit(1);
		if (setgid(65534) || setuid(65534) ||
		    prctl(PR_SET_DUMPABLE, 1) ||
		    mram_scan_tracker_open(&t, s, NULL, &error) ||
		    mram_scan_tracker_add(t, 0, &error))
			_exit(2);
		*self->m.p = 1;
		_exit(mram_scan_tracker_fetch(t, &error) == 1 ? 0 : 3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	image_remove(path);
}

TEST_HARNESS_MAIN
