// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that what chooses the length of bridges (kmod/bridge.c) finds the
 * length that pays on devices of every kind, with noise, and again when the
 * device changes; that trials cost little; that it says nothing where I/Os tell
 * nothing; and that no cost, however absurd, leads to an answer out of bounds
 * or a division by zero. The devices are played in a time of their own.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"

#include "bridge.h"

#define MAX_EXTENT	256
#define MAX_WINDOW	256

/**
 * struct device - what an I/O costs it, in nanoseconds
 * @cpu: of the thread that submits, for each I/O
 * @io: of the device, for each I/O, one after the other
 * @unit: and for each unit
 * @latency: until it is seen, whatever else is under way
 * @noise: percent, to both sides, of each I/O; and one in 200 stalls
 */
struct device {
	uint64_t cpu, io, unit, latency;
	unsigned int noise;
};

static const struct device cloud = { 3000, 62000, 4000, 500000 };
static const struct device nvme = { 2000, 1000, 1400, 20000 };
static const struct device disk = { 3000, 5000000, 27000, 0 };
static const struct device far = { 2000, 0, 40, 1000000 };
static const struct device narrow = { 2000, 5000, 200000, 100000 };
static const struct device memory = { 3000, 0, 60, 0 };

/* A pass as the module makes it: @free is when the device has done all. */
struct pass {
	struct device dev;
	struct mram_bridge bridge;
	struct mram_bridge_trial trial;
	unsigned int window;
	uint64_t now, free, end[MAX_WINDOW];
	unsigned int first, busy;
	uint64_t ios, units, tried;
};

static uint64_t noisy(const struct pass *p, uint64_t cost)
{
	if (!p->dev.noise)
		return cost;
	if (random() % 200 == 0)
		return cost * 20;
	return cost * (100 - p->dev.noise + random() % (2 * p->dev.noise + 1)) /
	       100;
}

static void wait_one(struct pass *p)
{
	if (p->now < p->end[p->first])
		p->now = p->end[p->first];
	p->first = (p->first + 1) % MAX_WINDOW;
	p->busy--;
}

static void drain(struct pass *p)
{
	while (p->busy)
		wait_one(p);
}

static void submit(struct pass *p, uint64_t units)
{
	if (p->busy == p->window)
		wait_one(p);
	p->now += p->dev.cpu;
	if (p->free < p->now)
		p->free = p->now;
	p->free += noisy(p, p->dev.io + p->dev.unit * units);
	p->end[(p->first + p->busy++) % MAX_WINDOW] = p->free + p->dev.latency;
	p->ios++;
	p->units += units;
}

/* Save @nr pages, of every @step one, with bridges up to @limit. */
static void save(struct pass *p, unsigned int nr, unsigned int step,
		 unsigned int limit, bool choose)
{
	unsigned int bridge = limit, extent, left;
	uint64_t start = 0;

	if (choose && mram_bridge_due(&p->bridge, p->now)) {
		drain(p);
		start = p->now;
		mram_bridge_start(&p->bridge, &p->trial, p->window, p->now);
	}
	while (nr) {
		if (choose && p->trial.on)
			bridge = p->trial.way == MRAM_BRIDGE_JOINED ? limit : 0;
		else if (choose)
			bridge = p->bridge.best < limit ? p->bridge.best : limit;
		extent = 1;
		for (left = nr - 1; left && bridge >= step - 1 &&
		     extent + step <= MAX_EXTENT; left--)
			extent += step;
		nr = left;
		submit(p, extent);
		if (!p->trial.on || !mram_bridge_count(&p->trial, extent))
			continue;
		drain(p);
		mram_bridge_settle(&p->bridge, &p->trial, false, p->now);
		if (!p->trial.on)
			p->tried += p->now - start;
	}
	if (p->trial.on) {
		drain(p);
		mram_bridge_settle(&p->bridge, &p->trial, false, p->now);
		p->trial.on = false;
		p->tried += p->now - start;
	}
}

