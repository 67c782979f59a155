// SPDX-License-Identifier: GPL-2.0
/* Memory in use, and an image to load into it. */
#include "loader.h"

void need_loader(struct loader *l, enum mem_kind kind)
{
	struct rng rng = rng_new(0x9a6e);
	size_t i;
	int err;

	memset(l, 0, sizeof(*l));
	l->dev = mr_open();
	l->nr = LOADER_LENGTH / page_size();
	l->want = malloc(LOADER_LENGTH);
	if (l->dev < 0 || !l->want)
		need_failed("no session");
	rng_fill(&rng, l->want, LOADER_LENGTH);
	err = flaky_open(&l->disk, RIG_HEAD + LOADER_LENGTH);
	if (err)
		need_failed("no device-mapper: %s", strerror(-err));
	need_image_blkdev(&l->img, l->disk.path, RIG_HEAD + LOADER_LENGTH);
	err = image_write(&l->img, l->want, LOADER_LENGTH, RIG_HEAD);
	image_uncache(&l->img);
	if (!err)
		err = mr_image_set(l->dev, l->img.fd, MAPPED_RAM_IMAGE_LOAD,
				   NULL);
	if (!err)
		err = mem_map(&l->mem, kind, LOADER_LENGTH);
	if (err)
		need_failed("no image or memory: %s", strerror(-err));
	need_huge(&l->mem);
	memset(l->mem.addr, LOADER_OLD, LOADER_LENGTH);
	err = region_add(&l->r, l->dev, l->mem.addr, LOADER_LENGTH, RIG_HEAD,
			 page_size(), 0);
	if (err)
		need_failed("no region: %s", strerror(-err));
	bits_set(l->r.file, 0, l->nr);
	for (i = 0; i < l->nr; i += 5) {
		bit_clear(l->r.file, i);
		memset(l->want + i * page_size(), 0, page_size());
	}
	l->pins = pinned_pages();
}

void loader_drop(struct loader *l)
{
	close(l->dev);
	region_unmap_bitmaps(&l->r);
	image_drop(&l->img);
	mem_unmap(&l->mem);
	flaky_close(&l->disk);
	free(l->want);
}

void need_loader_full(struct loader *l)
{
	bits_set(l->r.file, 0, l->nr);
	if (image_read(&l->img, l->want, LOADER_LENGTH, RIG_HEAD))
		need_failed("cannot read the image");
}

void need_loader_pinned(struct loader *l)
{
	int err = loader_load(l);

	if (err)
		need_failed("cannot load: %s", strerror(-err));
	memset(l->mem.addr, LOADER_OLD, LOADER_LENGTH);
}

int loader_load(struct loader *l)
{
	struct mapped_ram_load load = load_args(&l->r, 0, l->nr);
	int err = load_pass(&l->r, &load);

	if (err)
		return err;
	if (load.out_read_pages != bits_count(l->r.file, 0, l->nr) ||
	    memcmp(l->mem.addr, l->want, LOADER_LENGTH))
		return -EBADMSG;
	return 0;
}

bool loader_is_old(const uint8_t *p, size_t length)
{
	return all_bytes(p, length, LOADER_OLD);
}
