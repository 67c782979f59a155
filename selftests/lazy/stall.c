// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what holds for a page while it is being read: nobody reads it a second
 * time, whoever touches it waits for it and is recorded, and if it is discarded
 * meanwhile what was read does not come. And that memory which is discarded at
 * the very end is let go of. The linker puts this program's own pread() and
 * ioctl() before the real ones (see the Makefile): they can be held up.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
#define WAITERS		8
/* In no one's first piece, and not where one begins. */
#define TOUCHED		1003

static struct {
	bool on;
	unsigned int most;	/* reads that are held up */
	unsigned int reads;
	bool zeros;		/* and placing zero pages, which counts as one */
	int uffd;
	/* To be discarded when the library lets go of the memory. */
	void *last;
	pthread_t discarder;
} stall;

static void wait_here(void)
{
	if (__atomic_load_n(&stall.on, __ATOMIC_ACQUIRE) &&
	    __atomic_add_fetch(&stall.reads, 1, __ATOMIC_RELEASE) <= stall.most)
		while (__atomic_load_n(&stall.on, __ATOMIC_ACQUIRE))
			usleep(200);
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	wait_here();
	return __real_pread(fd, buf, n, offset);
}

static void *discard(void *page)
{
	madvise(page, PAGE, MADV_DONTNEED);
	return NULL;
}

int __real_ioctl(int fd, unsigned long request, void *arg);

/* Returns when the event waits to be read: then nothing can be placed. */
static void start_discarding(void *page)
{
	struct uffdio_zeropage nothing = { 0 };

	if (pthread_create(&stall.discarder, NULL, discard, page))
		exit(1);
	while (!__real_ioctl(stall.uffd, UFFDIO_ZEROPAGE, &nothing) ||
	       errno != EAGAIN)
		usleep(200);
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	void *arg, *page = stall.last;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == UFFDIO_REGISTER)
		stall.uffd = fd;
	/* An empty range is only a question. */
	if (request == UFFDIO_ZEROPAGE &&
	    __atomic_load_n(&stall.zeros, __ATOMIC_ACQUIRE) &&
	    ((struct uffdio_zeropage *)arg)->range.len)
		wait_here();
	if (request == UFFDIO_UNREGISTER && page) {
		stall.last = NULL;
		start_discarding(page);
	}
	return __real_ioctl(fd, request, arg);
}

static unsigned int reads_now(void)
{
	return __atomic_load_n(&stall.reads, __ATOMIC_ACQUIRE);
}

static void hold_up(unsigned int most)
{
	stall.most = most;
	__atomic_store_n(&stall.reads, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&stall.on, true, __ATOMIC_RELEASE);
}

static void await_read(void)
{
	while (!reads_now())
		usleep(200);
}

static void go_on(void)
{
	__atomic_store_n(&stall.on, false, __ATOMIC_RELEASE);
}

FIXTURE(stall) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	char *record;
};

FIXTURE_SETUP(stall)
{
	random_seed(1000);
	self->m = model_make(PATTERN_FULL, LENGTH);
	self->record = image_path();
}

FIXTURE_TEARDOWN(stall)
{
	image_remove(self->record);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static struct mram_restore_lazy *begin_with(FIXTURE_DATA(stall) *self, int kind,
					    uint32_t faulters, uint32_t around)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = faulters, .fault_around = around,
			  .stream_threads = 1, .record = self->record);

	self->mem = guest_make(kind, LENGTH);
	return started(&self->img, &self->m, self->mem.p, &o);
}

static struct mram_restore_lazy *begin(FIXTURE_DATA(stall) *self, int kind)
{
	return begin_with(self, kind, 2, 1);
}

