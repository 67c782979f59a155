// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what SAVE does with memory that cannot be read and with bitmaps that
 * lie: EFAULT with the exact first page, its dirty bit kept, everything else
 * in the image or still dirty, a pass that completes once the memory is back,
 * and nothing read or written for bits behind the last page.
 */
#include "rig.h"
#include "harness.h"

#define PAGES	150

FIXTURE(save_bad) {
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(save_bad) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(save_bad, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(save_bad, memfd) { MEM_MEMFD };

FIXTURE_SETUP(save_bad)
{
	self->rng = rng_new(0xbad5);
	need_rig(&self->rig, variant->kind, PAGES * page_size(), 0);
	rig_dirty_all(&self->rig, &self->rng);
}

/* A pass that ends early gives everything back that it has got. */
FIXTURE_TEARDOWN(save_bad)
{
	struct frames *frames = need_frames(self->rig.mem.addr,
					    self->rig.mem.length);

	rig_drop(&self->rig);
	EXPECT_EQ(0, frames_held(frames));
}

/* A pass that fails with @err at @page; leaves bits and memory to look at */
static void fails_at(struct __test_metadata *_metadata, struct rig *rig,
		     int err, size_t page, uint32_t extent, uint32_t window)
{
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	size_t left;

	save.max_extent = extent * page_size();
	save.window = window;
	EXPECT_EQ(-err, save_pass(&rig->r, &save));
	EXPECT_EQ(page, save.out_error_page);
	/* Pages before it may have been waiting when the pass was given up. */
	EXPECT_TRUE(bit_test(rig->r.dirty, page));
	left = bits_count(rig->r.dirty, 0, PAGES);
	EXPECT_EQ(PAGES, left + save.out_written_pages + save.out_zero_pages);
	EXPECT_EQ(save.out_written_pages,
		  bits_count(rig->r.file, 0, PAGES));
}

static void completes(struct __test_metadata *_metadata, struct rig *rig)
{
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(PAGES, bits_count(rig->r.file, 0, PAGES));
}

TEST_F(save_bad, memory_has_no_access)
{
	struct rig *rig = &self->rig;
	uint8_t *at = region_page(&rig->r, 70);

	ASSERT_EQ(0, mprotect(at, 5 * page_size(), PROT_NONE));
	fails_at(_metadata, rig, EFAULT, 70, 0, 0);
	EXPECT_EQ(5, bits_count(rig->r.dirty, 70, 5));
	ASSERT_EQ(0, mprotect(at, 5 * page_size(), PROT_READ | PROT_WRITE));
	completes(_metadata, rig);
}

TEST_F(save_bad, memory_has_no_access_small_writes)
{
	struct rig *rig = &self->rig;
	uint8_t *at = region_page(&rig->r, 70);

	ASSERT_EQ(0, mprotect(at, page_size(), PROT_NONE));
	fails_at(_metadata, rig, EFAULT, 70, 1, 16);
	ASSERT_EQ(0, mprotect(at, page_size(), PROT_READ));
	completes(_metadata, rig);
}

TEST_F(save_bad, part_of_a_large_page_has_no_access)
{
	struct rig *rig = &self->rig;
	const size_t size = 64 * KIB, pages = 8, bad = 5;
	struct mapped_ram_save save;
	uint8_t *at;

	region_unmap_bitmaps(&rig->r);
	ASSERT_EQ(0, mr_region_remove(rig->dev, rig->r.id));
	ASSERT_EQ(0, region_add(&rig->r, rig->dev, rig->mem.addr, pages * size,
				RIG_HEAD, size, 0));
	model_free(&rig->m);
	bits_set(rig->r.dirty, 0, pages);
	need_model(&rig->m, &rig->r, &rig->img);

	at = region_page(&rig->r, bad) + 7 * page_size();
	ASSERT_EQ(0, mprotect(at, page_size(), PROT_NONE));
	save = save_args(&rig->r, 0, pages);
	EXPECT_EQ(-EFAULT, save_pass(&rig->r, &save));
	EXPECT_EQ(bad, save.out_error_page);
	EXPECT_EQ(pages - bad, bits_count(rig->r.dirty, bad, pages - bad));
	EXPECT_EQ(0, bits_count(rig->r.file, bad, pages - bad));
	ASSERT_EQ(0, mprotect(at, page_size(), PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

TEST_F(save_bad, memory_is_read_only)
{
	struct rig *rig = &self->rig;

	/* Reading it is all that a pass does. */
	ASSERT_EQ(0, mprotect(rig->mem.addr, rig->mem.length, PROT_READ));
	completes(_metadata, rig);
}

TEST_F(save_bad, memory_is_not_mapped)
{
	struct rig *rig = &self->rig;
	uint8_t *hole = region_page(&rig->r, 64), *back;
	size_t length = 2 * page_size();

	ASSERT_EQ(0, munmap(hole, length));
	fails_at(_metadata, rig, EFAULT, 64, 0, 0);
	EXPECT_EQ(2, bits_count(rig->r.dirty, 64, 2));

	/* What is mapped there next is what counts. */
	back = mmap(hole, length, PROT_READ | PROT_WRITE, MAP_FIXED |
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(hole, back);
	memcpy(back, rig->m.mem + 64 * page_size(), length);
	completes(_metadata, rig);
}

TEST_F(save_bad, a_hole_that_is_not_dirty)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	/* Nobody has to look at clean pages. */
	ASSERT_EQ(0, munmap(region_page(&rig->r, 64), 2 * page_size()));
	bits_clear(rig->r.dirty, 64, 2);
	save.bridge = 8;
	EXPECT_EQ(0, save_pass(&rig->r, &save));
	EXPECT_EQ(PAGES - 2, save.out_written_pages);
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(0, bits_count(rig->r.file, 64, 2));
}

TEST_F(save_bad, bits_behind_the_last_page)
{
	struct rig *rig = &self->rig;
	size_t bits = rig->r.bitmap_size * 8;

	bits_set(rig->r.dirty, PAGES, bits - PAGES);
	bits_set(rig->m.dirty, PAGES, bits - PAGES);
	bits_set(rig->r.file, PAGES, bits - PAGES);
	bits_set(rig->m.file, PAGES, bits - PAGES);
	/* The model compares all bits, and the image behind the region. */
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

TEST_F(save_bad, file_bits_that_lie)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	/*
	 * They may only mislead a bridge, which then writes what memory holds
	 * into the region's own range.
	 */
	bits_set(rig->r.file, 0, PAGES);
	bits_clear(rig->r.dirty, 50, 3);
	bits_clear(rig->m.dirty, 50, 3);
	bits_set(rig->m.file, 0, PAGES);
	save.bridge = 64;
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	memcpy(rig->m.image + RIG_HEAD + 50 * page_size(),
	       rig->m.mem + 50 * page_size(), 3 * page_size());
	EXPECT_EQ(3, save.out_bridged_pages);
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_HARNESS_MAIN
