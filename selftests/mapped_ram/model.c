// SPDX-License-Identifier: GPL-2.0
/*
 * A model of region, image and bitmaps: what a pass must do, done with memcpy.
 * Everything is compared whole, so a write to a place that nobody asked for is
 * found as surely as one that is missing.
 */
#include <stdarg.h>

#include "common.h"

static void *need_alloc(size_t size)
{
	void *p = malloc(size);

	if (!p)
		need_failed("no memory for the model");
	return p;
}

void need_model(struct model *m, const struct region *r,
		const struct image *img)
{
	int ret;

	*m = (struct model){ .r = r, .img = img };
	m->mem = need_alloc(r->length);
	m->image = need_alloc(img->size);
	m->dirty = need_alloc(r->bitmap_size);
	m->file = need_alloc(r->bitmap_size);
	memcpy(m->mem, r->mem, r->length);
	memcpy(m->dirty, r->dirty, r->bitmap_size);
	memcpy(m->file, r->file, r->bitmap_size);
	ret = image_read(img, m->image, img->size, 0);
	if (ret)
		need_failed("%s: %s", img->path, strerror(-ret));
}

void model_free(struct model *m)
{
	free(m->mem);
	free(m->image);
	free(m->dirty);
	free(m->file);
	*m = (struct model){ 0 };
}

static void model_changed(struct model *m, size_t page)
{
	const struct region *r = m->r;

	memcpy(m->mem + page * r->page_size, region_page(r, page),
	       r->page_size);
	bit_set(m->dirty, page);
	bit_set(r->dirty, page);
}

void model_write_random(struct model *m, struct rng *rng, size_t page)
{
	uint8_t *mem = region_page(m->r, page);
	uint64_t kind = rng_below(rng, 8);

	/*
	 * Mostly noise; sometimes a single byte somewhere, which is what zero
	 * detection that looks at samples only would overlook.
	 */
	if (kind < 6) {
		rng_fill(rng, mem, m->r->page_size);
	} else {
		memset(mem, 0, m->r->page_size);
		mem[rng_below(rng, m->r->page_size)] = 1 + rng_below(rng, 255);
	}
	if (kind == 7) {
		memset(mem, 0, m->r->page_size);
		mem[m->r->page_size - 1] = 0x80;
	}
	model_changed(m, page);
}

void model_write_zero(struct model *m, size_t page)
{
	memset(region_page(m->r, page), 0, m->r->page_size);
	model_changed(m, page);
}

void model_dirty_some(struct model *m, struct rng *rng, unsigned int percent)
{
	size_t page;

	for (page = 0; page < m->r->nr_pages; page++) {
		if (!rng_percent(rng, percent))
			continue;
		if (rng_percent(rng, 25))
			model_write_zero(m, page);
		else
			model_write_random(m, rng, page);
	}
}

void model_save(struct model *m, size_t first, size_t nr,
		uint64_t *written, uint64_t *zero)
{
	const size_t size = m->r->page_size;
	uint64_t counts[2] = { 0, 0 };
	size_t page;

	for (page = first; page < first + nr; page++) {
		const uint8_t *mem = m->mem + page * size;
		bool none = all_zero(mem, size);

		if (!bit_test(m->dirty, page))
			continue;
		bit_clear(m->dirty, page);
		if (none) {
			bit_clear(m->file, page);
		} else {
			memcpy(m->image + m->r->offset + page * size, mem, size);
			bit_set(m->file, page);
		}
		counts[none]++;
	}
	if (written)
		*written = counts[0];
	if (zero)
		*zero = counts[1];
}

static int differs(struct model *m, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static int differs(struct model *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(m->why, sizeof(m->why), fmt, ap);
	va_end(ap);
	fprintf(stderr, "# %s\n", m->why);
	return -1;
}

static size_t first_difference(const uint8_t *a, const uint8_t *b,
			       size_t length)
{
	size_t i = 0;

	while (i < length && a[i] == b[i])
		i++;
	return i;
}

/* The caller frees it. */
static uint8_t *read_image(struct model *m)
{
	uint8_t *now = need_alloc(m->img->size);
	int ret = image_read(m->img, now, m->img->size, 0);

	if (!ret)
		return now;
	differs(m, "reading %s: %s", m->img->path, strerror(-ret));
	free(now);
	return NULL;
}

/* All words: bits behind the last page are nobody's to change either. */
static int bitmap_check(struct model *m, const char *name,
			const uint64_t *now, const uint64_t *right)
{
	size_t bits = m->r->bitmap_size * 8;
	size_t bit = bits_differ(now, right, bits);

	if (bit == bits)
		return 0;
	return differs(m, "%s bit %zu of %zu pages is %d, must be %d", name,
		       bit, m->r->nr_pages, bit_test(now, bit),
		       bit_test(right, bit));
}

static int memory_check(struct model *m)
{
	size_t at;

	if (!memcmp(m->r->mem, m->mem, m->r->length))
		return 0;
	at = first_difference(m->r->mem, m->mem, m->r->length);
	return differs(m, "memory page %zu byte %zu is %02x, must be %02x",
		       at / m->r->page_size, at % m->r->page_size,
		       m->r->mem[at], m->mem[at]);
}

int model_check(struct model *m)
{
	const struct region *r = m->r;
	uint8_t *now;
	size_t at;
	int ret = 0;

	if (memory_check(m) ||
	    bitmap_check(m, "dirty", r->dirty, m->dirty) ||
	    bitmap_check(m, "file", r->file, m->file))
		return -1;
	now = read_image(m);
	if (!now)
		return -1;
	if (memcmp(now, m->image, m->img->size)) {
		at = first_difference(now, m->image, m->img->size);
		ret = differs(m, "image byte %#zx (page %ld of the region) is %02x, must be %02x",
			      at, ((long)at - (long)r->offset) /
			      (long)r->page_size, now[at], m->image[at]);
	}
	free(now);
	return ret;
}

static int page_check_union(struct model *m, const uint8_t *now, size_t page)
{
	const size_t size = m->r->page_size;
	const uint8_t *mem = m->mem + page * size;

	if (bit_test(m->r->dirty, page))
		return 0;
	if (!bit_test(m->r->file, page)) {
		if (!all_zero(mem, size))
			return differs(m, "page %zu is lost: neither dirty nor in the image, but not zero",
				       page);
		return 0;
	}
	if (memcmp(mem, now + m->r->offset + page * size, size))
		return differs(m, "page %zu is lost: clean, but the image holds something else",
			       page);
	return 0;
}

int model_check_union(struct model *m)
{
	const struct region *r = m->r;
	uint64_t end = r->offset + r->length;
	uint8_t *now;
	size_t page;
	int ret;

	if (memory_check(m))
		return -1;
	now = read_image(m);
	if (!now)
		return -1;
	ret = 0;
	for (page = 0; page < r->nr_pages && !ret; page++)
		ret = page_check_union(m, now, page);
	if (!ret && (memcmp(now, m->image, r->offset) ||
		     memcmp(now + end, m->image + end, m->img->size - end)))
		ret = differs(m, "the image changed outside of the region's range");
	memcpy(m->image, now, m->img->size);
	memcpy(m->dirty, r->dirty, r->bitmap_size);
	memcpy(m->file, r->file, r->bitmap_size);
	free(now);
	return ret;
}
