// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that bridges which the module chooses come out as the device wants
 * them: on one where an I/O takes long they are built, on one where bytes take
 * long they are not, told by the number of I/Os; within the caller's limit;
 * that the choice outlives the pass and not the image. And that choosing makes
 * no image wrong, whatever is dirty, missing or written to meanwhile.
 */
#include <pthread.h>

#include "inflight.h"
#include "nullb.h"
#include "harness.h"

/* What is saved to a device that keeps nothing; every 4th page is dirty */
#define LENGTH		(16 * MIB)
#define EVERY		4
#define DIRTY		(LENGTH / page_size() / EVERY)

/* What is saved to one that can be looked at */
#define PAGES		3000
#define PASSES		25
#define WRITERS		2
/* of each writer, for each pass */
#define CHANGES		(PAGES / 8)

FIXTURE(bridge_auto) {
	struct mem mem;
	struct region r;
	char path[64];
	int dev;
	int image;
};

FIXTURE_VARIANT(bridge_auto) {
	const char *how;
	uint32_t window;
	uint32_t max_extent;
	bool pays;
};

FIXTURE_VARIANT_ADD(bridge_auto, slow) {
	.how = "echo 2 >irqmode; echo 2000000 >completion_nsec",
	.window = 2,
	.pays = true,
};

/*
 * A page takes 2 ms, which is more than an I/O costs the processor, even one
 * that is emulated on a busy host. A request must fit into what null_blk lets
 * pass in 20 ms, or it never does.
 */
FIXTURE_VARIANT_ADD(bridge_auto, narrow) {
	.how = "echo 2 >mbps; echo 64 >max_sectors",
	.window = 64,
	.max_extent = 64 * KIB,
	.pays = false,
};

static void need_region(struct region *r, int dev, uint8_t *mem)
{
	int err = region_add(r, dev, mem, LENGTH, 0, page_size(), 0);

	if (err)
		need_failed("REGION_ADD: %s", strerror(-err));
	/* As a first pass would leave it */
	bits_set(r->file, 0, r->nr_pages);
}

FIXTURE_SETUP(bridge_auto)
{
	ASSERT_EQ(0, mem_map(&self->mem, MEM_ANON, LENGTH));
	memset(self->mem.addr, 0x77, LENGTH);
	need_nullb(self->path, sizeof(self->path), LENGTH / MIB + 1,
		   variant->how);
	self->image = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->image) TH_LOG("%s: %m", self->path);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, mr_image_set(self->dev, self->image, 0, NULL));
	need_region(&self->r, self->dev, self->mem.addr);
}

FIXTURE_TEARDOWN(bridge_auto)
{
	region_unmap_bitmaps(&self->r);
	close(self->dev);
	close(self->image);
	mem_unmap(&self->mem);
	EXPECT_EQ(0, nullb_drop());
}

static struct mapped_ram_save scatter(const struct region *r, uint32_t window,
				      uint32_t max_extent)
{
	struct mapped_ram_save save = save_args(r, 0, r->nr_pages);
	size_t page;

	for (page = 0; page < r->nr_pages; page += EVERY)
		bit_set(r->dirty, page);
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	save.window = window;
	save.max_extent = max_extent;
	return save;
}

TEST_F(bridge_auto, does_what_pays)
{
	struct mapped_ram_save save;
	int pass;

	for (pass = 0; pass < 3; pass++) {
		save = scatter(&self->r, variant->window, variant->max_extent);
		ASSERT_EQ(0, save_pass(&self->r, &save));
		EXPECT_EQ(DIRTY, save.out_written_pages);
		EXPECT_EQ((save.out_written_pages + save.out_bridged_pages) *
			  page_size(), save.out_bytes);
		EXPECT_EQ(0, bits_count(self->r.dirty, 0, self->r.nr_pages));
		/* Trials are made both ways on either. */
		if (variant->pays) {
			EXPECT_GT(DIRTY / 8, save.out_ios);
			EXPECT_LE(EVERY - 1, save.out_bridge);
		} else {
			EXPECT_LT(DIRTY * 2 / 3, save.out_ios);
			EXPECT_GT(EVERY - 1, save.out_bridge);
		}
		TH_LOG("%llu I/Os, %llu pages bridged, at most %u in a row",
		       (unsigned long long)save.out_ios,
		       (unsigned long long)save.out_bridged_pages,
		       save.out_bridge);
	}
}

