// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Saving a QEMU onto an older image of it.
 */
#include <errno.h>
#include <inttypes.h>

#include "error.h"
#include "qemu_job.h"
#include "session_compare.h"

static int find_block(const struct mram_image *old, const char *id)
{
	struct mram_block_info info = { .size = sizeof(info) };
	int i;

	for (i = 0; i < mram_image_blocks(old); i++)
		if (!mram_image_block((struct mram_image *)old, i, &info,
				      NULL) &&
		    qemu_is_named(info.name, id))
			return i;
	return -ENOENT;
}

/* Loads the bitmaps, too: afterwards only pages are read from the old image. */
int qemu_open_old(struct qemu_job *j, const char *path, struct mram_error *err)
{
	struct mram_block_info info = { .size = sizeof(info) };
	const uint64_t *words;
	size_t i;
	int ret, block;

	ret = mram_image_open(&j->old, path, err);
	if (!ret)
		ret = mram_layout_finish(&j->s->layout, err);
	for (i = 0; !ret && i < j->q->nr_ram; i++) {
		const struct mram_layout_block *blk = &j->s->layout.blocks[i];

		block = find_block(j->old, blk->name);
		if (block < 0)
			return mram_err(err, -EINVAL,
					"%.200s has no block '%s': it is no image of this machine to update",
					path, blk->name);
		ret = mram_image_block(j->old, block, &info, err);
		if (ret)
			break;
		if (info.length != blk->length ||
		    info.page_size != blk->page_size ||
		    info.pages_offset != blk->pages_offset)
			return mram_err(err, -EINVAL,
					"%.200s: block '%s' has %" PRIu64 " bytes at offset %" PRIu64 ", expected %" PRIu64 " at %" PRIu64 ": this is no image to update",
					path, info.name, info.length,
					info.pages_offset, blk->length,
					blk->pages_offset);
		ret = mram_image_bitmap(j->old, block, &words, err);
	}
	return ret;
}

static int progress(void *data, uint64_t done)
{
	struct qemu_job *j = data;

	return qemu_job_at(j, MRAM_QEMU_COMPARE, done, j->at.total);
}

int qemu_compare_old(struct qemu_job *j, struct mram_error *err)
{
	struct session_compare c = { .progress = progress, .data = j };
	size_t i;
	int ret = 0;

	for (j->at.total = 0, i = 0; i < j->s->nr_regions; i++)
		j->at.total += j->s->regions[i].pages;
	for (i = 0; !ret && i < j->s->nr_regions; i++)
		ret = session_compare(j->s, i, j->old,
				      find_block(j->old, j->q->ram[i].id), &c,
				      err);
	j->stats.compared = c.compared;
	j->stats.same = c.same;
	return ret;
}
