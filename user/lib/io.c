// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Metadata I/O past the page cache: see io.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "io.h"

static int io_err_at(const struct mram_io *io, struct mram_error *err,
		     int code, const char *what, uint64_t offset, size_t length)
{
	return mram_err(err, code,
			"%.200s: cannot %s %zu bytes at offset 0x%llx: %s",
			io->path, what, length, (unsigned long long)offset,
			strerror(-code));
}

int mram_io_size(struct mram_io *io, uint64_t *size, struct mram_error *err)
{
	struct stat st;

	if (io->is_block) {
		if (ioctl(io->fd, BLKGETSIZE64, size))
			return mram_io_err(io, err, -errno, "ask for the size");
		return 0;
	}
	if (fstat(io->fd, &st))
		return mram_io_err(io, err, -errno, "ask for the size");
	*size = (uint64_t)st.st_size;
	return 0;
}

/* ------------------------------------------------------- reading, writing */

static uint64_t block_start(const struct mram_io *io, uint64_t offset)
{
	return offset & ~(uint64_t)(io->align - 1);
}

static uint64_t block_end(const struct mram_io *io, uint64_t offset)
{
	return block_start(io, offset + io->align - 1);
}

/*
 * Offset and length are aligned. Reads up to the end of the file; with direct
 * I/O a count that is not aligned can only be the end, and going on from there
 * would be refused.
 */
