// SPDX-License-Identifier: GPL-2.0
/*
 * Memory of every kind that the scan tracker follows.
 */
#include <err.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tracked.h"

#define PAGES		3000ul
#define HUGES		4ul

/* At a multiple of the huge page size, so that it can be of such pages. */
static unsigned char *map_aligned(size_t length)
{
	size_t huge = HUGE_PAGES * PAGE, front;
	unsigned char *p = mmap(NULL, length + huge, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	front = -(uintptr_t)p & (huge - 1);
	if (front)
		munmap(p, front);
	munmap(p + front + length, huge - front);
	return p + front;
}

static struct memory make_huge(enum tracked_kind kind, size_t length)
{
	struct memory m = { .kind = MEMORY_PRIVATE, .length = length, .fd = -1 };
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB;

	if (kind == TRACKED_HUGE_SHARED) {
		m.kind = MEMORY_MEMFD;
		m.fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
		if (m.fd < 0 || ftruncate(m.fd, length))
			err(1, "memfd of huge pages");
		flags = MAP_SHARED;
	}
	m.p = kind == TRACKED_THP ? map_aligned(length) :
	      mmap(NULL, length, PROT_READ | PROT_WRITE, flags, m.fd, 0);
	if (m.p == MAP_FAILED)
		m.p = NULL;
	else if (kind == TRACKED_THP && madvise(m.p, length, MADV_HUGEPAGE))
		err(1, "MADV_HUGEPAGE");
	return m;
}

int tracked_start(struct tracked *k, enum tracked_kind kind, bool fd)
{
	struct mram_region_opts opts;
	int ret;

	*k = (struct tracked){ .kind = kind, .unit = 1, .pages = PAGES };
	if (kind < TRACKED_THP) {
		k->m = memory_make((enum memory_kind)kind, PAGES * PAGE);
	} else {
		k->pages = HUGES * HUGE_PAGES;
		k->m = make_huge(kind, k->pages * PAGE);
		if (kind != TRACKED_THP)
			k->unit = HUGE_PAGES;
	}
	k->path = image_path();
	if (!k->m.p) {
		strcpy(error.message, "too few huge pages: raise vm.nr_hugepages");
		return -EOPNOTSUPP;
	}
	k->s = engine_open(NULL, k->path);
	opts = memory_opts(&k->m);
	if (!fd)
		opts.flags = 0;
	ret = mram_session_add_region(k->s, "ram", k->m.p, k->m.length, &opts,
				      &error);
	if (ret >= 0)
		ret = mram_scan_tracker_open(&k->t, k->s, NULL, &error);
	if (!ret)
		ret = mram_scan_tracker_add(k->t, 0, &error);
	if (!ret)
		ret = mram_session_begin(k->s, &error);
	return ret;
}

void tracked_stop(struct tracked *k)
{
	mram_scan_tracker_close(k->t);
	mram_session_close(k->s);
	image_remove(k->path);
	if (k->m.p)
		memory_free(&k->m);
	else if (k->m.fd >= 0)
		close(k->m.fd);
}

unsigned char *tracked_page(const struct tracked *k, unsigned long i)
{
	return k->m.p + i * PAGE;
}

int64_t tracked_save(struct tracked *k)
{
	int64_t fetched = mram_scan_tracker_fetch(k->t, &error);
	int ret = 0;

	if (fetched >= 0)
		ret = mram_session_pass(k->s, NULL, NULL, &error);
	return ret ? ret : fetched;
}

void tracked_discard(struct tracked *k, unsigned long first,
		     unsigned long count, bool dontneed)
{
	bool shared = k->kind == TRACKED_SHARED || k->kind == TRACKED_MEMFD ||
		      k->kind == TRACKED_FILE || k->kind == TRACKED_HUGE_SHARED;

	if (madvise(k->m.p + first * PAGE, count * PAGE,
		    shared && !dontneed ? MADV_REMOVE : MADV_DONTNEED))
		err(1, "madvise, memory of kind %d", k->kind);
}

bool tracked_same(struct tracked *k)
{
	struct memory copy = memory_make(MEMORY_PRIVATE, k->m.length);
	struct mram_image *img = NULL;
	bool same;

	same = !mram_session_commit(k->s, &error) &&
	       !mram_image_open(&img, k->path, &error) &&
	       mram_image_restore(img, 0, copy.p, k->m.length, NULL, NULL,
				  &error) >= 0;
	if (!same)
		warnx("%s", error.message);
	same = same && !memcmp(copy.p, k->m.p, k->m.length);
	mram_image_close(img);
	memory_free(&copy);
	return same;
}
