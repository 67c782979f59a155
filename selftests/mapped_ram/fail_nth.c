// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a pass loses nothing when memory runs out inside of it: each of
 * its allocations (and copies from and to userspace), the first, the second and
 * so on, is made to fail once, in SAVE and in LOAD, on a raw device and on a
 * file system. The call says so, nothing of ours fails once I/O has begun
 * (invariant 3: it allocates nothing then), dirty bits and image together are
 * still the memory, and the next pass completes it. Wants a kernel with fault
 * injection.
 */
#include "rig.h"
#include "harness.h"

#define PAGES	48
/* Far more than a pass of so few pages makes */
#define MOST	2000

#define NTH	"/proc/thread-self/fail-nth"
#define DEBUGFS	"/sys/kernel/debug/"

FIXTURE(fail_nth) {
	struct memdisk disk;
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(fail_nth) {
	bool file;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(fail_nth, blkdev) { false, 0 };
FIXTURE_VARIANT_ADD(fail_nth, blkdev_pin) { false, MAPPED_RAM_REGION_PIN };
FIXTURE_VARIANT_ADD(fail_nth, file) { true, 0 };

FIXTURE_SETUP(fail_nth)
{
	if (access(NTH, W_OK))
		SKIP(return, "no fault injection in this kernel");
	/* Not only what may fail anyway, but also what may wait. */
	write_file(DEBUGFS "failslab/ignore-gfp-wait", "N");
	write_file(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	write_file(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	write_file(DEBUGFS "fail_page_alloc/min-order", "0");
	/* Silently: a stack for each would be all that the log has. */
	write_file(DEBUGFS "failslab/verbose", "0");
	write_file(DEBUGFS "fail_page_alloc/verbose", "0");
	write_file(DEBUGFS "fail_usercopy/verbose", "0");

	self->rng = rng_new(0x47);
	ASSERT_EQ(0, memdisk_open(&self->disk, 8 * MIB));
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), variant->flags,
		    variant->file ? test_dir() : self->disk.path);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(fail_nth)
{
	rig_drop(&self->rig);
	memdisk_close(&self->disk);
}

static void arm(unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	write_file(NTH, text);
}

/* Ends it; whether the failure was not reached */
static bool disarm(void)
{
	char text[16] = "";
	int fd = open(NTH, O_RDWR | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		return true;
	close(fd);
	arm(0);
	return strtol(text, NULL, 10) > 0;
}

static bool documented(int err)
{
	return !err || err == -ENOMEM || err == -EFAULT || err == -EIO ||
	       err == -EAGAIN;
}

TEST_F(fail_nth, save)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	unsigned int nth, failed = 0;
	bool over = false;
	int err;

	for (nth = 1; nth < MOST && !over; nth++) {
		save = save_args(&rig->r, 0, PAGES);
		save.max_extent = 16 * page_size();
		save.window = 2;
		save.bridge = 2;
		save.out_ios = 0;
		arm(nth);
		err = save_pass(&rig->r, &save);
		over = disarm();
		failed += !!err;
		ASSERT_TRUE(documented(err)) TH_LOG("%u: %d", nth, err);
		/* Invariant 3; what a file system allocates is its own. */
		if (err == -ENOMEM && !variant->file) {
			ASSERT_EQ(0, save.out_ios) TH_LOG("%u", nth);
		}
		ASSERT_EQ(0, model_check_union(&rig->m))
			TH_LOG("%u: %s", nth, rig->m.why);
		ASSERT_EQ(0, rig_save(rig, NULL))
			TH_LOG("%u: %s", nth, rig->m.why);
		model_dirty_some(&rig->m, &self->rng, 60);
	}
	TH_LOG("%u of %u failures were reported", failed, nth - 2);
	EXPECT_TRUE(over);
	EXPECT_LT(0, failed);
}

TEST_F(fail_nth, load)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_load load;
	unsigned int nth, failed = 0;
	bool over = false;
	size_t loaded;
	int err;

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, mr_image_set(rig->dev, rig->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	for (nth = 1; nth < MOST && !over; nth++) {
		memset(rig->mem.addr, 0x5a, rig->mem.length);
		load = load_args(&rig->r, 0, PAGES);
		load.max_extent = 16 * page_size();
		load.window = 2;
		load.out_error_page = 0;
		load.out_ios = 0;
		arm(nth);
		err = load_pass(&rig->r, &load);
		over = disarm();
		failed += !!err;
		ASSERT_TRUE(documented(err)) TH_LOG("%u: %d", nth, err);
		if (err == -ENOMEM && !variant->file) {
			ASSERT_EQ(0, load.out_ios) TH_LOG("%u", nth);
		}
		loaded = err ? load.out_error_page : PAGES;
		if (loaded <= PAGES) {
			ASSERT_EQ(0, memcmp(rig->mem.addr, rig->m.mem,
					    loaded * page_size()));
		}
		load = load_args(&rig->r, 0, PAGES);
		ASSERT_EQ(0, load_pass(&rig->r, &load));
		ASSERT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
	}
	TH_LOG("%u of %u failures were reported", failed, nth - 2);
	EXPECT_TRUE(over);
	EXPECT_LT(0, failed);
}

TEST_HARNESS_MAIN
