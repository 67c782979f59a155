/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restoring into a QEMU that waits: qemu_restore.c leads the job, qemu_match.c
 * says which block goes where, qemu_feed.c hands the rest over.
 */
#ifndef MRAM_QEMU_INCOMING_H
#define MRAM_QEMU_INCOMING_H

#include "image_priv.h"
#include "qemu.h"

/**
 * struct qemu_place - where a block of the image goes
 * @block: the image's
 * @ram: the backend that is its memory; NULL: QEMU takes it from the stream
 * @gpa: with @ram, where QEMU has it, as the stream has to say
 */
struct qemu_place {
	const struct mram_image_block *block;
	const struct qemu_ram *ram;
	uint64_t gpa;
};

/**
 * struct qemu_match - an image and the QEMU that it goes to
 * @q: the QEMU
 * @img: the image
 * @places: one for each of the image's blocks, in its order
 */
struct qemu_match {
	struct mram_qemu *q;
	struct mram_image *img;
	struct qemu_place *places;
};

/**
 * qemu_match - does the image fit the machine, block by block?
 *
 * Asks only. @m is to be freed with qemu_match_free() in any case.
 */
int qemu_match(struct qemu_match *m, struct mram_error *err);

/** qemu_match_free - forget the places */
void qemu_match_free(struct qemu_match *m);

/**
 * struct qemu_fed - what went through the stream
 * @pages: pages of memory that is in no backend
 * @state_bytes: device state
 */
struct qemu_fed {
	uint64_t pages;
	uint64_t state_bytes;
};

/**
 * qemu_feed - write the stream that QEMU loads, but for shared memory
 * @fd: a socket; -EPIPE when QEMU wants no more
 */
int qemu_feed(const struct qemu_match *m, int fd, struct qemu_fed *fed,
	      struct mram_error *err);

#endif /* MRAM_QEMU_INCOMING_H */
