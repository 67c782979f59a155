/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The fixture of the tests that damage the small image in one place a case:
 * each is a row that says where, what is put there, and what must come of it.
 * For one test program; it defines the fixture.
 */
#ifndef SELFTESTS_LIB_DAMAGE_H
#define SELFTESTS_LIB_DAMAGE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

struct damage {
	uint64_t at;
	const char *put;
	int code;
	const char *words;	/* all of them must be in the message */
};

FIXTURE(damage) {
	int fd;
	char *path;
	struct mram_error e;
};

FIXTURE_SETUP(damage)
{
	self->path = mem_file(&self->fd);
}

FIXTURE_TEARDOWN(damage)
{
	close(self->fd);
	free(self->path);
	EXPECT_NO_LEAKS();
}

/* Opens, and asks for what is read only then. */
static int check(const char *path, struct mram_error *e)
{
	struct mram_block_info b = { .size = sizeof(b) };
	struct mram_image *img = (void *)77;
	int i, ret;

	if (e)
		memset(e, 0xa5, sizeof(*e));
	ret = mram_image_open(&img, path, e);
	if (ret)
		return img == (void *)77 ? ret : 1;
	for (i = 0; !ret && i < mram_image_blocks(img); i++)
		ret = mram_image_block(img, i, &b, e);
	mram_image_close(img);
	return ret;
}

static void try_all(struct __test_metadata *_metadata,
		    FIXTURE_DATA(damage) *self, const struct damage *d,
		    size_t n)
{
	size_t i;

	for (i = 0; i < n; i++, d++) {
		ASSERT_EQ(0, ftruncate(self->fd, 0));
		small_image(self->fd);
		ASSERT_EQ(0, check(self->path, &self->e));
		put_text(self->fd, d->at, d->put);
		EXPECT_EQ(d->code, check(self->path, &self->e)) {
			TH_LOG("case %zu: %s", i, self->e.message);
		}
		EXPECT_EQ(d->code, self->e.code);
		EXPECT_TRUE(contains(self->e.message, d->words)) {
			TH_LOG("case %zu", i);
		}
		EXPECT_EQ(d->code, check(self->path, NULL));
	}
}

#define TRY(cases) try_all(_metadata, self, cases, ARRAY_SIZE(cases))

#endif /* SELFTESTS_LIB_DAMAGE_H */
