// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD is right where pages that are swapped out lie among absent
 * ones and others: what was swapped out is neither zero nor kept, what the file
 * holds in a place that nothing is mapped in is memory, too, and what is absent
 * and not in the image stays so. And that a private mapping's file is left
 * alone, whatever there is in front of it.
 */
#include "loader.h"
#include "harness.h"

enum state {
	ABSENT,
	FILLED,		/* of a file, from behind; else read, and so mapped */
	OUT,
	THERE,
	STATES
};

FIXTURE(load_swap) {
	struct loader l;
	struct scratch swap;
	struct rng rng;
	uint8_t *file;		/* what a private mapping's holds */
	uint8_t *state;		/* of each page before, see enum state */
	unsigned char *there;	/* of each page, of mincore(2) */
};

FIXTURE_VARIANT(load_swap) {
	enum mem_kind kind;
	bool private;
};

FIXTURE_VARIANT_ADD(load_swap, anon) { MEM_ANON, false };
FIXTURE_VARIANT_ADD(load_swap, memfd) { MEM_MEMFD, false };
FIXTURE_VARIANT_ADD(load_swap, memfd_private) { MEM_MEMFD, true };

FIXTURE_SETUP(load_swap)
{
	struct mem *mem = &self->l.mem;

	self->rng = rng_new(0x50ad);
	ASSERT_EQ(0, scratch_swap_on(&self->swap, 4 * LOADER_LENGTH));
	need_loader(&self->l, variant->kind);
	need_loader_pinned(&self->l);
	self->file = malloc(LOADER_LENGTH);
	self->state = malloc(self->l.nr);
	self->there = malloc(self->l.nr);
	ASSERT_TRUE(self->file && self->state && self->there);
	/* Nothing is there to begin with. */
	ASSERT_EQ(0, madvise(mem->addr, LOADER_LENGTH, mem->fd < 0 ?
			     MADV_DONTNEED : MADV_REMOVE));
	if (variant->private)
		ASSERT_EQ(mem->addr, mmap(mem->addr, LOADER_LENGTH,
					  PROT_READ | PROT_WRITE, MAP_FIXED |
					  MAP_PRIVATE, mem->fd, 0));
}

FIXTURE_TEARDOWN(load_swap)
{
	loader_drop(&self->l);
	EXPECT_EQ(self->l.pins, pinned_pages());
	scratch_swap_off(&self->swap);
	free(self->file);
	free(self->state);
	free(self->there);
}

static void fill(FIXTURE_DATA(load_swap) *self, size_t i)
{
	uint8_t *page = region_page(&self->l.r, i);
	uint8_t old[4096];

	memset(old, LOADER_OLD, page_size());
	if (self->l.mem.fd < 0)
		(void)*(volatile uint8_t *)page;
	else if (pwrite(self->l.mem.fd, old, page_size(), i * page_size()) !=
		 (ssize_t)page_size())
		need_failed("cannot write to the memfd: %m");
}

static size_t out(const FIXTURE_DATA(load_swap) *self)
{
	uint64_t map[LOADER_LENGTH / (4 * KIB)];
	size_t i, count = 0;

	if (pagemap_read(self->l.mem.addr, self->l.nr, map))
		need_failed("no pagemap");
	for (i = 0; i < self->l.nr; i++)
		count += self->state[i] == OUT && !(map[i] & PAGEMAP_PRESENT);
	return count;
}

/* Runs of pages of each state, and others that the image does not hold */
static void mix(FIXTURE_DATA(load_swap) *self)
{
	struct loader *l = &self->l;
	size_t i, end = 0, clear = 0, nr_out = 0;
	uint8_t state = ABSENT;
	int tries;

	for (i = 0; i < l->nr; i++) {
		if (i == end) {
			state = rng_below(&self->rng, STATES);
			end += 1 + rng_below(&self->rng, 12);
		}
		if (rng_percent(&self->rng, 5))
			clear = 1 + rng_below(&self->rng, 20);
		if (clear) {
			clear--;
			bit_clear(l->r.file, i);
			memset(l->want + i * page_size(), 0, page_size());
		}
		self->state[i] = state;
		if (state == FILLED)
			fill(self, i);
		else if (state == OUT)
			memset(region_page(&l->r, i), LOADER_OLD, page_size());
		nr_out += state == OUT;
	}
	for (tries = 0; tries < 20 && out(self) < nr_out; tries++) {
		madvise(l->mem.addr, LOADER_LENGTH, MADV_PAGEOUT);
		usleep(20 * 1000);
	}
	if (out(self) < nr_out * 3 / 4)
		need_failed("only %zu of %zu pages went out", out(self), nr_out);
	for (i = 0; i < l->nr; i++)
		if (self->state[i] == THERE)
			memset(region_page(&l->r, i), LOADER_OLD, page_size());
}

/* Of a private mapping's copies some have nothing behind them any more. */
static int punch(FIXTURE_DATA(load_swap) *self)
{
	size_t i;

	for (i = 0; i < self->l.nr; i++)
		if (self->state[i] >= OUT && rng_percent(&self->rng, 50) &&
		    fallocate(self->l.mem.fd, FALLOC_FL_PUNCH_HOLE |
			      FALLOC_FL_KEEP_SIZE, i * page_size(),
			      page_size()))
			return -errno;
	return 0;
}

TEST_F(load_swap, of_all_sorts)
{
	struct loader *l = &self->l;
	struct mapped_ram_load load = load_args(&l->r, 0, l->nr);
	size_t i, made = 0, held;
	uint8_t *file;

	mix(self);
	held = bits_count(l->r.file, 0, l->nr);
	if (variant->private) {
		ASSERT_EQ(0, punch(self));
		ASSERT_EQ(LOADER_LENGTH, pread(l->mem.fd, self->file,
					       LOADER_LENGTH, 0));
	}
	ASSERT_EQ(0, load_pass(&l->r, &load));
	EXPECT_EQ(held, load.out_read_pages);
	EXPECT_EQ(l->nr - held, load.out_zero_pages);
	/* Asked first: to compare brings pages in. */
	ASSERT_EQ(0, mincore(l->mem.addr, LOADER_LENGTH, self->there));
	for (i = 0; i < l->nr; i++)
		made += self->state[i] == ABSENT && self->there[i] & 1 &&
			!bit_test(l->r.file, i);
	EXPECT_EQ(0, made);
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LOADER_LENGTH));
	if (!variant->private)
		return;
	file = mmap(NULL, LOADER_LENGTH, PROT_READ, MAP_SHARED, l->mem.fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	EXPECT_EQ(0, memcmp(file, self->file, LOADER_LENGTH));
	munmap(file, LOADER_LENGTH);
}

TEST_HARNESS_MAIN
