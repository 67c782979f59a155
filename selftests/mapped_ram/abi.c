// SPDX-License-Identifier: GPL-2.0
/* A session in the middle of its work and valid arguments, see abi.h. */
#include "abi.h"

void need_abi_rig(struct rig *rig)
{
	struct rng rng = rng_new(0xab1);
	size_t page;
	int round, err;

	need_rig(rig, MEM_ANON, ABI_PAGES * page_size(), 0);
	for (round = 0; round < 2; round++) {
		for (page = 0; page < ABI_IDLE_PAGE; page++) {
			if (!rng_percent(&rng, 60))
				continue;
			if (rng_percent(&rng, 30))
				model_write_zero(&rig->m, page);
			else
				model_write_random(&rig->m, &rng, page);
		}
		/* The second round's stay dirty. */
		err = round ? 0 : rig_save(rig, NULL);
		if (err)
			need_failed("first save: %s", rig->m.why);
	}
}

struct mapped_ram_info abi_info(void)
{
	return (struct mapped_ram_info){
		.size = sizeof(struct mapped_ram_info),
		.out_abi_version = POISON32,
		.out_page_size = POISON32,
		.out_features = POISON64,
		.out_max_regions = POISON32,
		.out_max_window = POISON32,
		.out_max_extent = POISON32,
		.out_max_bridge = POISON32,
		.out_max_region_pages = POISON64,
	};
}

struct mapped_ram_image_set abi_image_set(const struct rig *rig)
{
	return (struct mapped_ram_image_set){
		.size = sizeof(struct mapped_ram_image_set),
		.fd = rig->img.fd,
		.out_mem_align = POISON32,
		.out_offset_align = POISON32,
		.out_flags = POISON32,
		.out_pad = POISON32,
	};
}

struct mapped_ram_region_add abi_region_add(const struct rig *rig)
{
	return (struct mapped_ram_region_add){
		.size = sizeof(struct mapped_ram_region_add),
		.user_addr = (uintptr_t)rig->mem.addr,
		.length = page_size(),
		.pages_offset = rig->r.offset + rig->r.length,
		.page_size = page_size(),
		.out_region_id = POISON32,
		.out_dirty_offset = POISON64,
		.out_file_offset = POISON64,
		.out_bitmap_size = POISON64,
	};
}

struct mapped_ram_region_remove abi_region_remove(uint32_t id)
{
	return (struct mapped_ram_region_remove){
		.size = sizeof(struct mapped_ram_region_remove),
		.region_id = id,
	};
}

struct mapped_ram_save abi_save(const struct rig *rig)
{
	return (struct mapped_ram_save){
		.size = sizeof(struct mapped_ram_save),
		.region_id = rig->r.id,
		.first_page = ABI_IDLE_PAGE,
		.nr_pages = 1,
		.out_written_pages = POISON64,
		.out_zero_pages = POISON64,
		.out_bridged_pages = POISON64,
		.out_ios = POISON64,
		.out_bytes = POISON64,
		.out_error_page = POISON64,
		.out_flags = POISON32,
		.out_bridge = POISON32,
	};
}

struct mapped_ram_load abi_load(const struct rig *rig)
{
	return (struct mapped_ram_load){
		.size = sizeof(struct mapped_ram_load),
		.region_id = rig->r.id,
		.first_page = ABI_IDLE_PAGE,
		.nr_pages = 1,
		.out_read_pages = POISON64,
		.out_zero_pages = POISON64,
		.out_ios = POISON64,
		.out_bytes = POISON64,
		.out_error_page = POISON64,
		.out_flags = POISON32,
		.out_pad = POISON32,
	};
}

int abi_call(struct rig *rig, unsigned long cmd, void *arg, size_t size)
{
	const struct region *r = &rig->r;
	const struct model *m = &rig->m;
	uint8_t before[ABI_MAX_SIZE];
	int ret;

	if (size > sizeof(before))
		need_failed("a struct of %zu bytes", size);
	memcpy(before, arg, size);
	ret = mr_ioctl(rig->dev, cmd, arg);
	if (ret && memcmp(before, arg, size)) {
		fprintf(stderr, "# failed with %s and wrote to the struct\n",
			strerror(-ret));
		return -EUCLEAN;
	}
	if (memcmp(r->dirty, m->dirty, r->bitmap_size) ||
	    memcmp(r->file, m->file, r->bitmap_size) ||
	    memcmp(r->mem, m->mem, r->length)) {
		fprintf(stderr, "# returned %d and changed bitmaps or memory\n",
			ret);
		return -EBADMSG;
	}
	return ret;
}

