// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory which the guest discards while it is being restored is zero
 * from then on, whatever was on its way; that memory which it unmaps or moves is
 * dealt with; and that what was not discarded is what the image holds.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(24 * MIB)
#define PAGES		(LENGTH / PAGE)
#define TOUCHERS	3
#define ROUNDS		160

FIXTURE(discard) {
	struct model m;
};

FIXTURE_SETUP(discard)
{
	random_seed(200);
	self->m = model_make(PATTERN_FULL, LENGTH);
}

FIXTURE_TEARDOWN(discard)
{
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

/* A guest's thread: pages are what the image holds, or discarded. */
struct guest {
	const struct model *m;
	const unsigned char *p;
	uint64_t seed;
	uint64_t wrong;
	bool stop;
};

static void *run_guest(void *guest)
{
	struct guest *g = guest;
	uint64_t page;

	while (!__atomic_load_n(&g->stop, __ATOMIC_RELAXED)) {
		g->seed = g->seed * 6364136223846793005ull + 1;
		page = (g->seed >> 33) % PAGES;
		/* One byte: it may be discarded between two. */
		if (g->p[page * PAGE] != g->m->p[page * PAGE] &&
		    g->p[page * PAGE])
			g->wrong++;
		/* Others want a processor, too, where there are few. */
		usleep(20);
	}
	return NULL;
}

static uint64_t about_to_come(struct mram_restore_lazy *l, uint64_t n,
			      uint64_t unit)
{
	uint64_t first = stats_of(l).read + random_below(600);

	return first < PAGES - n ? first / unit * unit : 0;
}

/* Streaming begins after @paused rounds. */
static void discard_while(struct __test_metadata *_metadata, struct model *m,
			  int kind, const struct mram_restore_lazy_opts *o,
			  int paused)
{
	struct memory mem = guest_make(guest_kinds[kind], LENGTH);
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	/* Huge pages can only be discarded as such. */
	uint64_t unit = guest_kinds[kind] == MEMORY_HUGE ? 512 : 1;
	int threads = threads_now(), fds = fds_now(), i;
	bool *gone = calloc(PAGES, sizeof(*gone));
	struct guest g[TOUCHERS] = { 0 };
	struct mram_restore_lazy *l;
	uint64_t first, n, k, stale = 0;
	pthread_t id[TOUCHERS];
	struct mram_image *img;

	if (!mem.p) {
		free(gone);
		return;
	}
	l = started(&img, m, mem.p, o);
	/* What nobody can have brought yet. */
	memory_discard(&mem, 0, unit);
	memset(gone, true, unit * sizeof(*gone));
	for (i = 0; i < TOUCHERS; i++) {
		g[i] = (struct guest){ .m = m, .p = mem.p, .seed = i + 1 };
		ASSERT_EQ(0, pthread_create(&id[i], NULL, run_guest, &g[i]));
	}
	for (i = 0; i < ROUNDS; i++) {
		if (i == paused)
			mram_restore_lazy_resume(l);
		n = unit * (1 + random_below(unit > 1 ? 2 : 30));
		first = random_below((PAGES - n) / unit) * unit;
		/* Every second time what is just being read. */
		if (i % 2)
			first = about_to_come(l, n, unit);
		memory_discard(&mem, first, n);
		for (k = first; k < first + n; k++) {
			gone[k] = true;
			/* A look brings zeros, before old content could come. */
			if (i % 4 < 2)
				stale += !page_is_zero(mem.p + k * PAGE, PAGE);
		}
	}
	EXPECT_EQ(0, stale) {
		TH_LOG("%s: pages had content after they were discarded",
		       guest_names[kind]);
	}
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	for (i = 0; i < TOUCHERS; i++) {
		__atomic_store_n(&g[i].stop, true, __ATOMIC_RELAXED);
		ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, g[i].wrong);
	}
	EXPECT_EQ(0, wrong_pages(m->p, mem.p, PAGES, gone));
	EXPECT_EQ(m->set, st.read + st.discarded);
	EXPECT_LT(0, st.discarded);
	mram_restore_lazy_close(l);
	mram_image_close(img);
	EXPECT_EQ(threads, threads_left(threads));
	EXPECT_EQ(fds, fds_now());
	memory_free(&mem);
	free(gone);
}

TEST_F_TIMEOUT(discard, while_it_is_touched, 300)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++)
		discard_while(_metadata, &self->m, kind, &o, ROUNDS / 2);
}

/* Whoever reads the event must not wait for it. */
TEST_F_TIMEOUT(discard, with_one_thread_for_faults, 300)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED,
						    .fault_threads = 1,
						    .stream_threads = 1,
						    .max_extent = 64 * PAGE);
	int kind;

	for (kind = 0; kind < GUEST_KINDS; kind++)
		discard_while(_metadata, &self->m, kind, &o, 0);
}

