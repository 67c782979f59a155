// SPDX-License-Identifier: GPL-2.0
/*
 * Proves the order of a session's calls and the commit protocol: wrong orders
 * and wrong arguments are refused by name and change nothing; no loader takes
 * the image for valid before the commit, after a failed pass, or after another
 * begin.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH	(1 * MIB)
#define PAGES	(LENGTH / PAGE)

FIXTURE(protocol) {
	struct memory mem;
	struct mram_session *s;
	char *path;
};

FIXTURE_VARIANT(protocol) {
	const char *engine;
};

FIXTURE_VARIANT_ADD(protocol, module) { .engine = "module" };
FIXTURE_VARIANT_ADD(protocol, uring) { .engine = "uring" };
FIXTURE_VARIANT_ADD(protocol, pwrite) { .engine = "pwrite" };

FIXTURE_SETUP(protocol)
{
	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	random_seed(11);
	self->path = image_path();
	self->mem = memory_make(MEMORY_PRIVATE, LENGTH);
	self->s = engine_open(variant->engine, self->path);
}

FIXTURE_TEARDOWN(protocol)
{
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

static int add(struct mram_session *s, const char *name, void *addr,
	       uint64_t length)
{
	return mram_session_add_region(s, name, addr, length, NULL, &error);
}

TEST_F(protocol, regions)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts);
	unsigned char *p = self->mem.p;
	char longest[257];

	memset(longest, 'n', 256);
	longest[256] = '\0';

	ASSERT_EQ(0, add(self->s, "a", p, LENGTH));
	ASSERT_FAILS(-EEXIST, "'a'", add(self->s, "a", p, LENGTH));
	ASSERT_FAILS(-EINVAL, "'b'", add(self->s, "b", p + 1, LENGTH - PAGE));
	ASSERT_FAILS(-EINVAL, "'b'", add(self->s, "b", p, LENGTH - 1));
	ASSERT_FAILS(-EINVAL, "'b'", add(self->s, "b", p, 0));
	ASSERT_FAILS(-EINVAL, "", add(self->s, "", p, LENGTH));
	ASSERT_FAILS(-EINVAL, "", add(self->s, longest, p, LENGTH));
	ASSERT_FAILS(-EOVERFLOW, "'b'", add(self->s, "b", p, -PAGE));

	o.page_size = 3 * PAGE;
	ASSERT_FAILS(-EINVAL, "page size",
		     mram_session_add_region(self->s, "b", p, LENGTH, &o,
					     &error));
	o.page_size = 2048;
	ASSERT_FAILS(-EINVAL, "page size",
		     mram_session_add_region(self->s, "b", p, LENGTH, &o,
					     &error));
	o.page_size = 64 << 10;
	ASSERT_FAILS(-EINVAL, "'b'",
		     mram_session_add_region(self->s, "b", p, LENGTH - PAGE,
					     &o, &error));
	o.page_size = 0;
	o.flags = 1u << 31;
	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_session_add_region(self->s, "b", p, LENGTH, &o,
					     &error));
	o.flags = MRAM_REGION_HAS_FD;
	o.fd = -1;
	ASSERT_FAILS(-EBADF, "fd -1",
		     mram_session_add_region(self->s, "b", p, LENGTH, &o,
					     &error));
	o = (struct mram_region_opts){ .size = 4 };
	ASSERT_FAILS(-EINVAL, "MRAM_OPTS",
		     mram_session_add_region(self->s, "b", p, LENGTH, &o,
					     &error));

	/* None of these left anything behind. Overlap is fine. */
	ASSERT_EQ(1, add(self->s, "b", p + PAGE, LENGTH - PAGE));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_FAILS(-EINVAL, "before mram_session_begin",
		     add(self->s, "c", p, LENGTH));
}

TEST_F(protocol, wrong_order)
{
	uint64_t word = 1;

	ASSERT_FAILS(-EINVAL, "add regions",
		     mram_session_begin(self->s, &error));
	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     mram_session_mark_dirty(self->s, 0, 0, 1, &error));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     mram_session_or_dirty(self->s, 0, 0, &word, 1, &error));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_FAILS(-EINVAL, "mram_session_begin",
		     mram_session_commit(self->s, &error));
	ASSERT_EQ(-EINVAL, mram_session_count_dirty(self->s, -1));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_FAILS(-EINVAL, "begun already",
		     mram_session_begin(self->s, &error));
}