int abi_still_works(struct rig *rig)
{
	int ret = model_check(&rig->m);

	if (ret)
		return ret;
	ret = rig_save(rig, NULL);
	if (ret)
		fprintf(stderr, "# %s\n", rig->m.why);
	return ret;
}

static void info_args(struct rig *rig, void *arg)
{
	struct mapped_ram_info info = abi_info();

	(void)rig;
	memcpy(arg, &info, sizeof(info));
}

static void image_set_args(struct rig *rig, void *arg)
{
	struct mapped_ram_image_set set = abi_image_set(rig);

	memcpy(arg, &set, sizeof(set));
}

static void region_add_args(struct rig *rig, void *arg)
{
	struct mapped_ram_region_add add = abi_region_add(rig);

	memcpy(arg, &add, sizeof(add));
}

static void region_add_undo(struct rig *rig, void *arg, bool done)
{
	struct mapped_ram_region_add *add = arg;

	if (done && mr_region_remove(rig->dev, add->out_region_id))
		need_failed("what REGION_ADD returned is no region");
}

static void region_remove_args(struct rig *rig, void *arg)
{
	struct mapped_ram_region_add add = abi_region_add(rig);
	struct mapped_ram_region_remove remove;
	int ret;

	ret = mr_ioctl(rig->dev, MAPPED_RAM_REGION_ADD, &add);
	if (ret)
		need_failed("REGION_ADD: %s", strerror(-ret));
	remove = abi_region_remove(add.out_region_id);
	memcpy(arg, &remove, sizeof(remove));
}

static void region_remove_undo(struct rig *rig, void *arg, bool done)
{
	struct mapped_ram_region_remove *remove = arg;
	int ret = mr_region_remove(rig->dev, remove->region_id);

	if (ret != (done ? -ENOENT : 0))
		need_failed("the region is %s", done ? "still there" : "gone");
}

static void save_args_idle(struct rig *rig, void *arg)
{
	struct mapped_ram_save save = abi_save(rig);

	memcpy(arg, &save, sizeof(save));
}

static void load_args_idle(struct rig *rig, void *arg)
{
	struct mapped_ram_load load = abi_load(rig);

	memcpy(arg, &load, sizeof(load));
}

static void no_undo(struct rig *rig, void *arg, bool done)
{
	(void)rig;
	(void)arg;
	(void)done;
}

#define IOCTL(_name, _struct, _output, _args, _undo) {			\
	.name = #_name,							\
	.cmd = MAPPED_RAM_##_name,					\
	.size = sizeof(struct _struct),					\
	.outputs = _output,						\
	.need_args = _args,						\
	.undo = _undo,							\
}

const struct abi_ioctl abi_ioctls[] = {
	IOCTL(INFO, mapped_ram_info,
	      offsetof(struct mapped_ram_info, out_abi_version),
	      info_args, no_undo),
	IOCTL(IMAGE_SET, mapped_ram_image_set,
	      offsetof(struct mapped_ram_image_set, out_mem_align),
	      image_set_args, no_undo),
	IOCTL(REGION_ADD, mapped_ram_region_add,
	      offsetof(struct mapped_ram_region_add, out_region_id),
	      region_add_args, region_add_undo),
	IOCTL(REGION_REMOVE, mapped_ram_region_remove,
	      sizeof(struct mapped_ram_region_remove),
	      region_remove_args, region_remove_undo),
	IOCTL(SAVE, mapped_ram_save,
	      offsetof(struct mapped_ram_save, out_written_pages),
	      save_args_idle, no_undo),
	IOCTL(LOAD, mapped_ram_load,
	      offsetof(struct mapped_ram_load, out_read_pages),
	      load_args_idle, no_undo),
};
const size_t nr_abi_ioctls = ARRAY_LEN(abi_ioctls);
