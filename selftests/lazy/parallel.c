// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that faults on different pages are served at the same time: as many
 * reads of the image are under way as there are threads for faults, and while one
 * of them takes long, all others go on. The linker puts this program's own
 * pread() before the real one (see the Makefile), where they meet.
 */
#include <pthread.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
#define MOST		8
#define ROUNDS		8

/* Where reads meet: while it is on, the first @most that come stay. */
static struct {
	bool on;
	unsigned int most;
	unsigned int here;
} meet;

static unsigned int here(void)
{
	return __atomic_load_n(&meet.here, __ATOMIC_ACQUIRE);
}

static void stay(void)
{
	if (!__atomic_load_n(&meet.on, __ATOMIC_ACQUIRE) ||
	    __atomic_fetch_add(&meet.here, 1, __ATOMIC_ACQ_REL) >=
	    __atomic_load_n(&meet.most, __ATOMIC_ACQUIRE))
		return;
	while (__atomic_load_n(&meet.on, __ATOMIC_ACQUIRE))
		usleep(200);
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	stay();
	return __real_pread(fd, buf, n, offset);
}

static void begin_to_meet(unsigned int most)
{
	__atomic_store_n(&meet.most, most, __ATOMIC_RELEASE);
	__atomic_store_n(&meet.here, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&meet.on, true, __ATOMIC_RELEASE);
}

static void go_on(void)
{
	__atomic_store_n(&meet.on, false, __ATOMIC_RELEASE);
}

FIXTURE(parallel) {
	struct model m;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	size_t next;
};

FIXTURE_SETUP(parallel)
{
	random_seed(1400);
	self->m = model_make(PATTERN_SCATTERED, LENGTH);
}

FIXTURE_TEARDOWN(parallel)
{
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void begin(FIXTURE_DATA(parallel) *self, unsigned int threads)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_threads = threads, .fault_around = 1);

	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->next = 0;
	self->l = started(&self->img, &self->m, self->mem.p, &o);
}

static void end(struct __test_metadata *_metadata, FIXTURE_DATA(parallel) *self)
{
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

/* The next page that the image holds, or does not. */
static unsigned char *page(FIXTURE_DATA(parallel) *self, bool held)
{
	self->next += 4;
	return self->mem.p + (self->next + !held) * PAGE;
}

static void join(struct __test_metadata *_metadata, FIXTURE_DATA(parallel) *self,
		 struct waiter *w, unsigned int nr)
{
	while (nr--) {
		waiter_join(&w[nr]);
		EXPECT_EQ(0, w[nr].signal);
		EXPECT_EQ(self->m.p[w[nr].p - self->mem.p], w[nr].byte);
	}
}

/* They would wait for ever if one had to be through before the next one. */
TEST_F_TIMEOUT(parallel, reads_are_under_way_together, 60)
{
	unsigned int threads, round, i;
	struct waiter w[MOST];

	for (threads = 2; threads <= MOST; threads *= 2) {
		begin(self, threads);
		for (round = 0; round < ROUNDS; round++) {
			begin_to_meet(threads);
			for (i = 0; i < threads; i++)
				waiter_start(&w[i], page(self, true));
			while (here() < threads)
				usleep(200);
			for (i = 0; i < threads; i++)
				EXPECT_FALSE(waiter_through(&w[i]));
			go_on();
			join(_metadata, self, w, threads);
			/* And some that nobody waits for. */
			EXPECT_EQ(0, touch(page(self, round % 2)));
		}
		end(_metadata, self);
	}
}

/* All threads but one are held up: that one serves whatever comes. */
TEST_F_TIMEOUT(parallel, one_is_enough_for_the_others, 60)
{
	unsigned int threads, round, i;
	struct waiter w[MOST];

	for (threads = 2; threads <= MOST; threads *= 2) {
		begin(self, threads);
		for (round = 0; round < ROUNDS; round++) {
			begin_to_meet(threads - 1);
			for (i = 0; i < threads - 1; i++)
				waiter_start(&w[i], page(self, true));
			while (here() < threads - 1)
				usleep(200);
			for (i = 0; i < 20; i++)
				EXPECT_EQ(0, touch(page(self, i % 2)));
			EXPECT_EQ(threads - 1 + 10, here());
			go_on();
			join(_metadata, self, w, threads - 1);
		}
		end(_metadata, self);
	}
}

TEST_HARNESS_MAIN
