// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that what a guest writes to pages while they are on their way to the
 * image stays dirty: the clean ones of a bridge, whose dirty bits nobody
 * claimed, as well as those that the pass was about (invariants 1 and 2). With
 * bridges that the caller asked for, and with those that the module chose.
 *
 * The device has its data at once and then takes its time to say so: so it is
 * certain that the image does not hold what is written meanwhile.
 */
#include "inflight.h"
#include "nullb.h"
#include "harness.h"

#define PAGES	1024
#define EVERY	4
/* Dirty pages of the pass that is watched, all in one I/O */
#define DIRTY	8
#define SPAN	((DIRTY - 1) * EVERY + 1)
#define MSEC	400

FIXTURE(bridge_live) {
	struct rig rig;
	struct rng rng;
	char path[64];
};

FIXTURE_VARIANT(bridge_live) {
	enum mem_kind kind;
	uint32_t region_flags;
	uint32_t save_flags;
};

FIXTURE_VARIANT_ADD(bridge_live, anon) { MEM_ANON, 0, 0 };
FIXTURE_VARIANT_ADD(bridge_live, memfd_pin) {
	MEM_MEMFD, MAPPED_RAM_REGION_PIN, 0
};
FIXTURE_VARIANT_ADD(bridge_live, chosen) {
	MEM_ANON, 0, MAPPED_RAM_SAVE_BRIDGE_AUTO
};

FIXTURE_SETUP(bridge_live)
{
	char how[128];

	snprintf(how, sizeof(how),
		 "echo 1 >memory_backed; echo 2 >irqmode; echo %lu >completion_nsec",
		 MSEC * 1000000UL);
	need_nullb(self->path, sizeof(self->path), 8, how);
	need_rig_on(&self->rig, variant->kind, PAGES * page_size(),
		    variant->region_flags, self->path);
	self->rng = rng_new(0x11fe);
}

FIXTURE_TEARDOWN(bridge_live)
{
	rig_drop(&self->rig);
	EXPECT_EQ(0, nullb_drop());
}

static struct mapped_ram_save bridging(const struct region *r, uint32_t flags)
{
	struct mapped_ram_save save = save_args(r, 0, r->nr_pages);

	save.flags = flags;
	save.bridge = EVERY;
	save.window = 8;
	save.max_extent = SPAN * page_size();
	return save;
}

/* A pass that is long enough for trials: from then on bridges are built. */
static void learn(struct __test_metadata *_metadata,
		  FIXTURE_DATA(bridge_live) *self, uint32_t flags)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = bridging(&rig->r, flags);
	size_t page;

	for (page = 0; page < PAGES; page += EVERY)
		model_write_random(&rig->m, &self->rng, page);
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	ASSERT_LE(EVERY - 1, save.out_bridge);
}

/*
 * What the guest does while the pass is at it: every page of the I/O but one in
 * five gets something else, here and there zeroes. Return: how many
 */
static size_t write_all_over(struct rig *rig, struct rng *rng)
{
	size_t page, nr = 0;

	for (page = 0; page < SPAN; page++) {
		if (page % 5 == 3)
			continue;
		if (page % 5 == 1)
			model_write_zero(&rig->m, page);
		else
			model_write_random(&rig->m, rng, page);
		nr++;
	}
	return nr;
}

TEST_F(bridge_live, stays_dirty)
{
	struct rig *rig = &self->rig;
	struct pass p = { .r = &rig->r, .cmd = MAPPED_RAM_SAVE };
	size_t page, nr;
	bool in_time;
	int tries;

	rig_dirty_all(rig, &self->rng);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	if (variant->save_flags)
		learn(_metadata, self, variant->save_flags);

	/* Once, if this machine is not too slow to be in time */
	for (tries = 0, in_time = false; tries < 10 && !in_time; tries++) {
		for (page = 0; page < SPAN; page += EVERY)
			model_write_random(&rig->m, &self->rng, page);
		p.save = bridging(&rig->r, variant->save_flags);
		model_save(&rig->m, 0, PAGES, NULL, NULL);
		need_pass_started(&p);
		wait_in_flight(self->path, &p);
		nr = write_all_over(rig, &self->rng);
		in_time = !pass_done(&p);
		ASSERT_EQ(0, pass_wait(&p));
		ASSERT_EQ(1, p.save.out_ios);
		ASSERT_EQ(DIRTY, p.save.out_written_pages);
		ASSERT_EQ(SPAN - DIRTY, p.save.out_bridged_pages);

		EXPECT_EQ(nr, bits_count(rig->r.dirty, 0, PAGES));
		EXPECT_EQ(0, model_check_union(&rig->m));
		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
		ASSERT_TRUE(region_is_saved(&rig->r, &rig->img));
		/* Zeroes are not in the image, and are nothing to bridge. */
		rig_dirty_all(rig, &self->rng);
		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	}
	EXPECT_TRUE(in_time);
	TH_LOG("%d tries", tries);
}

TEST_HARNESS_MAIN
