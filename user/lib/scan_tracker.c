// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Dirty bits of memory that this process maps, from write protection that the
 * kernel lifts by itself: an asynchronous userfaultfd wakes nobody, a write to a
 * protected page only lifts the protection. PAGEMAP_SCAN tells which pages have
 * none and protects them again in the same step (scan_fetch.c), so that nothing
 * has to stand still. Guests of KVM write through these page tables: what KVM has
 * of them is emptied by each fetch, and filled again as the guest goes on.
 *
 * Here is what is tracked. Pages that are not there are not protected in
 * advance, as that would cost page tables for all of them: whatever they become
 * later is not protected, and so counts as written.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "opts.h"
#include "scan_tracker.h"
#include "session.h"
#include "vma.h"

/* Headers may be older than the kernel. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY	1
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM	(1 << 12)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	(1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	(1 << 15)
#endif

#define WANTED	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | \
		 UFFD_FEATURE_WP_HUGETLBFS_SHMEM | \
		 UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC)

static const char not_here[] =
	"track memory: this kernel cannot: it needs PAGEMAP_SCAN and asynchronous write protection by userfaultfd (Linux 6.7, CONFIG_PTE_MARKER_UFFD_WP); use KVM's dirty log";

/*
 * Nobody will be woken, so it does not matter who is kept from being kept
 * waiting: with this flag no privilege is needed.
 */
static int open_uffd(struct mram_scan_tracker *t, struct mram_error *err)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WANTED };

	t->uffd = (int)syscall(SYS_userfaultfd,
			       O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (t->uffd < 0 && errno != ENOSYS && errno != EINVAL)
		return mram_err(err, -errno,
				"track memory: cannot make a userfaultfd: %s",
				strerror(errno));
	if (t->uffd < 0 || ioctl(t->uffd, UFFDIO_API, &api))
		return mram_err(err, -EOPNOTSUPP, "%s", not_here);
	return 0;
}

static int open_pagemap(struct mram_scan_tracker *t, struct mram_error *err)
{
	struct scan_arg nothing = { .size = sizeof(nothing) };

	t->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (t->pagemap < 0)
		return mram_err(err, -errno,
				"track memory: /proc/self/pagemap: %s",
				strerror(errno));
	if (ioctl(t->pagemap, SCAN_IOCTL, &nothing))
		return mram_err(err, -EOPNOTSUPP, "%s", not_here);
	return 0;
}

static void unregister(const struct mram_scan_tracker *t,
		       const struct scan_piece *p)
{
	struct uffdio_range range = { .start = p->start,
				      .len = p->end - p->start };

	ioctl(t->uffd, UFFDIO_UNREGISTER, &range);
}

void mram_scan_tracker_close(struct mram_scan_tracker *t)
{
	size_t i;

	if (!t)
		return;
	/*
	 * Not left to the last close: a child process may have it open. In a
	 * child, it is the parent's memory that would not be tracked any more.
	 */
	for (i = 0; i < t->nr_pieces && getpid() == t->pid; i++)
		unregister(t, &t->pieces[i]);
	if (t->uffd >= 0)
		close(t->uffd);
	if (t->pagemap >= 0)
		close(t->pagemap);
	free(t->pieces);
	free(t->ranges);
	free(t);
}

int mram_scan_tracker_open(struct mram_scan_tracker **out,
			   struct mram_session *s,
			   const struct mram_scan_tracker_opts *opts,
			   struct mram_error *err)
{
	struct mram_scan_tracker_opts o;
	struct mram_scan_tracker *t;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "track memory", err);
	if (ret)
		return ret;
	if (o.flags || o.reserved)
		return mram_err(err, -EOPNOTSUPP,
				"track memory: unknown flags %#x", o.flags);
	t = calloc(1, sizeof(*t));
	if (!t)
		return mram_err(err, -ENOMEM, "track memory: out of memory");
	t->session = s;
	t->pid = getpid();
	t->uffd = -1;
	t->pagemap = -1;
	t->ranges = malloc(SCAN_RANGES * sizeof(*t->ranges));
	if (t->ranges)
		ret = open_uffd(t, err);
	else
		ret = mram_err(err, -ENOMEM, "track memory: out of memory");
	if (!ret)
		ret = open_pagemap(t, err);
	if (ret) {
		mram_scan_tracker_close(t);
		return ret;
	}
	*out = t;
	return 0;
}

/*
 * It may fail, when the mapping is changed meanwhile or page tables are short:
 * then the pages stay as they are, and are met in the next fetch again.
 */
