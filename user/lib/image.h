/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the library's other parts need of images beyond the public calls:
 * writing everything of an image but its pages, and the open file behind a
 * struct mram_image.
 */
#ifndef MRAM_IMAGE_H
#define MRAM_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "io.h"
#include "layout.h"
#include "stream.h"

/**
 * mram_image_write_commit - make an image whose pages are written valid
 * @io: after mram_io_invalidate()
 * @l: finished
 * @bitmaps: a pointer for each block of @l to bitmap_size bytes; bits beyond
 *           the last page are ignored (written as zero)
 * @sections: @nr of them
 * @end: the stream's length in bytes; may be NULL
 *
 * Writes records, bitmaps and tail, cuts a regular file to its exact length,
 * flushes all of it together with the pages, then writes the first block and
 * flushes that. After an error the image is not valid, except that after a
 * failure of the very last flush nobody knows. Calling again writes all of it
 * again, but not the pages.
 */
int mram_image_write_commit(struct mram_io *io, const struct mram_layout *l,
			    const uint64_t *const *bitmaps,
			    const struct mram_section *sections, size_t nr,
			    uint64_t *end, struct mram_error *err);

/** mram_image_io - the open file of an image, for engines that restore */
struct mram_io *mram_image_io(struct mram_image *img);

#endif /* MRAM_IMAGE_H */
