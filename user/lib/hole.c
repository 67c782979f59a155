// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where does a file have data?
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "hole.h"
#include "zero.h"

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * hugetlbfs does not tell its holes. But reading them through the file, unlike
 * through a mapping, makes no pages: so what reads as zero is taken for a hole.
 */
static void next_huge(int fd, uint64_t huge, uint64_t offset, uint64_t end,
		      uint64_t *data, uint64_t *data_end)
{
	unsigned char buf[64 << 10] __attribute__((aligned(64)));
	ssize_t got;

	while (offset < end) {
		got = pread(fd, buf, min(sizeof(buf), end - offset), offset);
		if (got <= 0 || got % 4096 || !zero_is(buf, got)) {
			*data = offset;
			*data_end = min((offset / huge + 1) * huge, end);
			return;
		}
		offset += got;
	}
	*data = end;
	*data_end = end;
}

void hole_next(int fd, uint64_t offset, uint64_t end, uint64_t *data,
	       uint64_t *data_end)
{
	struct statfs fs;
	off_t found;

	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC) {
		next_huge(fd, fs.f_bsize, offset, end, data, data_end);
		return;
	}
	found = lseek(fd, offset, SEEK_DATA);
	if (found < 0)
		*data = errno == ENXIO ? end : offset;
	else
		*data = min(found, end);
	found = *data < end ? lseek(fd, *data, SEEK_HOLE) : -1;
	*data_end = found > (off_t)*data ? min(found, end) : end;
}

bool hole_has_data(struct hole_cursor *c, int fd, uint64_t offset, uint64_t end)
{
	if (offset >= c->data_end || offset < c->from) {
		c->from = offset;
		hole_next(fd, offset, end, &c->data, &c->data_end);
	}
	return offset >= c->data && offset < c->data_end;
}
