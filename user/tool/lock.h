/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keeping two jobs off one image.
 */
#ifndef MRAM_LOCK_H
#define MRAM_LOCK_H

/** enum image_use - what the job does with the image */
enum image_use {
	IMAGE_READ,
	IMAGE_WRITE,
};

/**
 * lock_image - lock an image until the tool ends
 *
 * Advisory, between runs of this tool: a save onto an image that is being
 * saved, restored or verified is refused, and so is the reverse. Block devices
 * are left to the kernel, which opens them for one writer at a time: other
 * programs take such locks on them for a moment, and would make this fail by
 * chance.
 *
 * Return: 0, or TOOL_FAILED after saying why. An image that cannot be opened
 * is not locked, and no failure: whoever opens it next knows better why.
 */
int lock_image(const char *path, enum image_use use);

#endif /* MRAM_LOCK_H */
