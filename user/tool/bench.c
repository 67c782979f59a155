// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram bench: the command line, the target, and what is printed.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "cleanup.h"
#include "json.h"
#include "table.h"
#include "target.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram bench --target PATH [OPTION]...\n"
"\n"
"Measure how fast memory is saved to PATH with each engine that works here, and\n"
"what fio makes of the same I/Os. PATH is a file that does not exist yet, one\n"
"that --keep has left, or a block device, which is overwritten.\n"
"\n"
"  --target PATH      where to save to\n"
"  --size SIZE        how much memory (1G)\n"
"  --engine NAME      module, uring or pwrite alone\n"
"  --window N         most I/Os in flight (32)\n"
"  --max-extent SIZE  most bytes of one I/O (1M)\n"
"  --bridge N         write up to N pages along to join two I/Os; auto: as many\n"
"                     as pay (0)\n"
"  --rounds N         save N times, take the median (3)\n"
"  --keep             leave the file for the next time\n"
"  --force            overwrite a block device\n"
"  --json             print JSON\n"
"  --help, -h         this text\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

enum {
	OPT_TARGET = 256,
	OPT_SIZE,
	OPT_ENGINE,
	OPT_WINDOW,
	OPT_MAX_EXTENT,
	OPT_BRIDGE,
	OPT_ROUNDS,
	OPT_KEEP,
	OPT_FORCE,
	OPT_JSON,
};

static const struct option options[] = {
	{ "target",	required_argument,	NULL, OPT_TARGET },
	{ "size",	required_argument,	NULL, OPT_SIZE },
	{ "engine",	required_argument,	NULL, OPT_ENGINE },
	{ "window",	required_argument,	NULL, OPT_WINDOW },
	{ "max-extent",	required_argument,	NULL, OPT_MAX_EXTENT },
	{ "bridge",	required_argument,	NULL, OPT_BRIDGE },
	{ "rounds",	required_argument,	NULL, OPT_ROUNDS },
	{ "keep",	no_argument,		NULL, OPT_KEEP },
	{ "force",	no_argument,		NULL, OPT_FORCE },
	{ "json",	no_argument,		NULL, OPT_JSON },
	{ "help",	no_argument,		NULL, 'h' },
	{ }
};

static const struct bench_case cases[] = {
	{ "full",	1 },
	{ "scatter25",	4 },
};

static const struct {
	const char *name;
	const char *engine;
	bool pin;
} ways[] = {
	{ "module-pin",		"module",	true },
	{ "module",		"module",	false },
	{ "uring",		"uring",	true },
	{ "uring-plain",	"uring",	false },
	{ "pwrite",		"pwrite",	false },
};

/* What was asked for besides. */
struct command {
	struct bench bench;
	bool keep;
	bool force;
	bool json;
};

/* What is printed, as a table or as JSON. */
struct output {
	struct table table;
	json_object *list;
	bool json;
};

static int take_option(void *data, int c)
{
	struct command *cmd = data;
	struct bench *b = &cmd->bench;
	uint64_t value;

	switch (c) {
	case OPT_TARGET:
		b->target = optarg;
		return 0;
	case OPT_SIZE:
		if (!tool_parse_size(optarg, &b->size) || !b->size ||
		    b->size % (1 << 20) || b->size > 1ull << 46)
			return tool_usage("bench",
					  "--size wants whole MiB up to 64 TiB, not '%s'",
					  optarg);
		return 0;
	case OPT_ENGINE:
		return tool_take_engine("bench", optarg, &b->engine);
	case OPT_WINDOW:
		return tool_take_window("bench", optarg, &b->window);
	case OPT_MAX_EXTENT:
		return tool_take_extent("bench", optarg, &b->max_extent);
	case OPT_BRIDGE:
		return tool_take_bridge("bench", optarg, &b->bridge);
	case OPT_ROUNDS:
		if (!tool_parse_count(optarg, 1000, &value) || !value)
			return tool_usage("bench",
					  "--rounds wants a number from 1 to 1000, not '%s'",
					  optarg);
		b->rounds = (uint32_t)value;
		return 0;
	case OPT_KEEP:
		cmd->keep = true;
		return 0;
	case OPT_FORCE:
		cmd->force = true;
		return 0;
	case OPT_JSON:
		cmd->json = true;
		return 0;
	}
	return TOOL_USAGE;
}

/* An image says for which machine it is; ours does so for none that exists. */
static bool is_ours(const char *path)
{
	struct mram_image *img;
	bool ours;

	if (mram_image_open(&img, path, NULL))
		return false;
	ours = !strcmp(mram_image_machine(img), BENCH_MACHINE);
	mram_image_close(img);
	return ours;
}

static int may_overwrite(const char *path, bool force)
{
	struct stat st;

	if (stat(path, &st))
		return 0;
	if (S_ISBLK(st.st_mode))
		return force ? 0 :
		       tool_fail("%s is a block device; --force overwrites what it holds",
				 path);
	/* An empty file is what a failed job leaves. */
	if ((S_ISREG(st.st_mode) && !st.st_size) || is_ours(path))
		return 0;
	return tool_fail("%s is not a file that bench has left; it makes one that does not exist yet",
			 path);
}

