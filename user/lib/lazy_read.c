// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading chunks of a block from the image, in one direct read each.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

static void count_read(struct lazy_worker *w, ssize_t got)
{
	struct lazy_counts *n = &w->l->counts;

	lazy_add(&n->ios, 1);
	lazy_add(&n->calls, 1);
	if (w->stream)
		lazy_add(&n->stream_calls, 1);
	if (got > 0)
		lazy_add(&n->bytes, (uint64_t)got);
}

static int read_bytes(struct lazy_worker *w, uint64_t offset, void *to,
		      size_t length)
{
	struct mram_io *io = w->l->io;
	size_t done = 0;
	ssize_t got;

	while (done < length) {
		got = pread(io->fd, (char *)to + done, length - done,
			    (off_t)(offset + done));
		if (got < 0 && errno == EINTR)
			continue;
		count_read(w, got);
		if (got < 0)
			return -errno;
		if (!got)
			return -ENODATA;
		/* Direct I/O has to go on where a block begins. */
		done += (size_t)got - (size_t)got % io->align;
		if ((size_t)got < io->align)
			return -ENODATA;
	}
	return 0;
}

static int err_page(struct lazy_worker *w, const struct lazy_block *b,
		    uint64_t offset, int code)
{
	return mram_err(&w->err, code,
			"%.200s: block '%s': page %" PRIu64 " at offset %" PRIu64 " cannot be read: %s",
			w->l->io->path, b->name,
			(offset - b->pages_offset) >> b->page_shift, offset,
			code == -ENODATA ? "the file ends before it" :
					   strerror(-code));
}

/* A large read failed: small ones find the page. */
static int find_page(struct lazy_worker *w, const struct lazy_chunk *c,
		     int code)
{
	const struct lazy_block *b = c->b;
	unsigned int shift = b->unit_shift < b->page_shift ? b->unit_shift :
							     b->page_shift;
	uint64_t size = UINT64_C(1) << shift, offset, end;
	int ret;

	offset = b->pages_offset + (c->first << b->unit_shift);
	end = b->pages_offset + (c->end << b->unit_shift);
	for (; offset < end; offset += size) {
		uint64_t at = offset - b->pages_offset;

		if (!lazy_own(c, at >> b->unit_shift) ||
		    !bitmap_test(b->bitmap, at >> b->page_shift))
			continue;
		ret = read_bytes(w, offset, w->buffer, size);
		if (ret)
			return err_page(w, b, offset, ret);
	}
	/* It can be read now, but it could not be trusted. */
	return err_page(w, b, b->pages_offset + (c->first << b->unit_shift),
			code);
}

/* What the image holds for pages that it says are zero has no meaning. */
static void clear_absent(struct lazy_worker *w, const struct lazy_chunk *c)
{
	const struct lazy_block *b = c->b;
	unsigned int shift = b->unit_shift - b->page_shift;
	uint64_t start = c->first << shift, end = c->end << shift, page, next;

	for (page = start; page < end; page = next) {
		page = bitmap_next(b->bitmap, page, end, 0);
		next = bitmap_next(b->bitmap, page, end, 1);
		memset(w->buffer + ((page - start) << b->page_shift), 0,
		       (size_t)(next - page) << b->page_shift);
	}
}

int lazy_read(struct lazy_worker *w, const struct lazy_chunk *c)
{
	const struct lazy_block *b = c->b;
	int ret;

	ret = read_bytes(w, b->pages_offset + (c->first << b->unit_shift),
			 w->buffer, (size_t)(c->end - c->first) << b->unit_shift);
	if (ret)
		return find_page(w, c, ret);
	if (b->unit_shift > b->page_shift)
		clear_absent(w, c);
	return 0;
}
