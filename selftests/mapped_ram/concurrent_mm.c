// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that the address space may change in every way while passes run:
 * unmapped, moved, discarded, replaced, punched, forked. A pass never crashes
 * and never writes what is not the region's; what it cannot read it reports as
 * EFAULT and leaves dirty; and afterwards one pass makes image and memory equal
 * again, so nothing of what was there before is kept by mistake. All of it with
 * and without the cache of pins.
 */
#include "inflight.h"
#include "harness.h"

#define PAGES	128
#define PASSES	5	/* at least, while changes are made at random */

FIXTURE(concurrent_mm) {
	struct slow_rig slow;
	struct rig *rig;
	long pins;
	long memory;		/* available before, in kB */
};

FIXTURE_VARIANT(concurrent_mm) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(concurrent_mm, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(concurrent_mm, anon_pin) {
	MEM_ANON, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(concurrent_mm, memfd) { MEM_MEMFD, 0 };
FIXTURE_VARIANT_ADD(concurrent_mm, memfd_pin) {
	MEM_MEMFD, MAPPED_RAM_REGION_PIN
};

FIXTURE_SETUP(concurrent_mm)
{
	self->pins = pinned_pages();
	self->memory = meminfo_kb("MemAvailable");
	need_slow_rig(&self->slow, variant->kind, PAGES, variant->flags);
	self->rig = &self->slow.rig;
}

FIXTURE_TEARDOWN(concurrent_mm)
{
	struct frames *frames = need_frames(self->rig->mem.addr,
					    self->rig->mem.length);

	slow_rig_drop(&self->slow);
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(0, frames_held(frames));
	/*
	 * The frames that came and went at random were some hundred MiB; that
	 * they are not kept shows only in the sum.
	 */
	EXPECT_GT(64 * 1024, self->memory - meminfo_kb("MemAvailable"));
}

struct passes {
	pthread_t thread;
	struct rig *rig;
	bool stop;
	int failed;
	unsigned int nr, faults;
};

/* Everything is dirty all the time: the worst that a guest can do. */
static void *run_passes(void *arg)
{
	struct passes *p = arg;
	struct region *r = &p->rig->r;
	struct rng rng = rng_new(0x9a55);
	struct mapped_ram_save save;
	int ret;

	while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED) && !p->failed) {
		bits_set(r->dirty, 0, r->nr_pages);
		save = save_args(r, 0, r->nr_pages);
		save.max_extent = page_size() * rng_below(&rng, 9);
		save.window = rng_below(&rng, 5);
		save.bridge = rng_below(&rng, 3);
		ret = save_pass(r, &save);
		if (ret == -EFAULT && save.out_error_page < r->nr_pages)
			p->faults++;
		else
			p->failed = ret;
		__atomic_add_fetch(&p->nr, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *map_again(struct rig *rig, size_t first, size_t nr)
{
	size_t size = page_size();
	int flags = MAP_FIXED | (rig->mem.fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS :
				 MAP_SHARED);

	return mmap(rig->mem.addr + first * size, nr * size,
		    PROT_READ | PROT_WRITE, flags, rig->mem.fd,
		    rig->mem.fd < 0 ? 0 : first * size);
}

/* One change to some pages, that ends with all of them mapped. 0 if it went */
static int change(struct rig *rig, struct rng *rng)
{
	size_t size = page_size();
	size_t first = rng_below(rng, PAGES);
	size_t nr = 1 + rng_below(rng, PAGES - first);
	uint8_t *at = rig->mem.addr + first * size;
	void *away;

	switch (rng_below(rng, 8)) {
	case 0:
		if (munmap(at, nr * size))
			return -errno;
		sched_yield();
		if (map_again(rig, first, nr) == MAP_FAILED)
			return -errno;
		break;
	case 1:
		/* Replaced without a moment between */
		if (map_again(rig, first, nr) == MAP_FAILED)
			return -errno;
		break;
	case 2:
		if (madvise(at, nr * size, MADV_DONTNEED))
			return -errno;
		break;
	case 3:
		away = mmap(NULL, nr * size, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (away == MAP_FAILED)
			return -errno;
		/* Fails on a range of several mappings: tried, that is all. */
		if (mremap(at, nr * size, nr * size,
			   MREMAP_MAYMOVE | MREMAP_FIXED, away) == MAP_FAILED) {
			munmap(away, nr * size);
			break;
		}
		sched_yield();
		if (mremap(away, nr * size, nr * size,
			   MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED)
			return -errno;
		break;
	case 4:
		if (rig->mem.fd < 0)
			break;
		if (fallocate(rig->mem.fd,
			      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			      first * size, nr * size))
			return -errno;
		break;
	case 5:
		/* What write-tracking does; replaces no page */
		if (mprotect(at, nr * size, PROT_READ))
			return -errno;
		sched_yield();
		if (mprotect(at, nr * size, PROT_READ | PROT_WRITE))
			return -errno;
		break;
	case 6:
		if (mprotect(at, nr * size, PROT_NONE))
			return -errno;
		sched_yield();
		if (mprotect(at, nr * size, PROT_READ | PROT_WRITE))
			return -errno;
		break;
	}
	rng_fill(rng, at, nr * size / 2);
	return 0;
}

TEST_F(concurrent_mm, changes_at_random)
{
	struct rig *rig = self->rig;
	struct passes p = { .rig = rig };
	struct rng rng = rng_new(0xc4a);
	uint64_t end = rig->r.offset + rig->r.length;
	uint8_t *now = malloc(rig->img.size);
	int i;

	ASSERT_NE(NULL, now);
	ASSERT_EQ(0, pthread_create(&p.thread, NULL, run_passes, &p));
	/* Both get their turn, also where they have to share a processor. */
	for (i = 0; i < 1500 ||
	     __atomic_load_n(&p.nr, __ATOMIC_ACQUIRE) < PASSES; i++)
		ASSERT_EQ(0, change(rig, &rng)) TH_LOG("change %d", i);
	__atomic_store_n(&p.stop, true, __ATOMIC_RELAXED);
	pthread_join(p.thread, NULL);
	EXPECT_EQ(0, p.failed);
	TH_LOG("%u passes, %u of them with EFAULT, %d changes", p.nr, p.faults,
	       i);

	ASSERT_EQ(0, image_read(&rig->img, now, rig->img.size, 0));
	EXPECT_EQ(0, memcmp(now, rig->m.image, rig->r.offset));
	EXPECT_EQ(0, memcmp(now + end, rig->m.image + end,
			    rig->img.size - end));
	free(now);

	bits_set(rig->r.dirty, 0, PAGES);
	model_free(&rig->m);
	need_model(&rig->m, &rig->r, &rig->img);
	EXPECT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

/* What is in flight is written, though the memory is not there any more. */
TEST_F(concurrent_mm, unmapped_in_flight)
{
	struct rig *rig = self->rig;
	struct mapped_ram_save save;
	struct pass p;

	need_held(&self->slow, 0);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	ASSERT_EQ(0, munmap(rig->mem.addr, rig->mem.length));
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(PAGES, p.save.out_written_pages);
	/* No pin keeps what is unmapped. */
	EXPECT_TRUE(pins_return_to(self->pins));

	/* Nothing is there to be saved, and nothing is lost by trying. */
	bits_set(rig->r.dirty, 10, 20);
	save = save_args(&rig->r, 0, PAGES);
	EXPECT_EQ(-EFAULT, save_pass(&rig->r, &save));
	EXPECT_EQ(10, save.out_error_page);
	EXPECT_EQ(20, bits_count(rig->r.dirty, 0, PAGES));
	EXPECT_EQ(20, bits_count(rig->r.dirty, 10, 20));

	/* The image holds what the memory held. */
	ASSERT_NE(MAP_FAILED, map_again(rig, 0, PAGES));
	memcpy(rig->mem.addr, rig->m.mem, rig->mem.length);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	bits_clear(rig->r.dirty, 10, 20);
	EXPECT_EQ(0, model_check(&rig->m));
}

/* New pages at the place of those in flight: the next pass must take these. */
TEST_F(concurrent_mm, replaced_in_flight)
{
	struct rig *rig = self->rig;
	struct rng rng = rng_new(0x4e9);
	struct pass p;

	need_held(&self->slow, 0);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	/* Of shared memory alone it would come back from the memfd. */
	ASSERT_EQ(0, madvise(rig->mem.addr, rig->mem.length, MADV_DONTNEED));
	if (rig->mem.fd >= 0) {
		ASSERT_EQ(0, fallocate(rig->mem.fd, FALLOC_FL_PUNCH_HOLE |
				       FALLOC_FL_KEEP_SIZE, 0,
				       rig->mem.length));
	}
	rig_dirty_all(rig, &rng);
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, model_check(&rig->m));
	EXPECT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

/*
 * A child that writes to its copy of pages in flight, and a parent that does:
 * each keeps its own, and the image is the parent's.
 */
TEST_F(concurrent_mm, fork_in_flight)
{
	struct rig *rig = self->rig;
	struct rng rng = rng_new(0xf04);
	struct pass p;
	pid_t child;
	int status;

	need_held(&self->slow, 0);
	model_save(&rig->m, 0, PAGES, NULL, NULL);
	need_save_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	child = fork();
	if (!child) {
		bool right = !memcmp(rig->r.mem, rig->m.mem, rig->r.length);

		/* Shared memory is the parent's, too: hands off. */
		if (variant->kind == MEM_ANON)
			memset(rig->r.mem, 0x77, rig->r.length);
		_exit(right ? 0 : 1);
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, model_check(&rig->m));

	/* After a fork the parent's write gets it another page. */
	rig_dirty_all(rig, &rng);
	EXPECT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

/* LOAD writes into pages while they are forked: the parent must get it all. */
TEST_F(concurrent_mm, fork_during_load)
{
	struct rig *rig = self->rig;
	struct pass p;
	pid_t child;
	int status;

	ASSERT_EQ(0, rig_save(rig, NULL));
	memset(rig->r.mem, 0xee, rig->r.length);
	need_held(&self->slow, 0);
	need_load_started(&p, &rig->r, 0, PAGES);
	ASSERT_TRUE(wait_held(&self->slow.disk, 1, &p));
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	ASSERT_LT(0, child);
	EXPECT_FALSE(pass_done(&p));
	need_delay(&self->slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, model_check(&rig->m));
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, model_check(&rig->m));
}

TEST_HARNESS_MAIN
