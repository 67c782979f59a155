// SPDX-License-Identifier: GPL-2.0
/* What the kernel says of a piece of memory: how much of it exists. */
#include "common.h"

/* Page tables and pages that the test itself may come to need meanwhile */
#define SLACK_KB	64

struct account account_now(const struct mem *mem)
{
	struct account now;
	struct stat st = { 0 };

	now.rss = mapping_rss_kb(mem->addr);
	now.huge_free = meminfo_kb("HugePages_Free");
	if (mem->fd >= 0)
		fstat(mem->fd, &st);
	now.blocks = st.st_blocks;
	now.tables = self_status_kb("VmPTE");
	return now;
}

int account_differs(const struct account *before, const struct mem *mem,
		    char *why, size_t size)
{
	struct account now = account_now(mem);

	if (before->rss == now.rss && before->blocks == now.blocks &&
	    before->huge_free == now.huge_free &&
	    now.tables <= before->tables + SLACK_KB)
		return 0;
	snprintf(why, size, "rss %ld -> %ld, blocks %ld -> %ld, free huge pages %ld -> %ld, tables %ld -> %ld",
		 before->rss, now.rss, before->blocks, now.blocks,
		 before->huge_free, now.huge_free, before->tables, now.tables);
	return -1;
}
