// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A block of an image as a file of raw memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "pages.h"
#include "zero.h"

/**
 * struct extract - a block on its way
 * @s: the job
 * @p: the block
 * @fd: the file
 * @fresh: it was all hole
 */
struct extract {
	struct scan s;
	struct pages p;
	int fd;
	bool fresh;
};

static int err_write(const struct extract *x, uint64_t offset, int code,
		     struct mram_error *err)
{
	return mram_err(err, code,
			"block '%s': cannot write the file at offset %" PRIu64 ": %s",
			x->p.info.name, offset, strerror(-code));
}

static int check_file(struct extract *x, struct mram_error *err)
{
	uint64_t length = x->p.info.length;
	struct stat st;

	if (fstat(x->fd, &st))
		return mram_err(err, -errno,
				"block '%s': cannot look at the file: %s",
				x->p.info.name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return mram_err(err, -ENODEV,
				"block '%s': the file to extract to is no regular file",
				x->p.info.name);
	if (st.st_size && (uint64_t)st.st_size != length)
		return mram_err(err, -EINVAL,
				"block '%s' has %" PRIu64 " bytes, the file to extract to %" PRIu64,
				x->p.info.name, length, (uint64_t)st.st_size);
	x->fresh = !st.st_blocks;
	if (!st.st_size && ftruncate(x->fd, (off_t)length))
		return mram_err(err, -errno,
				"block '%s': cannot give the file its %" PRIu64 " bytes: %s",
				x->p.info.name, length, strerror(errno));
	return 0;
}

/* The flag was taken when the file was opened, but not what comes with it. */
static bool leave_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_DIRECT &&
	       !fcntl(fd, F_SETFL, flags & ~O_DIRECT);
}

static int write_bytes(const struct extract *x, const uint8_t *from,
		       size_t length, uint64_t offset, struct mram_error *err)
{
	size_t done = 0;
	ssize_t n;

	while (done < length) {
		n = pwrite(x->fd, from + done, length - done,
			   (off_t)(offset + done));
		if (n > 0)
			done += (size_t)n;
		else if (!n)
			return err_write(x, offset + done, -ENOSPC, err);
		else if (errno != EINTR &&
			 !(errno == EINVAL && leave_direct(x->fd)))
			return err_write(x, offset + done, -errno, err);
	}
	return 0;
}

/* In a file of holes zero pages are there already. */
static int write_pages(struct extract *x, uint64_t first, uint64_t count,
		       struct mram_error *err)
{
	size_t size = (size_t)x->p.info.page_size;
	const uint8_t *b = x->p.buffer;
	uint64_t i, end;
	int ret;

	for (i = 0; i < count; i = end + 1) {
		for (end = i; end < count; end++)
			if (x->fresh && zero_is(b + end * size, size))
				break;
		if (end == i)
			continue;
		ret = write_bytes(x, b + i * size, (size_t)(end - i) * size,
				  (first + i) * size, err);
		if (ret)
			return ret;
		x->s.stats.written += end - i;
	}
	return 0;
}

static int copy_run(struct extract *x, uint64_t first, uint64_t end,
		    struct mram_error *err)
{
	uint64_t count;
	int ret = 0;

	for (; !ret && first < end; first += count) {
		count = pages_chunk(&x->p, end - first);
		ret = scan_read(&x->s, &x->p, first, count, err);
		if (!ret)
			ret = write_pages(x, first, count, err);
		if (!ret)
			ret = scan_progress(&x->s, err);
	}
	return ret;
}

static int clear_run(struct extract *x, uint64_t first, uint64_t end,
		     struct mram_error *err)
{
	uint64_t size = x->p.info.page_size, count;
	int ret = 0;

	if (x->fresh || first == end ||
	    !fallocate(x->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		       (off_t)(first * size), (off_t)((end - first) * size)))
		return 0;
	if (errno != EOPNOTSUPP && errno != EINTR)
		return err_write(x, first * size, -errno, err);
	memset(x->p.buffer, 0, PAGES_BUFFER);
	for (; !ret && first < end; first += count) {
		count = pages_chunk(&x->p, end - first);
		ret = write_bytes(x, x->p.buffer, (size_t)(count * size),
				  first * size, err);
		if (!ret)
			ret = scan_progress(&x->s, err);
	}
	return ret;
}

static int copy_block(struct extract *x, struct mram_error *err)
{
	uint64_t first, end = 0, pages = x->p.info.pages;
	int ret = 0;

	x->s.total = x->p.info.set_pages;
	x->s.stats.zero = pages - x->p.info.set_pages;
	while (!ret && end < pages) {
		first = bitmap_next(x->p.bitmap, end, pages, 1);
		ret = clear_run(x, end, first, err);
		end = bitmap_next(x->p.bitmap, first, pages, 0);
		if (!ret)
			ret = copy_run(x, first, end, err);
	}
	if (!ret && fdatasync(x->fd))
		ret = mram_err(err, -errno,
			       "block '%s': cannot flush the file: %s",
			       x->p.info.name, strerror(errno));
	return ret;
}

int mram_image_extract(struct mram_image *img, int index, int fd,
		       const struct mram_scan_opts *opts,
		       struct mram_scan_stats *stats, struct mram_error *err)
{
	struct extract x = { .fd = fd };
	int ret;

	ret = scan_begin(&x.s, opts, "extract", err);
	if (!ret)
		ret = pages_open(&x.p, img, index, err);
	if (!ret)
		ret = check_file(&x, err);
	if (!ret)
		ret = copy_block(&x, err);
	pages_close(&x.p);
	return scan_end(&x.s, stats, ret);
}
