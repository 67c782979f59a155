/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A saving session, for the library's own files.
 *
 * session.c owns its life: open, regions, begin, passes, close.
 * session_commit.c owns device state and the image's validity, dirty.c what
 * callers do to dirty bitmaps.
 */
#ifndef MRAM_SESSION_H
#define MRAM_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"
#include "layout.h"
#include "stream.h"

/**
 * struct mram_session - a session
 * @io: the image
 * @ops: the engine's
 * @engine: from begin on, else NULL
 * @layout: finished from begin on
 * @regions: @nr_regions of them, in the layout's order
 * @begun: passes may be made
 * @maybe_valid: the image may have its magic: it must go before the next write
 * @sections: device state to be written at commit; @nr_sections, owned
 */
struct mram_session {
	struct mram_io *io;
	const struct engine_ops *ops;
	struct engine *engine;
	struct mram_layout layout;
	struct engine_region *regions;
	size_t nr_regions;
	bool begun;
	bool maybe_valid;
	struct mram_section *sections;
	size_t nr_sections;
};

/**
 * session_region - the region of this index, whose bitmaps exist
 * @what: the call, for the message
 *
 * Return: 0; -EINVAL before begin or when there is no such region.
 */
int session_region(const struct mram_session *s, int index, const char *what,
		   struct engine_region **out, struct mram_error *err);

/** session_invalidate - take the magic away if the image may have it */
int session_invalidate(struct mram_session *s, struct mram_error *err);

/** session_free_sections - free the device state */
void session_free_sections(struct mram_session *s);

#endif /* MRAM_SESSION_H */
