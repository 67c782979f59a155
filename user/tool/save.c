// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram save: files or shared memory to an image, in one pass. What
 * --qmp asks for is save_qmp.c's.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "progress.h"
#include "region.h"
#include "save_qmp.h"
#include "target.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram save --region NAME=PATH [OPTION]... IMAGE\n"
"       mapped-ram save --qmp SOCKET [OPTION]... IMAGE\n"
"\n"
"Write the memory in PATH to IMAGE, a file or a block device. Whatever writes\n"
"to the memory has to be stopped meanwhile. Or save a running QEMU, whose\n"
"monitor listens on SOCKET, to an IMAGE that QEMU loads.\n"
"\n"
"  --region NAME=PATH  a block of the image, and the file or shared memory\n"
"                      that holds it; may be given more than once\n"
"  --engine NAME       module, uring or pwrite; default: the first that works\n"
"  --window N          most I/Os in flight\n"
"  --bridge N          write up to N pages along to join two I/Os; auto: as\n"
"                      many as pay\n"
"  --max-extent SIZE   most bytes of one I/O\n"
"  --machine NAME      QEMU's machine type, for the image's header\n"
"  --force             overwrite an IMAGE that holds something else\n"
"  --help, -h          this text\n"
"\n"
"with --qmp, and without --region and --machine:\n"
"  --downtime MS       stop the virtual machine when what is left should be\n"
"                      written within this time (300)\n"
"  --max-passes N      or for the Nth pass at the latest (10); 1 stops it at\n"
"                      once\n"
"  --stop              leave it stopped when it is saved\n"
"  --update            IMAGE is an older one of this machine: write what differs\n"
"  --base OLD          start IMAGE as a copy of OLD that shares its data, and\n"
"                      update that\n"
"  --json              tell what was done as JSON\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

struct save {
	struct regions regions;
	struct target target;
	struct mram_session_opts session;
	struct mram_pass_opts pass;
	struct mram_pass_stats total;
	bool force;
	const char *image;
	struct save_qmp qmp;
};

enum {
	OPT_REGION = 256,
	OPT_ENGINE,
	OPT_WINDOW,
	OPT_BRIDGE,
	OPT_MAX_EXTENT,
	OPT_MACHINE,
	OPT_FORCE,
	OPT_QMP,
	OPT_DOWNTIME,
	OPT_MAX_PASSES,
	OPT_STOP,
	OPT_UPDATE,
	OPT_BASE,
	OPT_JSON,
};

