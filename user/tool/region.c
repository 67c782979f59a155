// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files that are the memory: named, checked, opened, mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "region.h"
#include "tool.h"

/* What is mapped now; only handlers have no better way to it. */
static const struct regions *volatile mapped;

const struct region *region_at(const void *addr)
{
	const struct regions *rs = mapped;
	size_t i;

	for (i = 0; rs && i < rs->count; i++) {
		const struct region *r = &rs->list[i];

		if (r->addr && (uintptr_t)addr >= (uintptr_t)r->addr &&
		    (uintptr_t)addr - (uintptr_t)r->addr < r->length)
			return r;
	}
	return NULL;
}

struct region *regions_find(const struct regions *rs, const char *name)
{
	size_t i;

	for (i = 0; i < rs->count; i++)
		if (!strcmp(rs->list[i].name, name))
			return &rs->list[i];
	return NULL;
}

struct region *regions_find_file(const struct regions *rs, dev_t dev, ino_t ino)
{
	size_t i;

	for (i = 0; i < rs->count; i++)
		if (rs->list[i].fd >= 0 && rs->list[i].dev == dev &&
		    rs->list[i].ino == ino)
			return &rs->list[i];
	return NULL;
}

static int add(struct regions *rs, const char *name, size_t length,
	       const char *path)
{
	struct region *list, *r;

	list = realloc(rs->list, (rs->count + 1) * sizeof(*list));
	if (!list)
		return tool_fail("out of memory");
	rs->list = list;
	r = &list[rs->count];
	memset(r, 0, sizeof(*r));
	r->fd = -1;
	r->path = path;
	r->name = strndup(name, length);
	if (!r->name)
		return tool_fail("out of memory");
	rs->count++;
	return 0;
}

int regions_add_pair(struct regions *rs, const char *name, const char *path)
{
	return add(rs, name, strlen(name), path);
}

static bool named_before(const struct regions *rs, const char *name,
			 size_t length)
{
	size_t i;

	for (i = 0; i < rs->count; i++)
		if (!strncmp(rs->list[i].name, name, length) &&
		    !rs->list[i].name[length])
			return true;
	return false;
}

int regions_add(struct regions *rs, const char *command, const char *arg)
{
	const char *equals = strchr(arg, '=');

	if (!equals || equals == arg || !equals[1])
		return tool_usage(command, "--region wants NAME=PATH, not '%s'",
				  arg);
	if (equals - arg > 255)
		return tool_usage(command,
				  "region name '%.*s' is longer than 255 bytes",
				  (int)(equals - arg), arg);

	if (named_before(rs, arg, (size_t)(equals - arg)))
		return tool_usage(command, "region '%.*s' is named twice",
				  (int)(equals - arg), arg);
	return add(rs, arg, (size_t)(equals - arg), equals + 1);
}

/*
 * Opens what has to be a regular file; a look first, since opening alone can
 * hang on a pipe or rewind a tape.
 */
static int open_memory(struct region *r, int flags, struct stat *st)
{
	if (stat(r->path, st)) {
		if (errno == ENOENT)
			return tool_fail("region '%s': %s does not exist; name the file or shared memory that holds the region",
					 r->name, r->path);
		return tool_fail("region '%s': %s: %s", r->name, r->path,
				 strerror(errno));
	}
	if (S_ISREG(st->st_mode)) {
		r->fd = open(r->path, flags | O_CLOEXEC | O_NONBLOCK);
		if (r->fd < 0 || fstat(r->fd, st))
			return tool_fail("region '%s': cannot open %s: %s",
					 r->name, r->path, strerror(errno));
	}
	if (!S_ISREG(st->st_mode))
		return tool_fail("region '%s': %s is not a regular file; memory is saved from and restored to files, also in /dev/shm or hugetlbfs",
				 r->name, r->path);
	return 0;
}

/* Remembers who the file is; two regions in one file would be a mistake. */
static int claim_file(struct regions *rs, struct region *r,
		      const struct stat *st)
{
	struct region *other;
	int fd = r->fd;

	r->fd = -1;
	other = regions_find_file(rs, st->st_dev, st->st_ino);
	r->fd = fd;
	if (other)
		return tool_fail("regions '%s' and '%s' are the same file: %s; give each region its own",
				 other->name, r->name, r->path);
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	return 0;
}

