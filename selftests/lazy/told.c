// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what goes on while somebody is told of an error, and after: that may
 * take its time, which holds up no streaming; and to resume is to try again all
 * that failed before, also what nobody has been told of yet. The linker puts this
 * program's own pread() and pthread_cond_timedwait() before the real ones (see the
 * Makefile): reads are held up and fail, waits are counted.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
#define TOUCHED		1000
#define OTHER		1900
/* Pages of a read: it is not too many of them that wait for a fault. */
#define EXTENT		64

/*
 * Reads that begin there wait while it is held; and fail for whoever comes while
 * it is on, until that one is told.
 */
static struct bad {
	off_t offset;
	bool on;
	bool held;
	unsigned int reads;
} bad[2];

static __thread bool has_come;

static struct {
	bool on;
	unsigned int nr;
} waits;

static bool is_on(const bool *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void set(bool *p, bool on)
{
	__atomic_store_n(p, on, __ATOMIC_RELEASE);
}

static bool goes_wrong(off_t offset)
{
	struct bad *b;

	for (b = bad; b < bad + 2; b++) {
		if (offset != b->offset)
			continue;
		has_come = has_come || is_on(&b->on);
		__atomic_add_fetch(&b->reads, 1, __ATOMIC_RELEASE);
		while (is_on(&b->held))
			usleep(200);
		return has_come;
	}
	return false;
}

ssize_t __real_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t offset)
{
	if (!goes_wrong(offset))
		return __real_pread(fd, buf, n, offset);
	errno = EIO;
	return -1;
}

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
				  const struct timespec *until)
{
	if (is_on(&waits.on))
		__atomic_add_fetch(&waits.nr, 1, __ATOMIC_RELAXED);
	return __real_pthread_cond_timedwait(cond, lock, until);
}

static void await_read(const struct bad *b)
{
	while (!__atomic_load_n(&b->reads, __ATOMIC_ACQUIRE))
		usleep(200);
}

FIXTURE(told) {
	struct model m;
	uint64_t pages_offset;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	/* Of the error function, which takes its time while it is held. */
	bool held;
	unsigned int told;
};

FIXTURE_SETUP(told)
{
	struct mram_block_info i = { .size = sizeof(i) };
	struct mram_image *img;

	random_seed(1600);
	self->m = model_make(PATTERN_FULL, LENGTH);
	ASSERT_OK(mram_image_open(&img, self->m.path, &error));
	ASSERT_OK(mram_image_block(img, 0, &i, &error));
	mram_image_close(img);
	self->pages_offset = i.pages_offset;
}

FIXTURE_TEARDOWN(told)
{
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* Before there are threads that read. */
static void set_bad(FIXTURE_DATA(told) *self, struct bad *b, uint64_t page,
		    bool on, bool held)
{
	*b = (struct bad){ (off_t)(self->pages_offset + page * PAGE), on, held };
}

/* For those who come from now on. */
static void mend(struct bad *b)
{
	set(&b->on, false);
	set(&b->held, false);
}

static void failed(void *data, const struct mram_error *err)
{
	FIXTURE_DATA(told) *self = data;

	(void)err;
	has_come = false;
	__atomic_add_fetch(&self->told, 1, __ATOMIC_RELEASE);
	while (is_on(&self->held))
		usleep(200);
}

static unsigned int told_now(const FIXTURE_DATA(told) *self)
{
	return __atomic_load_n(&self->told, __ATOMIC_ACQUIRE);
}

static void await_told(FIXTURE_DATA(told) *self, unsigned int nr)
{
	while (told_now(self) < nr)
		usleep(200);
}

static void begin(FIXTURE_DATA(told) *self, uint32_t streamers)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts,
			  .flags = MRAM_LAZY_PAUSED | MRAM_LAZY_WAIT,
			  .fault_threads = 2, .fault_around = 1,
			  .stream_threads = streamers, .max_extent = EXTENT * PAGE,
			  .error = failed, .data = self);

	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->l = started(&self->img, &self->m, self->mem.p, &o);
}

static void end(struct __test_metadata *_metadata, FIXTURE_DATA(told) *self,
		struct waiter *w, int nr)
{
	while (nr--) {
		waiter_join(&w[nr]);
		EXPECT_EQ(0, w[nr].signal);
		EXPECT_EQ(self->m.p[w[nr].p - self->mem.p], w[nr].byte);
	}
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	memory_free(&self->mem);
}