static void saves(struct pass *p, unsigned int times, unsigned int step)
{
	while (times--)
		save(p, 1024, step, 4096, true);
	drain(p);
}

FIXTURE(device) {
	struct pass p;
};

FIXTURE_VARIANT(device) {
	const struct device *dev;
	unsigned int window, least, most;
};

#define DEVICE(name_, window_, least_, most_)				\
	FIXTURE_VARIANT_ADD(device, name_##_##window_) {		\
		&name_, window_, least_, most_				\
	}
DEVICE(cloud, 32, 10, 20);
DEVICE(cloud, 1, 60, 200);
DEVICE(nvme, 32, 0, 2);
DEVICE(nvme, 256, 0, 2);
DEVICE(disk, 32, 130, 250);
DEVICE(disk, 1, 130, 250);
/* Here a full window is what makes an I/O cheap. */
DEVICE(far, 32, 40, 1000);
DEVICE(far, 256, 10, 120);
DEVICE(narrow, 32, 0, 0);
DEVICE(memory, 32, 40, 65);

FIXTURE_SETUP(device)
{
	srandom(1);
	self->p = (struct pass){ .dev = *variant->dev,
				 .window = variant->window };
}

FIXTURE_TEARDOWN(device)
{
}

TEST_F(device, is_found_out)
{
	saves(&self->p, 4, 4);
	EXPECT_LE(variant->least, self->p.bridge.best);
	EXPECT_GE(variant->most, self->p.bridge.best);
}

TEST_F(device, is_found_out_by_other_gaps)
{
	saves(&self->p, 4, 37);
	EXPECT_LE(variant->least, self->p.bridge.best);
	EXPECT_GE(variant->most, self->p.bridge.best);
}

TEST_F(device, is_found_out_in_noise)
{
	unsigned int good = 0, i;

	self->p.dev.noise = 60;
	saves(&self->p, 20, 4);
	for (i = 0; i < 200; i++) {
		saves(&self->p, 10, 4);
		good += 2 * self->p.bridge.best + 2 >= variant->least &&
			self->p.bridge.best <= 2 * variant->most + 1;
	}
	EXPECT_LE(190, good);
}

/* As good as the better one of all and nothing, but for what trials take. */
TEST_F(device, costs_little)
{
	struct pass all = self->p, none = self->p;
	struct pass *p = &self->p;
	unsigned int i;
	uint64_t best;

	for (i = 0; i < 1000; i++) {
		save(&all, 1024, 4, 4096, false);
		save(&none, 1024, 4, 0, false);
	}
	drain(&all);
	drain(&none);
	best = all.now < none.now ? all.now : none.now;
	saves(p, 1000, 4);
	EXPECT_GT(best + best / 6, p->now)
		TH_LOG("%llu instead of %llu", (unsigned long long)p->now,
		       (unsigned long long)best);
	EXPECT_GT(p->now / 20, p->tried);
}

static void change(struct __test_metadata *_metadata, struct pass *p,
		   const struct device *to, unsigned int least,
		   unsigned int most)
{
	p->dev = *to;
	saves(p, 2000, 4);
	EXPECT_LE(least, p->bridge.best);
	EXPECT_GE(most, p->bridge.best);
}

TEST(a_device_that_changes)
{
	struct pass p = { .dev = cloud, .window = 32 };

	saves(&p, 10, 4);
	change(_metadata, &p, &nvme, 0, 2);
	change(_metadata, &p, &cloud, 10, 20);
	change(_metadata, &p, &narrow, 0, 0);
	change(_metadata, &p, &cloud, 10, 20);
}

/* Each too short for a whole trial; what they say adds up. */
TEST(short_passes)
{
	struct pass p = { .dev = cloud, .window = 32 };
	int i;

	for (i = 0; i < 8; i++)
		save(&p, 50, 20, 4096, true);
	EXPECT_LE(10, p.bridge.best);
	EXPECT_GE(20, p.bridge.best);
}

