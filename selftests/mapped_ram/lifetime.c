// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that nothing outlives what it belongs to: the module cannot be
 * unloaded while a session is open or a bitmap is mapped and can be afterwards,
 * and loaded again; pins, their charge, kernel memory, the image's file system
 * and the owner's memory come back as soon as the last user is gone, in
 * whatever order users go.
 */
#include <sys/resource.h>
#include <sys/syscall.h>

#include "inflight.h"
#include "harness.h"

#define PAGES	256

static int unload(void)
{
	return syscall(SYS_delete_module, "mapped_ram", O_NONBLOCK) ?
	       -errno : 0;
}

static int load(void)
{
	const char *path = getenv("MRAM_TEST_KO");
	int fd = open(path ?: "", O_RDONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0))
		ret = -errno;
	close(fd);
	return ret;
}

/* Live allocations of the module, which are those of its bitmaps */
static int vmallocs(void)
{
	char text[32];

	/* Freed ones go in batches; this makes the kernel purge them. */
	shell("cat /proc/vmallocinfo");
	shell_line(text, sizeof(text),
		   "grep -c 'mram_\\|mapped_ram' /proc/vmallocinfo; true");
	/* The module's own code and data do not count. */
	return atoi(text);
}

FIXTURE(lifetime) {
	struct mem mem;
	struct image img;
	long pins;
	int vmallocs;
};

FIXTURE_SETUP(lifetime)
{
	self->pins = pinned_pages();
	self->vmallocs = vmallocs();
	ASSERT_EQ(0, mem_map(&self->mem, MEM_ANON, PAGES * page_size()));
	memset(self->mem.addr, 0x11, self->mem.length);
	need_image_file(&self->img, NULL, 4 * MIB);
}

FIXTURE_TEARDOWN(lifetime)
{
	image_drop(&self->img);
	mem_unmap(&self->mem);
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(self->vmallocs, vmallocs());
}

/* A session that has saved everything once */
static int used_session(const struct mem *mem, const struct image *img,
			struct region *r, uint32_t flags)
{
	struct mapped_ram_save save;
	int dev = mr_open();

	if (dev < 0)
		need_failed("%s: %s", MAPPED_RAM_DEVICE, strerror(-dev));
	if (mr_image_set(dev, img->fd, 0, NULL) ||
	    region_add(r, dev, mem->addr, mem->length, MIB, page_size(), flags))
		need_failed("no session");
	bits_set(r->dirty, 0, r->nr_pages);
	if (region_save(r, &save) || save.out_written_pages != r->nr_pages)
		need_failed("SAVE");
	return dev;
}

/*
 * The module's references: what holds one makes unloading fail at once, and
 * nothing else does.
 */
TEST_F(lifetime, unload)
{
	struct region r;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	close(dev);

	dev = used_session(&self->mem, &self->img, &r, MAPPED_RAM_REGION_PIN);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	close(dev);
	/* Two mappings, one after the other: each alone is enough. */
	EXPECT_EQ(-EWOULDBLOCK, unload());
	munmap(r.dirty, r.bitmap_size);
	r.dirty = NULL;
	EXPECT_EQ(-EWOULDBLOCK, unload());
	bit_set(r.file, 0);
	region_unmap_bitmaps(&r);

	ASSERT_EQ(0, unload());
	EXPECT_GT(0, mr_open());
	EXPECT_EQ(-ENOENT, unload());
	ASSERT_EQ(0, load()) TH_LOG("MRAM_TEST_KO=%s", getenv("MRAM_TEST_KO"));
	EXPECT_EQ(-EEXIST, load());
	/* As good as new */
	dev = used_session(&self->mem, &self->img, &r, 0);
	region_unmap_bitmaps(&r);
	close(dev);
}

/* Not even in the middle of an open or a close */
static void *open_and_close(void *arg)
{
	bool *stop = arg;
	int dev;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		dev = mr_open();
		if (dev >= 0)
			close(dev);
	}
	return NULL;
}

