// SPDX-License-Identifier: GPL-2.0
/*
 * The attached file or block device: what is refused as one, how direct I/O on
 * it must be aligned, one direct read or write, and keeping its pages out of
 * the page cache.
 */
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/magic.h>
#include <linux/pagemap.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/uio.h>

#include "compat.h"
#include "mapped_ram.h"

static int mram_image_check(const struct mram_image *image)
{
	struct file *file = image->file;
	struct inode *inode = image->inode;

	if (!(file->f_mode & (image->load ? FMODE_READ : FMODE_WRITE)))
		return -EBADF;
	if (!S_ISREG(inode->i_mode) && !S_ISBLK(inode->i_mode))
		return -ENODEV;
	if (!image->load) {
		if (file->f_flags & O_APPEND)
			return -EINVAL;
		if (image->block ? bdev_read_only(I_BDEV(inode)) :
				   sb_rdonly(inode->i_sb))
			return -EROFS;
	}
	if (IS_SWAPFILE(inode))
		return -ETXTBSY;
	if (!(file->f_mode & FMODE_CAN_ODIRECT) ||
	    !(image->load ? file->f_op->read_iter : file->f_op->write_iter))
		return -EOPNOTSUPP;
	return 0;
}

static int mram_image_align(struct mram_image *image)
{
	struct kstat stat = {};
	int ret;

	if (image->block) {
		struct block_device *bdev = I_BDEV(image->inode);

		image->mem_align = bdev_dma_alignment(bdev) + 1;
		image->offset_align = bdev_logical_block_size(bdev);
	} else {
		ret = vfs_getattr(&image->file->f_path, &stat, STATX_DIOALIGN,
				  AT_STATX_SYNC_AS_STAT);
		if (ret)
			return ret;
		if (stat.result_mask & STATX_DIOALIGN) {
			image->mem_align = stat.dio_mem_align;
			image->offset_align = stat.dio_offset_align;
		} else {
			/* Not said: whole file system blocks always do. */
			image->mem_align = PAGE_SIZE;
			image->offset_align = i_blocksize(image->inode);
		}
	}
	if (!image->offset_align || image->mem_align > PAGE_SIZE)
		return -EOPNOTSUPP;
	return 0;
}

/*
 * Whether the target reads a page more than once while writing it, so that it
 * must not change: devices with integrity metadata, file systems with
 * checksums of data. Not all of the latter tell (btrfs before 6.7 does not).
 */
static bool mram_image_stable(const struct mram_image *image)
{
	struct super_block *sb = image->data->i_sb;

	if (mapping_stable_writes(image->data->i_mapping))
		return true;
	if (image->block)
		return bdev_stable_writes(I_BDEV(image->inode));
	if (mram_sb_stable_writes(sb))
		return true;
	if (sb->s_magic == BTRFS_SUPER_MAGIC)
		return true;
	return sb->s_bdev && bdev_stable_writes(sb->s_bdev);
}

/**
 * mram_image_get() - take a file as an image
 * @fd: the caller's descriptor
 * @load: for reading
 *
 * Return: an image that holds its own reference to the file, or an ERR_PTR.
 */
struct mram_image *mram_image_get(int fd, bool load)
{
	struct mram_image *image;
	int ret;

	image = kzalloc(sizeof(*image), GFP_KERNEL_ACCOUNT);
	if (!image)
		return ERR_PTR(-ENOMEM);
	image->file = fget(fd);
	if (!image->file) {
		kfree(image);
		return ERR_PTR(-EBADF);
	}
	image->inode = image->file->f_mapping->host;
	image->load = load;
	image->block = S_ISBLK(image->inode->i_mode);
	image->data = image->block ? image->inode :
				     d_real_inode(image->file->f_path.dentry);

	ret = mram_image_check(image);
	if (!ret)
		ret = mram_image_align(image);
	if (ret) {
		mram_image_put(image);
		return ERR_PTR(ret);
	}
	image->stable = mram_image_stable(image);
	/* Durable writes need a flush, which the device's node knows to do. */
	image->bios = image->block &&
		      !(image->file->f_flags & (O_DSYNC | __O_SYNC));
	return image;
}

void mram_image_put(struct mram_image *image)
{
	if (!image)
		return;
	fput(image->file);
	kfree(image);
}

/**
 * mram_image_fits() - whether a region can lie in an image
 * @image: the image
 * @region: the region
 *
 * Return: 0, -EINVAL when direct I/O on the image cannot address the region's
 * pages one by one, -EFBIG when the image cannot be that long.
 */
int mram_image_fits(const struct mram_image *image,
		    const struct mram_region *region)
{
	u64 page_size = 1ULL << region->page_shift;
	loff_t max = image->block ? i_size_read(image->inode) :
				    image->inode->i_sb->s_maxbytes;

	if (!IS_ALIGNED(page_size, image->offset_align) ||
	    !IS_ALIGNED((u64)region->pages_offset, image->offset_align))
		return -EINVAL;
	if (mram_region_end(region) > max)
		return -EFBIG;
	return 0;
}

