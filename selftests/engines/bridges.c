// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that bridges, fixed ones and those that an engine chooses, join I/Os
 * and nothing else: only pages that the image holds are written along, what was
 * counted adds up, and while threads write to the memory no change is lost and
 * no page is in the image that is not in the bitmap.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define PAGES	4000
#define STEP	4
#define WRITERS	2
#define PASSES	12
/* Dirty pages of a pass that is too short for a trial, of the least window. */
#define FEW	20

FIXTURE(bridges) {
	struct memory mem;
	struct mram_session *s;
	char *path;
	bool stop;
	uint64_t changes, wanted;
};

FIXTURE_VARIANT(bridges) {
	const char *engine;
	uint32_t bridge;
};

#define VARIANT(engine_, how_, bridge_)					\
	FIXTURE_VARIANT_ADD(bridges, engine_##_##how_) {		\
		.engine = #engine_,					\
		.bridge = bridge_,					\
	}
VARIANT(module, fixed, 8);
VARIANT(module, chosen, MRAM_BRIDGE_AUTO);
VARIANT(uring, fixed, 8);
VARIANT(uring, chosen, MRAM_BRIDGE_AUTO);
VARIANT(pwrite, fixed, 8);
VARIANT(pwrite, chosen, MRAM_BRIDGE_AUTO);

FIXTURE_SETUP(bridges)
{
	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	random_seed(variant->bridge);
	self->path = image_path();
	self->mem = memory_make(MEMORY_MEMFD, PAGES * PAGE);
	self->s = engine_open(variant->engine, self->path);
	ASSERT_EQ(0, mram_session_add_region(self->s, "ram", self->mem.p,
					     self->mem.length, NULL, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(bridges)
{
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

/* Every STEPth page is dirty. */
static struct mram_pass_stats scatter(struct __test_metadata *_metadata,
				      FIXTURE_DATA(bridges) *self,
				      uint32_t bridge)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts, .bridge = bridge);
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t page;

	for (page = 0; page < PAGES; page += STEP) {
		random_fill(self->mem.p + page * PAGE, PAGE);
		ASSERT_OK(mram_session_mark_dirty(self->s, 0, page, 1, &error));
	}
	ASSERT_OK(mram_session_pass(self->s, &o, &st, &error));
	EXPECT_EQ(PAGES / STEP, st.written);
	EXPECT_EQ((st.written + st.bridged) * PAGE, st.bytes);
	EXPECT_EQ(0, mram_session_count_dirty(self->s, -1));
	return st;
}

/* The bitmap is exact, and what it names is what memory holds. */
static void check_image(struct __test_metadata *_metadata,
			FIXTURE_DATA(bridges) *self)
{
	struct mram_block_info info = { .size = sizeof(info) };
	unsigned char page[PAGE], *p;
	const uint64_t *words;
	struct mram_image *img;
	uint64_t n;

	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_block(img, 0, &info, &error));
	ASSERT_OK(mram_image_bitmap(img, 0, &words, &error));
	for (n = 0; n < PAGES; n++) {
		p = self->mem.p + n * PAGE;
		ASSERT_EQ(!page_is_zero(p, PAGE), !!(words[n / 64] & BIT(n))) {
			TH_LOG("page %llu", (unsigned long long)n);
		}
		if (page_is_zero(p, PAGE))
			continue;
		image_read(self->path, &info, n, page);
		ASSERT_EQ(0, memcmp(page, p, PAGE)) {
			TH_LOG("page %llu", (unsigned long long)n);
		}
	}
	mram_image_close(img);
}

TEST_F(bridges, are_over_what_the_image_holds)
{
	struct mram_pass_stats st;

	/* Nothing yet */
	st = scatter(_metadata, self, variant->bridge);
	EXPECT_EQ(PAGES / STEP, st.ios);
	EXPECT_EQ(0, st.bridged);
	random_fill(self->mem.p, self->mem.length);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	/* What is chosen is tried out at least. */
	st = scatter(_metadata, self, variant->bridge);
	EXPECT_GT(PAGES / STEP, st.ios);
	EXPECT_LT(0, st.bridged);
	if (variant->bridge != MRAM_BRIDGE_AUTO)
		EXPECT_EQ(variant->bridge, st.bridge);
	check_image(_metadata, self);
}

/* Gaps have STEP - 1 pages: bridges of that length are built, shorter ones not. */
TEST_F(bridges, are_as_long_as_they_may_be)
{
	struct mram_pass_stats st;

	if (variant->bridge == MRAM_BRIDGE_AUTO)
		SKIP(return, "the length is for the engine to choose");
	random_fill(self->mem.p, self->mem.length);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	st = scatter(_metadata, self, STEP - 2);
	EXPECT_EQ(PAGES / STEP, st.ios);
	EXPECT_EQ(0, st.bridged);
	st = scatter(_metadata, self, STEP - 1);
	EXPECT_GT(PAGES / STEP, st.ios);
	/* Between all that one I/O has. */
	EXPECT_EQ((STEP - 1) * (PAGES / STEP - st.ios), st.bridged);
	check_image(_metadata, self);
}

/* None of them is long enough for a whole trial; together they are. */
TEST_F(bridges, are_chosen_in_short_passes)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts, .window = 16,
					    .bridge = variant->bridge);
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t bridged = 0, page;
	int pass;

	random_fill(self->mem.p, self->mem.length);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	for (pass = 0; pass < PASSES; pass++) {
		for (page = pass; page < FEW * STEP; page += STEP) {
			random_fill(self->mem.p + page * PAGE, PAGE);
			ASSERT_OK(mram_session_mark_dirty(self->s, 0, page, 1,
							  &error));
		}
		ASSERT_OK(mram_session_pass(self->s, &o, &st, &error));
		/* What is tried in between is not what it has come to. */
		EXPECT_NE(MRAM_BRIDGE_AUTO, st.bridge);
		bridged += st.bridged;
	}
	EXPECT_LT(0, bridged);
	check_image(_metadata, self);
}

