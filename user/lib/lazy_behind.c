// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What MREMAP_DONTUNMAP leaves behind: where memory was that has been moved is
 * memory still, which is zero, and which the kernel keeps registered.
 *
 * The event about it is that of any move; an ordinary one is followed by one that
 * the old place was unmapped. So each old place is remembered until then. Only
 * what has been touched, is registered and is of no block is looked for here. Of
 * shared memory it would be the same pages once more, which are not served there.
 */
#include <errno.h>
#include <stdlib.h>

#include "lazy.h"

static bool add(struct mram_restore_lazy *l, struct lazy_behind behind)
{
	struct lazy_behind *grown;

	if (behind.start >= behind.end)
		return true;
	grown = realloc(l->behind, (l->nr_behind + 1) * sizeof(*grown));
	/* Who touches it is told about then, as of all that is of no block. */
	if (!grown)
		return false;
	l->behind = grown;
	l->behind[l->nr_behind++] = behind;
	return true;
}

void lazy_behind_add(struct mram_restore_lazy *l, const struct lazy_fd *f,
		     uint64_t start, uint64_t end)
{
	add(l, (struct lazy_behind){ f->fd, start, end });
}

void lazy_behind_move(struct mram_restore_lazy *l, const struct lazy_fd *f,
		      uint64_t start, uint64_t end, uint64_t to)
{
	size_t i, nr = l->nr_behind;

	for (i = 0; i < nr; i++) {
		struct lazy_behind b = l->behind[i];

		if (b.fd != f->fd)
			continue;
		b.start = b.start > start ? b.start : start;
		b.end = b.end < end ? b.end : end;
		if (b.start < b.end)
			add(l, (struct lazy_behind){ b.fd, b.start - start + to,
						     b.end - start + to });
	}
}

void lazy_behind_drop(struct mram_restore_lazy *l, const struct lazy_fd *f,
		      uint64_t start, uint64_t end)
{
	size_t i, nr = 0, old = l->nr_behind;

	for (i = 0; i < old; i++) {
		struct lazy_behind *b = &l->behind[i];

		if (b->fd != f->fd || b->start >= end || b->end <= start)
			continue;
		add(l, (struct lazy_behind){ b->fd, end, b->end });
		b = &l->behind[i];
		b->end = b->start < start ? start : b->start;
	}
	for (i = 0; i < l->nr_behind; i++)
		if (l->behind[i].start < l->behind[i].end)
			l->behind[nr++] = l->behind[i];
	l->nr_behind = nr;
}

bool lazy_is_behind(const struct mram_restore_lazy *l, const struct lazy_fd *f,
		    uint64_t addr)
{
	size_t i;

	for (i = 0; i < l->nr_behind; i++)
		if (l->behind[i].fd == f->fd && addr >= l->behind[i].start &&
		    addr < l->behind[i].end)
			return true;
	return false;
}

int lazy_behind_fill(const struct mram_restore_lazy *l,
		     const struct lazy_fd *f, uint64_t addr)
{
	const uint64_t page = UINT64_C(1) << l->page_shift;
	int64_t ret;

	if (!lazy_is_behind(l, f, addr))
		return -ENXIO;
	addr &= -page;
	ret = lazy_uffd_zero(f->fd, addr, page);
	/* It is there, or unmapped. */
	if (ret == -EEXIST || ret == -ENOENT) {
		lazy_uffd_wake(f->fd, addr, page);
		return 0;
	}
	return ret < 0 ? (int)ret : 0;
}

void lazy_behind_wake(const struct mram_restore_lazy *l)
{
	size_t i;

	for (i = 0; i < l->nr_behind; i++)
		lazy_uffd_wake(l->behind[i].fd, l->behind[i].start,
			       l->behind[i].end - l->behind[i].start);
}

void lazy_behind_let_go(struct mram_restore_lazy *l)
{
	size_t i;

	for (i = 0; i < l->nr_behind; i++)
		lazy_uffd_unregister(l->behind[i].fd, l->behind[i].start,
				     l->behind[i].end - l->behind[i].start);
	free(l->behind);
	l->behind = NULL;
	l->nr_behind = 0;
}