TEST_F(protocol, dirty_ranges)
{
	uint64_t words[2] = { 0x5, ~0ull };

	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_EQ(1, add(self->s, "odd", self->mem.p, 70 * PAGE));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));

	ASSERT_FAILS(-EINVAL, "no region 2",
		     mram_session_mark_dirty(self->s, 2, 0, 1, &error));
	ASSERT_FAILS(-EINVAL, "no region -2",
		     mram_session_mark_dirty(self->s, -2, 0, 1, &error));
	ASSERT_FAILS(-EINVAL, "range",
		     mram_session_mark_dirty(self->s, -1, 0, 1, &error));
	ASSERT_FAILS(-ERANGE, "'ram'",
		     mram_session_mark_dirty(self->s, 0, PAGES, 1, &error));
	ASSERT_FAILS(-ERANGE, "'ram'",
		     mram_session_mark_dirty(self->s, 0, 1, PAGES, &error));
	ASSERT_FAILS(-ERANGE, "'ram'",
		     mram_session_mark_dirty(self->s, 0, PAGES + 1, MRAM_ALL,
					     &error));
	ASSERT_FAILS(-ERANGE, "'odd'",
		     mram_session_or_dirty(self->s, 1, 69, words, 2, &error));
	ASSERT_FAILS(-EINVAL, "count",
		     mram_session_or_dirty(self->s, 1, 0, words, MRAM_ALL,
					   &error));
	ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));

	ASSERT_OK(mram_session_mark_dirty(self->s, 0, PAGES, MRAM_ALL,
					  &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 3, 0, &error));
	ASSERT_EQ(0, mram_session_count_dirty(self->s, -1));
	ASSERT_OK(mram_session_mark_dirty(self->s, 1, 69, MRAM_ALL, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 1, 69, 1, &error));
	ASSERT_EQ(1, mram_session_count_dirty(self->s, 1));
	/* Only what the count covers, at any place. */
	ASSERT_OK(mram_session_or_dirty(self->s, 1, 1, words, 2, &error));
	ASSERT_EQ(2, mram_session_count_dirty(self->s, 1));
	ASSERT_OK(mram_session_or_dirty(self->s, 1, 3, words, 67, &error));
	ASSERT_EQ(2 + 2 + 2, mram_session_count_dirty(self->s, 1));
	ASSERT_OK(mram_session_mark_dirty(self->s, -1, 0, MRAM_ALL, &error));
	ASSERT_EQ(70, mram_session_count_dirty(self->s, 1));
	ASSERT_EQ(70 + PAGES, mram_session_count_dirty(self->s, -1));
}

TEST_F(protocol, pass_options)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts);
	struct {
		struct mram_pass_opts o;
		uint64_t newer;
	} longer = { .o.size = sizeof(longer) };
	struct {
		struct mram_pass_stats st;
		uint64_t newer;
	} stats = { .st.size = sizeof(stats), .newer = 5 };
	struct {
		size_t size;
		uint32_t flags, reserved;
		uint64_t dirty, behind;
	} older = { .size = 24, .behind = 77 };

	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_OK(mram_session_begin(self->s, &error));
	random_fill(self->mem.p, LENGTH);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 10, &error));

	o.flags = 1u << 31;
	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_session_pass(self->s, &o, NULL, &error));
	o.flags = 0;
	o.max_extent = PAGE + 1;
	ASSERT_FAILS(-EINVAL, "max_extent",
		     mram_session_pass(self->s, &o, NULL, &error));
	longer.newer = 1;
	ASSERT_FAILS(-E2BIG, "option",
		     mram_session_pass(self->s, &longer.o, NULL, &error));
	ASSERT_EQ(10, mram_session_count_dirty(self->s, 0));

	/* A program built with a newer header, and one with an older. */
	longer.newer = 0;
	longer.o.window = UINT32_MAX;
	longer.o.bridge = UINT32_MAX - 1;
	longer.o.max_extent = 1u << 31;
	ASSERT_OK(mram_session_pass(self->s, &longer.o, &stats.st, &error));
	EXPECT_EQ(sizeof(stats), stats.st.size);
	EXPECT_EQ(10, stats.st.written);
	EXPECT_EQ(0, stats.newer);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 3, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, (void *)&older, &error));
	EXPECT_EQ(3, older.dirty);
	EXPECT_EQ(77, older.behind);
}

TEST_F(protocol, commit)
{
	struct mram_image *img;
	struct mram_session *s;
	struct stat st;

	/* Opening alone changes nothing. */
	ASSERT_EQ(0, stat(self->path, &st));
	ASSERT_EQ(0, st.st_size);

	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_FAILS(-ENODATA, "",
		     mram_image_open(&img, self->path, &error));

	random_fill(self->mem.p, LENGTH);
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 5, 7, &error));
	ASSERT_FAILS(-EBUSY, "7 of 256 pages of region 'ram'",
		     mram_session_commit(self->s, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_TRUE(image_has_magic(self->path));
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	mram_image_close(img);

	/* Another commit, with nothing between and with another pass. */
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_TRUE(image_has_magic(self->path));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 5, 7, &error));
	ASSERT_TRUE(image_has_magic(self->path));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_TRUE(image_has_magic(self->path));

	/* A pass that fails. */
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, 1, &error));
	ASSERT_EQ(0, mprotect(self->mem.p, PAGE, PROT_NONE));
	ASSERT_FAILS(-EFAULT, "page 0 of region 'ram'",
		     mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_EQ(0, mprotect(self->mem.p, PAGE, PROT_READ | PROT_WRITE));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_OK(mram_session_commit(self->s, &error));

	/* Another session: nothing at open, invalid at begin. */
	s = engine_open(variant->engine, self->path);
	ASSERT_EQ(0, add(s, "ram", self->mem.p, LENGTH));
	ASSERT_TRUE(image_has_magic(self->path));
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_FALSE(image_has_magic(self->path));
	mram_session_close(s);
	ASSERT_FALSE(image_has_magic(self->path));
}

