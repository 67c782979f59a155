// SPDX-License-Identifier: GPL-2.0
/* Passes that are in flight while a test does something else. */
#include <time.h>

#include "inflight.h"

void need_slow_rig(struct slow_rig *slow, enum mem_kind kind, size_t pages,
		   uint32_t region_flags)
{
	size_t length = pages * page_size();
	struct rng rng = rng_new(0x510);
	int err;

	memset(slow, 0, sizeof(*slow));
	err = flaky_open(&slow->disk, RIG_HEAD + length + RIG_TAIL);
	if (err)
		need_failed("no device-mapper: %s", strerror(-err));
	need_rig_on(&slow->rig, kind, length, region_flags, slow->disk.path);
	rig_dirty_all(&slow->rig, &rng);
}

void need_delay(struct slow_rig *slow, unsigned int msec)
{
	int err = flaky_set_all(&slow->disk, msec ? FLAKY_DELAY : FLAKY_PASS,
				msec);

	if (err)
		need_failed("no disk with a delay: %s", strerror(-err));
}

void slow_rig_drop(struct slow_rig *slow)
{
	rig_drop(&slow->rig);
	flaky_close(&slow->disk);
}

long now_msec(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void *pass_thread(void *arg)
{
	struct pass *p = arg;
	long start = now_msec();

	p->ret = mr_ioctl(p->r->dev, p->cmd, &p->save);
	p->msec = now_msec() - start;
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

void need_pass_started(struct pass *p)
{
	p->done = false;
	if (pthread_create(&p->thread, NULL, pass_thread, p))
		need_failed("no thread");
}

void need_save_started(struct pass *p, const struct region *r, size_t first,
		       size_t nr)
{
	*p = (struct pass){ .r = r, .cmd = MAPPED_RAM_SAVE };
	p->save = save_args(r, first, nr);
	need_pass_started(p);
}

void need_load_started(struct pass *p, const struct region *r, size_t first,
		       size_t nr)
{
	*p = (struct pass){ .r = r, .cmd = MAPPED_RAM_LOAD };
	p->load = load_args(r, first, nr);
	need_pass_started(p);
}

bool pass_done(struct pass *p)
{
	return __atomic_load_n(&p->done, __ATOMIC_ACQUIRE);
}

int pass_wait(struct pass *p)
{
	pthread_join(p->thread, NULL);
	return p->ret;
}

bool wait_claimed(const struct region *r, size_t page)
{
	long end = now_msec() + 10000;

	while (bit_test(r->dirty, page)) {
		if (now_msec() > end)
			return false;
		usleep(1000);
	}
	/* Claimed comes before submitted; be sure of that, too. */
	usleep(20 * 1000);
	return true;
}

bool region_is_saved(const struct region *r, const struct image *img)
{
	uint8_t *now = malloc(r->length);
	const uint8_t *mem;
	bool ok = true;
	size_t i;

	if (!now || image_read(img, now, r->length, r->offset))
		need_failed("cannot read the image");
	for (i = 0; i < r->nr_pages && ok; i++) {
		mem = region_page(r, i);
		if (bit_test(r->dirty, i))
			ok = false;
		else if (bit_test(r->file, i))
			ok = !memcmp(mem, now + i * r->page_size,
				     r->page_size);
		else
			ok = all_zero(mem, r->page_size);
		if (!ok)
			fprintf(stderr, "# region at %#llx: page %zu is not in the image: dirty %d file %d\n",
				(unsigned long long)r->offset, i,
				bit_test(r->dirty, i), bit_test(r->file, i));
	}
	free(now);
	return ok;
}
