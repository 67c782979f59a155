// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The blocks of a lazy restore: adding them, their bitmaps, where their units
 * are in memory.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "image.h"
#include "lazy.h"
#include "opts.h"

/* From malloc() they might have to be cleared, which a start would wait for. */
uint64_t *lazy_bitmap(uint64_t bits)
{
	void *p = mmap(NULL, bitmap_words(bits) * sizeof(uint64_t),
		       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	return p == MAP_FAILED ? NULL : p;
}

void lazy_bitmap_free(uint64_t *bitmap, uint64_t bits)
{
	if (bitmap)
		munmap(bitmap, bitmap_words(bits) * sizeof(uint64_t));
}

void lazy_block_free(struct lazy_block *b)
{
	if (b->present != b->bitmap)
		lazy_bitmap_free(b->present, b->units);
	lazy_bitmap_free(b->claimed, b->units);
	lazy_bitmap_free(b->placed, b->units);
	lazy_bitmap_free(b->wanted, b->units);
	lazy_bitmap_free(b->touched, b->units);
	free(b->segment);
	free(b->name);
}

/* ----------------------------------------------------------------- adding */

static int check(const struct mram_restore_lazy *l,
		 const struct mram_block_info *i, uint64_t addr,
		 uint64_t length, struct mram_error *err)
{
	uint64_t system_page = UINT64_C(1) << l->page_shift;

	if (length != i->length)
		return mram_err(err, -EINVAL,
				"block '%s' has %" PRIu64 " bytes, the memory for it %" PRIu64,
				i->name, i->length, length);
	if (!length)
		return mram_err(err, -EINVAL, "block '%s' is empty", i->name);
	if (!addr || addr % system_page)
		return mram_err(err, -EINVAL,
				"block '%s': address 0x%" PRIx64 " is not a multiple of the page size %" PRIu64,
				i->name, addr, system_page);
	if (addr + length < addr)
		return mram_err(err, -EOVERFLOW,
				"block '%s': address 0x%" PRIx64 " plus length %" PRIu64 " overflows",
				i->name, addr, length);
	if (i->page_size < system_page)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s' has pages of %" PRIu64 " bytes, this kernel has larger ones (%" PRIu64 ")",
				i->name, i->page_size, system_page);
	if ((i->page_size | i->pages_offset | system_page) % l->io->align ||
	    system_page % l->io->mem_align)
		return mram_err(err, -EINVAL,
				"block '%s': its pages (%" PRIu64 " bytes each, at offset %" PRIu64 ") do not fit the alignment of %s (%u): copy the image to where less is asked for, or to the start of a file",
				i->name, i->page_size, i->pages_offset,
				l->io->path, l->io->align);
	return 0;
}

static bool overlap(const struct lazy_block *b, unsigned int fd, uint64_t addr,
		    uint64_t length)
{
	return b->fd == fd && addr < b->addr + b->length &&
	       b->addr < addr + length;
}

static int check_others(const struct mram_restore_lazy *l, int index,
			unsigned int fd, uint64_t addr, uint64_t length,
			const char *name, struct mram_error *err)
{
	size_t i;

	for (i = 0; i < l->nr_blocks; i++) {
		if (l->blocks[i].index == index)
			return mram_err(err, -EEXIST,
					"block '%s' was added already", name);
		if (overlap(&l->blocks[i], fd, addr, length))
			return mram_err(err, -EBUSY,
					"block '%s': its memory is that of block '%s', too",
					name, l->blocks[i].name);
	}
	return 0;
}

static int get_opts(struct mram_restore_lazy_block_opts *o,
		    const struct mram_restore_lazy_block_opts *opts,
		    struct mram_error *err)
{
	int ret = opts_get(o, sizeof(*o), opts, "restore", err);

	if (!ret && (o->flags || o->reserved))
		ret = mram_err(err, -EOPNOTSUPP,
			       "restore: unknown flags %#x", o->flags);
	return ret;
}

