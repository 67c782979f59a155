// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Committing an image whose configuration and device state come from another
 * program, and with them the last blocks and everybody's names.
 */
#include <errno.h>
#include <stdlib.h>

#include "bitmap.h"
#include "error.h"
#include "format.h"
#include "image.h"
#include "session.h"

static int lay_out(struct mram_session *s, const struct mram_foreign *foreign,
		   const char *const *names, const struct session_late *late,
		   size_t nr, struct mram_error *err)
{
	struct mram_layout *l = &s->layout;
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < s->nr_regions; i++)
		ret = mram_layout_rename(l, i, names[i], err);
	for (i = 0; ret >= 0 && i < nr; i++)
		ret = mram_layout_add_block(l, late[i].name,
					    late[i].pages * MRAM_PAGE_SIZE_MIN,
					    MRAM_PAGE_SIZE_MIN, err);
	if (ret < 0)
		return ret;
	l->foreign = foreign;
	ret = mram_layout_finish(l, err);
	for (i = 0; !ret && i < s->nr_regions; i++)
		if (l->blocks[i].pages_offset != s->regions[i].pages_offset)
			ret = mram_err(err, -EINVAL,
				       "region '%s': its pages were written elsewhere",
				       names[i]);
	if (!ret)
		ret = mram_io_resize(s->io, l->tail_offset, err);
	return ret;
}

static int write_late(struct mram_session *s, const struct session_late *late,
		      uint64_t pages_offset, struct mram_error *err)
{
	uint64_t page, end;
	int ret = 0;

	for (page = bitmap_next(late->there, 0, late->pages, 1);
	     !ret && page < late->pages;
	     page = bitmap_next(late->there, end, late->pages, 1)) {
		end = bitmap_next(late->there, page, late->pages, 0);
		ret = mram_io_write(s->io,
				    pages_offset + page * MRAM_PAGE_SIZE_MIN,
				    late->data + page * MRAM_PAGE_SIZE_MIN,
				    (end - page) * MRAM_PAGE_SIZE_MIN, err);
	}
	return ret;
}

int session_commit_foreign(struct mram_session *s,
			   const struct mram_foreign *foreign,
			   const char *const *names,
			   const struct session_late *late, size_t nr,
			   struct mram_error *err)
{
	const uint64_t **bitmaps;
	size_t i;
	int ret;

	ret = session_check_clean(s, err);
	if (ret)
		return ret;
	s->ended = true;
	bitmaps = calloc(s->nr_regions + nr, sizeof(*bitmaps));
	if (!bitmaps)
		return mram_err(err, -ENOMEM, "%s: out of memory", s->io->path);
	ret = session_invalidate(s, err);
	if (!ret)
		ret = lay_out(s, foreign, names, late, nr, err);
	for (i = 0; i < s->nr_regions; i++)
		bitmaps[i] = s->regions[i].file;
	for (i = 0; !ret && i < nr; i++) {
		bitmaps[s->nr_regions + i] = late[i].there;
		ret = write_late(s, &late[i],
				 s->layout.blocks[s->nr_regions + i].pages_offset,
				 err);
	}
	if (!ret) {
		s->maybe_valid = true;
		ret = mram_image_write_commit(s->io, &s->layout, bitmaps, NULL,
					      0, NULL, err);
	}
	free(bitmaps);
	return ret;
}
