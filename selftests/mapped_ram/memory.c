// SPDX-License-Identifier: GPL-2.0
/* Memory of every kind that a VM may be made of. */
#include "common.h"

static const char * const names[MEM_KINDS] = {
	[MEM_ANON] = "anon",
	[MEM_THP] = "thp",
	[MEM_HUGETLB] = "hugetlb",
	[MEM_MEMFD] = "memfd",
	[MEM_MEMFD_HUGETLB] = "memfd-hugetlb",
	[MEM_FILE_SHARED] = "file-shared",
	[MEM_FILE_PRIVATE] = "file-private",
};

const char *mem_name(enum mem_kind kind)
{
	return names[kind];
}

/* The pool only grows: several tests may hold parts of it. */
static int want_huge_pages(size_t length)
{
	long want = length / HUGE_SIZE;
	char text[32];
	long total, free;

	free = meminfo_kb("HugePages_Free");
	total = meminfo_kb("HugePages_Total");
	if (free < 0 || total < 0)
		return -EOPNOTSUPP;
	/* Reserved but not faulted pages count as free. */
	free -= meminfo_kb("HugePages_Rsvd");
	if (free >= want)
		return 0;
	snprintf(text, sizeof(text), "%ld", total + want - free);
	write_file("/proc/sys/vm/nr_hugepages", text);
	free = meminfo_kb("HugePages_Free") - meminfo_kb("HugePages_Rsvd");
	return free >= want ? 0 : -ENOMEM;
}

static int memfd_of(size_t length, unsigned int flags)
{
	int fd = memfd_create("mapped-ram-test", MFD_CLOEXEC | flags);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, length)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int file_of(size_t length)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/memory-XXXXXX", test_dir());
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	if (ftruncate(fd, length)) {
		close(fd);
		return -errno;
	}
	return fd;
}

static int backing_of(enum mem_kind kind, size_t length)
{
	switch (kind) {
	case MEM_MEMFD:
		return memfd_of(length, 0);
	case MEM_MEMFD_HUGETLB:
		return memfd_of(length, MFD_HUGETLB);
	default:
		return file_of(length);
	}
}

static void *map_aligned(size_t length, int flags, int fd)
{
	uint8_t *space, *start;
	void *addr;

	space = mmap(NULL, length + HUGE_SIZE, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		return MAP_FAILED;
	start = (uint8_t *)(((uintptr_t)space + HUGE_SIZE - 1) &
			    ~(HUGE_SIZE - 1));
	addr = mmap(start, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
		    fd, 0);
	if (addr == MAP_FAILED)
		return addr;
	if (start > space)
		munmap(space, start - space);
	if (space + HUGE_SIZE > start)
		munmap(start + length, space + HUGE_SIZE - start);
	return addr;
}

int mem_map(struct mem *m, enum mem_kind kind, size_t length)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	int ret;

	*m = (struct mem){ .kind = kind, .length = length, .fd = -1 };
	if (kind == MEM_HUGETLB || kind == MEM_MEMFD_HUGETLB) {
		ret = want_huge_pages(length);
		if (ret)
			return ret;
	}
	if (kind == MEM_HUGETLB)
		flags |= MAP_HUGETLB;
	if (kind >= MEM_MEMFD) {
		ret = backing_of(kind, length);
		if (ret < 0)
			return ret;
		m->fd = ret;
		flags = kind == MEM_FILE_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	}
	m->addr = map_aligned(length, flags, m->fd);
	if (m->addr == MAP_FAILED) {
		ret = -errno;
		m->addr = NULL;
		mem_unmap(m);
		return ret;
	}
	/* Small pages must stay small whatever the machine's default is. */
	if (kind == MEM_ANON)
		madvise(m->addr, length, MADV_NOHUGEPAGE);
	if (kind == MEM_THP && madvise(m->addr, length, MADV_HUGEPAGE)) {
		ret = -errno;
		mem_unmap(m);
		return ret;
	}
	return 0;
}

void mem_unmap(struct mem *m)
{
	if (m->addr)
		munmap(m->addr, m->length);
	if (m->fd >= 0)
		close(m->fd);
	m->addr = NULL;
	m->fd = -1;
}

bool all_bytes(const void *mem, size_t length, uint8_t byte)
{
	const uint8_t *p = mem;

	return p[0] == byte && !memcmp(p, p + 1, length - 1);
}

bool all_zero(const void *mem, size_t length)
{
	return all_bytes(mem, length, 0);
}

void *need_guarded(size_t length)
{
	size_t guard = page_size();
	uint8_t *space = mmap(NULL, length + 2 * guard, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (space == MAP_FAILED ||
	    mprotect(space + guard, length, PROT_READ | PROT_WRITE))
		need_failed("guarded memory: %m");
	return space + guard;
}

void guarded_free(void *mem, size_t length)
{
	size_t guard = page_size();

	munmap((uint8_t *)mem - guard, length + 2 * guard);
}
