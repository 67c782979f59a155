// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What save --qmp did. The JSON's keys are an interface: they are described in
 * mapped-ram(1), and more may come.
 */
#include <stdio.h>
#include <stdlib.h>

#include "json.h"
#include "region.h"
#include "save_report.h"
#include "table.h"
#include "tool.h"

void report_add_pass(struct save_report *r, const struct mram_qemu_pass *pass)
{
	struct mram_qemu_pass *grown;

	grown = realloc(r->passes, (r->count + 1) * sizeof(*grown));
	if (!grown) {
		r->failed = true;
		return;
	}
	r->passes = grown;
	grown[r->count++] = *pass;
}

void report_free(struct save_report *r)
{
	free(r->passes);
	r->passes = NULL;
	r->count = 0;
}

static double msec(uint64_t nsec)
{
	return (double)nsec / 1e6;
}

static struct tool_size rate(const struct mram_pass_stats *p)
{
	double seconds = tool_seconds(p->nsec);

	return tool_format_size(seconds > 0 ?
				(uint64_t)((double)p->bytes / seconds) : 0);
}

static int print_passes(const struct save_report *r)
{
	static const char *const head[] = {
		"pass", "guest", "dirty", "written", "zero", "I/Os", "data",
		"rate", "dirtied before", "paused before",
	};
	struct table t = TABLE(head);
	size_t i;

	for (i = 0; i < r->count; i++) {
		const struct mram_qemu_pass *p = &r->passes[i];

		table_add(&t, "%u", p->number);
		table_add(&t, p->last ? "stopped" : "runs");
		table_add(&t, "%llu", (unsigned long long)p->stats.dirty);
		table_add(&t, "%llu", (unsigned long long)p->stats.written);
		table_add(&t, "%llu", (unsigned long long)p->stats.zero);
		table_add(&t, "%llu", (unsigned long long)p->stats.ios);
		table_add(&t, "%s", tool_format_size(p->stats.bytes).text);
		table_add(&t, "%s/s", rate(&p->stats).text);
		if (p->dirty_rate)
			table_add(&t, "%s/s",
				  tool_format_size(p->dirty_rate *
						   REGION_PAGE_SIZE).text);
		else
			table_add(&t, "-");
		if (p->paused_nsec)
			table_add(&t, "%.1f ms", msec(p->paused_nsec));
		else
			table_add(&t, "-");
	}
	return table_print(&t);
}

int report_print(const struct save_report *r, const struct mram_qemu *q,
		 const struct mram_qemu_save_stats *s)
{
	struct mram_qemu_info info = { .size = sizeof(info) };

	if (r->failed)
		return tool_fail("out of memory");
	if (print_passes(r))
		return TOOL_FAILED;
	mram_qemu_info(q, &info);
	printf("%u blocks saved: %llu pages written, %llu zero, %llu I/Os, %s, device state %s, engine %s, %.2f s\n",
	       s->blocks, (unsigned long long)s->total.written,
	       (unsigned long long)s->total.zero,
	       (unsigned long long)s->total.ios,
	       tool_format_size(s->total.bytes).text,
	       tool_format_size(s->state_bytes).text, s->engine,
	       tool_seconds(s->nsec));
	if (s->compared)
		printf("%llu of %llu pages of the old image were still right\n",
		       (unsigned long long)s->same,
		       (unsigned long long)s->compared);
	if (info.running)
		printf("downtime %.1f ms, pauses before %.1f ms\n",
		       msec(s->downtime_nsec), msec(s->paused_nsec));
	else
		puts("the virtual machine did not run, and is in state postmigrate now");
	if (s->total.flags & MRAM_STATS_BUFFERED)
		tool_warn("%s: the file system did not write directly; pages of the image went through the page cache",
			  r->image);
	return 0;
}

/* ------------------------------------------------------------------- JSON */

static bool add_stats(json_object *o, const struct mram_pass_stats *p)
{
	return json_add_number(o, "dirty", p->dirty) &&
	       json_add_number(o, "written", p->written) &&
	       json_add_number(o, "zero", p->zero) &&
	       json_add_number(o, "bridged", p->bridged) &&
	       json_add_number(o, "bridge", p->bridge) &&
	       json_add_number(o, "ios", p->ios) &&
	       json_add_number(o, "bytes", p->bytes) &&
	       json_add_number(o, "nsec", p->nsec);
}

static json_object *json_pass(const struct mram_qemu_pass *p)
{
	json_object *o = json_object_new_object();

	if (o && json_add_number(o, "pass", p->number) &&
	    json_add(o, "stopped", json_object_new_boolean(p->last)) &&
	    add_stats(o, &p->stats) &&
	    json_add_number(o, "dirty_rate", p->dirty_rate) &&
	    json_add_number(o, "paused_nsec", p->paused_nsec))
		return o;
	json_object_put(o);
	return NULL;
}

static json_object *json_passes(const struct save_report *r)
{
	json_object *list = r->failed ? NULL : json_object_new_array();
	size_t i;

	for (i = 0; list && i < r->count; i++)
		list = json_append(list, json_pass(&r->passes[i]));
	return list;
}

int report_json(const struct save_report *r,
		const struct mram_qemu_save_stats *s)
{
	json_object *o = json_object_new_object();

	if (o && json_add(o, "passes", json_passes(r)) &&
	    json_add_number(o, "blocks", s->blocks) &&
	    add_stats(o, &s->total) &&
	    json_add_number(o, "compared", s->compared) &&
	    json_add_number(o, "same", s->same) &&
	    json_add_number(o, "state_bytes", s->state_bytes) &&
	    json_add_number(o, "total_nsec", s->nsec) &&
	    json_add_number(o, "downtime_nsec", s->downtime_nsec) &&
	    json_add_number(o, "paused_nsec", s->paused_nsec) &&
	    json_add(o, "engine", json_text(s->engine)) &&
	    json_add(o, "buffered", json_object_new_boolean(
				s->total.flags & MRAM_STATS_BUFFERED)))
		return json_print(o);
	json_object_put(o);
	return json_print(NULL);
}
