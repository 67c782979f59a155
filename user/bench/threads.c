// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mram-bench --threads: several threads save disjoint parts of one region at
 * the same time. The library makes one pass at a time, so this speaks to the
 * module itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mapped_ram.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define MAX_THREADS	64

/* Where the pages lie in the image: behind what a header would take. */
#define PAGES_OFFSET	(1ull << 20)

struct region {
	int fd;
	uint32_t id;
	uint64_t *dirty;
	size_t bitmap_size;
};

struct thread {
	pthread_t thread;
	const struct region *r;
	struct mapped_ram_save save;
	pthread_barrier_t *start;
	int error;
};

static struct region make_region(const struct options *o,
				 const struct memory *m)
{
	struct mapped_ram_image_set set = { .size = sizeof(set) };
	struct mapped_ram_region_add add = {
		.size = sizeof(add),
		.user_addr = (uintptr_t)m->p,
		.length = m->size,
		.pages_offset = PAGES_OFFSET,
		.page_size = PAGE,
	};
	struct region r;
	struct stat st;

	set.fd = open(o->target, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (set.fd < 0 || fstat(set.fd, &st) ||
	    (S_ISREG(st.st_mode) && ftruncate(set.fd, PAGES_OFFSET + m->size)))
		fail("%s: %m", o->target);
	if (!strcmp(o->engine, "module-pin"))
		add.flags |= MAPPED_RAM_REGION_PIN;
	else if (strcmp(o->engine, "module"))
		fail("several threads are for engine module or module-pin");
	r.fd = open(MAPPED_RAM_DEVICE, O_RDWR | O_CLOEXEC);
	if (r.fd < 0 || ioctl(r.fd, MAPPED_RAM_IMAGE_SET, &set) ||
	    ioctl(r.fd, MAPPED_RAM_REGION_ADD, &add))
		fail("%s: %m", MAPPED_RAM_DEVICE);
	close(set.fd);
	r.id = add.out_region_id;
	r.bitmap_size = add.out_bitmap_size;
	r.dirty = mmap(NULL, r.bitmap_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       r.fd, add.out_dirty_offset);
	if (r.dirty == MAP_FAILED)
		fail("cannot map the dirty bitmap: %m");
	return r;
}

static void *save(void *data)
{
	struct thread *t = data;

	pthread_barrier_wait(t->start);
	if (ioctl(t->r->fd, MAPPED_RAM_SAVE, &t->save))
		t->error = errno;
	return NULL;
}

/* Save everything once; the nanoseconds of the slowest. */
static struct job run(const struct options *o, const struct pattern *p,
		      const struct region *r)
{
	uint64_t part = p->pages / o->threads / 64 * 64, start;
	bool choose = o->bridge == MRAM_BRIDGE_AUTO;
	struct thread threads[MAX_THREADS];
	pthread_barrier_t barrier;
	struct job j = { 0 };
	int i;

	memcpy(r->dirty, p->dirty, (p->pages + 63) / 64 * 8);
	pthread_barrier_init(&barrier, NULL, o->threads + 1);
	for (i = 0; i < o->threads; i++) {
		threads[i] = (struct thread){
			.r = r,
			.start = &barrier,
			.save = {
				.size = sizeof(threads[i].save),
				.flags = MAPPED_RAM_SAVE_STOPPED |
					 (choose ? MAPPED_RAM_SAVE_BRIDGE_AUTO :
						   0),
				.region_id = r->id,
				.window = o->window,
				.first_page = i * part,
				.nr_pages = i == o->threads - 1 ?
					    p->pages - i * part : part,
				.bridge = choose ? 0 : o->bridge,
				.max_extent = o->max_extent,
			},
		};
		if (pthread_create(&threads[i].thread, NULL, save, &threads[i]))
			fail("no more threads");
	}
	/* Behind the barrier some may be done before this thread goes on. */
	start = clock_now();
	pthread_barrier_wait(&barrier);
	for (i = 0; i < o->threads; i++) {
		pthread_join(threads[i].thread, NULL);
		if (threads[i].error)
			fail("SAVE: %s", strerror(threads[i].error));
		j.stats.written += threads[i].save.out_written_pages;
		j.stats.zero += threads[i].save.out_zero_pages;
		j.stats.bridged += threads[i].save.out_bridged_pages;
		j.stats.bridge = threads[i].save.out_bridge;
		j.stats.ios += threads[i].save.out_ios;
		j.stats.bytes += threads[i].save.out_bytes;
	}
	j.pass = clock_now() - start;
	pthread_barrier_destroy(&barrier);
	if (j.stats.written + j.stats.zero != p->dirty_pages)
		fail("%llu pages were saved, not %llu",
		     (unsigned long long)(j.stats.written + j.stats.zero),
		     (unsigned long long)p->dirty_pages);
	return j;
}

void threads_run(const struct options *o, const struct memory *m,
		 const struct pattern *p, struct job *jobs)
{
	struct region r;
	int i;

	if (o->threads > MAX_THREADS)
		fail("%d threads at most", MAX_THREADS);
	r = make_region(o, m);
	for (i = -1; i < o->rounds; i++) {
		perf_tell(o, "enable\n");
		jobs[i < 0 ? 0 : i] = run(o, p, &r);
		perf_tell(o, "disable\n");
	}
	munmap(r.dirty, r.bitmap_size);
	close(r.fd);
}
