// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that saving does not make memory that was never touched, that pages
 * which were discarded are saved as they are then, and that restoring leaves
 * pages absent that the image does not hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH	(32 * MIB)
#define PAGES	(LENGTH / PAGE)

FIXTURE(untouched) {
	struct memory mem;
	struct mram_session *s;
	char *path;
};

FIXTURE_VARIANT(untouched) {
	int engine;
	enum memory_kind kind;
};

#define VARIANT(engine_, kind_, number, KIND)				\
	FIXTURE_VARIANT_ADD(untouched, engine_##_##kind_) {		\
		.engine = number,					\
		.kind = MEMORY_##KIND,					\
	}
VARIANT(module, private, 0, PRIVATE);
VARIANT(module, shared, 0, SHARED);
VARIANT(module, memfd, 0, MEMFD);
VARIANT(uring, private, 1, PRIVATE);
VARIANT(uring, memfd, 1, MEMFD);
VARIANT(pwrite, private, 2, PRIVATE);
VARIANT(pwrite, memfd, 2, MEMFD);

FIXTURE_SETUP(untouched)
{
	struct mram_region_opts o;

	if (!engine_works(engine_names[variant->engine]))
		SKIP(return, "%s", error.message);
	random_seed(7);
	self->path = image_path();
	self->mem = memory_make(variant->kind, LENGTH);
	self->s = engine_open(engine_names[variant->engine], self->path);
	o = memory_opts(&self->mem);
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p, LENGTH,
					  &o, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(untouched)
{
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

TEST_F(untouched, save)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t before;
	int i;

	/* Single pages, a run over a word's border, and the ends. */
	for (i = 0; i < 50; i++)
		self->mem.p[random_below(PAGES) * PAGE + 123] = 1;
	random_fill(self->mem.p + 60 * PAGE, 10 * PAGE);
	self->mem.p[0] = 1;
	self->mem.p[LENGTH - 1] = 1;
	before = memory_pages(&self->mem);
	ASSERT_GT(70, before);

	for (i = 0; i < 3; i++) {
		ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL,
						  &error));
		ASSERT_OK(mram_session_pass(self->s,
					    &MRAM_OPTS(mram_pass_opts,
						       .bridge = 16),
					    &st, &error));
		EXPECT_EQ(PAGES, st.dirty);
		EXPECT_EQ(before, st.written);
		EXPECT_EQ(PAGES - before, st.zero);
		EXPECT_EQ(before, memory_pages(&self->mem));
	}
}

TEST_F(untouched, bridge_over_discarded)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t before;

	random_fill(self->mem.p, 64 * PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 64, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	ASSERT_EQ(64, st.written);

	/* Clean pages that are in the image but no longer in memory. */
	memory_discard(&self->mem, 10, 10);
	before = memory_pages(&self->mem);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 9, 1, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 20, 1, &error));
	/* And, for comparison, some that are. */
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 30, 1, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 35, 1, &error));
	ASSERT_OK(mram_session_pass(self->s,
				    &MRAM_OPTS(mram_pass_opts, .bridge = 16),
				    &st, &error));
	EXPECT_EQ(4, st.written);
	EXPECT_EQ(before, memory_pages(&self->mem));
	/* Pages 21 to 29 and 31 to 34. */
	EXPECT_EQ(13, st.bridged);
	EXPECT_EQ(2, st.ios);
	EXPECT_EQ(17 * PAGE, st.bytes);
}

TEST_F(untouched, discarded_is_zero)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	const uint64_t *words;
	struct mram_image *img;

	random_fill(self->mem.p, 128 * PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 128, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	ASSERT_EQ(128, st.written);

	memory_discard(&self->mem, 64, 32);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 64, 32, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	EXPECT_EQ(32, st.zero);
	EXPECT_EQ(0, st.ios);

	/* What comes back in their place is not what was there before. */
	random_fill(self->mem.p + 70 * PAGE, PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 70, 1, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	EXPECT_EQ(1, st.written);
	ASSERT_OK(mram_session_commit(self->s, &error));

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_bitmap(img, 0, &words, &error));
	EXPECT_EQ(~0ull, words[0]);
	EXPECT_EQ(0xffffffff00000040ull, words[1]);
	EXPECT_EQ(0, words[2]);
	mram_image_close(img);
}

