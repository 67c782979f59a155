// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that SIGKILL in the middle of a pass on a slow device kills: the
 * process is gone in time, its pins and its session with it, every page of the
 * image is what it was or what it was to become, never a mixture, nothing
 * around it changed, and another process completes the image from the memory
 * that they shared.
 */
#include <sys/prctl.h>
#include <time.h>

#include "rig.h"
#include "harness.h"

#define PAGES	256
#define DELAY	100	/* ms */
#define ENOUGH	7.0	/* s, for a machine that is slow itself */

FIXTURE(fail_kill) {
	struct flaky disk;
	struct rig rig;		/* the parent's own session */
	struct rng rng;
	long pinned;
};

FIXTURE_VARIANT(fail_kill) {
	enum mem_kind kind;
	size_t length;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(fail_kill, memfd) { MEM_MEMFD, PAGES * 4 * KIB, 0 };
FIXTURE_VARIANT_ADD(fail_kill, memfd_pin) {
	MEM_MEMFD, PAGES * 4 * KIB, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(fail_kill, memfd_hugetlb) {
	MEM_MEMFD_HUGETLB, HUGE_SIZE, 0
};

FIXTURE_SETUP(fail_kill)
{
	int err = flaky_open(&self->disk, 16 * MIB);

	if (err == -ENOENT)
		SKIP(return, "no device-mapper");
	ASSERT_EQ(0, err);
	self->rng = rng_new(0x4111);
	self->pinned = pinned_pages();
	need_rig_on(&self->rig, variant->kind, variant->length, 0,
		    self->disk.path);
}

FIXTURE_TEARDOWN(fail_kill)
{
	rig_drop(&self->rig);
	flaky_close(&self->disk);
}

/* A session of its own on the same memory and image; says when it begins */
static int save_until_killed(const struct rig *rig, uint32_t flags, int ready)
{
	struct mapped_ram_save save;
	struct region r;
	int dev = mr_open();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dev < 0 || mr_image_set(dev, rig->img.fd, 0, NULL) ||
	    region_add(&r, dev, rig->mem.addr, rig->mem.length, RIG_HEAD,
		       page_size(), flags))
		return 2;
	bits_set(r.dirty, 0, r.nr_pages);
	save = save_args(&r, 0, r.nr_pages);
	save.window = 8;
	save.max_extent = page_size();
	if (write(ready, "r", 1) != 1)
		return 3;
	/* PAGES / 8 rounds of DELAY: some seconds */
	return save_pass(&r, &save) ? 4 : 5;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Every page is the old or the new one; how many are new, or -1 */
static long well_formed(struct rig *rig)
{
	size_t size = page_size(), i;
	uint8_t *image = malloc(rig->img.size);
	const uint8_t *old = rig->m.image, *page;
	long saved = 0;

	if (!image || image_read(&rig->img, image, rig->img.size, 0))
		return -1;
	for (i = 0; i < rig->r.nr_pages && saved >= 0; i++) {
		page = image + RIG_HEAD + i * size;
		if (!memcmp(page, rig->mem.addr + i * size, size))
			saved++;
		else if (memcmp(page, old + RIG_HEAD + i * size, size))
			saved = -1;
	}
	if (memcmp(image, old, RIG_HEAD))
		saved = -1;
	i = RIG_HEAD + rig->mem.length;
	if (memcmp(image + i, old + i, RIG_TAIL))
		saved = -1;
	memcpy(rig->m.image, image, rig->img.size);
	free(image);
	return saved;
}

TEST_F(fail_kill, in_the_middle)
{
	static const unsigned int wait_ms[] = { 0, 30, 400 };
	struct rig *rig = &self->rig;
	int ready[2], status;
	double start;
	pid_t child;
	char byte;
	size_t i;
	long new;

	for (i = 0; i < ARRAY_LEN(wait_ms); i++) {
		rig_dirty_all(rig, &self->rng);
		ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, DELAY));
		ASSERT_EQ(0, pipe(ready));
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			_exit(save_until_killed(rig, variant->flags, ready[1]));
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		usleep(wait_ms[i] * 1000);
		start = now();
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_GT(ENOUGH, now() - start);
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
		EXPECT_TRUE(pins_return_to(self->pinned));

		ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
		new = well_formed(rig);
		EXPECT_LE(0, new);
		EXPECT_LT(new, rig->r.nr_pages);
		/* Ours still says that all is dirty, and we complete it. */
		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	}
}

TEST_HARNESS_MAIN
