// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Give a tracked process page table entries for what it has not touched, so
 * that they can be followed: a byte of each page is read in its name.
 */
#include <errno.h>
#include <sys/uio.h>

#include "error.h"
#include "hole.h"
#include "session.h"
#include "softdirty.h"

#define ENTRY_THERE	(3ull << 62)	/* present or swapped */
#define BATCH		512

struct batch {
	pid_t pid;
	struct iovec remote[BATCH];
	size_t nr;
	bool refused;
};

/* One that cannot be read stays without an entry, and so dirty. */
static void touch(struct batch *b)
{
	char bytes[BATCH];
	struct iovec local;
	size_t at = 0;
	ssize_t n;

	while (at < b->nr && !b->refused) {
		local = (struct iovec){ bytes, b->nr - at };
		n = process_vm_readv(b->pid, &local, 1, b->remote + at,
				     b->nr - at, 0);
		if (n < 0 && errno != EFAULT)
			b->refused = true;
		at += n > 0 ? (size_t)n : 1;
	}
	b->nr = 0;
}

static int settle_map(struct mram_softdirty *t, const struct softdirty_file *f,
		      const struct procmap *m, uint64_t end, struct batch *b,
		      struct mram_error *err)
{
	uint64_t pages = m->length >> t->page_shift, at, nr, i, offset;
	struct hole_cursor c = { 0 };
	int ret;

	for (at = 0; at < pages && !b->refused; at += nr) {
		nr = pages - at < SOFTDIRTY_CHUNK ? pages - at : SOFTDIRTY_CHUNK;
		ret = softdirty_read(t, m->start + (at << t->page_shift), nr,
				     err);
		if (ret)
			return ret;
		for (i = 0; i < nr; i++) {
			if (t->entries[i] & ENTRY_THERE)
				continue;
			offset = m->offset + ((at + i) << t->page_shift);
			if (!hole_has_data(&c, f->fd, f->offset + offset, end))
				continue;
			b->remote[b->nr++] = (struct iovec){
				(void *)(uintptr_t)(m->start +
						    ((at + i) << t->page_shift)),
				1,
			};
			if (b->nr == BATCH)
				touch(b);
		}
		touch(b);
	}
	return 0;
}

int mram_softdirty_settle(struct mram_softdirty *t, struct mram_error *err)
{
	struct batch b = { .pid = t->pid };
	size_t i, k;
	int ret = 0;

	for (i = 0; !ret && i < t->nr_files; i++) {
		const struct softdirty_file *f = &t->files[i];
		const struct engine_region *r = &t->session->regions[f->region];
		uint64_t end = f->offset + (r->pages << r->page_shift);

		for (k = 0; !ret && k < f->nr_maps; k++)
			ret = settle_map(t, f, &f->maps[k], end, &b, err);
	}
	return ret;
}