static void *touch_many(void *toucher)
{
	struct guest *g = toucher;
	uint64_t i;

	for (i = 0; i < 40; i++) {
		g->seed = g->seed * 6364136223846793005ull + 1;
		g->wrong += g->p[(g->seed >> 33) % (PAGES - 1) * PAGE + PAGE] !=
			    g->m->p[(g->seed >> 33) % (PAGES - 1) * PAGE + PAGE];
	}
	return NULL;
}

/* Faults come before the event in what is read: they must not bury it. */
TEST_F_TIMEOUT(discard, under_a_storm_of_faults, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED,
						    .fault_around = 1);
	struct memory mem = guest_make(MEMORY_PRIVATE, LENGTH);
	struct guest g[100] = { 0 };
	struct mram_restore_lazy *l;
	struct mram_image *img;
	pthread_t id[100];
	int i;

	l = started(&img, &self->m, mem.p, &o);
	for (i = 0; i < 100; i++) {
		g[i] = (struct guest){ .m = &self->m, .p = mem.p, .seed = i };
		ASSERT_EQ(0, pthread_create(&id[i], NULL, touch_many, &g[i]));
	}
	for (i = 0; i < 200; i++)
		memory_discard(&mem, 0, 1);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, g[i].wrong);
	}
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
}

/* Through the file: no event tells, so it counts for what was there. */
TEST_F_TIMEOUT(discard, hole_punched_through_the_file, 180)
{
	struct memory mem = guest_make(MEMORY_MEMFD, LENGTH);
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };
	struct mram_image *img;
	uint64_t i;

	l = started(&img, &self->m, mem.p, NULL);
	for (i = 0; i < PAGES; i += 7) {
		EXPECT_EQ(0, memcmp(mem.p + i * PAGE, self->m.p + i * PAGE,
				    PAGE));
		ASSERT_EQ(0, fallocate(mem.fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE,
				       mem.fd_offset + i * PAGE, PAGE));
		EXPECT_TRUE(page_is_zero(mem.p + i * PAGE, PAGE));
		gone[i] = true;
	}
	ASSERT_OK(mram_restore_lazy_finish(l, NULL, &error));
	EXPECT_EQ(0, wrong_pages(self->m.p, mem.p, PAGES, gone));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
}

/* What is mapped in its place is not ours. */
TEST_F_TIMEOUT(discard, unmapped, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	const uint64_t first = PAGES / 3, count = PAGES / 3;
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct memory mem = guest_make(MEMORY_PRIVATE, LENGTH);
	struct mram_restore_lazy *l;
	bool gone[PAGES] = { 0 };
	struct mram_image *img;

	memset(gone + first, true, count);
	l = started(&img, &self->m, mem.p, &o);
	ASSERT_EQ(0, touch(mem.p + (first + 5) * PAGE));
	ASSERT_EQ(0, munmap(mem.p + first * PAGE, count * PAGE));
	ASSERT_EQ(mem.p + first * PAGE,
		  mmap(mem.p + first * PAGE, count * PAGE,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	EXPECT_EQ(0, mem.p[first * PAGE]);
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(self->m.set, st.read + st.discarded);
	EXPECT_LE(count - 16, st.discarded);
	EXPECT_EQ(0, wrong_pages(self->m.p, mem.p, PAGES, gone));
	mram_restore_lazy_close(l);
	mram_image_close(img);
	memory_free(&mem);
}

TEST_F_TIMEOUT(discard, moved, 180)
{
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
						    .flags = MRAM_LAZY_PAUSED);
	const uint64_t first = PAGES / 3, count = PAGES / 3;
	struct mram_restore_lazy_stats st = { .size = sizeof(st) };
	struct memory mem = guest_make(MEMORY_PRIVATE, LENGTH);
	struct mram_restore_lazy *l;
	struct mram_image *img;
	unsigned char *to;
	uint64_t i;

	to = mmap(NULL, count * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		  -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	l = started(&img, &self->m, mem.p, &o);
	ASSERT_EQ(0, touch(mem.p + (first + 5) * PAGE));
	ASSERT_EQ(to, mremap(mem.p + first * PAGE, count * PAGE, count * PAGE,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to));
	for (i = 0; i < count; i += 100)
		EXPECT_EQ(0, memcmp(to + i * PAGE, self->m.p +
				    (first + i) * PAGE, PAGE));
	ASSERT_OK(mram_restore_lazy_finish(l, &st, &error));
	EXPECT_EQ(self->m.set, st.read);
	EXPECT_EQ(0, st.discarded);
	for (i = 0; i < PAGES; i++) {
		const unsigned char *p = mem.p + i * PAGE;

		if (i >= first && i < first + count)
			p = to + (i - first) * PAGE;
		EXPECT_EQ(0, memcmp(p, self->m.p + i * PAGE, PAGE));
	}
	mram_restore_lazy_close(l);
	mram_image_close(img);
	munmap(to, count * PAGE);
	memory_free(&mem);
}

TEST_HARNESS_MAIN
