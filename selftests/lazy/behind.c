// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what becomes of memory that MREMAP_DONTUNMAP moves away and leaves where
 * it was: what the image holds is where it was moved to, and the old place is
 * zero, as without a restore, for any number of threads and moves. And that who
 * leaves shared memory behind is told that this cannot be, and that there is no
 * memory for what was left. The linker puts this program's own ioctl() before the
 * real one (see the Makefile): it says then that there is none.
 */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "common.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP	4
#endif

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
/* What is moved. */
#define FIRST		600
#define COUNT		800
#define TOUCHERS	4

/* More than anybody would try in vain. */
#define TRIES		20000u

/* Whether there is no memory for pages of zeroes, and how often it was asked for. */
static struct {
	bool on;
	unsigned int asked;
} scarce;

int __real_ioctl(int fd, unsigned long request, void *arg);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	struct uffdio_zeropage *z;
	va_list ap;

	va_start(ap, request);
	z = va_arg(ap, void *);
	va_end(ap);
	if (request != UFFDIO_ZEROPAGE || !z->range.len ||
	    !__atomic_load_n(&scarce.on, __ATOMIC_ACQUIRE))
		return __real_ioctl(fd, request, z);
	__atomic_add_fetch(&scarce.asked, 1, __ATOMIC_RELEASE);
	z->zeropage = -ENOMEM;
	errno = ENOMEM;
	return -1;
}

FIXTURE(behind) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	unsigned char *old, *to;
	int told;
};

FIXTURE_SETUP(behind)
{
	random_seed(1500);
	self->m = model_make(PATTERN_FULL, LENGTH);
	self->to = mmap(NULL, 2 * LENGTH, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->to);
}

FIXTURE_TEARDOWN(behind)
{
	munmap(self->to, 2 * LENGTH);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void failed(void *data, const struct mram_error *err)
{
	FIXTURE_DATA(behind) *self = data;
	struct waiter w;

	(void)err;
	/* It may take until somebody else has got a page. */
	waiter_start(&w, self->mem.p);
	waiter_join(&w);
	__atomic_add_fetch(&self->told, 1, __ATOMIC_RELEASE);
}

static void begin(FIXTURE_DATA(behind) *self, int kind, uint32_t threads)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = threads, .fault_around = 1,
			  .error = failed, .data = self);

	self->mem = guest_make(kind, LENGTH);
	self->l = started(&self->img, &self->m, self->mem.p, &o);
	self->old = self->mem.p + FIRST * PAGE;
}

static bool move(unsigned char *from, size_t pages, unsigned char *to, int more)
{
	return mremap(from, pages * PAGE, pages * PAGE,
		      MREMAP_MAYMOVE | MREMAP_FIXED | more, to) == to;
}

/* A thread that finds pages zero. */
struct looker {
	const unsigned char *p;
	size_t step;
	size_t not_zero;
};

static void *look(void *looker)
{
	struct looker *s = looker;
	size_t i;

	for (i = 0; i < COUNT / 4; i += s->step)
		s->not_zero += !page_is_zero(s->p + i * PAGE, PAGE);
	return NULL;
}

static size_t not_zero(const unsigned char *p)
{
	struct looker s[TOUCHERS];
	pthread_t id[TOUCHERS];
	size_t i, sum = 0;

	for (i = 0; i < TOUCHERS; i++) {
		/* Two of them the same pages. */
		s[i] = (struct looker){ p + i / 2 * PAGE, TOUCHERS / 2, 0 };
		if (pthread_create(&id[i], NULL, look, &s[i]))
			exit(1);
	}
	for (i = 0; i < TOUCHERS; i++) {
		pthread_join(id[i], NULL);
		sum += s[i].not_zero;
	}
	return sum;
}

