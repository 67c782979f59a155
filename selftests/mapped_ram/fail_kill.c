// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that SIGKILL in the middle of a pass kills: the process is gone when
 * the I/O is done that was in flight, its pins and its session with it, every
 * page of the image is what it was or what it was to become, never a mixture,
 * nothing around it changed, and another process completes the image from the
 * memory that they shared.
 */
#include <sys/prctl.h>

#include "inflight.h"
#include "harness.h"

#define PAGES	256
#define WINDOW	8

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
	save.window = WINDOW;
	save.max_extent = page_size();
	if (write(ready, "r", 1) != 1)
		return 3;
	return save_pass(&r, &save) ? 4 : 5;
}

/*
 * The first @sure pages are the new ones, those from @most on are the old ones,
 * those in between are one or the other, whole.
 */
static bool well_formed(struct rig *rig, size_t sure, size_t most)
{
	size_t size = page_size(), i;
	uint8_t *image = malloc(rig->img.size);
	const uint8_t *old = rig->m.image, *page;
	bool good = true;

	if (!image || image_read(&rig->img, image, rig->img.size, 0))
		return false;
	for (i = 0; i < rig->r.nr_pages && good; i++) {
		page = image + RIG_HEAD + i * size;
		good = (i < most &&
			!memcmp(page, rig->mem.addr + i * size, size)) ||
		       (i >= sure &&
			!memcmp(page, old + RIG_HEAD + i * size, size));
		if (!good)
			fprintf(stderr, "# page %zu\n", i);
	}
	good = good && !memcmp(image, old, RIG_HEAD);
	i = RIG_HEAD + rig->mem.length;
	good = good && !memcmp(image + i, old + i, RIG_TAIL);
	memcpy(rig->m.image, image, rig->img.size);
	free(image);
	return good;
}

TEST_F(fail_kill, in_the_middle)
{
	static const struct {
		size_t held;	/* the disk holds what comes from here on */
		bool wait;	/* until it does */
	} when[] = { { 0, false }, { 0, true }, { 43, true } };
	struct rig *rig = &self->rig;
	int ready[2], status;
	pid_t child;
	char byte;
	size_t i, most;

	for (i = 0; i < ARRAY_LEN(when); i++) {
		rig_dirty_all(rig, &self->rng);
		ASSERT_EQ(0, flaky_hold_from(&self->disk, RIG_HEAD +
					     when[i].held * page_size()));
		ASSERT_EQ(0, pipe(ready));
		child = fork();
		ASSERT_LE(0, child);
		if (!child)
			_exit(save_until_killed(rig, variant->flags, ready[1]));
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		if (when[i].wait)
			wait_held(&self->disk, WINDOW, NULL);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
		EXPECT_TRUE(pins_return_to(self->pinned));

		/* No page more than were in flight when it was killed */
		most = when[i].held + WINDOW;
		EXPECT_TRUE(well_formed(rig, when[i].wait ? most : 0, most));
		/* Ours still says that all is dirty, and we complete it. */
		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	}
}

TEST_HARNESS_MAIN
