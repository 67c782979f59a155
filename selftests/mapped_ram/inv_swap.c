// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory which was swapped out is memory: dirty pages are brought
 * back and saved, none of them is taken for untouched, and clean pages stay
 * where they are, also when a bridge would like to go over them. A page of a
 * private mapping that is swapped out is not what the file holds in its place.
 */
#include <sys/mman.h>

#include "rig.h"
#include "harness.h"

#define PAGES	200

FIXTURE(inv_swap) {
	struct rig rig;
	struct scratch swap;
	struct rng rng;
};

FIXTURE_VARIANT(inv_swap) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_swap, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(inv_swap, anon_pin) { MEM_ANON, MAPPED_RAM_REGION_PIN };
FIXTURE_VARIANT_ADD(inv_swap, memfd) { MEM_MEMFD, 0 };
FIXTURE_VARIANT_ADD(inv_swap, memfd_pin) { MEM_MEMFD, MAPPED_RAM_REGION_PIN };

FIXTURE_SETUP(inv_swap)
{
	self->rng = rng_new(0x5a9);
	ASSERT_EQ(0, scratch_swap_on(&self->swap, 32 * MIB));
	need_rig(&self->rig, variant->kind, PAGES * page_size(),
		 variant->flags);
	rig_dirty_all(&self->rig, &self->rng);
	/* All of it is in the image, and clean. */
	ASSERT_EQ(0, rig_save(&self->rig, NULL))
		TH_LOG("%s", self->rig.m.why);
}

FIXTURE_TEARDOWN(inv_swap)
{
	rig_drop(&self->rig);
	scratch_swap_off(&self->swap);
}

/* Pages that are mapped. What is swapped out may linger in the swap cache. */
static size_t resident(const struct rig *rig)
{
	size_t i, there = 0;

	for (i = 0; i < PAGES; i++)
		there += page_frame(region_page(&rig->r, i)) > 0;
	return there;
}

/* As far out as the kernel lets it: pages that are pinned stay. */
static void swap_out(const struct rig *rig)
{
	int tries;

	for (tries = 0; tries < 20 && resident(rig); tries++) {
		madvise(rig->mem.addr, rig->mem.length, MADV_PAGEOUT);
		usleep(50 * 1000);
	}
}

TEST_F(inv_swap, dirty_pages_are_saved)
{
	struct rig *rig = &self->rig;
	size_t i;

	for (i = 0; i < PAGES; i += 3)
		model_write_random(&rig->m, &self->rng, i);
	swap_out(rig);
	if (!variant->flags) {
		ASSERT_GT(PAGES / 4, resident(rig));
	}
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

/*
 * Bridges of one page each, at odd places and at even ones: to who took the
 * entry of a page that is out for one that is there, every second may look as if
 * it was special.
 */
TEST_F(inv_swap, clean_pages_stay_out)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	size_t i, before;

	if (variant->flags)
		SKIP(return, "pinned pages are not swapped out");
	for (i = 0; i < 20; i += 2) {
		model_write_random(&rig->m, &self->rng, 100 + i);
		model_write_random(&rig->m, &self->rng, 151 + i);
	}
	swap_out(rig);
	before = resident(rig);
	ASSERT_GT(PAGES / 4, before);
	save.bridge = 8;
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	EXPECT_LE(resident(rig), before + 20);
	EXPECT_EQ(20, save.out_written_pages);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_F(inv_swap, what_zeroes_were_swapped_out_stay_zero)
{
	struct rig *rig = &self->rig;
	size_t i;

	for (i = 0; i < PAGES; i += 2)
		model_write_zero(&rig->m, i);
	swap_out(rig);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(PAGES / 2, bits_count(rig->r.file, 0, PAGES));
}

FIXTURE(inv_swap_private) {
	struct rig rig;
	struct scratch swap;
	struct rng rng;
};

FIXTURE_SETUP(inv_swap_private)
{
	struct mem *mem = &self->rig.mem;

	self->rng = rng_new(0x5aa);
	ASSERT_EQ(0, scratch_swap_on(&self->swap, 32 * MIB));
	need_rig(&self->rig, MEM_MEMFD, PAGES * page_size(), 0);
	rig_dirty_all(&self->rig, &self->rng);
	ASSERT_EQ(0, rig_save(&self->rig, NULL))
		TH_LOG("%s", self->rig.m.why);
	/* The same memory, and what is written from here on is not the file's. */
	ASSERT_EQ(mem->addr, mmap(mem->addr, mem->length,
				  PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_FIXED, mem->fd, 0));
}

FIXTURE_TEARDOWN(inv_swap_private)
{
	rig_drop(&self->rig);
	scratch_swap_off(&self->swap);
}

TEST_F(inv_swap_private, copies_are_saved)
{
	struct rig *rig = &self->rig;
	uint8_t *file;
	size_t i;

	for (i = 0; i < PAGES; i += 3)
		model_write_random(&rig->m, &self->rng, i);
	swap_out(rig);
	ASSERT_GT(PAGES / 4, resident(rig));
	/* What the file holds is there. */
	file = mmap(NULL, rig->mem.length, PROT_READ, MAP_SHARED | MAP_POPULATE,
		    rig->mem.fd, 0);
	ASSERT_NE(MAP_FAILED, file);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	munmap(file, rig->mem.length);
}

TEST_HARNESS_MAIN
