// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the scan tracker knows what became of pages that have no entry in
 * the page tables: never touched, given back, swapped out, written by others.
 * None is lost, none is written in each pass, and none is made by asking.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "tracked.h"

FIXTURE(absent) {
	struct tracked k;
};

FIXTURE_VARIANT(absent) {
	enum tracked_kind kind;
	bool fd;
};

FIXTURE_VARIANT_ADD(absent, private) { TRACKED_PRIVATE, false };
FIXTURE_VARIANT_ADD(absent, thp) { TRACKED_THP, false };
FIXTURE_VARIANT_ADD(absent, shared) { TRACKED_SHARED, false };
FIXTURE_VARIANT_ADD(absent, memfd) { TRACKED_MEMFD, true };
FIXTURE_VARIANT_ADD(absent, memfd_unknown) { TRACKED_MEMFD, false };
FIXTURE_VARIANT_ADD(absent, file) { TRACKED_FILE, true };
FIXTURE_VARIANT_ADD(absent, copy) { TRACKED_COPY, true };
FIXTURE_VARIANT_ADD(absent, copy_unknown) { TRACKED_COPY, false };
FIXTURE_VARIANT_ADD(absent, huge) { TRACKED_HUGE, false };
FIXTURE_VARIANT_ADD(absent, huge_shared) { TRACKED_HUGE_SHARED, true };

FIXTURE_SETUP(absent)
{
	int ret;

	random_seed(72);
	ret = tracked_start(&self->k, variant->kind, variant->fd);
	if (ret == -EOPNOTSUPP)
		SKIP(return, "%s", error.message);
	ASSERT_OK(ret);
}

FIXTURE_TEARDOWN(absent)
{
	tracked_stop(&self->k);
	EXPECT_NO_LEAKS();
}

/* Memory whose untouched pages the tracker itself can tell. */
static bool tells(const struct tracked *k, bool fd)
{
	return k->kind == TRACKED_PRIVATE || k->kind == TRACKED_THP ||
	       k->kind == TRACKED_HUGE ||
	       (fd && (k->kind == TRACKED_MEMFD || k->kind == TRACKED_FILE));
}

/* What exists for the memory; only to be compared. */
static uint64_t made(const struct tracked *k)
{
	struct stat st;

	if (k->kind != TRACKED_HUGE_SHARED)
		return k->kind == TRACKED_HUGE ? memory_huge_kib() :
						 memory_pages(&k->m);
	return fstat(k->m.fd, &st) ? 0 : st.st_blocks;
}

