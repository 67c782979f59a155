/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disks of memory, and disks that fail or are slow where a test wants it.
 *
 * A memdisk is a loop device over a memfd: it needs no file system, any size
 * costs only what is written, and it is gone with its last user. A flaky is a
 * device-mapper device on a memdisk whose table can be exchanged at any time,
 * also below a mounted file system. Both talk to the kernel with ioctls: a
 * test that starts programs is slow under emulation.
 *
 * All calls return 0 or a negative errno.
 */
#ifndef MAPPED_RAM_FLAKY_H
#define MAPPED_RAM_FLAKY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memdisk {
	char path[32];		/* /dev/loopN */
	int fd;			/* of the loop device; keeps it alive */
	int mem_fd;		/* of the memfd, to look behind the device */
};

int memdisk_open(struct memdisk *disk, uint64_t size);
void memdisk_close(struct memdisk *disk);

/* Sets an attribute of the block device @path below /sys, as in "queue/...". */
int blkdev_sysfs_set(const char *path, const char *attr, const char *value);

enum flaky_what {
	FLAKY_PASS,		/* like the disk below */
	FLAKY_ERROR,		/* every read and write fails with EIO */
	FLAKY_ERROR_WRITES,	/* writes fail with EIO, reads work */
	FLAKY_DELAY,		/* reads and writes take @msec longer */
	FLAKY_HOLD,		/* they wait for the next exchange; but see below */
};

/* A part of the disk, in bytes. What no part covers is FLAKY_PASS. */
struct flaky_part {
	uint64_t offset;
	uint64_t length;
	enum flaky_what what;
	unsigned int msec;
};

struct flaky {
	struct memdisk disk;
	uint64_t size;
	char name[64];
	char path[32];		/* /dev/dm-N */
};

/* Creates it with nothing wrong. -ENOENT: no device-mapper in this kernel. */
int flaky_open(struct flaky *f, uint64_t size);

/*
 * Exchanges the table: @parts in ascending order. Waits for the I/O in flight,
 * as every exchange of a table does.
 */
int flaky_set(struct flaky *f, const struct flaky_part *parts, size_t nr);

/* The whole disk is @what. */
int flaky_set_all(struct flaky *f, enum flaky_what what, unsigned int msec);

/*
 * What begins at @offset or behind it is held until the next exchange; for a
 * minute at most, or a test that fails would never end.
 */
int flaky_hold_from(struct flaky *f, uint64_t offset);

/* How many I/Os it holds now, or a negative errno */
int flaky_held(struct flaky *f);

void flaky_close(struct flaky *f);

#endif
