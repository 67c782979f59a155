// SPDX-License-Identifier: GPL-2.0
/* Passes that are in flight while a test does something else. */
#include <sys/syscall.h>

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

void need_held(struct slow_rig *slow, size_t first)
{
	int err = flaky_hold_from(&slow->disk, RIG_HEAD + first * page_size());

	if (err)
		need_failed("no disk that holds what it is given: %s",
			    strerror(-err));
}

void slow_rig_drop(struct slow_rig *slow)
{
	rig_drop(&slow->rig);
	flaky_close(&slow->disk);
}

static void *pass_thread(void *arg)
{
	struct pass *p = arg;

	__atomic_store_n(&p->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	p->ret = mr_ioctl(p->r->dev, p->cmd, &p->save);
	__atomic_store_n(&p->done, true, __ATOMIC_RELEASE);
	return NULL;
}

void need_pass_started(struct pass *p)
{
	p->done = false;
	p->tid = 0;
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

/* The start of a file of the kernel's, which may be gone */
static void read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

	text[got < 0 ? 0 : got] = '\0';
	if (fd >= 0)
		close(fd);
}

bool wait_held(struct flaky *disk, int nr, struct pass *p)
{
	int held;

	while ((held = flaky_held(disk)) < nr) {
		if (held < 0)
			need_failed("%s: %s", disk->path, strerror(-held));
		if (p && pass_done(p))
			return false;
		usleep(1000);
	}
	return true;
}

void wait_in_flight(const char *path, struct pass *p)
{
	unsigned int reads, writes;
	char sys[64], text[64];

	snprintf(sys, sizeof(sys), "/sys/block/%s/inflight",
		 strrchr(path, '/') + 1);
	do {
		usleep(1000);
		read_text(sys, text, sizeof(text));
		if (sscanf(text, "%u %u", &reads, &writes) != 2)
			need_failed("%s: \"%s\"", sys, text);
	} while (!reads && !writes && !pass_done(p));
}

void wait_asleep(struct pass *p)
{
	char proc[64], text[64], in_ioctl[16];
	size_t length;

	length = snprintf(in_ioctl, sizeof(in_ioctl), "%d ", SYS_ioctl);
	do {
		usleep(1000);
		snprintf(proc, sizeof(proc), "/proc/self/task/%d/syscall",
			 __atomic_load_n(&p->tid, __ATOMIC_ACQUIRE));
		/* The number of the system call; but "running" if it is */
		read_text(proc, text, sizeof(text));
	} while (strncmp(text, in_ioctl, length) && !pass_done(p));
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
