// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Engine `uring`: many extents in flight through io_uring.
 *
 * The image is a registered file. Memory is registered only where the caller
 * asks for it with MRAM_REGION_PIN: registered buffers pin every page, which
 * allocates what was never touched and goes on writing pages that the caller
 * has discarded since.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "pass.h"
#include "uring_buffers.h"

#define RING_SIZE	256

/* Submit when this much is queued, and before any wait. */
#define QUEUE_IOS	16
#define QUEUE_BYTES	(256u << 10)

/* Tries to submit while the kernel is out of memory, 1 ms apart. */
#define SUBMIT_TRIES	1000

/**
 * struct slot - an I/O in flight
 * @number: of this submission, counting from 1; 0 when the slot is free
 */
struct slot {
	struct extent x;
	uint64_t number;
};

/**
 * struct uring - the engine
 * @queued: submissions put into the ring so far
 * @submitted: of these, taken by the kernel
 * @busy: slots in use
 * @queued_bytes: of what the kernel has not taken
 * @broken: the kernel takes no more: go on with blocking calls
 */
struct uring {
	struct mover m;
	struct io_uring ring;
	struct uring_buffers buffers;
	bool fixed_file;
	bool broken;
	uint64_t queued;
	uint64_t submitted;
	uint64_t queued_bytes;
	uint32_t busy;
	uint32_t nr_free;
	uint32_t free[RING_SIZE];
	struct slot slots[RING_SIZE];
};

static struct uring *to_uring(struct mover *m)
{
	return (struct uring *)m;
}

/*
 * An I/O stays in one buffer: the rest of the extent follows as that of a short
 * write would. Return its length.
 */
static size_t prepare_fixed(const struct uring *u, const struct slot *slot,
			    struct io_uring_sqe *sqe, int fd)
{
	const struct mover *m = &u->m;
	char *addr = extent_addr(m, &slot->x);
	uint64_t offset = addr - (char *)m->r->addr;
	uint64_t length = URING_BUFFER - offset % URING_BUFFER;
	int index = m->r->id + offset / URING_BUFFER;

	if (length > extent_rest(m, &slot->x))
		length = extent_rest(m, &slot->x);
	if (m->load)
		io_uring_prep_read_fixed(sqe, fd, addr, length,
					 extent_offset(m, &slot->x), index);
	else
		io_uring_prep_write_fixed(sqe, fd, addr, length,
					  extent_offset(m, &slot->x), index);
	return length;
}

/* @blocking: it would not go without: let a kernel thread wait for it. */
static void queue(struct uring *u, struct slot *slot, bool blocking)
{
	/* Cannot fail: the ring has room for every slot. */
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	int fd = u->fixed_file ? 0 : u->m.base.io->fd;
	size_t length = extent_rest(&u->m, &slot->x);

	if (u->m.r->id != URING_NO_BUFFERS)
		length = prepare_fixed(u, slot, sqe, fd);
	else if (u->m.load)
		io_uring_prep_read(sqe, fd, extent_addr(&u->m, &slot->x),
				   length, extent_offset(&u->m, &slot->x));
	else
		io_uring_prep_write(sqe, fd, extent_addr(&u->m, &slot->x),
				    length, extent_offset(&u->m, &slot->x));
	if (u->fixed_file)
		sqe->flags |= IOSQE_FIXED_FILE;
	if (blocking)
		sqe->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data64(sqe, slot - u->slots);
	slot->number = ++u->queued;
	u->queued_bytes += length;
}

static void move_blocking(struct uring *u, struct extent *x)
{
	int fd = u->m.base.io->fd;
	ssize_t res;

	do {
		res = u->m.load ?
		      pread(fd, extent_addr(&u->m, x), extent_rest(&u->m, x),
			    extent_offset(&u->m, x)) :
		      pwrite(fd, extent_addr(&u->m, x), extent_rest(&u->m, x),
			     extent_offset(&u->m, x));
	} while (extent_advance(&u->m, x, res < 0 ? -errno : res));
}

static void release(struct uring *u, struct slot *slot)
{
	slot->number = 0;
	u->free[u->nr_free++] = slot - u->slots;
	u->busy--;
}

/* The kernel takes no more submissions: move what it has not taken here. */
static void break_down(struct uring *u)
{
	uint32_t i;

	u->broken = true;
	for (i = 0; i < RING_SIZE; i++) {
		if (u->slots[i].number <= u->submitted)
			continue;
		move_blocking(u, &u->slots[i].x);
		release(u, &u->slots[i]);
	}
}

/* Deal with what has ended. Return whether anything had. */
static bool reap(struct uring *u)
{
	struct io_uring_cqe *cqes[32];
	unsigned int i, nr;

	nr = io_uring_peek_batch_cqe(&u->ring, cqes, 32);
	for (i = 0; i < nr; i++) {
		struct slot *slot =
			&u->slots[io_uring_cqe_get_data64(cqes[i])];
		int res = cqes[i]->res;

		if (!extent_advance(&u->m, &slot->x, res))
			release(u, slot);
		else if (u->broken)
			slot->number = UINT64_MAX;
		else
			queue(u, slot, res == -EAGAIN);
	}
	io_uring_cq_advance(&u->ring, nr);
	if (nr && u->broken)
		break_down(u);
	return nr;
}