/* Too short to fill the window: what was known stays, and is made use of. */
TEST(shorter_passes)
{
	struct pass p = { .dev = cloud, .window = 32 };
	uint64_t ios, due;
	int i;

	saves(&p, 4, 4);
	ios = p.ios;
	due = p.bridge.due;
	for (i = 0; i < 50000; i++)
		save(&p, 12, 4, 4096, true);
	EXPECT_LE(10, p.bridge.best);
	EXPECT_GE(20, p.bridge.best);
	/* One I/O each, but for what is tried. */
	EXPECT_GT(ios + 75000, p.ios);
	/* And tried it was. */
	EXPECT_LT(due, p.bridge.due);
}

/* No bridge is short enough, or nothing lies between: nothing can be learnt. */
TEST(one_length_only)
{
	struct pass p = { .dev = cloud, .window = 32 };
	uint64_t ios = 0;
	int i;

	for (i = 0; i < 100; i++, ios += 1024)
		save(&p, 1024, 4, 2, true);
	EXPECT_EQ(0, p.bridge.nr_found);
	EXPECT_EQ(0, p.bridge.best);
	EXPECT_EQ(ios, p.ios);
	EXPECT_GT(p.now / 10, p.tried);
}

TEST(a_single_trial_does_not_count)
{
	struct pass p = { .dev = cloud, .window = 32 };
	struct device slow = cloud;

	saves(&p, 4, 4);
	while (!mram_bridge_due(&p.bridge, p.now))
		saves(&p, 1, 4);
	slow.unit *= 1000;
	p.dev = slow;
	saves(&p, 1, 4);
	EXPECT_LE(10, p.bridge.best);
	EXPECT_GE(20, p.bridge.best);
}

TEST(what_is_spoiled_or_failed_says_nothing)
{
	struct mram_bridge_trial trial;
	struct mram_bridge b = { 0 };
	int i;

	for (i = 0; i < 4; i++) {
		mram_bridge_start(&b, &trial, 32, 1000);
		while (!mram_bridge_count(&trial, trial.way ? 100 : 1))
			;
		trial.spoiled = i % 2;
		mram_bridge_settle(&b, &trial, i < 2, 5000);
		EXPECT_EQ(i < 3 && !(i % 2) && i >= 2, trial.on);
		if (trial.on) {
			EXPECT_EQ(MRAM_BRIDGE_JOINED, trial.way);
			continue;
		}
		/* Not at once again. */
		EXPECT_FALSE(mram_bridge_due(&b, 5001));
		EXPECT_EQ(0, b.cost[MRAM_BRIDGE_APART].ios);
	}
	EXPECT_EQ(0, b.nr_found);
}

TEST(break_even_is_exact)
{
	struct mram_bridge_cost apart = { 64, 64 }, joined = { 16, 4096 };
	uint64_t io, unit;
	uint32_t units;

	for (io = 0; io < 3000000; io += 1 + io / 3) {
		for (unit = 1; unit < 3000000; unit += 1 + unit / 3) {
			apart.nsec = 64 * io + 64 * unit;
			joined.nsec = 16 * io + 4096 * unit;
			ASSERT_TRUE(mram_bridge_break_even(&apart, &joined,
							   &units));
			ASSERT_EQ(io / unit, units);
		}
	}
	/* Bytes for nothing; I/Os that are worse than nothing. */
	apart.nsec = 64 * 1000;
	joined.nsec = 16 * 1000;
	EXPECT_TRUE(mram_bridge_break_even(&apart, &joined, &units));
	EXPECT_EQ(1 << 24, units);
	joined.nsec = 1;
	EXPECT_TRUE(mram_bridge_break_even(&apart, &joined, &units));
	EXPECT_EQ(1 << 24, units);
	apart.nsec = 1;
	joined.nsec = 1000000;
	EXPECT_TRUE(mram_bridge_break_even(&apart, &joined, &units));
	EXPECT_EQ(0, units);
	/* Products of these do not fit; I/Os are dear all the same. */
	apart = (struct mram_bridge_cost){ 1, 1, 1ULL << 62 };
	joined = (struct mram_bridge_cost){ 1, 4, (1ULL << 62) + (1ULL << 50) };
	EXPECT_TRUE(mram_bridge_break_even(&apart, &joined, &units));
	EXPECT_LE(12287, units);
}

