// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory of several kinds, and the proof that it is what it is called.
 */
#include <inttypes.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "bench.h"

typedef uint64_t vec __attribute__((vector_size(32)));

static int make_file(const char *kind, uint64_t size)
{
	unsigned int flags = 0;
	int fd;

	if (!strcmp(kind, "hugetlbfs"))
		flags = MFD_HUGETLB | MFD_HUGE_2MB;
	else if (strcmp(kind, "memfd"))
		return -1;
	fd = memfd_create("mram-bench", flags);
	if (fd < 0 || ftruncate(fd, size))
		fail("no memfd of %" PRIu64 " bytes: %m", size);
	return fd;
}

struct memory memory_make(const char *kind, uint64_t size)
{
	struct memory m = { .size = size };
	int flags = MAP_NORESERVE;
	unsigned char *p;

	m.fd = make_file(kind, size);
	m.huge = !strcmp(kind, "thp");
	m.shuffled = !strcmp(kind, "shuffled");
	if (!strcmp(kind, "hugetlb"))
		flags |= MAP_HUGETLB;
	else if (m.fd < 0 && !m.huge && !m.shuffled && strcmp(kind, "anon"))
		fail("no kind of memory is called %s", kind);

	/* Room to align in; no memory is behind it. */
	p = mmap(NULL, size + HUGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		fail("no address space for %" PRIu64 " bytes: %m", size);
	p += -(uintptr_t)p % HUGE;
	flags |= MAP_FIXED | (m.fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS :
					 MAP_SHARED);
	m.p = mmap(p, size, PROT_READ | PROT_WRITE, flags, m.fd, 0);
	if (m.p == MAP_FAILED)
		fail("no %s memory of %" PRIu64 " bytes: %m", kind, size);
	if (m.huge && madvise(m.p, size, MADV_HUGEPAGE))
		fail("no transparent huge pages: %m");
	if (m.fd < 0 && !m.huge && !(flags & MAP_HUGETLB))
		madvise(m.p, size, MADV_NOHUGEPAGE);
	return m;
}

static void fill(unsigned char *page, uint64_t number, bool zero)
{
	uint64_t word = zero ? 0 : number * 0x9e3779b97f4a7c15ull | 1;
	vec v = { word, word, word, word };
	size_t i;

	for (i = 0; i < PAGE / sizeof(v); i++)
		((vec *)page)[i] = v;
}

void memory_touch(const struct memory *m, uint64_t start, uint64_t end,
		  bool zero)
{
	uint64_t nr = (end - start) / PAGE, i, n;
	/* Odd, so a power of two of pages is met completely. */
	uint64_t step = m->shuffled ? 0x9e3779b1 : 1;

	if (m->shuffled && nr & (nr - 1))
		fail("shuffled memory wants a size that is a power of two");
	for (i = 0; i < nr; i++) {
		n = start / PAGE + i * step % nr;
		fill(m->p + n * PAGE, n, zero);
	}
}

/*
 * The fewest instructions that can tell zero memory, without AVX-512: vectors
 * of 32 bytes, sixteen for each test.
 */
#if defined(__x86_64__)
__attribute__((target("avx2")))
static bool scan(const vec *v, const vec *end)
{
	for (; v < end; v += 16) {
		vec all = v[0];
		int i;

#pragma GCC unroll 16
		for (i = 1; i < 16; i++) {
			all |= v[i];
			/* In this order: a tree takes more registers. */
			__asm__("" : "+x" (all));
		}
		if (!_mm256_testz_si256((__m256i)all, (__m256i)all))
			return false;
	}
	return true;
}
#else
static bool scan(const vec *v, const vec *end)
{
	for (; v < end; v++)
		if ((*v)[0] | (*v)[1] | (*v)[2] | (*v)[3])
			return false;
	return true;
}
#endif

uint64_t memory_scan(const struct memory *m)
{
	uint64_t start = clock_now();

	if (!scan((vec *)m->p, (vec *)(m->p + m->size)))
		fail("the memory is not zero");
	return clock_now() - start;
}

/* Sum up a field of smaps over the memory, in bytes. */
static uint64_t smaps(const struct memory *m, const char *field)
{
	uint64_t start = (uintptr_t)m->p, end = start + m->size;
	uint64_t from, to, kib, sum = 0;
	size_t length = strlen(field);
	bool ours = false;
	char line[512];
	FILE *f;

	f = fopen("/proc/self/smaps", "r");
	if (!f)
		fail("/proc/self/smaps: %m");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
			ours = from >= start && to <= end;
		else if (ours && !strncmp(line, field, length) &&
			 sscanf(line + length, ": %" SCNu64, &kib) == 1)
			sum += kib << 10;
	}
	fclose(f);
	return sum;
}

void memory_check(const struct memory *m, uint64_t touched)
{
	uint64_t huge = smaps(m, "AnonHugePages") +
			smaps(m, "ShmemPmdMapped");

	if (huge != (m->huge ? touched : 0))
		fail("%" PRIu64 " bytes are in transparent huge pages, expected %" PRIu64,
		     huge, m->huge ? touched : 0);
	if (memory_present(m) != touched)
		fail("%" PRIu64 " bytes are there, %" PRIu64 " were touched",
		     memory_present(m), touched);
}

/* A line of a file in /proc, in bytes. */
static int64_t proc_line(const char *path, const char *field)
{
	size_t length = strlen(field);
	int64_t kib = -1;
	char line[256];
	FILE *f;

	f = fopen(path, "r");
	while (f && kib < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, field, length) && line[length] == ':')
			sscanf(line + length + 1, "%" SCNd64, &kib);
	if (f)
		fclose(f);
	if (kib < 0)
		fail("%s says nothing about %s", path, field);
	return kib << 10;
}

struct footprint footprint_now(const struct memory *m)
{
	struct footprint f = {
		.kernel = proc_line("/proc/meminfo", "VmallocUsed") +
			  proc_line("/proc/meminfo", "Slab"),
		.user = proc_line("/proc/self/status", "RssAnon"),
	};

	if (m->fd < 0)
		f.user -= smaps(m, "Rss");
	return f;
}

uint64_t memory_present(const struct memory *m)
{
	return smaps(m, "Rss") + smaps(m, "Private_Hugetlb") +
	       smaps(m, "Shared_Hugetlb");
}
