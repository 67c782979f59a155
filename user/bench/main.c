// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mram-bench: options, and the rounds. Usage: see usage() below.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const char usage[] =
"Usage: mram-bench --target PATH [OPTION]...\n"
"\n"
"Saves or loads memory once to warm up, then --rounds times, and prints what it\n"
"took as a JSON object; with several engines, the same memory with each. PATH\n"
"is overwritten.\n"
"\n"
"  --case NAME      full, zero, untouched, scatter25, random1, hot,\n"
"                   load-full, load-sparse, load-scattered, lazy-full,\n"
"                   lazy-sparse, lazy-scattered, lazy-faults (full)\n"
"  --memory KIND    anon, shuffled, thp, hugetlb, memfd, hugetlbfs (thp)\n"
"  --engine NAME[,NAME]...\n"
"                   module, module-pin, uring, uring-plain, pwrite, bio;\n"
"                   to load: module, uring, pread, populate, buffered, lazy,\n"
"                   copy, and lazy-1: with one thread for faults; move,\n"
"                   move-copied, minor: streamed with other ioctls (module)\n"
"  --size MIB       of the memory (256)\n"
"  --touched MIB    of it, what the case untouched touches (64)\n"
"  --window N       most I/Os in flight (32)\n"
"  --max-extent KIB most of one I/O (1024; 0 for the engine's choice)\n"
"  --bridge N       clean pages written along, at most, or auto (0)\n"
"  --fresh          write into holes of the file\n"
"  --used           load into memory that is in use\n"
"  --mapped         map what was loaded, as who uses it will\n"
"  --around KIB     of the case lazy-faults: read along with a page (64)\n"
"  --beside         a thread runs on another processor while it is loaded\n"
"  --cache STATE    cold or warm: the image's page cache before a load\n"
"  --threads N      save by N threads at once, each a part of the memory\n"
"  --rounds N       jobs to measure (3)\n"
"  --target-name T  what to call the target in the result\n"
"  --sweep NAME     said in the result\n"
"  --perf CTL,ACK   pipes of perf record --control\n";

