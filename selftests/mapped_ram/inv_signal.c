// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 10: a signal stops a pass as soon as what is in flight is
 * done, with EINTR and true counts; no dirty bit is lost, what the image holds
 * is right, and the next pass completes it. Signals that nobody sees stop
 * nothing.
 */
#include "inflight.h"
#include "harness.h"

#define PAGES	400
#define WINDOW	4
/* What is done when the signal comes, page by page; the disk holds the rest. */
#define BEFORE	21

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

/* A pass that is sent SIGALRM when its window is full and the disk holds it */
static void alarmed(struct __test_metadata *_metadata,
		    FIXTURE_DATA(inv_signal) *self, struct pass *p,
		    void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };

	ASSERT_EQ(0, sigaction(SIGALRM, &act, NULL));
	ASSERT_EQ(0, flaky_hold_from(&self->disk,
				     RIG_HEAD + BEFORE * page_size()));
	need_pass_started(p);
	ASSERT_TRUE(wait_held(&self->disk, WINDOW, p));
	ASSERT_EQ(0, pthread_kill(p->thread, SIGALRM));
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
	pass_wait(p);
}

static struct pass page_by_page(const struct region *r, unsigned long cmd)
{
	struct pass p = { .r = r, .cmd = cmd };

	if (cmd == MAPPED_RAM_SAVE) {
		p.save = save_args(r, 0, PAGES);
		p.save.window = WINDOW;
		p.save.max_extent = page_size();
	} else {
		p.load = load_args(r, 0, PAGES);
		p.load.window = WINDOW;
		p.load.max_extent = page_size();
	}
	return p;
}

static void interrupted(struct __test_metadata *_metadata,
			FIXTURE_DATA(inv_signal) *self, int flags)
{
	struct rig *rig = &self->rig;
	struct pass p = page_by_page(&rig->r, MAPPED_RAM_SAVE);

	alarmed(_metadata, self, &p, on_alarm, flags);
	EXPECT_EQ(-EINTR, p.ret);
	EXPECT_EQ(1, alarms);

	/* What was in flight when the signal came, and no more */
	EXPECT_EQ(BEFORE + WINDOW, p.save.out_written_pages);
	EXPECT_EQ(PAGES - BEFORE - WINDOW, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(BEFORE + WINDOW, bits_count(rig->r.file, 0, PAGES));
	EXPECT_EQ(BEFORE + WINDOW, p.save.out_ios);
	EXPECT_EQ((BEFORE + WINDOW) * page_size(), p.save.out_bytes);
	/* No page failed. */
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, p.save.out_error_page);

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
	struct pass p = page_by_page(&rig->r, MAPPED_RAM_LOAD);
	struct mapped_ram_load load;

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	memset(rig->mem.addr, 0, rig->mem.length);
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	alarmed(_metadata, self, &p, on_alarm, 0);
	EXPECT_EQ(-EINTR, p.ret);
	EXPECT_EQ(1, alarms);
	EXPECT_EQ(BEFORE + WINDOW, p.load.out_read_pages);
	/* All before it is there. */
	ASSERT_EQ(BEFORE + WINDOW, p.load.out_error_page);
	EXPECT_EQ(0, memcmp(rig->mem.addr, rig->m.mem,
			    p.load.out_error_page * page_size()));

	load = load_args(&rig->r, 0, PAGES);
	ASSERT_EQ(0, load_pass(&rig->r, &load));
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_F(inv_signal, ignored_stops_nothing)
{
	struct rig *rig = &self->rig;
	struct pass p = page_by_page(&rig->r, MAPPED_RAM_SAVE);
	sigset_t set;

	model_save(&rig->m, 0, PAGES, NULL, NULL);
	alarmed(_metadata, self, &p, SIG_IGN, 0);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(PAGES, p.save.out_written_pages);
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);

	/* Neither does one that is blocked, as it is in threads of ours then. */
	rig_dirty_all(rig, &self->rng);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	p = page_by_page(&rig->r, MAPPED_RAM_SAVE);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	alarmed(_metadata, self, &p, on_alarm, 0);
	EXPECT_EQ(0, p.ret);
	EXPECT_EQ(0, alarms);
	EXPECT_EQ(PAGES, p.save.out_written_pages);
	EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_HARNESS_MAIN
