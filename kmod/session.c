// SPDX-License-Identifier: GPL-2.0
/*
 * The session: an open file of the device. Owns the ids of regions, the
 * attached image, who may use them, the mapping of the bitmaps, and the
 * teardown, which cannot fail.
 *
 * An object is published (a region in @regions, an image in @image) when
 * nothing can fail any more, so that every failure leaves the session as it
 * was.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "mapped_ram.h"

/* The mmap() offset of a region's bitmaps: its id, and which of the two. */
#define MRAM_MMAP_ID_SHIFT	40
#define MRAM_MMAP_FILE		(1ULL << (MRAM_MMAP_ID_SHIFT - 1))

static_assert(MRAM_MAX_REGION_PAGES / 8 < MRAM_MMAP_FILE);

static int mram_open(struct inode *inode, struct file *file)
{
	struct mram_session *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);

	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock);
	spin_lock_init(&s->bridge_lock);
	xa_init_flags(&s->regions, XA_FLAGS_ALLOC1);
	INIT_LIST_HEAD(&s->windows);
	file->private_data = s;
	return 0;
}

/*
 * The last reference to the file is gone: no ioctl runs and no bitmap is
 * mapped, so nothing needs the lock.
 */
static int mram_release(struct inode *inode, struct file *file)
{
	struct mram_session *s = file->private_data;
	struct mram_region *region;
	unsigned long id;

	xa_for_each(&s->regions, id, region)
		mram_region_free(region);
	xa_destroy(&s->regions);
	mram_image_put(s->image);
	mram_windows_free(s);
	if (s->mm)
		mmdrop(s->mm);
	kfree(s);
	return 0;
}

static int mram_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct mram_session *s = file->private_data;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	struct mram_region *region;
	int ret;

	if (mutex_lock_killable(&s->lock))
		return -EINTR;
	region = xa_load(&s->regions, offset >> MRAM_MMAP_ID_SHIFT);
	if (!region)
		ret = -ENOENT;
	else if (s->mm != current->mm)
		ret = -EPERM;
	else if (offset & (MRAM_MMAP_FILE - 1))
		ret = -EINVAL;
	else
		ret = mram_region_mmap(region, offset & MRAM_MMAP_FILE, vma);
	mutex_unlock(&s->lock);
	return ret;
}