TEST_F(lifetime, unload_and_open_race)
{
	struct rng rng = rng_new(0x4ace);
	bool stop = false;
	pthread_t thread;
	int ret, unloaded = 0;

	ASSERT_EQ(0, pthread_create(&thread, NULL, open_and_close, &stop));
	while (unloaded < 5) {
		ret = unload();
		if (ret == -EWOULDBLOCK) {
			/* The other must run to close what it has open. */
			usleep(rng_below(&rng, 200));
			continue;
		}
		ASSERT_EQ(0, ret);
		unloaded++;
		ASSERT_EQ(0, load());
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

TEST_F(lifetime, unload_during_a_pass)
{
	struct slow_rig slow;
	struct pass p;

	need_slow_rig(&slow, MEM_ANON, 64, 0);
	need_held(&slow, 0);
	need_save_started(&p, &slow.rig.r, 0, 64);
	ASSERT_TRUE(wait_held(&slow.disk, 1, &p));
	/* Neither descriptor nor mapping: only the pass itself */
	region_unmap_bitmaps(&slow.rig.r);
	close(slow.rig.dev);
	slow.rig.dev = open("/dev/null", O_RDONLY);
	EXPECT_EQ(-EWOULDBLOCK, unload());
	EXPECT_FALSE(pass_done(&p));
	need_delay(&slow, 0);
	EXPECT_EQ(0, pass_wait(&p));
	EXPECT_EQ(0, unload());
	EXPECT_EQ(0, load());
	slow_rig_drop(&slow);
}

/* Without PIN nothing stays pinned behind a pass. */
TEST_F(lifetime, no_pins)
{
	struct frames *frames = need_frames(self->mem.addr, self->mem.length);
	struct region r;
	int dev = used_session(&self->mem, &self->img, &r, 0);
	struct mapped_ram_save save;
	struct mapped_ram_load load;
	int i;

	ASSERT_EQ(PAGES, frames->nr);
	/* Many I/Os of one page: a reference lost now and then is seen, too. */
	for (i = 0; i < 20; i++) {
		bits_set(r.dirty, 0, PAGES);
		save = save_args(&r, 0, PAGES);
		save.max_extent = page_size();
		ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_SAVE, &save));
		EXPECT_EQ(PAGES, save.out_ios);
		load = load_args(&r, 0, PAGES);
		load.max_extent = page_size();
		ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_LOAD, &load));
		EXPECT_EQ(PAGES, load.out_ios);
	}
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(0, self_status_kb("VmPin"));
	mem_unmap(&self->mem);
	EXPECT_EQ(0, frames_held(frames));
	region_unmap_bitmaps(&r);
	close(dev);
}

static long charged_kb(void)
{
	return self_status_kb("VmLck") + self_status_kb("VmPin");
}

/* With PIN all pages are kept and charged, until the session ends, */
TEST_F(lifetime, pins_until_close)
{
	struct frames *frames = need_frames(self->mem.addr, self->mem.length);
	long before = charged_kb();
	struct region r;
	int dev = used_session(&self->mem, &self->img, &r,
			       MAPPED_RAM_REGION_PIN);

	EXPECT_EQ(before + self->mem.length / KIB, charged_kb());
	/* which the bitmaps keep, */
	close(dev);
	EXPECT_EQ(before + self->mem.length / KIB, charged_kb());
	region_unmap_bitmaps(&r);
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(before, charged_kb());
	mem_unmap(&self->mem);
	EXPECT_EQ(0, frames_held(frames));
}

/* or until the region is removed, */
TEST_F(lifetime, pins_until_remove)
{
	struct frames *frames = need_frames(self->mem.addr, self->mem.length);
	long before = charged_kb();
	struct region r;
	int dev = used_session(&self->mem, &self->img, &r,
			       MAPPED_RAM_REGION_PIN);

	EXPECT_EQ(before + self->mem.length / KIB, charged_kb());
	EXPECT_EQ(0, mr_region_remove(dev, r.id));
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(before, charged_kb());
	region_unmap_bitmaps(&r);
	mem_unmap(&self->mem);
	EXPECT_EQ(0, frames_held(frames));
	close(dev);
}

/*
 * or until the memory goes: its pages are free at once, in an open session. The
 * charge may stay until the next pass.
 */
TEST_F(lifetime, pins_until_unmap)
{
	struct frames *first, *second;
	size_t half = self->mem.length / 2;
	long before = charged_kb();
	struct region r;
	int dev = used_session(&self->mem, &self->img, &r,
			       MAPPED_RAM_REGION_PIN);

	first = need_frames(self->mem.addr, half);
	second = need_frames(self->mem.addr + half, half);
	ASSERT_EQ(PAGES / 2, first->nr);
	munmap(self->mem.addr, half);
	EXPECT_EQ(0, frames_held(first));
	EXPECT_EQ(0, region_save(&r, NULL));
	EXPECT_EQ(before + half / KIB, charged_kb());
	madvise(self->mem.addr + half, half, MADV_DONTNEED);
	EXPECT_EQ(0, frames_held(second));
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(0, region_save(&r, NULL));
	EXPECT_EQ(before, charged_kb());
	region_unmap_bitmaps(&r);
	close(dev);
}

/*
 * The owner dies, but somebody else has the descriptor: the session lives on,
 * the owner's memory does not.
 */
