/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where does a file have data?
 */
#ifndef MRAM_HOLE_H
#define MRAM_HOLE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * hole_next - find the next part of a file that may hold data
 * @offset: where to start looking
 * @end: where to stop; not behind the file's end
 * @data: set to where the part starts, @end when there is none
 * @data_end: set to where it ends, at most @end
 *
 * Moves the file's offset. What is left out reads as zero, and nothing was
 * allocated to find that out.
 */
void hole_next(int fd, uint64_t offset, uint64_t end, uint64_t *data,
	       uint64_t *data_end);

/**
 * struct hole_cursor - what is known about a file's holes; starts as {0}
 * @from: asked from here on
 * @data: first data behind @from
 * @data_end: its end
 */
struct hole_cursor {
	uint64_t from;
	uint64_t data;
	uint64_t data_end;
};

/**
 * hole_has_data - may there be data at @offset?
 * @end: of what will be asked for
 *
 * Cheap when asked in rising order. Like hole_next().
 */
bool hole_has_data(struct hole_cursor *c, int fd, uint64_t offset,
		   uint64_t end);

#endif /* MRAM_HOLE_H */