/*
 * Whether a regular file is shorter than @pos. A pass never means to make it
 * longer, so that one cut short by somebody else is noticed.
 */
bool mram_image_ends_before(const struct mram_image *image, loff_t pos)
{
	return !image->block && i_size_read(image->inode) < pos;
}

/**
 * mram_image_uncache() - leave no page of a range in the page cache
 * @image: the image
 * @pos: first byte
 * @end: byte behind the last
 *
 * Return: whether there were any.
 */
bool mram_image_uncache(const struct mram_image *image, loff_t pos, loff_t end)
{
	struct address_space *mapping = image->data->i_mapping;

	if (!mapping->nrpages || !filemap_range_has_page(mapping, pos, end - 1))
		return false;
	/* An error of writeback is the file's, and reported by its fsync(). */
	filemap_write_and_wait_range(mapping, pos, end - 1);
	invalidate_inode_pages2_range(mapping, pos >> PAGE_SHIFT,
				      (end - 1) >> PAGE_SHIFT);
	return true;
}

/*
 * What generic_write_checks() does for write(2), but in whole blocks, since a
 * limit inside of one would make the direct write fail with EINVAL.
 */
static int mram_image_limit(const struct mram_image *image,
			    struct iov_iter *iter, loff_t pos)
{
	unsigned long limit = rlimit(RLIMIT_FSIZE);

	if (image->block || limit == RLIM_INFINITY)
		return 0;
	limit = round_down(limit, image->offset_align);
	if (pos >= (loff_t)limit) {
		send_sig(SIGXFSZ, current, 0);
		return -EFBIG;
	}
	iov_iter_truncate(iter, limit - pos);
	return 0;
}

/**
 * mram_image_iocb() - what a kiocb for an image starts as
 * @image: the image
 * @load: for reading, which an image that was attached for saving allows, too
 * @iocb: filled in, but for @ki_complete and @ki_pos
 */
void mram_image_iocb(const struct mram_image *image, bool load,
		     struct kiocb *iocb)
{
	init_sync_kiocb(iocb, image->file);
	/* Whoever else has the file may set O_APPEND at any time. */
	iocb->ki_flags &= ~IOCB_APPEND;
	iocb->ki_flags |= IOCB_DIRECT;
	if (!load)
		iocb->ki_flags |= IOCB_WRITE;
}

/*
 * What vfs_iocb_iter_write() asks about the file (security modules, fanotify)
 * it asks for the first write of a chunk; the others go on from there.
 */
static ssize_t mram_image_write(const struct mram_image *image,
				struct kiocb *iocb, struct iov_iter *iter,
				bool check)
{
	bool ours = !check || !MRAM_VFS_WRITE_FREEZE;
	ssize_t ret;

	ret = mram_image_limit(image, iter, iocb->ki_pos);
	if (ret)
		return ret;
	if (ours)
		mram_write_start(iocb);
	ret = check ? vfs_iocb_iter_write(image->file, iocb, iter) :
		      image->file->f_op->write_iter(iocb, iter);
	if (ours && ret != -EIOCBQUEUED)
		mram_write_end(iocb);
	return ret;
}

/**
 * mram_image_rw() - one direct read or write
 * @image: the image
 * @iocb: as mram_image_iocb() made it, @ki_complete and @ki_pos set
 * @iter: from or to where, and which of the two
 * @check: ask whether it is allowed
 *
 * Return: -EIOCBQUEUED when @iocb->ki_complete() will be called, which for a
 * write must call mram_write_end(). Else the bytes moved, or an error, and it
 * will not be called.
 */
ssize_t mram_image_rw(const struct mram_image *image, struct kiocb *iocb,
		      struct iov_iter *iter, bool check)
{
	if (iov_iter_rw(iter) == WRITE)
		return mram_image_write(image, iocb, iter, check);
	if (check)
		return vfs_iocb_iter_read(image->file, iocb, iter);
	return image->file->f_op->read_iter(iocb, iter);
}

/**
 * mram_image_takes_bio() - whether an I/O may be sent as a bio
 * @image: the image
 * @pos: first byte
 * @length: how many
 *
 * Return: false when it must go the way of mram_image_rw(): to a file, or
 * where a device's node says no, or shortens it.
 */
bool mram_image_takes_bio(const struct mram_image *image, loff_t pos,
			  size_t length)
{
	loff_t size;

	if (!image->bios)
		return false;
	size = i_size_read(image->inode);
	if (pos > size || length > size - pos)
		return false;
	return image->load || !bdev_read_only(I_BDEV(image->inode));
}
