// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Writing everything of an image but its pages, in an order that makes it
 * valid only when all of it is on disk.
 */
#include <errno.h>

#include "error.h"
#include "image.h"

static int write_record(struct mram_io *io, const struct mram_layout_block *blk,
			struct mram_error *err)
{
	struct mram_buf buf = {0};
	int ret;

	ret = mram_stream_record(&buf, blk, err);
	if (!ret)
		ret = mram_io_write(io, blk->record_offset, buf.data,
				    buf.length, err);
	mram_buf_free(&buf);
	return ret;
}

/* The bits behind the last page may be anything in memory, not in a file. */
static int write_bitmap(struct mram_io *io, const struct mram_layout_block *blk,
			const uint64_t *words, struct mram_error *err)
{
	uint64_t full = blk->pages / 64, word;
	unsigned int rest = blk->pages % 64;
	int ret;

	ret = mram_io_write(io, blk->bitmap_offset, words, (size_t)(full * 8),
			    err);
	if (ret || !rest)
		return ret;
	word = words[full] & ((UINT64_C(1) << rest) - 1);
	return mram_io_write(io, blk->bitmap_offset + full * 8, &word,
			     sizeof(word), err);
}

static int write_head(struct mram_io *io, const struct mram_layout *l,
		      struct mram_error *err)
{
	struct mram_buf buf = {0};
	int ret;

	ret = mram_stream_head(&buf, l, err);
	if (!ret)
		ret = mram_io_write(io, 0, buf.data, buf.length, err);
	mram_buf_free(&buf);
	return ret;
}

/* Tells in @end how long the image is; a device must be that long. */
static int write_tail(struct mram_io *io, const struct mram_layout *l,
		      const struct mram_section *sections, size_t nr,
		      uint64_t *end, struct mram_error *err)
{
	struct mram_buf buf = { .align = io->mem_align };
	int ret;

	ret = mram_stream_tail(&buf, l, sections, nr, err);
	if (ret)
		goto out;
	*end = l->tail_offset + buf.length;
	/* Behind it is nothing that would have to be read and kept. */
	if (!(l->tail_offset & (io->align - 1)))
		mram_buf_pad(&buf, io->align);
	if (buf.failed) {
		ret = mram_err(err, -ENOMEM, "no memory for the stream's tail");
		goto out;
	}
	if (io->is_block)
		ret = mram_io_resize(io, *end, err);
	if (!ret)
		ret = mram_io_write(io, l->tail_offset, buf.data, buf.length,
				    err);
	/* Writing rounded the length up to whole blocks, or it was longer. */
	if (!ret && !io->is_block)
		ret = mram_io_resize(io, *end, err);
out:
	mram_buf_free(&buf);
	return ret;
}

int mram_image_write_commit(struct mram_io *io, const struct mram_layout *l,
			    const uint64_t *const *bitmaps,
			    const struct mram_section *sections, size_t nr,
			    uint64_t *end, struct mram_error *err)
{
	uint64_t length;
	size_t i;
	int ret;

	if (!io->held)
		return mram_err(err, -EINVAL,
				"%.200s: the old image was not invalidated",
				io->path);
	ret = write_tail(io, l, sections, nr, &length, err);
	if (ret)
		return ret;
	for (i = 0; i < l->nr_blocks; i++) {
		ret = write_record(io, &l->blocks[i], err);
		if (!ret)
			ret = write_bitmap(io, &l->blocks[i], bitmaps[i], err);
		if (ret)
			return ret;
	}
	ret = write_head(io, l, err);
	if (!ret)
		ret = mram_io_flush(io, err);
	if (!ret)
		ret = mram_io_validate(io, err);
	if (!ret && end)
		*end = length;
	return ret;
}
