// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram verify: can every page that an image holds be read?
 */
#include <stdio.h>

#include "cleanup.h"
#include "facts.h"
#include "json.h"
#include "lock.h"
#include "progress.h"
#include "tool.h"

static const char help[] =
"usage: mapped-ram verify [--json] [--offset SIZE] IMAGE\n"
"\n"
"Check the structure of IMAGE, and read every page that it holds. The exit\n"
"status is 0 if all is well; else what is wrong is said on stderr.\n"
"\n"
"  --json         print JSON\n"
"  --offset SIZE  the image does not begin at the start of IMAGE but here\n"
"  --help, -h     this text\n"
"\n"
"SIZE is in bytes, or with K, M, G or T behind it.\n";

struct verify {
	struct facts facts;
	uint64_t pages_read;
	uint64_t bytes_read;
	uint64_t nsec;
	bool direct;
};

static int on_progress(void *data, uint64_t done, uint64_t total)
{
	const struct verify *v = data;

	(void)total;
	progress_update(v->pages_read + done);
	return cleanup_interrupted();
}

static int read_block(struct verify *v, int i)
{
	struct mram_scan_opts opts = MRAM_OPTS(mram_scan_opts,
					       .progress = on_progress,
					       .data = v);
	struct mram_scan_stats stats = { .size = sizeof(stats) };
	struct mram_error err = { 0 };
	int ret;

	ret = mram_image_verify(v->facts.image, i, &opts, &stats, &err);
	if (ret && cleanup_interrupted())
		return tool_fail("interrupted");
	if (ret)
		return tool_fail_library(v->facts.path, ret, &err);
	v->pages_read += stats.read;
	v->bytes_read += stats.bytes;
	if (stats.flags & MRAM_STATS_BUFFERED)
		v->direct = false;
	return 0;
}

static int print_json(const struct verify *v)
{
	json_object *o = facts_json(&v->facts);

	if (o && json_add_number(o, "pages_read", v->pages_read) &&
	    json_add_number(o, "bytes_read", v->bytes_read) &&
	    json_add(o, "seconds",
		     json_object_new_double(tool_seconds(v->nsec))) &&
	    json_add(o, "direct", json_object_new_boolean(v->direct)))
		return json_print(o);
	json_object_put(o);
	return json_print(NULL);
}

static int verify(struct verify *v, bool json)
{
	uint64_t start = tool_now();
	int i;

	v->direct = true;
	progress_start("verifying", v->facts.set_pages, v->facts.set_bytes);
	for (i = 0; i < v->facts.count; i++)
		if (read_block(v, i))
			return TOOL_FAILED;
	progress_end();
	v->nsec = tool_now() - start;
	if (json)
		return print_json(v);
	printf("%d %s good: %llu pages read, %llu zero, %s, %.2f s%s\n",
	       v->facts.count, v->facts.count == 1 ? "block" : "blocks",
	       (unsigned long long)v->pages_read,
	       (unsigned long long)(v->facts.pages - v->facts.set_pages),
	       tool_format_size(v->bytes_read).text, tool_seconds(v->nsec),
	       v->direct ? "" : ", through the page cache");
	return 0;
}

int cmd_verify(int argc, char **argv)
{
	struct tool_reading args = { .command = "verify" };
	struct verify v = { 0 };
	bool shown;
	int status;

	status = tool_take_reading(&args, help, argc, argv, &shown);
	if (status || shown)
		return tool_finish_output(status);

	cleanup_start();
	status = lock_image(args.image, IMAGE_READ);
	if (!status)
		status = facts_gather(&v.facts, args.image, args.offset);
	if (!status)
		status = verify(&v, args.json);
	facts_free(&v.facts);
	return tool_finish_output(cleanup_end(status));
}