TEST_F(protocol, sections)
{
	struct mram_image *img;
	uint32_t version;
	size_t length;
	void *data;

	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_FAILS(-EINVAL, "", mram_session_add_section(self->s, "", 0, 1,
							   "x", 1, &error));
	ASSERT_OK(mram_session_add_section(self->s, "cpu", 0, 1, "zero", 5,
					   &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_OK(mram_session_add_section(self->s, "cpu", 1, 3, "one", 4,
					   &error));
	ASSERT_OK(mram_session_add_section(self->s, "cpu", 0, 2, "nought", 7,
					   &error));
	ASSERT_OK(mram_session_commit(self->s, &error));

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_section(img, "cpu", 0, &version, &data, &length,
				     &error));
	EXPECT_EQ(2, version);
	EXPECT_EQ(7, length);
	EXPECT_STREQ("nought", data);
	free(data);
	ASSERT_OK(mram_image_section(img, "cpu", 1, &version, &data, &length,
				     &error));
	EXPECT_EQ(3, version);
	EXPECT_STREQ("one", data);
	free(data);
	ASSERT_FAILS(-ENOENT, "", mram_image_section(img, "cpu", 2, &version,
						     &data, &length, &error));
	mram_image_close(img);
}

TEST_F(protocol, restore_arguments)
{
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
					       .engine = variant->engine);
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_image *img;

	random_fill(self->mem.p, LENGTH / 2);
	random_fill(to.p, LENGTH);
	ASSERT_EQ(0, add(self->s, "ram", self->mem.p, LENGTH));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&img, self->path, &error));

	ASSERT_FAILS(-ENOENT, "1", mram_image_restore(img, 1, to.p, LENGTH,
						      &o, NULL, &error));
	ASSERT_FAILS(-EINVAL, "'ram'",
		     mram_image_restore(img, 0, to.p, LENGTH - PAGE, &o, NULL,
					&error));
	ASSERT_FAILS(-EINVAL, "'ram'",
		     mram_image_restore(img, 0, to.p + 8, LENGTH, &o, NULL,
					&error));
	o.max_extent = 5;
	ASSERT_FAILS(-EINVAL, "max_extent",
		     mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					&error));
	o.max_extent = 0;
	o.flags = 1;
	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					&error));
	o.flags = 0;
	ASSERT_EQ(0, mprotect(to.p + LENGTH / 4, PAGE, PROT_READ));
	ASSERT_FAILS(-EFAULT, "'ram'",
		     mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					&error));
	ASSERT_EQ(0, mprotect(to.p, LENGTH, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, mprotect(to.p + LENGTH - PAGE, PAGE, PROT_NONE));
	ASSERT_FAILS(-EFAULT, "page 255 of region 'ram'",
		     mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					&error));
	ASSERT_EQ(0, mprotect(to.p, LENGTH, PROT_READ | PROT_WRITE));

	/* Cut under the open image. */
	ASSERT_EQ(0, truncate(self->path, MIB + LENGTH / 4));
	ASSERT_FAILS(-ENODATA, "page 64 of region 'ram'",
		     mram_image_restore(img, 0, to.p, LENGTH, &o, NULL,
					&error));
	mram_image_close(img);
	memory_free(&to);
}

TEST(unknown_engine)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
					       .engine = "teleport");
	struct mram_session *s;
	char *path = image_path();

	ASSERT_FAILS(-EINVAL, "'teleport'",
		     mram_session_open(&s, path, &o, &error));
	ASSERT_EQ(-1, access(path, F_OK));
	o.engine = NULL;
	o.flags = 1;
	ASSERT_FAILS(-EOPNOTSUPP, "flags",
		     mram_session_open(&s, path, &o, &error));
	ASSERT_EQ(-1, access(path, F_OK));
	free(path);
	EXPECT_NO_LEAKS();
}

TEST(automatic_engine)
{
	struct mram_session *s;
	char *path = image_path();

	ASSERT_OK(mram_session_open(&s, path, NULL, &error));
	ASSERT_STREQ(engine_works("module") ? "module" :
		     engine_works("uring") ? "uring" : "pwrite",
		     mram_session_engine(s));
	mram_session_close(s);
	image_remove(path);
	EXPECT_NO_LEAKS();
}

TEST_HARNESS_MAIN
