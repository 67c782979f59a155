// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that metadata I/O writes exactly the bytes it was asked to and no
 * others, wherever they begin and end; and that an image's first block stays
 * zero on disk until it is validated. On a file system with direct I/O and in
 * shared memory, and as root on a file system that has none and on block
 * devices of both sector sizes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "io.h"

/* Longer than the bounce buffer, so that writes come in parts. */
#define SIZE	(3u << 20)

FIXTURE(io) {
	char *path;		/* the file, or what backs the device */
	char *device;
	int loop;
	struct mram_io *io;
	struct mram_error e;
	uint8_t *model;
};

FIXTURE_VARIANT(io) {
	const char *dir;
	int sector;		/* of a loop device; 0 for a file */
	bool ramfs;		/* to be mounted there, for this test only */
};

FIXTURE_VARIANT_ADD(io, file) { .dir = "/tmp" };
FIXTURE_VARIANT_ADD(io, shm) { .dir = "/dev/shm" };
FIXTURE_VARIANT_ADD(io, ramfs) { .dir = "/tmp", .ramfs = true };
FIXTURE_VARIANT_ADD(io, disk512) { .dir = "/tmp", .sector = 512 };
FIXTURE_VARIANT_ADD(io, disk4096) { .dir = "/tmp", .sector = 4096 };

FIXTURE_SETUP(io)
{
	int fd;

	self->loop = -1;
	if (variant->ramfs &&
	    (unshare(CLONE_NEWNS) ||
	     mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) ||
	     mount("ramfs", variant->dir, "ramfs", 0, NULL)))
		SKIP(return, "cannot mount a ramfs: %s", strerror(errno));
	self->path = tmp_file(variant->dir);
	self->model = malloc(SIZE);
	ASSERT_NE(NULL, self->model);
	fill_random(self->model, SIZE, 1);
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	put_at(fd, 0, self->model, SIZE);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	if (variant->sector) {
		self->loop = loop_attach(self->path, variant->sector,
				    &self->device);
		if (self->loop < 0) {
			unlink(self->path);
			SKIP(return, "no loop device: %s", strerror(errno));
		}
	}
	ASSERT_EQ(0, mram_io_open(&self->io, self->device ?: self->path,
				  MRAM_IO_WRITE, &self->e)) {
		TH_LOG("%s", self->e.message);
	}
}

FIXTURE_TEARDOWN(io)
{
	mram_io_close(self->io);
	if (self->loop >= 0)
		close(self->loop);
	if (self->path)
		unlink(self->path);
	free(self->path);
	free(self->device);
	free(self->model);
	EXPECT_NO_LEAKS();
}

TEST_F(io, what_was_opened)
{
	struct mram_io *io = self->io;

	EXPECT_EQ(!!variant->sector, io->is_block);
	EXPECT_TRUE(io->writable);
	EXPECT_FALSE(io->created);
	EXPECT_NE(0, io->align);
	EXPECT_EQ(0, io->align & (io->align - 1));
	EXPECT_LE(4096, io->first_size);
	EXPECT_EQ(0, io->first_size % io->align);
	if (variant->sector) {
		EXPECT_TRUE(io->direct);
		EXPECT_EQ(variant->sector, io->align);
	}
	if (variant->ramfs)
		EXPECT_FALSE(io->direct);
	EXPECT_EQ(io->direct, !!(fcntl(io->fd, F_GETFL) & O_DIRECT));
	EXPECT_EQ(FD_CLOEXEC, fcntl(io->fd, F_GETFD));
}

TEST_F(io, edges_are_kept)
{
	static const struct { uint64_t offset; size_t length; } c[] = {
		{ 0, 1 }, { 1, 1 }, { 511, 2 }, { 100, 300 }, { 512, 512 },
		{ 4095, 1 }, { 4095, 2 }, { 4096, 4096 }, { 4097, 4094 },
		{ 4097, 4096 }, { 8191, 8194 }, { 12345, 54321 },
		{ 1 << 20, 1 << 20 }, { (1 << 20) - 1, (1 << 20) + 2 },
		{ 7, 2 << 20 }, { SIZE - 1, 1 }, { SIZE - 4097, 4097 },
	};
	uint8_t *data = malloc(SIZE);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		fill_random(data, c[i].length, (unsigned int)i + 7);
		ASSERT_EQ(0, mram_io_write(self->io, c[i].offset, data,
					   c[i].length, &self->e)) {
			TH_LOG("%s", self->e.message);
		}
		memcpy(self->model + c[i].offset, data, c[i].length);
		memset(data, 0, c[i].length);
		ASSERT_EQ(0, mram_io_read(self->io, c[i].offset, data,
					  c[i].length, &self->e));
		EXPECT_EQ(0, memcmp(data, self->model + c[i].offset,
				    c[i].length));
	}
	ASSERT_EQ(0, mram_io_flush(self->io, &self->e));
	EXPECT_TRUE(file_equals(self->device ?: self->path, self->model,
				  SIZE));
	free(data);
}

