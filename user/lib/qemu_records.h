/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between the two halves of the reader of QEMU's stream: bytes in order, and
 * the page records among them.
 */
#ifndef MRAM_QEMU_RECORDS_H
#define MRAM_QEMU_RECORDS_H

#include "qemu_stream.h"

/**
 * struct qemu_reader - a place in the stream
 * @cut: something was read behind the end; all later reads give nothing
 * @last: the block of the last page record, which the next one may go on with
 */
struct qemu_reader {
	const uint8_t *data;
	size_t at;
	size_t end;
	bool cut;
	struct qemu_block *last;
};

/* The next bytes; NULL or 0 at the end. @name has room for 256. */
const uint8_t *qemu_read(struct qemu_reader *r, size_t length);
uint64_t qemu_read_be(struct qemu_reader *r, size_t length);
void qemu_read_name(struct qemu_reader *r, char *name);

/** qemu_parse_records - pages up to the end of a part of the memory */
int qemu_parse_records(struct qemu_stream *s, struct qemu_reader *r,
		       struct mram_error *err);

/** qemu_check_records - has each block all its pages, or none? */
int qemu_check_records(struct qemu_stream *s, struct mram_error *err);

#endif /* MRAM_QEMU_RECORDS_H */
