// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 5 for memory that exists in places only, at every scale
 * (pages, groups of page table entries, page tables), whatever else there is:
 * zero pages, pages of zeroes that a read mapped, pages that are swapped out,
 * pages of the file below a private mapping and copies over its holes, pages
 * without access, write protection by a userfaultfd, and threads that make and
 * discard pages meanwhile. Every page with a byte that is not zero is in the
 * image, no other is, no page exists afterwards that did not before, and none
 * is held when it is gone.
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "sparse.h"
#include "harness.h"

/* More than one of the chunks that a pass works on, not a whole number */
#define LENGTH		(20 * MIB + 320 * KIB)
#define HUGE_LENGTH	(9 * HUGE_SIZE)
#define ROUNDS		4
#define CHANGES		10
#define THREADS		2

FIXTURE(inv_absent_random) {
	struct sparse s;
	struct rng rng;
	bool stop;
};

FIXTURE_VARIANT(inv_absent_random) {
	enum mem_kind kind;
	size_t length;
	uint32_t page_size;
	uint32_t flags;
	unsigned int how;
};

FIXTURE_VARIANT_ADD(inv_absent_random, anon) { MEM_ANON, LENGTH, 4 * KIB };
FIXTURE_VARIANT_ADD(inv_absent_random, anon_64k) {
	MEM_ANON, LENGTH, 64 * KIB
};
FIXTURE_VARIANT_ADD(inv_absent_random, anon_pin) {
	MEM_ANON, LENGTH, 4 * KIB, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_absent_random, anon_swap) {
	MEM_ANON, LENGTH, 4 * KIB, 0, SPARSE_SWAP
};
FIXTURE_VARIANT_ADD(inv_absent_random, thp) { MEM_THP, LENGTH, 4 * KIB };
FIXTURE_VARIANT_ADD(inv_absent_random, memfd) { MEM_MEMFD, LENGTH, 4 * KIB };
FIXTURE_VARIANT_ADD(inv_absent_random, memfd_64k) {
	MEM_MEMFD, LENGTH, 64 * KIB
};
FIXTURE_VARIANT_ADD(inv_absent_random, memfd_swap) {
	MEM_MEMFD, LENGTH, 4 * KIB, 0, SPARSE_SWAP
};
FIXTURE_VARIANT_ADD(inv_absent_random, memfd_private) {
	MEM_MEMFD, LENGTH, 4 * KIB, 0, SPARSE_PRIVATE
};
FIXTURE_VARIANT_ADD(inv_absent_random, hugetlb) {
	MEM_HUGETLB, HUGE_LENGTH, 4 * KIB
};
FIXTURE_VARIANT_ADD(inv_absent_random, memfd_hugetlb) {
	MEM_MEMFD_HUGETLB, HUGE_LENGTH, 4 * KIB
};

FIXTURE_SETUP(inv_absent_random)
{
	self->rng = rng_new(0xab5e27);
	need_sparse(&self->s, &self->rng, variant->kind, variant->length,
		    variant->page_size, variant->flags, variant->how);
}

FIXTURE_TEARDOWN(inv_absent_random)
{
	sparse_drop(&self->s);
}

static void settled(struct __test_metadata *_metadata, struct sparse *s,
		    bool all)
{
	size_t where;
	const char *why = sparse_check(s, 0, s->r.nr_pages, all, &where);

	ASSERT_EQ(NULL, why)
		TH_LOG("page %zu of %zu: %s", where, s->r.nr_pages, why);
}

TEST_F(inv_absent_random, passes)
{
	struct sparse *s = &self->s;
	size_t data, zero, round, i;
	struct mapped_ram_save save;
	struct account before;
	struct frames *frames;
	char why[128];

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < CHANGES; i++)
			ASSERT_EQ(0, sparse_change(s, &self->rng, 0, s->nr));
		if (rng_percent(&self->rng, 50))
			bits_set(s->r.dirty, rng_below(&self->rng, 100),
				 s->r.nr_pages - 100);
		sparse_swap_out(s, &self->rng);
		sparse_count(s, 0, s->r.nr_pages, &data, &zero);
		before = account_now(&s->mem);
		ASSERT_EQ(0, sparse_note_there(s));

		save = save_args(&s->r, 0, s->r.nr_pages);
		/* With bridges and without, pages are got in different ways. */
		if (round % 2)
			save.bridge = 1 + rng_below(&self->rng, 8);
		save.max_extent = rng_below(&self->rng, 4) * s->r.page_size;
		ASSERT_EQ(0, save_pass(&s->r, &save));
		/* Mapped are more than before where others made them. */
		if (variant->how)
			before.rss = account_now(&s->mem).rss;
		EXPECT_EQ(0, account_differs(&before, &s->mem, why,
					     sizeof(why)))
			TH_LOG("round %zu: %s", round, why);
		if (s->mem.fd < 0) {
			EXPECT_EQ(0, sparse_grown(s));
		}
		EXPECT_EQ(data, save.out_written_pages);
		EXPECT_EQ(zero, save.out_zero_pages);
		settled(_metadata, s, true);
	}
	if (s->mem.kind == MEM_ANON && !variant->how) {
		frames = need_frames(s->mem.addr, s->mem.length);
		mem_unmap(&s->mem);
		EXPECT_EQ(0, frames_held(frames));
	}
}

