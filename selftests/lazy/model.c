// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory restored while threads touch it is what the image holds,
 * for every kind of memory, for images of every pattern, in whatever order it is
 * touched; that each page is filled exactly once; that the page cache holds
 * nothing of the image afterwards; and that no thread and no file descriptor is
 * left.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(12 * MIB)
#define TOUCHERS	4

FIXTURE(model) {
	struct model m;
};

FIXTURE_VARIANT(model) {
	enum pattern pattern;
};

FIXTURE_VARIANT_ADD(model, full) { .pattern = PATTERN_FULL };
FIXTURE_VARIANT_ADD(model, runs) { .pattern = PATTERN_RUNS };
FIXTURE_VARIANT_ADD(model, scattered) { .pattern = PATTERN_SCATTERED };
FIXTURE_VARIANT_ADD(model, sparse) { .pattern = PATTERN_SPARSE };
FIXTURE_VARIANT_ADD(model, empty) { .pattern = PATTERN_EMPTY };

FIXTURE_SETUP(model)
{
	random_seed(100 + variant->pattern);
	self->m = model_make(variant->pattern, LENGTH);
}

FIXTURE_TEARDOWN(model)
{
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* Restore to memory of a kind while threads touch it, and look at all of it. */
static void restore(struct __test_metadata *_metadata, const struct model *m,
		    int kind, const struct mram_restore_lazy_opts *o)
{
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct memory mem = guest_make(guest_kinds[kind], m->length);
	int threads = threads_now(), fds = fds_now(), i;
	struct toucher t[TOUCHERS] = { 0 };
	struct mram_restore_lazy *l;
	pthread_t id[TOUCHERS];
	struct mram_image *img;

	if (!mem.p) {
		TH_LOG("no huge pages");
		return;
	}
	/* What was there before is not to be seen. */
	memset(mem.p, 0x55, m->length / 2);
	l = started(&img, m, mem.p, o);
	for (i = 0; i < TOUCHERS; i++) {
		t[i] = (struct toucher){ .m = m, .p = mem.p, .count = 3000,
					 .seed = random_below(1 << 30) };
		ASSERT_EQ(0, pthread_create(&id[i], NULL, toucher_run, &t[i]));
	}
	/* With streaming paused everything else comes from touching alone. */
	if (o && o->flags & MRAM_LAZY_PAUSED) {
		for (i = 0; i < TOUCHERS; i++)
			ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, stats_of(l).stream_calls);
	}
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(-1, differing_page(m, mem.p));
	for (i = 0; i < TOUCHERS; i++) {
		if (!o || !(o->flags & MRAM_LAZY_PAUSED))
			ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, t[i].wrong);
	}
	EXPECT_EQ(m->length / PAGE, st.pages);
	EXPECT_EQ(m->set, st.read) {
		TH_LOG("%s", guest_names[kind]);
	}
	EXPECT_EQ(0, st.left);
	EXPECT_EQ(0, st.discarded);
	EXPECT_EQ(0, st.existed);
	EXPECT_EQ(0, st.failed);
	EXPECT_LE(st.waited, st.faults);
	EXPECT_LE(st.fault_pages, st.read);
	EXPECT_GE(m->length / PAGE - m->set, st.zero);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
	EXPECT_EQ(threads, threads_left(threads));
	EXPECT_EQ(fds - (mem.fd >= 0), fds_now());
}

TEST_F_TIMEOUT(model, as_it_comes, 300)
{
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++)
		restore(_metadata, &self->m, kind, NULL);
	EXPECT_EQ(0, cached_pages(self->m.path));
}

TEST_F_TIMEOUT(model, touched_first, 300)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++)
		restore(_metadata, &self->m, kind, &o);
}

/* Numbers that are nobody's defaults. */
TEST_F_TIMEOUT(model, other_sizes, 300)
{
	static const struct {
		uint32_t faults, streams, extent, around;
	} sizes[] = {
		{ 1, 1, 4096, 1 },
		{ 1, 3, 12288, 8192 },
		{ 5, 7, 2 * MIB, 4096 },
		{ 2, 2, 64 * MIB, 2 * MIB },
		{ 3, 4, 5 * 4096, 7 * 4096 },
	};
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct mram_restore_lazy_opts o =
			MRAM_OPTS(mram_restore_lazy_opts,
				  .fault_threads = sizes[i].faults,
				  .stream_threads = sizes[i].streams,
				  .max_extent = sizes[i].extent,
				  .fault_around = sizes[i].around);

		restore(_metadata, &self->m, (int)(i % GUEST_KINDS), &o);
	}
}

TEST_HARNESS_MAIN
