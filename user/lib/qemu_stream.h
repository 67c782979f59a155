/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stream in which QEMU hands its device state over: an old-style one with
 * x-ignore-shared, in memory. Pure: no file, no I/O.
 */
#ifndef MRAM_QEMU_STREAM_H
#define MRAM_QEMU_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "stream.h"

/**
 * struct qemu_block - a RAMBlock of the stream
 * @name: idstr, owned
 * @length: used_length in bytes
 * @elsewhere: its memory is not in the stream but in a shared file
 * @data: its memory, owned, mapped; NULL with @elsewhere
 * @there: bitmap of the pages that are not zero, owned
 * @seen: bitmap of the pages that the stream had, owned
 */
struct qemu_block {
	char *name;
	uint64_t length;
	bool elsewhere;
	uint8_t *data;
	uint64_t *there;
	uint64_t *seen;
};

/**
 * struct qemu_stream - a parsed stream
 * @blocks: @nr of them, in the stream's order
 * @config: the configuration as a mapped-ram image has it
 * @foreign: for the image; points into @config and the stream
 */
struct qemu_stream {
	struct qemu_block *blocks;
	size_t nr;
	struct mram_buf config;
	struct mram_foreign foreign;
};

/**
 * qemu_stream_parse - take a stream apart
 * @s: {0}
 * @data: must outlive @s
 *
 * -EPROTO: not what QEMU writes; -EOPNOTSUPP: something in it that an image
 * cannot have. Of each block the stream has either all pages or none.
 */
int qemu_stream_parse(struct qemu_stream *s, const uint8_t *data,
		      size_t length, struct mram_error *err);

/** qemu_stream_free - free what it holds, not the stream's bytes */
void qemu_stream_free(struct qemu_stream *s);

#endif /* MRAM_QEMU_STREAM_H */
