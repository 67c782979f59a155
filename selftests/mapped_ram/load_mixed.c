// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD is right where pages that are there, pages that are zero and
 * pages that were never touched lie among each other, over more memory than it
 * works on at a time: what the image holds is read, whatever was there before;
 * everything else is zero; what was absent and is not in the image stays absent.
 * And where a part of fresh memory is not there at all, nothing is made in it.
 */
#include "rig.h"
#include "harness.h"

#define LENGTH	(48 * MIB)
#define HOLE	(LENGTH / 2 + 300 * 4 * KIB)

enum state {
	ABSENT,
	OLD,
	ZERO,
	STATES
};

FIXTURE(load_mixed) {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;
	struct rng rng;
	uint8_t *data;
	uint8_t *state;		/* of each page before, see enum state */
	unsigned char *there;	/* of each page, of mincore(2) */
	int dev;
};

FIXTURE_VARIANT(load_mixed) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(load_mixed, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(load_mixed, thp) { MEM_THP };
FIXTURE_VARIANT_ADD(load_mixed, memfd) { MEM_MEMFD };

FIXTURE_SETUP(load_mixed)
{
	uint64_t size = RIG_HEAD + LENGTH;

	self->rng = rng_new(0x313ed);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, memdisk_open(&self->disk, size));
	need_image_unfilled(&self->img, self->disk.path, size);
	self->data = malloc(LENGTH);
	self->state = calloc(LENGTH / page_size(), 1);
	self->there = malloc(LENGTH / page_size());
	ASSERT_TRUE(self->data && self->state && self->there);
	rng_fill(&self->rng, self->data, LENGTH);
	ASSERT_EQ(0, image_write(&self->img, self->data, LENGTH, RIG_HEAD));
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	ASSERT_EQ(0, mem_map(&self->mem, variant->kind, LENGTH));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr, LENGTH,
				RIG_HEAD, page_size(), 0));
}

FIXTURE_TEARDOWN(load_mixed)
{
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	mem_unmap(&self->mem);
	memdisk_close(&self->disk);
	free(self->data);
	free(self->state);
	free(self->there);
}

/* Runs of pages of each state, and others of pages that the image holds */
static void mix(FIXTURE_DATA(load_mixed) *self)
{
	size_t i = 0, end, nr = self->r.nr_pages, held = 0, held_end = 0;
	uint8_t state = ABSENT;

	for (end = 0; i < nr; i++) {
		if (i == end) {
			/* Most was never touched; at first there is nothing. */
			state = i && rng_percent(&self->rng, 50) ?
				rng_below(&self->rng, STATES) : ABSENT;
			end += 1 + rng_below(&self->rng, 40);
		}
		if (i == held_end) {
			held = rng_percent(&self->rng, 30);
			held_end += 1 + rng_below(&self->rng, 12);
		}
		if (state != ABSENT)
			memset(region_page(&self->r, i),
			       state == OLD ? 0x5a : 0, page_size());
		self->state[i] = state;
		/* Some parts begin with pages that are held, however long parts are. */
		if (held || i % 1024 < 5)
			bit_set(self->r.file, i);
	}
}

TEST_F(load_mixed, of_all_sorts)
{
	const size_t first = 77, nr = self->r.nr_pages - 2 * first;
	struct mapped_ram_load load = load_args(&self->r, first, nr);
	size_t i, held, wrong = 0, made = 0;
	bool range;

	mix(self);
	held = bits_count(self->r.file, first, nr);
	ASSERT_EQ(0, load_pass(&self->r, &load));
	EXPECT_EQ(held, load.out_read_pages);
	EXPECT_EQ(nr - held, load.out_zero_pages);
	/* Asked first: to compare brings pages in. */
	ASSERT_EQ(0, mincore(self->mem.addr, LENGTH, self->there));
	for (i = 0; i < self->r.nr_pages; i++) {
		const uint8_t *p = region_page(&self->r, i);

		range = i >= first && i < first + nr;
		if (self->state[i] == ABSENT && self->there[i] & 1 &&
		    !(range && bit_test(self->r.file, i)))
			made++;
		if (range && bit_test(self->r.file, i))
			wrong += !!memcmp(p, self->data + i * page_size(),
					  page_size());
		else if (range || self->state[i] != OLD)
			wrong += !all_zero(p, page_size());
		else
			wrong += p[0] != 0x5a || p[page_size() - 1] != 0x5a;
	}
	EXPECT_EQ(0, wrong);
	if (variant->kind != MEM_THP)
		EXPECT_EQ(0, made);
}

TEST_F(load_mixed, a_hole_in_fresh_memory)
{
	const size_t page = HOLE / page_size(), count = 600;
	struct mapped_ram_load load = load_args(&self->r, 0, self->r.nr_pages);
	uint8_t *hole = self->mem.addr + HOLE;
	size_t i, there = 0;

	bits_set(self->r.file, 0, self->r.nr_pages);
	ASSERT_EQ(0, munmap(hole, count * page_size()));
	EXPECT_EQ(-EFAULT, load_pass(&self->r, &load));
	EXPECT_EQ(page, load.out_error_page);
	EXPECT_EQ(0, memcmp(self->mem.addr, self->data, HOLE));
	/* Whoever maps something there finds nothing of it. */
	ASSERT_EQ(hole, mmap(hole, count * page_size(), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			     -1, 0));
	ASSERT_EQ(0, mincore(hole, count * page_size(), self->there));
	for (i = 0; i < count; i++)
		there += self->there[i] & 1;
	EXPECT_EQ(0, there);
	EXPECT_TRUE(all_zero(hole, count * page_size()));
}

TEST_HARNESS_MAIN
