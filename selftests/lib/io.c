// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that metadata I/O writes exactly the bytes it was asked to and no
 * others, wherever they begin and end; that an image's first block stays zero
 * on disk until it is validated; that the page cache holds nothing of a file
 * afterwards; and that what is no image file is refused. On a file system with
 * direct I/O and in shared memory, and as root on a file system that has none
 * and on block devices of both sector sizes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
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

static void fill(uint8_t *p, size_t length, unsigned int seed)
{
	size_t i;

	for (i = 0; i < length; i++, seed = seed * 1103515245 + 12345)
		p[i] = (uint8_t)(seed >> 16);
}

/* A loop device over @path; -1 with errno. */
static int attach(const char *path, int sector, char **device)
{
	struct loop_config config = { .block_size = (uint32_t)sector };
	int control, loop = -1, n, tries;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC);
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	for (tries = 0; control >= 0 && tries < 20; tries++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0 || asprintf(device, "/dev/loop%d", n) < 0)
			break;
		loop = open(*device, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &config))
			break;
		/* Somebody else was faster. */
		if (loop >= 0)
			close(loop);
		loop = -1;
		free(*device);
		*device = NULL;
	}
	if (control >= 0)
		close(control);
	close((int)config.fd);
	return loop;
}

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
	fill(self->model, SIZE, 1);
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	put_at(fd, 0, self->model, SIZE);
	ASSERT_EQ(0, fsync(fd));
	close(fd);
	if (variant->sector) {
		self->loop = attach(self->path, variant->sector,
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

/* The file as another reader sees it, past this handle. */
static bool same_as_model(const char *path, const uint8_t *model, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *found = malloc(size);
	struct bytes want = { (uint8_t *)model, size };
	bool same;

	get_at(fd, 0, found, size);
	same = bytes_equal(found, size, want);
	free(found);
	close(fd);
	return same;
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
		fill(data, c[i].length, (unsigned int)i + 7);
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
	EXPECT_TRUE(same_as_model(self->device ?: self->path, self->model,
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
		fill(data, length, i);
		ASSERT_EQ(0, mram_io_write(self->io, offset, data, length,
					   &self->e));
		memcpy(self->model + offset, data, length);
	}
	ASSERT_EQ(0, mram_io_flush(self->io, &self->e));
	EXPECT_TRUE(same_as_model(self->device ?: self->path, self->model,
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
	EXPECT_TRUE(same_as_model(self->device ?: self->path, self->model,
				  SIZE));
}

TEST_F(io, first_block_is_held_back)
{
	struct mram_io *io = self->io;
	const char *path = self->device ?: self->path;
	uint32_t first = io->first_size;
	uint8_t data[8192];

	fill(data, sizeof(data), 11);
	EXPECT_EQ(-EINVAL, mram_io_validate(io, &self->e));
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));

	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	memset(self->model, 0, first);
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));

	/* Wholly inside, across its end, and behind. */
	ASSERT_EQ(0, mram_io_write(io, 3, data, 100, &self->e));
	ASSERT_EQ(0, mram_io_write(io, first - 10, data, 30, &self->e));
	ASSERT_EQ(0, mram_io_write(io, first + 50, data, 5, &self->e));
	ASSERT_EQ(0, mram_io_flush(io, &self->e));
	memcpy(self->model + first, data + 10, 20);
	memcpy(self->model + first + 50, data, 5);
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));

	ASSERT_EQ(0, mram_io_validate(io, &self->e));
	memcpy(self->model + 3, data, 100);
	memcpy(self->model + first - 10, data, 10);
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));

	/* Now nothing is held back any more. */
	EXPECT_EQ(-EINVAL, mram_io_validate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 0, data, 2, &self->e));
	memcpy(self->model, data, 2);
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));

	/* And again: what was held back before is forgotten. */
	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 0, data, 99, &self->e));
	ASSERT_EQ(0, mram_io_invalidate(io, &self->e));
	ASSERT_EQ(0, mram_io_write(io, 7, "x", 1, &self->e));
	ASSERT_EQ(0, mram_io_validate(io, &self->e));
	memset(self->model, 0, first);
	self->model[7] = 'x';
	EXPECT_TRUE(same_as_model(path, self->model, SIZE));
}

/* Closing without validating leaves the zeroes. */
TEST_F(io, close_forgets_the_first_block)
{
	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	ASSERT_EQ(0, mram_io_write(self->io, 0, "QEVM", 4, &self->e));
	memset(self->model, 0, self->io->first_size);
	mram_io_close(self->io);
	self->io = NULL;
	EXPECT_TRUE(same_as_model(self->device ?: self->path, self->model,
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
	EXPECT_TRUE(same_as_model(self->device ?: self->path, self->model,
				  SIZE));
}

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

	fill(model, sizeof(model), 2);
	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));
	io = self->io;
	ASSERT_EQ(0, mram_io_write(io, 0, model, 10001, &self->e));
	ASSERT_EQ(0, mram_io_resize(io, 10001, &self->e));
	ASSERT_EQ(0, mram_io_read(io, 9400, data, 601, &self->e));
	EXPECT_EQ(0, memcmp(data, model + 9400, 601));
	EXPECT_EQ(-ENODATA, mram_io_read(io, 9400, data, 602, &self->e));
	EXPECT_TRUE(contains(self->e.message, "ends at 0x2711"));
	fill(data, sizeof(data), 3);
	ASSERT_EQ(0, mram_io_write(io, 9900, data, sizeof(data), &self->e));
	memcpy(model + 9900, data, sizeof(data));
	ASSERT_EQ(0, mram_io_resize(io, sizeof(model), &self->e));
	ASSERT_EQ(0, mram_io_flush(io, &self->e));
	ASSERT_EQ(0, mram_io_size(io, &size, &self->e));
	EXPECT_EQ(sizeof(model), size);
	EXPECT_TRUE(same_as_model(self->path, model, sizeof(model)));
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
	fill(data, sizeof(data), 5);
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
	loop = attach(self->path, 512, &device);
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
