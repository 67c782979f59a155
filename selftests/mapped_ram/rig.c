// SPDX-License-Identifier: GPL-2.0
/* One session, one region, one image and their model, see rig.h. */
#include "rig.h"

#define SMALL	(300 * 4 * KIB)
#define LARGE	(2 * HUGE_SIZE)

const struct shape shapes[] = {
	{ MEM_ANON, SMALL, 4 * KIB },
	{ MEM_FILE_PRIVATE, SMALL, 4 * KIB },
	{ MEM_ANON, 21 * 64 * KIB, 64 * KIB },
	{ MEM_MEMFD_HUGETLB, LARGE, 4 * KIB },
	/* from here on for the raw device only */
	{ MEM_FILE_SHARED, SMALL, 4 * KIB },
	{ MEM_MEMFD, SMALL, 4 * KIB },
	{ MEM_THP, LARGE, 4 * KIB },
	{ MEM_HUGETLB, LARGE, 4 * KIB },
	{ MEM_MEMFD, LARGE, HUGE_SIZE },
	{ MEM_HUGETLB, LARGE, HUGE_SIZE },
};

size_t nr_shapes(const struct place *place)
{
	return place->fstype ? 4 : ARRAY_LEN(shapes);
}

int place_open(struct place *place, const char *fstype)
{
	char mkfs[32];
	int err;

	*place = (struct place){ .fstype = fstype };
	if (!fstype)
		return test_blkdev() ? 0 : memdisk_open(&place->disk, 64 * MIB);

	snprintf(mkfs, sizeof(mkfs), "mkfs.%s", fstype);
	if (!have_program(mkfs))
		return -EOPNOTSUPP;
	need_private_mounts();
	err = scratch_open(&place->fs, 512 * MIB);
	if (err)
		need_failed("no loop device: %s", strerror(-err));
	if (!scratch_mount(&place->fs, fstype, NULL))
		return 0;
	scratch_close(&place->fs);
	return -EOPNOTSUPP;
}

void place_close(struct place *place)
{
	if (place->fstype)
		scratch_close(&place->fs);
	else if (!test_blkdev())
		memdisk_close(&place->disk);
}

void need_place_image(struct place *place, struct image *img, uint64_t size)
{
	if (place->fstype)
		need_image_file(img, place->fs.dir, size);
	else
		need_image_blkdev(img, test_blkdev() ?: place->disk.path, size);
	image_uncache(img);
}

/* Some file systems make buffered I/O of the test's own direct I/O. */
void image_uncache(const struct image *img)
{
	if (fsync(img->fd) || posix_fadvise(img->fd, 0, 0, POSIX_FADV_DONTNEED))
		need_failed("%s: %m", img->path);
}

/* All but the image, which is there already. */
static void need_rest(struct rig *rig, enum mem_kind kind, size_t length,
		      uint32_t region_flags)
{
	int err;

	rig->dev = mr_open();
	if (rig->dev < 0)
		need_failed("%s: %s", MAPPED_RAM_DEVICE, strerror(-rig->dev));
	err = mem_map(&rig->mem, kind, length);
	if (err)
		need_failed("no memory of kind %s: %s", mem_name(kind),
			    strerror(-err));
	err = mr_image_set(rig->dev, rig->img.fd, 0, NULL);
	if (err)
		need_failed("IMAGE_SET: %s", strerror(-err));
	err = region_add(&rig->r, rig->dev, rig->mem.addr, length, RIG_HEAD,
			 page_size(), region_flags);
	if (err)
		need_failed("REGION_ADD: %s", strerror(-err));
	need_huge(&rig->mem);
	need_model(&rig->m, &rig->r, &rig->img);
}

void need_rig_on(struct rig *rig, enum mem_kind kind, size_t length,
		 uint32_t region_flags, const char *where)
{
	uint64_t size = RIG_HEAD + length + RIG_TAIL;
	struct stat st;

	if (stat(where, &st))
		need_failed("%s: %s", where, strerror(errno));
	if (S_ISBLK(st.st_mode))
		need_image_blkdev(&rig->img, where, size);
	else
		need_image_file(&rig->img, where, size);
	need_rest(rig, kind, length, region_flags);
}

void need_rig_sparse(struct rig *rig, enum mem_kind kind, size_t length,
		     const char *dir)
{
	need_image_sparse(&rig->img, dir, RIG_HEAD + length + RIG_TAIL);
	need_rest(rig, kind, length, 0);
}

void need_rig(struct rig *rig, enum mem_kind kind, size_t length,
	      uint32_t region_flags)
{
	int err;

	err = memdisk_open(&rig->disk, RIG_HEAD + length + RIG_TAIL);
	if (err)
		need_failed("no disk of memory: %s", strerror(-err));
	rig->own_disk = true;
	need_rig_on(rig, kind, length, region_flags, rig->disk.path);
}