static ssize_t read_blocks(struct mram_io *io, void *data, size_t length,
			   uint64_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < length) {
		n = pread(io->fd, (char *)data + done, length - done,
			  (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
		if (!n || done & (io->align - 1))
			break;
	}
	return (ssize_t)done;
}

static int write_blocks(struct mram_io *io, const void *data, size_t length,
			uint64_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < length) {
		n = pwrite(io->fd, (const char *)data + done, length - done,
			   (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* Only a full disk stops in the middle of a block. */
		if (!n || n & (io->align - 1))
			return -ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

static bool range_ok(uint64_t offset, size_t length)
{
	return offset <= INT64_MAX - MRAM_IO_BOUNCE &&
	       length <= INT64_MAX - MRAM_IO_BOUNCE - offset;
}

/* Whether the file takes it as it is. */
static bool is_aligned(const struct mram_io *io, uint64_t offset,
		       const void *data, size_t length)
{
	return !((offset | length) & (io->align - 1)) &&
	       !((uintptr_t)data & (io->mem_align - 1));
}

static int err_short(const struct mram_io *io, struct mram_error *err,
		     uint64_t offset, size_t length, uint64_t end)
{
	return mram_err(err, -ENODATA,
			"%.200s: cannot read %zu bytes at offset 0x%llx: the file ends at 0x%llx",
			io->path, length, (unsigned long long)offset,
			(unsigned long long)end);
}

static int read_straight(struct mram_io *io, uint64_t offset, void *data,
			 size_t length, struct mram_error *err)
{
	ssize_t n = read_blocks(io, data, length, offset);

	if (n < 0)
		return io_err_at(io, err, (int)n, "read", offset, length);
	if ((size_t)n < length)
		return err_short(io, err, offset, length, offset + (uint64_t)n);
	return 0;
}

int mram_io_read(struct mram_io *io, uint64_t offset, void *data,
		 size_t length, struct mram_error *err)
{
	uint64_t start, end;
	size_t skip, part;
	uint8_t *to = data;
	ssize_t n;

	if (!range_ok(offset, length))
		return io_err_at(io, err, -EFBIG, "read", offset, length);
	if (is_aligned(io, offset, data, length))
		return read_straight(io, offset, data, length, err);
	for (; length; offset += part, to += part, length -= part) {
		start = block_start(io, offset);
		skip = (size_t)(offset - start);
		part = MRAM_IO_BOUNCE - skip;
		if (part > length)
			part = length;
		end = block_end(io, offset + part);
		n = read_blocks(io, io->bounce, (size_t)(end - start), start);
		if (n < 0)
			return io_err_at(io, err, (int)n, "read", offset, part);
		if ((size_t)n < skip + part)
			return err_short(io, err, offset, part,
					 start + (uint64_t)n);
		memcpy(to, io->bounce + skip, part);
	}
	return 0;
}

uint64_t mram_io_next_data(struct mram_io *io, uint64_t offset, uint64_t end)
{
	off_t data;

	if (io->is_block)
		return offset;
	data = lseek(io->fd, (off_t)offset, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? end : offset;
	return (uint64_t)data < end ? (uint64_t)data : end;
}

/* A block of which only a part will be overwritten. Behind the end: zeroes. */
static int fetch_block(struct mram_io *io, uint8_t *to, uint64_t offset,
		       struct mram_error *err)
{
	ssize_t n = read_blocks(io, to, io->align, offset);

	if (n < 0)
		return io_err_at(io, err, (int)n, "read", offset, io->align);
	memset(to + n, 0, io->align - (size_t)n);
	return 0;
}

/* At most what fits into the bounce buffer wherever it starts in a block. */
static int write_part(struct mram_io *io, uint64_t offset, const void *data,
		      size_t length, struct mram_error *err)
{
	uint64_t start = block_start(io, offset);
	uint64_t end = block_end(io, offset + length);
	uint64_t last = end - io->align;
	size_t skip = (size_t)(offset - start);
	int ret = 0;

	if (skip)
		ret = fetch_block(io, io->bounce, start, err);
	if (!ret && offset + length < end && (!skip || last != start))
		ret = fetch_block(io, io->bounce + (last - start), last, err);
	if (ret)
		return ret;
	memcpy(io->bounce + skip, data, length);
	ret = write_blocks(io, io->bounce, (size_t)(end - start), start);
	if (ret)
		return io_err_at(io, err, ret, "write", offset, length);
	return 0;
}

int mram_io_write(struct mram_io *io, uint64_t offset, const void *data,
		  size_t length, struct mram_error *err)
{
	const uint8_t *from = data;
	size_t part;
	int ret;

	if (!range_ok(offset, length))
		return io_err_at(io, err, -EFBIG, "write", offset, length);
	if (io->held && offset < io->first_size && length) {
		part = (size_t)(io->first_size - offset);
		if (part > length)
			part = length;
		memcpy(io->held + offset, from, part);
		offset += part;
		from += part;
		length -= part;
	}
	if (is_aligned(io, offset, from, length)) {
		ret = write_blocks(io, from, length, offset);
		return ret ? io_err_at(io, err, ret, "write", offset, length) : 0;
	}
	for (; length; offset += part, from += part, length -= part) {
		part = MRAM_IO_BOUNCE - (size_t)(offset - block_start(io, offset));
		if (part > length)
			part = length;
		ret = write_part(io, offset, from, part, err);
		if (ret)
			return ret;
	}
	return 0;
}

/* ----------------------------------------------------- size and durability */

int mram_io_resize(struct mram_io *io, uint64_t size, struct mram_error *err)
{
	uint64_t now;
	int ret;

	if (size > INT64_MAX)
		return mram_err(err, -EFBIG,
				"%.200s: no file is 0x%llx bytes long",
				io->path, (unsigned long long)size);
	if (io->is_block) {
		ret = mram_io_size(io, &now, err);
		if (ret)
			return ret;
		if (now < size)
			return mram_err(err, -ENOSPC,
					"%.200s: the device has 0x%llx bytes, the image needs 0x%llx",
					io->path, (unsigned long long)now,
					(unsigned long long)size);
		return 0;
	}
	while (ftruncate(io->fd, (off_t)size))
		if (errno != EINTR)
			return mram_err(err, -errno,
					"%.200s: cannot make it 0x%llx bytes long: %s",
					io->path, (unsigned long long)size,
					strerror(errno));
	return 0;
}

int mram_io_flush(struct mram_io *io, struct mram_error *err)
{
	/* What is not needed to read it, like times, may come later. */
	if (fdatasync(io->fd))
		return mram_io_err(io, err, -errno, "flush");
	/*
	 * Cutting a file inside a page, or a file system that cannot do direct
	 * I/O, leave pages of it in the page cache. They are clean now.
	 */
	if (!io->is_block)
		posix_fadvise(io->fd, 0, 0, POSIX_FADV_DONTNEED);
	return 0;
}

int mram_io_invalidate(struct mram_io *io, struct mram_error *err)
{
	int ret;

	if (!io->writable)
		return mram_io_err(io, err, -EBADF, "write");
	if (!io->held)
		io->held = mram_io_alloc(io, io->first_size);
	if (!io->held)
		return mram_err(err, -ENOMEM, "no memory for the first block");
	memset(io->held, 0, io->first_size);

	ret = write_blocks(io, io->held, io->first_size, 0);
	if (ret)
		return io_err_at(io, err, ret, "write", 0, io->first_size);
	return mram_io_flush(io, err);
}

int mram_io_validate(struct mram_io *io, struct mram_error *err)
{
	int ret;

	if (!io->held)
		return mram_err(err, -EINVAL, "%.200s: no first block is held back",
				io->path);
	ret = write_blocks(io, io->held, io->first_size, 0);
	if (ret)
		return io_err_at(io, err, ret, "write", 0, io->first_size);
	ret = mram_io_flush(io, err);
	if (ret)
		return ret;
	free(io->held);
	io->held = NULL;
	return 0;
}
