// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The end of a job: the image is put together from the pages that were written
 * and from QEMU's own stream.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format.h"
#include "qemu_job.h"
#include "qemu_stream.h"

/* Of a device's memory the device's path stands before the name. */
bool qemu_is_named(const char *idstr, const char *id)
{
	size_t a = strlen(idstr), b = strlen(id);

	return a >= b && !strcmp(idstr + (a - b), id) &&
	       (a == b || idstr[a - b - 1] == '/');
}

static int name_region(const struct qemu_stream *s, const struct qemu_ram *r,
		       const char **name, struct mram_error *err)
{
	const struct qemu_block *b, *end = s->blocks + s->nr;

	for (b = s->blocks; b < end; b++)
		if (b->elsewhere && qemu_is_named(b->name, r->id))
			break;
	if (b == end)
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': the machine does not use it as RAM, or QEMU does not see it as a named shared file",
				r->id);
	if (b->length != r->size)
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': QEMU uses %" PRIu64 " of its %" PRIu64 " bytes",
				r->id, b->length, r->size);
	*name = b->name;
	return 0;
}

/* What is in the stream is put behind; what is nowhere is an error. */
static int find_late(const struct qemu_stream *s, const char *const *names,
		     size_t nr_names, struct session_late *late, size_t *nr,
		     struct mram_error *err)
{
	size_t i, k;

	for (i = 0; i < s->nr; i++) {
		const struct qemu_block *b = &s->blocks[i];

		if (!b->elsewhere) {
			late[(*nr)++] = (struct session_late){
				.name = b->name,
				.data = b->data,
				.pages = b->length / MRAM_PAGE_SIZE_MIN,
				.there = b->there,
			};
			continue;
		}
		for (k = 0; k < nr_names; k++)
			if (names[k] == b->name)
				break;
		if (k == nr_names)
			return mram_err(err, -EOPNOTSUPP,
					"block '%s' is in shared memory that was no memory backend when the job began",
					b->name);
	}
	return 0;
}

/*
 * The machine was stopped when QEMU wrote its state, and so it would be when
 * QEMU has loaded it. But it ran: one word says so, in a section of known form.
 */
static void mark_running(struct mram_buf *state)
{
	static const char head[] = "\013globalstate\0\0\0\0\0\0\0\1";
	static const size_t length = sizeof(head) - 1;
	static const char old[] = "paused", new[] = "running";
	uint8_t *p;

	p = memmem(state->data, state->length, head, length);
	if (!p || p - state->data < 5 || p[-5] != MRAM_VM_SECTION_FULL)
		return;
	p += length + 4;	/* be32: the length of what follows */
	if (state->length - (size_t)(p - state->data) > 100 &&
	    !memcmp(p, old, sizeof(old)))
		memcpy(p, new, sizeof(new));
}

int qemu_commit(struct qemu_job *j, struct mram_error *err)
{
	struct qemu_stream s = { 0 };
	size_t nr = j->q->nr_ram, nr_late = 0, i;
	struct session_late *late = NULL;
	const char **names;
	int ret;

	names = calloc(nr, sizeof(*names));
	if (!names)
		return mram_err(err, -ENOMEM, "out of memory");
	if (j->q->runs)
		mark_running(&j->state);
	ret = qemu_stream_parse(&s, j->state.data, j->state.length, err);
	if (!ret && s.nr) {
		late = calloc(s.nr, sizeof(*late));
		if (!late)
			ret = mram_err(err, -ENOMEM, "out of memory");
	}
	for (i = 0; !ret && i < nr; i++)
		ret = name_region(&s, &j->q->ram[i], &names[i], err);
	if (!ret)
		ret = find_late(&s, names, nr, late, &nr_late, err);
	if (!ret) {
		j->stats.blocks = (uint32_t)(nr + nr_late);
		j->stats.state_bytes = s.foreign.state_length;
		ret = session_commit_foreign(j->s, &s.foreign, names, late,
					     nr_late, err);
	}
	free(late);
	free(names);
	qemu_stream_free(&s);
	return ret;
}
