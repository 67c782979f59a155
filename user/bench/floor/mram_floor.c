// SPDX-License-Identifier: GPL-2.0
/*
 * The floor of the experiments: what the I/Os of a job cost as raw bios. Pages
 * and memory ranges are there before the clock runs; a run does nothing but fill
 * in bios and submit them, in batches under a plug. Those of a commit come one
 * after the other.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/llist.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mram_floor.h"

#define FLOOR_BATCH	8U	/* like MRAM_REQUESTS in kmod/transfer.c */
#define FLOOR_MAX	(1U << 24)	/* pages, or extents */
#define FLOOR_WINDOW	4096U

struct floor_io {
	struct bio bio;
	struct llist_node node;
	struct floor *floor;
};

struct floor_extent {
	sector_t sector;
	struct bio_vec *bvec;
	unsigned int nr_bvecs;
	unsigned int size;
};

struct floor {
	struct mutex lock;
	struct mram_floor_set set;
	struct file *target;
	struct page **pages;
	unsigned long nr_pages;
	struct bio_vec *bvecs;
	struct floor_extent *extents;
	struct floor_io *ios;
	struct llist_node *free;
	struct llist_head done;
	unsigned int in_flight;
	struct task_struct *task;
	bool waiting;
	blk_status_t status;
};

static void floor_end_io(struct bio *bio)
{
	struct floor_io *io = container_of(bio, struct floor_io, bio);
	struct floor *f = io->floor;

	f->status = f->status ?: bio->bi_status;
	bio_uninit(bio);
	/* What is looked at last outlives the run: see floor_release(). */
	rcu_read_lock();
	llist_add(&io->node, &f->done);
	if (READ_ONCE(f->waiting))
		wake_up_process(f->task);
	rcu_read_unlock();
}

/* Take what has ended; wait for something if there is nothing. */
static void floor_reap(struct floor *f)
{
	struct llist_node *node, *next;

	WRITE_ONCE(f->waiting, true);
	for (;;) {
		set_current_state(TASK_UNINTERRUPTIBLE);
		if (!llist_empty(&f->done))
			break;
		io_schedule();
	}
	__set_current_state(TASK_RUNNING);
	WRITE_ONCE(f->waiting, false);
	llist_for_each_safe(node, next, llist_del_all(&f->done)) {
		node->next = f->free;
		f->free = node;
		f->in_flight--;
	}
}

static void floor_submit(struct floor *f, const struct floor_extent *x)
{
	struct floor_io *io = llist_entry(f->free, struct floor_io, node);
	struct bio *bio = &io->bio;

	f->free = f->free->next;
	f->in_flight++;
	bio_init(bio, I_BDEV(f->target->f_mapping->host), x->bvec, x->nr_bvecs,
		 REQ_OP_WRITE | REQ_SYNC | REQ_IDLE);
	bio->bi_vcnt = x->nr_bvecs;
	bio->bi_iter.bi_sector = x->sector;
	bio->bi_iter.bi_size = x->size;
	bio->bi_end_io = floor_end_io;
	submit_bio(bio);
}

static long floor_run(struct floor *f)
{
	struct blk_plug plug;
	unsigned int ahead = 0;
	unsigned long i;

	if (!f->free)
		return -EINVAL;
	f->task = current;
	f->status = BLK_STS_OK;
	blk_start_plug(&plug);
	for (i = 0; i < f->set.nr; i++) {
		/* What is plugged does not end. */
		if (!ahead || !f->free)
			blk_finish_plug(&plug);
		if (!f->free || !llist_empty(&f->done))
			floor_reap(f);
		if (!ahead || !current->plug) {
			blk_start_plug(&plug);
			ahead = min(f->set.window - f->in_flight, FLOOR_BATCH);
			plug.nr_ios = ahead;
		}
		ahead--;
		floor_submit(f, &f->extents[i]);
	}
	blk_finish_plug(&plug);
	while (f->in_flight)
		floor_reap(f);
	return blk_status_to_errno(f->status);
}

static int floor_write_block(const struct floor *f, loff_t pos)
{
	struct block_device *bdev = I_BDEV(f->target->f_mapping->host);
	struct bio_vec bvec;
	struct bio bio;
	int err;

	bvec_set_page(&bvec, f->pages[0], PAGE_SIZE, 0);
	bio_init(&bio, bdev, &bvec, 1, REQ_OP_WRITE | REQ_SYNC | REQ_IDLE);
	bio.bi_vcnt = 1;
	bio.bi_iter.bi_sector = pos >> SECTOR_SHIFT;
	bio.bi_iter.bi_size = PAGE_SIZE;
	err = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return err ?: blkdev_issue_flush(bdev);
}

