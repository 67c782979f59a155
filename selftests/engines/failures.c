// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that nothing is lost when a pass does not get through: limits, a full
 * file system, a file cut short, memory that is gone, a caller who cancels,
 * signals, writers beside it. Dirty bits and image together are still the
 * memory, and the next pass completes the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define LENGTH		(8 * MIB)
#define PAGES		(LENGTH / PAGE)
#define PAGES_OFFSET	(1 * MIB)

FIXTURE(failures) {
	struct memory mem;
	struct mram_session *s;
	char *path;
};

FIXTURE_VARIANT(failures) {
	const char *engine;
};

FIXTURE_VARIANT_ADD(failures, module) { .engine = "module" };
FIXTURE_VARIANT_ADD(failures, uring) { .engine = "uring" };
FIXTURE_VARIANT_ADD(failures, pwrite) { .engine = "pwrite" };

static void begin(struct __test_metadata *_metadata,
		  FIXTURE_DATA(failures) *self)
{
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p, LENGTH,
					  NULL, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));
}

FIXTURE_SETUP(failures)
{
	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	random_seed(13);
	self->path = image_path();
	self->mem = memory_make(MEMORY_PRIVATE, LENGTH);
	random_fill(self->mem.p, LENGTH);
	/* A part that is zero, and one that is full of holes. */
	memset(self->mem.p + 100 * PAGE, 0, 300 * PAGE);
	for (size_t i = 700; i < 900; i += 3)
		memset(self->mem.p + i * PAGE, 0, PAGE);
	self->s = engine_open(variant->engine, self->path);
}

FIXTURE_TEARDOWN(failures)
{
	mram_session_close(self->s);
	memory_free(&self->mem);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

/* The next pass saves what is left, and the image is the memory. */
static void complete(struct __test_metadata *_metadata,
		     FIXTURE_DATA(failures) *self, uint64_t left)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_image *img;

	ASSERT_FALSE(image_has_magic(self->path));
	ASSERT_EQ(left, mram_session_count_dirty(self->s, 0));
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	ASSERT_EQ(left, st.dirty);
	ASSERT_EQ(left, st.written + st.zero);
	ASSERT_EQ(0, mram_session_count_dirty(self->s, 0));
	ASSERT_OK(mram_session_commit(self->s, &error));
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to.p, LENGTH, NULL, NULL,
				     &error));
	ASSERT_EQ(0, memcmp(to.p, self->mem.p, LENGTH));
	mram_image_close(img);
	memory_free(&to);
}

static void limit_file_size(rlim_t limit)
{
	struct rlimit l;

	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = limit;
	setrlimit(RLIMIT_FSIZE, &l);
}

static void file_size_limit(struct __test_metadata *_metadata,
			    FIXTURE_DATA(failures) *self, size_t limit)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t left;

	begin(_metadata, self);
	signal(SIGXFSZ, SIG_IGN);
	limit_file_size(limit);
	ASSERT_FAILS(-EFBIG, "RLIMIT_FSIZE",
		     mram_session_pass(self->s, NULL, &st, &error));
	limit_file_size(RLIM_INFINITY);

	left = mram_session_count_dirty(self->s, 0);
	EXPECT_EQ(PAGES, st.written + st.zero + left);
	/* What lies beyond the limit, at least. */
	EXPECT_LE((PAGES_OFFSET + LENGTH - limit) / PAGE, left);
	EXPECT_GT(PAGES, left);
	complete(_metadata, self, left);
}

TEST_F(failures, file_size_limit)
{
	file_size_limit(_metadata, self, PAGES_OFFSET + 1000 * PAGE);
}

TEST_F(failures, file_size_limit_in_a_page)
{
	file_size_limit(_metadata, self, PAGES_OFFSET + 1000 * PAGE + 100);
}

TEST_F(failures, file_size_limit_at_begin)
{
	image_copy(self->path, "/proc/self/exe");
	ASSERT_OK(mram_session_add_region(self->s, "ram", self->mem.p, LENGTH,
					  NULL, &error));
	/* Known beforehand: nothing is harmed, no signal comes. */
	limit_file_size(PAGES_OFFSET);
	ASSERT_FAILS(-EFBIG, "RLIMIT_FSIZE",
		     mram_session_begin(self->s, &error));
	limit_file_size(RLIM_INFINITY);
	EXPECT_EQ(-1, image_difference(self->path, "/proc/self/exe"));
	ASSERT_OK(mram_session_begin(self->s, &error));
}

