// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariants 2 and 6 during passes: threads write, discard, replace and
 * move memory all the time and report every change to the dirty bitmap after
 * they made it, as a dirty log does. No pass fails, and a last pass, after they
 * stopped, makes the image what memory is: no change is lost, no page stays
 * torn, no page comes from memory that is gone.
 */
#include <pthread.h>

#include "rig.h"
#include "harness.h"

#define LENGTH		HUGE_SIZE
#define THREADS		2
#define PASSES		10
/* so many between the ends of two passes, at least */
#define CHANGES		12

FIXTURE(inv_discard_live) {
	struct rig rig;
	long pinned;
	bool stop;
	size_t changes;
};

FIXTURE_VARIANT(inv_discard_live) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_discard_live, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(inv_discard_live, anon_pin) {
	MEM_ANON, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_discard_live, thp) { MEM_THP, 0 };
FIXTURE_VARIANT_ADD(inv_discard_live, thp_pin) {
	MEM_THP, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_discard_live, memfd) { MEM_MEMFD, 0 };
FIXTURE_VARIANT_ADD(inv_discard_live, memfd_pin) {
	MEM_MEMFD, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_discard_live, hugetlb_pin) {
	MEM_HUGETLB, MAPPED_RAM_REGION_PIN
};

FIXTURE_SETUP(inv_discard_live)
{
	self->pinned = pinned_pages();
	need_rig(&self->rig, variant->kind, LENGTH, variant->flags);
}

FIXTURE_TEARDOWN(inv_discard_live)
{
	rig_drop(&self->rig);
	EXPECT_TRUE(pins_return_to(self->pinned));
}

struct worker {
	FIXTURE_DATA(inv_discard_live) *self;
	pthread_t thread;
	struct rng rng;
	size_t first, nr;	/* the pages that are this thread's */
	bool discard;		/* or only write */
	const char *failed;
};

static bool discard(struct worker *w, uint8_t *at, size_t length)
{
	const struct rig *rig = &w->self->rig;
	int rw = PROT_READ | PROT_WRITE;
	int anon = MAP_PRIVATE | MAP_ANONYMOUS;
	uint8_t *other;

	switch (rng_below(&w->rng, 4)) {
	case 0:
		return !madvise(at, length, MADV_DONTNEED);
	case 1:
		/* EINVAL: something private was moved there already */
		return !madvise(at, length, MADV_REMOVE) || errno == EINVAL;
	case 2:
		/* the same file there again, or fresh memory */
		return mmap(at, length, rw, MAP_FIXED |
			    (rig->mem.fd < 0 ? anon : MAP_SHARED),
			    rig->mem.fd, at - rig->mem.addr) == at;
	default:
		other = mmap(NULL, length, rw, anon, -1, 0);
		if (other == MAP_FAILED)
			return false;
		memset(other, 0x3c, length);
		return mremap(other, length, length, MREMAP_MAYMOVE |
			      MREMAP_FIXED, at) == at;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct region *r = &w->self->rig.r;
	size_t page, nr, size = r->page_size;

	while (!__atomic_load_n(&w->self->stop, __ATOMIC_ACQUIRE)) {
		nr = 1 + rng_below(&w->rng, 16);
		page = w->first + rng_below(&w->rng, w->nr - nr);
		if (w->discard && rng_percent(&w->rng, 30)) {
			if (!discard(w, region_page(r, page), nr * size)) {
				w->failed = strerror(errno);
				return NULL;
			}
		} else {
			rng_fill(&w->rng, region_page(r, page), nr * size);
		}
		/* Only now, and for all of it */
		bits_set(r->dirty, page, nr);
		__atomic_add_fetch(&w->self->changes, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static bool stuck(const struct worker *workers)
{
	size_t i;

	for (i = 0; i < THREADS; i++)
		if (__atomic_load_n(&workers[i].failed, __ATOMIC_RELAXED))
			return true;
	return false;
}

static void run(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard_live) *self, bool discards)
{
	struct rig *rig = &self->rig;
	struct worker workers[THREADS];
	struct mapped_ram_save save;
	struct rng rng = rng_new(0x11fe);
	size_t share = rig->r.nr_pages / THREADS, i;

	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){
			.self = self,
			.rng = rng_new(0x11fe00 + i),
			.first = i * share,
			.nr = share,
			.discard = discards,
		};
		ASSERT_EQ(0, pthread_create(&workers[i].thread, NULL, work,
					    &workers[i]));
	}
	for (i = 0; i < PASSES; i++) {
		while (__atomic_load_n(&self->changes, __ATOMIC_RELAXED) <
		       (i + 1) * CHANGES && !stuck(workers))
			usleep(500);
		save = save_args(&rig->r, 0, rig->r.nr_pages);
		save.bridge = rng_below(&rng, 9);
		if (rng_percent(&rng, 30))
			save.flags = MAPPED_RAM_SAVE_BRIDGE_AUTO;
		save.window = rng_below(&rng, 4);
		/* mostly small ones: a pass should take its time */
		save.max_extent = rng_below(&rng, 4) * page_size();
		EXPECT_EQ(0, save_pass(&rig->r, &save))
			TH_LOG("pass %zu, page %llu", i,
			       (unsigned long long)save.out_error_page);
	}
	__atomic_store_n(&self->stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		EXPECT_EQ(NULL, workers[i].failed)
			TH_LOG("%s", workers[i].failed);
	}
	save = save_args(&rig->r, 0, rig->r.nr_pages);
	ASSERT_EQ(0, save_pass(&rig->r, &save));
	memcpy(rig->m.mem, rig->mem.addr, rig->mem.length);
	EXPECT_EQ(0, bits_count(rig->r.dirty, 0, rig->r.nr_pages));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
}

TEST_F(inv_discard_live, writers)
{
	run(_metadata, self, false);
}

TEST_F(inv_discard_live, writers_that_discard)
{
	if (variant->kind == MEM_HUGETLB)
		SKIP(return, "no part of a huge page can be discarded");
	run(_metadata, self, true);
}

TEST_HARNESS_MAIN
