// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that passes of every engine do what a model of them says: after any
 * mixture of changes, zero pages and discarded pages, in memory of every kind
 * and with any limits on I/Os, the image has each page as it was when it was
 * last saved, the bitmap is exact, no dirty bit is left, and restoring gives
 * the memory back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "common.h"

#define REGIONS	4
#define ROUNDS	12

/* A region, and what its part of the image must be. */
struct region {
	struct memory mem;
	size_t page;
	uint64_t pages;
	bool *dirty;
	bool *held;
	unsigned char *want;
};

FIXTURE(model) {
	struct region r[REGIONS];
	struct mram_session *s;
	char *path;
};

FIXTURE_VARIANT(model) {
	int engine;
	enum memory_kind kind;
};

#define VARIANT(engine_, kind_, number, KIND)				\
	FIXTURE_VARIANT_ADD(model, engine_##_##kind_) {		\
		.engine = number,					\
		.kind = MEMORY_##KIND,					\
	}
VARIANT(module, private, 0, PRIVATE);
VARIANT(module, shared, 0, SHARED);
VARIANT(module, memfd, 0, MEMFD);
VARIANT(module, file, 0, FILE);
VARIANT(module, copy, 0, COPY);
VARIANT(uring, private, 1, PRIVATE);
VARIANT(uring, shared, 1, SHARED);
VARIANT(uring, memfd, 1, MEMFD);
VARIANT(uring, file, 1, FILE);
VARIANT(uring, copy, 1, COPY);
VARIANT(pwrite, private, 2, PRIVATE);
VARIANT(pwrite, shared, 2, SHARED);
VARIANT(pwrite, memfd, 2, MEMFD);
VARIANT(pwrite, file, 2, FILE);
VARIANT(pwrite, copy, 2, COPY);

FIXTURE_SETUP(model)
{
	/* Lengths that end in the middle of a word; one with larger pages. */
	static const uint64_t pages[REGIONS] = { 1000, 65, 2112, 100 };
	struct mram_region_opts o;
	char name[32];
	int i;

	if (!engine_works(engine_names[variant->engine]))
		SKIP(return, "%s", error.message);
	random_seed(variant->kind);
	self->path = image_path();
	self->s = engine_open(engine_names[variant->engine], self->path);
	for (i = 0; i < REGIONS; i++) {
		struct region *r = &self->r[i];

		r->page = i == 3 ? 16 * PAGE : PAGE;
		r->pages = pages[i];
		r->mem = memory_make(variant->kind, r->pages * r->page);
		r->dirty = calloc(r->pages, sizeof(bool));
		r->held = calloc(r->pages, sizeof(bool));
		r->want = calloc(r->pages, r->page);
		o = memory_opts(&r->mem);
		o.page_size = i == 3 ? r->page : 0;
		snprintf(name, sizeof(name), "region %d", i);
		ASSERT_OK(mram_session_add_region(self->s, name, r->mem.p,
						  r->mem.length, &o, &error));
	}
	ASSERT_OK(mram_session_begin(self->s, &error));
	/* A mapping with something below it does not start as zero. */
	for (i = 0; i < REGIONS; i++) {
		ASSERT_OK(mram_session_mark_dirty(self->s, i, 0, MRAM_ALL,
						  &error));
		memset(self->r[i].dirty, 1, self->r[i].pages);
	}
}