/* Adds an entry for a userfaultfd, if it is a new one. */
static int take_fd(struct mram_restore_lazy *l, int fd, unsigned int *index,
		   struct mram_error *err)
{
	struct lazy_fd *grown, f;
	int ret;

	for (*index = 0; *index < l->nr_fds; (*index)++)
		if (fd < 0 ? l->fds[*index].own :
			     !l->fds[*index].own && l->fds[*index].fd == fd)
			return 0;
	grown = realloc(l->fds, (l->nr_fds + 1) * sizeof(*grown));
	if (!grown)
		return mram_err(err, -ENOMEM, "restore: out of memory");
	l->fds = grown;
	ret = fd < 0 ? lazy_uffd_open(&f, err) : lazy_uffd_adopt(&f, fd, err);
	if (!ret)
		l->fds[l->nr_fds++] = f;
	return ret;
}

static int append_block(struct mram_restore_lazy *l, int index,
			unsigned int fd, uint64_t addr, uint64_t length,
			unsigned int unit_shift, struct mram_error *err)
{
	struct mram_block_info i = { .size = sizeof(i) };
	struct lazy_block *grown, *b;
	const uint64_t *bitmap;
	int ret;

	ret = mram_image_block(l->img, index, &i, err);
	if (!ret)
		ret = mram_image_bitmap(l->img, index, &bitmap, err);
	if (!ret)
		ret = check(l, &i, addr, length, err);
	if (!ret)
		ret = check_others(l, index, fd, addr, length, i.name, err);
	if (ret)
		return ret;
	grown = realloc(l->blocks, (l->nr_blocks + 1) * sizeof(*grown));
	if (!grown)
		return mram_err(err, -ENOMEM, "restore: out of memory");
	l->blocks = grown;
	b = &l->blocks[l->nr_blocks];
	*b = (struct lazy_block){
		.index = index,
		.name = strdup(i.name),
		.fd = fd,
		.addr = addr,
		.length = length,
		.unit_shift = unit_shift,
		.pages = i.set_pages * (i.page_size >> l->page_shift),
		.page_shift = (unsigned int)__builtin_ctzll(i.page_size),
		.pages_offset = i.pages_offset,
		.bitmap = bitmap,
	};
	if (!b->name)
		return mram_err(err, -ENOMEM, "restore: out of memory");
	l->nr_blocks++;
	return 0;
}

/* @uffd is -1 for memory of this process. */
static int add_block(struct mram_restore_lazy *l, int index, int uffd,
		     uint64_t addr, uint64_t length, unsigned int unit_shift,
		     struct mram_error *err)
{
	size_t nr_fds = l->nr_fds;
	unsigned int fd;
	int ret;

	/* Its threads use the arrays that grow here. */
	if (l->started)
		return mram_err(err, -EBUSY, "restore: it has been started");
	ret = take_fd(l, uffd, &fd, err);
	if (!ret)
		ret = append_block(l, index, fd, addr, length, unit_shift, err);
	/* What no block needs is not listened to: its owner may close it. */
	if (ret && l->nr_fds > nr_fds) {
		l->nr_fds = nr_fds;
		if (l->fds[nr_fds].own)
			close(l->fds[nr_fds].fd);
	}
	return ret;
}

int mram_restore_lazy_add(struct mram_restore_lazy *l, int index, void *addr,
			  uint64_t length,
			  const struct mram_restore_lazy_block_opts *opts,
			  struct mram_error *err)
{
	struct mram_restore_lazy_block_opts o;
	int ret;

	ret = get_opts(&o, opts, err);
	if (!ret && o.page_size)
		ret = mram_err(err, -EINVAL,
			       "restore: the page size of memory of this process is found out");
	if (!ret)
		ret = add_block(l, index, -1, (uintptr_t)addr, length,
				l->page_shift, err);
	return ret;
}

