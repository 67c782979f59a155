// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that exists in places only. A page with data has a single byte that is
 * not zero, anywhere in it: a test for zeroes has to find it. What is touched
 * is a page, a run of some, a page table's worth or several; where the region
 * starts is chosen at random, too.
 */
#include "sparse.h"

void need_sparse(struct sparse *s, struct rng *rng, enum mem_kind kind,
		 size_t length, uint32_t format, uint32_t region_flags,
		 unsigned int how)
{
	size_t skew = rng_below(rng, HUGE_SIZE / format) * format, at;
	int ret;

	*s = (struct sparse){ .how = how };
	ret = mem_map(&s->mem, kind, length + HUGE_SIZE);
	if (ret)
		need_failed("no memory of kind %s: %s", mem_name(kind),
			    strerror(-ret));
	if (how & SPARSE_PRIVATE &&
	    mmap(s->mem.addr, s->mem.length, PROT_READ | PROT_WRITE, MAP_FIXED |
		 MAP_PRIVATE, s->mem.fd, 0) != s->mem.addr)
		need_failed("a private mapping: %m");
	/*
	 * Another mapping for the end, which begins elsewhere in the file: to
	 * the kernel two that differ in such a flag are two.
	 */
	at = (length / HUGE_SIZE - 2) * HUGE_SIZE;
	if (madvise(s->mem.addr + at, s->mem.length - at, MADV_DONTDUMP))
		need_failed("MADV_DONTDUMP: %m");
	ret = memdisk_open(&s->disk, RIG_HEAD + length);
	if (ret)
		need_failed("no disk of memory: %s", strerror(-ret));
	need_image_unfilled(&s->img, s->disk.path, RIG_HEAD + length);
	s->dev = mr_open();
	if (s->dev < 0)
		need_failed("%s: %s", MAPPED_RAM_DEVICE, strerror(-s->dev));
	ret = mr_image_set(s->dev, s->img.fd, 0, NULL);
	if (!ret)
		ret = region_add(&s->r, s->dev, s->mem.addr + skew, length,
				 RIG_HEAD, format, region_flags);
	if (ret)
		need_failed("no region: %s", strerror(-ret));
	/* The bitmaps become resident, which must not be counted later. */
	bits_set(s->r.dirty, 0, s->r.nr_pages);
	bits_clear(s->r.file, 0, s->r.nr_pages);

	s->nr = length / page_size();
	s->byte = calloc(s->nr, sizeof(*s->byte));
	s->value = calloc(s->nr, sizeof(*s->value));
	s->own = calloc(s->nr, sizeof(*s->own));
	s->there = calloc(s->nr, sizeof(*s->there));
	if (!s->byte || !s->value || !s->own || !s->there)
		need_failed("no memory for the model");
	ret = how & SPARSE_SWAP ? scratch_swap_on(&s->swap, 2 * length) : 0;
	if (ret)
		need_failed("no swap: %s", strerror(-ret));
}

void sparse_drop(struct sparse *s)
{
	close(s->dev);
	region_unmap_bitmaps(&s->r);
	image_drop(&s->img);
	mem_unmap(&s->mem);
	memdisk_close(&s->disk);
	if (s->how & SPARSE_SWAP)
		scratch_swap_off(&s->swap);
	free(s->byte);
	free(s->value);
	free(s->own);
	free(s->there);
}

/* One page: data where @value is not 0. */
static int put(struct sparse *s, struct rng *rng, size_t i, uint8_t value)
{
	uint8_t *page = s->r.mem + i * page_size();
	off_t at = page - s->mem.addr;

	/* A page of the file below a private mapping, or through the mapping */
	if (s->how & SPARSE_PRIVATE && !s->own[i] && rng_percent(rng, 50)) {
		if (pwrite(s->mem.fd, "", 1, at + s->byte[i]) != 1)
			return -errno;
		s->byte[i] = rng_below(rng, page_size());
		if (pwrite(s->mem.fd, &value, 1, at + s->byte[i]) != 1)
			return -errno;
	} else {
		s->own[i] = true;
		page[s->byte[i]] = 0;
		s->byte[i] = rng_below(rng, page_size());
		page[s->byte[i]] = value;
	}
	s->value[i] = value;
	return 0;
}

static int discard(struct sparse *s, size_t first, size_t nr)
{
	uint8_t *at = s->r.mem + first * page_size();
	int advice = s->mem.fd < 0 ? MADV_DONTNEED : MADV_REMOVE;
	size_t i;

	if (s->how & SPARSE_PRIVATE) {
		/* Of the file below, which leaves what the mapping has copied. */
		if (fallocate(s->mem.fd, FALLOC_FL_PUNCH_HOLE |
			      FALLOC_FL_KEEP_SIZE, at - s->mem.addr,
			      nr * page_size()))
			return -errno;
		for (i = first; i < first + nr; i++)
			if (!s->own[i])
				s->value[i] = 0;
		return 0;
	}
	if (madvise(at, nr * page_size(), advice))
		return errno == EINVAL ? 0 : -errno;
	memset(s->value + first, 0, nr);
	return 0;
}

