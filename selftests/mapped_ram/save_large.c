// SPDX-License-Identifier: GPL-2.0
/*
 * Proves for format pages of several kernel pages that those with absent parts
 * are saved and bridged, with zeroes in these parts and nothing brought in, and
 * that parts which cannot be read for a moment cost no page and no reference:
 * the pages before and after them are saved, or stay dirty.
 */
#include "rig.h"
#include "harness.h"

#include <pthread.h>

#define LARGE	(64 * KIB)
#define PAGES	64
#define LENGTH	(PAGES * LARGE)

FIXTURE(save_large) {
	struct image img;
	struct mem mem;
	struct region r;
	struct rng rng;
	uint8_t *saved;
	int dev;
};

FIXTURE_VARIANT(save_large) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(save_large, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(save_large, anon_pin) { MEM_ANON, MAPPED_RAM_REGION_PIN };
FIXTURE_VARIANT_ADD(save_large, memfd) { MEM_MEMFD, 0 };

FIXTURE_SETUP(save_large)
{
	self->rng = rng_new(0x1a49e);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	self->saved = malloc(LENGTH);
	ASSERT_NE(NULL, self->saved);
	ASSERT_EQ(0, mem_map(&self->mem, variant->kind, LENGTH));
	need_image_sparse(&self->img, NULL, MIB + LENGTH);
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd, 0, NULL));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr, LENGTH,
				MIB, LARGE, variant->flags));
}

FIXTURE_TEARDOWN(save_large)
{
	region_unmap_bitmaps(&self->r);
	close(self->dev);
	mem_unmap(&self->mem);
	image_drop(&self->img);
	free(self->saved);
}

/* What the file holds of a page, or zeroes, is what the memory holds. */
static bool page_right(FIXTURE_DATA(save_large) *self, size_t page)
{
	const uint8_t *mem = (uint8_t *)self->mem.addr + page * LARGE;
	size_t i;

	if (bit_test(self->r.file, page))
		return !memcmp(self->saved + page * LARGE, mem, LARGE);
	for (i = 0; i < LARGE; i++)
		if (mem[i])
			return false;
	return true;
}

static void all_right(struct __test_metadata *_metadata,
		      FIXTURE_DATA(save_large) *self)
{
	size_t page;

	ASSERT_EQ(0, image_read(&self->img, self->saved, LENGTH, MIB));
	EXPECT_EQ(0, bits_count(self->r.dirty, 0, PAGES));
	for (page = 0; page < PAGES; page++)
		EXPECT_TRUE(page_right(self, page)) TH_LOG("page %zu", page);
}

/* One kernel page of a format page, which one depends on the page */
static uint8_t *part(FIXTURE_DATA(save_large) *self, size_t page)
{
	return (uint8_t *)self->mem.addr + page * LARGE +
	       page * 5 % 16 * page_size();
}

TEST_F(save_large, bridges_over_absent_parts)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);
	size_t page;
	int step;

	for (page = 0; page < PAGES; page++)
		rng_fill(&self->rng, part(self, page), page_size());
	bits_set(self->r.dirty, 0, PAGES);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(PAGES, save.out_written_pages);
	all_right(_metadata, self);

	for (step = 2; step < 7; step++) {
		for (page = 0; page < PAGES; page += step) {
			rng_fill(&self->rng, part(self, page), page_size());
			bits_set(self->r.dirty, page, 1);
		}
		save = save_args(&self->r, 0, PAGES);
		save.bridge = 8;
		save.max_extent = step % 2 ? 0 : 4 * LARGE;
		ASSERT_EQ(0, save_pass(&self->r, &save));
		EXPECT_EQ((PAGES + step - 1) / step, save.out_written_pages);
		all_right(_metadata, self);
	}
	/* Saving made none of the others. That comparing did is a memfd's way. */
	if (variant->kind == MEM_ANON)
		EXPECT_GE(PAGES * page_size() / KIB,
			  mapping_rss_kb(self->mem.addr));
}

struct flips {
	pthread_t thread;
	uint8_t *addr;
	bool stop;
	int failed;
};

static void *flip(void *arg)
{
	struct flips *f = arg;
	struct rng rng = rng_new(0xf11b);

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		uint8_t *at = f->addr + rng_below(&rng, LENGTH / page_size()) *
					page_size();

		if (mprotect(at, page_size(), PROT_NONE) ||
		    mprotect(at, page_size(), PROT_READ | PROT_WRITE))
			f->failed = errno;
	}
	return NULL;
}

TEST_F(save_large, parts_that_cannot_be_read_meanwhile)
{
	struct flips f = { .addr = self->mem.addr };
	struct mapped_ram_save save;
	struct frames *frames;
	unsigned int good = 0, faults = 0;
	int i, ret;

	rng_fill(&self->rng, self->mem.addr, LENGTH);
	frames = need_frames(self->mem.addr, LENGTH);
	ASSERT_EQ(0, pthread_create(&f.thread, NULL, flip, &f));
	for (i = 0; i < 400; i++) {
		bits_set(self->r.dirty, i % 5, PAGES - i % 5);
		save = save_args(&self->r, 0, PAGES);
		save.bridge = i % 3;
		ret = save_pass(&self->r, &save);
		good += !ret;
		faults += ret == -EFAULT;
		if (ret && ret != -EFAULT)
			break;
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	pthread_join(f.thread, NULL);
	EXPECT_EQ(0, f.failed);
	EXPECT_EQ(i, good + faults) TH_LOG("pass %d: %d", i, ret);
	TH_LOG("%u passes, %u of them with EFAULT", good + faults, faults);

	save = save_args(&self->r, 0, PAGES);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	all_right(_metadata, self);
	region_unmap_bitmaps(&self->r);
	ASSERT_EQ(0, mr_region_remove(self->dev, self->r.id));
	ASSERT_EQ(0, munmap(self->mem.addr, LENGTH));
	if (variant->kind == MEM_ANON)
		EXPECT_EQ(0, frames_held(frames));
}

TEST_HARNESS_MAIN
