// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The page records of QEMU's old-style stream: of memory that is in no shared
 * file, such as ROMs and video memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bitmap.h"
#include "error.h"
#include "format.h"
#include "qemu_records.h"
#include "zero.h"

#define FLAG_ZERO		0x02u
#define FLAG_PAGE		0x08u
#define FLAG_CONTINUE		0x20u
#define FLAG_MULTIFD_FLUSH	0x200u

/* What is held in memory meanwhile; guests' own RAM has no business here. */
#define HELD_MAX	(1ull << 30)

static int bad(const struct qemu_reader *r, struct mram_error *err,
	       const char *what)
{
	return mram_err(err, -EPROTO,
			"QEMU's device state, byte %zu: %s is not as expected",
			r->at, r->cut ? "the end" : what);
}

static struct qemu_block *find(struct qemu_stream *s, const char *name)
{
	size_t i;

	for (i = 0; i < s->nr; i++)
		if (!strcmp(s->blocks[i].name, name))
			return &s->blocks[i];
	return NULL;
}

static int hold(struct qemu_stream *s, struct qemu_block *b,
		struct mram_error *err)
{
	size_t words = bitmap_words(b->length / MRAM_PAGE_SIZE_MIN), i;
	uint64_t held = b->length;

	if (b->data)
		return 0;
	for (i = 0; i < s->nr; i++)
		if (s->blocks[i].data)
			held += s->blocks[i].length;
	if (held > HELD_MAX)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s' of %llu bytes is private memory of QEMU: only small blocks may be; use memory-backend-file,share=on",
				b->name, (unsigned long long)b->length);
	/* Fresh memory is zero, and takes no room where nothing is written. */
	b->data = mmap(NULL, b->length, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->data == MAP_FAILED)
		b->data = NULL;
	b->there = calloc(words, sizeof(*b->there));
	b->seen = calloc(words, sizeof(*b->seen));
	if (!b->data || !b->there || !b->seen)
		return mram_err(err, -ENOMEM, "block '%s': no memory for it",
				b->name);
	return 0;
}

static void take_page(struct qemu_block *b, uint64_t offset,
		      const uint8_t *data, uint8_t fill)
{
	uint64_t page = offset / MRAM_PAGE_SIZE_MIN, word = page / BITS_PER_WORD;
	uint64_t bit = 1ull << page % BITS_PER_WORD;
	uint8_t *to = b->data + offset;

	b->seen[word] |= bit;
	/* As it was made. */
	if (!data && !fill && !(b->there[word] & bit))
		return;
	if (data)
		memcpy(to, data, MRAM_PAGE_SIZE_MIN);
	else
		memset(to, fill, MRAM_PAGE_SIZE_MIN);
	if (zero_is(to, MRAM_PAGE_SIZE_MIN))
		b->there[word] &= ~bit;
	else
		b->there[word] |= bit;
}

static int parse_page(struct qemu_stream *s, struct qemu_reader *r,
		      uint64_t word, struct mram_error *err)
{
	uint64_t offset = word & ~(uint64_t)(MRAM_PAGE_SIZE_MIN - 1);
	uint64_t flags = word & (MRAM_PAGE_SIZE_MIN - 1);
	char name[MRAM_NAME_MAX + 1];
	const uint8_t *data = NULL;
	struct qemu_block *b;
	uint8_t fill = 0;
	int ret;

	if (!(flags & FLAG_CONTINUE)) {
		qemu_read_name(r, name);
		r->last = find(s, name);
	}
	b = r->last;
	flags &= ~(uint64_t)FLAG_CONTINUE;
	if (!b || offset >= b->length)
		return bad(r, err, "the place of a page");
	if (flags == FLAG_PAGE)
		data = qemu_read(r, MRAM_PAGE_SIZE_MIN);
	else if (flags == FLAG_ZERO)
		fill = (uint8_t)qemu_read_be(r, 1);
	else
		return bad(r, err, "the kind of a page");
	if (r->cut)
		return bad(r, err, "a page");
	ret = hold(s, b, err);
	if (!ret)
		take_page(b, offset, data, fill);
	return ret;
}

int qemu_parse_records(struct qemu_stream *s, struct qemu_reader *r,
		       struct mram_error *err)
{
	uint64_t word;
	int ret = 0;

	while (!ret) {
		word = qemu_read_be(r, 8);
		if (r->cut)
			return bad(r, err, "a page");
		if (word == MRAM_RAM_FLAG_EOS)
			return 0;
		if (word != FLAG_MULTIFD_FLUSH)
			ret = parse_page(s, r, word, err);
	}
	return ret;
}

int qemu_check_records(struct qemu_stream *s, struct mram_error *err)
{
	uint64_t pages, seen;
	size_t i;

	for (i = 0; i < s->nr; i++) {
		struct qemu_block *b = &s->blocks[i];

		b->elsewhere = !b->data;
		if (b->elsewhere)
			continue;
		pages = b->length / MRAM_PAGE_SIZE_MIN;
		seen = bitmap_count(b->seen, 0, pages);
		if (seen != pages)
			return mram_err(err, -EPROTO,
					"block '%s': QEMU sent %llu of its %llu pages",
					b->name, (unsigned long long)seen,
					(unsigned long long)pages);
	}
	return 0;
}
