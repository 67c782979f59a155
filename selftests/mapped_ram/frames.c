// SPDX-License-Identifier: GPL-2.0
/*
 * Page frames of anonymous memory that is gone: one that still says to be
 * anonymous, but is mapped nowhere, is held by a reference that somebody
 * forgot to drop.
 */
#include <linux/kernel-page-flags.h>

#include "common.h"

struct frames *need_frames(const void *mem, size_t length)
{
	size_t pages = length / page_size(), i;
	struct frames *f = malloc(sizeof(*f) + pages * sizeof(f->pfn[0]));
	uint64_t entry;

	if (!f || pagemap_read(mem, pages, f->pfn))
		need_failed("no pagemap");
	f->nr = 0;
	for (i = 0; i < pages; i++) {
		entry = f->pfn[i];
		if (entry & PAGEMAP_PRESENT && entry & PAGEMAP_FRAME)
			f->pfn[f->nr++] = entry & PAGEMAP_FRAME;
	}
	return f;
}

static long count_held(const struct frames *f, int flags_fd, int count_fd)
{
	uint64_t flags, maps;
	long held = 0;
	size_t i;

	for (i = 0; i < f->nr; i++) {
		if (pread(flags_fd, &flags, 8, f->pfn[i] * 8) != 8 ||
		    pread(count_fd, &maps, 8, f->pfn[i] * 8) != 8)
			need_failed("/proc/kpageflags: %m");
		held += flags >> KPF_ANON & 1 && !maps;
	}
	return held;
}

long frames_held(struct frames *f)
{
	int flags_fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	int count_fd = open("/proc/kpagecount", O_RDONLY | O_CLOEXEC);
	long held;
	int tries;

	if (flags_fd < 0 || count_fd < 0)
		need_failed("/proc/kpageflags: %m");
	held = count_held(f, flags_fd, count_fd);
	for (tries = 0; held && tries < 10; tries++) {
		/* Drains the queues on each CPU, which hold pages for a while */
		write_file("/proc/sys/vm/compact_memory", "1");
		usleep(500 * 1000);
		held = count_held(f, flags_fd, count_fd);
	}
	close(flags_fd);
	close(count_fd);
	free(f);
	return held;
}
