// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory of huge pages is saved and restored, with small and large
 * pages in the bitmap, and that saving makes no huge page that was not there.
 */
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "common.h"

#define HUGE	(2 * MIB)
#define NR	8
#define LENGTH	(NR * HUGE)
#define SETTING	"/proc/sys/vm/nr_hugepages"

FIXTURE(huge) {
	long before;
	int fd;
	int to_fd;
	unsigned char *p;
	unsigned char *to;	/* what is restored to */
	char *path;
};

FIXTURE_VARIANT(huge) {
	const char *engine;
	bool shared;
	uint32_t page_size;
};

#define VARIANT(engine_, kind, shared_, name, size)			\
	FIXTURE_VARIANT_ADD(huge, engine_##_##kind##_##name) {		\
		.engine = #engine_,					\
		.shared = shared_,					\
		.page_size = size,					\
	}
VARIANT(module, shared, true, small, PAGE);
VARIANT(module, shared, true, large, HUGE);
VARIANT(module, private, false, small, PAGE);
VARIANT(uring, shared, true, small, PAGE);
VARIANT(uring, shared, true, large, HUGE);
VARIANT(uring, private, false, small, PAGE);
VARIANT(pwrite, shared, true, small, PAGE);
VARIANT(pwrite, shared, true, large, HUGE);
VARIANT(pwrite, private, false, large, HUGE);

static long get_setting(void)
{
	FILE *f = fopen(SETTING, "r");
	long value = -1;

	if (f) {
		if (fscanf(f, "%ld", &value) != 1)
			value = -1;
		fclose(f);
	}
	return value;
}

static void put_setting(long value)
{
	FILE *f = fopen(SETTING, "w");

	if (f) {
		fprintf(f, "%ld", value);
		fclose(f);
	}
}

static unsigned char *map(const FIXTURE_VARIANT(huge) *variant, int fd)
{
	if (variant->shared)
		return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
			    fd, 0);
	return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
}

static int make_file(void)
{
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_HUGE_2MB);

	if (fd >= 0 && ftruncate(fd, LENGTH)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A mapping has its pages reserved: from then on they are there for us. */
static bool map_both(FIXTURE_DATA(huge) *self,
		     const FIXTURE_VARIANT(huge) *variant)
{
	self->p = map(variant, self->fd);
	self->to = map(variant, self->to_fd);
	if (self->p != MAP_FAILED && self->to != MAP_FAILED)
		return true;
	if (self->p != MAP_FAILED)
		munmap(self->p, LENGTH);
	if (self->to != MAP_FAILED)
		munmap(self->to, LENGTH);
	return false;
}

FIXTURE_SETUP(huge)
{
	bool mapped = false;
	int tries;

	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	self->fd = make_file();
	ASSERT_LE(0, self->fd);
	self->to_fd = make_file();
	ASSERT_LE(0, self->to_fd);
	self->before = get_setting();
	/* Memory has to be moved together for them, which may take a moment. */
	for (tries = 0; self->before >= 0 && tries < 20 && !mapped; tries++) {
		if (tries)
			usleep(100000);
		put_setting(self->before + 2 * NR);
		mapped = map_both(self, variant);
	}
	if (!mapped) {
		put_setting(self->before);
		SKIP(return, "fewer than %d free huge pages: raise vm.nr_hugepages",
		     2 * NR);
	}
	self->path = image_path();
	random_seed(17);
}

FIXTURE_TEARDOWN(huge)
{
	munmap(self->p, LENGTH);
	munmap(self->to, LENGTH);
	close(self->fd);
	close(self->to_fd);
	put_setting(self->before);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

/*
 * What there is of the memory that is saved; only to be compared. Not what is
 * free in the system, which others use as well.
 */
static uint64_t made(const FIXTURE_DATA(huge) *self, bool shared)
{
	struct stat st;

	if (!shared)
		return memory_huge_kib();
	return fstat(self->fd, &st) ? 0 : st.st_blocks;
}

TEST_F_TIMEOUT(huge, save_and_restore, 120)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts,
			.page_size = variant->page_size);
	struct mram_restore_opts ro = MRAM_OPTS(mram_restore_opts,
						.engine = variant->engine);
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct mram_session *s;
	struct mram_image *img;
	uint64_t before;

	/* Two pages are touched; of the second only a little is not zero. */
	random_fill(self->p + HUGE, HUGE);
	random_fill(self->p + 5 * HUGE + 40 * PAGE, 3 * PAGE);
	if (variant->shared) {
		o.flags = MRAM_REGION_HAS_FD;
		o.fd = self->fd;
		/* Mapped anew: nothing of the file is mapped in yet. */
		ASSERT_EQ(0, munmap(self->p, LENGTH));
		self->p = map(variant, self->fd);
		ASSERT_NE(MAP_FAILED, self->p);
	}
	before = made(self, variant->shared);
	ASSERT_LT(0, before);
	s = engine_open(variant->engine, self->path);
	ASSERT_OK(mram_session_add_region(s, "ram", self->p, LENGTH, &o,
					  &error));
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(s, NULL, &st, &error));
	EXPECT_EQ(variant->page_size == HUGE ? 2 : 512 + 3, st.written);
	EXPECT_EQ(before, made(self, variant->shared));
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);

	self->to[3 * HUGE + 5] = 1;
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, self->to, LENGTH, &ro, NULL,
				     &error));
	EXPECT_EQ(0, memcmp(self->to, self->p, LENGTH));
	mram_image_close(img);
}

TEST_HARNESS_MAIN