int mram_restore_lazy_add_uffd(struct mram_restore_lazy *l, int index,
			       int uffd, uint64_t addr, uint64_t length,
			       const struct mram_restore_lazy_block_opts *opts,
			       struct mram_error *err)
{
	struct mram_restore_lazy_block_opts o;
	int ret;

	ret = get_opts(&o, opts, err);
	if (ret)
		return ret;
	if (!o.page_size)
		o.page_size = UINT64_C(1) << l->page_shift;
	if (o.page_size & (o.page_size - 1) || o.page_size >> l->page_shift == 0)
		return mram_err(err, -EINVAL,
				"restore: no memory has pages of %" PRIu64 " bytes",
				o.page_size);
	if (uffd < 0)
		return mram_err(err, -EBADF, "restore: no userfaultfd");
	return add_block(l, index, uffd, addr, length,
			 (unsigned int)__builtin_ctzll(o.page_size), err);
}

/* ---------------------------------------------------------------- bitmaps */

/* From the image's pages to units, larger or smaller ones. */
static int make_present(struct lazy_block *b)
{
	uint64_t pages = b->length >> b->page_shift, first, end;

	b->present = lazy_bitmap(b->units);
	if (!b->present)
		return -ENOMEM;
	for (first = 0; (first = bitmap_next(b->bitmap, first, pages, 1)) < pages;
	     first = end) {
		end = bitmap_next(b->bitmap, first, pages, 0);
		bitmap_or_range(b->present,
				first << b->page_shift >> b->unit_shift,
				(((end << b->page_shift) - 1) >> b->unit_shift) +
				1);
	}
	return 0;
}

int lazy_block_prepare(struct mram_restore_lazy *l, struct lazy_block *b,
		       struct mram_error *err)
{
	int ret = 0;

	if (b->unit_shift > (unsigned int)__builtin_ctz(LAZY_MAX_UNIT))
		return mram_err(err, -EOPNOTSUPP,
				"block '%s': pages of %" PRIu64 " bytes are too large to be restored while they are used",
				b->name, UINT64_C(1) << b->unit_shift);
	if ((b->addr | b->length) & ((UINT64_C(1) << b->unit_shift) - 1))
		return mram_err(err, -EINVAL,
				"block '%s': its memory (0x%" PRIx64 ", %" PRIu64 " bytes) is not made of whole pages of %" PRIu64 " bytes",
				b->name, b->addr, b->length,
				UINT64_C(1) << b->unit_shift);
	b->huge = b->unit_shift > l->page_shift;
	b->units = b->length >> b->unit_shift;
	if (b->unit_shift == b->page_shift)
		b->present = (uint64_t *)b->bitmap;
	else
		ret = make_present(b);
	b->claimed = lazy_bitmap(b->units);
	b->placed = lazy_bitmap(b->units);
	if (l->record.path)
		b->touched = lazy_bitmap(b->units);
	b->segment = malloc(sizeof(*b->segment));
	if (ret || !b->claimed || !b->placed || !b->segment ||
	    (l->record.path && !b->touched))
		return mram_err(err, -ENOMEM,
				"block '%s': no memory for its bitmaps",
				b->name);
	b->segment[0] = (struct lazy_segment){ b->addr, 0, b->units };
	b->nr_segments = 1;
	return 0;
}

uint64_t lazy_block_count(const struct mram_restore_lazy *l,
			  const struct lazy_block *b, uint64_t first,
			  uint64_t end, uint64_t *clear)
{
	uint64_t all = (end - first) << (b->unit_shift - l->page_shift), set;

	if (b->unit_shift > b->page_shift)
		set = bitmap_count(b->bitmap,
				   first << b->unit_shift >> b->page_shift,
				   end << b->unit_shift >> b->page_shift)
		      << (b->page_shift - l->page_shift);
	else
		set = bitmap_count(b->present, first, end)
		      << (b->unit_shift - l->page_shift);
	if (clear)
		*clear = all - set;
	return set;
}

