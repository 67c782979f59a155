// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which pages of a region were never touched?
 *
 * The page tables (/proc/self/pagemap) say which pages this process has, in
 * memory or swapped out. What they do not have is zero in private memory
 * without a file; elsewhere it may still be in the file, and the file is asked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "hole.h"
#include "presence.h"
#include "zero.h"

#define PAGEMAP_PRESENT	(1ull << 63)
#define PAGEMAP_SWAPPED	(1ull << 62)

static uint64_t system_page(void)
{
	return sysconf(_SC_PAGESIZE);
}

int presence_open(struct presence *p)
{
	size_t entries = PRESENCE_BYTES / system_page();

	*p = (struct presence){ .pagemap = -1 };
	p->entries = malloc(entries * sizeof(*p->entries));
	p->core = malloc(entries);
	if (!p->entries || !p->core) {
		presence_close(p);
		return -ENOMEM;
	}
	p->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	return 0;
}

void presence_close(struct presence *p)
{
	if (p->pagemap >= 0)
		close(p->pagemap);
	free(p->entries);
	free(p->core);
	vma_free(&p->vmas);
	*p = (struct presence){ .pagemap = -1 };
}

/* Bits of a span: its words, and the pages that they stand for. */
struct span {
	const struct engine_region *r;
	uint64_t first;
	uint64_t nr_words;
};

static uint64_t address(const struct engine_region *r, uint64_t page)
{
	return (uintptr_t)r->addr + (page << r->page_shift);
}

/* Find the next run of set bits at or after *@from, as pages of the region. */
static bool next_run(const struct span *s, const uint64_t *bits,
		     uint64_t *from, uint64_t *end)
{
	uint64_t last = s->first + s->nr_words * BITS_PER_WORD;
	uint64_t page = *from, word;

	while (page < last) {
		word = bits[(page - s->first) / BITS_PER_WORD] >>
		       page % BITS_PER_WORD;
		if (word) {
			page += __builtin_ctzll(word);
			break;
		}
		page = (page / BITS_PER_WORD + 1) * BITS_PER_WORD;
	}
	if (page >= last)
		return false;
	*from = page;
	while (page < last) {
		word = ~bits[(page - s->first) / BITS_PER_WORD] >>
		       page % BITS_PER_WORD;
		if (word) {
			page += __builtin_ctzll(word);
			break;
		}
		page = (page / BITS_PER_WORD + 1) * BITS_PER_WORD;
	}
	*end = page;
	return true;
}

bool presence_unmapped(struct presence *p, const struct engine_region *r,
		       uint64_t first_word, uint64_t nr_words,
		       const uint64_t *want, uint64_t *none)
{
	struct span s = { r, first_word * BITS_PER_WORD, nr_words };
	uint64_t page = s.first, end, first, last = 0, w, i, per_page;
	bool any = false;
	size_t size;

	memset(none, 0, nr_words * sizeof(*none));
	if (p->pagemap < 0 || !next_run(&s, want, &page, &end))
		return false;
	first = page;
	for (w = nr_words; w-- && !last;)
		if (want[w])
			last = s.first + (w + 1) * BITS_PER_WORD -
			       __builtin_clzll(want[w]);

	per_page = (1ull << r->page_shift) / system_page();
	size = (last - first) * per_page * sizeof(*p->entries);
	if (pread(p->pagemap, p->entries, size,
		  address(r, first) / system_page() * sizeof(*p->entries)) !=
	    (ssize_t)size)
		return false;

	for (page = first; page < last; page++) {
		const uint64_t *e = &p->entries[(page - first) * per_page];
		uint64_t seen = 0;

		w = (page - s.first) / BITS_PER_WORD;
		if (!(want[w] & 1ull << page % BITS_PER_WORD))
			continue;
		for (i = 0; i < per_page; i++)
			seen |= e[i];
		if (seen & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED))
			continue;
		none[w] |= 1ull << page % BITS_PER_WORD;
		any = true;
	}
	return any;
}

/* A part of a run that lies in one mapping, or in none (kind is negative). */
struct piece {
	uint64_t start;
	uint64_t end;
	int kind;
	bool writable;
};

/* Cut [@start, @end) at the borders of mappings: the piece that starts it. */
static struct piece piece_at(const struct vma_list *l, uint64_t start,
			     uint64_t end)
{
	size_t low = 0, high = l->nr;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (l->vma[mid].end <= start)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == l->nr || l->vma[low].start >= end)
		return (struct piece){ start, end, -1, false };
	if (l->vma[low].start > start)
		return (struct piece){ start, l->vma[low].start, -1, false };
	return (struct piece){
		.start = start,
		.end = l->vma[low].end < end ? l->vma[low].end : end,
		.kind = l->vma[low].kind,
		.writable = l->vma[low].writable,
	};
}

static uint64_t page_of(const struct engine_region *r, uint64_t addr)
{
	return (addr - (uintptr_t)r->addr) >> r->page_shift;
}

int presence_check(struct presence *p, const struct engine_region *r,
		   const uint64_t *want, bool write, uint64_t *error_page)
{
	struct span s = { .r = r, .nr_words = bitmap_words(r->pages) };
	uint64_t start = address(r, 0), last = address(r, r->pages);
	struct piece piece;
	uint64_t page, end;

	p->vmas.look_for_uffd = vma_have_uffd();
	if (vma_read(&p->vmas, start, last))
		return 0;
	for (; start < last; start = piece.end) {
		piece = piece_at(&p->vmas, start, last);
		if (piece.kind >= 0 && piece.kind != VMA_INACCESSIBLE &&
		    (piece.writable || !write))
			continue;
		page = page_of(r, piece.start);
		if (next_run(&s, want, &page, &end) &&
		    page <= page_of(r, piece.end - 1)) {
			*error_page = page;
			return -EFAULT;
		}
	}
	return 0;
}

