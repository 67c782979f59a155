// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What makes an image valid: device state and commit, and taking the validity
 * away again before something else is written.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"
#include "error.h"
#include "image.h"
#include "session.h"

int session_invalidate(struct mram_session *s, struct mram_error *err)
{
	int ret;

	if (!s->maybe_valid)
		return 0;
	ret = mram_io_invalidate(s->io, err);
	if (!ret)
		s->maybe_valid = false;
	return ret;
}

static void free_section(struct mram_section *section)
{
	free((void *)section->name);
	free((void *)section->data);
}

void session_free_sections(struct mram_session *s)
{
	size_t i;

	for (i = 0; i < s->nr_sections; i++)
		free_section(&s->sections[i]);
	free(s->sections);
}

int mram_session_add_section(struct mram_session *s, const char *name,
			     uint32_t instance, uint32_t version,
			     const void *data, size_t length,
			     struct mram_error *err)
{
	struct mram_section section = {
		.instance = instance,
		.version = version,
		.length = length,
	}, *grown;
	size_t i;
	int ret;

	ret = mram_name_check("section name", name, strlen(name), err);
	if (ret)
		return ret;
	grown = realloc(s->sections, (s->nr_sections + 1) * sizeof(*grown));
	if (grown)
		s->sections = grown;
	section.name = strdup(name);
	section.data = malloc(length ? length : 1);
	if (!grown || !section.name || !section.data) {
		free_section(&section);
		return mram_err(err, -ENOMEM,
				"section '%s': no memory for %zu bytes", name,
				length);
	}
	if (length)
		memcpy((void *)section.data, data, length);

	for (i = 0; i < s->nr_sections; i++)
		if (s->sections[i].instance == instance &&
		    !strcmp(s->sections[i].name, name))
			break;
	if (i < s->nr_sections)
		free_section(&s->sections[i]);
	else
		s->nr_sections++;
	s->sections[i] = section;
	return 0;
}

int session_check_clean(struct mram_session *s, struct mram_error *err)
{
	uint64_t dirty, page;
	size_t i;
	int ret;

	if (!s->begun || s->ended)
		return mram_err(err, -EINVAL,
				"%s: no commit before mram_session_begin()%s",
				s->io->path,
				s->ended ? ", nor after the last one" : "");
	for (i = 0; i < s->nr_regions; i++) {
		const struct engine_region *r = &s->regions[i];

		ret = engine_check_length(s->io, r, &page);
		if (ret)
			return engine_failed(err, "committing", s->io, r, page,
					     ret);
		if (!bitmap_any(r->dirty, 0, r->pages))
			continue;
		dirty = bitmap_count(r->dirty, 0, r->pages);
		if (dirty)
			return mram_err(err, -EBUSY,
					"%" PRIu64 " of %" PRIu64 " pages of region '%s' are dirty: run a pass first",
					dirty, r->pages, r->name);
	}
	return 0;
}

int mram_session_commit(struct mram_session *s, struct mram_error *err)
{
	const uint64_t **bitmaps;
	size_t i;
	int ret;

	ret = session_check_clean(s, err);
	if (ret)
		return ret;
	bitmaps = calloc(s->nr_regions, sizeof(*bitmaps));
	if (!bitmaps)
		return mram_err(err, -ENOMEM, "%s: out of memory",
				s->io->path);
	for (i = 0; i < s->nr_regions; i++)
		bitmaps[i] = s->regions[i].file;
	ret = session_invalidate(s, err);
	if (!ret) {
		s->maybe_valid = true;
		ret = mram_image_write_commit(s->io, &s->layout, bitmaps,
					      s->sections, s->nr_sections, NULL,
					      err);
	}
	free(bitmaps);
	return ret;
}
