// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory mapped from an image is what a restore makes of it, with
 * stale bytes in the file where pages are zero; that clones see nothing of each
 * other, nor the file anything of them; that the number of mappings is kept; and
 * that a failure leaves no half.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define PAGES	1024u
#define LENGTH	(PAGES * PAGE)

FIXTURE(map) {
	struct memory mem;
	struct mram_session *s;
	struct mram_image *img;
	unsigned char *clone[2];
	char *path, *copy;
};

static unsigned char *reserve(void)
{
	return mmap(NULL, LENGTH, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

FIXTURE_SETUP(map)
{
	random_seed(61);
	self->mem = memory_make(MEMORY_PRIVATE, LENGTH);
	self->path = image_path();
	self->copy = image_path();
	for (int i = 0; i < 2; i++) {
		self->clone[i] = reserve();
		ASSERT_NE(MAP_FAILED, self->clone[i]);
	}
	self->s = engine_open("pwrite", self->path);
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p, LENGTH,
					  NULL, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

FIXTURE_TEARDOWN(map)
{
	for (int i = 0; i < 2; i++)
		munmap(self->clone[i], LENGTH);
	mram_session_close(self->s);
	mram_image_close(self->img);
	memory_free(&self->mem);
	image_remove(self->path);
	image_remove(self->copy);
	EXPECT_NO_LEAKS();
}

static void save(struct __test_metadata *_metadata, FIXTURE_DATA(map) *self)
{
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
}

/*
 * An image whose pages are all there first, and of which some then become zero:
 * their old bytes stay in the file.
 */
static void make_image(struct __test_metadata *_metadata,
		       FIXTURE_DATA(map) *self, unsigned int zero_of_16,
		       unsigned int longest)
{
	unsigned int page = 0, run, chosen;
	int stale = 0;
	struct mram_block_info b = { .size = sizeof(b) };
	unsigned char bytes[PAGE];

	random_fill(self->mem.p, LENGTH);
	save(_metadata, self);
	/* One is zero in any case, where the others are so by chance. */
	chosen = zero_of_16 ? random_below(PAGES) : PAGES;
	while (page < PAGES) {
		run = 1 + random_below(longest);
		if (run > PAGES - page)
			run = PAGES - page;
		if (random_below(16) < zero_of_16 || chosen - page < run)
			memset(self->mem.p + page * PAGE, 0, run * PAGE);
		page += run;
	}
	save(_metadata, self);
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&self->img, self->path, &error));
	ASSERT_OK(mram_image_block(self->img, 0, &b, &error));
	for (page = 0; page < PAGES; page++) {
		image_read(self->path, &b, page, bytes);
		if (page_is_zero(self->mem.p + page * PAGE, PAGE) &&
		    !page_is_zero(bytes, PAGE))
			stale++;
	}
	/* Without such pages this would prove little. */
	if (zero_of_16)
		ASSERT_LT(0, stale);
	image_copy(self->copy, self->path);
}

static unsigned int count_maps(const unsigned char *p)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	unsigned int count = 0;
	char line[512];

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 &&
		    from < (unsigned long)p + LENGTH && to > (unsigned long)p)
			count++;
	fclose(f);
	return count;
}

static void check_equal(struct __test_metadata *_metadata,
			FIXTURE_DATA(map) *self, const unsigned char *p)
{
	for (unsigned int page = 0; page < PAGES; page++) {
		ASSERT_EQ(0, memcmp(p + page * PAGE,
				    self->mem.p + page * PAGE, PAGE)) {
			TH_LOG("page %u", page);
		}
	}
}

