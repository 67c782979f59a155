// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine `pwrite`: one blocking call an extent. Works everywhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "pass.h"

static void start(struct mover *m, const struct extent *x)
{
	struct extent rest = *x;
	ssize_t res;

	do {
		if (m->load)
			res = pread(m->base.io->fd, extent_addr(m, &rest),
				    extent_rest(m, &rest),
				    extent_offset(m, &rest));
		else
			res = pwrite(m->base.io->fd, extent_addr(m, &rest),
				     extent_rest(m, &rest),
				     extent_offset(m, &rest));
	} while (extent_advance(m, &rest, res < 0 ? -errno : res));
}

/* Nothing is ever under way. */
static void nothing(struct mover *m)
{
	(void)m;
}

/* Long extents: the block layer splits them and runs the parts at once. */
static const struct mover_ops mover_ops = {
	.start = start,
	.kick = nothing,
	.drain = nothing,
	.default_extent = 8 << 20,
	.default_window = 1,
	.max_window = 1,
};

static int probe(struct mram_error *err)
{
	(void)err;
	return 0;
}

static int open_engine(struct engine **out, const struct mram_io *io,
		       bool load, struct mram_error *err)
{
	struct mover *m = calloc(1, sizeof(*m));
	int ret;

	if (!m)
		return mram_err(err, -ENOMEM, "%s: out of memory", io->path);
	ret = mover_open(m, &engine_pwrite, &mover_ops, io, load, err);
	if (ret) {
		free(m);
		return ret;
	}
	*out = &m->base;
	return 0;
}

static void close_engine(struct engine *e)
{
	mover_close(to_mover(e));
	free(e);
}

const struct engine_ops engine_pwrite = {
	.name = "pwrite",
	.probe = probe,
	.open = open_engine,
	.add_region = mover_add_region,
	.remove_region = mover_remove_region,
	.save = mover_save,
	.load = mover_load,
	.close = close_engine,
};
