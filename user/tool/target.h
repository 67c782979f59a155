/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file or device that save writes to: may it be overwritten, and what is
 * left of it when the job fails.
 */
#ifndef MRAM_TARGET_H
#define MRAM_TARGET_H

#include <stdbool.h>

#include "region.h"

/**
 * struct target - the image to be
 * @path: as given
 * @created: the file is new
 * @is_block: it is a block device
 * @held_image: it held an image before
 * @begun: what it held before is gone
 */
struct target {
	const char *path;
	bool created;
	bool is_block;
	bool held_image;
	bool begun;
};

/**
 * target_check - make the image's file, or see whether it may be overwritten
 * @rs: opened; the image must not be one of them
 * @force: overwrite whatever it holds
 *
 * Return: 0, or an exit status after saying what is wrong
 */
int target_check(struct target *t, const char *path, const struct regions *rs,
		 bool force);

/**
 * target_begun - the library has begun to overwrite the image
 *
 * Return: 0, or a negative errno
 */
int target_begun(struct target *t);

/**
 * target_abandon - the job failed, and the library has closed the image
 * @err: what will be said of it; why the image cannot be emptied is added
 *
 * What is left of an image that was overwritten in part is worth nothing, so
 * a file is emptied and the start of a device zeroed. Then a later save needs
 * no --force, and nothing can take it for an image. A file that is as it was
 * stays; a new one too, cleanup_end() removes it.
 */
void target_abandon(const struct target *t, struct mram_error *err);

#endif /* MRAM_TARGET_H */
