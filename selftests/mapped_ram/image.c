// SPDX-License-Identifier: GPL-2.0
/*
 * Images. The tests look at them with direct I/O of their own, so that a page
 * in the cache afterwards can only be the module's doing.
 */
#include <sys/syscall.h>

#include <linux/fs.h>

#include "common.h"

#define CHUNK	MIB

const char *test_dir(void)
{
	const char *dir = getenv("MRAM_TEST_DIR");

	if (!dir || !*dir)
		need_failed("MRAM_TEST_DIR is not set");
	return dir;
}

const char *test_blkdev(void)
{
	const char *dev = getenv("MRAM_TEST_BLKDEV");

	return dev && *dev ? dev : NULL;
}

static void need_open(struct image *img, int flags)
{
	img->fd = open(img->path, O_RDWR | O_CLOEXEC | flags, 0600);
	if (img->fd < 0)
		need_failed("%s: %m", img->path);
	img->direct = open(img->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (img->direct < 0)
		need_failed("%s with O_DIRECT: %m", img->path);
}

static void need_filled(struct image *img)
{
	int ret = image_fill(img, IMAGE_FILL);

	if (ret)
		need_failed("%s: fill: %s", img->path, strerror(-ret));
}

void need_image_sparse(struct image *img, const char *dir, uint64_t size)
{
	int fd;

	*img = (struct image){ .size = size };
	snprintf(img->path, sizeof(img->path), "%s/image-XXXXXX",
		 dir ? dir : test_dir());
	fd = mkstemp(img->path);
	if (fd < 0)
		need_failed("%s: %m", img->path);
	close(fd);
	need_open(img, 0);
	if (ftruncate(img->fd, size))
		need_failed("%s: %m", img->path);
}

void need_image_file(struct image *img, const char *dir, uint64_t size)
{
	need_image_sparse(img, dir, size);
	need_filled(img);
}

void need_image_blkdev(struct image *img, const char *dev, uint64_t size)
{
	uint64_t there;

	if (!dev)
		dev = test_blkdev();
	if (!dev)
		need_failed("MRAM_TEST_BLKDEV is not set");
	*img = (struct image){ .size = size, .blkdev = true };
	snprintf(img->path, sizeof(img->path), "%s", dev);
	need_open(img, 0);
	if (ioctl(img->fd, BLKGETSIZE64, &there) || there < size)
		need_failed("%s: smaller than %llu bytes", dev,
			    (unsigned long long)size);
	/* What an earlier user left in the cache is not the module's. */
	ioctl(img->fd, BLKFLSBUF);
	need_filled(img);
}

void image_drop(struct image *img)
{
	if (img->fd > 0)
		close(img->fd);
	if (img->direct > 0)
		close(img->direct);
	if (img->path[0] && !img->blkdev)
		unlink(img->path);
	*img = (struct image){ 0 };
}

/* Moves all of [offset, offset + length) in aligned pieces. */
static int image_io(const struct image *img, uint8_t *in, const uint8_t *out,
		    size_t length, uint64_t offset)
{
	const size_t align = 4096;
	uint8_t *bounce;
	int ret = 0;

	if (posix_memalign((void **)&bounce, align, CHUNK))
		return -ENOMEM;
	while (length && !ret) {
		uint64_t start = offset & ~(uint64_t)(align - 1);
		size_t skip = offset - start;
		size_t part = CHUNK - skip < length ? CHUNK - skip : length;
		size_t whole = (skip + part + align - 1) & ~(align - 1);
		ssize_t done;

		/* A write of parts of blocks must keep their other parts. */
		if (in || skip || whole != part) {
			done = pread(img->direct, bounce, whole, start);
			if (done < 0)
				ret = -errno;
			else if ((size_t)done < skip + part)
				ret = -ENODATA;
		}
		if (!ret && in) {
			memcpy(in, bounce + skip, part);
			in += part;
		} else if (!ret) {
			if (out)
				memcpy(bounce + skip, out, part);
			done = pwrite(img->direct, bounce, whole, start);
			if (done != (ssize_t)whole)
				ret = done < 0 ? -errno : -EIO;
			out += part;
		}
		offset += part;
		length -= part;
	}
	free(bounce);
	return ret;
}

int image_read(const struct image *img, void *buf, size_t length,
	       uint64_t offset)
{
	return image_io(img, buf, NULL, length, offset);
}

int image_write(const struct image *img, const void *buf, size_t length,
		uint64_t offset)
{
	return image_io(img, NULL, buf, length, offset);
}

int image_fill(const struct image *img, uint8_t byte)
{
	uint8_t *chunk = malloc(CHUNK);
	uint64_t at;
	int ret = 0;

	if (!chunk)
		return -ENOMEM;
	memset(chunk, byte, CHUNK);
	for (at = 0; at < img->size && !ret; at += CHUNK)
		ret = image_write(img, chunk,
				  img->size - at < CHUNK ? img->size - at : CHUNK,
				  at);
	free(chunk);
	return ret;
}

static long cached_by_mincore(int fd, uint64_t size)
{
	size_t pages = (size + page_size() - 1) / page_size();
	unsigned char *there;
	long count = 0;
	void *map;
	size_t i;

	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	there = malloc(pages);
	if (!there || mincore(map, size, there)) {
		count = there ? -errno : -ENOMEM;
	} else {
		for (i = 0; i < pages; i++)
			count += there[i] & 1;
	}
	free(there);
	munmap(map, size);
	return count;
}

long cached_pages(int fd)
{
	struct { uint64_t off, len; } range = { 0, 0 };	/* 0: to the end */
	struct {
		uint64_t cache, dirty, writeback, evicted, recently_evicted;
	} stat;
	struct stat st;
	uint64_t size;

	/* cachestat(2), since 6.5 */
	if (!syscall(451, fd, &range, &stat, 0))
		return stat.cache;
	if (errno != ENOSYS)
		return -errno;
	if (fstat(fd, &st))
		return -errno;
	size = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &size))
		return -errno;
	return size ? cached_by_mincore(fd, size) : 0;
}
