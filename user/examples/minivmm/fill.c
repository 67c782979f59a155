// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Filling memory before the guest runs: by reading the image, or by mapping it
 * so that the guest is one of many clones.
 */
#include "minivmm.h"

int find_block(struct mram_image *image, const struct region *r)
{
	struct mram_block_info info = { .size = sizeof(info) };
	int index = mram_image_find(image, r->name);
	struct mram_error err;

	if (index < 0)
		die("no block %s in the image", r->name);
	if (mram_image_block(image, index, &info, &err))
		die("%s", err.message);
	if (info.length != r->length)
		die("block %s has %llu bytes, expected %llu", r->name,
		    (unsigned long long)info.length,
		    (unsigned long long)r->length);
	return index;
}

void fill_region(const struct options *o, struct mram_image *image,
		 const struct region *r, struct mram_restore_stats *stats)
{
	struct mram_restore_opts opts =
		MRAM_OPTS(mram_restore_opts, .engine = o->engine);
	struct mram_error err;

	stats->size = sizeof(*stats);
	if (mram_image_restore(image, find_block(image, r), r->addr, r->length,
			       &opts, stats, &err))
		die("%s", err.message);
}

void fill_eager(const struct options *o, struct mram_image *image,
		struct ram *ram, FILE *json)
{
	uint64_t read = 0, zero = 0, ios = 0, bytes = 0, nsec = 0;
	struct mram_restore_stats stats;

	for (int i = 0; i < REGIONS; i++) {
		fill_region(o, image, &ram->regions[i], &stats);
		read += stats.read;
		zero += stats.zero;
		ios += stats.ios;
		bytes += stats.bytes;
		nsec += stats.nsec;
	}
	print_fact("pages", "%llu read, %llu zero; %.1f MB in %llu I/Os, %.1f ms, engine %s",
		   (unsigned long long)read, (unsigned long long)zero,
		   bytes / 1e6, (unsigned long long)ios, nsec / 1e6,
		   stats.engine);
	json_string(json, "engine", stats.engine);
	json_number(json, "read", read);
	json_number(json, "zero", zero);
	json_number(json, "ios", ios);
	json_number(json, "bytes", bytes);
	json_number(json, "nsec", nsec);
}

void fill_clone(struct mram_image *image, struct ram *ram, FILE *json)
{
	uint64_t held = 0, zero = 0, private = 0, maps = 0, nsec = 0;
	struct mram_error err;

	for (int i = 0; i < REGIONS; i++) {
		const struct region *r = &ram->regions[i];
		struct mram_map_stats stats = { .size = sizeof(stats) };

		if (mram_image_map(image, find_block(image, r), r->addr,
				   r->length, NULL, &stats, &err))
			die("%s", err.message);
		held += stats.held;
		zero += stats.zero;
		private += stats.private;
		maps += stats.maps;
		nsec += stats.nsec;
	}
	print_fact("pages", "%llu mapped, through the page cache; %llu zero; %llu private at once; %llu mappings, %.1f ms",
		   (unsigned long long)held, (unsigned long long)zero,
		   (unsigned long long)private, (unsigned long long)maps,
		   nsec / 1e6);
	json_number(json, "held", held);
	json_number(json, "zero", zero);
	json_number(json, "private", private);
	json_number(json, "maps", maps);
	json_number(json, "nsec", nsec);
}