void rig_drop(struct rig *rig)
{
	model_free(&rig->m);
	region_unmap_bitmaps(&rig->r);
	close(rig->dev);
	image_drop(&rig->img);
	mem_unmap(&rig->mem);
	if (rig->own_disk)
		memdisk_close(&rig->disk);
}

void rig_dirty_all(struct rig *rig, struct rng *rng)
{
	size_t i;

	for (i = 0; i < rig->r.nr_pages; i++)
		model_write_random(&rig->m, rng, i);
}

void need_image_unfilled(struct image *img, const char *dev, uint64_t size)
{
	*img = (struct image){ .size = size, .blkdev = true };
	snprintf(img->path, sizeof(img->path), "%s", dev);
	img->fd = open(dev, O_RDWR | O_CLOEXEC);
	img->direct = open(dev, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (img->fd < 0 || img->direct < 0)
		need_failed("%s: %m", dev);
}

int64_t page_frame(const void *addr)
{
	uint64_t entry;
	int ret = pagemap_read(addr, 1, &entry);

	if (ret)
		return ret;
	return entry & PAGEMAP_PRESENT ? entry & PAGEMAP_FRAME : 0;
}

/* A field of the mapping that starts at @addr, in kB */
static long mapping_kb(const void *addr, const char *field)
{
	size_t length = strlen(field);
	long kb = -ENOENT;
	bool here = false;
	char line[256], start[32];
	FILE *f;

	f = fopen("/proc/self/smaps", "re");
	if (!f)
		return -errno;
	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			here = true;
		if (here && !strncmp(line, field, length) &&
		    sscanf(line + length, ": %ld", &kb) == 1)
			break;
	}
	fclose(f);
	return kb;
}

long mapping_rss_kb(const void *addr)
{
	return mapping_kb(addr, "Rss");
}

void need_huge(const struct mem *m)
{
	int tries;

	for (tries = 0; m->kind == MEM_THP; tries++) {
		memset(m->addr, 0, m->length);
		if (mapping_kb(m->addr, "AnonHugePages") * KIB == m->length)
			break;
		if (tries == 10)
			need_failed("no huge pages for memory of kind %s",
				    mem_name(m->kind));
		madvise(m->addr, m->length, MADV_DONTNEED);
		write_file("/proc/sys/vm/compact_memory", "1");
	}
}

long cached_range_pages(const struct region *r, const struct image *img,
			uint64_t first, uint64_t nr)
{
	size_t length = nr * r->page_size, pages = length / page_size(), i;
	unsigned char *there = malloc(pages);
	long count = 0;
	void *map;

	map = mmap(NULL, length, PROT_READ, MAP_SHARED, img->fd,
		   r->offset + first * r->page_size);
	if (!there || map == MAP_FAILED || mincore(map, length, there)) {
		count = -errno;
	} else {
		for (i = 0; i < pages; i++)
			count += there[i] & 1;
	}
	if (map != MAP_FAILED)
		munmap(map, length);
	free(there);
	return count;
}

long cached_region_pages(const struct region *r, const struct image *img)
{
	return cached_range_pages(r, img, 0, r->nr_pages);
}

int save_pass(const struct region *r, struct mapped_ram_save *save)
{
	return mr_ioctl(r->dev, MAPPED_RAM_SAVE, save);
}

int load_pass(const struct region *r, struct mapped_ram_load *load)
{
	return mr_ioctl(r->dev, MAPPED_RAM_LOAD, load);
}

int rig_save(struct rig *rig, struct mapped_ram_save *save)
{
	struct mapped_ram_save all = save_args(&rig->r, 0, rig->r.nr_pages);
	uint64_t written, zero;
	int err;

	if (!save)
		save = &all;
	model_save(&rig->m, save->first_page, save->nr_pages, &written, &zero);
	err = save_pass(&rig->r, save);
	if (err) {
		snprintf(rig->m.why, sizeof(rig->m.why), "SAVE: %s",
			 strerror(-err));
		return err;
	}
	if (model_check(&rig->m))
		return -EBADMSG;
	if (save->out_written_pages == written && save->out_zero_pages == zero)
		return 0;
	snprintf(rig->m.why, sizeof(rig->m.why),
		 "says %llu written and %llu zero, not %llu and %llu",
		 (unsigned long long)save->out_written_pages,
		 (unsigned long long)save->out_zero_pages,
		 (unsigned long long)written, (unsigned long long)zero);
	return -EBADMSG;
}
