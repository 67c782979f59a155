// SPDX-License-Identifier: GPL-2.0
/*
 * The engine bio: the I/Os that the module's plan makes of a case, as raw bios
 * of pages that were got before, and nothing else. No bitmap comes in or goes
 * out, nothing is looked at; a commit is two blocks, each written and flushed: it
 * is the floor that no engine gets under with the same I/Os. A module of its own
 * does it, see floor/mram_floor.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../kmod/plan.c"

#include "bench.h"
#include "floor/mram_floor.h"

/* The module plans so many pages at a time: an I/O does not reach further. */
#define CHUNK_PAGES	4096u

/* Where page 0 lies in the image: behind what a header would take. */
#define PAGES_OFFSET	(1ull << 20)

/* The module's default, as in job_run() */
#define DEFAULT_EXTENT	(1u << 20)

/* The extents of all chunks; every clean page may be bridged. */
static struct mram_floor_extent *plan(const struct options *o,
				      const struct pattern *p,
				      struct mram_pass_stats *stats)
{
	uint64_t join[CHUNK_PAGES / 64], base, w, pos;
	struct mram_floor_extent *extents;
	struct mram_extent x;

	extents = calloc(p->dirty_pages, sizeof(*extents));
	if (!extents)
		fail("out of memory");
	for (base = 0; base < p->pages; base += CHUNK_PAGES) {
		const struct mram_plan plan = {
			.need = (const unsigned long *)(p->dirty + base / 64),
			.join = (const unsigned long *)join,
			.nr = min(p->pages - base, (uint64_t)CHUNK_PAGES),
			.bridge = o->bridge,
			.max = (o->max_extent ? o->max_extent :
						DEFAULT_EXTENT) / PAGE,
		};

		for (w = 0; w < plan.nr / 64; w++)
			join[w] = ~p->dirty[base / 64 + w];
		for (pos = 0; mram_plan_next(&plan, pos, &x);
		     pos = x.start + x.nr) {
			extents[stats->ios++] = (struct mram_floor_extent){
				.page = base + x.start,
				.nr = x.nr,
			};
			stats->bytes += x.nr * PAGE;
		}
	}
	stats->dirty = stats->written = p->dirty_pages;
	stats->bridged = stats->bytes / PAGE - p->dirty_pages;
	return extents;
}

void bio_run(const struct options *o, const struct memory *m,
	     const struct pattern *p, struct job *jobs)
{
	struct mram_pass_stats stats = { .size = sizeof(stats) };
	struct mram_floor_set set = {
		.window = o->window,
		.addr = (uintptr_t)m->p,
		.pages = p->pages,
		.offset = PAGES_OFFSET,
	};
	struct mram_floor_extent *extents = plan(o, p, &stats);
	uint64_t start, end;
	int fd, i;

	set.extents = (uintptr_t)extents;
	set.nr = stats.ios;
	set.fd = open(o->target, O_RDWR | O_CLOEXEC);
	fd = open(MRAM_FLOOR_DEVICE, O_RDWR | O_CLOEXEC);
	if (set.fd < 0 || fd < 0)
		fail("%s: %m", fd < 0 ? MRAM_FLOOR_DEVICE : o->target);
	if (ioctl(fd, MRAM_FLOOR_SET, &set))
		fail("engine bio: %s: %m", o->target);
	for (i = -1; i < o->rounds; i++) {
		struct job *j = &jobs[i < 0 ? 0 : i];

		*j = (struct job){ .stats = stats };
		perf_tell(o, "enable\n");
		start = clock_now();
		if (ioctl(fd, MRAM_FLOOR_RUN))
			fail("engine bio: %s: %m", o->target);
		end = clock_now();
		j->pass = end - start;
		if (ioctl(fd, MRAM_FLOOR_COMMIT))
			fail("engine bio: commit: %s: %m", o->target);
		j->out = clock_now() - end;
		perf_tell(o, "disable\n");
	}
	close(fd);
	close(set.fd);
	free(extents);
}
