// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that passes of one session may be made by several threads: on ranges
 * that do not overlap they run at the same time, also where these share words
 * of the bitmaps; on ranges that do, one after the other (invariant 9), so that
 * a pass that finds nothing left to do returns only when the image has it; and
 * that calls which would pull the ground from under a running pass are EBUSY.
 */
#include "inflight.h"
#include "harness.h"

#define PAGES	300
#define THREADS	4

FIXTURE(concurrent) {
	struct slow_rig slow;
	struct rig *rig;
};

FIXTURE_SETUP(concurrent)
{
	need_slow_rig(&self->slow, MEM_ANON, PAGES, 0);
	self->rig = &self->slow.rig;
}

FIXTURE_TEARDOWN(concurrent)
{
	slow_rig_drop(&self->slow);
}

struct worker {
	pthread_t thread;
	struct rig *rig;
	struct rng rng;
	size_t first, nr;
	int rounds;
	int failed;		/* the first -errno */
	bool *stop;
};

/* Where no page is another thread's, the model may be used by all of them. */
static void *save_own_range(void *arg)
{
	struct worker *w = arg;
	struct mapped_ram_save save;
	uint64_t written, zero;
	size_t page;
	int i;

	for (i = 0; i < w->rounds && !w->failed; i++) {
		for (page = w->first; page < w->first + w->nr; page++) {
			if (rng_percent(&w->rng, 40))
				continue;
			if (rng_percent(&w->rng, 30))
				model_write_zero(&w->rig->m, page);
			else
				model_write_random(&w->rig->m, &w->rng, page);
		}
		model_save(&w->rig->m, w->first, w->nr, &written, &zero);
		save = save_args(&w->rig->r, w->first, w->nr);
		save.bridge = rng_below(&w->rng, 4);
		if (rng_percent(&w->rng, 30))
			save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
		save.window = 1 + rng_below(&w->rng, 8);
		w->failed = save_pass(&w->rig->r, &save);
		if (!w->failed && (save.out_written_pages != written ||
				   save.out_zero_pages != zero))
			w->failed = -EBADMSG;
	}
	return NULL;
}

TEST_F(concurrent, disjoint_ranges)
{
	/* Borders in the middle of words */
	static const size_t borders[THREADS + 1] = { 0, 37, 150, 200, PAGES };
	struct worker w[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		w[i] = (struct worker){
			.rig = self->rig,
			.rng = rng_new(0xd15 + i),
			.first = borders[i],
			.nr = borders[i + 1] - borders[i],
			.rounds = 40,
		};
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, save_own_range,
					    &w[i]));
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(0, w[i].failed);
	}
	EXPECT_EQ(0, model_check(&self->rig->m));
}

TEST_F(concurrent, disjoint_ranges_at_the_same_time)
{
	struct pass p[THREADS];
	int i;

	model_save(&self->rig->m, 0, PAGES, NULL, NULL);
	need_held(&self->slow, 0);
	for (i = 0; i < THREADS; i++)
		need_save_started(&p[i], &self->rig->r, i * PAGES / THREADS,
				  PAGES / THREADS);
	/* An I/O of each; one after the other there would be one only. */
	EXPECT_TRUE(wait_held(&self->slow.disk, THREADS, &p[0]));
	for (i = 0; i < THREADS; i++)
		EXPECT_FALSE(pass_done(&p[i]));
	need_delay(&self->slow, 0);
	for (i = 0; i < THREADS; i++)
		EXPECT_EQ(0, pass_wait(&p[i]));
	EXPECT_EQ(0, model_check(&self->rig->m));
}

