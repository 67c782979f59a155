/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of the stream that stand around bitmaps and pages, built in
 * memory. Pure: no file, no I/O.
 */
#ifndef MRAM_STREAM_H
#define MRAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

#include "layout.h"

/**
 * struct mram_buf - bytes that grow
 * @data: the bytes, owned
 * @length: how many
 * @capacity: how many fit
 * @align: of @data in memory, a power of two; 0 for any
 * @failed: there was no memory for some; all later puts do nothing
 *
 * Starts as {0}, but for @align. Putting never fails on the spot; whoever filled the buffer
 * asks for @failed once, at the end.
 */
struct mram_buf {
	uint8_t *data;
	size_t length;
	size_t capacity;
	size_t align;
	bool failed;
};

void mram_buf_put(struct mram_buf *b, const void *data, size_t length);
void mram_buf_free(struct mram_buf *b);

/** mram_buf_room - where the next @length bytes go; who puts them adds to length */
uint8_t *mram_buf_room(struct mram_buf *b, size_t length);

/** mram_buf_pad - put zeroes up to the next multiple of @size, a power of two */
void mram_buf_pad(struct mram_buf *b, size_t size);

/**
 * struct mram_section - device state to be written behind the memory
 * @name: idstr; 1 to 255 bytes, no control characters
 * @instance: tells sections of one name apart
 * @version: the writer's own
 * @data: @length bytes
 * @length: in bytes
 */
struct mram_section {
	const char *name;
	uint32_t instance;
	uint32_t version;
	const void *data;
	size_t length;
};

/**
 * mram_stream_head - magic, configuration, start of the RAM section
 *
 * Appends exactly l->head_size bytes; they belong at offset 0.
 */
int mram_stream_head(struct mram_buf *b, const struct mram_layout *l,
		     struct mram_error *err);

/**
 * mram_stream_record - a block's name, length and mapped-ram header
 *
 * Appends exactly blk->record_size bytes; they belong at blk->record_offset.
 */
int mram_stream_record(struct mram_buf *b, const struct mram_layout_block *blk,
		       struct mram_error *err);

/**
 * mram_stream_tail - everything behind the last block's pages
 * @sections: @nr of them, in this order; none if l->foreign has the state
 *
 * End of the RAM section, device sections, end mark, JSON description. The
 * bytes belong at l->tail_offset.
 */
int mram_stream_tail(struct mram_buf *b, const struct mram_layout *l,
		     const struct mram_section *sections, size_t nr,
		     struct mram_error *err);

#endif /* MRAM_STREAM_H */
