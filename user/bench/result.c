// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What came of the rounds, as one JSON object on one line.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "bench.h"

/* A nanosecond is an instruction when a loop sees it so, this closely. */
#define RATE_ERROR	0.03

static int by_total(const void *a, const void *b)
{
	uint64_t x = job_total(a), y = job_total(b);

	return (x > y) - (x < y);
}

static void add_text(struct json_object *to, const char *key,
		     const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

static void add_int(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_int64(value));
}

/* Two digits behind the point: more would only look exact. */
static void add_ratio(struct json_object *to, const char *key, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.2f", value);
	json_object_object_add(to, key, json_object_new_double_s(value, text));
}

void result_print(const struct options *o, const struct pattern *p,
		  struct job *jobs, uint64_t made, uint64_t scan)
{
	struct json_object *r = json_object_new_object();
	double rate = clock_rate(), pages = p->dirty_pages;
	bool counts = rate > 1 - RATE_ERROR && rate < 1 + RATE_ERROR;
	const struct job *j = &jobs[o->rounds / 2];
	struct utsname name;

	if (!r || uname(&name))
		fail("out of memory");
	qsort(jobs, o->rounds, sizeof(*jobs), by_total);

	add_text(r, "kernel", name.release);
	add_text(r, "case", o->case_name);
	add_text(r, "memory", o->memory);
	add_text(r, "target", o->target_name);
	add_text(r, "image", o->fresh ? "fresh" : "initialised");
	if (o->load)
		add_text(r, "into", o->used ? "used" : "fresh");
	if (o->mapped)
		add_text(r, "then", "mapped");
	if (o->cache) {
		add_text(r, "cache", o->cache);
		add_int(r, "cached_pages", j->cached);
	}
	if (o->beside)
		add_int(r, "flushes", j->flushes);
	if (o->sweep)
		add_text(r, "sweep", o->sweep);
	add_text(r, "engine", o->engine);
	add_int(r, "size", o->size);
	add_int(r, "touched", p->touched);
	add_int(r, "window", o->window);
	add_int(r, "max_extent", o->max_extent);
	if (o->bridge == MRAM_BRIDGE_AUTO)
		add_text(r, "bridge", "auto");
	else
		add_int(r, "bridge", o->bridge);
	add_int(r, "bridge_at_end", j->stats.bridge);
	add_int(r, "threads", o->threads ? o->threads : 1);
	add_int(r, "pages", p->dirty_pages);
	add_int(r, "written", j->stats.written);
	add_int(r, "zero", j->stats.zero);
	add_int(r, "bridged", j->stats.bridged);
	add_int(r, "ios", j->stats.ios);
	add_int(r, "bytes", j->stats.bytes);
	add_int(r, "stats_flags", j->stats.flags);
	add_int(r, "made_bytes", made);
	add_int(r, "session_kernel_bytes", j->kernel_bytes);
	add_int(r, "session_user_bytes", j->user_bytes);
	if (j->calls) {
		add_int(r, "faults", j->faults);
		add_int(r, "calls", j->calls);
		add_ratio(r, "calls_per_page", j->calls / pages);
	}
	if (o->faults)
		add_int(r, "around", o->around);
	add_text(r, "unit", counts ? "instructions" : "nanoseconds");
	add_ratio(r, "insn_per_ns", rate);
	/* Of the whole job, then of its parts. */
	add_ratio(r, counts ? "insn_per_page" : "ns_per_page",
		  job_total(j) / pages);
	add_ratio(r, "in_per_page", j->in / pages);
	add_ratio(r, "pass_per_page", j->pass / pages);
	add_ratio(r, "out_per_page", j->out / pages);
	if (scan)
		add_ratio(r, "scan_per_page", scan / pages);
	add_int(r, "job_ns", job_total(j));
	add_int(r, "in_ns", j->in);
	add_int(r, "pass_ns", j->pass);
	add_int(r, "out_ns", j->out);
	add_int(r, "job_ns_min", job_total(&jobs[0]));
	add_int(r, "job_ns_max", job_total(&jobs[o->rounds - 1]));
	puts(json_object_to_json_string_ext(r, JSON_C_TO_STRING_PLAIN |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
	json_object_put(r);
}