struct writer {
	FIXTURE_DATA(bridges) *self;
	pthread_t thread;
	unsigned int seed;
	uint64_t first, pages;
	int failed;
};

/* Tells of each change after it, as a dirty log does. */
static void *write_all_the_time(void *data)
{
	struct writer *w = data;
	struct mram_error err;
	unsigned char *p;
	uint64_t page;

	while (!__atomic_load_n(&w->self->stop, __ATOMIC_ACQUIRE)) {
		if (__atomic_load_n(&w->self->changes, __ATOMIC_RELAXED) >=
		    __atomic_load_n(&w->self->wanted, __ATOMIC_RELAXED)) {
			usleep(100);
			continue;
		}
		page = w->first + rand_r(&w->seed) % w->pages;
		p = w->self->mem.p + page * PAGE;
		memset(p, rand_r(&w->seed) % 5, PAGE);
		if (mram_session_mark_dirty(w->self->s, 0, page, 1, &err))
			w->failed = err.code;
		__atomic_add_fetch(&w->self->changes, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/*
 * Half of the changes of a round are waited for, the others come during the
 * pass. More would leave nothing between dirty pages.
 */
static void more_changes(FIXTURE_DATA(bridges) *self)
{
	__atomic_add_fetch(&self->wanted, PAGES / 4, __ATOMIC_RELAXED);
	while (__atomic_load_n(&self->changes, __ATOMIC_RELAXED) <
	       self->wanted - PAGES / 8)
		usleep(200);
}

TEST_F_TIMEOUT(bridges, while_threads_write, 120)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts,
					    .bridge = variant->bridge);
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct writer w[WRITERS];
	uint64_t bridged = 0;
	int pass, i;

	random_fill(self->mem.p, self->mem.length);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	for (i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){
			.self = self,
			.seed = i + 1,
			.first = i * PAGES / WRITERS,
			.pages = PAGES / WRITERS,
		};
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL,
					    write_all_the_time, &w[i]));
	}
	for (pass = 0; pass < PASSES; pass++) {
		more_changes(self);
		o.window = random_below(20);
		EXPECT_EQ(0, mram_session_pass(self->s, &o, &st, &error));
		bridged += st.bridged;
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < WRITERS; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(0, w[i].failed);
	}
	EXPECT_LT(0, bridged);
	ASSERT_OK(mram_session_pass(self->s, &o, &st, &error));
	EXPECT_EQ(0, mram_session_count_dirty(self->s, -1));
	check_image(_metadata, self);
}

TEST_HARNESS_MAIN
