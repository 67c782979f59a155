// SPDX-License-Identifier: GPL-2.0
/*
 * The device and its calls. Owns nothing but the filling in of structs: each
 * wrapper passes exactly what its caller asked for.
 */
#include <stdarg.h>

#include "common.h"

size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

void need_failed(const char *fmt, ...)
{
	va_list ap;

	fputs("# cannot test: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

int mr_open(void)
{
	int fd = open(MAPPED_RAM_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int mr_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	/* A positive value would be a bug of the module: let it show. */
	return ret < 0 ? -errno : ret;
}

int mr_info(int fd, struct mapped_ram_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return mr_ioctl(fd, MAPPED_RAM_INFO, info);
}

int mr_image_set(int fd, int image, uint32_t flags,
		 struct mapped_ram_image_set *out)
{
	struct mapped_ram_image_set set = {
		.size = sizeof(set),
		.flags = flags,
		.fd = image,
	};
	int ret = mr_ioctl(fd, MAPPED_RAM_IMAGE_SET, &set);

	if (out)
		*out = set;
	return ret;
}

int mr_region_remove(int fd, uint32_t id)
{
	struct mapped_ram_region_remove remove = {
		.size = sizeof(remove),
		.region_id = id,
	};

	return mr_ioctl(fd, MAPPED_RAM_REGION_REMOVE, &remove);
}

static void *map_bitmap(int dev, size_t size, uint64_t offset)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dev,
		    offset);
}

int region_add(struct region *r, int dev, void *mem, size_t length,
	       uint64_t offset, uint32_t page_size, uint32_t flags)
{
	struct mapped_ram_region_add add = {
		.size = sizeof(add),
		.flags = flags,
		.user_addr = (uintptr_t)mem,
		.length = length,
		.pages_offset = offset,
		.page_size = page_size,
	};
	int ret = mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add);

	memset(r, 0, sizeof(*r));
	if (ret)
		return ret;
	*r = (struct region){
		.dev = dev,
		.mem = mem,
		.length = length,
		.offset = offset,
		.page_size = page_size,
		.id = add.out_region_id,
		.nr_pages = length / page_size,
		.bitmap_size = add.out_bitmap_size,
		.dirty_offset = add.out_dirty_offset,
		.file_offset = add.out_file_offset,
	};
	r->dirty = map_bitmap(dev, r->bitmap_size, r->dirty_offset);
	r->file = map_bitmap(dev, r->bitmap_size, r->file_offset);
	if (r->dirty == MAP_FAILED || r->file == MAP_FAILED) {
		ret = -errno;
		region_unmap_bitmaps(r);
		mr_region_remove(dev, r->id);
	}
	return ret;
}

void region_unmap_bitmaps(struct region *r)
{
	if (r->dirty && r->dirty != MAP_FAILED)
		munmap(r->dirty, r->bitmap_size);
	if (r->file && r->file != MAP_FAILED)
		munmap(r->file, r->bitmap_size);
	r->dirty = NULL;
	r->file = NULL;
}

uint8_t *region_page(const struct region *r, size_t page)
{
	return r->mem + page * r->page_size;
}

struct mapped_ram_save save_args(const struct region *r, size_t first,
				 size_t nr)
{
	return (struct mapped_ram_save){
		.size = sizeof(struct mapped_ram_save),
		.region_id = r->id,
		.first_page = first,
		.nr_pages = nr,
	};
}

struct mapped_ram_load load_args(const struct region *r, size_t first,
				 size_t nr)
{
	return (struct mapped_ram_load){
		.size = sizeof(struct mapped_ram_load),
		.region_id = r->id,
		.first_page = first,
		.nr_pages = nr,
	};
}

int region_save(const struct region *r, struct mapped_ram_save *out)
{
	struct mapped_ram_save save = save_args(r, 0, r->nr_pages);
	int ret = mr_ioctl(r->dev, MAPPED_RAM_SAVE, &save);

	if (out)
		*out = save;
	return ret;
}

int region_load(const struct region *r, struct mapped_ram_load *out)
{
	struct mapped_ram_load load = load_args(r, 0, r->nr_pages);
	int ret = mr_ioctl(r->dev, MAPPED_RAM_LOAD, &load);

	if (out)
		*out = load;
	return ret;
}