TEST_F(map, clones_are_apart)
{
	struct mram_map_stats st = { .size = sizeof(st) };
	unsigned int page;

	make_image(_metadata, self, 6, 9);
	for (int i = 0; i < 2; i++)
		ASSERT_OK(mram_image_map(self->img, 0, self->clone[i], LENGTH,
					 NULL, &st, &error));
	EXPECT_EQ(PAGES, st.held + st.zero);
	EXPECT_LT(0, st.zero);
	EXPECT_EQ(0, st.private);
	EXPECT_LT(1, st.maps);
	/* They need no image any more. */
	mram_image_close(self->img);
	self->img = NULL;

	/* Each writes pages of both kinds, some of them the same. */
	for (page = 0; page < PAGES; page++) {
		if (page % 3 != 0)
			self->clone[0][page * PAGE + 5] ^= 0xff;
		if (page % 5 != 0)
			self->clone[1][page * PAGE + 5] ^= 0x11;
	}
	for (page = 0; page < PAGES; page++) {
		unsigned char *was = self->mem.p + page * PAGE;
		unsigned char want[PAGE];

		memcpy(want, was, PAGE);
		want[5] ^= page % 3 ? 0xff : 0;
		EXPECT_EQ(0, memcmp(want, self->clone[0] + page * PAGE, PAGE));
		want[5] = was[5] ^ (page % 5 ? 0x11 : 0);
		EXPECT_EQ(0, memcmp(want, self->clone[1] + page * PAGE, PAGE));
	}
	EXPECT_EQ(-1, image_difference(self->path, self->copy));
}

TEST_F(map, few_mappings)
{
	static const unsigned int limits[] = { 1, 2, 7, 50, 500, 100000 };
	struct memory clone = { .kind = MEMORY_PRIVATE, .p = self->clone[0],
				.length = LENGTH };
	struct mram_map_stats st;
	unsigned int i;

	/* One page each, whatever the system likes to do. */
	ASSERT_EQ(0, prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	make_image(_metadata, self, 8, 4);
	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct mram_map_opts o = MRAM_OPTS(mram_map_opts,
						   .max_maps = limits[i]);

		st.size = sizeof(st);
		ASSERT_OK(mram_image_map(self->img, 0, self->clone[0], LENGTH,
					 &o, &st, &error));
		EXPECT_LE(st.maps, limits[i]);
		/* An empty neighbour may be one with the last of ours. */
		EXPECT_LE(count_maps(self->clone[0]), limits[i]);
		/* They are there, and nothing else before it is touched. */
		EXPECT_EQ(st.private, memory_pages(&clone));
		EXPECT_EQ(PAGES, st.held + st.zero);
		check_equal(_metadata, self, self->clone[0]);
		memset(self->clone[0], 0x77, LENGTH);
		if (limits[i] == 1)
			EXPECT_EQ(page_is_zero(self->mem.p, PAGE) ? st.held :
								    st.zero,
				  st.private);
	}
	/* There are enough in the end. */
	EXPECT_EQ(0, st.private);
	EXPECT_EQ(-1, image_difference(self->path, self->copy));
}

TEST_F(map, whole_and_empty)
{
	struct mram_map_stats st = { .size = sizeof(st) };

	make_image(_metadata, self, 0, 64);
	ASSERT_OK(mram_image_map(self->img, 0, self->clone[0], LENGTH, NULL,
				 &st, &error));
	EXPECT_EQ(1, st.maps);
	EXPECT_EQ(PAGES, st.held);
	check_equal(_metadata, self, self->clone[0]);
	mram_image_close(self->img);

	make_image(_metadata, self, 16, 64);
	ASSERT_OK(mram_image_map(self->img, 0, self->clone[0], LENGTH, NULL,
				 &st, &error));
	EXPECT_EQ(1, st.maps);
	EXPECT_EQ(PAGES, st.zero);
	check_equal(_metadata, self, self->clone[0]);
}