TEST_F(failures, cut_short)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t left;

	begin(_metadata, self);
	ASSERT_OK(mram_session_pass(self->s, NULL, &st, &error));
	ASSERT_EQ(0, truncate(self->path, PAGES_OFFSET + 1000 * PAGE));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 990, 20, &error));
	/* Pages that did not change, but are not in the image any more. */
	ASSERT_FAILS(-ENODATA, "page 1000 of region 'ram'",
		     mram_session_pass(self->s, NULL, &st, &error));
	left = mram_session_count_dirty(self->s, 0);
	EXPECT_LE(PAGES - 1000, left);
	EXPECT_GE(PAGES - 990, left);
	ASSERT_FAILS(-ENODATA, "page 1000 of region 'ram'",
		     mram_session_commit(self->s, &error));
	ASSERT_EQ(left, mram_session_count_dirty(self->s, 0));

	ASSERT_EQ(0, truncate(self->path, PAGES_OFFSET + LENGTH));
	complete(_metadata, self, left);
}

/* Between the last pass and the commit: nothing is dirty, and yet it is lost. */
TEST_F(failures, cut_short_before_commit)
{
	begin(_metadata, self);
	ASSERT_OK(mram_session_pass(self->s, NULL, NULL, &error));
	ASSERT_EQ(0, truncate(self->path, PAGES_OFFSET + 2000 * PAGE));
	ASSERT_FAILS(-ENODATA, "page 2000 of region 'ram'",
		     mram_session_commit(self->s, &error));
	ASSERT_EQ(0, truncate(self->path, PAGES_OFFSET + LENGTH));
	complete(_metadata, self, PAGES - 2000);
}

TEST_F(failures, memory_gone)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t left;

	begin(_metadata, self);
	ASSERT_EQ(0, munmap(self->mem.p + 500 * PAGE, PAGE));
	ASSERT_FAILS(-EFAULT, "page 500 of region 'ram'",
		     mram_session_pass(self->s, NULL, &st, &error));
	left = mram_session_count_dirty(self->s, 0);
	EXPECT_EQ(PAGES, st.written + st.zero + left);
	EXPECT_LE(1, left);

	ASSERT_EQ(self->mem.p + 500 * PAGE,
		  mmap(self->mem.p + 500 * PAGE, PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	complete(_metadata, self, left);
}

struct calls {
	int nr;
	int stop_at;
	uint64_t last;
	uint64_t total;
	bool wrong;
};

static int progress(void *data, uint64_t done, uint64_t total)
{
	struct calls *c = data;

	c->wrong |= done < c->last || done > total ||
		    (c->nr && total != c->total);
	c->last = done;
	c->total = total;
	return ++c->nr == c->stop_at;
}

/* Progress is told every 64 MiB, so this needs more memory; most is zero. */
TEST_F_TIMEOUT(failures, cancelled, 120)
{
	struct memory big = memory_make(MEMORY_PRIVATE, 200 * MIB);
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts,
					    .progress = progress);
	struct mram_pass_stats st = { .size = sizeof(st) };
	uint64_t pages = 200 * MIB / PAGE, left, i;
	struct calls calls = { .stop_at = 2 };

	for (i = 0; i < pages; i += 50)
		random_fill(big.p + i * PAGE, PAGE);
	ASSERT_OK(mram_session_add_region(self->s, "big", big.p, big.length,
					  NULL, &error));
	ASSERT_OK(mram_session_begin(self->s, &error));
	ASSERT_OK(mram_session_mark_dirty(self->s, 0, 0, MRAM_ALL, &error));

	o.progress_data = &calls;
	ASSERT_FAILS(-ECANCELED, "stopped",
		     mram_session_pass(self->s, &o, &st, &error));
	EXPECT_EQ(2, calls.nr);
	EXPECT_EQ(pages, calls.total);
	EXPECT_FALSE(calls.wrong);
	left = mram_session_count_dirty(self->s, 0);
	EXPECT_EQ(pages, left + st.written + st.zero);
	EXPECT_LT(0, left);
	EXPECT_LT(left, pages);

	calls = (struct calls){ 0 };
	ASSERT_OK(mram_session_pass(self->s, &o, &st, &error));
	EXPECT_EQ(left, st.written + st.zero);
	EXPECT_LT(0, calls.nr);
	EXPECT_EQ(left, calls.total);
	EXPECT_EQ(left, calls.last);
	EXPECT_FALSE(calls.wrong);
	memory_free(&big);
}

static void nothing(int sig)
{
	(void)sig;
}

