// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of several kinds that plays a guest's.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

const char *const memory_names[MEMORY_KINDS] = {
	[MEMORY_PRIVATE] = "private",
	[MEMORY_SHARED] = "shared",
	[MEMORY_MEMFD] = "memfd",
	[MEMORY_FILE] = "file",
	[MEMORY_COPY] = "copy",
};

/* The fd of a new file of @length bytes, all hole. */
static int make_file(enum memory_kind kind, size_t length)
{
	char *path;
	int fd;

	if (kind == MEMORY_FILE) {
		path = image_path();
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		unlink(path);
		free(path);
	} else {
		fd = memfd_create("guest", MFD_CLOEXEC);
	}
	if (fd < 0 || ftruncate(fd, length))
		err(1, "memory of kind %s", memory_names[kind]);
	return fd;
}

struct memory memory_make(enum memory_kind kind, size_t length)
{
	struct memory m = { .kind = kind, .length = length, .fd = -1 };
	int flags = kind == MEMORY_PRIVATE || kind == MEMORY_COPY ?
		    MAP_PRIVATE : MAP_SHARED;

	if (kind == MEMORY_PRIVATE || kind == MEMORY_SHARED) {
		flags |= MAP_ANONYMOUS;
	} else {
		m.fd_offset = 3 * PAGE;
		m.fd = make_file(kind, length + m.fd_offset);
	}
	if (kind == MEMORY_COPY) {
		size_t at;

		for (at = 0; at < length; at += 5 * PAGE)
			if (pwrite(m.fd, "below", 5, m.fd_offset + at) != 5)
				err(1, "memory of kind copy");
	}
	m.p = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, m.fd,
		   m.fd_offset);
	if (m.p == MAP_FAILED)
		err(1, "memory of kind %s", memory_names[kind]);
	/* One page each, whatever the system likes to do. */
	madvise(m.p, length, MADV_NOHUGEPAGE);
	return m;
}

void memory_free(struct memory *m)
{
	munmap(m->p, m->length);
	if (m->fd >= 0)
		close(m->fd);
}

struct mram_region_opts memory_opts(const struct memory *m)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts);

	if (m->fd >= 0) {
		o.flags = MRAM_REGION_HAS_FD;
		o.fd = m->fd;
		o.fd_offset = m->fd_offset;
	}
	return o;
}

static uint64_t mapped_pages(const struct memory *m)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t count = 0, entry, i;

	if (fd < 0)
		err(1, "/proc/self/pagemap");
	for (i = 0; i < m->length / PAGE; i++) {
		if (pread(fd, &entry, 8, ((uintptr_t)m->p / PAGE + i) * 8) != 8)
			err(1, "/proc/self/pagemap");
		count += entry >> 62 != 0;
	}
	close(fd);
	return count;
}

uint64_t memory_pages(const struct memory *m)
{
	unsigned char *core;
	uint64_t count = 0, i;
	struct stat st;

	switch (m->kind) {
	case MEMORY_MEMFD:
	case MEMORY_FILE:
		if (fstat(m->fd, &st))
			err(1, "fstat");
		return st.st_blocks / (PAGE / 512);
	case MEMORY_SHARED:
		core = malloc(m->length / PAGE);
		if (!core || mincore(m->p, m->length, core))
			err(1, "mincore");
		for (i = 0; i < m->length / PAGE; i++)
			count += core[i] & 1;
		free(core);
		return count;
	default:
		return mapped_pages(m);
	}
}

uint64_t memory_huge_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long long kib;
	bool found = false;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "HugetlbPages: %llu", &kib) == 1;
	if (!found)
		errx(1, "/proc/self/status");
	fclose(f);
	return kib;
}

void memory_discard(struct memory *m, uint64_t first, uint64_t pages)
{
	unsigned char *p = m->p + first * PAGE;

	if (m->kind == MEMORY_COPY)
		memset(p, 0, pages * PAGE);
	else if (madvise(p, pages * PAGE, m->kind == MEMORY_PRIVATE ?
			 MADV_DONTNEED : MADV_REMOVE))
		err(1, "discard memory of kind %s", memory_names[m->kind]);
}

bool page_is_zero(const unsigned char *p, size_t size)
{
	return !p[0] && !memcmp(p, p + 1, size - 1);
}
