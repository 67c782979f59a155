// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what becomes of pages that a working set names, in memory of other
 * kinds and where others have been: nobody waits for those that another process
 * has filled, and huge pages that are zero come before all that has to be read.
 */
#include <string.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
#define HUGE		(2 * MIB)

FIXTURE(named) {
	struct model m;
	char *path;
};

FIXTURE_SETUP(named)
{
	random_seed(1300);
	self->path = image_path();
}

FIXTURE_TEARDOWN(named)
{
	image_remove(self->path);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static void told(void *data, const char *text)
{
	(void)data;
	ksft_print_msg("%s\n", text);
	exit(1);
}

static struct mram_restore_lazy_opts opts(FIXTURE_DATA(named) *self, bool record)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts, .flags = MRAM_LAZY_PAUSED,
			  .fault_around = 1, .stream_threads = 1,
			  .message = told);

	if (record)
		o.record = self->path;
	else
		o.working_set = self->path;
	return o;
}

/* A working set of every @step'th page. */
static void name_pages(struct __test_metadata *_metadata,
		       FIXTURE_DATA(named) *self, int kind, size_t step)
{
	struct mram_restore_lazy_opts o = opts(self, true);
	struct memory mem = guest_make(kind, self->m.length);
	struct mram_restore_lazy *l;
	struct mram_image *img;
	size_t at;

	l = started(&img, &self->m, mem.p, &o);
	for (at = 0; at < self->m.length; at += step)
		ASSERT_EQ(0, touch(mem.p + at));
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
}

/* Through a mapping of its own, of which no userfaultfd knows. */
TEST_F_TIMEOUT(named, filled_by_others, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy_opts o;
	const size_t step = 6 * PAGE;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	struct memory mem;
	unsigned char *p;
	uint64_t held = 0;
	size_t at;

	self->m = model_make(PATTERN_SCATTERED, LENGTH);
	name_pages(_metadata, self, MEMORY_MEMFD, step);
	mem = guest_make(MEMORY_MEMFD, LENGTH);
	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd,
		 (off_t)mem.fd_offset);
	ASSERT_NE(MAP_FAILED, p);
	o = opts(self, false);
	o.flags |= MRAM_LAZY_TAKE_OVER;
	l = started(&img, &self->m, mem.p, &o);
	EXPECT_EQ((PAGES + 5) / 6, stats_of(l).set_left);
	/* All but the first one. */
	for (at = step; at < LENGTH; at += step) {
		memcpy(p + at, self->m.p + at, PAGE);
		held += !page_is_zero(p + at, PAGE);
	}
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, !st.set_left);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	st = stats_of(l);
	EXPECT_LT(0, held);
	EXPECT_EQ(held, st.existed);
	EXPECT_EQ(self->m.set, st.read + st.existed);
	EXPECT_EQ(0, st.zero);
	EXPECT_EQ(0, st.faults);
	EXPECT_EQ(-1, differing_page(&self->m, mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	munmap(p, LENGTH);
	memory_free(&mem);
}

/*
 * Every second one is zero: of 12 that lie alone, 8 are left out, which needs
 * nothing any more either.
 */
TEST_F_TIMEOUT(named, huge_pages_that_are_zero, 60)
{
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy_opts o;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	struct memory mem;
	size_t at;

	self->m = model_make(PATTERN_EMPTY, 24 * HUGE);
	for (at = 0; at < self->m.length; at += 2 * HUGE) {
		random_fill(self->m.p + at, HUGE);
		self->m.set += HUGE / PAGE;
	}
	model_save(&self->m);
	mem = guest_make(MEMORY_HUGE, self->m.length);
	if (!mem.p)
		SKIP(return, "no huge pages");
	memory_free(&mem);
	name_pages(_metadata, self, MEMORY_HUGE, HUGE);

	mem = guest_make(MEMORY_HUGE, self->m.length);
	o = opts(self, false);
	l = started(&img, &self->m, mem.p, &o);
	EXPECT_EQ(24 * HUGE / PAGE, stats_of(l).set_left);
	mram_restore_lazy_resume(l);
	STATS_WHEN(st, l, st.read);
	EXPECT_EQ(4 * HUGE / PAGE, st.zero);
	STATS_WHEN(st, l, !st.set_left);
	mram_restore_lazy_pause(l);
	for (at = 0; at < self->m.length; at += HUGE)
		EXPECT_EQ(0, touch(mem.p + at));
	EXPECT_EQ(0, stats_of(l).faults);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(4 * HUGE / PAGE, stats_of(l).zero);
	EXPECT_EQ(-1, differing_page(&self->m, mem.p));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
}

TEST_HARNESS_MAIN
