// SPDX-License-Identifier: GPL-2.0
/*
 * Proves invariant 6 between passes: memory that was discarded, replaced,
 * moved, forked or re-protected since the last pass is saved as it is at the
 * next one, never as the page that a pass met earlier, with and without
 * MAPPED_RAM_REGION_PIN; and whatever was pinned for it is given back.
 */
#include "rig.h"
#include "harness.h"

/* What is done is done to these pages: a part of a huge page. */
#define FIRST	40
#define NR	70
/* The rest, to both sides of them, stays. */
#define LENGTH(kind) ((kind) == MEM_THP ? HUGE_SIZE : 130 * page_size())

FIXTURE(inv_discard) {
	struct rig rig;
	struct rng rng;
	long pinned;
	uint8_t *at;		/* page FIRST */
	size_t length;		/* of NR pages */
	uint32_t flags;
};

FIXTURE_VARIANT(inv_discard) {
	enum mem_kind kind;
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(inv_discard, anon) { MEM_ANON, 0 };
FIXTURE_VARIANT_ADD(inv_discard, anon_pin) { MEM_ANON, MAPPED_RAM_REGION_PIN };
FIXTURE_VARIANT_ADD(inv_discard, thp_pin) { MEM_THP, MAPPED_RAM_REGION_PIN };
FIXTURE_VARIANT_ADD(inv_discard, memfd) { MEM_MEMFD, 0 };
FIXTURE_VARIANT_ADD(inv_discard, memfd_pin) {
	MEM_MEMFD, MAPPED_RAM_REGION_PIN
};
FIXTURE_VARIANT_ADD(inv_discard, file_private_pin) {
	MEM_FILE_PRIVATE, MAPPED_RAM_REGION_PIN
};

FIXTURE_SETUP(inv_discard)
{
	self->rng = rng_new(0xd15c);
	self->pinned = pinned_pages();
	need_rig(&self->rig, variant->kind, LENGTH(variant->kind),
		 variant->flags);
	if (variant->kind == MEM_FILE_PRIVATE) {
		/* saved as the file's pages first, not as private copies */
		memset(self->rig.m.mem, 0x66, self->rig.mem.length);
		ASSERT_EQ(self->rig.mem.length,
			  pwrite(self->rig.mem.fd, self->rig.m.mem,
				 self->rig.mem.length, 0));
		bits_set(self->rig.r.dirty, 0, self->rig.r.nr_pages);
		bits_set(self->rig.m.dirty, 0, self->rig.r.nr_pages);
	} else {
		rig_dirty_all(&self->rig, &self->rng);
	}
	/* The pass that meets all the pages */
	ASSERT_EQ(0, rig_save(&self->rig, NULL))
		TH_LOG("%s", self->rig.m.why);
	self->at = region_page(&self->rig.r, FIRST);
	self->length = NR * page_size();
	self->flags = variant->flags;
}

FIXTURE_TEARDOWN(inv_discard)
{
	rig_drop(&self->rig);
	EXPECT_TRUE(pins_return_to(self->pinned));
}

/* Takes the changed pages as they are now for right: the next pass, please. */
static void saved_as_it_is(struct __test_metadata *_metadata, struct rig *rig,
			   size_t first, size_t nr)
{
	size_t at = first * page_size();

	memcpy(rig->m.mem + at, rig->mem.addr + at, nr * page_size());
	bits_set(rig->r.dirty, first, nr);
	bits_set(rig->m.dirty, first, nr);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

static void written_again(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	rng_fill(&self->rng, self->at, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	/* And again, to what the pass just met */
	rng_fill(&self->rng, self->at, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void dontneed(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	/* Private memory is zero, or the file's again; shared memory stays. */
	ASSERT_EQ(0, madvise(self->at, self->length, MADV_DONTNEED));
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);

	/* Some of it comes back, as from a balloon. */
	ASSERT_EQ(0, madvise(self->at, self->length, MADV_DONTNEED));
	rng_fill(&self->rng, self->at + 5 * page_size(), 7 * page_size());
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void dontneed_unseen(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	struct rig *rig = &self->rig;
	size_t i;

	/* Nobody looks at the memory before the pass does. */
	if (self->rig.mem.kind == MEM_MEMFD) {
		ASSERT_EQ(0, madvise(self->at, self->length, MADV_REMOVE));
	} else {
		ASSERT_EQ(0, madvise(self->at, self->length, MADV_DONTNEED));
	}
	memset(rig->m.mem + FIRST * page_size(),
	       self->rig.mem.kind == MEM_FILE_PRIVATE ? 0x66 : 0, self->length);
	for (i = FIRST; i < FIRST + NR; i++) {
		bit_set(rig->r.dirty, i);
		bit_set(rig->m.dirty, i);
	}
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
}

static void hole_punched(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	ASSERT_EQ(0, fallocate(self->rig.mem.fd, FALLOC_FL_PUNCH_HOLE |
			       FALLOC_FL_KEEP_SIZE, FIRST * page_size(),
			       self->length));
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	rng_fill(&self->rng, self->at, 3 * page_size());
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void truncated_and_extended(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	ASSERT_EQ(0, ftruncate(self->rig.mem.fd, FIRST * page_size()));
	ASSERT_EQ(0, ftruncate(self->rig.mem.fd, self->rig.mem.length));
	saved_as_it_is(_metadata, &self->rig, FIRST,
		       self->rig.r.nr_pages - FIRST);
}

static void behind_the_end_of_the_memfd(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, rig->r.nr_pages);

	/* Whoever touches that gets SIGBUS; a pass gets EFAULT. */
	ASSERT_EQ(0, ftruncate(rig->mem.fd, FIRST * page_size()));
	bits_set(rig->r.dirty, 10, 100);
	bits_set(rig->m.dirty, 10, 100);
	EXPECT_EQ(-EFAULT, save_pass(&rig->r, &save));
	EXPECT_EQ(FIRST, save.out_error_page);
	EXPECT_EQ(110 - FIRST, bits_count(rig->r.dirty, FIRST, 110 - FIRST));
	ASSERT_EQ(0, ftruncate(rig->mem.fd, rig->mem.length));
	saved_as_it_is(_metadata, rig, 10, rig->r.nr_pages - 10);
}

static void mapped_anew(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	void *now;

	ASSERT_EQ(0, munmap(self->at, self->length));
	now = mmap(self->at, self->length, PROT_READ | PROT_WRITE,
		   MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_EQ(self->at, now);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	rng_fill(&self->rng, now, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void something_else_moved_there(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	uint8_t *other;

	other = mmap(NULL, self->length, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, other);
	rng_fill(&self->rng, other, self->length);
	ASSERT_EQ(self->at, mremap(other, self->length, self->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, self->at));
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void moved_away_and_back(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	uint8_t *other;

	other = mmap(NULL, self->length, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, other);
	ASSERT_EQ(other, mremap(self->at, self->length, self->length,
				MREMAP_MAYMOVE | MREMAP_FIXED, other));
	rng_fill(&self->rng, other, 9 * page_size());
	ASSERT_EQ(self->at, mremap(other, self->length, self->length,
				   MREMAP_MAYMOVE | MREMAP_FIXED, self->at));
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void forked_then_written(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	int go[2], status;
	pid_t child;
	char byte;

	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		/* The child's writes are not ours, and ours not the child's. */
		if (self->rig.mem.kind != MEM_MEMFD)
			memset(self->at, 0xcc, self->length / 2);
		close(go[1]);
		_exit(read(go[0], &byte, 1) != 0);
	}
	close(go[0]);
	rng_fill(&self->rng, self->at + page_size(), 20 * page_size());
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	rng_fill(&self->rng, self->at, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	rng_fill(&self->rng, self->at, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void protected_and_written(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	/* As write tracking does; no page is replaced by it. */
	ASSERT_EQ(0, mprotect(self->at, self->length, PROT_READ));
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
	ASSERT_EQ(0, mprotect(self->at, self->length, PROT_READ | PROT_WRITE));
	rng_fill(&self->rng, self->at, self->length);
	saved_as_it_is(_metadata, &self->rig, FIRST, NR);
}

static void no_access(struct __test_metadata *_metadata,
		FIXTURE_DATA(inv_discard) *self)
{
	struct rig *rig = &self->rig;
	struct mapped_ram_save save = save_args(&rig->r, 0, rig->r.nr_pages);
	int err;

	ASSERT_EQ(0, mprotect(self->at, self->length, PROT_NONE));
	bits_set(rig->r.dirty, FIRST, NR);
	bits_set(rig->m.dirty, FIRST, NR);
	err = save_pass(&rig->r, &save);
	if (err || !self->flags) {
		EXPECT_EQ(-EFAULT, err);
		EXPECT_EQ(FIRST, save.out_error_page);
		EXPECT_EQ(NR, bits_count(rig->r.dirty, FIRST, NR));
	} else {
		/* What is pinned stays so: a protection replaces no page. */
		EXPECT_EQ(NR, save.out_written_pages);
	}
	ASSERT_EQ(0, mprotect(self->at, self->length, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, model_check_union(&rig->m)) TH_LOG("%s", rig->m.why);
	saved_as_it_is(_metadata, rig, FIRST, NR);
}

TEST_F(inv_discard, saved_as_it_is)
{
	STEP(written_again);
	/* First, while what is not written to is still the file's */
	STEP(dontneed_unseen);
	STEP(dontneed);
	if (variant->kind == MEM_MEMFD) {
		STEP(hole_punched);
		STEP(truncated_and_extended);
		STEP(behind_the_end_of_the_memfd);
	}
	STEP(forked_then_written);
	STEP(protected_and_written);
	STEP(no_access);
	STEP(moved_away_and_back);
	STEP(something_else_moved_there);
	STEP(mapped_anew);
}

TEST_HARNESS_MAIN
