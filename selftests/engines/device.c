// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a block device serves as an image: saved to, committed, restored
 * from, over an older image too; and that one which is too small is refused
 * before anything on it is harmed. Also that one which is mapped is memory like
 * other memory. MRAM_TEST_BLKDEV names a device of at least
 * 64 MiB that may be overwritten.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH	(20 * MIB)
#define PAGES	(LENGTH / PAGE)

FIXTURE(device) {
	struct memory mem;
	const char *path;
	uint64_t size;
};

FIXTURE_VARIANT(device) {
	const char *engine;
};

FIXTURE_VARIANT_ADD(device, module) { .engine = "module" };
FIXTURE_VARIANT_ADD(device, uring) { .engine = "uring" };
FIXTURE_VARIANT_ADD(device, pwrite) { .engine = "pwrite" };

FIXTURE_SETUP(device)
{
	int fd;

	self->path = getenv("MRAM_TEST_BLKDEV");
	if (!self->path)
		SKIP(return, "no MRAM_TEST_BLKDEV");
	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	fd = open(self->path, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, BLKGETSIZE64, &self->size));
	ASSERT_LE(64 * MIB, self->size);
	close(fd);
	self->mem = memory_make(MEMORY_PRIVATE, LENGTH);
	random_seed(19);
}

FIXTURE_TEARDOWN(device)
{
	memory_free(&self->mem);
	EXPECT_NO_LEAKS();
}

/* Save @p to @path, and restore what is in self->mem. */
static void save_and_check(struct __test_metadata *_metadata,
			   FIXTURE_DATA(device) *self, const char *engine,
			   const char *path, void *p,
			   const struct mram_region_opts *opts)
{
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
					       .engine = engine);
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_session *s = engine_open(engine, path);
	struct mram_image *img;

	ASSERT_OK(mram_session_add_region(s, "ram", p, LENGTH, opts, &error));
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_FALSE(image_has_magic(path));
	ASSERT_OK(mram_session_mark_dirty(s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(s, NULL, NULL, &error));
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);

	ASSERT_TRUE(image_has_magic(path));
	ASSERT_OK(mram_image_open(&img, path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, LENGTH, &o, NULL, &error));
	EXPECT_EQ(0, memcmp(to.p, self->mem.p, LENGTH));
	mram_image_close(img);
	memory_free(&to);
}

TEST_F_TIMEOUT(device, save_and_restore, 120)
{
	int round;

	for (round = 0; round < 3; round++) {
		memory_discard(&self->mem, 0, PAGES);
		random_fill(self->mem.p + random_below(PAGES / 2) * PAGE,
			    LENGTH / 4);
		random_fill(self->mem.p + (PAGES - 1) * PAGE, PAGE);
		save_and_check(_metadata, self, variant->engine, self->path,
			       self->mem.p, NULL);
	}
}

/* Its file says no size, and nothing of the mapping was touched before. */
TEST_F(device, is_mapped_and_saved)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts,
					      .flags = MRAM_REGION_HAS_FD,
					      .fd_offset = 3 * PAGE);
	char *path = image_path();
	unsigned char *p;

	random_fill(self->mem.p + PAGE, LENGTH / 2);
	o.fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, o.fd);
	ASSERT_EQ(LENGTH, pwrite(o.fd, self->mem.p, LENGTH, o.fd_offset));
	p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, o.fd,
		 o.fd_offset);
	ASSERT_NE(MAP_FAILED, p);
	save_and_check(_metadata, self, variant->engine, path, p, &o);
	munmap(p, LENGTH);
	close(o.fd);
	image_remove(path);
}

TEST_F(device, too_small)
{
	unsigned char *huge = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				   -1, 0);
	char before[4096], after[4096], size[32];
	struct mram_session *s;
	int fd = open(self->path, O_RDONLY);

	ASSERT_NE(MAP_FAILED, huge);
	ASSERT_EQ(4096, pread(fd, before, 4096, 0));
	s = engine_open(variant->engine, self->path);
	ASSERT_OK(mram_session_add_region(s, "huge", huge, self->size, NULL,
					  &error));
	snprintf(size, sizeof(size), "%llu", (unsigned long long)self->size);
	ASSERT_FAILS(-ENOSPC, size, mram_session_begin(s, &error));
	mram_session_close(s);
	ASSERT_EQ(4096, pread(fd, after, 4096, 0));
	EXPECT_EQ(0, memcmp(before, after, 4096));
	close(fd);
	munmap(huge, self->size);
}

TEST_HARNESS_MAIN