const struct file_operations mram_fops = {
	.owner = THIS_MODULE,
	.open = mram_open,
	.release = mram_release,
	.mmap = mram_mmap,
	.unlocked_ioctl = mram_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

/* Lock a session for a caller who may use its regions. */
int mram_session_lock(struct mram_session *s)
{
	if (mutex_lock_interruptible(&s->lock))
		return mram_interrupted();
	if (s->mm && s->mm != current->mm) {
		mutex_unlock(&s->lock);
		return -EPERM;
	}
	return 0;
}

/* The image was damaged: whatever it was said to hold is dirty. */
void mram_session_lose(struct mram_session *s)
{
	struct mram_region *region;
	unsigned long id;

	mutex_lock(&s->lock);
	xa_for_each(&s->regions, id, region)
		mram_region_lose(region, 0, region->nr_pages);
	mutex_unlock(&s->lock);
}

int mram_ioctl_info(struct mram_session *s, void *_arg)
{
	struct mapped_ram_info *arg = _arg;

	if (arg->flags)
		return -EOPNOTSUPP;
	*arg = (struct mapped_ram_info) {
		.size = arg->size,
		.out_abi_version = MAPPED_RAM_ABI_VERSION,
		.out_page_size = PAGE_SIZE,
		.out_features = MAPPED_RAM_FEATURE_PIN |
				MAPPED_RAM_FEATURE_BRIDGE_AUTO,
		.out_max_regions = MRAM_MAX_REGIONS,
		.out_max_window = MRAM_MAX_WINDOW,
		.out_max_extent = MRAM_MAX_EXTENT,
		.out_max_bridge = MRAM_MAX_BRIDGE,
		.out_max_region_pages = MRAM_MAX_REGION_PAGES,
	};
	return 0;
}

int mram_ioctl_image_set(struct mram_session *s, void *_arg)
{
	struct mapped_ram_image_set *arg = _arg;
	struct mram_image *image;
	struct mram_region *region;
	unsigned long id;
	int ret;

	if (arg->flags & ~MAPPED_RAM_IMAGE_LOAD || arg->pad)
		return -EOPNOTSUPP;

	image = mram_image_get(arg->fd, arg->flags & MAPPED_RAM_IMAGE_LOAD);
	if (IS_ERR(image))
		return PTR_ERR(image);

	ret = mram_session_lock(s);
	if (ret)
		goto out_put;
	ret = -EBUSY;
	if (s->passes)
		goto out_unlock;
	xa_for_each(&s->regions, id, region) {
		ret = mram_image_fits(image, region);
		if (ret)
			goto out_unlock;
	}

	arg->out_mem_align = image->mem_align;
	arg->out_offset_align = image->offset_align;
	arg->out_flags = (image->stable ? MAPPED_RAM_IMAGE_OUT_STABLE_PAGES : 0) |
			 (image->block ? MAPPED_RAM_IMAGE_OUT_BLOCK_DEVICE : 0);
	arg->out_pad = 0;
	swap(s->image, image);
	/* No pass runs. The new one may lie elsewhere. */
	memset(&s->bridge, 0, sizeof(s->bridge));
	ret = 0;
out_unlock:
	mutex_unlock(&s->lock);
out_put:
	mram_image_put(image);
	return ret;
}

static bool mram_overlaps(const struct mram_region *a,
			  const struct mram_region *b)
{
	return a->pages_offset < mram_region_end(b) &&
	       b->pages_offset < mram_region_end(a);
}

/* Whether a new region may stand beside the others; under the lock. */
static int mram_session_check(struct mram_session *s,
			      const struct mram_region *region)
{
	struct mram_region *other;
	unsigned long id;
	int ret;

	if (s->image) {
		ret = mram_image_fits(s->image, region);
		if (ret)
			return ret;
	}
	xa_for_each(&s->regions, id, other)
		if (mram_overlaps(region, other))
			return -EEXIST;
	return 0;
}

int mram_ioctl_region_add(struct mram_session *s, void *_arg)
{
	struct mapped_ram_region_add *arg = _arg;
	struct mram_region *region;
	int ret;

	if (arg->flags & ~MAPPED_RAM_REGION_PIN)
		return -EOPNOTSUPP;

	/* Takes mmap_lock, which is not possible under ours. */
	ret = mram_region_check(arg);
	if (ret)
		return ret;
	region = mram_region_new(arg);
	if (IS_ERR(region))
		return PTR_ERR(region);

	ret = mram_session_lock(s);
	if (ret)
		goto out_free;
	ret = mram_session_check(s, region);
	if (ret)
		goto out_unlock;
	ret = xa_alloc(&s->regions, &region->id, region,
		       XA_LIMIT(1, MRAM_MAX_REGIONS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		/* The xarray says EBUSY when no id is free. */
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto out_unlock;
	}
	if (!s->mm) {
		s->mm = current->mm;
		mmgrab(s->mm);
	}

	arg->out_region_id = region->id;
	arg->out_dirty_offset = (u64)region->id << MRAM_MMAP_ID_SHIFT;
	arg->out_file_offset = arg->out_dirty_offset | MRAM_MMAP_FILE;
	arg->out_bitmap_size = region->bitmap_size;
	mutex_unlock(&s->lock);
	return 0;

out_unlock:
	mutex_unlock(&s->lock);
out_free:
	mram_region_free(region);
	return ret;
}

int mram_ioctl_region_remove(struct mram_session *s, void *_arg)
{
	struct mapped_ram_region_remove *arg = _arg;
	struct mram_region *region;
	int ret;

	ret = mram_session_lock(s);
	if (ret)
		return ret;
	region = xa_load(&s->regions, arg->region_id);
	if (!region)
		ret = -ENOENT;
	else if (region->users)
		ret = -EBUSY;
	else
		xa_erase(&s->regions, arg->region_id);
	mutex_unlock(&s->lock);
	if (ret)
		return ret;

	/* Nobody can find it any more. */
	mram_region_free(region);
	return 0;
}