static int map(struct region *r, int prot, int flags)
{
	void *addr = MAP_FAILED;

	if (!r->length)
		return 0;
	if (r->length <= SIZE_MAX)
		addr = mmap(NULL, r->length, prot, MAP_SHARED | flags, r->fd, 0);
	else
		errno = EFBIG;
	if (addr == MAP_FAILED)
		return tool_fail("region '%s': cannot map %llu bytes of %s: %s",
				 r->name, (unsigned long long)r->length,
				 r->path, strerror(errno));
	r->addr = addr;
	return 0;
}

static int check_source_size(const struct region *r)
{
	uint64_t rest = r->length % REGION_PAGE_SIZE;

	if (!r->length)
		return tool_fail("region '%s': %s is empty; name the file that the virtual machine maps as its memory",
				 r->name, r->path);
	if (rest)
		return tool_fail("region '%s': %s has %llu bytes, which is not a multiple of the page size %d; 'truncate -s %llu %s' fills the last page up",
				 r->name, r->path,
				 (unsigned long long)r->length,
				 REGION_PAGE_SIZE,
				 (unsigned long long)(r->length - rest +
						      REGION_PAGE_SIZE),
				 r->path);
	return 0;
}

int regions_open_sources(struct regions *rs)
{
	struct stat st;
	size_t i;

	for (i = 0; i < rs->count; i++) {
		struct region *r = &rs->list[i];

		if (open_memory(r, O_RDONLY, &st))
			return TOOL_FAILED;
		r->length = (uint64_t)st.st_size;
		if (check_source_size(r) || claim_file(rs, r, &st))
			return TOOL_FAILED;
	}
	mapped = rs;
	/* Reading takes no huge page that is not there already: reserve none. */
	for (i = 0; i < rs->count; i++)
		if (map(&rs->list[i], PROT_READ, MAP_NORESERVE))
			return TOOL_FAILED;
	return 0;
}

static int open_existing(struct regions *rs, struct region *r,
			 dev_t image_dev, ino_t image_ino)
{
	struct stat st;

	if (open_memory(r, O_RDWR, &st))
		return TOOL_FAILED;
	if (st.st_dev == image_dev && st.st_ino == image_ino)
		return tool_fail("region '%s': %s is the image itself",
				 r->name, r->path);
	if ((uint64_t)st.st_size != r->length)
		return tool_fail("region '%s': %s has %llu bytes, the block has %llu; remove it, or 'truncate -s %llu %s'",
				 r->name, r->path,
				 (unsigned long long)st.st_size,
				 (unsigned long long)r->length,
				 (unsigned long long)r->length, r->path);
	return claim_file(rs, r, &st);
}

static int make_file(struct regions *rs, struct region *r)
{
	struct stat st;

	/* Memory holds secrets: nobody else reads it by default. */
	r->fd = open(r->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return tool_fail("region '%s': cannot make %s: %s", r->name,
				 r->path, strerror(errno));
	if (cleanup_add_file(r->path, r->fd))
		return TOOL_FAILED;
	if (fstat(r->fd, &st) || ftruncate(r->fd, (off_t)r->length))
		return tool_fail("region '%s': cannot give %s its %llu bytes: %s",
				 r->name, r->path,
				 (unsigned long long)r->length,
				 strerror(errno));
	return claim_file(rs, r, &st);
}

int regions_open_targets(struct regions *rs, dev_t image_dev, ino_t image_ino)
{
	struct stat st;
	size_t i, k;

	for (i = 0; i < rs->count; i++) {
		struct region *r = &rs->list[i];

		if (stat(r->path, &st) && errno == ENOENT) {
			for (k = 0; k < i; k++)
				if (!strcmp(rs->list[k].path, r->path))
					return tool_fail("regions '%s' and '%s' are the same file: %s; give each region its own",
							 rs->list[k].name,
							 r->name, r->path);
			continue;
		}
		if (open_existing(rs, r, image_dev, image_ino))
			return TOOL_FAILED;
	}
	for (i = 0; i < rs->count; i++)
		if (rs->list[i].fd < 0 && make_file(rs, &rs->list[i]))
			return TOOL_FAILED;
	mapped = rs;
	for (i = 0; i < rs->count; i++)
		if (map(&rs->list[i], PROT_READ | PROT_WRITE, 0))
			return TOOL_FAILED;
	return 0;
}

void regions_close(struct regions *rs)
{
	size_t i;

	mapped = NULL;
	for (i = 0; i < rs->count; i++) {
		struct region *r = &rs->list[i];

		if (r->addr)
			munmap(r->addr, r->length);
		if (r->fd >= 0)
			close(r->fd);
		free(r->name);
	}
	free(rs->list);
	rs->list = NULL;
	rs->count = 0;
}