static const struct option options[] = {
	{ "region",	required_argument,	NULL, OPT_REGION },
	{ "engine",	required_argument,	NULL, OPT_ENGINE },
	{ "window",	required_argument,	NULL, OPT_WINDOW },
	{ "bridge",	required_argument,	NULL, OPT_BRIDGE },
	{ "max-extent",	required_argument,	NULL, OPT_MAX_EXTENT },
	{ "machine",	required_argument,	NULL, OPT_MACHINE },
	{ "force",	no_argument,		NULL, OPT_FORCE },
	{ "qmp",	required_argument,	NULL, OPT_QMP },
	{ "downtime",	required_argument,	NULL, OPT_DOWNTIME },
	{ "max-passes",	required_argument,	NULL, OPT_MAX_PASSES },
	{ "stop",	no_argument,		NULL, OPT_STOP },
	{ "update",	no_argument,		NULL, OPT_UPDATE },
	{ "base",	required_argument,	NULL, OPT_BASE },
	{ "json",	no_argument,		NULL, OPT_JSON },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

static int take_qmp_option(struct save_qmp *q, int c)
{
	uint64_t value;

	switch (c) {
	case OPT_QMP:
		q->socket = optarg;
		return 0;
	case OPT_DOWNTIME:
		if (!tool_parse_count(optarg, UINT32_MAX, &value) || !value)
			return tool_usage("save",
					  "--downtime wants milliseconds from 1, not '%s'",
					  optarg);
		q->opts.downtime_msec = (uint32_t)value;
		break;
	case OPT_MAX_PASSES:
		if (!tool_parse_count(optarg, UINT32_MAX, &value) || !value)
			return tool_usage("save",
					  "--max-passes wants a number from 1, not '%s'",
					  optarg);
		q->opts.max_passes = (uint32_t)value;
		break;
	case OPT_STOP:
		q->opts.flags |= MRAM_QEMU_STOP;
		break;
	case OPT_UPDATE:
		q->opts.flags |= MRAM_QEMU_UPDATE;
		break;
	case OPT_BASE:
		q->base = optarg;
		break;
	case OPT_JSON:
		q->json = true;
		break;
	default:
		return TOOL_USAGE;
	}
	q->option = true;
	return 0;
}

static int take_option(void *data, int c)
{
	struct save *s = data;

	switch (c) {
	case OPT_REGION:
		return regions_add(&s->regions, "save", optarg);
	case OPT_ENGINE:
		return tool_take_engine("save", optarg, &s->session.engine);
	case OPT_WINDOW:
		return tool_take_window("save", optarg, &s->pass.window);
	case OPT_BRIDGE:
		return tool_take_bridge("save", optarg, &s->pass.bridge);
	case OPT_MAX_EXTENT:
		return tool_take_extent("save", optarg, &s->pass.max_extent);
	case OPT_MACHINE:
		if (!*optarg || strlen(optarg) > 255)
			return tool_usage("save",
					  "--machine wants a name of 1 to 255 bytes");
		s->session.machine = optarg;
		return 0;
	case OPT_FORCE:
		s->force = true;
		return 0;
	}
	return take_qmp_option(&s->qmp, c);
}

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	const struct save *s = data;

	(void)total;
	progress_update(s->total.written + s->total.zero + done);
	return cleanup_interrupted();
}

static int add_regions(struct save *s, struct mram_session *session,
		       struct mram_error *err)
{
	size_t i;
	int ret;