TEST_F(map, refused)
{
	struct mram_map_opts o = MRAM_OPTS(mram_map_opts, .flags = 1);
	unsigned char *p = self->clone[0];

	make_image(_metadata, self, 6, 9);
	ASSERT_FAILS(-EOPNOTSUPP, "unknown map flags",
		     mram_image_map(self->img, 0, p, LENGTH, &o, NULL, &error));
	ASSERT_FAILS(-EINVAL, "'ram' has",
		     mram_image_map(self->img, 0, p, LENGTH - PAGE, NULL, NULL,
				    &error));
	ASSERT_FAILS(-EINVAL, "not a multiple",
		     mram_image_map(self->img, 0, p + 1, LENGTH, NULL, NULL,
				    &error));
	ASSERT_FAILS(-ENOENT, "no block 1",
		     mram_image_map(self->img, 1, p, LENGTH, NULL, NULL,
				    &error));
	/* It was cut short after it was opened. */
	ASSERT_EQ(0, truncate(self->path, LENGTH / 2));
	ASSERT_FAILS(-ENODATA, "cut short",
		     mram_image_map(self->img, 0, p, LENGTH, NULL, NULL,
				    &error));
	/* Nothing of it was there at any time. */
	EXPECT_EQ(1, count_maps(p));
}

/* Others have taken nearly all mappings that a process may have. */
TEST_F(map, few_mappings_left)
{
	struct mram_map_stats st = { .size = sizeof(st) };
	unsigned long most = 0, made;
	unsigned char *p;
	FILE *f;

	make_image(_metadata, self, 8, 2);
	f = fopen("/proc/sys/vm/max_map_count", "r");
	ASSERT_NE(NULL, f);
	ASSERT_EQ(1, fscanf(f, "%lu", &most));
	fclose(f);
	if (most > 200000)
		SKIP(return, "%lu mappings are too many to make", most);
	p = mmap(NULL, most * PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, p);
	for (made = 1; made < most; made += 2)
		if (mprotect(p + made * PAGE, PAGE, PROT_READ))
			break;
	ASSERT_LT(made, most);
	/* Some are left after all. */
	ASSERT_EQ(0, munmap(p, 300 * PAGE));
	ASSERT_OK(mram_image_map(self->img, 0, self->clone[0], LENGTH, NULL,
				 &st, &error));
	munmap(p, most * PAGE);
	EXPECT_LT(0, st.private);
	EXPECT_LT(1, st.maps);
	EXPECT_EQ(PAGES, st.held + st.zero);
	check_equal(_metadata, self, self->clone[0]);
}

/* Bytes of private writable memory that the process has, as the limit counts. */
static uint64_t data_size(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f) &&
	       sscanf(line, "VmData: %llu", &kib) != 1)
		;
	if (f)
		fclose(f);
	return kib << 10;
}

/* No room for the last mappings: then nothing of the image is there. */
TEST_F(map, failure_leaves_nothing)
{
	struct rlimit limit;
	int ret;

	make_image(_metadata, self, 6, 2);
	memset(&error, 0, sizeof(error));
	/* What is private and writable counts as data. */
	ASSERT_EQ(0, getrlimit(RLIMIT_DATA, &limit));
	limit.rlim_cur = data_size() + LENGTH / 2;
	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &limit));
	ret = mram_image_map(self->img, 0, self->clone[0], LENGTH, NULL, NULL,
			     &error);
	limit.rlim_cur = limit.rlim_max;
	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &limit));
	ASSERT_EQ(-ENOMEM, ret);
	EXPECT_NE(NULL, strstr(error.message, "cannot map"));
	EXPECT_EQ(1, count_maps(self->clone[0]));
	EXPECT_EQ(-1, image_difference(self->path, self->copy));
}

TEST_F(map, random)
{
	for (int round = 0; round < 30; round++) {
		struct mram_map_opts o = MRAM_OPTS(mram_map_opts,
			.max_maps = 1 + random_below(300));

		make_image(_metadata, self, random_below(17),
			   1 + random_below(40));
		ASSERT_OK(mram_image_map(self->img, 0, self->clone[0], LENGTH,
					 &o, NULL, &error));
		check_equal(_metadata, self, self->clone[0]);
		mram_image_close(self->img);
		self->img = NULL;
	}
}

TEST_HARNESS_MAIN
