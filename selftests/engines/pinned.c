// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what MRAM_REGION_PIN means for engine uring, beside that images do not
 * change by it (identical.c): memory of more than one registered buffer is saved
 * whole, also by I/Os that cross from one to the next; where memory may not be
 * pinned the session does not begin, and says why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

/* io_uring takes no longer buffers: user/lib/uring_buffers.h. */
#define BUFFER		(1ul << 30)
#define NOBODY		65534

FIXTURE(pinned) {
	struct memory mem;
	char *path;
};

FIXTURE_SETUP(pinned)
{
	if (!engine_works("uring"))
		SKIP(return, "%s", error.message);
	self->path = image_path();
}

FIXTURE_TEARDOWN(pinned)
{
	if (self->path)
		image_remove(self->path);
	if (self->mem.p)
		memory_free(&self->mem);
	EXPECT_NO_LEAKS();
}

static struct mram_session *open_session(struct __test_metadata *_metadata,
					 FIXTURE_DATA(pinned) *self,
					 size_t length)
{
	struct mram_region_opts ro;
	struct mram_session *s;

	self->mem = memory_make(MEMORY_PRIVATE, length);
	ro = memory_opts(&self->mem);
	ro.flags |= MRAM_REGION_PIN;
	s = engine_open("uring", self->path);
	ASSERT_OK(mram_session_add_region(s, "ram", self->mem.p, length, &ro,
					  &error));
	return s;
}

/* Registering makes all pages, which takes as much memory as there is. */
TEST_F_TIMEOUT(pinned, more_than_one_buffer, 600)
{
	const uint64_t border = BUFFER / PAGE, first = border - 20, count = 50;
	struct mram_pass_opts po = MRAM_OPTS(mram_pass_opts,
					     .max_extent = 8 * PAGE);
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct mram_block_info info = { .size = sizeof(info) };
	unsigned char *page;
	struct mram_session *s;
	struct mram_image *img;
	uint64_t i;

	if (sysconf(_SC_AVPHYS_PAGES) < (long)(2 * border))
		SKIP(return, "not enough memory");
	s = open_session(_metadata, self, BUFFER + 4 * MIB);
	random_seed(1);
	random_fill(self->mem.p + first * PAGE, count * PAGE);
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, 0, first, count, &error));
	ASSERT_OK(mram_session_pass(s, &po, &st, &error));
	EXPECT_EQ(count, st.written);
	EXPECT_EQ(count * PAGE, st.bytes);
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);

	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_block(img, 0, &info, &error));
	EXPECT_EQ(count, info.set_pages);
	page = malloc(PAGE);
	ASSERT_NE(NULL, page);
	for (i = first; i < first + count; i++) {
		image_read(self->path, &info, i, page);
		EXPECT_EQ(0, memcmp(page, self->mem.p + i * PAGE, PAGE)) {
			TH_LOG("page %llu", (unsigned long long)i);
		}
	}
	free(page);
	mram_image_close(img);
}

TEST_F(pinned, more_than_may_be_locked)
{
	struct rlimit limit = { 2 * MIB, 2 * MIB };
	struct mram_session *s = open_session(_metadata, self, 8 * MIB);

	/* The limit is not for those who may lock memory at will. */
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	if (!geteuid())
		ASSERT_EQ(0, seteuid(NOBODY));
	ASSERT_FAILS(-ENOMEM, "RLIMIT_MEMLOCK", mram_session_begin(s, &error));
	EXPECT_NE(NULL, strstr(error.message, "'ram'"));
	if (!getuid())
		ASSERT_EQ(0, seteuid(0));
	mram_session_close(s);
}

TEST_F(pinned, memory_that_cannot_be_written)
{
	struct mram_session *s = open_session(_metadata, self, 8 * MIB);

	ASSERT_EQ(0, mprotect(self->mem.p + 4 * MIB, PAGE, PROT_READ));
	ASSERT_FAILS(-EFAULT, "writable", mram_session_begin(s, &error));
	mram_session_close(s);
}

TEST_HARNESS_MAIN