void fail(const char *format, ...)
{
	va_list args;

	fputs("mram-bench: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static uint64_t number(const char *text, uint64_t most)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || end == text || *text == '-' || n > most)
		fail("%s is not a number from 0 to %llu", text,
		     (unsigned long long)most);
	return n;
}

enum {
	CASE = 1, MEMORY, ENGINE, SIZE, TOUCHED, WINDOW, MAX_EXTENT, BRIDGE,
	FRESH, USED, MAPPED, AROUND, BESIDE, CACHE, THREADS, ROUNDS, TARGET,
	TARGET_NAME, SWEEP, PERF, HELP,
};

static const struct option longs[] = {
	{ "case", required_argument, NULL, CASE },
	{ "memory", required_argument, NULL, MEMORY },
	{ "engine", required_argument, NULL, ENGINE },
	{ "size", required_argument, NULL, SIZE },
	{ "touched", required_argument, NULL, TOUCHED },
	{ "window", required_argument, NULL, WINDOW },
	{ "max-extent", required_argument, NULL, MAX_EXTENT },
	{ "bridge", required_argument, NULL, BRIDGE },
	{ "fresh", no_argument, NULL, FRESH },
	{ "used", no_argument, NULL, USED },
	{ "mapped", no_argument, NULL, MAPPED },
	{ "around", required_argument, NULL, AROUND },
	{ "beside", no_argument, NULL, BESIDE },
	{ "cache", required_argument, NULL, CACHE },
	{ "threads", required_argument, NULL, THREADS },
	{ "rounds", required_argument, NULL, ROUNDS },
	{ "target", required_argument, NULL, TARGET },
	{ "target-name", required_argument, NULL, TARGET_NAME },
	{ "sweep", required_argument, NULL, SWEEP },
	{ "perf", required_argument, NULL, PERF },
	{ "help", no_argument, NULL, HELP },
	{ 0 },
};

static void split(char *pair, const char **first, const char **second)
{
	char *comma = pair;

	while (*comma && *comma != ',')
		comma++;
	if (!*comma)
		fail("--perf wants two paths: CTL,ACK");
	*comma = 0;
	*first = pair;
	*second = comma + 1;
}

static void set(struct options *o, int option, char *value)
{
	switch (option) {
	case CASE:
		o->case_name = value;
		break;
	case MEMORY:
		o->memory = value;
		break;
	case ENGINE:
		o->engine = value;
		break;
	case SIZE:
		o->size = number(value, 1 << 24) << 20;
		break;
	case TOUCHED:
		o->touched = number(value, 1 << 24) << 20;
		break;
	case WINDOW:
		o->window = number(value, 1 << 16);
		break;
	case MAX_EXTENT:
		o->max_extent = number(value, 1 << 20) << 10;
		break;
	case BRIDGE:
		o->bridge = !strcmp(value, "auto") ? MRAM_BRIDGE_AUTO :
			    number(value, 1 << 20);
		break;
	case FRESH:
		o->fresh = true;
		break;
	case USED:
		o->used = true;
		break;
	case MAPPED:
		o->mapped = true;
		break;
	case AROUND:
		o->around = number(value, 1 << 16) << 10;
		break;
	case BESIDE:
		o->beside = true;
		break;
	case CACHE:
		if (strcmp(value, "cold") && strcmp(value, "warm"))
			fail("the page cache is cold or warm, not %s", value);
		o->cache = value;
		break;
	case THREADS:
		o->threads = number(value, 64);
		break;
	case ROUNDS:
		o->rounds = number(value, MAX_ROUNDS);
		break;
	case TARGET:
		o->target = value;
		break;
	case TARGET_NAME:
		o->target_name = value;
		break;
	case SWEEP:
		o->sweep = value;
		break;
	case PERF:
		split(value, &o->perf_control, &o->perf_ack);
		break;
	case HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static void rounds(const struct options *o, const struct memory *m,
		   const struct pattern *p)
{
	struct job jobs[MAX_ROUNDS];
	uint64_t before, made, scan = 0;
	bool bio = !strcmp(o->engine, "bio");
	int i;

	before = memory_present(m);
	/* The first one warms up. */
	for (i = -1; i < o->rounds && !o->threads && !bio; i++)
		jobs[i < 0 ? 0 : i] = (o->load ? load_run : job_run)(o, m, p);
	if (bio)
		bio_run(o, m, p, jobs);
	else if (o->threads)
		threads_run(o, m, p, jobs);
	made = memory_present(m) - before;
	if (!strcmp(o->case_name, "zero"))
		scan = memory_scan(m);
	result_print(o, p, jobs, made, scan);
}

int main(int argc, char **argv)
{
	struct options o = {
		.case_name = "full",
		.memory = "thp",
		.engine = "module",
		.size = 256 << 20,
		.touched = 64 << 20,
		.window = 32,
		.max_extent = 1 << 20,
		.rounds = 3,
	};
	char *engines, *next;
	struct pattern p;
	struct memory m;
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1)
		set(&o, option, optarg);
	if (optind < argc || !o.target || !o.rounds || !o.size ||
	    o.size % HUGE)
		set(&o, '?', NULL);
	if (!o.target_name)
		o.target_name = o.target;

	o.load = !strncmp(o.case_name, "load-", 5) ||
		 !strncmp(o.case_name, "lazy-", 5);
	o.faults = !strcmp(o.case_name, "lazy-faults");
	m = memory_make(o.memory, o.size);
	p = pattern_make(&o, &m);
	memory_check(&m, p.touched);
	engines = strdup(o.engine);
	if (!engines)
		fail("out of memory");
	for (o.engine = strtok_r(engines, ",", &next); o.engine;
	     o.engine = strtok_r(NULL, ",", &next))
		rounds(&o, &m, &p);
	free(engines);
	return 0;
}
