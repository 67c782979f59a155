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
	unsigned char *p;
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

/* Huge pages that nobody uses, from /proc/meminfo. */
static long free_huge(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long value = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "HugePages_Free: %ld", &value) == 1)
			break;
	if (f)
		fclose(f);
	return value;
}

static unsigned char *map(const FIXTURE_VARIANT(huge) *variant, int fd)
{
	if (variant->shared)
		return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED,
			    fd, 0);
	return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
}

FIXTURE_SETUP(huge)
{
	int tries;

	if (!engine_works(variant->engine))
		SKIP(return, "%s", error.message);
	self->before = get_setting();
	/* Memory has to be moved together for them, which may take a moment. */
	for (tries = 0; self->before >= 0 && tries < 20; tries++) {
		put_setting(self->before + 2 * NR);
		if (free_huge() >= 2 * NR)
			break;
		usleep(100000);
	}
	if (free_huge() < 2 * NR) {
		put_setting(self->before);
		SKIP(return, "fewer than %d free huge pages: raise vm.nr_hugepages",
		     2 * NR);
	}
	self->fd = memfd_create("huge", MFD_HUGETLB | MFD_HUGE_2MB);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, ftruncate(self->fd, LENGTH));
	self->p = map(variant, self->fd);
	ASSERT_NE(MAP_FAILED, self->p);
	self->path = image_path();
	random_seed(17);
}

FIXTURE_TEARDOWN(huge)
{
	munmap(self->p, LENGTH);
	close(self->fd);
	put_setting(self->before);
	image_remove(self->path);
	EXPECT_NO_LEAKS();
}

TEST_F_TIMEOUT(huge, save_and_restore, 120)
{
	struct mram_region_opts o = MRAM_OPTS(mram_region_opts,
			.page_size = variant->page_size);
	struct mram_restore_opts ro = MRAM_OPTS(mram_restore_opts,
						.engine = variant->engine);
	struct mram_pass_stats st = { .size = sizeof(st) };
	unsigned char *to;
	struct mram_session *s;
	struct mram_image *img;
	int fd = memfd_create("huge", MFD_HUGETLB | MFD_HUGE_2MB);
	long before;

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
	before = free_huge();
	s = engine_open(variant->engine, self->path);
	ASSERT_OK(mram_session_add_region(s, "ram", self->p, LENGTH, &o,
					  &error));
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, 0, 0, MRAM_ALL, &error));
	ASSERT_OK(mram_session_pass(s, NULL, &st, &error));
	EXPECT_EQ(variant->page_size == HUGE ? 2 : 512 + 3, st.written);
	EXPECT_EQ(before, free_huge());
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);

	ASSERT_EQ(0, ftruncate(fd, LENGTH));
	to = map(variant, fd);
	ASSERT_NE(MAP_FAILED, to);
	to[3 * HUGE + 5] = 1;
	ASSERT_OK(mram_image_open(&img, self->path, &error));
	ASSERT_OK(mram_image_restore(img, 0, to, LENGTH, &ro, NULL, &error));
	EXPECT_EQ(0, memcmp(to, self->p, LENGTH));
	mram_image_close(img);
	munmap(to, LENGTH);
	close(fd);
}

TEST_HARNESS_MAIN
