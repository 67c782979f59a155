// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The memory of a lazy restore before and after: which memory will do, emptying
 * it, registering it with the userfaultfd, letting go of it.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"
#include "vma.h"

/* ---------------------------------------------------------------- looking */

static int err_map(const struct lazy_block *b, int code, uint64_t addr,
		   const char *why, struct mram_error *err)
{
	return mram_err(err, code, "block '%s': memory at 0x%" PRIx64 " %s",
			b->name, addr, why);
}

static int check_vmas(struct lazy_block *b, const struct vma_list *list,
		      struct mram_error *err)
{
	uint64_t at = b->addr;
	size_t i;

	for (i = 0; i < list->nr; i++) {
		const struct vma *v = &list->vma[i];

		if (v->start > at)
			break;
		if (!v->writable || v->kind == VMA_INACCESSIBLE)
			return err_map(b, -EFAULT, at, "is not writable", err);
		if (!v->shared && v->kind == VMA_FILE)
			return err_map(b, -EOPNOTSUPP, at,
				       "is a private copy of a file, expected anonymous or shared memory",
				       err);
		if (i && v->shared != b->shared)
			return err_map(b, -EOPNOTSUPP, at,
				       "is of another kind than what is before",
				       err);
		b->shared = v->shared;
		at = v->end;
	}
	if (at < b->addr + b->length)
		return err_map(b, -EFAULT, at, "is not mapped", err);
	return 0;
}

/* How large its pages are; asked only for memory that has huge ones. */
static unsigned int huge_shift(uint64_t addr)
{
	unsigned long start, end, kib, found = 0;
	bool here = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	if (!f)
		return 0;
	while (!found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = addr >= start && addr < end;
		else if (here && sscanf(line, "KernelPageSize: %lu", &kib) == 1)
			found = kib;
	}
	fclose(f);
	return found ? 10 + (unsigned int)__builtin_ctzl(found) : 0;
}

static int err_register(const struct lazy_block *b, int code,
			struct mram_error *err)
{
	if (code == -EBUSY)
		return err_map(b, code, b->addr,
			       "is being restored already, or belongs to another userfaultfd",
			       err);
	if (code == -EINVAL)
		return err_map(b, -EOPNOTSUPP, b->addr,
			       "is of a kind that userfaultfd cannot serve, expected anonymous or shared memory or hugetlbfs",
			       err);
	return mram_err(err, code,
			"block '%s': its memory cannot be registered with a userfaultfd: %s",
			b->name, strerror(-code));
}

/* What kind of memory it is, and that nobody else has it. Changes nothing. */
static int look(struct mram_restore_lazy *l, struct lazy_block *b,
		struct mram_error *err)
{
	struct vma_list list = { 0 };
	uint64_t ioctls;
	int fd = l->fds[b->fd].fd, ret;

	ret = vma_read(&list, b->addr, b->addr + b->length);
	if (ret)
		ret = mram_err(err, ret, "/proc/self/maps: %s", strerror(-ret));
	else
		ret = check_vmas(b, &list, err);
	vma_free(&list);
	if (ret)
		return ret;
	ret = lazy_uffd_register(fd, b->addr, b->length, &ioctls);
	if (ret)
		return err_register(b, ret, err);
	lazy_uffd_unregister(fd, b->addr, b->length);
	/* Only huge pages have no zero page. */
	if (!(ioctls & UINT64_C(1) << _UFFDIO_ZEROPAGE))
		b->unit_shift = huge_shift(b->addr);
	if (!b->unit_shift)
		return mram_err(err, -EIO,
				"block '%s': /proc/self/smaps does not tell its page size",
				b->name);
	return 0;
}

/* --------------------------------------------------------------- emptying */

static int empty(struct lazy_block *b, struct mram_error *err)
{
	if (!madvise((void *)(uintptr_t)b->addr, b->length,
		     b->shared ? MADV_REMOVE : MADV_DONTNEED))
		return 0;
	return mram_err(err, -errno,
			"block '%s': its memory cannot be emptied: %s%s",
			b->name, strerror(errno), errno == EINVAL ?
			": it may be locked" : "");
}

/* ------------------------------------------------------------ registering */

int lazy_map(struct mram_restore_lazy *l, struct mram_error *err)
{
	uint64_t ioctls;
	size_t i;
	int ret;

	for (i = 0; i < l->nr_blocks; i++) {
		struct lazy_block *b = &l->blocks[i];

		ret = l->fds[b->fd].own ? look(l, b, err) : 0;
		if (!ret)
			ret = lazy_block_prepare(l, b, err);
		if (ret)
			return ret;
	}
	for (i = 0; i < l->nr_blocks; i++) {
		struct lazy_block *b = &l->blocks[i];

		if (l->fds[b->fd].own) {
			ret = empty(b, err);
			if (ret)
				return ret;
			ret = lazy_uffd_register(l->fds[b->fd].fd, b->addr,
						 b->length, &ioctls);
			if (ret)
				return err_register(b, ret, err);
		}
		b->registered = true;
	}
	return 0;
}

/* -------------------------------------------------------------- letting go */

/*
 * A thread that was just discarding memory may still wait for its event to be
 * read, or be about to. As long as there is one, nothing can be placed, and that
 * is looked at before all else: an empty range is enough to ask.
 */
static void read_last_events(const struct lazy_fd *f)
{
	struct uffd_msg msg;

	for (;;) {
		while (read(f->fd, &msg, sizeof(msg)) > 0)
			if (msg.event == UFFD_EVENT_FORK)
				close((int)msg.arg.fork.ufd);
		if (lazy_uffd_zero(f->fd, 0, 0) != -EAGAIN)
			return;
		usleep(100);
	}
}

void lazy_unmap(struct mram_restore_lazy *l, bool only_own)
{
	size_t i, k;

	lazy_behind_let_go(l);
	for (i = 0; i < l->nr_blocks; i++) {
		const struct lazy_block *b = &l->blocks[i];

		/* Kernels before 6.17 would take it away from others. */
		if (!b->registered || (only_own && !l->fds[b->fd].own))
			continue;
		for (k = 0; k < b->nr_segments; k++)
			lazy_uffd_unregister(l->fds[b->fd].fd,
					     b->segment[k].addr,
					     b->segment[k].units <<
					     b->unit_shift);
		read_last_events(&l->fds[b->fd]);
	}
}

static bool missing(const struct lazy_block *b, uint64_t unit)
{
	return bitmap_test(b->present, unit) && !bitmap_test(b->placed, unit);
}

bool lazy_forbid(struct mram_restore_lazy *l)
{
	bool done = true;
	size_t i, k;

	pthread_rwlock_rdlock(&l->place);
	for (i = 0; i < l->nr_blocks; i++) {
		const struct lazy_block *b = &l->blocks[i];

		if (!l->fds[b->fd].own)
			continue;
		for (k = 0; k < b->nr_segments; k++) {
			const struct lazy_segment *s = &b->segment[k];
			uint64_t first = s->first, end = s->first + s->units;

			while (first < end && !missing(b, first))
				first++;
			while (first < end && !missing(b, end - 1))
				end--;
			if (first < end &&
			    mprotect((void *)(uintptr_t)(s->addr +
				     ((first - s->first) << b->unit_shift)),
				     (end - first) << b->unit_shift, PROT_NONE))
				done = false;
		}
	}
	pthread_rwlock_unlock(&l->place);
	return done;
}