TEST_F(io, odd_offsets)
{
	uint8_t data[5000];
	unsigned int i, offset, length;

	for (i = 0; i < 400; i++) {
		offset = (unsigned int)random() % (16384 - sizeof(data));
		length = (unsigned int)random() % sizeof(data);
		fill_random(data, length, i);
		ASSERT_EQ(0, mram_io_write(self->io, offset, data, length,
					   &self->e));
		memcpy(self->model + offset, data, length);
	}
	ASSERT_EQ(0, mram_io_flush(self->io, &self->e));
	EXPECT_TRUE(file_equals(self->device ?: self->path, self->model,
				  SIZE));
}

TEST_F(io, ends)
{
	uint64_t size;
	uint8_t data[8];

	ASSERT_EQ(0, mram_io_size(self->io, &size, &self->e));
	ASSERT_EQ(SIZE, size);
	EXPECT_EQ(0, mram_io_read(self->io, SIZE - 8, data, 8, &self->e));
	EXPECT_EQ(-ENODATA, mram_io_read(self->io, SIZE - 7, data, 8,
					 &self->e));
	EXPECT_TRUE(contains(self->e.message, "0x2ffff9|ends at 0x300000"));
	EXPECT_EQ(-ENODATA, mram_io_read(self->io, SIZE + 5, data, 1,
					 &self->e));
	EXPECT_EQ(-EFBIG, mram_io_read(self->io, UINT64_MAX, data, 1,
				       &self->e));
	EXPECT_EQ(-EFBIG, mram_io_write(self->io, INT64_MAX, data, 1,
					&self->e));
	EXPECT_EQ(0, mram_io_read(self->io, SIZE + 5, data, 0, &self->e));
	if (variant->sector) {
		EXPECT_EQ(-ENOSPC, mram_io_write(self->io, SIZE, data, 1,
						 &self->e));
		EXPECT_EQ(-ENOSPC, mram_io_resize(self->io, SIZE + 1,
						  &self->e));
		EXPECT_TRUE(contains(self->e.message, "0x300000|0x300001"));
		EXPECT_EQ(0, mram_io_resize(self->io, SIZE, &self->e));
		EXPECT_EQ(0, mram_io_resize(self->io, 1, &self->e));
		ASSERT_EQ(0, mram_io_size(self->io, &size, &self->e));
		EXPECT_EQ(SIZE, size);
	}
	EXPECT_TRUE(file_equals(self->device ?: self->path, self->model,
				  SIZE));
}

TEST_F(io, first_block_is_held_back)
{
	struct mram_io *io = self->io;
	const char *path = self->device ?: self->path;
	uint32_t first = io->first_size;
	uint8_t data[8192];

	fill_random(data, sizeof(data), 11);
	EXPECT_EQ(-EINVAL, mram_io_validate(io, &self->e));
	EXPECT_TRUE(file_equals(path, self->model, SIZE));

	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	memset(self->model, 0, first);
	EXPECT_TRUE(file_equals(path, self->model, SIZE));

	/* Wholly inside, across its end, and behind. */
	ASSERT_EQ(0, mram_io_write(io, 3, data, 100, &self->e));
	ASSERT_EQ(0, mram_io_write(io, first - 10, data, 30, &self->e));
	ASSERT_EQ(0, mram_io_write(io, first + 50, data, 5, &self->e));
	ASSERT_EQ(0, mram_io_flush(io, &self->e));
	memcpy(self->model + first, data + 10, 20);
	memcpy(self->model + first + 50, data, 5);
	EXPECT_TRUE(file_equals(path, self->model, SIZE));

	ASSERT_EQ(0, mram_io_validate(io, &self->e));
	memcpy(self->model + 3, data, 100);
	memcpy(self->model + first - 10, data, 10);
	EXPECT_TRUE(file_equals(path, self->model, SIZE));

	/* Now nothing is held back any more. */
	EXPECT_EQ(-EINVAL, mram_io_validate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 0, data, 2, &self->e));
	memcpy(self->model, data, 2);
	EXPECT_TRUE(file_equals(path, self->model, SIZE));

	/* And again: what was held back before is forgotten. */
	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 0, data, 99, &self->e));
	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 7, "x", 1, &self->e));
	ASSERT_EQ(0, mram_io_validate(io, &self->e));
	memset(self->model, 0, first);
	self->model[7] = 'x';
	EXPECT_TRUE(file_equals(path, self->model, SIZE));
}

/* Closing without validating leaves the zeroes. */
TEST_F(io, close_forgets_the_first_block)
{
	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	ASSERT_EQ(0, mram_io_write(self->io, 0, "QEVM", 4, &self->e));
	memset(self->model, 0, self->io->first_size);
	mram_io_close(self->io);
	self->io = NULL;
	EXPECT_TRUE(file_equals(self->device ?: self->path, self->model,
				  SIZE));
}

TEST_F(io, read_only)
{
	struct mram_io *io;

	ASSERT_EQ(0, mram_io_open(&io, self->device ?: self->path, 0,
				  &self->e));
	EXPECT_EQ(O_RDONLY, fcntl(io->fd, F_GETFL) & O_ACCMODE);
	EXPECT_EQ(-EBADF, mram_io_invalidate(io, &self->e));
	EXPECT_EQ(-EBADF, mram_io_write(io, 8192, "x", 1, &self->e));
	mram_io_close(io);
	EXPECT_TRUE(file_equals(self->device ?: self->path, self->model,
				  SIZE));
}

TEST_HARNESS_MAIN