TEST_F(concurrent, overlapping_ranges_wait)
{
	struct region *r = &self->rig->r;
	struct pass first, second;

	need_held(&self->slow, 0);
	need_save_started(&first, r, 0, 200);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &first));
	/* Only pages that the first has claimed: nothing is dirty here. */
	EXPECT_EQ(0, bits_count(r->dirty, 100, 100));
	need_save_started(&second, r, 100, 100);
	wait_asleep(&second);
	EXPECT_FALSE(pass_done(&second));
	EXPECT_EQ(0, bits_count(r->file, 100, 100));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&second));
	EXPECT_EQ(0, second.save.out_written_pages);
	/* But now they are in the image, which is what the caller relies on. */
	EXPECT_EQ(100, bits_count(r->file, 100, 100));
	EXPECT_EQ(0, pass_wait(&first));
	EXPECT_EQ(200, first.save.out_written_pages);
	model_save(&self->rig->m, 0, 200, NULL, NULL);
	EXPECT_EQ(0, model_check(&self->rig->m));
}

/* A pass beside one that waits, and not behind it */
TEST_F(concurrent, no_convoy)
{
	struct region *r = &self->rig->r;
	struct pass first, second, third;

	need_held(&self->slow, 0);
	need_save_started(&first, r, 0, 100);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &first));
	need_save_started(&second, r, 50, 100);
	wait_asleep(&second);
	need_save_started(&third, r, 200, 100);
	EXPECT_TRUE(wait_held(&self->slow.disk, 2, &first));
	EXPECT_EQ(0, bits_count(r->dirty, 200, 100));
	EXPECT_EQ(50, bits_count(r->dirty, 50, 100));
	EXPECT_FALSE(pass_done(&first));
	EXPECT_FALSE(pass_done(&second));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&third));
	EXPECT_EQ(0, pass_wait(&first));
	EXPECT_EQ(0, pass_wait(&second));
	EXPECT_EQ(50, second.save.out_written_pages);
	model_save(&self->rig->m, 0, 150, NULL, NULL);
	model_save(&self->rig->m, 200, 100, NULL, NULL);
	EXPECT_EQ(0, model_check(&self->rig->m));
}

static void *save_all_the_time(void *arg)
{
	struct worker *w = arg;
	struct mapped_ram_save save;

	while (!__atomic_load_n(w->stop, __ATOMIC_RELAXED) && !w->failed) {
		size_t first = rng_below(&w->rng, PAGES);

		save = save_args(&w->rig->r, first,
				 1 + rng_below(&w->rng, PAGES - first));
		if (rng_percent(&w->rng, 30))
			save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
		w->failed = save_pass(&w->rig->r, &save);
	}
	return NULL;
}

/* Ranges at random, while the memory is written to */
TEST_F(concurrent, anything_goes)
{
	struct rng rng = rng_new(0xa11);
	struct worker w[THREADS];
	bool stop = false;
	int i;

	for (i = 0; i < THREADS; i++) {
		w[i] = (struct worker){
			.rig = self->rig,
			.rng = rng_new(0xa12 + i),
			.stop = &stop,
		};
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL,
					    save_all_the_time, &w[i]));
	}
	for (i = 0; i < 5000; i++) {
		if (rng_percent(&rng, 20))
			model_write_zero(&self->rig->m, rng_below(&rng, PAGES));
		else
			model_write_random(&self->rig->m, &rng,
					   rng_below(&rng, PAGES));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		EXPECT_EQ(0, w[i].failed);
	}
	EXPECT_EQ(0, model_check_union(&self->rig->m));
	EXPECT_EQ(0, rig_save(self->rig, NULL)) TH_LOG("%s", self->rig->m.why);
	EXPECT_TRUE(region_is_saved(&self->rig->r, &self->rig->img));
}

