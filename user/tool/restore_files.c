// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram restore --region: an image to files or shared memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "progress.h"
#include "restore.h"
#include "tool.h"

static bool skipped(const struct restore *r, const char *name)
{
	int i;

	for (i = 0; i < r->nr_skip; i++)
		if (!strcmp(r->skip[i], name))
			return true;
	return false;
}

/* Names that the image does not know are mistakes, also those to skip. */
static int check_names(const struct restore *r)
{
	size_t i;
	int k;

	for (i = 0; i < r->regions.count; i++)
		if (mram_image_find(r->facts.image,
				    r->regions.list[i].name) < 0)
			return tool_fail("%s has no block '%s'; 'mapped-ram info' lists what it has",
					 r->image, r->regions.list[i].name);
	for (k = 0; k < r->nr_skip; k++)
		if (mram_image_find(r->facts.image, r->skip[k]) < 0)
			return tool_fail("%s has no block '%s' to skip; 'mapped-ram info' lists what it has",
					 r->image, r->skip[k]);
	return 0;
}

static int match_blocks(struct restore *r)
{
	int i;

	for (i = 0; i < r->facts.count; i++) {
		const struct mram_block_info *b = &r->facts.blocks[i];
		struct region *region = regions_find(&r->regions, b->name);

		if (region) {
			region->block = i;
			region->length = b->length;
		} else if (!skipped(r, b->name)) {
			return tool_fail("block '%s' of %s has no --region; give it one, or --skip it",
					 b->name, r->image);
		}
	}
	return 0;
}

static int open_targets(struct restore *r)
{
	struct stat st;

	if (stat(r->image, &st))
		return tool_fail("%s: %s", r->image, strerror(errno));
	return regions_open_targets(&r->regions, st.st_dev, st.st_ino);
}

/* What the blocks before came to, while one is restored. */
static struct mram_restore_stats total;

static int on_progress(void *data, uint64_t done, uint64_t all)
{
	(void)data;
	(void)all;
	progress_update(total.read + total.zero + done);
	return cleanup_interrupted();
}

static void start_progress(struct restore *r)
{
	uint64_t pages = 0, bytes = 0;
	size_t i;

	for (i = 0; i < r->regions.count; i++) {
		pages += r->facts.blocks[r->regions.list[i].block].pages;
		bytes += r->regions.list[i].length;
	}
	r->opts.progress = on_progress;
	progress_start("restoring", pages, bytes);
}

/*
 * More than one try only when a signal that means nothing to us, as being
 * stopped and continued does, ended the one before.
 */
static int restore_region(struct restore *r, const struct region *region)
{
	struct mram_restore_stats stats = { .size = sizeof(stats) };
	struct mram_error err = { 0 };
	int ret;

	/* QEMU has blocks that are empty, and nobody can map those. */
	if (!region->length)
		return 0;
	do
		ret = mram_image_restore(r->facts.image, region->block,
					 region->addr, region->length,
					 &r->opts, &stats, &err);
	while (ret == -EINTR && !cleanup_interrupted());
	if (ret && cleanup_interrupted())
		return tool_fail("interrupted; the memory is incomplete");
	if (ret)
		return tool_fail_library(r->image, ret, &err);
	total.read += stats.read;
	total.zero += stats.zero;
	total.ios += stats.ios;
	total.bytes += stats.bytes;
	total.engine = stats.engine;
	return 0;
}

int restore_files(struct restore *r)
{
	uint64_t start = tool_now();
	size_t i;

	if (check_names(r) || match_blocks(r) || open_targets(r))
		return TOOL_FAILED;
	start_progress(r);
	for (i = 0; i < r->regions.count; i++)
		if (restore_region(r, &r->regions.list[i]))
			return TOOL_FAILED;
	progress_end();
	printf("%zu %s restored: %llu pages read, %llu zero, %llu I/Os, %s, engine %s, %.2f s\n",
	       r->regions.count, r->regions.count == 1 ? "block" : "blocks",
	       (unsigned long long)total.read,
	       (unsigned long long)total.zero,
	       (unsigned long long)total.ios,
	       tool_format_size(total.bytes).text,
	       total.engine ? total.engine : "none",
	       tool_seconds(tool_now() - start));
	return 0;
}