/* A fault that has failed is not one that is being served. */
TEST_F_TIMEOUT(told, streaming_goes_on_meanwhile, 60)
{
	struct mram_restore_lazy_stats st;
	struct waiter w;

	set_bad(self, &bad[0], TOUCHED, true, false);
	/* Where streaming begins. */
	set_bad(self, &bad[1], 0, false, true);
	begin(self, 1);
	set(&self->held, true);
	waiter_start(&w, self->mem.p + TOUCHED * PAGE);
	await_told(self, 1);
	mram_restore_lazy_resume(self->l);
	/* That was to try again, of which the other thread is told. */
	await_told(self, 2);
	await_read(&bad[1]);
	set(&waits.on, true);
	mend(&bad[1]);
	STATS_WHEN(st, self->l, st.read >= TOUCHED / 2);
	set(&waits.on, false);
	EXPECT_EQ(0, __atomic_load_n(&waits.nr, __ATOMIC_RELAXED));
	mend(&bad[0]);
	set(&self->held, false);
	/* The second one failed after that was resumed. */
	while (mram_restore_lazy_wait(self->l, -1, &error))
		mram_restore_lazy_resume(self->l);
	end(_metadata, self, &w, 1);
}

/* Nobody else has the page that a thread fails to read when all go on. */
TEST_F_TIMEOUT(told, of_a_fault_that_failed_before, 60)
{
	struct mram_restore_lazy_stats st;
	struct waiter w[2];

	set_bad(self, &bad[0], TOUCHED, true, false);
	set_bad(self, &bad[1], OTHER, true, true);
	begin(self, 1);
	waiter_start(&w[0], self->mem.p + OTHER * PAGE);
	await_read(&bad[1]);
	waiter_start(&w[1], self->mem.p + TOUCHED * PAGE);
	await_told(self, 1);
	ASSERT_FAILS(-EIO, "page 1000 ",
		     mram_restore_lazy_wait(self->l, -1, &error));
	mend(&bad[0]);
	mram_restore_lazy_resume(self->l);
	STATS_WHEN(st, self->l, st.left == 1);
	/* Whoever waits for it comes again. */
	mram_restore_lazy_pause(self->l);
	mend(&bad[1]);
	await_told(self, 2);
	ASSERT_OK(mram_restore_lazy_wait(self->l, -1, &error));
	end(_metadata, self, w, 2);
}

TEST_F_TIMEOUT(told, of_a_page_on_its_way_that_failed_before, 60)
{
	struct mram_restore_lazy_stats st;

	set_bad(self, &bad[0], 0, true, true);
	set_bad(self, &bad[1], PAGES, false, false);
	begin(self, 2);
	mram_restore_lazy_resume(self->l);
	await_read(&bad[0]);
	mram_restore_lazy_resume(self->l);
	/* All has been gone through by then, and these pages are not given back. */
	STATS_WHEN(st, self->l, st.left == EXTENT);
	mend(&bad[0]);
	ASSERT_OK(mram_restore_lazy_wait(self->l, -1, &error));
	EXPECT_EQ(1, told_now(self));
	end(_metadata, self, NULL, 0);
}

/* What was tried since does stop it: until somebody resumes once more. */
TEST_F_TIMEOUT(told, of_a_fault_that_failed_again, 60)
{
	struct waiter w;

	set_bad(self, &bad[0], TOUCHED, true, false);
	set_bad(self, &bad[1], PAGES, false, false);
	begin(self, 1);
	waiter_start(&w, self->mem.p + TOUCHED * PAGE);
	await_told(self, 1);
	mram_restore_lazy_resume(self->l);
	ASSERT_FAILS(-EIO, "page 1000 ",
		     mram_restore_lazy_wait(self->l, -1, &error));
	EXPECT_LE(2, told_now(self));
	mend(&bad[0]);
	mram_restore_lazy_resume(self->l);
	ASSERT_OK(mram_restore_lazy_wait(self->l, -1, &error));
	end(_metadata, self, &w, 1);
}

TEST_HARNESS_MAIN
