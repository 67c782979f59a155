/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of the tests of the commit: a file, the layout of the small
 * image, what that image has to be in the end, and its steps one by one. For
 * one test program; it defines the fixture.
 */
#ifndef SELFTESTS_LIB_COMMIT_H
#define SELFTESTS_LIB_COMMIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

FIXTURE(commit) {
	char *path;
	struct mram_io *io;
	struct mram_layout l;
	struct mram_error e;
	const uint64_t *bitmaps[2];
	uint64_t words[2];
	uint64_t end;
	uint8_t *want;
};

static const struct mram_section cpu = {
	.name = "cpu", .version = 1, .data = "abc", .length = 3,
};

FIXTURE_SETUP(commit)
{
	char *by_hand;
	int fd;

	self->path = tmp_file("/tmp");
	ASSERT_EQ(0, mram_layout_init(&self->l, NULL, &self->e));
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "pc.ram", 0x4000, 4096,
					   &self->e));
	ASSERT_EQ(1, mram_layout_add_block(&self->l, "rom", 0x2000, 4096,
					   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
	self->words[0] = 5;
	self->words[1] = 2;
	self->bitmaps[0] = &self->words[0];
	self->bitmaps[1] = &self->words[1];
	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));

	self->want = calloc(1, SMALL_END);
	by_hand = mem_file(&fd);
	small_image(fd);
	get_at(fd, 0, self->want, SMALL_END);
	close(fd);
	free(by_hand);
}

FIXTURE_TEARDOWN(commit)
{
	mram_io_close(self->io);
	mram_layout_free(&self->l);
	unlink(self->path);
	free(self->path);
	free(self->want);
	EXPECT_NO_LEAKS();
}

static inline int begin(FIXTURE_DATA(commit) *self)
{
	uint8_t *page = malloc(4096);
	int ret;

	ret = mram_io_invalidate(self->io, &self->e);
	if (!ret)
		ret = mram_io_resize(self->io, self->l.tail_offset, &self->e);
	small_page(page, 0, 0);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_A, page, 4096,
				    &self->e);
	small_page(page, 0, 2);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_A + 0x2000, page,
				    4096, &self->e);
	small_page(page, 1, 1);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_B + 0x1000, page,
				    4096, &self->e);
	free(page);
	return ret;
}

static inline int commit(FIXTURE_DATA(commit) *self)
{
	return mram_image_write_commit(self->io, &self->l, self->bitmaps, &cpu,
				       1, &self->end, &self->e);
}

static inline int try_open(const char *path, struct mram_error *e)
{
	struct mram_image *img;
	int ret = mram_image_open(&img, path, e);

	if (!ret)
		mram_image_close(img);
	return ret;
}

static inline bool is_by_hand(FIXTURE_DATA(commit) *self)
{
	int fd = open(self->path, O_RDONLY | O_CLOEXEC);
	struct bytes want = { self->want, SMALL_END };
	uint8_t *found;
	struct stat st;
	bool equal;

	if (fd < 0 || fstat(fd, &st))
		return false;
	found = malloc((size_t)st.st_size);
	get_at(fd, 0, found, (size_t)st.st_size);
	equal = bytes_equal(found, (size_t)st.st_size, want);
	free(found);
	close(fd);
	return equal;
}

#endif /* SELFTESTS_LIB_COMMIT_H */
