// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Images that are open for reading: opening, closing and what can be asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"
#include "error.h"
#include "image.h"
#include "image_priv.h"
#include "opts.h"

/* A multiple of 8, and small enough not to matter. */
#define BITMAP_CHUNK	0x10000U

int mram_image_open_with(struct mram_image **out, const char *path,
			 const struct mram_image_opts *opts,
			 struct mram_error *err)
{
	struct mram_image_opts o;
	struct mram_image *img;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "image", err);
	if (ret)
		return ret;
	if (o.flags || o.reserved)
		return mram_err(err, -EOPNOTSUPP, "image: unknown flags %#x",
				o.flags);
	img = calloc(1, sizeof(*img));
	if (!img)
		return mram_err(err, -ENOMEM, "no memory for an image");
	img->start = o.offset;
	ret = mram_io_open(&img->io, path, 0, err);
	if (!ret)
		ret = mram_io_size(img->io, &img->file_size, err);
	if (!ret)
		ret = mram_parse(img, err);
	if (!ret)
		ret = mram_parse_state(img, err);
	if (ret) {
		mram_image_close(img);
		return ret;
	}
	*out = img;
	return 0;
}

int mram_image_open(struct mram_image **out, const char *path,
		    struct mram_error *err)
{
	return mram_image_open_with(out, path, NULL, err);
}

void mram_image_close(struct mram_image *img)
{
	size_t i;

	if (!img)
		return;
	for (i = 0; i < img->nr_blocks; i++) {
		free(img->blocks[i].name);
		free(img->blocks[i].bitmap);
	}
	free(img->blocks);
	mram_free_sections(img);
	free(img->machine);
	mram_io_close(img->io);
	free(img);
}

struct mram_io *mram_image_io(struct mram_image *img)
{
	return img->io;
}

const char *mram_image_machine(const struct mram_image *img)
{
	return img->machine;
}

uint64_t mram_image_size(const struct mram_image *img)
{
	return img->end;
}

uint64_t mram_image_state_offset(const struct mram_image *img)
{
	return img->state_offset;
}

/* ----------------------------------------------------------------- blocks */

int mram_image_blocks(const struct mram_image *img)
{
	return (int)img->nr_blocks;
}

int mram_image_find(const struct mram_image *img, const char *name)
{
	size_t i;

	for (i = 0; i < img->nr_blocks; i++)
		if (!strcmp(img->blocks[i].name, name))
			return (int)i;
	return -ENOENT;
}

/* NULL, and -ENOENT in @err, when there is none. */
static struct mram_image_block *get_block(struct mram_image *img, int index,
					  struct mram_error *err)
{
	if (index >= 0 && (size_t)index < img->nr_blocks)
		return &img->blocks[index];
	mram_err(err, -ENOENT, "no block %d: there are %zu", index,
		 img->nr_blocks);
	return NULL;
}

/* Only a whole word can have bits behind the last page: the last one. */
static int check_last_word(const struct mram_image_block *blk, uint64_t word,
			   struct mram_error *err)
{
	unsigned int rest = blk->pages % 64;
	uint64_t wrong;

	if (!rest)
		return 0;
	wrong = word & ~((UINT64_C(1) << rest) - 1);
	if (!wrong)
		return 0;
	return mram_err(err, -EINVAL,
			"block '%s', offset 0x%llx: bit %llu of the bitmap is set, expected none from %llu on, where the block ends",
			blk->name,
			(unsigned long long)(blk->bitmap_offset +
					     blk->bitmap_size - 8),
			(unsigned long long)(blk->pages - rest +
					     (unsigned int)__builtin_ctzll(wrong)),
			(unsigned long long)blk->pages);
}

/*
 * Words that are zero are not touched: the bitmap of a huge block that is
 * mostly a hole in the file then takes next to no memory.
 */
static void take_words(struct mram_image_block *blk, size_t at,
		       const uint64_t *words, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (words[i])
			blk->bitmap[at + i] = words[i];
	blk->set_pages += bitmap_count(words, 0, nr * BITS_PER_WORD);
}

static int read_bitmap(struct mram_image *img, struct mram_image_block *blk,
		       struct mram_error *err)
{
	uint64_t done, chunk[BITMAP_CHUNK / 8];
	size_t part;
	int ret;

