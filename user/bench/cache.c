// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The page cache of the image: emptying it, filling it, counting what is in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include "bench.h"

#define PIECE	(1ul << 20)

static int open_target(const struct options *o, uint64_t *size)
{
	int fd = open(o->target, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		fail("%s: %m", o->target);
	*size = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size))
		fail("%s: %m", o->target);
	return fd;
}

/* A device may be larger than the image. */
static uint64_t length_of(const struct options *o, uint64_t size)
{
	uint64_t most = o->size + 2 * PIECE;

	return size < most ? size : most;
}

void cache_set(const struct options *o)
{
	char *piece = malloc(PIECE);
	uint64_t size, at;
	ssize_t got;
	int fd;

	fd = open_target(o, &size);
	if (!piece || fsync(fd) ||
	    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		fail("%s: cannot empty its page cache", o->target);
	size = o->cache && *o->cache == 'w' ? length_of(o, size) : 0;
	for (at = 0; at < size; at += got) {
		/* Not pread(): see load.c. */
		if (lseek(fd, at, SEEK_SET) < 0)
			fail("%s: %m", o->target);
		got = read(fd, piece, PIECE);
		if (got <= 0)
			fail("%s: cannot be read: %m", o->target);
	}
	free(piece);
	close(fd);
}

uint64_t cache_count(const struct options *o)
{
	uint64_t size, count = 0, i;
	unsigned char *here;
	void *p;
	int fd;

	fd = open_target(o, &size);
	size = length_of(o, size);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	here = malloc(size / PAGE + 1);
	if (p == MAP_FAILED || !here || mincore(p, size, here))
		fail("%s: cannot look at its page cache: %m", o->target);
	for (i = 0; i < (size + PAGE - 1) / PAGE; i++)
		count += here[i] & 1;
	munmap(p, size);
	free(here);
	close(fd);
	return count;
}
