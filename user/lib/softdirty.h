/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tracker of soft-dirty bits, for its own two files: softdirty.c fetches and
 * clears, softdirty_settle.c gives the process the entries it lacks.
 */
#ifndef MRAM_SOFTDIRTY_H
#define MRAM_SOFTDIRTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mappedram.h>

#include "procmap.h"

/* Page table entries that are read at once. */
#define SOFTDIRTY_CHUNK	65536u

/**
 * struct softdirty_file - the memory of a region
 * @region: index of the session's region
 * @fd: the file, the tracker's own
 * @offset: where in the file the region starts, in bytes
 * @maps: where the process maps it; offsets count from the region's start
 * @nr_maps: how many
 */
struct softdirty_file {
	int region;
	int fd;
	uint64_t offset;
	struct procmap *maps;
	size_t nr_maps;
};

struct mram_softdirty {
	pid_t pid;
	struct mram_session *session;
	int pagemap;
	int clear_refs;
	unsigned int page_shift;
	uint64_t *entries;
	struct softdirty_file *files;
	size_t nr_files;
};

/** softdirty_read - at most SOFTDIRTY_CHUNK page table entries into t->entries */
int softdirty_read(struct mram_softdirty *t, uint64_t addr, uint64_t pages,
		   struct mram_error *err);

#endif /* MRAM_SOFTDIRTY_H */
