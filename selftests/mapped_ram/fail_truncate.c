// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that an image which is cut short is noticed: by a pass that follows,
 * and by a pass that is under way. The pass ends with ENODATA and the first
 * page behind the end; pages behind the end that the image was said to hold are
 * dirty again and their file bits clear, everything before is as it should be,
 * and once the file is long enough again, the next pass completes it.
 */
#include <pthread.h>

#include "rig.h"
#include "harness.h"

#define PAGES	200
#define CUT	77	/* pages that the file keeps */

FIXTURE(fail_truncate) {
	struct flaky disk;
	struct scratch fs;
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(fail_truncate) {
	const char *fstype;
};

FIXTURE_VARIANT_ADD(fail_truncate, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(fail_truncate, xfs) { "xfs" };

FIXTURE_SETUP(fail_truncate)
{
	int err = flaky_open(&self->disk, 320 * MIB);

	if (err == -ENOENT)
		SKIP(return, "no device-mapper");
	ASSERT_EQ(0, err);
	need_private_mounts();
	snprintf(self->fs.dev, sizeof(self->fs.dev), "%s", self->disk.path);
	if (scratch_mount(&self->fs, variant->fstype, NULL))
		SKIP(return, "cannot mount %s", variant->fstype);
	self->rng = rng_new(0x7c07);
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), 0,
		    self->fs.dir);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(fail_truncate)
{
	flaky_set_all(&self->disk, FLAKY_PASS, 0);
	rig_drop(&self->rig);
	scratch_umount(&self->fs);
	flaky_close(&self->disk);
}

static int cut(const struct rig *rig, size_t pages)
{
	return ftruncate(rig->img.fd, RIG_HEAD + pages * page_size());
}

/* What was cut off is zero when it comes back, in the model too. */
static int extend(struct rig *rig)
{
	return ftruncate(rig->img.fd, rig->img.size);
}

/*
 * The file has @pages pages of the region. Every page of the range that it
 * was said to hold behind that is dirty now.
 */
static void noticed(struct __test_metadata *_metadata, struct rig *rig,
		    size_t pages)
{
	EXPECT_EQ(0, bits_count(rig->r.file, pages, PAGES - pages));
	EXPECT_EQ(PAGES - pages,
		  bits_count(rig->r.dirty, pages, PAGES - pages));
}

static void completes(struct __test_metadata *_metadata, struct rig *rig)
{
	size_t tail = RIG_HEAD + PAGES * page_size();

	ASSERT_EQ(0, extend(rig));
	memset(rig->m.image + tail, 0, RIG_TAIL);
	ASSERT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	EXPECT_EQ(PAGES, bits_count(rig->r.file, 0, PAGES));
}

static void before_the_first_pass(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, cut(rig, CUT));
	EXPECT_EQ(-ENODATA, save_pass(&rig->r, &save));
	EXPECT_EQ(CUT, save.out_error_page);
	noticed(_metadata, rig, CUT);
	completes(_metadata, rig);
}

static void between_passes(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	struct stat st;

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	/* Nothing is dirty, and half a page is no page. */
	ASSERT_EQ(0, ftruncate(rig->img.fd,
			       RIG_HEAD + CUT * page_size() + 512));
	save = save_args(&rig->r, 0, PAGES);
	EXPECT_EQ(-ENODATA, save_pass(&rig->r, &save));
	EXPECT_EQ(CUT, save.out_error_page);
	EXPECT_EQ(CUT, bits_count(rig->r.file, 0, CUT));
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, CUT));
	noticed(_metadata, rig, CUT);
	/* It is not the pass that makes it longer. */
	ASSERT_EQ(0, fstat(rig->img.fd, &st));
	EXPECT_EQ(RIG_HEAD + CUT * page_size() + 512, st.st_size);
	completes(_metadata, rig);
}

static void behind_the_range(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 10, CUT - 10);
	int err;

	/* Whether the range alone suffices is the module's choice. */
	ASSERT_EQ(0, cut(rig, CUT));
	err = save_pass(&rig->r, &save);
	EXPECT_TRUE(!err || err == -ENODATA);
	EXPECT_EQ(PAGES - CUT + 10 + (err ? CUT - 10 : 0),
		  bits_count(rig->r.dirty, 0, PAGES));
	completes(_metadata, rig);
}

static void to_nothing(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);

	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, ftruncate(rig->img.fd, 0));
	EXPECT_EQ(-ENODATA, save_pass(&rig->r, &save));
	EXPECT_EQ(0, save.out_error_page);
	noticed(_metadata, rig, 0);
	ASSERT_EQ(0, extend(rig));
	memset(rig->m.image, 0, rig->img.size);
	completes(_metadata, rig);
}

struct cutter {
	pthread_t thread;
	struct rig *rig;
	size_t pages;
	int err;
};

static void *cut_soon(void *arg)
{
	struct cutter *c = arg;

	usleep(900 * 1000);
	c->err = cut(c->rig, c->pages) ? -errno : 0;
	return NULL;
}

static void during_a_pass(struct __test_metadata *_metadata,
			  FIXTURE_DATA(fail_truncate) *self, size_t pages)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	struct cutter cutter = { .rig = rig, .pages = pages };
	struct stat st;
	int err;

	/* PAGES / 4 rounds of 60 ms: it takes three seconds */
	save.window = 4;
	save.max_extent = page_size();
	ASSERT_EQ(0, fsync(rig->img.fd));
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_DELAY, 60));
	ASSERT_EQ(0, pthread_create(&cutter.thread, NULL, cut_soon, &cutter));
	err = save_pass(&rig->r, &save);
	pthread_join(cutter.thread, NULL);
	ASSERT_EQ(0, flaky_set_all(&self->disk, FLAKY_PASS, 0));
	ASSERT_EQ(0, cutter.err);
	if (!err) {
		/* Emulation: the pass was over before the cut. */
		save = save_args(&rig->r, 0, PAGES);
		err = save_pass(&rig->r, &save);
	}
	EXPECT_EQ(-ENODATA, err);

	/*
	 * What was in flight may have made the file longer again; of what then
	 * lies before its end nothing may be taken for saved that is not.
	 */
	ASSERT_EQ(0, fstat(rig->img.fd, &st));
	TH_LOG("error page %llu, file has %lld pages",
	       (unsigned long long)save.out_error_page,
	       (long long)(st.st_size - RIG_HEAD) / 4096);
	completes(_metadata, rig);
}

static void in_the_middle_of_a_pass(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	during_a_pass(_metadata, self, 150);
}

static void under_a_pass(struct __test_metadata *_metadata,
		FIXTURE_DATA(fail_truncate) *self)
{
	during_a_pass(_metadata, self, 3);
}

TEST_F(fail_truncate, cut_short)
{
	STEP(before_the_first_pass);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(between_passes);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(behind_the_range);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(to_nothing);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(in_the_middle_of_a_pass);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(under_a_pass);
}

TEST_HARNESS_MAIN