void scan_protect(const struct mram_scan_tracker *t, uint64_t start,
		  uint64_t end, bool protect)
{
	struct uffdio_writeprotect w = {
		.range = { .start = start, .len = end - start },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	ioctl(t->uffd, UFFDIO_WRITEPROTECT, &w);
}

static enum scan_kind kind_of(const struct vma *v,
			      const struct engine_region *r)
{
	bool huge = v->page > (uint64_t)sysconf(_SC_PAGESIZE);

	if (v->kind == VMA_PRIVATE)
		return huge ? SCAN_HUGE : SCAN_ANON;
	/* Holes on hugetlbfs are found by reading: too slow for each fetch. */
	return !huge && r->flags & MRAM_REGION_HAS_FD ? SCAN_FILE :
							SCAN_UNKNOWN;
}

/* The part of a region that mapping @v has, as whole pages of the mapping. */
static int check_piece(struct scan_piece *p, const struct mram_scan_tracker *t,
		       const struct engine_region *r, const struct vma *v,
		       struct mram_error *err)
{
	uint64_t low = (uintptr_t)r->addr;
	uint64_t high = low + (r->pages << r->page_shift);
	size_t i;

	if (v->kind == VMA_INACCESSIBLE)
		return mram_err(err, -EACCES,
				"track region '%s': its memory may not be read",
				r->name);
	if (v->kind == VMA_SUPPLIED)
		return mram_err(err, -EBUSY,
				"track region '%s': its missing pages come from a userfaultfd: wait until all are there",
				r->name);
	p->page = v->page ? v->page : (uint64_t)sysconf(_SC_PAGESIZE);
	p->start = v->start > low ? v->start : low & ~(p->page - 1);
	p->end = v->end < high ? v->end : (high + p->page - 1) & ~(p->page - 1);
	p->kind = kind_of(v, r);
	p->copy = v->kind != VMA_PRIVATE && !v->shared;
	/* What one of them fetched, the other would not get to know. */
	for (i = 0; i < t->nr_pieces; i++)
		if (p->start < t->pieces[i].end && t->pieces[i].start < p->end)
			return mram_err(err, -EEXIST,
					"track region '%s': it is tracked already, or shares a page of %" PRIu64 " bytes with another region",
					r->name, p->page);
	return 0;
}

static int register_piece(const struct mram_scan_tracker *t,
			  const struct scan_piece *p,
			  const struct engine_region *r, struct mram_error *err)
{
	struct uffdio_register reg = {
		.range = { .start = p->start, .len = p->end - p->start },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (!ioctl(t->uffd, UFFDIO_REGISTER, &reg))
		return 0;
	return mram_err(err, -errno, "track region '%s': userfaultfd: %s%s",
			r->name, strerror(errno),
			errno == EBUSY ? ": its memory has another one" :
			errno == EPERM ? ": its file was opened for reading only" :
			"");
}

/* One piece after the other; those before @i are registered on return. */
static int add_pieces(struct mram_scan_tracker *t, int region,
		      const struct vma_list *l, size_t *i,
		      struct mram_error *err)
{
	const struct engine_region *r = &t->session->regions[region];
	uint64_t at = (uintptr_t)r->addr, end = at + (r->pages << r->page_shift);
	struct scan_piece *p;
	int ret;

	for (; *i < l->nr && l->vma[*i].start <= at; ++*i) {
		p = &t->pieces[t->nr_pieces + *i];
		*p = (struct scan_piece){ .region = region };
		ret = check_piece(p, t, r, &l->vma[*i], err);
		if (!ret)
			ret = register_piece(t, p, r, err);
		if (ret)
			return ret;
		at = l->vma[*i].end;
	}
	if (at < end)
		return mram_err(err, -EFAULT,
				"track region '%s': nothing is mapped at offset %" PRIu64,
				r->name, at - (uintptr_t)r->addr);
	return 0;
}

int mram_scan_tracker_add(struct mram_scan_tracker *t, int region,
			  struct mram_error *err)
{
	struct vma_list l = { .look_for_uffd = true };
	const struct engine_region *r;
	struct scan_piece *grown;
	size_t i = 0;
	int ret;

	/* A region is known before begin already, its bitmaps are not. */
	if (region < 0 || (size_t)region >= t->session->nr_regions)
		return mram_err(err, -EINVAL,
				"track memory: no region %d, the session has %zu",
				region, t->session->nr_regions);
	r = &t->session->regions[region];
	ret = vma_read(&l, (uintptr_t)r->addr,
		       (uintptr_t)r->addr + (r->pages << r->page_shift));
	if (ret) {
		vma_free(&l);
		return mram_err(err, ret,
				"track region '%s': /proc/self/smaps: %s",
				r->name, strerror(-ret));
	}
	/* One more, as realloc() to nothing would free it. */
	grown = realloc(t->pieces,
			(t->nr_pieces + l.nr + 1) * sizeof(*grown));
	if (grown) {
		t->pieces = grown;
		ret = add_pieces(t, region, &l, &i, err);
	} else {
		ret = mram_err(err, -ENOMEM, "track region '%s': out of memory",
			       r->name);
	}
	if (!ret)
		t->nr_pieces += i;
	else
		while (i--)
			unregister(t, &t->pieces[t->nr_pieces + i]);
	vma_free(&l);
	return ret;
}