TEST_F_TIMEOUT(failures, signals, 120)
{
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts,
					    .max_extent = PAGE);
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct sigaction sa = { .sa_handler = nothing };
	uint64_t before, left = PAGES;
	int i, ret = 0, interrupted = 0;

	begin(_metadata, self);
	sigaction(SIGALRM, &sa, NULL);
	/* As in a virtual machine monitor that kicks its threads. */
	for (i = 0; i < 20; i++) {
		before = left;
		setitimer(ITIMER_REAL, &often, NULL);
		ret = mram_session_pass(self->s, &o, &st, &error);
		setitimer(ITIMER_REAL, &never, NULL);
		left = mram_session_count_dirty(self->s, 0);
		ASSERT_EQ(before, left + st.written + st.zero);
		if (ret != -EINTR)
			break;
		ASSERT_EQ(-EINTR, error.code);
		interrupted++;
	}
	ASSERT_TRUE(!ret || ret == -EINTR) {
		TH_LOG("%s", error.message);
	}
	TH_LOG("interrupted %d times", interrupted);
	complete(_metadata, self, left);
}

struct writer {
	FIXTURE_DATA(failures) *self;
	unsigned int nr;
	volatile bool stop;
	pthread_t thread;
};

/* Changes pages and says so afterwards, as a tracker would. */
static void *write_pages(void *data)
{
	struct writer *w = data;
	uint64_t x = w->nr, page;

	while (!w->stop) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		page = x >> 40 & (PAGES - 1);
		__atomic_fetch_add((uint64_t *)(w->self->mem.p + page * PAGE +
						(x >> 20 & 0xff8)),
				   x, __ATOMIC_RELAXED);
		if (mram_session_mark_dirty(w->self->s, 0, page, 1, NULL))
			break;
	}
	return NULL;
}

TEST_F_TIMEOUT(failures, writers_beside, 120)
{
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts, .bridge = 4);
	struct writer w[3];
	int i;

	begin(_metadata, self);
	for (i = 0; i < 3; i++) {
		w[i] = (struct writer){ .self = self, .nr = i };
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, write_pages,
					    &w[i]));
	}
	for (i = 0; i < 20; i++)
		ASSERT_OK(mram_session_pass(self->s, &o, NULL, &error));
	for (i = 0; i < 3; i++) {
		w[i].stop = true;
		ASSERT_EQ(0, pthread_join(w[i].thread, NULL));
	}
	complete(_metadata, self, mram_session_count_dirty(self->s, 0));
}

static int put(const char *path, const char *format, unsigned int id)
{
	FILE *f = fopen(path, "w");

	if (!f)
		return -errno;
	fprintf(f, format, id);
	return fclose(f) ? -errno : 0;
}

/* A small file system of our own; needs no root where users may do that. */
static int small_file_system(const char *dir)
{
	unsigned int uid = geteuid(), gid = getegid();

	if (unshare(CLONE_NEWNS | (uid ? CLONE_NEWUSER : 0)))
		return -errno;
	if (uid && (put("/proc/self/setgroups", "deny", 0) ||
		    put("/proc/self/uid_map", "0 %u 1", uid) ||
		    put("/proc/self/gid_map", "0 %u 1", gid)))
		return -EPERM;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("small", dir, "tmpfs", 0, "size=6m"))
		return -errno;
	return 0;
}

TEST_F(failures, full_file_system)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
					       .engine = variant->engine);
	struct mram_pass_stats st = { .size = sizeof(st) };
	FIXTURE_DATA(failures) full = { .mem = self->mem };
	char *dir = image_path();
	uint64_t left;
	int ret;

	ASSERT_EQ(0, mkdir(dir, 0700));
	ret = small_file_system(dir);
	if (ret) {
		rmdir(dir);
		free(dir);
		SKIP(return, "no file system of our own: %s", strerror(-ret));
	}
	ASSERT_LT(0, asprintf(&full.path, "%s/image", dir));
	ASSERT_OK(mram_session_open(&full.s, full.path, &o, &error));
	ASSERT_OK(mram_session_add_region(full.s, "ram", full.mem.p, LENGTH,
					  NULL, &error));
	ret = mram_session_begin(full.s, &error);
	if (ret == -EOPNOTSUPP) {
		mram_session_close(full.s);
		SKIP(return, "%s", error.message);
	}
	ASSERT_OK(ret);
	ASSERT_OK(mram_session_mark_dirty(full.s, 0, 0, MRAM_ALL, &error));
	ASSERT_FAILS(-ENOSPC, "make room",
		     mram_session_pass(full.s, NULL, &st, &error));
	left = mram_session_count_dirty(full.s, 0);
	EXPECT_EQ(PAGES, st.written + st.zero + left);
	/* 8 MiB of which about 1.4 are zero do not fit into 6. */
	EXPECT_LE(100, left);
	EXPECT_GT(PAGES, left);

	ASSERT_EQ(0, mount("small", dir, NULL, MS_REMOUNT, "size=20m"));
	complete(_metadata, &full, left);
	mram_session_close(full.s);
	umount2(dir, MNT_DETACH);
	rmdir(dir);
	free(full.path);
	free(dir);
}

TEST_HARNESS_MAIN