TEST_F(bridge_auto, heeds_the_limit)
{
	struct mapped_ram_save save = scatter(&self->r, 0, 0);

	save.bridge = EVERY - 2;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(DIRTY, save.out_ios);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_GE(EVERY - 2, save.out_bridge);
}

/* One I/O of two dirty pages, but for passes that try again what is known */
static bool joins_two(const struct region *r)
{
	struct mapped_ram_save save = save_args(r, 0, EVERY + 1);
	int tries;

	for (tries = 0; tries < 5; tries++) {
		bit_set(r->dirty, 0);
		bit_set(r->dirty, EVERY);
		save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
		if (save_pass(r, &save))
			return false;
		if (save.out_ios == 1)
			return true;
	}
	return false;
}

TEST_F(bridge_auto, is_kept_and_dropped)
{
	struct mapped_ram_save save;
	int pass;

	EXPECT_FALSE(joins_two(&self->r));
	/* After these small ones it may be a pass's time until the next trial. */
	for (pass = 0; pass < 3; pass++) {
		save = scatter(&self->r, variant->window, variant->max_extent);
		ASSERT_EQ(0, save_pass(&self->r, &save));
	}
	EXPECT_EQ(variant->pays, joins_two(&self->r));
	/* What is said of another image */
	ASSERT_EQ(0, mr_image_set(self->dev, self->image, 0, NULL));
	EXPECT_FALSE(joins_two(&self->r));
	save = save_args(&self->r, 0, 1);
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(0, save.out_bridge);
}

/* Where there is nothing to bridge, nothing is tried. */
TEST_F(bridge_auto, nothing_to_bridge)
{
	struct mapped_ram_save save = scatter(&self->r, 0, 0), plain;

	bits_clear(self->r.file, 0, self->r.nr_pages);
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(DIRTY, save.out_ios);
	EXPECT_EQ(0, save.out_bridged_pages);
	EXPECT_EQ(0, save.out_bridge);

	bits_set(self->r.dirty, 0, self->r.nr_pages);
	plain = save_args(&self->r, 0, self->r.nr_pages);
	plain.window = variant->window;
	ASSERT_EQ(0, save_pass(&self->r, &plain));
	bits_set(self->r.dirty, 0, self->r.nr_pages);
	save.window = variant->window;
	ASSERT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(plain.out_ios, save.out_ios);
	EXPECT_EQ(0, save.out_bridge);
}

FIXTURE(bridge_auto_model) {
	struct slow_rig slow;
	struct rig *rig;
	struct rng rng;
	bool stop;
};