	for (i = 0; i < s->regions.count; i++) {
		const struct region *r = &s->regions.list[i];
		struct mram_region_opts opts = MRAM_OPTS(mram_region_opts,
			.flags = MRAM_REGION_HAS_FD,
			.page_size = REGION_PAGE_SIZE,
			.fd = r->fd);

		ret = mram_session_add_region(session, r->name, r->addr,
					      r->length, &opts, err);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/*
 * More than one pass only when a signal that means nothing to us, as being
 * stopped and continued does, ended the one before.
 */
static int run_passes(struct save *s, struct mram_session *session,
		      struct mram_error *err)
{
	int ret;

	do {
		struct mram_pass_stats stats = { .size = sizeof(stats) };

		ret = mram_session_pass(session, &s->pass, &stats, err);
		s->total.flags |= stats.flags;
		s->total.written += stats.written;
		s->total.zero += stats.zero;
		s->total.bridged += stats.bridged;
		s->total.bridge = stats.bridge;
		s->total.ios += stats.ios;
		s->total.bytes += stats.bytes;
		s->total.nsec += stats.nsec;
	} while (ret == -EINTR && !cleanup_interrupted());
	return ret;
}

static int save(struct save *s, struct mram_session *session,
		struct mram_error *err)
{
	int64_t dirty;
	int ret;

	ret = add_regions(s, session, err);
	if (!ret)
		ret = mram_session_begin(session, err);
	if (ret)
		return ret;
	ret = target_begun(&s->target);
	if (!ret)
		ret = mram_session_mark_dirty(session, -1, 0, MRAM_ALL, err);
	if (ret)
		return ret;
	dirty = mram_session_count_dirty(session, -1);
	if (dirty < 0)
		return (int)dirty;
	s->pass.progress = on_progress;
	s->pass.progress_data = s;
	progress_start("saving", (uint64_t)dirty,
		       (uint64_t)dirty * REGION_PAGE_SIZE);
	if (cleanup_interrupted())
		return -ECANCELED;
	ret = run_passes(s, session, err);
	if (!ret && cleanup_interrupted())
		ret = -ECANCELED;
	if (!ret)
		ret = mram_session_commit(session, err);
	progress_end();
	return ret;
}

static void summary(const struct save *s, const char *engine, uint64_t nsec)
{
	printf("%zu %s saved: %llu pages written, %llu zero, %llu I/Os, %s, engine %s, %.2f s\n",
	       s->regions.count, s->regions.count == 1 ? "region" : "regions",
	       (unsigned long long)s->total.written,
	       (unsigned long long)s->total.zero,
	       (unsigned long long)s->total.ios,
	       tool_format_size(s->total.bytes).text, engine,
	       tool_seconds(nsec));
	if (s->pass.bridge == MRAM_BRIDGE_AUTO && s->total.bridged)
		printf("bridges of up to %u pages pay here, %llu pages written along\n",
		       s->total.bridge, (unsigned long long)s->total.bridged);
	if (s->total.flags & MRAM_STATS_BUFFERED)
		tool_warn("%s: the file system did not write directly; pages of the image went through the page cache",
			  s->image);
}

static int run(struct save *s)
{
	struct mram_session *session = NULL;
	struct mram_error err = { 0 };
	uint64_t start = tool_now();
	int ret;

	ret = regions_open_sources(&s->regions);
	if (!ret)
		ret = target_check(&s->target, s->image, &s->regions, s->force);
	if (ret)
		return ret;

	ret = mram_session_open(&session, s->image, &s->session, &err);
	if (!ret)
		ret = save(s, session, &err);
	if (!ret)
		summary(s, mram_session_engine(session), tool_now() - start);
	mram_session_close(session);
	if (!ret)
		return 0;
	if (!cleanup_interrupted()) {
		target_abandon(&s->target, &err);
		return tool_fail_library(s->image, ret, &err);
	}
	err.message[0] = '\0';
	target_abandon(&s->target, &err);
	return tool_fail("interrupted; %s %s%s%s", s->image,
			 s->target.begun || s->target.created ?
			 "holds no image" : "is as it was",
			 err.message[0] ? "; " : "", err.message);
}

static int run_qmp(struct save *s)
{
	s->qmp.opts.engine = s->session.engine;
	s->qmp.opts.pass.window = s->pass.window;
	s->qmp.opts.pass.bridge = s->pass.bridge;
	s->qmp.opts.pass.max_extent = s->pass.max_extent;
	return save_qmp(&s->qmp, s->image, s->force);
}

static int check_kind(const struct save *s)
{
	if (s->qmp.socket && (s->regions.count || s->session.machine))
		return tool_usage("save",
				  "--qmp finds memory and machine itself: no --region, no --machine");
	if (s->qmp.base && s->qmp.opts.flags & MRAM_QEMU_UPDATE)
		return tool_usage("save",
				  "--update works on the image itself, --base on a copy: only one of them");
	if (s->qmp.socket)
		return 0;
	if (s->qmp.option)
		return tool_usage("save",
				  "--downtime, --max-passes, --stop, --update, --base and --json want --qmp");
	if (!s->regions.count)
		return tool_usage("save", "no --region is given, and no --qmp");
	return 0;
}

int cmd_save(int argc, char **argv)
{
	struct save s = {
		.qmp.opts = MRAM_OPTS(mram_qemu_save_opts),
		.session = MRAM_OPTS(mram_session_opts),
		.pass = MRAM_OPTS(mram_pass_opts),
	};
	bool shown;
	int status;

	status = tool_take_options("save", help, options, argc, argv,
				   take_option, &s, &shown);
	if (shown)
		goto out;
	if (!status)
		status = tool_one_image("save", argc, argv, &s.image);
	if (!status)
		status = check_kind(&s);
	if (!status) {
		cleanup_start();
		status = s.qmp.socket ? run_qmp(&s) : run(&s);
	}
out:
	regions_close(&s.regions);
	return tool_finish_output(cleanup_end(status));
}