/* Regions of one session, with pages of different sizes, in one image */
TEST_F(concurrent, several_regions)
{
	static const uint32_t sizes[] = { 4096, 16384, 65536 };
	const size_t length = 20 * 65536;
	struct region r[ARRAY_LEN(sizes)];
	struct pass p[ARRAY_LEN(sizes)];
	struct mem mem[ARRAY_LEN(sizes)];
	struct rng rng = rng_new(0x5e7);
	struct image img;
	int round, dev = mr_open();
	size_t i, page;

	ASSERT_LE(0, dev);
	need_image_file(&img, NULL, ARRAY_LEN(sizes) * 2 * MIB);
	ASSERT_EQ(0, mr_image_set(dev, img.fd, 0, NULL));
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		ASSERT_EQ(0, mem_map(&mem[i], i ? MEM_MEMFD : MEM_ANON,
				     length));
		ASSERT_EQ(0, region_add(&r[i], dev, mem[i].addr, length,
					i * 2 * MIB, sizes[i], 0));
	}
	for (round = 0; round < 10; round++) {
		for (i = 0; i < ARRAY_LEN(sizes); i++) {
			for (page = 0; page < r[i].nr_pages; page++) {
				if (rng_percent(&rng, 50))
					continue;
				rng_fill(&rng, region_page(&r[i], page), 64);
				bit_set(r[i].dirty, page);
			}
		}
		for (i = 0; i < ARRAY_LEN(sizes); i++)
			need_save_started(&p[i], &r[i], 0, r[i].nr_pages);
		for (i = 0; i < ARRAY_LEN(sizes); i++)
			EXPECT_EQ(0, pass_wait(&p[i]));
		for (i = 0; i < ARRAY_LEN(sizes); i++)
			ASSERT_TRUE(region_is_saved(&r[i], &img));
	}
	for (i = 0; i < ARRAY_LEN(sizes); i++) {
		region_unmap_bitmaps(&r[i]);
		mem_unmap(&mem[i]);
	}
	close(dev);
	image_drop(&img);
}

static void expect_busy(struct __test_metadata *_metadata,
			struct slow_rig *slow, unsigned long cmd)
{
	struct rig *rig = &slow->rig;
	struct mapped_ram_image_set set = {
		.size = sizeof(set),
		.fd = rig->img.fd,
		.out_mem_align = 0x5a5a5a5a,
	}, before = set;
	struct mapped_ram_info info;
	struct region other;
	struct pass p;

	need_held(slow, 0);
	if (cmd == MAPPED_RAM_SAVE)
		need_save_started(&p, &rig->r, 0, PAGES);
	else
		need_load_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&slow->disk, 1, &p));
	EXPECT_EQ(-EBUSY, mr_region_remove(rig->dev, rig->r.id));
	EXPECT_EQ(-EBUSY, mr_ioctl(rig->dev, MAPPED_RAM_IMAGE_SET, &set));
	EXPECT_EQ(0, memcmp(&set, &before, sizeof(set)));
	/* What does no harm goes on. */
	EXPECT_EQ(0, mr_info(rig->dev, &info));
	EXPECT_EQ(0, region_add(&other, rig->dev, rig->mem.addr, page_size(),
				0, page_size(), 0));
	EXPECT_EQ(0, mr_region_remove(rig->dev, other.id));
	region_unmap_bitmaps(&other);
	EXPECT_FALSE(pass_done(&p));
	need_delay(slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
}

TEST_F(concurrent, busy_while_saving)
{
	model_save(&self->rig->m, 0, PAGES, NULL, NULL);
	expect_busy(_metadata, &self->slow, MAPPED_RAM_SAVE);
	EXPECT_EQ(0, model_check(&self->rig->m));
	/* And not a moment longer. */
	EXPECT_EQ(0, mr_image_set(self->rig->dev, self->rig->img.fd, 0, NULL));
	EXPECT_EQ(0, mr_region_remove(self->rig->dev, self->rig->r.id));
}

TEST_F(concurrent, busy_while_loading)
{
	ASSERT_EQ(0, rig_save(self->rig, NULL));
	memset(self->rig->r.mem, 0xee, self->rig->r.length);
	expect_busy(_metadata, &self->slow, MAPPED_RAM_LOAD);
	EXPECT_EQ(0, model_check(&self->rig->m));
	EXPECT_EQ(0, mr_image_set(self->rig->dev, self->rig->img.fd, 0, NULL));
	EXPECT_EQ(0, mr_region_remove(self->rig->dev, self->rig->r.id));
}

TEST_HARNESS_MAIN