FIXTURE_TEARDOWN(model)
{
	int i;

	mram_session_close(self->s);
	for (i = 0; i < REGIONS; i++) {
		memory_free(&self->r[i].mem);
		free(self->r[i].dirty);
		free(self->r[i].held);
		free(self->r[i].want);
	}
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

static void change(struct region *r)
{
	uint64_t first = random_below(r->pages);
	uint64_t nr = 1 + random_below(40);
	unsigned char *p = r->mem.p + first * r->page;

	if (nr > r->pages - first)
		nr = r->pages - first;
	switch (random_below(5)) {
	case 0:
		memset(p, 0, nr * r->page);
		break;
	case 1:
		memory_discard(&r->mem, first * r->page / PAGE,
			       nr * r->page / PAGE);
		break;
	case 2:
		/* One byte decides. */
		memset(p, 0, nr * r->page);
		p[random_below(nr * r->page)] = 1;
		break;
	case 3:
		/* Not changed, only said to be. */
		break;
	default:
		random_fill(p, nr * r->page);
	}
	memset(r->dirty + first, 1, nr);
}

/* Tell the session, partly as ranges, partly as bits from odd places on. */
static int tell(struct mram_session *s, int index, const struct region *r)
{
	uint64_t words[64], n, i, nr, first = 0;

	while (first < r->pages) {
		nr = 1 + random_below(200);
		if (nr > r->pages - first)
			nr = r->pages - first;
		memset(words, 0xff, sizeof(words));
		for (n = 0; n < nr; n++)
			if (!r->dirty[first + n])
				words[n / 64] &= ~BIT(n);
		for (n = 0; n < nr && r->dirty[first + n]; n++)
			;
		i = n == nr ?
		    mram_session_mark_dirty(s, index, first, nr, &error) :
		    mram_session_or_dirty(s, index, first, words, nr, &error);
		if (i)
			return i;
		first += nr;
	}
	return 0;
}

/* Play the pass on the model. Returns dirty and zero pages. */
static void expect(struct region *r, uint64_t *dirty, uint64_t *zero)
{
	uint64_t n;

	for (n = 0; n < r->pages; n++) {
		unsigned char *p = r->mem.p + n * r->page;

		if (!r->dirty[n])
			continue;
		++*dirty;
		r->dirty[n] = false;
		r->held[n] = !page_is_zero(p, r->page);
		*zero += !r->held[n];
		memcpy(r->want + n * r->page, p, r->page);
	}
}

static void check_image(struct __test_metadata *_metadata,
			FIXTURE_DATA(model) *self)
{
	struct mram_block_info info = { .size = sizeof(info) };
	unsigned char *page = malloc(16 * PAGE);
	const uint64_t *words;
	struct mram_image *img;
	uint64_t n;
	int i;

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_EQ(REGIONS, mram_image_blocks(img));
	for (i = 0; i < REGIONS; i++) {
		struct region *r = &self->r[i];

		ASSERT_OK(mram_image_block(img, i, &info, &error));
		ASSERT_EQ(r->pages, info.pages);
		ASSERT_EQ(r->page, info.page_size);
		ASSERT_OK(mram_image_bitmap(img, i, &words, &error));
		for (n = 0; n < r->pages; n++) {
			ASSERT_EQ(r->held[n], !!(words[n / 64] & BIT(n))) {
				TH_LOG("region %d page %llu", i,
				       (unsigned long long)n);
			}
			if (!r->held[n])
				continue;
			image_read(self->path, &info, n, page);
			ASSERT_EQ(0, memcmp(page, r->want + n * r->page,
					    r->page)) {
				TH_LOG("region %d page %llu", i,
				       (unsigned long long)n);
			}
		}
	}
	mram_image_close(img);
	free(page);
}

/* Restore into memory that is full of something else. */
static void check_restore(struct __test_metadata *_metadata,
			  FIXTURE_DATA(model) *self,
			  const FIXTURE_VARIANT(model) *variant)
{
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
			.engine = engine_names[variant->engine]);
	struct mram_restore_stats st = { .size = sizeof(st) };
	struct mram_image *img;
	uint64_t n, held;
	int i;

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	for (i = 0; i < REGIONS; i++) {
		struct region *r = &self->r[i];
		struct memory to = memory_make(variant->kind, r->mem.length);

		o.window = random_below(4);
		o.max_extent = random_below(3) * 16 * PAGE;
		random_fill(to.p + to.length / 4, to.length / 2);
		ASSERT_OK(mram_image_restore(img, i, to.p, to.length, &o, &st,
					     &error));
		for (n = 0, held = 0; n < r->pages; n++)
			held += r->held[n];
		ASSERT_EQ(0, memcmp(to.p, r->want, to.length)) {
			TH_LOG("region %d", i);
		}
		ASSERT_EQ(held, st.read);
		ASSERT_EQ(r->pages - held, st.zero);
		ASSERT_EQ(held * r->page, st.bytes);
		ASSERT_STREQ(o.engine, st.engine);
		memory_free(&to);
	}
	mram_image_close(img);
}

TEST_F_TIMEOUT(model, rounds, 300)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts);
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t dirty, zero;
	int round, i, n;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < REGIONS; i++) {
			/* Some rounds touch little. */
			n = random_below(round % 3 ? 4 : 40);
			while (n--)
				change(&self->r[i]);
			ASSERT_OK(tell(self->s, i, &self->r[i]));
		}
		dirty = 0;
		zero = 0;
		for (i = 0; i < REGIONS; i++)
			expect(&self->r[i], &dirty, &zero);
		ASSERT_EQ(dirty, mram_session_count_dirty(self->s, -1));

		o.flags = random_below(2) ? MRAM_PASS_STOPPED : 0;
		o.window = random_below(5);
		o.bridge = random_below(3) * 5;
		if (!random_below(3))
			o.bridge = MRAM_BRIDGE_AUTO;
		o.max_extent = random_below(4) * 16 * PAGE;
		ASSERT_OK(mram_session_pass(self->s, &o, &st, &error));
		ASSERT_EQ(dirty, st.dirty);
		ASSERT_EQ(zero, st.zero);
		ASSERT_EQ(dirty - zero, st.written);
		ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));
		if (!o.bridge)
			ASSERT_EQ(0, st.bridged);
		if (o.bridge != MRAM_BRIDGE_AUTO)
			ASSERT_GE(o.bridge, st.bridge);

		ASSERT_FALSE(image_has_magic(self->path));
		if (round % 4 == 3) {
			ASSERT_OK(mram_session_commit(self->s, &error));
			ASSERT_TRUE(image_has_magic(self->path));
			check_image(_metadata, self);
			check_restore(_metadata, self, variant);
		}
	}
}

TEST_HARNESS_MAIN
