// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that SAVE does what the model says and nothing else: random dirty
 * sets over random contents, zero pages and pages that became zero again, in
 * several passes with changes between them, on random ranges, with every kind
 * of memory, size of page, window, bridge (chosen by the module, too) and
 * extent, to a raw block device and to the file systems. After every pass the
 * whole image is the model's byte for byte (what lies around the region and
 * what never was dirty keeps its poison), both bitmaps are exact (invariant 1;
 * fail_device.c has what fails), the outputs add up, and the page cache holds
 * nothing of the image.
 */
#include "rig.h"
#include "harness.h"

#define MIN_CHOICE	(256 * KIB)	/* of max_extent */
#define PASSES		4	/* fewer for much memory */
#define TAIL	(64 * KIB)	/* image behind the region */

/* The most writes that the pass may need: one a run, longer ones are cut. */
static uint64_t most_ios(const struct model *m,
			 const struct mapped_ram_save *save)
{
	size_t size = m->r->page_size, run = 0, cut, i;
	uint64_t ios = 0;

	/* What the module chooses by itself is at least so much. */
	cut = (save->max_extent ?: size > MIN_CHOICE ? size : MIN_CHOICE) / size;
	for (i = save->first_page; i < save->first_page + save->nr_pages; i++) {
		if (!bit_test(m->dirty, i) ||
		    all_zero(m->mem + i * size, size)) {
			run = 0;
			continue;
		}
		if (run++ % cut == 0)
			ios++;
	}
	return ios;
}

FIXTURE(save_model) {
	struct rng rng;
	struct place place;
	struct mapped_ram_info info;
	uint32_t out_flags;
	int dev;
};

FIXTURE_VARIANT(save_model) {
	const char *fstype;		/* NULL: the raw device */
};

FIXTURE_VARIANT_ADD(save_model, blkdev) { NULL };
FIXTURE_VARIANT_ADD(save_model, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(save_model, xfs) { "xfs" };
FIXTURE_VARIANT_ADD(save_model, btrfs) { "btrfs" };

FIXTURE_SETUP(save_model)
{
	int err;

	self->rng = rng_new(0x5a7e);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, mr_info(self->dev, &self->info));
	err = place_open(&self->place, variant->fstype);
	if (err == -EOPNOTSUPP)
		SKIP(return, "no %s here", variant->fstype);
	ASSERT_EQ(0, err);
}

FIXTURE_TEARDOWN(save_model)
{
	close(self->dev);
	place_close(&self->place);
}

static void random_args(struct rng *rng, const struct mapped_ram_info *info,
			const struct region *r, struct mapped_ram_save *save)
{
	size_t pages = r->nr_pages;
	uint64_t most = info->out_max_extent / r->page_size;

	*save = save_args(r, 0, pages);
	if (rng_percent(rng, 60)) {
		save->first_page = rng_below(rng, pages);
		save->nr_pages = 1 + rng_below(rng, pages - save->first_page);
	}
	switch (rng_below(rng, 4)) {
	case 0:
		save->window = 1;
		break;
	case 1:
		save->window = info->out_max_window;
		break;
	case 2:
		save->window = 1 + rng_below(rng, info->out_max_window);
		break;
	}
	if (rng_percent(rng, 50))
		save->bridge = rng_below(rng, info->out_max_bridge + 1);
	if (rng_percent(rng, 30))
		save->flags |= MAPPED_RAM_SAVE_BRIDGE_AUTO;
	if (rng_percent(rng, 60))
		save->max_extent = r->page_size *
			(1 + rng_below(rng, rng_percent(rng, 50) ? most :
				       most < 8 ? most : 8));
}

static void one_pass(struct __test_metadata *_metadata,
		     FIXTURE_DATA(save_model) *self, const struct shape *shape,
		     struct region *r, struct model *m, struct image *img)
{
	struct mapped_ram_save save;
	uint64_t written, zero, ios;
	bool stable;

	random_args(&self->rng, &self->info, r, &save);
	ios = most_ios(m, &save);
	model_save(m, save.first_page, save.nr_pages, &written, &zero);

