// SPDX-License-Identifier: GPL-2.0
/*
 * Proves how SAVE cuts a dirty set into writes: a run of dirty pages is one
 * write, max_extent cuts it, bridge joins runs over that many clean pages and
 * no more, over nothing that the image does not hold and nothing that is not
 * in memory, and a bridged page carries what memory holds at that time. Fewer
 * writes is what a pass is for, so their number is exact here.
 */
#include "rig.h"
#include "harness.h"

#define PAGES	192

FIXTURE(save_extent) {
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(save_extent) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(save_extent, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(save_extent, memfd) { MEM_MEMFD };

FIXTURE_SETUP(save_extent)
{
	need_rig(&self->rig, variant->kind, PAGES * page_size(), 0);
	self->rng = rng_new(0xe87);
}

FIXTURE_TEARDOWN(save_extent)
{
	struct frames *frames = need_frames(self->rig.mem.addr,
					    self->rig.mem.length);

	rig_drop(&self->rig);
	EXPECT_EQ(0, frames_held(frames));
}

/* All of the image holds data, and nothing is dirty. */
static int save_everything(struct rig *rig, struct rng *rng)
{
	rig_dirty_all(rig, rng);
	return rig_save(rig, NULL);
}

static void dirty(struct rig *rig, struct rng *rng, size_t first, size_t nr)
{
	while (nr--)
		model_write_random(&rig->m, rng, first++);
}

#define SAVE(_args)							\
	ASSERT_EQ(0, rig_save(rig, &(_args)))				\
		TH_LOG("%s", rig->m.why)

TEST_F(save_extent, a_run_is_one_write)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	/* across the borders of the bitmap's words, and up to both ends */
	dirty(rig, &self->rng, 0, 3);
	dirty(rig, &self->rng, 60, 70);
	dirty(rig, &self->rng, PAGES - 1, 1);
	save.max_extent = 128 * page_size();
	SAVE(save);
	EXPECT_EQ(3, save.out_ios);
	EXPECT_EQ(74, save.out_written_pages);
}

TEST_F(save_extent, max_extent_cuts_a_run)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	dirty(rig, &self->rng, 5, 21);
	save.max_extent = 4 * page_size();
	SAVE(save);
	EXPECT_EQ(6, save.out_ios);

	dirty(rig, &self->rng, 5, 21);
	save = save_args(&rig->r, 0, PAGES);
	save.max_extent = page_size();
	SAVE(save);
	EXPECT_EQ(21, save.out_ios);
}

TEST_F(save_extent, the_range_cuts_a_run)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 67, 58);

	dirty(rig, &self->rng, 60, 80);
	SAVE(save);
	EXPECT_EQ(1, save.out_ios);
	EXPECT_EQ(58, save.out_written_pages);
}

TEST_F(save_extent, a_zero_page_cuts_a_run)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	dirty(rig, &self->rng, 10, 10);
	model_write_zero(&rig->m, 14);
	/* The image does not hold it: nothing to bridge over. */
	save.bridge = 8;
	SAVE(save);
	EXPECT_EQ(2, save.out_ios);
	EXPECT_EQ(9, save.out_written_pages);
	EXPECT_EQ(1, save.out_zero_pages);
	EXPECT_EQ(0, save.out_bridged_pages);
}

TEST_F(save_extent, bridge_joins_runs_over_so_many_pages)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	unsigned int bridge;

	for (bridge = 0; bridge < 5; bridge++) {
		ASSERT_EQ(0, save_everything(rig, &self->rng))
			TH_LOG("%s", rig->m.why);
		/* gaps of 3, one of them across a border of words */
		dirty(rig, &self->rng, 56, 4);
		dirty(rig, &self->rng, 63, 1);
		dirty(rig, &self->rng, 67, 2);
		save = save_args(&rig->r, 0, PAGES);
		save.bridge = bridge;
		SAVE(save);
		EXPECT_EQ(bridge < 3 ? 3 : 1, save.out_ios);
		EXPECT_EQ(bridge < 3 ? 0 : 6, save.out_bridged_pages);
		EXPECT_EQ(7, save.out_written_pages);
	}
}

