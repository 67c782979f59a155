// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that it does not show in an image which engine wrote it: from the same
 * start, with the same changes and passes, all engines that work here leave the
 * same file, byte for byte, and count the same; also with regions that are kept
 * pinned. Each then restores what another wrote.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kselftest_harness.h"
#include "common.h"

#define REGIONS	2
#define PASSES	5
#define LENGTH	(3 * MIB + 5 * PAGE)

struct counts {
	uint64_t dirty, written, zero;
};

FIXTURE(identical) {
	struct memory mem[REGIONS];
	char *path[3];
	struct counts counts[3][PASSES];
};

FIXTURE_VARIANT(identical) {
	uint32_t flags;
};

FIXTURE_VARIANT_ADD(identical, transient) {
	.flags = 0,
};

FIXTURE_VARIANT_ADD(identical, pinned) {
	.flags = MRAM_REGION_PIN,
};

FIXTURE_SETUP(identical)
{
	self->mem[0] = memory_make(MEMORY_PRIVATE, LENGTH);
	self->mem[1] = memory_make(MEMORY_MEMFD, LENGTH);
}

FIXTURE_TEARDOWN(identical)
{
	int i;

	for (i = 0; i < 3; i++)
		if (self->path[i])
			image_remove(self->path[i]);
	memory_free(&self->mem[0]);
	memory_free(&self->mem[1]);
	EXPECT_NO_LEAKS();
}

/* The same for every engine: the random sequence starts anew. */
static void save(struct __test_metadata *_metadata,
		 FIXTURE_DATA(identical) *self, uint32_t flags, int engine,
		 uint64_t salt)
{
	struct mram_pass_stats st = { .size = sizeof(st) };
	struct mram_pass_opts o = MRAM_OPTS(mram_pass_opts);
	struct mram_session *s;
	uint64_t first, nr;
	int pass, i, n;

	random_seed(salt);
	s = engine_open(engine_names[engine], self->path[engine]);
	for (i = 0; i < REGIONS; i++) {
		struct mram_region_opts ro = memory_opts(&self->mem[i]);

		ro.flags |= flags;
		memory_discard(&self->mem[i], 0, LENGTH / PAGE);
		ASSERT_OK(mram_session_add_region(s, i ? "b" : "a",
						  self->mem[i].p, LENGTH, &ro,
						  &error));
	}
	ASSERT_OK(mram_session_begin(s, &error));
	ASSERT_OK(mram_session_mark_dirty(s, -1, 0, MRAM_ALL, &error));
	for (pass = 0; pass < PASSES; pass++) {
		for (n = 0; n < 60; n++) {
			i = random_below(REGIONS);
			first = random_below(LENGTH / PAGE - 20);
			nr = 1 + random_below(20);
			if (random_below(3))
				random_fill(self->mem[i].p + first * PAGE,
					    nr * PAGE);
			else
				memset(self->mem[i].p + first * PAGE, 0,
				       nr * PAGE);
			ASSERT_OK(mram_session_mark_dirty(s, i, first, nr,
							  &error));
		}
		o.bridge = random_below(2) * 8;
		if (!random_below(3))
			o.bridge = MRAM_BRIDGE_AUTO;
		o.window = random_below(6);
		o.max_extent = random_below(3) * 5 * PAGE;
		ASSERT_OK(mram_session_pass(s, &o, &st, &error));
		self->counts[engine][pass] = (struct counts){
			st.dirty, st.written, st.zero,
		};
	}
	ASSERT_OK(mram_session_add_section(s, "state", 1, 2, "registers", 9,
					   &error));
	ASSERT_OK(mram_session_commit(s, &error));
	mram_session_close(s);
}

static void restore(struct __test_metadata *_metadata,
		    FIXTURE_DATA(identical) *self, const char *path,
		    const char *engine)
{
	struct mram_restore_opts o = MRAM_OPTS(mram_restore_opts,
					       .engine = engine);
	struct memory to = memory_make(MEMORY_PRIVATE, LENGTH);
	struct mram_image *img;
	int i;

	ASSERT_OK(mram_image_open(&img, path, &error));
	for (i = 0; i < REGIONS; i++) {
		ASSERT_OK(mram_image_restore(img, i, to.p, LENGTH, &o, NULL,
					     &error));
		ASSERT_EQ(0, memcmp(to.p, self->mem[i].p, LENGTH)) {
			TH_LOG("%s", engine);
		}
	}
	mram_image_close(img);
	memory_free(&to);
}

/* All engines against the last one, which works everywhere. */
static void compare(struct __test_metadata *_metadata,
		    FIXTURE_DATA(identical) *self, uint32_t flags,
		    uint64_t salt)
{
	int engine;

	for (engine = 2; engine >= 0; engine--) {
		if (!engine_works(engine_names[engine])) {
			ksft_print_msg("without %s: %s\n",
				       engine_names[engine], error.message);
			continue;
		}
		if (!self->path[engine])
			self->path[engine] = image_path();
		save(_metadata, self, flags, engine, salt);
		EXPECT_EQ(-1, image_difference(self->path[engine],
					       self->path[2])) {
			TH_LOG("%s", engine_names[engine]);
		}
		EXPECT_EQ(0, memcmp(self->counts[engine], self->counts[2],
				    sizeof(self->counts[2]))) {
			TH_LOG("%s", engine_names[engine]);
		}
		restore(_metadata, self, self->path[2], engine_names[engine]);
		restore(_metadata, self, self->path[engine],
			engine_names[2]);
	}
}

TEST_F_TIMEOUT(identical, new_files, 120)
{
	compare(_metadata, self, variant->flags, 1);
}

/* What an old image leaves where pages are zero now is the same, too. */
TEST_F_TIMEOUT(identical, old_files, 120)
{
	int engine;

	self->path[2] = image_path();
	save(_metadata, self, variant->flags, 2, 2);
	for (engine = 0; engine < 2; engine++) {
		self->path[engine] = image_path();
		image_copy(self->path[engine], self->path[2]);
	}
	compare(_metadata, self, variant->flags, 3);
}

TEST_HARNESS_MAIN
