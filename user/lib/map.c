// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Memory that is a block of an image, copy-on-write: nothing is read before it
 * is touched, and machines that come from one image share what they do not
 * write, in the page cache.
 *
 * Pages that the image does not hold are mapped from nowhere: the file may have
 * stale bytes in their place. Each change between the two kinds costs a mapping,
 * of which a process has only so many. So runs that are too short, by a limit
 * that is as low as the number of mappings allows, are served by the mapping
 * around them: pages to be zero are zeroed in it, pages to be read are read
 * into it, and both are then private.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "engine.h"
#include "error.h"
#include "image.h"
#include "opts.h"

#define MAPS		16384
/* What the kernel allows by default. */
#define MAPS_MAX	65530

/**
 * struct map - a block on its way into memory
 * @io: the image's file
 * @b: the block
 * @bitmap: its
 * @addr: where it goes
 * @shortest: runs of fewer pages get no mapping of their own
 * @zero: /dev/zero, to write zeroes without a signal when that fails
 * @st: what was done
 */
struct map {
	struct mram_io *io;
	struct mram_block_info b;
	const uint64_t *bitmap;
	uint8_t *addr;
	uint64_t shortest;
	int zero;
	struct mram_map_stats st;
};

/* The run from @first on: its end, and whether the image holds it. */
static uint64_t next_run(const struct map *m, uint64_t first, bool *held)
{
	*held = bitmap_test(m->bitmap, first);
	return bitmap_next(m->bitmap, first, m->b.pages, !*held);
}

/* The mapping from @first on, with the short runs of the other kind in it. */
static uint64_t next_mapping(const struct map *m, uint64_t first, bool *file)
{
	uint64_t end = next_run(m, first, file), more;
	bool held;

	while (end < m->b.pages) {
		more = next_run(m, end, &held);
		if (held != *file && more - end >= m->shortest)
			break;
		end = more;
	}
	return end;
}

static uint64_t count_mappings(const struct map *m, uint64_t limit)
{
	uint64_t first, count = 0;
	bool file;

	for (first = 0; first < m->b.pages && count <= limit; count++)
		first = next_mapping(m, first, &file);
	return count;
}

static int map_pages(const struct map *m, uint64_t first, uint64_t end,
		     bool file, struct mram_error *err)
{
	uint64_t at = first * m->b.page_size;
	int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE;
	void *p;

	p = mmap(m->addr + at, (end - first) * m->b.page_size,
		 PROT_READ | PROT_WRITE, file ? flags : flags | MAP_ANONYMOUS,
		 file ? m->io->fd : -1,
		 file ? (off_t)(m->b.pages_offset + at) : 0);
	if (p != MAP_FAILED)
		return 0;
	return mram_err(err, -errno,
			"block '%s', offset 0x%" PRIx64 ": cannot map %" PRIu64 " pages of %s: %s",
			m->b.name, m->b.pages_offset + at, end - first,
			m->io->path, strerror(errno));
}

/* A store could meet a page that cannot be read, which would be a signal. */
static int zero_pages(const struct map *m, uint64_t first, uint64_t end,
		      struct mram_error *err)
{
	uint8_t *p = m->addr + first * m->b.page_size;
	uint64_t left = (end - first) * m->b.page_size;
	ssize_t n;

	while (left) {
		n = read(m->zero, p, left < MRAM_IO_BOUNCE ? left :
						     MRAM_IO_BOUNCE);
		if (!n || (n < 0 && errno != EINTR))
			return mram_err(err, -EIO,
					"block '%s', offset 0x%" PRIx64 ": %s cannot be read",
					m->b.name, m->b.pages_offset +
					(uint64_t)(p - m->addr), m->io->path);
		if (n > 0) {
			p += n;
			left -= (uint64_t)n;
		}
	}
	return 0;
}

static int read_pages(const struct map *m, uint64_t first, uint64_t end,
		      struct mram_error *err)
{
	uint64_t at = first * m->b.page_size;

	return mram_io_read(m->io, m->b.pages_offset + at, m->addr + at,
			    (size_t)((end - first) * m->b.page_size), err);
}

/* What stands in the mapping and is not of its kind. */
static int fix_pages(struct map *m, uint64_t first, uint64_t end, bool file,
		     struct mram_error *err)
{
	uint64_t next, part;
	bool held;
	int ret = 0;

	for (; !ret && first < end; first = next) {
		next = next_run(m, first, &held);
		part = next - first;
		if (held)
			m->st.held += part;
		else
			m->st.zero += part;
		if (held == file)
			continue;
		m->st.private += part;
		ret = held ? read_pages(m, first, next, err) :
			     zero_pages(m, first, next, err);
	}
	return ret;
}