FIXTURE_VARIANT(bridge_auto_model) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(bridge_auto_model, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(bridge_auto_model, anon_pin) {
	MEM_ANON, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(bridge_auto_model, memfd) { MEM_MEMFD, 0 };

FIXTURE_SETUP(bridge_auto_model)
{
	need_slow_rig(&self->slow, variant->kind, PAGES, variant->flags);
	self->rig = &self->slow.rig;
	self->rng = rng_new(0xb41d);
}

FIXTURE_TEARDOWN(bridge_auto_model)
{
	slow_rig_drop(&self->slow);
}

static struct mapped_ram_save random_save(const struct region *r,
					  struct rng *rng)
{
	struct mapped_ram_save save = save_args(r, 0, r->nr_pages);

	if (rng_percent(rng, 30)) {
		save.first_page = rng_below(rng, r->nr_pages);
		save.nr_pages = 1 + rng_below(rng, r->nr_pages -
					      save.first_page);
	}
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	save.window = rng_below(rng, 20);
	save.bridge = rng_below(rng, 2) * rng_below(rng, 40);
	save.max_extent = rng_below(rng, 3) * rng_below(rng, 40) * page_size();
	return save;
}

/*
 * The image byte for byte: pages that it does not hold keep their poison, those
 * that were written along are what they were.
 */
TEST_F(bridge_auto_model, random_passes)
{
	struct rig *rig = self->rig;
	struct mapped_ram_save save;
	uint64_t bridged = 0;
	int pass;

	/* All of it was dirty. */
	bits_clear(rig->r.dirty, PAGES / 3, PAGES / 5);
	bits_clear(rig->m.dirty, PAGES / 3, PAGES / 5);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	for (pass = 0; pass < PASSES; pass++) {
		model_dirty_some(&rig->m, &self->rng,
				 rng_below(&self->rng, 40));
		save = random_save(&rig->r, &self->rng);
		ASSERT_EQ(0, rig_save(rig, &save))
			TH_LOG("pass %d, range %llu+%llu window %u bridge %u extent %u: %s",
			       pass, (unsigned long long)save.first_page,
			       (unsigned long long)save.nr_pages, save.window,
			       save.bridge, save.max_extent, rig->m.why);
		bridged += save.out_bridged_pages;
		if (save.bridge)
			EXPECT_GE(save.bridge, save.out_bridge);
	}
	/* Or it would prove nothing. */
	EXPECT_LT(0, bridged);
}

struct writer {
	FIXTURE_DATA(bridge_auto_model) *self;
	pthread_t thread;
	struct rng rng;
	size_t first, nr;
	size_t left;		/* changes to make before it waits */
};

/* Pages of its own, here and there; told after they were changed */
static void *write_some(void *arg)
{
	struct writer *w = arg;
	const struct region *r = &w->self->rig->r;
	size_t page;

	while (!__atomic_load_n(&w->self->stop, __ATOMIC_ACQUIRE)) {
		if (!__atomic_load_n(&w->left, __ATOMIC_ACQUIRE)) {
			usleep(200);
			continue;
		}
		page = w->first + rng_below(&w->rng, w->nr);
		if (rng_percent(&w->rng, 15))
			memset(region_page(r, page), 0, r->page_size);
		else
			rng_fill(&w->rng, region_page(r, page), r->page_size);
		bit_set(r->dirty, page);
		__atomic_sub_fetch(&w->left, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Until each of them has @left changes to make or fewer */
static void wait_for_writers(const struct writer *writers, size_t left)
{
	int i;

	for (i = 0; i < WRITERS; i++)
		while (__atomic_load_n(&writers[i].left, __ATOMIC_ACQUIRE) >
		       left)
			usleep(200);
}

/*
 * A disk that takes its time, so that writers come upon I/Os in flight, and a
 * look at everything after each pass, since a later one may mend what was lost.
 */
TEST_F(bridge_auto_model, writers)
{
	struct rig *rig = self->rig;
	struct writer writers[WRITERS];
	struct mapped_ram_save save;
	uint64_t bridged = 0;
	int pass, i;

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	need_delay(&self->slow, 3);
	for (i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){
			.self = self,
			.rng = rng_new(0xb41d00 + i),
			.first = i * PAGES / WRITERS,
			.nr = PAGES / WRITERS,
		};
		ASSERT_EQ(0, pthread_create(&writers[i].thread, NULL,
					    write_some, &writers[i]));
	}
	for (pass = 0; pass < PASSES; pass++) {
		for (i = 0; i < WRITERS; i++)
			__atomic_store_n(&writers[i].left, CHANGES,
					 __ATOMIC_RELEASE);
		/* The others come during the pass. */
		wait_for_writers(writers, CHANGES * 2 / 3);
		save = random_save(&rig->r, &self->rng);
		save.window += 4;
		EXPECT_EQ(0, save_pass(&rig->r, &save));
		bridged += save.out_bridged_pages;
		wait_for_writers(writers, 0);
		memcpy(rig->m.mem, rig->r.mem, rig->r.length);
		ASSERT_EQ(0, model_check_union(&rig->m))
			TH_LOG("pass %d: %s", pass, rig->m.why);
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	EXPECT_LT(0, bridged);
	save = save_args(&rig->r, 0, PAGES);
	save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	EXPECT_TRUE(region_is_saved(&rig->r, &rig->img));
}

TEST_HARNESS_MAIN
