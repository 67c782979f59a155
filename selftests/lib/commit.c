// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a committed image is, byte for byte, the one written out by
 * hand, in a new file, over an older image, and on a block device, where
 * nothing ends when the image does.
 */
#include "commit.h"

TEST_F(commit, as_written_by_hand)
{
	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	EXPECT_EQ(SMALL_END, self->end);
	EXPECT_TRUE(is_by_hand(self));
	EXPECT_EQ(0, try_open(self->path, &self->e));
}

TEST_F(commit, bits_behind_the_block_are_not_written)
{
	self->words[0] |= ~0xfULL;
	self->words[1] |= 1ULL << 63 | 4;
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, commit(self));
	EXPECT_TRUE(is_by_hand(self));
}

TEST_F(commit, needs_invalidating)
{
	EXPECT_EQ(-EINVAL, commit(self));
	EXPECT_TRUE(contains(self->e.message, "invalidated"));
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, commit(self));
	EXPECT_EQ(-EINVAL, commit(self));
	EXPECT_TRUE(is_by_hand(self));
}

/*
 * Over a longer file full of something else: only the gaps, and the pages that
 * are clear, may still have the old bytes.
 */
TEST_F(commit, over_an_older_image)
{
	static const struct { uint64_t from, to; } parts[] = {
		{ 0, SMALL_BITMAP_A + 8 },
		{ SMALL_PAGES_A, SMALL_PAGES_A + 0x1000 },
		{ SMALL_PAGES_A + 0x2000, SMALL_PAGES_A + 0x3000 },
		{ SMALL_RECORD_B, SMALL_BITMAP_B + 8 },
		{ SMALL_PAGES_B + 0x1000, SMALL_END },
	};
	size_t size = SMALL_END + 70000, i;
	uint8_t *old = malloc(size);
	int fd = open(self->path, O_RDWR | O_CLOEXEC);
	struct stat st;

	memset(old, 0xee, size);
	put_at(fd, 0, old, size);
	put_at(fd, 0, self->want, 4096);

	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(SMALL_END, st.st_size);
	get_at(fd, 0, old, SMALL_END);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		EXPECT_EQ(0, memcmp(old + parts[i].from,
				    self->want + parts[i].from,
				    parts[i].to - parts[i].from));
	EXPECT_EQ(0, try_open(self->path, &self->e));
	free(old);
	close(fd);
}

TEST_F(commit, twice)
{
	ASSERT_EQ(0, begin(self));
	self->words[0] = 0;
	ASSERT_EQ(0, commit(self));
	EXPECT_FALSE(is_by_hand(self));
	self->words[0] = 5;
	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	EXPECT_TRUE(is_by_hand(self));
}

/*
 * On a device nothing ends where the stream does: what an older image left
 * behind it must not be taken for this one's. As root.
 */
TEST_F(commit, on_a_device)
{
	size_t size = SMALL_END + 200000;
	uint8_t *old = malloc(size);
	struct mram_section_info s = { .size = sizeof(s) };
	struct mram_image *img;
	char *device;
	int fd, loop;

	memset(old, 0xee, size);
	memcpy(old, self->want, SMALL_END);
	memcpy(old + SMALL_END + 1000, self->want + SMALL_STATE,
	       SMALL_END - SMALL_STATE);
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	put_at(fd, 0, old, size);
	ASSERT_EQ(0, ftruncate(fd, (off_t)(size / 4096 * 4096)));
	close(fd);
	free(old);
	loop = loop_attach(self->path, 4096, &device);
	if (loop < 0)
		SKIP(return, "no loop device: %s", strerror(errno));

	mram_io_close(self->io);
	self->io = NULL;
	ASSERT_EQ(0, mram_io_open(&self->io, device, MRAM_IO_WRITE, &self->e));
	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENODATA, try_open(device, &self->e));
	ASSERT_EQ(0, commit(self));
	EXPECT_EQ(SMALL_END, self->end);
	ASSERT_EQ(0, mram_image_open(&img, device, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
	EXPECT_EQ(SMALL_END, mram_image_size(img));
	ASSERT_EQ(1, mram_image_sections(img));
	ASSERT_EQ(0, mram_image_section_info(img, 0, &s, &self->e));
	EXPECT_STREQ("cpu", s.name);
	mram_image_close(img);
	close(loop);
	free(device);
}

/* One that ends in the tail is refused before anything of it is written. */
TEST_F(commit, on_a_device_too_small)
{
	char *device;
	int loop;

	ASSERT_EQ(0, truncate(self->path, SMALL_TAIL));
	loop = loop_attach(self->path, 512, &device);
	if (loop < 0)
		SKIP(return, "no loop device: %s", strerror(errno));
	mram_io_close(self->io);
	self->io = NULL;
	ASSERT_EQ(0, mram_io_open(&self->io, device, MRAM_IO_WRITE, &self->e));
	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENOSPC, commit(self));
	EXPECT_TRUE(contains(self->e.message, device));
	EXPECT_TRUE(contains(self->e.message, "0x202000 bytes|0x20221a"));
	EXPECT_EQ(-ENODATA, try_open(device, &self->e));
	close(loop);
	free(device);
}

TEST_HARNESS_MAIN
