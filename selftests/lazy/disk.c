// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a disk which fails in the middle of a lazy restore, in places or
 * now and then, is an error that names the page, never wrong memory, and that
 * the restore goes on when the disk works again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "../mapped_ram/flaky.h"
#include "common.h"

#define LENGTH		(16 * MIB)
#define PAGES		(LENGTH / PAGE)
#define DISK		(32 * MIB)

FIXTURE(disk) {
	struct flaky flaky;
	struct model m;
	struct model on_disk;
	struct memory mem;
	struct mram_image *img;
	struct mram_restore_lazy *l;
	uint64_t pages_offset;
	int errors;
};

static void count_error(void *data, const struct mram_error *e)
{
	__atomic_add_fetch((int *)data, 1, __ATOMIC_RELAXED);
}

FIXTURE_SETUP(disk)
{
	struct mram_restore_lazy_opts o =
		MRAM_OPTS(mram_restore_lazy_opts,
			  .flags = MRAM_LAZY_PAUSED | MRAM_LAZY_WAIT,
			  .error = count_error, .data = &self->errors);
	struct mram_block_info i = { .size = sizeof(i) };
	int ret = flaky_open(&self->flaky, DISK);

	if (ret == -ENOENT)
		SKIP(return, "no device-mapper here");
	ASSERT_EQ(0, ret);
	random_seed(800);
	self->m = model_make(PATTERN_FULL, LENGTH);
	image_copy(self->flaky.path, self->m.path);
	self->on_disk = self->m;
	self->on_disk.path = self->flaky.path;
	self->mem = guest_make(MEMORY_PRIVATE, LENGTH);
	self->l = started(&self->img, &self->on_disk, self->mem.p, &o);
	ASSERT_OK(mram_image_block(self->img, 0, &i, &error));
	self->pages_offset = i.pages_offset;
}

FIXTURE_TEARDOWN(disk)
{
	if (!self->l)
		return;
	mram_restore_lazy_close(self->l);
	mram_image_close(self->img);
	flaky_close(&self->flaky);
	memory_free(&self->mem);
	model_free(&self->m);
	EXPECT_NO_LEAKS();
}

static int fail_pages(FIXTURE_DATA(disk) *self, uint64_t first, uint64_t count)
{
	struct flaky_part part = {
		.offset = self->pages_offset + first * PAGE,
		.length = count * PAGE,
		.what = FLAKY_ERROR,
	};

	return flaky_set(&self->flaky, &part, 1);
}

TEST_F_TIMEOUT(disk, fails_in_places, 180)
{
	struct waiter w[2];
	char name[32];

	ASSERT_EQ(0, fail_pages(self, 1001, 2));
	snprintf(name, sizeof(name), "page %u at", 1001);
	ASSERT_FAILS(-EIO, name, mram_restore_lazy_finish(self->l, NULL, &error));
	EXPECT_EQ(0, memcmp(self->mem.p, self->m.p, 16 * PAGE));
	/* Beside the bad ones, and between: only those that are bad wait. */
	waiter_start(&w[0], self->mem.p + 1001 * PAGE);
	waiter_start(&w[1], self->mem.p + 1003 * PAGE);
	waiter_join(&w[1]);
	EXPECT_EQ(0, w[1].signal);
	EXPECT_EQ(self->m.p[1003 * PAGE], w[1].byte);
	usleep(50000);
	EXPECT_FALSE(waiter_through(&w[0]));
	EXPECT_LE(2, stats_of(self->l).left);
	ASSERT_EQ(0, flaky_set_all(&self->flaky, FLAKY_PASS, 0));
	mram_restore_lazy_resume(self->l);
	ASSERT_OK(mram_restore_lazy_finish(self->l, NULL, &error));
	waiter_join(&w[0]);
	EXPECT_EQ(0, w[0].signal);
	EXPECT_EQ(self->m.p[1001 * PAGE], w[0].byte);
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	EXPECT_EQ(PAGES, stats_of(self->l).read);
}

struct flapping {
	struct flaky *flaky;
	int fails;
	bool stop;
};

static void *flap(void *data)
{
	struct flapping *f = data;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		f->fails += flaky_set_all(f->flaky, FLAKY_ERROR, 0) != 0;
		usleep(3000);
		f->fails += flaky_set_all(f->flaky, FLAKY_PASS, 0) != 0;
		usleep(3000);
	}
	return NULL;
}

TEST_F_TIMEOUT(disk, fails_now_and_then, 300)
{
	struct flapping f = { .flaky = &self->flaky };
	struct toucher t[3];
	pthread_t id[4];
	int i, ret;

	ASSERT_EQ(0, pthread_create(&id[3], NULL, flap, &f));
	for (i = 0; i < 3; i++) {
		t[i] = (struct toucher){ .m = &self->m, .p = self->mem.p,
					 .seed = i, .count = 3000 };
		ASSERT_EQ(0, pthread_create(&id[i], NULL, toucher_run, &t[i]));
	}
	while ((ret = mram_restore_lazy_finish(self->l, NULL, &error)) == -EIO)
		mram_restore_lazy_resume(self->l);
	ASSERT_OK(ret);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, pthread_join(id[i], NULL));
		EXPECT_EQ(0, t[i].wrong);
	}
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(id[3], NULL));
	EXPECT_EQ(0, f.fails);
	EXPECT_EQ(-1, differing_page(&self->m, self->mem.p));
	EXPECT_EQ(PAGES, stats_of(self->l).read);
	TH_LOG("%d errors", self->errors);
}

TEST_HARNESS_MAIN
