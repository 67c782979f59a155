/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions as the tool knows them: a name, and a file that is the memory.
 */
#ifndef MRAM_REGION_H
#define MRAM_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <mappedram.h>

/** REGION_PAGE_SIZE - bytes a bitmap bit of the images stands for */
#define REGION_PAGE_SIZE	4096

/**
 * struct region - NAME=PATH
 * @name: the block's name in the image
 * @path: the file that is the memory
 * @fd: the open file, or -1
 * @addr: its mapping, or NULL
 * @length: its size in bytes
 * @dev: with @ino, who it is
 * @block: restore: index of the block in the image
 */
struct region {
	char *name;
	const char *path;
	int fd;
	void *addr;
	uint64_t length;
	dev_t dev;
	ino_t ino;
	int block;
};

/** struct regions - all that were named, in that order */
struct regions {
	struct region *list;
	size_t count;
};

/**
 * regions_add - take one argument of --region
 *
 * Return: 0, or an exit status after saying what is wrong
 */
int regions_add(struct regions *rs, const char *command, const char *arg);

/** regions_add_pair - the same from its parts; the path must stay valid */
int regions_add_pair(struct regions *rs, const char *name, const char *path);

/** regions_find - the region of this name, or NULL */
struct region *regions_find(const struct regions *rs, const char *name);

/** regions_find_file - the region whose open file this is, or NULL */
struct region *regions_find_file(const struct regions *rs, dev_t dev,
				 ino_t ino);

/**
 * regions_open_sources - open and map all regions for saving
 *
 * Return: 0, or an exit status after saying what is wrong
 */
int regions_open_sources(struct regions *rs);

/**
 * regions_open_targets - open, make and map all regions for restoring
 * @image_dev: with @image_ino, the image, which must not be one of them
 *
 * region.block and region.length say what each has to be. No byte of a file
 * that exists is changed, and files are made only when nothing else is wrong.
 *
 * Return: 0, or an exit status after saying what is wrong
 */
int regions_open_targets(struct regions *rs, dev_t image_dev, ino_t image_ino);

/** regions_close - unmap and close all, free the list */
void regions_close(struct regions *rs);

/** region_at - the mapped region that holds this address; for handlers too */
const struct region *region_at(const void *addr);

#endif /* MRAM_REGION_H */
