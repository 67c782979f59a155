// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram restore --qmp: an image into a QEMU that waits. The library does
 * the job. The JSON's keys are an interface: they are described in
 * mapped-ram(1), and more may come.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "progress.h"
#include "restore.h"
#include "tool.h"

static bool bar;

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	(void)data;
	if (!bar && total) {
		bar = true;
		progress_start("restoring", total, total * REGION_PAGE_SIZE);
	}
	progress_update(done);
	return cleanup_interrupted();
}

static int print_json(const struct mram_qemu_restore_stats *s)
{
	json_object *o = json_object_new_object();

	if (o && json_add_number(o, "blocks", s->blocks) &&
	    json_add_number(o, "read", s->read) &&
	    json_add_number(o, "zero", s->zero) &&
	    json_add_number(o, "ios", s->ios) &&
	    json_add_number(o, "bytes", s->bytes) &&
	    json_add_number(o, "streamed", s->streamed) &&
	    json_add_number(o, "state_bytes", s->state_bytes) &&
	    json_add_number(o, "total_nsec", s->nsec) &&
	    json_add_number(o, "state_nsec", s->state_nsec) &&
	    json_add(o, "engine", json_text(s->engine)) &&
	    json_add(o, "state", json_text(s->state)))
		return json_print(o);
	json_object_put(o);
	return json_print(NULL);
}

static int print(const struct mram_qemu_restore_stats *s)
{
	printf("%u blocks restored: %llu pages read, %llu zero, %llu I/Os, %s, engine %s, %.2f s\n",
	       s->blocks, (unsigned long long)s->read,
	       (unsigned long long)s->zero, (unsigned long long)s->ios,
	       tool_format_size(s->bytes).text, s->engine,
	       tool_seconds(s->nsec));
	printf("of this %.1f ms for QEMU to take %s of device state and %llu pages of its own; the virtual machine is %s\n",
	       (double)s->state_nsec / 1e6,
	       tool_format_size(s->state_bytes).text,
	       (unsigned long long)s->streamed, s->state);
	return 0;
}

static int restore(struct restore *r, struct mram_qemu *q)
{
	struct mram_qemu_restore_stats stats = { .size = sizeof(stats) };
	struct mram_qemu_restore_opts opts = MRAM_OPTS(mram_qemu_restore_opts,
		.flags = r->stop ? MRAM_QEMU_STOP : 0,
		.window = r->opts.window,
		.engine = r->opts.engine,
		.max_extent = r->opts.max_extent,
		.progress = on_progress);
	struct mram_error err = { 0 };
	int ret;

	ret = mram_qemu_check_image(q, r->image, &err);
	if (!ret)
		ret = mram_qemu_restore(q, r->facts.image, &opts, &stats, &err);
	progress_end();
	if (!ret)
		return r->json ? print_json(&stats) : print(&stats);
	if (ret == -ECANCELED && cleanup_interrupted())
		return tool_fail(stats.state_nsec ?
				 "interrupted; QEMU has to be started anew" :
				 "interrupted; QEMU waits as before, its memory is incomplete");
	return tool_fail_library(r->image, ret, &err);
}

int restore_qmp(struct restore *r)
{
	struct mram_error err = { 0 };
	struct mram_qemu *q;
	int ret;

	ret = mram_qemu_open_incoming(&q, r->qmp, &err);
	if (ret)
		return tool_fail_library(r->qmp, ret, &err);
	ret = restore(r, q);
	mram_qemu_close(q);
	return ret;
}