static void end(FIXTURE_DATA(stall) *self, struct mram_restore_lazy *l)
{
	mram_restore_lazy_close(l);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

TEST_F_TIMEOUT(stall, many_wait_for_one_read, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct waiter w[WAITERS];
	int i;

	l = begin(self, MEMORY_PRIVATE);
	hold_up(UINT_MAX);
	for (i = 0; i < WAITERS; i++)
		waiter_start(&w[i], self->mem.p + TOUCHED * PAGE);
	STATS_WHEN(st, l, st.waited == WAITERS - 1);
	/* Who reads may be the last one to get there. */
	await_read();
	EXPECT_EQ(1, reads_now());
	EXPECT_EQ(0, st.read);
	for (i = 0; i < WAITERS; i++)
		EXPECT_FALSE(waiter_through(&w[i]));
	go_on();
	for (i = 0; i < WAITERS; i++) {
		waiter_join(&w[i]);
		EXPECT_EQ(0, w[i].signal);
		EXPECT_EQ(self->m.p[TOUCHED * PAGE], w[i].byte);
	}
	STATS_WHEN(st, l, st.read);
	EXPECT_EQ(1, st.read);
	EXPECT_EQ(1, st.ios);
	EXPECT_EQ(WAITERS, st.faults);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	end(self, l);
}

/* The one run of the record: a block, 0, an offset, a length, a checksum. */
TEST_F_TIMEOUT(stall, touched_while_it_is_streamed, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	uint64_t run[4] = { 0 };
	struct waiter w;
	int fd;

	l = begin(self, MEMORY_PRIVATE);
	hold_up(UINT_MAX);
	mram_restore_lazy_resume(l);
	await_read();
	/* The first pages are on their way. */
	waiter_start(&w, self->mem.p + 3 * PAGE);
	STATS_WHEN(st, l, st.waited);
	EXPECT_EQ(1, reads_now());
	go_on();
	waiter_join(&w);
	EXPECT_EQ(0, w.signal);
	EXPECT_EQ(self->m.p[3 * PAGE], w.byte);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	end(self, l);
	fd = open(self->record, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(64 + sizeof(run), lseek(fd, 0, SEEK_END));
	ASSERT_EQ(sizeof(run), pread(fd, run, sizeof(run), 64));
	close(fd);
	EXPECT_EQ(0, run[0]);
	EXPECT_EQ(3 * PAGE, run[1]);
	EXPECT_EQ(PAGE, run[2]);
}

/* Nobody looks before what was read could come. */
TEST_F_TIMEOUT(stall, discarded_while_it_is_streamed, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };
	int kind;

	gone[3] = true;
	for (kind = 0; kind < GUEST_KINDS; kind++) {
		/* Those could only be discarded as a whole. */
		if (guest_kinds[kind] == MEMORY_HUGE)
			continue;
		l = begin(self, guest_kinds[kind]);
		hold_up(UINT_MAX);
		mram_restore_lazy_resume(l);
		await_read();
		memory_discard(&self->mem, 3, 1);
		STATS_WHEN(st, l, st.discarded);
		go_on();
		ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
		EXPECT_EQ(PAGES - 1, st.read);
		EXPECT_EQ(0, wrong_pages(self->m.p, self->mem.p, PAGES, gone)) {
			TH_LOG("%s", guest_names[kind]);
		}
		end(self, l);
	}
}

/* Who waits for it sees zeros, and that at once. */
TEST_F_TIMEOUT(stall, discarded_while_it_is_read, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };
	struct waiter w;
	int kind;

	gone[TOUCHED] = true;
	for (kind = 0; kind < GUEST_KINDS; kind++) {
		if (guest_kinds[kind] == MEMORY_HUGE)
			continue;
		l = begin(self, guest_kinds[kind]);
		hold_up(UINT_MAX);
		waiter_start(&w, self->mem.p + TOUCHED * PAGE);
		await_read();
		memory_discard(&self->mem, TOUCHED, 1);
		waiter_join(&w);
		go_on();
		EXPECT_EQ(0, w.signal);
		EXPECT_EQ(0, w.byte);
		ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
		st = stats_of(l);
		EXPECT_EQ(1, st.discarded);
		EXPECT_EQ(PAGES - 1, st.read);
		EXPECT_EQ(0, wrong_pages(self->m.p, self->mem.p, PAGES, gone)) {
			TH_LOG("%s", guest_names[kind]);
		}
		end(self, l);
	}
}

/*
 * Nothing can be placed while the event waits. What is given back then, since it
 * was only read along, nobody touches, and streaming is past it.
 */
TEST_F_TIMEOUT(stall, discarded_among_what_is_read, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };
	struct waiter w;

	gone[TOUCHED] = true;
	l = begin_with(self, MEMORY_PRIVATE, 1, 16 * PAGE);
	hold_up(1);
	waiter_start(&w, self->mem.p + TOUCHED * PAGE);
	await_read();
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, st.left == 16);
	start_discarding(self->mem.p + TOUCHED * PAGE);
	go_on();
	waiter_join(&w);
	EXPECT_EQ(0, w.signal);
	EXPECT_EQ(0, w.byte);
	ASSERT_EQ(0, pthread_join(stall.discarder, NULL));
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(1, st.discarded);
	EXPECT_EQ(PAGES - 1, st.read);
	EXPECT_EQ(0, wrong_pages(self->m.p, self->mem.p, PAGES, gone));
	end(self, l);
}

/* The same where what was to be placed are zero pages of a working set. */
TEST_F_TIMEOUT(stall, discarded_among_zero_pages, 60)
{
	struct model m = model_make(PATTERN_SCATTERED, LENGTH);
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = 1, .fault_around = 16 * PAGE,
			  .stream_threads = 1, .record = self->record);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct mram_restore_lazy *l;
	struct waiter w;
	unsigned char *p;

	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	/* The first of three, which are brought together. */
	p = self->mem.p + 1001 * PAGE;
	l = started(&self->img, &m, self->mem.p, &o);
	ASSERT_EQ(0, touch(p));
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(3, st.zero);
	mram_restore_lazy_close(l);
	mram_image_close(self->img);

	o.record = NULL;
	o.working_set = self->record;
	l = started(&self->img, &m, self->mem.p, &o);
	EXPECT_EQ(3, stats_of(l).set_left);
	__atomic_store_n(&stall.zeros, true, __ATOMIC_RELEASE);
	hold_up(1);
	waiter_start(&w, p);
	await_read();
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, !st.left);
	EXPECT_EQ(3, st.set_left);
	start_discarding(p + PAGE);
	go_on();
	waiter_join(&w);
	EXPECT_EQ(0, w.signal);
	ASSERT_EQ(0, pthread_join(stall.discarder, NULL));
	STATS_WHEN(st, l, !st.set_left);
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(2, st.zero);
	EXPECT_EQ(-1, differing_page(&m, self->mem.p));
	__atomic_store_n(&stall.zeros, false, __ATOMIC_RELEASE);
	end(self, l);
	model_free(&m);
}

/* No thread of the library reads events any more. */
TEST_F_TIMEOUT(stall, discarded_at_the_end, 60)
{
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };

	gone[TOUCHED] = true;
	l = begin(self, MEMORY_PRIVATE);
	mram_restore_lazy_resume(l);
	ASSERT_OK(mram_restore_lazy_wait(l, -1, &error));
	stall.last = self->mem.p + TOUCHED * PAGE;
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(NULL, stall.last);
	ASSERT_EQ(0, pthread_join(stall.discarder, NULL));
	EXPECT_EQ(0, wrong_pages(self->m.p, self->mem.p, PAGES, gone));
	end(self, l);
}

TEST_HARNESS_MAIN