static void leave_behind(struct __test_metadata *_metadata,
			 FIXTURE_DATA(behind) *self, uint32_t threads)
{
	struct mram_restore_lazy_stats st;
	unsigned char *p, *again = self->to + LENGTH;
	size_t i;

	begin(self, MEMORY_PRIVATE, threads);
	EXPECT_EQ(0, touch(self->old + 5 * PAGE));
	ASSERT_TRUE(move(self->old, COUNT, self->to, MREMAP_DONTUNMAP));
	EXPECT_EQ(0, not_zero(self->old));
	EXPECT_EQ(0, memcmp(self->to + 7 * PAGE,
			    self->m.p + (FIRST + 7) * PAGE, PAGE));
	/* Moved on as usual, and of that some left behind once more. */
	ASSERT_TRUE(move(self->old + COUNT / 4 * PAGE, COUNT / 2, again, 0));
	EXPECT_EQ(0, not_zero(again));
	ASSERT_TRUE(move(again + COUNT / 4 * PAGE, COUNT / 4, again + LENGTH / 2,
			 MREMAP_DONTUNMAP));
	EXPECT_EQ(0, not_zero(again + LENGTH / 2));
	EXPECT_EQ(0, not_zero(again + COUNT / 4 * PAGE));
	/* And some of it unmapped. */
	ASSERT_EQ(0, munmap(again + 9 * PAGE, 9 * PAGE));
	mram_restore_lazy_resume(self->l);
	STATS_WHEN(st, self->l, !st.left || self->told);
	EXPECT_EQ(0, self->told);
	EXPECT_EQ(PAGES, st.read);
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	/* Where nobody has been. */
	EXPECT_EQ(0, touch(self->old + (COUNT - 3) * PAGE));
	for (i = 0; i < PAGES; i++) {
		p = self->mem.p + i * PAGE;
		if (i >= FIRST && i < FIRST + COUNT)
			p = self->to + (i - FIRST) * PAGE;
		EXPECT_EQ(0, memcmp(p, self->m.p + i * PAGE, PAGE));
	}
	EXPECT_EQ(0, self->told);
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

TEST_F_TIMEOUT(behind, is_zero, 60)
{
	leave_behind(_metadata, self, 2);
}

TEST_F_TIMEOUT(behind, is_zero_with_one_thread_for_faults, 60)
{
	leave_behind(_metadata, self, 1);
}

/* Who waits for it goes on waiting; and does so no more when it is over. */
TEST_F_TIMEOUT(behind, no_memory_for_it, 60)
{
	struct waiter w;

	begin(self, MEMORY_PRIVATE, 2);
	ASSERT_TRUE(move(self->old, COUNT, self->to, MREMAP_DONTUNMAP));
	__atomic_store_n(&scarce.on, true, __ATOMIC_RELEASE);
	waiter_start(&w, self->old + 3 * PAGE);
	while (!__atomic_load_n(&self->told, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&scarce.asked, __ATOMIC_ACQUIRE) < TRIES)
		usleep(200);
	EXPECT_EQ(1, __atomic_load_n(&self->told, __ATOMIC_ACQUIRE));
	EXPECT_GT(TRIES, scarce.asked);
	EXPECT_FALSE(waiter_through(&w));
	__atomic_store_n(&scarce.on, false, __ATOMIC_RELEASE);
	ASSERT_FAILS(-ENOMEM, "cannot be made",
		     mram_restore_lazy_finish(self->l, NULL, &error));
	mram_restore_lazy_close(self->l);
	waiter_join(&w);
	EXPECT_TRUE(page_is_zero(self->old + 3 * PAGE, PAGE));
	mram_image_close(self->img);
	memory_free(&self->mem);
}

/* It would be the same pages in two places. */
TEST_F_TIMEOUT(behind, shared_memory_is_refused, 60)
{
	struct waiter w;

	begin(self, MEMORY_SHARED, 2);
	if (!move(self->old, COUNT, self->to, MREMAP_DONTUNMAP)) {
		mram_restore_lazy_close(self->l);
		mram_image_close(self->img);
		memory_free(&self->mem);
		SKIP(return, "this kernel leaves no shared memory behind");
	}
	waiter_start(&w, self->old + 3 * PAGE);
	while (!__atomic_load_n(&self->told, __ATOMIC_ACQUIRE))
		usleep(200);
	ASSERT_FAILS(-EFAULT, "registered but of no block",
		     mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(1, self->told);
	EXPECT_FALSE(waiter_through(&w));
	mram_restore_lazy_close(self->l);
	waiter_join(&w);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

TEST_HARNESS_MAIN
