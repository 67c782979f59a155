// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Opening an image for metadata I/O: which files will do, and what direct I/O
 * on them wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "format.h"
#include "io.h"

/* Nobody's direct I/O wants more, and the bounce buffer has to hold it. */
#define ALIGN_MAX	MRAM_IO_BOUNCE

/*
 * Without an answer from the file system: what any of them is content with
 * on any disk sold.
 */
#define ALIGN_GUESS	4096U

int mram_io_err(const struct mram_io *io, struct mram_error *err, int code,
		const char *what)
{
	return mram_err(err, code, "%.200s: cannot %s: %s", io->path, what,
			strerror(-code));
}

static int open_direct(struct mram_io *io, int flags)
{
	io->direct = true;
	io->fd = open(io->path, flags | O_DIRECT | O_CLOEXEC, 0600);
	if (io->fd < 0 && errno == EINVAL) {
		/* O_CREAT may have made the file before O_DIRECT was refused. */
		io->direct = false;
		io->fd = open(io->path, (flags & ~O_EXCL) | O_CLOEXEC, 0600);
	}
	return io->fd < 0 ? -errno : 0;
}

/* A new file is durable only with its name. */
static int flush_directory(struct mram_io *io, struct mram_error *err)
{
	const char *slash = strrchr(io->path, '/');
	char *dir;
	int fd, ret = 0;

	if (!slash)
		dir = strdup(".");
	else
		dir = strndup(io->path, slash == io->path ? 1 :
					(size_t)(slash - io->path));
	if (!dir)
		return mram_err(err, -ENOMEM, "no memory for a path");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	/* A directory one may write to but not read: nothing to be done. */
	if (fd < 0)
		return 0;
	/* Some file systems cannot flush directories and need not to. */
	if (fsync(fd) && errno != EINVAL)
		ret = mram_io_err(io, err, -errno, "flush the directory");
	close(fd);
	return ret;
}

/*
 * The type is looked at before opening: opening a FIFO would wait, opening
 * other devices may have effects.
 */
static int open_file(struct mram_io *io, struct mram_error *err)
{
	struct stat st;
	int flags, ret;

	if (stat(io->path, &st)) {
		ret = -errno;
		if (ret != -ENOENT || !io->writable)
			return mram_io_err(io, err, ret, "open");
		ret = open_direct(io, O_RDWR | O_CREAT | O_EXCL);
		if (ret)
			return mram_io_err(io, err, ret, "create");
		io->created = true;
		ret = flush_directory(io, err);
		if (ret)
			return ret;
	} else {
		io->is_block = S_ISBLK(st.st_mode);
		if (!io->is_block && !S_ISREG(st.st_mode))
			return mram_err(err, -ENODEV,
					"%.200s: neither a regular file nor a block device",
					io->path);
		flags = io->writable ? O_RDWR : O_RDONLY;
		/* On a block device: fail if it is mounted. */
		if (io->writable && io->is_block)
			flags |= O_EXCL;
		ret = open_direct(io, flags);
		if (ret)
			return mram_io_err(io, err, ret, "open");
	}

	if (fstat(io->fd, &st))
		return mram_io_err(io, err, -errno, "look at");
	if (S_ISBLK(st.st_mode) != io->is_block ||
	    (!io->is_block && !S_ISREG(st.st_mode)))
		return mram_err(err, -ENODEV, "%.200s: changed while it was opened",
				io->path);
	return 0;
}

/* 0 where the kernel does not tell. */
static bool ask_alignment(struct mram_io *io)
{
#ifdef STATX_DIOALIGN
	struct statx stx;

	if (!statx(io->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN) {
		io->align = stx.stx_dio_offset_align;
		io->mem_align = stx.stx_dio_mem_align;
		return true;
	}
#endif
	return false;
}

static int find_alignment(struct mram_io *io, struct mram_error *err)
{
	int sector = 0, flags;

	if (io->direct && ask_alignment(io) && !io->align) {
		/* The flag was taken, but such a file cannot do it. */
		flags = fcntl(io->fd, F_GETFL);
		if (flags < 0 || fcntl(io->fd, F_SETFL, flags & ~O_DIRECT))
			return mram_io_err(io, err, -errno, "go without direct I/O");
		io->direct = false;
	}
	if (!io->direct) {
		io->align = 1;
		io->mem_align = 1;
		return 0;
	}
	if (!io->align && io->is_block) {
		if (ioctl(io->fd, BLKSSZGET, &sector))
			return mram_io_err(io, err, -errno, "ask for the sector size");
		io->align = (uint32_t)sector;
	}
	if (!io->align)
		io->align = ALIGN_GUESS;
	if (!io->mem_align)
		io->mem_align = io->align;
	if (io->align > ALIGN_MAX || io->align & (io->align - 1) ||
	    io->mem_align > ALIGN_MAX || io->mem_align & (io->mem_align - 1))
		return mram_err(err, -EOPNOTSUPP,
				"%.200s: direct I/O wants an alignment of %u bytes (memory: %u), expected a power of two up to %u",
				io->path, io->align, io->mem_align, ALIGN_MAX);
	return 0;
}

void *mram_io_alloc(const struct mram_io *io, size_t size)
{
	size_t align = io->mem_align > 4096 ? io->mem_align : 4096;
	void *p;

	return posix_memalign(&p, align, size) ? NULL : p;
}

int mram_io_open(struct mram_io **out, const char *path, uint32_t flags,
		 struct mram_error *err)
{
	struct mram_io *io;
	int ret;

	if (flags & ~MRAM_IO_WRITE)
		return mram_err(err, -EINVAL, "unknown flags 0x%x", flags);
	io = calloc(1, sizeof(*io));
	if (!io)
		return mram_err(err, -ENOMEM, "no memory to open an image");
	io->fd = -1;
	io->writable = flags & MRAM_IO_WRITE;
	io->path = strdup(path);
	if (!io->path) {
		ret = mram_err(err, -ENOMEM, "no memory to open an image");
		goto fail;
	}
	ret = open_file(io, err);
	if (!ret)
		ret = find_alignment(io, err);
	if (ret)
		goto fail;
	io->first_size = io->align > MRAM_FIRST_BLOCK ? io->align :
						       MRAM_FIRST_BLOCK;
	io->bounce = mram_io_alloc(io, MRAM_IO_BOUNCE);
	if (!io->bounce) {
		ret = mram_err(err, -ENOMEM, "no memory for a bounce buffer");
		goto fail;
	}
	*out = io;
	return 0;

fail:
	if (io->created)
		unlink(io->path);
	mram_io_close(io);
	return ret;
}

void mram_io_close(struct mram_io *io)
{
	if (!io)
		return;
	if (io->fd >= 0)
		close(io->fd);
	free(io->held);
	free(io->bounce);
	free(io->path);
	free(io);
}