/* Long ones need not be many, with bridges or without. */
TEST(long_ios_end_a_trial)
{
	struct mram_bridge_trial trial;
	struct mram_bridge b = { 0 };
	int i;

	mram_bridge_start(&b, &trial, 32, 0);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(i, trial.way);
		/* A MiB for each of 16. */
		EXPECT_FALSE(mram_bridge_count(&trial, 16 * 256 - 1));
		EXPECT_TRUE(mram_bridge_count(&trial, 1));
		mram_bridge_settle(&b, &trial, false, 1000 + i);
	}
	EXPECT_FALSE(trial.on);
}

/* What a pass does besides I/Os is not what they cost. */
TEST(pauses_do_not_count)
{
	struct mram_bridge_trial trial;
	struct mram_bridge b = { 0 };

	mram_bridge_start(&b, &trial, 32, 1000);
	mram_bridge_pause(&trial, 1010);
	mram_bridge_resume(&trial, 500000);
	EXPECT_EQ(10, trial.cost.nsec);
	while (!mram_bridge_count(&trial, 1))
		;
	mram_bridge_settle(&b, &trial, false, 500005);
	EXPECT_EQ(15, b.cost[MRAM_BRIDGE_APART].nsec);
}

static uint64_t odd_number(void)
{
	uint64_t n = (uint64_t)random() << 33 ^ (uint64_t)random() << 16 ^
		     random();

	switch (random() % 8) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX - random() % 2;
	default:
		return n >> random() % 64;
	}
}

TEST(absurd_costs)
{
	struct mram_bridge_cost x, y;
	uint32_t units;
	int i;

	srandom(1);
	for (i = 0; i < 3000000; i++) {
		x = (struct mram_bridge_cost){ odd_number(), odd_number(),
					       odd_number() };
		y = (struct mram_bridge_cost){ odd_number(), odd_number(),
					       odd_number() };
		units = UINT32_MAX;
		if (mram_bridge_break_even(&x, &y, &units)) {
			ASSERT_GE(1 << 24, units);
			ASSERT_TRUE(x.ios && x.nsec && y.ios && y.nsec);
		} else {
			ASSERT_EQ(UINT32_MAX, units);
		}
	}
}

/* Calls in the right order with a clock gone mad, windows as they come */
TEST(absurd_times)
{
	struct mram_bridge_trial trial = { 0 };
	struct mram_bridge b = { 0 };
	unsigned int trials = 0, n;
	int i;

	srandom(2);
	for (i = 0; i < 300000; i++) {
		if (!mram_bridge_due(&b, odd_number()))
			continue;
		mram_bridge_start(&b, &trial, 1 + random() % 256, odd_number());
		trials++;
		while (trial.on) {
			n = 0;
			do {
				if (random() % 100 == 0)
					mram_bridge_pause(&trial, odd_number());
				if (random() % 100 == 0)
					mram_bridge_resume(&trial, odd_number());
				ASSERT_GE(512, ++n);
				if (random() % 1000 == 0)
					break;
			} while (!mram_bridge_count(&trial, random() % 3 ? 1 :
						    odd_number()));
			mram_bridge_settle(&b, &trial, random() % 50 == 0,
					   odd_number());
			ASSERT_GE(1 << 24, b.best);
		}
	}
	EXPECT_LT(1000, trials);
	EXPECT_LT(0, b.nr_found);
}

TEST_HARNESS_MAIN