static void add(struct output *out, const struct bench_case *c,
		const char *name, const struct bench_result *r)
{
	double seconds = tool_seconds(r->nsec);
	double cpu = tool_seconds(r->cpu_nsec);
	json_object *o;

	if (!out->json) {
		table_add(&out->table, "%s", c->name);
		table_add(&out->table, "%s", name);
		table_add(&out->table, "%llu", (unsigned long long)r->ios);
		table_add(&out->table, "%.3f", seconds);
		table_add(&out->table, "%.0f", (double)r->bytes / seconds / 1e6);
		table_add(&out->table, "%.0f", (double)r->ios / seconds);
		table_add(&out->table, "%.0f",
			  cpu * 1e9 * (double)BENCH_PAGE / (double)r->bytes);
		return;
	}
	o = json_object_new_object();
	if (o && json_add(o, "case", json_text(c->name)) &&
	    json_add(o, "engine", json_text(name)) &&
	    json_add_number(o, "bridge", r->bridge) &&
	    json_add_number(o, "ios", r->ios) &&
	    json_add_number(o, "bytes", r->bytes) &&
	    json_add_number(o, "nsec", r->nsec) &&
	    json_add_number(o, "cpu_nsec", r->cpu_nsec)) {
		out->list = json_append(out->list, o);
	} else {
		json_object_put(o);
		json_object_put(out->list);
		out->list = NULL;
	}
}

/* Not here, or not so: the others may do. */
static bool left_out(int ret, const char *name, const struct mram_error *err)
{
	if (ret != -ENODEV && ret != -ENOENT && ret != -ENOSYS &&
	    ret != -EPERM && ret != -ENOMEM && ret != -EOPNOTSUPP)
		return false;
	tool_warn("%s left out: %s", name, err->message);
	return true;
}

/* Return 0, or a negative errno. */
static int run_case(const struct bench *b, struct target *t,
		    const struct bench_case *c, struct output *out,
		    struct mram_error *err)
{
	struct bench_result r;
	int ret = 0, worked = 0;
	size_t i;

	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (b->engine && strcmp(b->engine, ways[i].engine))
			continue;
		/* Known from here on, also when the first of them fails. */
		if (!t->begun && target_begun(t))
			return -ENOMEM;
		err->message[0] = '\0';
		ret = bench_save(b, c, ways[i].engine, ways[i].pin, &r, err);
		if (cleanup_interrupted())
			return -ECANCELED;
		if (ret && left_out(ret, ways[i].engine, err))
			continue;
		if (ret)
			return ret;
		worked++;
		add(out, c, ways[i].name, &r);
	}
	if (!worked)
		return ret;
	if (!bench_fio(b, c, &r))
		add(out, c, "fio", &r);
	return cleanup_interrupted() ? -ECANCELED : 0;
}

static int run_cases(struct bench *b, struct target *t, struct output *out)
{
	struct mram_error err = { 0 };
	int ret = 0;
	size_t i;

	if (bench_memory(b))
		return TOOL_FAILED;
	for (i = 0; !ret && i < sizeof(cases) / sizeof(cases[0]); i++)
		ret = run_case(b, t, &cases[i], out, &err);
	if (!ret)
		return 0;
	if (ret == -ECANCELED && cleanup_interrupted())
		snprintf(err.message, sizeof(err.message), "interrupted");
	target_abandon(t, &err);
	return tool_fail_library(b->target, ret, &err);
}

static int run(struct command *cmd)
{
	static const char *const head[] = {
		"case", "engine", "I/Os", "s", "MB/s", "I/Os/s", "CPU ns/page",
	};
	struct output out = { .table = TABLE(head), .json = cmd->json };
	struct bench *b = &cmd->bench;
	struct regions none = { 0 };
	struct target t;
	int status;

	status = may_overwrite(b->target, cmd->force);
	/* What it is was looked at, and allowed, just now. */
	if (!status)
		status = target_check(&t, b->target, &none, true);
	if (status)
		return status;
	if (cmd->json)
		out.list = json_object_new_array();
	status = run_cases(b, &t, &out);
	if (status) {
		json_object_put(out.list);
		table_free(&out.table);
		return status;
	}
	status = cmd->json ? json_print(out.list) : table_print(&out.table);
	if (!status && t.created && !cmd->keep && unlink(b->target))
		status = tool_fail("cannot remove %s: %s", b->target,
				   strerror(errno));
	return status;
}

int cmd_bench(int argc, char **argv)
{
	struct command cmd = {
		.bench.size = 1ull << 30,
		.bench.window = 32,
		.bench.max_extent = 1 << 20,
		.bench.rounds = 3,
		.bench.memory = MAP_FAILED,
	};
	bool shown;
	int status;

	status = tool_take_options("bench", help, options, argc, argv,
				   take_option, &cmd, &shown);
	if (shown)
		return tool_finish_output(0);
	if (!status && optind < argc)
		status = tool_usage("bench", "unexpected argument '%s'",
				    argv[optind]);
	if (!status && (!cmd.bench.target || !*cmd.bench.target))
		status = tool_usage("bench", "no --target is given");
	if (!status) {
		cleanup_start();
		status = run(&cmd);
	}
	if (cmd.bench.memory != MAP_FAILED)
		munmap(cmd.bench.memory, cmd.bench.size);
	return tool_finish_output(cleanup_end(status));
}