/* --------------------------------------------------------------- segments */

bool lazy_block_make_room(struct lazy_block *b, size_t more)
{
	struct lazy_segment *grown;

	grown = realloc(b->segment, (b->nr_segments + more) * sizeof(*grown));
	if (grown)
		b->segment = grown;
	return grown;
}

static int compare(const void *a, const void *b)
{
	const struct lazy_segment *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

void lazy_block_sort(struct lazy_block *b)
{
	size_t i, nr = 0;

	for (i = 0; i < b->nr_segments; i++)
		if (b->segment[i].units)
			b->segment[nr++] = b->segment[i];
	b->nr_segments = nr;
	qsort(b->segment, nr, sizeof(*b->segment), compare);
}

/* The first segment that ends behind a unit, or the number of them. */
static size_t segment_of(const struct lazy_block *b, uint64_t unit)
{
	size_t low = 0, high = b->nr_segments, mid;

	while (low < high) {
		mid = (low + high) / 2;
		if (b->segment[mid].first + b->segment[mid].units > unit)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

void lazy_block_cut(struct lazy_block *b, uint64_t first, uint64_t end)
{
	struct lazy_segment *s = &b->segment[segment_of(b, first)];

	b->segment[b->nr_segments++] = (struct lazy_segment){
		.addr = s->addr + ((end - s->first) << b->unit_shift),
		.first = end,
		.units = s->first + s->units - end,
	};
	s->units = first - s->first;
	lazy_block_sort(b);
}

static bool in_segment(const struct lazy_block *b, size_t i, uint64_t addr,
		       uint64_t *unit)
{
	const struct lazy_segment *s = &b->segment[i];

	if (i >= b->nr_segments || addr < s->addr ||
	    (addr - s->addr) >> b->unit_shift >= s->units)
		return false;
	*unit = s->first + ((addr - s->addr) >> b->unit_shift);
	return true;
}

static bool find_unit(const struct lazy_block *b, uint64_t addr, uint64_t *unit)
{
	size_t i;

	/* Nearly always it is where it was at the beginning. */
	if (addr >= b->addr && addr - b->addr < b->length &&
	    in_segment(b, segment_of(b, (addr - b->addr) >> b->unit_shift),
		       addr, unit))
		return true;
	for (i = 0; i < b->nr_segments; i++)
		if (in_segment(b, i, addr, unit))
			return true;
	return false;
}

struct lazy_block *lazy_block_find(struct mram_restore_lazy *l,
				   const struct lazy_fd *f, uint64_t addr,
				   uint64_t *unit)
{
	size_t i;

	for (i = 0; i < l->nr_blocks; i++)
		if (&l->fds[l->blocks[i].fd] == f &&
		    find_unit(&l->blocks[i], addr, unit))
			return &l->blocks[i];
	return NULL;
}

uint64_t lazy_block_where(const struct lazy_block *b, uint64_t unit,
			  uint64_t *units)
{
	size_t i = segment_of(b, unit);
	const struct lazy_segment *s = &b->segment[i];

	if (i == b->nr_segments || s->first > unit) {
		*units = (i == b->nr_segments ? b->units : s->first) - unit;
		return 0;
	}
	*units = s->first + s->units - unit;
	return s->addr + ((unit - s->first) << b->unit_shift);
}

void lazy_wake_all(struct mram_restore_lazy *l)
{
	size_t i, k;

	pthread_rwlock_rdlock(&l->place);
	for (i = 0; i < l->nr_blocks; i++) {
		const struct lazy_block *b = &l->blocks[i];

		for (k = 0; k < b->nr_segments; k++)
			lazy_uffd_wake(l->fds[b->fd].fd, b->segment[k].addr,
				       b->segment[k].units << b->unit_shift);
	}
	pthread_rwlock_unlock(&l->place);
}