TEST_F(lifetime, owner_dies_first)
{
	const size_t length = 128 * MIB;
	const size_t size = sizeof(struct frames) +
			    length / page_size() * sizeof(uint64_t);
	struct frames *seen, *frames = malloc(size);
	struct image img;
	int dev = mr_open();
	pid_t child;
	int status;

	ASSERT_LE(0, dev);
	ASSERT_NE(NULL, frames);
	seen = mmap(NULL, size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, seen);
	need_image_sparse(&img, NULL, MIB + length);
	child = fork();
	if (!child) {
		struct region r;
		struct mem mem;

		if (mem_map(&mem, MEM_ANON, length))
			_exit(1);
		memset(mem.addr, 0x22, length);
		if (mr_image_set(dev, img.fd, 0, NULL) ||
		    region_add(&r, dev, mem.addr, length, MIB, page_size(),
			       MAPPED_RAM_REGION_PIN))
			_exit(2);
		bits_set(r.dirty, 0, r.nr_pages);
		free(frames);
		frames = need_frames(mem.addr, length);
		memcpy(seen, frames, sizeof(*frames) +
		       frames->nr * sizeof(frames->pfn[0]));
		_exit(region_save(&r, NULL) ? 3 : 0);
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	EXPECT_TRUE(pins_return_to(self->pins));
	EXPECT_EQ(length / page_size(), seen->nr);
	memcpy(frames, seen, size);
	EXPECT_EQ(0, frames_held(frames));
	munmap(seen, size);
	close(dev);
	image_drop(&img);
}

/* The parent closes, a child has it still: a session dies with its last user. */
TEST_F(lifetime, inherited_by_fork)
{
	struct region r;
	int dev = used_session(&self->mem, &self->img, &r,
			       MAPPED_RAM_REGION_PIN);
	int status;
	pid_t child = fork();

	if (!child) {
		pause();
		_exit(0);
	}
	ASSERT_LT(0, child);
	region_unmap_bitmaps(&r);
	close(dev);
	EXPECT_LE(self->mem.length / KIB, charged_kb());
	EXPECT_EQ(-EWOULDBLOCK, unload());
	kill(child, SIGKILL);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, charged_kb());
	EXPECT_TRUE(pins_return_to(self->pins));
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, load());
}

/* The session's reference to the image, and nothing but that, keeps it busy. */
TEST_F(lifetime, file_system_of_the_image)
{
	struct scratch fs;
	struct image img;
	struct region r;
	int dev;

	need_private_mounts();
	ASSERT_EQ(0, scratch_open(&fs, 64 * MIB));
	ASSERT_EQ(0, scratch_mount(&fs, "ext4", NULL));
	need_image_file(&img, fs.dir, 4 * MIB);
	dev = used_session(&self->mem, &img, &r, 0);
	image_drop(&img);
	EXPECT_EQ(-EBUSY, scratch_umount(&fs));
	/* Replaced, it is let go. */
	EXPECT_EQ(0, mr_image_set(dev, self->img.fd, 0, NULL));
	EXPECT_EQ(0, scratch_umount(&fs));
	region_unmap_bitmaps(&r);
	close(dev);

	ASSERT_EQ(0, scratch_mount(&fs, "ext4", NULL));
	need_image_file(&img, fs.dir, 4 * MIB);
	dev = used_session(&self->mem, &img, &r, 0);
	image_drop(&img);
	region_unmap_bitmaps(&r);
	EXPECT_EQ(-EBUSY, scratch_umount(&fs));
	close(dev);
	EXPECT_EQ(0, scratch_umount(&fs));
	scratch_close(&fs);
}

/* Many sessions with large bitmaps, some of them left in a hurry */
TEST_F(lifetime, memory)
{
	const size_t length = 64UL * KIB * MIB;	/* 2 MiB of bitmap, twice */
	struct region r;
	long before, after;
	void *mem;
	int i, dev;

	mem = mmap(NULL, length, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, mem);
	before = meminfo_kb("MemAvailable");
	for (i = 0; i < 60; i++) {
		dev = mr_open();
		ASSERT_LE(0, dev);
		ASSERT_EQ(0, region_add(&r, dev, mem, length, 0, page_size(),
					i % 3 ? 0 : MAPPED_RAM_REGION_PIN));
		if (!i) {
			/* The count that must return is one that moves. */
			EXPECT_LT(self->vmallocs, vmallocs());
		}
		if (i % 2)
			EXPECT_EQ(0, mr_region_remove(dev, r.id));
		region_unmap_bitmaps(&r);
		close(dev);
	}
	after = meminfo_kb("MemAvailable");
	/* All together would be 240 MiB. */
	EXPECT_GT(60 * 1024, before - after);
	EXPECT_EQ(self->vmallocs, vmallocs());
	munmap(mem, length);
}

/* Regions that are refused late, after their bitmaps were allocated */
TEST_F(lifetime, memory_of_refused_regions)
{
	struct mapped_ram_region_add add = {
		.size = sizeof(add),
		.user_addr = (uintptr_t)self->mem.addr,
		.length = self->mem.length,
		.page_size = page_size(),
		.flags = MAPPED_RAM_REGION_PIN,
	};
	int i, dev = mr_open();
	struct region r;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, region_add(&r, dev, self->mem.addr, self->mem.length, 0,
				page_size(), 0));
	for (i = 0; i < 100; i++)
		EXPECT_EQ(-EEXIST, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(0, mr_region_remove(dev, r.id));
	region_unmap_bitmaps(&r);
	EXPECT_EQ(self->vmallocs, vmallocs());
	close(dev);
}

TEST_HARNESS_MAIN