static int floor_commit(const struct floor *f)
{
	loff_t end = f->set.offset + ((loff_t)f->set.pages << PAGE_SHIFT);

	if (!f->free)
		return -EINVAL;
	return floor_write_block(f, end) ?: floor_write_block(f, 0);
}

/* An extent's place on the device and in memory. */
static struct bio_vec *floor_extent(const struct floor *f,
				    struct floor_extent *x, loff_t pos,
				    unsigned long nr, struct bio_vec *bvec)
{
	struct page **page = f->pages + (pos >> PAGE_SHIFT), *next = NULL;

	x->sector = (f->set.offset + pos) >> SECTOR_SHIFT;
	x->size = nr << PAGE_SHIFT;
	x->bvec = bvec;
	for (; nr; nr--, next = *page++ + 1) {
		if (bvec > x->bvec && *page == next)
			bvec[-1].bv_len += PAGE_SIZE;
		else
			bvec_set_page(bvec++, *page, PAGE_SIZE, 0);
	}
	x->nr_bvecs = bvec - x->bvec;
	return bvec;
}

static int floor_plan(struct floor *f)
{
	const struct mram_floor_extent __user *from =
		u64_to_user_ptr(f->set.extents);
	struct bio_vec *bvec = f->bvecs;
	unsigned long i, left = f->set.pages;
	struct mram_floor_extent in;

	for (i = 0; i < f->set.nr; i++, left -= in.nr) {
		if (copy_from_user(&in, &from[i], sizeof(in)))
			return -EFAULT;
		/* Each page once: for so many there is room. */
		if (!in.nr || in.nr > left || in.nr > U16_MAX ||
		    in.page > f->set.pages - in.nr)
			return -EINVAL;
		bvec = floor_extent(f, &f->extents[i], in.page << PAGE_SHIFT,
				    in.nr, bvec);
	}
	return 0;
}

static long floor_set(struct floor *f, const void __user *arg)
{
	struct mram_floor_set *set = &f->set;
	int got, err, i;

	if (f->target || copy_from_user(set, arg, sizeof(*set)))
		return -EFAULT;
	if (!set->pages || set->pages > FLOOR_MAX || set->nr > FLOOR_MAX ||
	    !set->window || set->window > FLOOR_WINDOW ||
	    set->offset & ~PAGE_MASK || set->offset > S64_MAX / 2)
		return -EINVAL;
	f->target = fget(set->fd);
	if (!f->target || !(f->target->f_mode & FMODE_WRITE) ||
	    !S_ISBLK(f->target->f_mapping->host->i_mode))
		return -EBADF;
	f->pages = kvcalloc(set->pages, sizeof(*f->pages), GFP_KERNEL);
	f->bvecs = kvcalloc(set->pages, sizeof(*f->bvecs), GFP_KERNEL);
	f->extents = kvcalloc(set->nr, sizeof(*f->extents), GFP_KERNEL);
	f->ios = kvcalloc(set->window, sizeof(*f->ios), GFP_KERNEL);
	if (!f->pages || !f->bvecs || !f->extents || !f->ios)
		return -ENOMEM;
	got = get_user_pages_fast(set->addr, set->pages, 0, f->pages);
	f->nr_pages = max(got, 0);
	if (f->nr_pages < set->pages)
		return -EFAULT;
	err = floor_plan(f);
	for (i = 0; i < set->window && !err; i++) {
		f->ios[i].floor = f;
		f->ios[i].node.next = f->free;
		f->free = &f->ios[i].node;
	}
	return err;
}

static long floor_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct floor *f = file->private_data;
	long ret = -ENOTTY;

	mutex_lock(&f->lock);
	if (cmd == MRAM_FLOOR_SET)
		ret = floor_set(f, (void __user *)arg);
	else if (cmd == MRAM_FLOOR_RUN)
		ret = floor_run(f);
	else if (cmd == MRAM_FLOOR_COMMIT)
		ret = floor_commit(f);
	mutex_unlock(&f->lock);
	return ret;
}

static int floor_open(struct inode *inode, struct file *file)
{
	struct floor *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	mutex_init(&f->lock);
	file->private_data = f;
	return 0;
}

static int floor_release(struct inode *inode, struct file *file)
{
	struct floor *f = file->private_data;

	/* Completions that have said so may still look whether we wait. */
	synchronize_rcu();
	release_pages(f->pages, f->nr_pages);
	if (f->target)
		fput(f->target);
	kvfree(f->ios);
	kvfree(f->extents);
	kvfree(f->bvecs);
	kvfree(f->pages);
	kfree(f);
	return 0;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.open = floor_open,
	.release = floor_release,
	.unlocked_ioctl = floor_ioctl,
};

static struct miscdevice floor_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mram_floor",
	.fops = &floor_fops,
};
module_misc_device(floor_device);

MODULE_DESCRIPTION("The floor of mapped_ram's experiments");
MODULE_LICENSE("GPL");
