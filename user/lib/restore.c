// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Filling memory from a block of an image.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "bitmap.h"
#include "engine.h"
#include "error.h"
#include "image.h"
#include "opts.h"

static int check(const struct mram_io *io, const struct mram_block_info *b,
		 const void *addr, uint64_t length,
		 const struct mram_restore_opts *o, struct mram_error *err)
{
	uint64_t system_page = sysconf(_SC_PAGESIZE);

	if (o->flags || o->reserved)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s': unknown restore flags %#x",
				b->name, o->flags);
	if (length != b->length)
		return mram_err(err, -EINVAL,
				"block '%s' has %" PRIu64 " bytes, the memory for it %" PRIu64,
				b->name, b->length, length);
	if ((uintptr_t)addr % system_page)
		return mram_err(err, -EINVAL,
				"block '%s': address %p is not a multiple of the page size %" PRIu64,
				b->name, addr, system_page);
	if ((uintptr_t)addr + length < (uintptr_t)addr)
		return mram_err(err, -EOVERFLOW,
				"block '%s': address %p plus length %" PRIu64 " overflows",
				b->name, addr, length);
	if (b->page_size < system_page)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s' has pages of %" PRIu64 " bytes, this kernel has larger ones (%" PRIu64 ")",
				b->name, b->page_size, system_page);
	if ((b->page_size | b->pages_offset) % io->align ||
	    system_page % io->mem_align)
		return mram_err(err, -EINVAL,
				"block '%s': its pages (%" PRIu64 " bytes each, at offset %" PRIu64 ") do not fit the alignment of %s (%u): copy the image to another file system",
				b->name, b->page_size, b->pages_offset,
				io->path, io->align);
	if (o->max_extent % b->page_size)
		return mram_err(err, -EINVAL,
				"restore: max_extent %u is not a multiple of block '%s''s page size %" PRIu64,
				o->max_extent, b->name, b->page_size);
	return 0;
}

struct progress {
	const struct mram_restore_opts *o;
	uint64_t total;
};

static int progress(void *data, uint64_t done)
{
	const struct progress *p = data;

	/* Engines count whole words of the bitmap. */
	return p->o->progress(p->o->progress_data,
			      done < p->total ? done : p->total, p->total);
}

static int load(const struct engine_ops *ops, const struct mram_io *io,
		struct engine_region *r, const uint64_t *bitmap,
		struct engine_pass *p, struct mram_error *err)
{
	struct engine *e;
	int ret;

	ret = ops->open(&e, io, true, err);
	if (ret)
		return ret;
	ret = ops->add_region(e, r, err);
	if (!ret) {
		memcpy(r->file, bitmap,
		       bitmap_words(r->pages) * sizeof(*bitmap));
		ret = ops->load(e, r, p, err);
		ops->remove_region(e, r);
	}
	ops->close(e);
	return ret;
}

int mram_image_restore(struct mram_image *img, int index, void *addr,
		       uint64_t length, const struct mram_restore_opts *opts,
		       struct mram_restore_stats *stats,
		       struct mram_error *err)
{
	struct mram_block_info b = { .size = sizeof(b) };
	struct mram_restore_stats st = { .size = sizeof(st) };
	const struct mram_io *io = mram_image_io(img);
	const struct engine_ops *ops;
	struct mram_restore_opts o;
	struct engine_region r;
	struct engine_pass p;
	const uint64_t *bitmap;
	uint64_t start = engine_clock();
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "restore", err);
	if (!ret)
		ret = mram_image_block(img, index, &b, err);
	if (!ret)
		ret = check(io, &b, addr, length, &o, err);
	if (!ret)
		ret = mram_image_bitmap(img, index, &bitmap, err);
	if (!ret)
		ret = engine_find(&ops, o.engine, io, err);
	if (ret) {
		opts_put(stats, &st, sizeof(st));
		return ret;
	}
	r = (struct engine_region){
		.name = b.name,
		.addr = addr,
		.pages = b.pages,
		.pages_offset = b.pages_offset,
		.page_shift = __builtin_ctzll(b.page_size),
	};
	p = (struct engine_pass){
		.window = o.window,
		.max_extent = o.max_extent,
		.stopped = true,
		.progress = o.progress ? progress : NULL,
		.progress_data = &(struct progress){ &o, b.pages },
	};
	ret = load(ops, io, &r, bitmap, &p, err);
	st.read = p.moved;
	st.zero = p.zero;
	st.ios = p.ios;
	st.bytes = p.bytes;
	st.nsec = engine_clock() - start;
	st.engine = ops->name;
	opts_put(stats, &st, sizeof(st));
	return ret;
}
