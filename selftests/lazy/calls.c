// SPDX-License-Identifier: GPL-2.0
/*
 * Proves how few system calls streaming needs: at most a twentieth of those of
 * one read and one UFFDIO_COPY a page where pages lie together, and that the
 * library counts them right. The calls are counted here, where the library makes
 * them (see the Makefile).
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(32 * MIB)
/* In thousandths of a call a page: a twentieth of two calls. */
#define LIMIT		100

static uint64_t calls;

static void count(void)
{
	__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	count();
	return __real_pread(fd, buf, n, offset);
}

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	count();
	return __real_read(fd, buf, n);
}

int __real_poll(struct pollfd *fds, nfds_t n, int msec);
int __wrap_poll(struct pollfd *fds, nfds_t n, int msec);
int __wrap_poll(struct pollfd *fds, nfds_t n, int msec)
{
	count();
	return __real_poll(fds, n, msec);
}

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	count();
	return __real_ioctl(fd, request, arg);
}

FIXTURE(calls) {
	struct model m;
};

FIXTURE_SETUP(calls)
{
	random_seed(600);
}

FIXTURE_TEARDOWN(calls)
{
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* Return thousandths of a call a page, streaming alone. */
static uint64_t measure(struct __test_metadata *_metadata,
			const struct model *m, int kind)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct memory mem = guest_make(kind, LENGTH);
	struct mram_restore_lazy *l;
	struct mram_image *img;
	uint64_t before, made;

	if (!mem.p)
		return 0;
	before = __atomic_load_n(&calls, __ATOMIC_RELAXED);
	l = started(&img, m, mem.p, NULL);
	EXPECT_EQ(0, mram_restore_lazy_finish(l, &st, &error));
	made = __atomic_load_n(&calls, __ATOMIC_RELAXED) - before;
	EXPECT_EQ(m->set, st.read);
	EXPECT_EQ(0, st.faults);
	/* Opening the image and registering the memory take some, too. */
	EXPECT_LE(st.calls, made);
	EXPECT_GE(st.calls + 60, made);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(-1, differing_page(m, mem.p));
	memory_free(&mem);
	TH_LOG("%s memory: %llu calls for %llu pages, %llu reads",
	       kind == MEMORY_HUGE ? "huge" : memory_names[kind],
	       (unsigned long long)made, (unsigned long long)m->set,
	       (unsigned long long)st.ios);
	return made * 1000 / m->set;
}

TEST_F_TIMEOUT(calls, pages_that_lie_together, 180)
{
	int i;

	self->m = model_make(PATTERN_FULL, LENGTH);
	for (i = 0; i < GUEST_KINDS; i++)
		EXPECT_GE(LIMIT, measure(_metadata, &self->m, guest_kinds[i]));
}

TEST_F_TIMEOUT(calls, pages_in_runs, 180)
{
	self->m = model_make(PATTERN_RUNS, LENGTH);
	EXPECT_GE(LIMIT, measure(_metadata, &self->m, MEMORY_PRIVATE));
	EXPECT_GE(LIMIT, measure(_metadata, &self->m, MEMORY_MEMFD));
}

/* One call places one run; but few reads bring them. */
TEST_F_TIMEOUT(calls, pages_that_lie_alone, 180)
{
	self->m = model_make(PATTERN_SCATTERED, LENGTH);
	EXPECT_GE(1100, measure(_metadata, &self->m, MEMORY_PRIVATE));
}

TEST_HARNESS_MAIN
