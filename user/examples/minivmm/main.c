// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The command line of minivmm.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "minivmm.h"

static const char usage_text[] =
"Usage: minivmm --image FILE [OPTION]... save-live|restore\n"
"\n"
"save-live starts a guest that keeps changing its memory, and saves it to FILE\n"
"while it runs. restore reads FILE, lets the guest go on, and checks its memory.\n"
"\n"
"  --image FILE          the image: a file or a block device\n"
"  --engine NAME         module, uring or pwrite (the first that works here)\n"
"  --ram KIND            anon, memfd, hugetlb or thp (anon)\n"
"  --dump FILE           save-live: write the memory to FILE as well\n"
"                        restore: compare the memory with FILE\n"
"  --json FILE           write the results to FILE\n"
"  --help                show this\n"
"\n"
"save-live only:\n"
"  --mem MIB             the guest's memory (64)\n"
"  --warm-up STEPS       run so far before saving; each step changes a page\n"
"                        (12000)\n"
"  --dirty-rate N        then at most N steps a second, 0: no limit (1000)\n"
"  --downtime-pages N    stop the guest when so few pages are dirty (300)\n"
"  --max-passes N        or after so many passes (10)\n"
"  --bridge N            write up to N clean pages along to join two runs of\n"
"                        dirty ones; auto: as many as pay (8)\n"
"  --tracker NAME        what tells which pages were written: kvm, its dirty log,\n"
"                        or scan, write protection and PAGEMAP_SCAN (kvm)\n"
"  --manual-protect      use KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2\n"
"\n"
"restore only:\n"
"  --run STEPS           how far the guest shall go on (2000)\n"
"  --clone               map the image copy-on-write instead of reading it; for\n"
"                        anon and thp\n"
"  --lazy                let the guest run at once, and read meanwhile\n"
"  --lazy-socket SOCKET  the same, read by 'mapped-ram restore --lazy SOCKET'\n"
"  --lazy-steps STEPS    with --lazy, the guest's first steps: only what it\n"
"                        touches is read, unless there is a working set (0)\n"
"  --fault-around BYTES  with --lazy, read so much around what it touches\n"
"  --record FILE         with --lazy, write there what it touched first\n"
"  --working-set FILE    with --lazy, bring first what was recorded there\n"
"  --await               and let the guest wait for that\n"
"\n"
"Exit status: 0 when all is right, 1 when something failed or is wrong, 2 when\n"
"the command line is.\n";

static const struct option long_options[] = {
	{ "image", required_argument, NULL, 'i' },
	{ "engine", required_argument, NULL, 'e' },
	{ "ram", required_argument, NULL, 'r' },
	{ "dump", required_argument, NULL, 'd' },
	{ "json", required_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ "mem", required_argument, NULL, 'm' },
	{ "warm-up", required_argument, NULL, 'w' },
	{ "dirty-rate", required_argument, NULL, 'R' },
	{ "downtime-pages", required_argument, NULL, 'D' },
	{ "max-passes", required_argument, NULL, 'P' },
	{ "bridge", required_argument, NULL, 'b' },
	{ "tracker", required_argument, NULL, 't' },
	{ "manual-protect", no_argument, NULL, 'M' },
	{ "run", required_argument, NULL, 'n' },
	{ "clone", no_argument, NULL, 'C' },
	{ "lazy", no_argument, NULL, 'l' },
	{ "lazy-socket", required_argument, NULL, 'L' },
	{ "lazy-steps", required_argument, NULL, 's' },
	{ "fault-around", required_argument, NULL, 'a' },
	{ "record", required_argument, NULL, 'c' },
	{ "working-set", required_argument, NULL, 'W' },
	{ "await", no_argument, NULL, 'A' },
	{ }
};

static void wrong_usage(const char *what, const char *value)
{
	fprintf(stderr, "minivmm: %s%s; see minivmm --help\n", what, value);
	exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max)
		wrong_usage("not a number, or too large: ", text);
	return value;
}

static void set_fill(struct options *o, enum fill fill)
{
	if (o->fill != FILL_EAGER)
		wrong_usage("only one of --clone, --lazy and --lazy-socket", "");
	o->fill = fill;
}

static void check(const struct options *o, const char *command)
{
	bool lazy_only = o->record || o->working_set || o->fault_around ||
			 o->lazy_steps;

	if (lazy_only && o->fill != FILL_LAZY)
		wrong_usage("--lazy-steps, --fault-around, --record and --working-set want --lazy",
			    "");
	if (o->scan && o->manual_protect)
		wrong_usage("--manual-protect is for the tracker kvm", "");
	if (o->await && !o->working_set)
		wrong_usage("--await wants --working-set", "");
	if (o->fill == FILL_CLONE && o->ram != RAM_ANON && o->ram != RAM_THP)
		wrong_usage("a clone's memory is anon or thp, not ",
			    ram_kind_name(o->ram));
	if (o->fill != FILL_EAGER && strcmp(command, "restore"))
		wrong_usage("--clone and --lazy are for restore, not ", command);
}

int main(int argc, char **argv)
{
	struct options o = {
		.mem_mib = 64,
		.warm_up = 12000,
		.dirty_rate = 1000,
		.downtime_pages = 300,
		.max_passes = 10,
		.bridge = 8,
		.run = 2000,
	};
	int c, kind;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'i':
			o.image = optarg;
			break;
		case 'e':
			o.engine = optarg;
			break;
		case 'd':
			o.dump = optarg;
			break;
		case 'j':
			o.json = optarg;
			break;
		case 'm':
			o.mem_mib = number(optarg, MEM_MAX);
			break;
		case 'w':
			o.warm_up = number(optarg, UINT32_MAX);
			break;
		case 'R':
			o.dirty_rate = number(optarg, UINT32_MAX);
			break;
		case 'D':
			o.downtime_pages = number(optarg, UINT32_MAX);
			break;
		case 'P':
			o.max_passes = number(optarg, MAX_PASSES);
			break;
		case 'b':
			o.bridge = !strcmp(optarg, "auto") ? MRAM_BRIDGE_AUTO :
				   number(optarg, MRAM_BRIDGE_AUTO - 1);
			break;
		case 'n':
			o.run = number(optarg, UINT32_MAX);
			break;
		case 't':
			o.scan = !strcmp(optarg, "scan");
			if (!o.scan && strcmp(optarg, "kvm"))
				wrong_usage("no such tracker: ", optarg);
			break;
		case 'M':
			o.manual_protect = true;
			break;
		case 'C':
			set_fill(&o, FILL_CLONE);
			break;
		case 'l':
			set_fill(&o, FILL_LAZY);
			break;
		case 'L':
			set_fill(&o, FILL_HANDLER);
			o.handler = optarg;
			break;
		case 's':
			o.lazy_steps = number(optarg, UINT32_MAX);
			break;
		case 'a':
			o.fault_around = number(optarg, UINT32_MAX);
			break;
		case 'c':
			o.record = optarg;
			break;
		case 'A':
			o.await = true;
			break;
		case 'W':
			o.working_set = optarg;
			break;
		case 'r':
			kind = ram_kind_parse(optarg);
			if (kind < 0)
				wrong_usage("no such kind of memory: ", optarg);
			o.ram = kind;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return 2;
		}
	}
	if (optind != argc - 1)
		wrong_usage("say save-live or restore", "");
	if (!o.image)
		wrong_usage("--image is missing", "");
	check(&o, argv[optind]);

	if (!strcmp(argv[optind], "save-live"))
		return save_live(&o);
	if (!strcmp(argv[optind], "restore"))
		return restore(&o);
	wrong_usage("no such command: ", argv[optind]);
}
