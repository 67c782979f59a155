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
 * @ended: nothing can come after the commit that was made
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
	bool ended;
};

/**
 * struct session_late - a block that became known after the passes
 * @name: of the block
 * @data: @pages pages of 4096 bytes
 * @pages: how many
 * @there: bitmap of the pages that the image shall hold; the others are zero
 */
struct session_late {
	const char *name;
	const uint8_t *data;
	uint64_t pages;
	const uint64_t *there;
};

/**
 * session_commit_foreign - commit with another program's words around it
 * @foreign: configuration and device state, for the image as they are
 * @names: of the regions, in order; needs layout.roomy
 * @late: @nr blocks that stand behind the regions
 *
 * Like mram_session_commit(), but the session is over then, also after an
 * error.
 */
int session_commit_foreign(struct mram_session *s,
			   const struct mram_foreign *foreign,
			   const char *const *names,
			   const struct session_late *late, size_t nr,
			   struct mram_error *err);

/** session_check_clean - -EBUSY as long as pages are dirty */
int session_check_clean(struct mram_session *s, struct mram_error *err);

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
