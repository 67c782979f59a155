// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 10: on a slow device a signal stops a pass as soon as what
 * is in flight is done, with EINTR and true counts; no dirty bit is lost, what
 * the image holds is right, and the next pass completes it. Signals that
 * nobody sees stop nothing.
 */
#include <sys/time.h>
#include <time.h>

#include "rig.h"
#include "harness.h"

#define PAGES	400
#define DELAY	200	/* ms that a write takes */
#define WINDOW	4
/*
 * One page a write: a whole pass takes 20 s, a window 0.2 s. The signal comes
 * after one second.
 */
#define ENOUGH	7.0	/* s, for a machine that is slow itself */

FIXTURE(inv_signal) {
	struct flaky disk;
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(inv_signal) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_signal, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(inv_signal, memfd_pin) { MEM_MEMFD, MAPPED_RAM_REGION_PIN };

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	alarms++;
}

FIXTURE_SETUP(inv_signal)
{
	int err = flaky_open(&self->disk, 16 * MIB);

	if (err == -ENOENT)
		SKIP(return, "no device-mapper");
	ASSERT_EQ(0, err);
	self->rng = rng_new(0x51617);
	need_rig_on(&self->rig, variant->kind, PAGES * page_size(),
		    variant->flags, self->disk.path);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(inv_signal)
{
	rig_drop(&self->rig);
	flaky_close(&self->disk);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void alarm_every_second(struct __test_metadata *_metadata,
			       void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };
	struct itimerval timer = {
		.it_value.tv_sec = 1,
		.it_interval.tv_sec = 1,
	};

	ASSERT_EQ(0, sigaction(SIGALRM, &act, NULL));
	ASSERT_EQ(0, setitimer(ITIMER_REAL, &timer, NULL));
}

static void no_alarm(void)
{
	struct itimerval timer = { 0 };

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void interrupted(struct __test_metadata *_metadata,
			FIXTURE_DATA(inv_signal) *self, int flags)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	double start, took;
	size_t left;

	save.window = WINDOW;
	save.max_extent = page_size();
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, DELAY));
	alarm_every_second(_metadata, on_alarm, flags);
	start = now();
	EXPECT_EQ(-EINTR, save_pass(&rig->r, &save));
	took = now() - start;
	no_alarm();
	EXPECT_GT(ENOUGH, took) TH_LOG("%.1f s", took);
	EXPECT_LE(1, alarms);

	left = bits_count(rig->r.dirty, 0, PAGES);
	EXPECT_LT(0, left);
	EXPECT_LT(0, save.out_written_pages);
	EXPECT_EQ(PAGES, left + save.out_written_pages);
	EXPECT_EQ(save.out_written_pages, bits_count(rig->r.file, 0, PAGES));
	EXPECT_EQ(save.out_written_pages, save.out_ios);
	EXPECT_EQ(save.out_written_pages * page_size(), save.out_bytes);
	/* No page failed. */
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, save.out_error_page);

	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(PAGES, bits_count(rig->r.file, 0, PAGES));
}

TEST_F(inv_signal, stops_a_save)
{
	interrupted(_metadata, self, 0);
}

/* A restarted pass would hide from its caller what it has done. */
TEST_F(inv_signal, stops_a_save_with_sa_restart)
{
	interrupted(_metadata, self, SA_RESTART);
}

TEST_F(inv_signal, stops_a_load)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_load load = load_args(&rig->r, 0, PAGES);
	double start, took;

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	memset(rig->mem.addr, 0, rig->mem.length);
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	load.window = WINDOW;
	load.max_extent = page_size();
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, DELAY));
	alarm_every_second(_metadata, on_alarm, 0);
	start = now();
	EXPECT_EQ(-EINTR, load_pass(&rig->r, &load));
	took = now() - start;
	no_alarm();
	EXPECT_GT(ENOUGH, took) TH_LOG("%.1f s", took);
	EXPECT_LT(0, load.out_read_pages);
	EXPECT_LT(load.out_read_pages, PAGES);
	/* All before it is there. */
	ASSERT_LE(load.out_error_page, load.out_read_pages);
	EXPECT_LT(0, load.out_error_page);
	EXPECT_EQ(0, memcmp(rig->mem.addr, rig->m.mem,
			    load.out_error_page * page_size()));

	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
	load = load_args(&rig->r, 0, PAGES);
	ASSERT_EQ(0, load_pass(&rig->r, &load));
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_F(inv_signal, ignored_stops_nothing)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	sigset_t set;

	save.window = 32;
	save.max_extent = page_size();
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, DELAY));
	alarm_every_second(_metadata, SIG_IGN, 0);
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);

	/* Neither does one that is blocked. */
	rig_dirty_all(rig, &self->rng);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	alarm_every_second(_metadata, on_alarm, 0);
	save = save_args(&rig->r, 0, PAGES);
	save.window = 32;
	save.max_extent = page_size();
	ASSERT_EQ(0, rig_save(rig, &save)) TH_LOG("%s", rig->m.why);
	no_alarm();
}

TEST_HARNESS_MAIN