static bool huge(const struct sparse *s)
{
	return s->mem.kind == MEM_HUGETLB || s->mem.kind == MEM_MEMFD_HUGETLB;
}

int sparse_change(struct sparse *s, struct rng *rng, size_t first, size_t nr)
{
	const size_t scales[] = { 1, 1, 5, 16, 40, 512, 1500 };
	const size_t sub = s->r.page_size / page_size();
	size_t len = 1 + rng_below(rng, scales[rng_below(rng, 7)]), i, step;
	unsigned int what = rng_below(rng, 10);
	size_t at;
	int ret = 0;

	len = len < nr ? len : nr;
	at = rng_below(rng, nr - len + 1);
	/* Often as groups of page table entries begin. */
	if (rng_percent(rng, 30))
		at -= at % 16;
	first += at;
	step = rng_percent(rng, 50) ? 1 : 1 + rng_below(rng, 40);
	if (what == 9 && !huge(s)) {
		ret = discard(s, first, len);
	} else if (what == 8 && s->mem.fd < 0) {
		for (i = first; i < first + len; i += step)
			(void)*(volatile uint8_t *)(s->r.mem + i * page_size());
	} else {
		for (i = first; i < first + len && !ret; i += step)
			ret = put(s, rng, i, what < 2 ? 0 :
				  1 + rng_below(rng, 255));
	}
	/* Only now, and for all of it */
	for (i = first / sub; i <= (first + len - 1) / sub; i++)
		bit_set(s->r.dirty, i);
	return ret;
}

void sparse_swap_out(struct sparse *s, struct rng *rng)
{
	size_t n, first, len;

	if (!(s->how & SPARSE_SWAP))
		return;
	for (n = 0; n < 4; n++) {
		len = 1 + rng_below(rng, s->nr / 3);
		first = rng_below(rng, s->nr - len + 1);
		madvise(s->r.mem + first * page_size(), len * page_size(),
			MADV_PAGEOUT);
	}
}

/* A pagemap of the region: what is present or swapped out */
static int pagemap(const struct sparse *s, uint64_t *map)
{
	int ret = pagemap_read(s->r.mem, s->nr, map);
	size_t i;

	for (i = 0; i < s->nr && !ret; i++)
		map[i] &= PAGEMAP_PRESENT | PAGEMAP_SWAPPED;
	return ret;
}

int sparse_note_there(struct sparse *s)
{
	return pagemap(s, s->there);
}

long sparse_grown(struct sparse *s)
{
	uint64_t *now = malloc(s->nr * sizeof(*now));
	long grown = 0;
	size_t i;
	int ret;

	if (!now)
		return -ENOMEM;
	ret = pagemap(s, now);
	for (i = 0; i < s->nr && !ret; i++)
		grown += now[i] && !s->there[i];
	free(now);
	return ret ?: grown;
}

static bool has_data(const struct sparse *s, size_t page)
{
	const size_t sub = s->r.page_size / page_size();
	size_t i;

	for (i = page * sub; i < (page + 1) * sub; i++)
		if (s->value[i])
			return true;
	return false;
}

void sparse_count(struct sparse *s, size_t first, size_t nr, size_t *data,
		  size_t *zero)
{
	size_t i;

	*data = *zero = 0;
	for (i = first; i < first + nr; i++)
		if (bit_test(s->r.dirty, i))
			++*(has_data(s, i) ? data : zero);
}

/* Whether a page of the machine is what it should be */
static bool page_is(const struct sparse *s, size_t i, const uint8_t *page)
{
	size_t at = s->byte[i], behind = page_size() - at - 1;

	return page[at] == s->value[i] && (!at || all_zero(page, at)) &&
	       (!behind || all_zero(page + at + 1, behind));
}

const char *sparse_check(struct sparse *s, size_t first, size_t nr, bool all,
			 size_t *where)
{
	const size_t sub = s->r.page_size / page_size(), batch = MIB;
	const size_t per = batch / s->r.page_size;
	const char *why = NULL;
	uint8_t *buf = NULL;
	size_t i, j, n;

	if (posix_memalign((void **)&buf, page_size(), batch))
		return "no memory";
	for (*where = first; *where < first + nr && !why; *where += n) {
		n = per < first + nr - *where ? per : first + nr - *where;
		if (image_read(&s->img, buf, n * s->r.page_size,
			       RIG_HEAD + *where * s->r.page_size)) {
			why = "the image cannot be read";
			break;
		}
		for (i = 0; i < n && !why; i++) {
			bool data = has_data(s, *where + i);

			if (bit_test(s->r.dirty, *where + i)) {
				why = all ? "still dirty" : NULL;
				continue;
			}
			if (bit_test(s->r.file, *where + i) != data)
				why = data ? "not in the image" :
					     "a zero page in the image";
			for (j = 0; j < sub && data && !why; j++)
				if (!page_is(s, (*where + i) * sub + j,
					     buf + (i * sub + j) * page_size()))
					why = "not the memory in the image";
		}
		if (why) {
			*where += i - 1;
			break;
		}
	}
	free(buf);
	return why;
}
