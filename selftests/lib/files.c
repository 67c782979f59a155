// SPDX-License-Identifier: GPL-2.0
/*
 * Proves which files metadata I/O opens, and how: a new file is private, what
 * is no image file is refused without touching it, a device has one writer, a
 * file may end anywhere, and the page cache holds nothing of it afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "io.h"

/* Of the files that are made here. */
#define SIZE	(3u << 20)

FIXTURE(new_file) {
	char *dir;
	char *path;
	struct mram_io *io;
	struct mram_error e;
};

FIXTURE_SETUP(new_file)
{
	self->dir = strdup("/tmp/mapped-ram-test-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_LT(0, asprintf(&self->path, "%s/image", self->dir));
}

FIXTURE_TEARDOWN(new_file)
{
	mram_io_close(self->io);
	unlink(self->path);
	rmdir(self->dir);
	free(self->path);
	free(self->dir);
	EXPECT_NO_LEAKS();
}

/* A machine's memory is nobody else's business. */
TEST_F(new_file, is_made_private)
{
	struct stat st;

	umask(0);
	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));
	EXPECT_TRUE(self->io->created);
	ASSERT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_size);

	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	ASSERT_EQ(0, mram_io_resize(self->io, 100000, &self->e));
	ASSERT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(100000, st.st_size);
}

TEST_F(new_file, is_not_made_for_reading)
{
	EXPECT_EQ(-ENOENT, mram_io_open(&self->io, self->path, 0, &self->e));
	EXPECT_TRUE(contains(self->e.message, "/image|open|No such file"));
	EXPECT_EQ(-1, access(self->path, F_OK));
	EXPECT_EQ(NULL, self->io);
}

TEST_F(new_file, other_kinds_are_refused)
{
	static const char *const kinds[] = { "/tmp", "/dev/null" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		EXPECT_EQ(-ENODEV, mram_io_open(&self->io, kinds[i],
						MRAM_IO_WRITE, &self->e));
		EXPECT_TRUE(contains(self->e.message, kinds[i]));
		EXPECT_TRUE(contains(self->e.message,
				     "neither a regular file nor a block"));
	}
	/* Opening this one would wait for a writer. */
	ASSERT_EQ(0, mkfifo(self->path, 0600));
	EXPECT_EQ(-ENODEV, mram_io_open(&self->io, self->path, 0, &self->e));
	EXPECT_EQ(-EINVAL, mram_io_open(&self->io, self->path, 0x80000000,
					&self->e));
	EXPECT_EQ(NULL, self->io);
}

/* A file that ends anywhere can be read up to there, and written across it. */
TEST_F(new_file, ends_anywhere)
{
	uint8_t data[700], model[10600];
	struct mram_io *io;
	uint64_t size;

	fill_random(model, sizeof(model), 2);
	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));
	io = self->io;
	ASSERT_EQ(0, mram_io_write(io, 0, model, 10001, &self->e));
	ASSERT_EQ(0, mram_io_resize(io, 10001, &self->e));
	ASSERT_EQ(0, mram_io_read(io, 9400, data, 601, &self->e));
	EXPECT_EQ(0, memcmp(data, model + 9400, 601));
	EXPECT_EQ(-ENODATA, mram_io_read(io, 9400, data, 602, &self->e));
	EXPECT_TRUE(contains(self->e.message, "ends at 0x2711"));
	fill_random(data, sizeof(data), 3);
	ASSERT_EQ(0, mram_io_write(io, 9900, data, sizeof(data), &self->e));
	memcpy(model + 9900, data, sizeof(data));
	ASSERT_EQ(0, mram_io_resize(io, sizeof(model), &self->e));
	ASSERT_EQ(0, mram_io_flush(io, &self->e));
	ASSERT_EQ(0, mram_io_size(io, &size, &self->e));
	EXPECT_EQ(sizeof(model), size);
	EXPECT_TRUE(file_equals(self->path, model, sizeof(model)));
}

TEST_F(new_file, page_cache_stays_empty)
{
	unsigned char resident[SIZE / 4096];
	struct mram_io *io;
	uint8_t data[1000];
	struct statfs fs;
	size_t i, n = 0;
	void *map;

	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));
	io = self->io;
	ASSERT_EQ(0, fstatfs(io->fd, &fs));
	if (!io->direct || fs.f_type == TMPFS_MAGIC)
		SKIP(return, "/tmp is not on a disk with direct I/O");
	fill_random(data, sizeof(data), 5);
	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	ASSERT_EQ(0, mram_io_resize(io, SIZE, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 5, data, sizeof(data), &self->e));
	ASSERT_EQ(0, mram_io_write(io, 70001, data, sizeof(data), &self->e));
	ASSERT_EQ(0, mram_io_read(io, 123456, data, sizeof(data), &self->e));
	ASSERT_EQ(0, mram_io_write(io, SIZE - 2000, data, 1000, &self->e));
	ASSERT_EQ(0, mram_io_resize(io, SIZE - 1234, &self->e));
	ASSERT_EQ(0, mram_io_flush(io, &self->e));
	ASSERT_EQ(0, mram_io_validate(io, &self->e));

	map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, io->fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, mincore(map, SIZE, resident));
	for (i = 0; i < sizeof(resident); i++)
		n += resident[i] & 1;
	EXPECT_EQ(0, n);
	munmap(map, SIZE);
}

/* Two savers on one disk would make one bad image of two. */
TEST_F(new_file, one_writer_of_a_device)
{
	struct mram_io *second = NULL;
	char *device = NULL;
	int loop;

	close(open(self->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	ASSERT_EQ(0, truncate(self->path, SIZE));
	loop = loop_attach(self->path, 512, &device);
	if (loop < 0)
		SKIP(return, "no loop device: %s", strerror(errno));
	EXPECT_EQ(0, mram_io_open(&self->io, device, MRAM_IO_WRITE,
				  &self->e));
	EXPECT_EQ(-EBUSY, mram_io_open(&second, device, MRAM_IO_WRITE,
				       &self->e));
	EXPECT_TRUE(contains(self->e.message, "/dev/loop|open"));
	EXPECT_EQ(NULL, second);
	/* Reading is another matter. */
	EXPECT_EQ(0, mram_io_open(&second, device, 0, &self->e));
	mram_io_close(second);
	close(loop);
	free(device);
}

TEST_HARNESS_MAIN
