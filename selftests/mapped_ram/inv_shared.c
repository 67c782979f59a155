// SPDX-License-Identifier: GPL-2.0
/*
 * Proves the other half of invariant 5: reading memory must not allocate
 * memory. Pages that several address spaces or mappings share copy-on-write,
 * after fork() or merged by KSM, are the same page frames after a pass as
 * before, and so is the zero page that a read fault maps.
 */
#include "rig.h"
#include "harness.h"

#define PAGES	256
#define KSM	"/sys/kernel/mm/ksm/"

FIXTURE(inv_shared) {
	struct rig rig;
	int64_t frames[PAGES];
};

FIXTURE_SETUP(inv_shared)
{
	need_rig(&self->rig, MEM_ANON, PAGES * page_size(), 0);
}

FIXTURE_TEARDOWN(inv_shared)
{
	rig_drop(&self->rig);
}

static int get_frames(const struct rig *rig, int64_t *frames)
{
	size_t i;

	for (i = 0; i < PAGES; i++) {
		frames[i] = page_frame(region_page(&rig->r, i));
		if (frames[i] <= 0)
			return -1;
	}
	return 0;
}

static void same_frames(struct __test_metadata *_metadata,
			const struct rig *rig, const int64_t *before)
{
	int64_t after[PAGES];
	size_t i, moved = 0;

	ASSERT_EQ(0, get_frames(rig, after));
	for (i = 0; i < PAGES; i++)
		moved += after[i] != before[i];
	EXPECT_EQ(0, moved);
}

static long ksm_number(const char *name)
{
	char line[32];

	shell_line(line, sizeof(line), "cat " KSM "%s", name);
	return line[0] ? strtol(line, NULL, 10) : -1;
}

TEST_F(inv_shared, fork)
{
	struct rig *rig = &self->rig;
	struct rng rng = rng_new(0xf0);
	int go[2], status;
	char byte;
	pid_t child;

	rig_dirty_all(rig, &rng);
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(go[1]);
		/* until the parent has saved, or is gone */
		if (read(go[0], &byte, 1) < 0)
			_exit(2);
		_exit(memcmp(rig->mem.addr, rig->m.mem, rig->mem.length));
	}
	close(go[0]);
	ASSERT_EQ(0, get_frames(rig, self->frames));
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	same_frames(_metadata, rig, self->frames);
	close(go[1]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(inv_shared, merged_by_ksm)
{
	struct rig *rig = &self->rig;
	long before, now, tries;
	size_t i;

	if (access(KSM "run", W_OK))
		SKIP(return, "no KSM in this kernel");
	for (i = 0; i < PAGES; i++)
		memset(region_page(&rig->r, i), 0x42, page_size());
	memcpy(rig->m.mem, rig->mem.addr, rig->mem.length);
	bits_set(rig->r.dirty, 0, PAGES);
	bits_set(rig->m.dirty, 0, PAGES);

	ASSERT_EQ(0, madvise(rig->mem.addr, rig->mem.length, MADV_MERGEABLE));
	write_file(KSM "sleep_millisecs", "0");
	write_file(KSM "pages_to_scan", "1000");
	ASSERT_EQ(0, write_file(KSM "run", "1"));
	before = -1;
	for (tries = 0; tries < 300; tries++) {
		now = ksm_number("pages_sharing");
		/* done, and nothing more is being merged */
		if (now >= PAGES - 2 && now == before)
			break;
		before = now;
		usleep(100 * 1000);
	}
	write_file(KSM "run", "0");
	before = ksm_number("pages_sharing");
	ASSERT_LE(PAGES - 2, before) TH_LOG("ksmd merged %ld pages", before);

	ASSERT_EQ(0, get_frames(rig, self->frames));
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	same_frames(_metadata, rig, self->frames);
	EXPECT_EQ(before, ksm_number("pages_sharing"));
	write_file(KSM "run", "2");
}

TEST_F(inv_shared, zero_page)
{
	struct rig *rig = &self->rig;

	/* The model has read all of the memory: only the zero page is mapped. */
	ASSERT_EQ(0, get_frames(rig, self->frames));
	EXPECT_EQ(self->frames[0], self->frames[PAGES - 1]);
	bits_set(rig->r.dirty, 0, PAGES);
	bits_set(rig->m.dirty, 0, PAGES);
	ASSERT_EQ(0, rig_save(rig, NULL)) TH_LOG("%s", rig->m.why);
	same_frames(_metadata, rig, self->frames);
}

TEST_HARNESS_MAIN