/* Let the kernel take what is queued. */
static void submit(struct uring *u)
{
	int tries = 0, ret;

	u->queued_bytes = 0;
	while (!u->broken && io_uring_sq_ready(&u->ring)) {
		ret = io_uring_submit(&u->ring);
		if (ret > 0) {
			u->submitted += ret;
			continue;
		}
		if ((ret != -EAGAIN && ret != -EBUSY && ret != -ENOMEM &&
		     ret != -EINTR) || ++tries == SUBMIT_TRIES) {
			break_down(u);
			return;
		}
		/* What ends gives memory back. */
		if (!reap(u))
			usleep(1000);
	}
}

/* Wait until something has ended. */
static void wait_one(struct uring *u)
{
	struct io_uring_cqe *cqe;
	int ret;

	submit(u);
	if (!u->busy || reap(u))
		return;
	ret = io_uring_wait_cqe(&u->ring, &cqe);
	if (ret == -EINTR)
		mover_stop(&u->m, -EINTR, ENGINE_NO_PAGE);
	else if (ret)
		usleep(1000);
	reap(u);
}

static void start(struct mover *m, const struct extent *x)
{
	struct uring *u = to_uring(m);
	struct extent copy = *x;
	struct slot *slot;

	while (u->busy >= m->window)
		wait_one(u);
	if (u->broken) {
		move_blocking(u, &copy);
		return;
	}
	slot = &u->slots[u->free[--u->nr_free]];
	u->busy++;
	slot->x = *x;
	queue(u, slot, false);
	if (u->queued_bytes >= QUEUE_BYTES ||
	    io_uring_sq_ready(&u->ring) >= QUEUE_IOS)
		submit(u);
}

static void kick(struct mover *m)
{
	submit(to_uring(m));
}

static void drain(struct mover *m)
{
	struct uring *u = to_uring(m);

	while (u->busy)
		wait_one(u);
}

static const struct mover_ops mover_ops = {
	.start = start,
	.kick = kick,
	.drain = drain,
	.default_extent = 1 << 20,
	.default_window = 32,
	.max_window = RING_SIZE,
};

static int make_ring(struct io_uring *ring, unsigned int entries)
{
	int ret;

	ret = io_uring_queue_init(entries, ring, IORING_SETUP_COOP_TASKRUN);
	if (ret == -EINVAL)
		ret = io_uring_queue_init(entries, ring, 0);
	return ret;
}

static int no_ring(struct mram_error *err, int code)
{
	const char *why = "";

	if (code == -ENOSYS)
		why = ": the kernel has none";
	else if (code == -EPERM)
		why = ": forbidden by kernel.io_uring_disabled or a seccomp filter";
	else if (code == -ENOMEM)
		why = ": raise RLIMIT_MEMLOCK";
	return mram_err(err, code, "engine uring: cannot make an io_uring: %s%s",
			strerror(-code), why);
}

static int probe(struct mram_error *err)
{
	struct io_uring ring;
	int ret;

	ret = make_ring(&ring, 2);
	if (ret)
		return no_ring(err, ret);
	io_uring_queue_exit(&ring);
	return 0;
}

static int open_engine(struct engine **out, const struct mram_io *io,
		       bool load, struct mram_error *err)
{
	struct uring *u = calloc(1, sizeof(*u));
	uint32_t i;
	int ret;

	if (!u)
		return mram_err(err, -ENOMEM, "%s: out of memory", io->path);
	ret = mover_open(&u->m, &engine_uring, &mover_ops, io, load, err);
	if (ret)
		goto free;
	ret = make_ring(&u->ring, RING_SIZE);
	if (ret) {
		ret = no_ring(err, ret);
		goto close;
	}
	u->buffers.ring = &u->ring;
	u->fixed_file = !io_uring_register_files(&u->ring, &io->fd, 1);
	for (i = 0; i < RING_SIZE; i++)
		u->free[u->nr_free++] = RING_SIZE - 1 - i;
	*out = &u->m.base;
	return 0;
close:
	mover_close(&u->m);
free:
	free(u);
	return ret;
}

static int add_region(struct engine *e, struct engine_region *r,
		      struct mram_error *err)
{
	struct uring *u = to_uring(to_mover(e));
	int ret;

	r->id = URING_NO_BUFFERS;
	ret = mover_add_region(e, r, err);
	if (ret || !(r->flags & MRAM_REGION_PIN))
		return ret;
	ret = uring_buffers_add(&u->buffers, r, err);
	if (ret)
		mover_remove_region(e, r);
	return ret;
}

static void close_engine(struct engine *e)
{
	struct uring *u = to_uring(to_mover(e));

	/* The ring is torn down later, file and memory must be free at once. */
	uring_buffers_release(&u->buffers);
	if (u->fixed_file)
		io_uring_unregister_files(&u->ring);
	io_uring_queue_exit(&u->ring);
	mover_close(&u->m);
	free(u);
}

const struct engine_ops engine_uring = {
	.name = "uring",
	.probe = probe,
	.open = open_engine,
	.add_region = add_region,
	.remove_region = mover_remove_region,
	.save = mover_save,
	.load = mover_load,
	.close = close_engine,
};