static int map_all(struct map *m, struct mram_error *err)
{
	uint64_t first, end;
	bool file;
	int ret;

	for (first = 0; first < m->b.pages; first = end) {
		end = next_mapping(m, first, &file);
		ret = map_pages(m, first, end, file, err);
		if (!ret)
			ret = fix_pages(m, first, end, file, err);
		if (ret)
			return ret;
		m->st.maps++;
	}
	return 0;
}

/*
 * Half of the mappings that the process may still make: others want some, too. At
 * the limit the kernel does not even replace many by one. Allocates
 * nothing: it may be scarce.
 */
static uint64_t maps_left(void)
{
	uint64_t most = MAPS_MAX, used = 0;
	char text[4096];
	ssize_t n, i;
	int fd;

	fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		if (n > 0) {
			text[n] = '\0';
			most = strtoull(text, NULL, 10);
		}
		close(fd);
	}
	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		while ((n = read(fd, text, sizeof(text))) > 0)
			for (i = 0; i < n; i++)
				used += text[i] == '\n';
		close(fd);
	}
	return most > used + 1 ? (most - used) / 2 : 1;
}

static int check(const struct map *m, uint64_t length,
		 const struct mram_map_opts *o, struct mram_error *err)
{
	uint64_t system_page = (uint64_t)sysconf(_SC_PAGESIZE), size;
	const struct mram_block_info *b = &m->b;
	int ret;

	if (o->flags)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s': unknown map flags %#x", b->name,
				o->flags);
	if (length != b->length)
		return mram_err(err, -EINVAL,
				"block '%s' has %" PRIu64 " bytes, the memory for it %" PRIu64,
				b->name, b->length, length);
	if ((uintptr_t)m->addr % system_page ||
	    (uintptr_t)m->addr + length < (uintptr_t)m->addr)
		return mram_err(err, -EINVAL,
				"block '%s': address %p is not a multiple of the page size %" PRIu64 ", or too high",
				b->name, (void *)m->addr, system_page);
	if (b->page_size % system_page || b->pages_offset % system_page)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s': its pages (%" PRIu64 " bytes each, at offset %" PRIu64 ") cannot be mapped: pages have %" PRIu64 " bytes here",
				b->name, b->page_size, b->pages_offset,
				system_page);
	ret = mram_io_size(m->io, &size, err);
	if (!ret && size < b->pages_offset + length)
		ret = mram_err(err, -ENODATA,
			       "block '%s': %s was cut short: it ends at 0x%" PRIx64 ", expected 0x%" PRIx64,
			       b->name, m->io->path, size,
			       b->pages_offset + length);
	return ret;
}

/* Memory that reads as zero, or none, but nothing of the image. */
static void unmap_all(const struct map *m)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;

	if (mmap(m->addr, m->b.length, PROT_READ | PROT_WRITE, flags, -1, 0) ==
	    MAP_FAILED &&
	    mmap(m->addr, m->b.length, PROT_NONE, flags, -1, 0) == MAP_FAILED)
		mprotect(m->addr, m->b.length, PROT_NONE);
}

int mram_image_map(struct mram_image *img, int index, void *addr,
		   uint64_t length, const struct mram_map_opts *opts,
		   struct mram_map_stats *stats, struct mram_error *err)
{
	struct map m = {
		.io = mram_image_io(img),
		.b.size = sizeof(m.b),
		.addr = addr,
		.shortest = 1,
		.st.size = sizeof(m.st),
	};
	uint64_t start = engine_clock(), limit, left;
	struct mram_map_opts o;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "map", err);
	if (!ret)
		ret = mram_image_block(img, index, &m.b, err);
	if (!ret)
		ret = check(&m, length, &o, err);
	if (!ret)
		ret = mram_image_bitmap(img, index, &m.bitmap, err);
	if (!ret && m.b.pages) {
		limit = o.max_maps ? o.max_maps : MAPS;
		left = maps_left();
		if (limit > left)
			limit = left;
		while (count_mappings(&m, limit) > limit)
			m.shortest *= 2;
		m.zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		if (m.zero < 0)
			ret = mram_err(err, -errno, "/dev/zero: %s",
				       strerror(errno));
	}
	if (!ret && m.b.pages) {
		ret = map_all(&m, err);
		if (ret)
			unmap_all(&m);
		close(m.zero);
	}
	m.st.nsec = engine_clock() - start;
	opts_put(stats, &m.st, sizeof(m.st));
	return ret;
}