/* Something else mapped in the middle: its pages count, not the old ones. */
TEST_F(untouched, remapped)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct memory other = memory_make(MEMORY_SHARED, 16 * PAGE);

	if (variant->kind == MEMORY_MEMFD)
		SKIP(return, "the region's file would be told wrongly");
	random_fill(self->mem.p, 32 * PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 32, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));

	random_fill(other.p, 16 * PAGE);
	ASSERT_NE(MAP_FAILED, mremap(other.p, other.length, other.length,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     self->mem.p + 8 * PAGE));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 8, 16, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	EXPECT_EQ(16, st.written);
	ASSERT_OK(mram_session_commit(self->s, &error));

	struct mram_image *img;
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, LENGTH, NULL, NULL,
				     &error));
	EXPECT_EQ(0, memcmp(to.p, self->mem.p, LENGTH));
	mram_image_close(img);
	memory_free(&to);
}

/*
 * Pages that this process never touched but that are there: another one has
 * written them, or they come from the file below a private mapping.
 */
static void save_unseen(struct __test_metadata *_metadata,
			const char *engine, enum memory_kind kind, bool tell_fd)
{
	struct memory mem = memory_make(kind, MIB);
	struct memory to = memory_make(MEMORY_PRIVATE, MIB);
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts);
	struct mram_pass_stats st = { .size = sizeof(st) };
	unsigned char *page = malloc(PAGE), *other = NULL;
	char *path = image_path();
	struct mram_session *s;
	struct mram_image *img;
	uint64_t n;

	random_fill(page, PAGE);
	if (kind == MEMORY_SHARED) {
		/* An old length of 0 makes another mapping of the same. */
		other = mremap(mem.p, 0, MIB, MREMAP_MAYMOVE);
		ASSERT_NE(MAP_FAILED, other);
	}
	for (n = 0; n < MIB / PAGE; n += 3) {
		if (other)
			memcpy(other + n * PAGE, page, PAGE);
		else
			ASSERT_EQ(PAGE, pwrite(mem.fd, page, PAGE,
					       mem.fd_offset + n * PAGE));
	}
	if (tell_fd)
		o = memory_opts(&mem);
	s = engine_open(engine, path);
	ASSERT_OK(mram_session_add_region(s, "ram", mem.p, MIB, &o, &error));
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(s, NULL, &st, &error));
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);

	ASSERT_OK(mram_image_open(&img, path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, MIB, NULL, NULL, &error));
	EXPECT_EQ(0, memcmp(to.p, mem.p, MIB)) {
		TH_LOG("%s, %s", memory_names[kind],
		       tell_fd ? "with fd" : "without fd");
	}
	EXPECT_LE(MIB / PAGE / 3, st.written);
	mram_image_close(img);
	image_remove(path);
	if (other)
		munmap(other, MIB);
	memory_free(&mem);
	memory_free(&to);
	free(page);
}

TEST_F(untouched, unseen)
{
	static const enum memory_kind kinds[] = {
		MEMORY_SHARED, MEMORY_MEMFD, MEMORY_FILE, MEMORY_COPY,
	};
	unsigned int i;

	for (i = 0; i < 4; i++) {
		save_unseen(_metadata, engine_names[variant->engine], kinds[i],
			    false);
		if (kinds[i] != MEMORY_SHARED)
			save_unseen(_metadata, engine_names[variant->engine],
				    kinds[i], true);
	}
}

TEST_F(untouched, restore)
{
	static const enum memory_kind kinds[] = {
		MEMORY_PRIVATE, MEMORY_SHARED, MEMORY_MEMFD,
	};
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
			.engine = engine_names[variant->engine]);
	struct mram_image *img;
	unsigned int i;

	random_fill(self->mem.p + 100 * PAGE, 10 * PAGE);
	random_fill(self->mem.p + 4000 * PAGE, PAGE);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_OK(mram_session_commit(self->s, &error));

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	for (i = 0; i < 3; i++) {
		struct memory to = memory_make(kinds[i], LENGTH);
		uint64_t before;

		/* Two pages that are there and must become zero. */
		to.p[50 * PAGE + 7] = 1;
		to.p[3000 * PAGE] = 1;
		before = memory_pages(&to);
		ASSERT_OK(mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					     &error));
		EXPECT_GE(before + 11, memory_pages(&to)) {
			TH_LOG("%s", memory_names[kinds[i]]);
		}
		EXPECT_EQ(0, memcmp(to.p, self->mem.p, LENGTH)) {
			TH_LOG("%s", memory_names[kinds[i]]);
		}
		memory_free(&to);
	}
	mram_image_close(img);
}

TEST_HARNESS_MAIN