static void forget(const struct span *s, uint64_t *bits, uint64_t start,
		   uint64_t end)
{
	uint64_t first = page_of(s->r, start) - s->first;
	uint64_t last = page_of(s->r, end - 1) + 1 - s->first;
	uint64_t w;

	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < last; w++)
		bits[w] &= ~bitmap_mask(w, first, last);
}

/* Take pages out of @absent that the file behind the mapping has data for. */
static int ask_file(const struct span *s, const struct piece *piece,
		    uint64_t *absent, uint64_t *error_addr)
{
	const struct engine_region *r = s->r;
	uint64_t to_addr = (uintptr_t)r->addr - r->fd_offset;
	uint64_t offset = piece->start - to_addr;
	uint64_t end = piece->end - to_addr;
	uint64_t data, data_end;
	struct stat st;

	if (!(r->flags & MRAM_REGION_HAS_FD) || fstat(r->fd, &st)) {
		forget(s, absent, piece->start, piece->end);
		return 0;
	}
	/* A device has no size here. */
	if (S_ISREG(st.st_mode) && end > (uint64_t)st.st_size) {
		*error_addr = (uint64_t)st.st_size > offset ?
			      to_addr + st.st_size : piece->start;
		return -EFAULT;
	}
	for (; offset < end; offset = data_end) {
		hole_next(r->fd, offset, end, &data, &data_end);
		if (data < end)
			forget(s, absent, to_addr + data, to_addr + data_end);
	}
	return 0;
}

int presence_absent(struct presence *p, const struct engine_region *r,
		    uint64_t first_word, uint64_t nr_words, uint64_t *absent,
		    uint64_t *error_page)
{
	struct span s = { r, first_word * BITS_PER_WORD, nr_words };
	uint64_t page = s.first, end, start, last, bad;
	struct piece piece;
	int ret;

	/* After the claim: what is mapped here may have changed until then. */
	ret = vma_read(&p->vmas, address(r, s.first),
		       address(r, s.first + nr_words * BITS_PER_WORD));
	if (ret)
		return ret;

	for (; next_run(&s, absent, &page, &end); page = end) {
		start = address(r, page);
		last = address(r, end);
		for (; start < last; start = piece.end) {
			piece = piece_at(&p->vmas, start, last);
			bad = start;
			ret = 0;
			if (piece.kind < 0 || piece.kind == VMA_INACCESSIBLE)
				ret = -EFAULT;
			else if (piece.kind == VMA_SUPPLIED)
				forget(&s, absent, start, piece.end);
			else if (piece.kind != VMA_PRIVATE)
				ret = ask_file(&s, &piece, absent, &bad);
			if (ret) {
				*error_page = page_of(r, bad);
				return ret;
			}
		}
	}
	return 0;
}

static void zero_range(const struct engine_region *r, uint64_t start,
		       uint64_t end)
{
	size_t size = 1ull << r->page_shift;
	unsigned char *p;

	for (p = r->addr + (start << r->page_shift);
	     p < r->addr + (end << r->page_shift); p += size)
		if (!zero_is(p, size))
			memset(p, 0, size);
}

/*
 * Shared memory that this process does not map. What is in core can be looked
 * at; the rest is a hole or swapped out, and a hole afterwards.
 */
static void zero_shmem(struct presence *p, uint64_t start, uint64_t end)
{
	size_t size = system_page();
	size_t nr = (end - start) / size;
	size_t i, first;

	if (mincore((void *)(uintptr_t)start, end - start, p->core))
		memset(p->core, 1, nr);
	for (i = 0; i < nr; i++) {
		unsigned char *page = (unsigned char *)(uintptr_t)start +
				      i * size;

		for (first = i; i < nr && !(p->core[i] & 1); i++)
			;
		if (i > first &&
		    madvise(page, (i - first) * size, MADV_REMOVE))
			memset(page, 0, (i - first) * size);
		if (i == nr)
			break;
		page += (i - first) * size;
		if (!zero_is(page, size))
			memset(page, 0, size);
	}
}

int presence_zero(struct presence *p, const struct engine_region *r,
		  uint64_t first_word, uint64_t nr_words, const uint64_t *want,
		  uint64_t *error_page)
{
	struct span s = { r, first_word * BITS_PER_WORD, nr_words };
	uint64_t none[PRESENCE_BYTES / 4096 / BITS_PER_WORD];
	uint64_t there[PRESENCE_BYTES / 4096 / BITS_PER_WORD];
	uint64_t page, end, start, last, w;
	struct piece piece;
	bool any;
	int ret;

	any = presence_unmapped(p, r, first_word, nr_words, want, none);
	for (w = 0; w < nr_words; w++)
		there[w] = want[w] & ~none[w];
	for (page = s.first; next_run(&s, there, &page, &end); page = end)
		zero_range(r, page, end);
	if (!any)
		return 0;

	ret = vma_read(&p->vmas, address(r, s.first),
		       address(r, s.first + nr_words * BITS_PER_WORD));
	if (ret)
		return ret;
	for (page = s.first; next_run(&s, none, &page, &end); page = end) {
		start = address(r, page);
		last = address(r, end);
		for (; start < last; start = piece.end) {
			piece = piece_at(&p->vmas, start, last);
			if (piece.kind == VMA_PRIVATE)
				continue;
			if (piece.kind < 0 || !piece.writable) {
				*error_page = page_of(r, start);
				return -EFAULT;
			}
			if (piece.kind == VMA_SHMEM)
				zero_shmem(p, start, piece.end);
			else
				zero_range(r, page_of(r, start),
					   page_of(r, piece.end - 1) + 1);
		}
	}
	return 0;
}
