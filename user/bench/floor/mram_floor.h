/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between mram-bench and mram_floor.ko: a list of extents is handed over once,
 * and then written as often as wanted. Of use to nobody else; not installed.
 */
#ifndef MRAM_FLOOR_H
#define MRAM_FLOOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MRAM_FLOOR_DEVICE	"/dev/mram_floor"

/**
 * struct mram_floor_extent - one I/O
 * @page: its first page
 * @nr: how many
 */
struct mram_floor_extent {
	__u64 page;
	__u64 nr;
};

/**
 * struct mram_floor_set - what is to be written
 * @fd: a block device
 * @window: most bios in flight
 * @addr: of the memory, page-aligned
 * @pages: its length
 * @offset: where its page 0 goes on the device
 * @extents: pointer to struct mram_floor_extent
 * @nr: how many of them
 */
struct mram_floor_set {
	__s32 fd;
	__u32 window;
	__u64 addr;
	__u64 pages;
	__u64 offset;
	__u64 extents;
	__u64 nr;
};

/* Gets all pages and makes room for all that a run needs; once for each file. */
#define MRAM_FLOOR_SET	_IOW('F', 1, struct mram_floor_set)

/* Writes all extents. */
#define MRAM_FLOOR_RUN	_IO('F', 2)

/*
 * What a commit does to a device: writes a block behind the pages, flushes,
 * writes the first block, flushes.
 */
#define MRAM_FLOOR_COMMIT	_IO('F', 3)

#endif /* MRAM_FLOOR_H */
