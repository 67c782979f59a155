// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that of memory which the image does not hold only so much is taken out
 * of the userfaultfd as is worth it: the largest ranges, and no more than 8,
 * however many there are; and that all of it is zero.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "common.h"

#define SMALL		63
#define LARGE		7
#define MOST		8
#define SMALL_GAP	(4 * MIB)
#define LARGE_GAP	(16 * MIB)
#define LENGTH		(SMALL * SMALL_GAP + LARGE * LARGE_GAP)

FIXTURE(gaps) {
	struct model m;
	unsigned char *p;
};

/* Where a gap begins, with the one page before it that is not zero. */
static size_t gap_at(int i)
{
	/* The large ones stand among the others. */
	int large = i / 10 < LARGE ? i / 10 : LARGE;

	return (i - large) * SMALL_GAP + large * LARGE_GAP;
}

static size_t gap_size(int i)
{
	return gap_at(i + 1) - gap_at(i);
}

FIXTURE_SETUP(gaps)
{
	int i;

	random_seed(900);
	self->m = model_make(PATTERN_EMPTY, LENGTH);
	/* A few single pages of it are touched: not 2 MiB for each. */
	madvise(self->m.p, LENGTH, MADV_NOHUGEPAGE);
	for (i = 0; i < SMALL + LARGE; i++)
		random_fill(self->m.p + gap_at(i), PAGE);
	self->m.set = SMALL + LARGE;
	model_save(&self->m);
	self->p = mmap(NULL, LENGTH + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->p);
}

FIXTURE_TEARDOWN(gaps)
{
	munmap(self->p, LENGTH + 2 * MIB);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* Mappings that a range consists of. */
static int mappings(const unsigned char *p, size_t length)
{
	uintptr_t from = (uintptr_t)p, to = from + length;
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];
	int nr = 0;

	if (!f)
		exit(1);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			nr += start < to && end > from;
	fclose(f);
	return nr;
}

TEST_F_TIMEOUT(gaps, the_largest_are_left_out, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	unsigned char *p = self->p + (-(uintptr_t)self->p & (2 * MIB - 1));
	struct mram_restore_lazy_stats st;
	struct mram_restore_lazy *l;
	struct mram_image *img;
	int i;

	l = started(&img, &self->m, p, &o);
	/* Each with one that is registered before it, and one at the end. */
	EXPECT_LE(2 * MOST, mappings(p, LENGTH));
	EXPECT_GE(2 * MOST + 1, mappings(p, LENGTH));
	for (i = 0; i < SMALL + LARGE; i++)
		if (gap_size(i) == LARGE_GAP)
			EXPECT_EQ(0, p[gap_at(i) + LARGE_GAP / 2]);
	EXPECT_EQ(0, stats_of(l).faults);
	/* The second half, which is aligned. */
	for (i = 0; i < SMALL + LARGE; i++)
		if (gap_size(i) == SMALL_GAP)
			EXPECT_EQ(0, p[gap_at(i) + 3 * MIB]);
	STATS_WHEN(st, l, st.faults >= SMALL + LARGE - MOST);
	EXPECT_EQ(SMALL + LARGE - MOST, st.faults);
	EXPECT_EQ(0, st.read);
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(SMALL + LARGE, stats_of(l).read);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(-1, differing_page(&self->m, p));
}

TEST_HARNESS_MAIN
