// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 8: a pass is bound by what binds write(2). Pins that stay
 * are charged to RLIMIT_MEMLOCK, and what does not fit is saved all the same;
 * RLIMIT_FSIZE stops a pass with EFBIG and SIGXFSZ; an immutable file is
 * written if write(2) writes it; a frozen file system makes a pass wait, and
 * can be frozen again afterwards; the I/O is the caller's cgroup's.
 */
#include <linux/fs.h>
#include <pthread.h>
#include <sys/resource.h>

#include "rig.h"
#include "harness.h"

#define PAGES	300

/* ---- RLIMIT_MEMLOCK ---- */

FIXTURE(inv_memlock) {
	struct rig rig;
	struct rng rng;
	long pinned;
};

FIXTURE_VARIANT(inv_memlock) {
	enum mem_kind kind;
	size_t length;
	long pages;		/* that may stay pinned; -1: no limit */
};

#define SMALL	(PAGES * 4 * KIB)
FIXTURE_VARIANT_ADD(inv_memlock, anon_none) { MEM_ANON, SMALL, 0 };
FIXTURE_VARIANT_ADD(inv_memlock, anon_some) { MEM_ANON, SMALL, 64 };
FIXTURE_VARIANT_ADD(inv_memlock, anon_all) { MEM_ANON, SMALL, -1 };
FIXTURE_VARIANT_ADD(inv_memlock, memfd_some) { MEM_MEMFD, SMALL, 64 };
FIXTURE_VARIANT_ADD(inv_memlock, thp_some) { MEM_THP, 2 * HUGE_SIZE, 64 };
FIXTURE_VARIANT_ADD(inv_memlock, hugetlb_some) {
	MEM_HUGETLB, 2 * HUGE_SIZE, 600
};

FIXTURE_SETUP(inv_memlock)
{
	self->rng = rng_new(0x3e3);
	self->pinned = pinned_pages();
	need_rig(&self->rig, variant->kind, variant->length,
		 MAPPED_RAM_REGION_PIN);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(inv_memlock)
{
	rig_drop(&self->rig);
	EXPECT_TRUE(pins_return_to(self->pinned));
	EXPECT_EQ(0, self_status_kb("VmPin"));
	EXPECT_EQ(0, self_status_kb("VmLck"));
}

TEST_F(inv_memlock, pins_stay_below_it)
{
	struct rig *rig = &self->rig;
	struct rlimit limit;
	long charged, most = variant->pages * (long)page_size() / 1024;
	int pass;

	if (variant->pages >= 0) {
		limit.rlim_cur = variant->pages * page_size();
		limit.rlim_max = limit.rlim_cur;
		ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
		/* Root is above the limit: nobody is not. */
		ASSERT_EQ(0, setresuid(65534, 65534, 65534));
	}
	for (pass = 0; pass < 3; pass++) {
		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
		charged = self_status_kb("VmPin") + self_status_kb("VmLck");
		if (variant->pages >= 0) {
			EXPECT_LE(charged, most);
		} else {
			EXPECT_EQ(variant->length / 1024, charged);
		}
		model_dirty_some(&rig->m, &self->rng, 50);
	}
}

/* ---- on a file system ---- */

FIXTURE(inv_limits) {
	struct place place;
	struct rig rig;
	struct rng rng;
};

FIXTURE_VARIANT(inv_limits) {
	const char *fstype;
};

FIXTURE_VARIANT_ADD(inv_limits, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(inv_limits, xfs) { "xfs" };

FIXTURE_SETUP(inv_limits)
{
	int err = place_open(&self->place, variant->fstype);

	if (err == -EOPNOTSUPP)
		SKIP(return, "no %s here", variant->fstype);
	ASSERT_EQ(0, err);
	self->rng = rng_new(0x1f517);
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), 0,
		    self->place.fs.dir);
	rig_dirty_all(&self->rig, &self->rng);
}

FIXTURE_TEARDOWN(inv_limits)
{
	rig_drop(&self->rig);
	place_close(&self->place);
}

static volatile sig_atomic_t xfsz;

static void on_xfsz(int signal)
{
	xfsz++;
}

static void file_size(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_limits) *self)
{
	static const uint32_t extents[] = { 0, 1, 8 };
	struct sigaction act = { .sa_handler = on_xfsz };
	struct rlimit limit, old;
	struct rig *rig = &self->rig;
	struct mapped_ram_save save;
	size_t i, in;

	ASSERT_EQ(0, sigaction(SIGXFSZ, &act, NULL));
	ASSERT_EQ(0, getrlimit(RLIMIT_FSIZE, &old));
	for (i = 0; i < ARRAY_LEN(extents); i++) {
		limit = old;
		/* on a block's border, and inside of a block */
		limit.rlim_cur = RIG_HEAD + 50 * page_size() + i * 100;
		ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
		xfsz = 0;
		save = save_args(&rig->r, 0, PAGES);
		save.max_extent = extents[i] * page_size();
		EXPECT_EQ(-EFBIG, save_pass(&rig->r, &save));
		EXPECT_LE(1, xfsz);
		EXPECT_EQ(50, save.out_error_page);
		EXPECT_EQ(PAGES - 50, bits_count(rig->r.dirty, 50, PAGES - 50));
		in = 50 - bits_count(rig->r.dirty, 0, 50);
		EXPECT_EQ(in, save.out_written_pages);
		ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &old));
		EXPECT_EQ(0, model_check_union(&rig->m))
			TH_LOG("%s", rig->m.why);

		ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
		rig_dirty_all(rig, &self->rng);
	}

	/* A write that is cut short within its bridges */
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	for (i = 0; i < PAGES; i += 2)
		model_write_random(&rig->m, &self->rng, i);
	limit.rlim_cur = RIG_HEAD + 51 * page_size();
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	save = save_args(&rig->r, 0, PAGES);
	save.bridge = 4;
	EXPECT_EQ(-EFBIG, save_pass(&rig->r, &save));
	EXPECT_LE(save.out_error_page, 51);
	EXPECT_LE(save.out_written_pages, 26);
	EXPECT_LE(save.out_bridged_pages, 25);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &old));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	rig_dirty_all(rig, &self->rng);
}

