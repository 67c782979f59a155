// SPDX-License-Identifier: GPL-2.0
/*
 * mapped_ram: copy the dirty pages of registered memory straight to fixed
 * offsets of an image file. This file owns the module's life, the misc device
 * and the table of ioctls, nothing else.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "mapped_ram.h"

union mram_ioctl_arg {
	u32 size;
	struct mapped_ram_info info;
	struct mapped_ram_image_set image_set;
	struct mapped_ram_region_add region_add;
	struct mapped_ram_region_remove region_remove;
	struct mapped_ram_save save;
	struct mapped_ram_load load;
};

/**
 * struct mram_ioctl_op - a row of the table
 * @cmd: the whole ioctl number
 * @size: of the struct as we know it
 * @min_size: of the struct's first version
 * @run: does it. Gets the struct, where what the caller did not pass is zero.
 *       Outputs go back when it returns 0, and when it returns a negative
 *       errno after having set @size to 0.
 */
struct mram_ioctl_op {
	unsigned int cmd;
	u32 size;
	u32 min_size;
	int (*run)(struct mram_session *s, void *arg);
};

#define MRAM_IOCTL(_cmd, _struct, _last, _run) {			\
	.cmd = _cmd,							\
	.size = sizeof(struct _struct),					\
	.min_size = offsetofend(struct _struct, _last),			\
	.run = _run,							\
}

static const struct mram_ioctl_op mram_ioctls[] = {
	MRAM_IOCTL(MAPPED_RAM_INFO, mapped_ram_info, out_max_region_pages,
		   mram_ioctl_info),
	MRAM_IOCTL(MAPPED_RAM_IMAGE_SET, mapped_ram_image_set, out_pad,
		   mram_ioctl_image_set),
	MRAM_IOCTL(MAPPED_RAM_REGION_ADD, mapped_ram_region_add,
		   out_bitmap_size, mram_ioctl_region_add),
	MRAM_IOCTL(MAPPED_RAM_REGION_REMOVE, mapped_ram_region_remove,
		   region_id, mram_ioctl_region_remove),
	MRAM_IOCTL(MAPPED_RAM_SAVE, mapped_ram_save, out_bridge,
		   mram_ioctl_save),
	MRAM_IOCTL(MAPPED_RAM_LOAD, mapped_ram_load, out_pad, mram_ioctl_load),
};

/* The ABI, fixed for ever: sizes, and where the 64-bit fields lie. */
static_assert(sizeof(struct mapped_ram_info) == 48);
static_assert(offsetof(struct mapped_ram_info, out_features) == 16);
static_assert(offsetof(struct mapped_ram_info, out_max_region_pages) == 40);
static_assert(sizeof(struct mapped_ram_image_set) == 32);
static_assert(offsetof(struct mapped_ram_image_set, out_mem_align) == 16);
static_assert(sizeof(struct mapped_ram_region_add) == 64);
static_assert(offsetof(struct mapped_ram_region_add, user_addr) == 8);
static_assert(offsetof(struct mapped_ram_region_add, out_dirty_offset) == 40);
static_assert(sizeof(struct mapped_ram_region_remove) == 8);
static_assert(sizeof(struct mapped_ram_save) == 96);
static_assert(offsetof(struct mapped_ram_save, first_page) == 16);
static_assert(offsetof(struct mapped_ram_save, out_written_pages) == 40);
static_assert(offsetof(struct mapped_ram_save, out_flags) == 88);
static_assert(sizeof(struct mapped_ram_load) == 88);
static_assert(offsetof(struct mapped_ram_load, first_page) == 16);
static_assert(offsetof(struct mapped_ram_load, out_read_pages) == 40);
static_assert(offsetof(struct mapped_ram_load, out_flags) == 80);

long mram_ioctl(struct file *file, unsigned int cmd, unsigned long uarg)
{
	void __user *user = (void __user *)uarg;
	const struct mram_ioctl_op *op = NULL;
	union mram_ioctl_arg arg;
	unsigned int i;
	u32 size;
	int ret;

	for (i = 0; i < ARRAY_SIZE(mram_ioctls); i++)
		if (mram_ioctls[i].cmd == cmd)
			op = &mram_ioctls[i];
	if (!op)
		return -ENOTTY;

	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	/* No struct will ever be that long: do not scan gigabytes of zeroes. */
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&arg, op->size, user, size);
	if (ret)
		return ret;

	/* Userspace may have changed it since; what was checked counts. */
	arg.size = size;
	/*
	 * Where the outputs cannot be written, say so before anything has
	 * happened: what was read goes back as it was.
	 */
	if (copy_to_user(user, &arg, min(size, op->size)))
		return -EFAULT;
	ret = op->run(file->private_data, &arg);
	if (ret && arg.size)
		return ret;
	arg.size = size;
	if (copy_to_user(user, &arg, min(size, op->size)))
		return ret ? ret : -EFAULT;
	return ret;
}

static struct miscdevice mram_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mapped_ram",
	.mode = 0600,
	.fops = &mram_fops,
};

module_misc_device(mram_misc);

MODULE_DESCRIPTION("Copy dirty pages of VM memory to fixed offsets of an image file");
MODULE_LICENSE("GPL");