	blk->set_pages = 0;
	for (done = 0; done < blk->bitmap_size; done += part) {
		/* Whole words: a hole may end inside one. */
		done += (mram_io_next_data(img->io, blk->bitmap_offset + done,
					   blk->bitmap_offset +
					   blk->bitmap_size) -
			 blk->bitmap_offset - done) & ~UINT64_C(7);
		part = sizeof(chunk);
		if (part > blk->bitmap_size - done)
			part = (size_t)(blk->bitmap_size - done);
		ret = mram_io_read(img->io, blk->bitmap_offset + done, chunk,
				   part, err);
		if (ret)
			return ret;
		take_words(blk, (size_t)(done / 8), chunk, part / 8);
	}
	if (!blk->bitmap_size)
		return 0;
	return check_last_word(blk, blk->bitmap[blk->bitmap_size / 8 - 1], err);
}

static int need_bitmap(struct mram_image *img, struct mram_image_block *blk,
		       struct mram_error *err)
{
	int ret;

	if (blk->bitmap)
		return 0;
	blk->bitmap = calloc(1, blk->bitmap_size ? blk->bitmap_size : 8);
	if (!blk->bitmap)
		return mram_err(err, -ENOMEM,
				"block '%s': no memory for a bitmap of %llu bytes",
				blk->name,
				(unsigned long long)blk->bitmap_size);
	ret = read_bitmap(img, blk, err);
	if (ret) {
		free(blk->bitmap);
		blk->bitmap = NULL;
	}
	return ret;
}

/* What a caller of this version of the library knows of a struct, or more. */
static int fill_info(void *to, size_t size, const void *from, size_t known,
		     struct mram_error *err)
{
	if (size < known)
		return mram_err(err, -EINVAL,
				"info has %zu bytes, expected at least %zu",
				size, known);
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       known - sizeof(size));
	memset((char *)to + known, 0, size - known);
	return 0;
}

int mram_image_block(struct mram_image *img, int index,
		     struct mram_block_info *info, struct mram_error *err)
{
	struct mram_image_block *blk = get_block(img, index, err);
	struct mram_block_info known;
	int ret;

	if (!blk)
		return -ENOENT;
	ret = need_bitmap(img, blk, err);
	if (ret)
		return ret;
	known = (struct mram_block_info){
		.name = blk->name,
		.length = blk->length,
		.page_size = blk->page_size,
		.bitmap_offset = blk->bitmap_offset,
		.pages_offset = blk->pages_offset,
		.pages = blk->pages,
		.set_pages = blk->set_pages,
	};
	return fill_info(info, info->size, &known, sizeof(known), err);
}

int mram_image_bitmap(struct mram_image *img, int index,
		      const uint64_t **words, struct mram_error *err)
{
	struct mram_image_block *blk = get_block(img, index, err);
	int ret;

	if (!blk)
		return -ENOENT;
	ret = need_bitmap(img, blk, err);
	if (!ret)
		*words = blk->bitmap;
	return ret;
}

/* --------------------------------------------------------------- sections */

int mram_image_sections(const struct mram_image *img)
{
	return img->sections_known ? (int)img->nr_sections : -EOPNOTSUPP;
}

int mram_image_section_info(struct mram_image *img, int index,
			    struct mram_section_info *info,
			    struct mram_error *err)
{
	const struct mram_image_section *s;
	struct mram_section_info known;

	if (index < 0 || (size_t)index >= img->nr_sections)
		return mram_err(err, -ENOENT, "no section %d: %zu are known",
				index, img->nr_sections);
	s = &img->sections[index];
	known = (struct mram_section_info){
		.name = s->name,
		.instance = s->instance,
		.version = s->version,
		.data_offset = s->data_offset,
		.length = s->length,
	};
	return fill_info(info, info->size, &known, sizeof(known), err);
}

static const struct mram_image_section *find_section(const struct mram_image *img,
						     const char *name,
						     uint32_t instance)
{
	const struct mram_image_section *s = img->sections;
	size_t i;

	for (i = 0; i < img->nr_sections; i++, s++)
		if (s->plain && s->instance == instance &&
		    !strcmp(s->name, name))
			return s;
	return NULL;
}

int mram_image_section(struct mram_image *img, const char *name,
		       uint32_t instance, uint32_t *version,
		       void **data, size_t *length, struct mram_error *err)
{
	const struct mram_image_section *s = find_section(img, name, instance);
	void *copy;
	int ret;

	if (!s)
		return mram_err(err, -ENOENT,
				"section '%s', instance %u: the image has none",
				name, instance);
	/* One byte more: a section may be empty, a result is never NULL. */
	copy = malloc((size_t)s->length + 1);
	if (!copy)
		return mram_err(err, -ENOMEM,
				"section '%s': no memory for %llu bytes", name,
				(unsigned long long)s->length);
	ret = mram_io_read(img->io, s->data_offset, copy, (size_t)s->length,
			   err);
	if (ret) {
		free(copy);
		return ret;
	}
	*version = s->version;
	*data = copy;
	*length = (size_t)s->length;
	return 0;
}