TEST_F(save_extent, bridge_stays_in_max_extent)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, save_everything(rig, &self->rng))
		TH_LOG("%s", rig->m.why);
	dirty(rig, &self->rng, 10, 2);
	dirty(rig, &self->rng, 14, 2);
	save.bridge = 4;
	save.max_extent = 5 * page_size();
	SAVE(save);
	EXPECT_LE(save.out_bytes, save.out_ios * save.max_extent);
	EXPECT_EQ(4, save.out_written_pages);
}

TEST_F(save_extent, no_bridge_at_the_ends_of_the_range)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 20, 20);

	ASSERT_EQ(0, save_everything(rig, &self->rng))
		TH_LOG("%s", rig->m.why);
	/* dirty just outside, clean inside up to a run in the middle */
	dirty(rig, &self->rng, 19, 1);
	dirty(rig, &self->rng, 23, 2);
	dirty(rig, &self->rng, 40, 1);
	save.bridge = 64;
	SAVE(save);
	EXPECT_EQ(1, save.out_ios);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_EQ(2, save.out_written_pages);
}

TEST_F(save_extent, bridge_is_not_over_what_the_image_lacks)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	size_t page = 12;

	/* Page 12 was never saved: whoever bridges it destroys the poison. */
	dirty(rig, &self->rng, 10, 2);
	dirty(rig, &self->rng, 13, 2);
	memset(region_page(&rig->r, page), 0x77, page_size());
	memset(rig->m.mem + page * page_size(), 0x77, page_size());
	save.bridge = 8;
	SAVE(save);
	EXPECT_EQ(2, save.out_ios);
	EXPECT_EQ(0, save.out_bridged_pages);
}

TEST_F(save_extent, bridge_is_not_over_what_is_not_in_memory)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	unsigned char vec = 1;
	uint8_t *hole = region_page(&rig->r, 13);

	/* The first page of the bridge is there, the second is not. */
	ASSERT_EQ(0, save_everything(rig, &self->rng))
		TH_LOG("%s", rig->m.why);
	dirty(rig, &self->rng, 10, 2);
	dirty(rig, &self->rng, 14, 2);
	ASSERT_EQ(0, madvise(hole, page_size(), variant->kind == MEM_MEMFD ?
			     MADV_REMOVE : MADV_DONTNEED));
	save.bridge = 8;
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	EXPECT_EQ(2, save.out_ios);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_EQ(4, save.out_written_pages);
	ASSERT_EQ(0, mincore(hole, page_size(), &vec));
	EXPECT_EQ(0, vec & 1);
}

TEST_F(save_extent, a_bridged_page_is_what_memory_holds)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	size_t page = 12;

	ASSERT_EQ(0, save_everything(rig, &self->rng))
		TH_LOG("%s", rig->m.why);
	dirty(rig, &self->rng, 10, 2);
	dirty(rig, &self->rng, 13, 2);
	/* Changed, and the tracker has not said so yet. */
	memset(region_page(&rig->r, page), 0x77, page_size());
	memset(rig->m.mem + page * page_size(), 0x77, page_size());
	memset(rig->m.image + RIG_HEAD + page * page_size(), 0x77,
	       page_size());
	save.bridge = 8;
	SAVE(save);
	EXPECT_EQ(1, save.out_ios);
	EXPECT_EQ(1, save.out_bridged_pages);
}

TEST_F(save_extent, nothing_dirty_is_nothing_done)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, save_everything(rig, &self->rng))
		TH_LOG("%s", rig->m.why);
	save.bridge = 64;
	SAVE(save);
	EXPECT_EQ(0, save.out_ios);
	EXPECT_EQ(0, save.out_bytes);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, save.out_error_page);
}

TEST_HARNESS_MAIN