static void set_immutable(struct __test_metadata *_metadata, int fd, bool on)
{
	int flags;

	ASSERT_EQ(0, ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	ASSERT_EQ(0, ioctl(fd, FS_IOC_SETFLAGS, &flags));
}

static void immutable_file(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_limits) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, PAGES);
	int want, err;

	set_immutable(_metadata, rig->img.fd, true);
	/* What write(2) says, into the poison in front of the region */
	want = image_write(&rig->img, rig->m.image, 4096, 0);
	err = save_pass(&rig->r, &save);
	set_immutable(_metadata, rig->img.fd, false);
	EXPECT_EQ(want, err);
	if (err) {
		EXPECT_EQ(0, save.out_error_page);
		EXPECT_EQ(PAGES, bits_count(rig->r.dirty, 0, PAGES));
	}
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

struct one_pass {
	const struct region *r;
	pthread_t thread;
	int err;
	bool done;
};

static void *pass_thread(void *arg)
{
	struct one_pass *p = arg;

	p->err = region_save(p->r, NULL);
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static void frozen_file_system(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_limits) *self)
{
	struct rig *rig = &self->rig;
	struct one_pass pass = { .r = &rig->r };
	int dir, round;

	dir = open(self->place.fs.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ASSERT_LE(0, dir);
	/* Twice: whoever forgets to end a write never freezes again. */
	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, ioctl(dir, FIFREEZE, 0));
		pass.done = false;
		ASSERT_EQ(0, pthread_create(&pass.thread, NULL, pass_thread,
					    &pass));
		usleep(700 * 1000);
		EXPECT_FALSE(__atomic_load_n(&pass.done, __ATOMIC_ACQUIRE));
		ASSERT_EQ(0, ioctl(dir, FITHAW, 0));
		pthread_join(pass.thread, NULL);
		EXPECT_EQ(0, pass.err);
		model_save(&rig->m, 0, PAGES, NULL, NULL);
		EXPECT_EQ(0, model_check(&rig->m)) TH_LOG("%s", rig->m.why);
		rig_dirty_all(rig, &self->rng);
	}
	close(dir);
}

TEST_F(inv_limits, of_write)
{
	STEP(file_size);
	STEP(immutable_file);
	rig_dirty_all(&self->rig, &self->rng);
	STEP(frozen_file_system);
}

/* ---- whose I/O it is ---- */

#define CGROUP	"/sys/fs/cgroup"

/* Bytes that the cgroup of @dir wrote to the device of @fd */
static long long written_by(const char *dir, int fd)
{
	unsigned int major, minor;
	long long bytes = 0;
	char line[256];
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	major = st.st_rdev >> 8 & 0xfff;
	minor = (st.st_rdev & 0xff) | (st.st_rdev >> 12 & 0xfff00);
	shell_line(line, sizeof(line),
		   "sed -n 's/^%u:%u .*wbytes=\\([0-9]*\\).*/\\1/p' %s/io.stat",
		   major, minor, dir);
	sscanf(line, "%lld", &bytes);
	return bytes;
}

TEST(io_is_the_callers_cgroups)
{
	static const char dir[] = CGROUP "/mapped-ram-test";
	struct rng rng = rng_new(0xc6);
	long long before, after;
	struct rig rig = { 0 };

	if (!test_blkdev())
		SKIP(return, "no MRAM_TEST_BLKDEV");
	if (write_file(CGROUP "/cgroup.subtree_control", "+io"))
		SKIP(return, "no io controller");
	if (mkdir(dir, 0755) && errno != EEXIST)
		SKIP(return, "no cgroup2");
	need_rig_on(&rig, MEM_ANON, PAGES * page_size(), 0, test_blkdev());
	rig_dirty_all(&rig, &rng);
	ASSERT_EQ(0, write_file(CGROUP "/mapped-ram-test/cgroup.procs", "0"));
	before = written_by(dir, rig.img.fd);
	EXPECT_EQ(0, rig_save(&rig, NULL)) TH_LOG("%s", rig.m.why);
	after = written_by(dir, rig.img.fd);
	EXPECT_LE(PAGES * page_size(), after - before);
	ASSERT_EQ(0, write_file(CGROUP "/cgroup.procs", "0"));
	rmdir(dir);
	rig_drop(&rig);
}

TEST_HARNESS_MAIN