	ASSERT_EQ(0, save_pass(r, &save));
	ASSERT_EQ(0, model_check(m))
		TH_LOG("%s, page size %u, range %llu+%llu window %u bridge %u%s extent %u: %s",
		       mem_name(shape->kind), r->page_size,
		       (unsigned long long)save.first_page,
		       (unsigned long long)save.nr_pages, save.window,
		       save.bridge, save.flags & MAPPED_RAM_SAVE_BRIDGE_AUTO ?
		       " auto" : "", save.max_extent, m->why);
	EXPECT_EQ(written, save.out_written_pages);
	EXPECT_EQ(zero, save.out_zero_pages);
	EXPECT_EQ((written + save.out_bridged_pages) * r->page_size,
		  save.out_bytes);
	EXPECT_LE(save.out_ios, ios);
	if (save.flags & MAPPED_RAM_SAVE_BRIDGE_AUTO) {
		EXPECT_LE(save.out_bridge, save.bridge ?:
			  self->info.out_max_bridge);
	} else {
		EXPECT_EQ(save.bridge, save.out_bridge);
		if (!save.bridge)
			EXPECT_EQ(0, save.out_bridged_pages);
	}
	if (save.max_extent) {
		EXPECT_LE(save.out_bytes, save.out_ios * save.max_extent);
	}
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, save.out_error_page);
	stable = self->out_flags & MAPPED_RAM_IMAGE_OUT_STABLE_PAGES;
	EXPECT_EQ(stable && written,
		  !!(save.out_flags & MAPPED_RAM_PASS_OUT_BOUNCED));
	/*
	 * Only where data is checksummed may a file system have fallen back.
	 * What an earlier pass could not get out of the page cache then, this
	 * one answers for in its own range only.
	 */
	if (save.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED) {
		EXPECT_TRUE(stable);
	} else {
		EXPECT_EQ(0, cached_range_pages(r, img, save.first_page,
						save.nr_pages));
	}
}

/* Content that the process itself never wrote: what the file holds */
static int fill_file(struct rng *rng, const struct mem *mem)
{
	char page[4096];
	size_t at;

	for (at = 0; at < mem->length; at += 3 * sizeof(page)) {
		rng_fill(rng, page, sizeof(page));
		if (pwrite(mem->fd, page, sizeof(page), at) != sizeof(page))
			return -errno;
	}
	return 0;
}

static void one_shape(struct __test_metadata *_metadata,
		      FIXTURE_DATA(save_model) *self,
		      const struct shape *shape)
{
	uint64_t offset = shape->page_size > MIB ? shape->page_size : MIB;
	struct mapped_ram_image_set set;
	struct region r;
	struct model m;
	struct image img;
	struct mem mem;
	size_t i, page;
	int pass, err;

	err = mem_map(&mem, shape->kind, shape->length);
	ASSERT_EQ(0, err) TH_LOG("no %s", mem_name(shape->kind));
	if (shape->kind == MEM_FILE_SHARED || shape->kind == MEM_FILE_PRIVATE)
		ASSERT_EQ(0, fill_file(&self->rng, &mem));

	need_place_image(&self->place, &img, offset + shape->length + TAIL);
	ASSERT_EQ(0, mr_image_set(self->dev, img.fd, 0, &set));
	self->out_flags = set.out_flags;
	ASSERT_EQ(0, region_add(&r, self->dev, mem.addr, shape->length,
				offset, shape->page_size, 0));
	need_huge(&mem);
	need_model(&m, &r, &img);

	for (pass = 0; pass < (shape->length > 2 * MIB ? 2 : PASSES); pass++) {
		model_dirty_some(&m, &self->rng, pass ? 10 + 20 * pass : 90);
		/* dirty bits of pages that did not change */
		for (i = 0; i < 5; i++) {
			page = rng_below(&self->rng, r.nr_pages);
			bit_set(r.dirty, page);
			bit_set(m.dirty, page);
		}
		one_pass(_metadata, self, shape, &r, &m, &img);
	}
	model_free(&m);
	region_unmap_bitmaps(&r);
	ASSERT_EQ(0, mr_region_remove(self->dev, r.id));
	image_drop(&img);
	mem_unmap(&mem);
}

TEST_F_TIMEOUT(save_model, random_passes, 180)
{
	size_t i;

	for (i = 0; i < nr_shapes(&self->place); i++)
		one_shape(_metadata, self, &shapes[i]);
}

TEST_HARNESS_MAIN