TEST_F(inv_absent_random, no_access_somewhere)
{
	struct sparse *s = &self->s;
	const size_t unit = variant->length == HUGE_LENGTH ? HUGE_SIZE :
							     page_size();
	struct mapped_ram_save save;
	size_t round, bad, i;
	uint8_t *at;

	for (round = 0; round < ROUNDS; round++) {
		for (i = 0; i < CHANGES; i++)
			ASSERT_EQ(0, sparse_change(s, &self->rng, 0, s->nr));
		sparse_swap_out(s, &self->rng);
		bits_set(s->r.dirty, 0, s->r.nr_pages);

		at = s->r.mem + rng_below(&self->rng, variant->length);
		at -= (uintptr_t)at % unit;
		if (at < s->r.mem)
			at += unit;
		bad = (at - s->r.mem) / s->r.page_size;
		ASSERT_EQ(0, mprotect(at, unit, PROT_NONE));
		save = save_args(&s->r, 0, s->r.nr_pages);
		EXPECT_EQ(-EFAULT, save_pass(&s->r, &save));
		EXPECT_EQ(bad, save.out_error_page);
		settled(_metadata, s, false);
		EXPECT_EQ(s->r.nr_pages - bad,
			  bits_count(s->r.dirty, bad, s->r.nr_pages - bad));

		ASSERT_EQ(0, mprotect(at, unit, PROT_READ | PROT_WRITE));
		ASSERT_EQ(0, save_pass(&s->r, &save));
		settled(_metadata, s, true);
	}
}

struct worker {
	FIXTURE_DATA(inv_absent_random) *self;
	pthread_t thread;
	struct rng rng;
	size_t first, nr;
	size_t changes;
	int failed;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&w->self->stop, __ATOMIC_ACQUIRE) &&
	       !w->failed) {
		w->failed = sparse_change(&w->self->s, &w->rng, w->first,
					  w->nr);
		__atomic_add_fetch(&w->changes, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

TEST_F(inv_absent_random, changes_meanwhile)
{
	struct sparse *s = &self->s;
	const size_t sub = s->r.page_size / page_size();
	/* each has whole format pages */
	const size_t share = s->r.nr_pages / THREADS * sub;
	struct worker workers[THREADS];
	struct mapped_ram_save save;
	size_t i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.self = self,
			.rng = rng_new(0xab5e00 + i),
			.first = i * share,
			.nr = share,
		};
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work,
					    &workers[i]));
	}
	for (i = 0; i < ROUNDS; i++) {
		save = save_args(&s->r, 0, s->r.nr_pages);
		save.bridge = rng_below(&self->rng, 9);
		sparse_swap_out(s, &self->rng);
		EXPECT_EQ(0, save_pass(&s->r, &save))
			TH_LOG("pass %zu, page %llu", i,
			       (unsigned long long)save.out_error_page);
		bits_set(s->r.dirty, 0, s->r.nr_pages);
	}
	/* Passes that found nothing to race with would prove nothing. */
	for (i = 0; i < THREADS; i++)
		while (__atomic_load_n(&workers[i].changes,
				       __ATOMIC_ACQUIRE) < ROUNDS)
			usleep(1000);
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(0, workers[i].failed);
	}
	ASSERT_EQ(0, save_pass(&s->r, &save));
	settled(_metadata, s, true);
}

/* Marks in page tables where nothing is, or is any more */
TEST_F(inv_absent_random, write_protected)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect wp = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	const size_t wants[] = {
		1ULL << 13, /* UFFD_FEATURE_WP_UNPOPULATED, since 6.4 */
		0,
	};
	struct sparse *s = &self->s;
	struct uffdio_api api;
	struct mapped_ram_save save;
	struct account before;
	int uffd = -1, ret = -1;
	size_t i, left;

	for (i = 0; i < ARRAY_LEN(wants) && ret; i++) {
		close(uffd);
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		ASSERT_LE(0, uffd);
		api = (struct uffdio_api){ .api = UFFD_API };
		api.features = wants[i] | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			       1 << 12 /* UFFD_FEATURE_WP_HUGETLBFS_SHMEM */;
		ret = ioctl(uffd, UFFDIO_API, &api);
	}
	ASSERT_EQ(0, ret);
	reg.range.start = (uintptr_t)s->mem.addr;
	reg.range.len = s->mem.length;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));

	for (i = 0; i < CHANGES; i++)
		ASSERT_EQ(0, sparse_change(s, &self->rng, 0, s->nr));
	/* One mapping at a time, as kernels before 6.4 want it */
	wp.range = reg.range;
	for (left = reg.range.len; left; left -= wp.range.len) {
		wp.range.len = left < HUGE_SIZE ? left : HUGE_SIZE;
		ASSERT_EQ(0, ioctl(uffd, UFFDIO_WRITEPROTECT, &wp));
		wp.range.start += wp.range.len;
	}
	sparse_swap_out(s, &self->rng);
	bits_set(s->r.dirty, 0, s->r.nr_pages);
	before = account_now(&s->mem);
	save = save_args(&s->r, 0, s->r.nr_pages);
	ASSERT_EQ(0, save_pass(&s->r, &save));
	/* Of shared memory the file tells, whatever the page tables say. */
	if (!(variant->how & SPARSE_PRIVATE))
		EXPECT_EQ(before.blocks, account_now(&s->mem).blocks);
	settled(_metadata, s, true);
	close(uffd);
}

TEST_HARNESS_MAIN