TEST_F(absent, never_touched)
{
	struct tracked *k = &self->k;
	unsigned long half = k->pages / 2, i;
	int64_t fetched;
	uint64_t had;

	random_fill(k->m.p, half * PAGE);
	had = made(k);
	fetched = mram_scan_tracker_fetch(k->t, &error);
	EXPECT_LE(half, fetched);
	if (tells(k, variant->fd))
		EXPECT_EQ(half, fetched);
	/* A copy may come to have entries, but no pages. */
	if (k->kind != TRACKED_COPY)
		EXPECT_EQ(had, made(k));
	ASSERT_OK(tracked_save(k));
	if (tells(k, variant->fd))
		EXPECT_EQ(had, made(k));
	/* Whatever it took to find out, it was done once. */
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	for (i = half; i < k->pages; i += k->unit * 3)
		*tracked_page(k, i) = 1;
	EXPECT_LE((k->pages - half) / (3 * k->unit), tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

TEST_F(absent, given_back)
{
	struct tracked *k = &self->k;
	unsigned long u = k->unit;
	uint64_t had;

	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	tracked_discard(k, u, u, false);
	had = made(k);
	EXPECT_EQ(u, mram_scan_tracker_fetch(k->t, &error));
	EXPECT_EQ(had, made(k));
	ASSERT_OK(tracked_save(k));
	if (tells(k, variant->fd))
		EXPECT_EQ(had, made(k));
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	/* Given back, and used again before anybody asked. */
	tracked_discard(k, 0, u, false);
	*tracked_page(k, 0) = 1;
	EXPECT_EQ(u, tracked_save(k));
	/* And not written in between, but dirty already. */
	*tracked_page(k, 2 * u) += 1;
	EXPECT_EQ(u, mram_scan_tracker_fetch(k->t, &error));
	tracked_discard(k, 2 * u, u, false);
	ASSERT_OK(tracked_save(k));
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

/* More ranges than the library asks for at once. */
TEST_F(absent, every_other_page_given_back)
{
	struct tracked *k = &self->k;
	unsigned long i;

	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	for (i = 0; i < k->pages; i += 2 * k->unit)
		tracked_discard(k, i, k->unit, false);
	EXPECT_EQ(k->pages / 2, tracked_save(k));
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

/* Shared pages that this process lets go of are still there. */
TEST_F(absent, entries_that_are_gone)
{
	struct tracked *k = &self->k;

	if (k->kind != TRACKED_MEMFD && k->kind != TRACKED_SHARED &&
	    k->kind != TRACKED_FILE)
		SKIP(return, "not shared, in small pages");
	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	*tracked_page(k, 5) += 1;
	tracked_discard(k, 5, 1, true);
	tracked_discard(k, 9, 1, true);
	/* Where the file can be asked, the clean one is known to be clean. */
	EXPECT_EQ(variant->fd ? 1 : 2, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
	*tracked_page(k, 9) += 1;
	EXPECT_EQ(1, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

/* With write(2), say, into pages that this process has not touched. */
TEST_F(absent, what_others_put_there)
{
	struct tracked *k = &self->k;

	if (!variant->fd || k->kind == TRACKED_HUGE_SHARED)
		SKIP(return, "nobody else can");
	random_fill(k->m.p, 100 * PAGE);
	ASSERT_OK(tracked_save(k));
	ASSERT_OK(tracked_save(k));
	ASSERT_EQ(0, tracked_save(k));
	ASSERT_EQ(5, pwrite(k->m.fd, "other", 5, k->m.fd_offset + 501 * PAGE));
	EXPECT_EQ(1, tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
}

enum op { OP_WRITE, OP_READ, OP_ZERO, OP_DISCARD, OP_ZAP, OPS };

/*
 * Nothing but what is documented: pages that were given back in shared or huge
 * memory are not touched before the next fetch, but to be written.
 */
TEST_F(absent, by_chance)
{
	struct tracked *k = &self->k;
	unsigned long units = k->pages / k->unit, u = k->unit, i;
	bool zeroes = k->kind == TRACKED_PRIVATE || k->kind == TRACKED_THP;
	bool *gone = calloc(units, sizeof(*gone));
	unsigned char *p;
	int round, n;

	ASSERT_NE(NULL, gone);
	for (round = 0; round < 60; round++) {
		memset(gone, 0, units * sizeof(*gone));
		for (n = 0; n < (u > 1 ? 6 : 400); n++) {
			i = random_below(units);
			p = tracked_page(k, i * u);
			switch (random_below(OPS)) {
			case OP_WRITE:
				random_fill(p, PAGE);
				break;
			case OP_READ:
				if (zeroes || !gone[i])
					*(volatile unsigned char *)p;
				break;
			case OP_ZERO:
				memset(p, 0, u * PAGE);
				break;
			case OP_DISCARD:
				tracked_discard(k, i * u, u, false);
				gone[i] = true;
				break;
			default:
				tracked_discard(k, i * u, u, true);
				gone[i] = true;
			}
		}
		ASSERT_OK(tracked_save(k));
	}
	for (n = 0; n < 3; n++)
		ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
	free(gone);
}

/* A file to swap to, in the machine only: elsewhere it is not ours to set. */
static char *swap_on(void)
{
	char *path = image_path(), *command;
	int ret;

	if (asprintf(&command, "PATH=$PATH:/sbin:/usr/sbin; "
		     "dd if=/dev/zero of=%s bs=1M count=64 status=none && "
		     "chmod 600 %s && mkswap -q %s", path, path, path) < 0)
		return NULL;
	ret = system(command);
	free(command);
	if (!ret && !swapon(path, 0))
		return path;
	image_remove(path);
	return NULL;
}

static unsigned long swapped_out(const struct tracked *k)
{
	unsigned long i, first = (uintptr_t)k->m.p / PAGE, out = 0;
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	for (i = 0; i < k->pages; i++)
		if (pread(fd, &entry, 8, (first + i) * 8) == 8)
			out += !(entry >> 63);
	close(fd);
	return out;
}

TEST_F(absent, swapped_out)
{
	struct tracked *k = &self->k;
	unsigned long i;
	char *swap;
	int tries;

	if (k->unit > 1 || k->kind == TRACKED_FILE)
		SKIP(return, "is not swapped");
	if (!getenv("MAPPED_RAM_VM"))
		SKIP(return, "only in the test machine");
	swap = swap_on();
	ASSERT_NE(NULL, swap);
	random_fill(k->m.p, k->m.length);
	ASSERT_EQ(k->pages, tracked_save(k));
	for (i = 0; i < k->pages; i += 100)
		*tracked_page(k, i) += 1;
	for (tries = 0; tries < 20 && swapped_out(k) < k->pages / 2; tries++) {
		madvise(k->m.p, k->m.length, MADV_PAGEOUT);
		usleep(50 * 1000);
	}
	EXPECT_LT(k->pages / 4, swapped_out(k));
	if (tells(k, variant->fd))
		EXPECT_EQ((k->pages + 99) / 100,
			  mram_scan_tracker_fetch(k->t, &error));
	ASSERT_OK(tracked_save(k));
	/* Brought back by writes: some of those that went out clean. */
	for (i = 50; i < k->pages; i += 100)
		*tracked_page(k, i) += 1;
	EXPECT_LE(k->pages / 100, tracked_save(k));
	ASSERT_OK(tracked_save(k));
	ASSERT_OK(tracked_save(k));
	EXPECT_EQ(0, tracked_save(k));
	EXPECT_TRUE(tracked_same(k));
	EXPECT_EQ(0, swapoff(swap));
	image_remove(swap);
}

TEST_HARNESS_MAIN
