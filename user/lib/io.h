/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Metadata I/O: any byte range of an image, a regular file or a block device,
 * past the page cache. Small and seldom, so one aligned bounce buffer and
 * blocking calls are enough; pages are the engines' business.
 *
 * It also owns the crash rule. Between mram_io_invalidate() and
 * mram_io_validate() the first block on disk is zero, and what is written to
 * it meanwhile is held back in memory.
 */
#ifndef MRAM_IO_H
#define MRAM_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <mappedram.h>

/** MRAM_IO_BOUNCE - size of the bounce buffer in bytes */
#define MRAM_IO_BOUNCE	0x20000U

/** MRAM_IO_WRITE - open for reading and writing; make a missing file */
#define MRAM_IO_WRITE	(1u << 0)

/**
 * struct mram_io - an open image; read only for users
 * @fd: O_DIRECT when @direct. Engines may use it; it is closed by
 *      mram_io_close(). Offset and lock state are not used.
 * @path: as given, for messages
 * @writable: opened with MRAM_IO_WRITE
 * @is_block: a block device
 * @direct: I/O goes past the page cache. False on file systems that cannot do
 *          that; everything works, but the page cache is used (and dropped at
 *          each flush).
 * @created: mram_io_open() made the file
 * @align: alignment of offsets and lengths of I/O on @fd, a power of two
 * @mem_align: alignment of memory for I/O on @fd, a power of two
 * @first_size: bytes that are zero until commit: max(4096, @align)
 * @held: first block while it is held back, else NULL
 * @bounce: the bounce buffer
 */
struct mram_io {
	int fd;
	char *path;
	bool writable;
	bool is_block;
	bool direct;
	bool created;
	uint32_t align;
	uint32_t mem_align;
	uint32_t first_size;
	uint8_t *held;
	uint8_t *bounce;
};

/**
 * mram_io_open - open an image
 * @flags: 0 or MRAM_IO_WRITE
 *
 * Changes nothing but that it makes a missing file (mode 0600: it will hold a
 * machine's memory). A block device is opened for writing only if nothing has
 * it mounted. -ENODEV: neither a regular file nor a block device.
 */
int mram_io_open(struct mram_io **out, const char *path, uint32_t flags,
		 struct mram_error *err);

/** mram_io_close - close and free; what is held back is lost. NULL is fine */
void mram_io_close(struct mram_io *io);

/** mram_io_size - the file's or device's size in bytes now */
int mram_io_size(struct mram_io *io, uint64_t *size, struct mram_error *err);

/**
 * mram_io_read - read exactly @length bytes
 *
 * Straight into @data where that, @offset and @length are aligned as the file
 * wants it. -ENODATA when the file ends before.
 */
int mram_io_read(struct mram_io *io, uint64_t offset, void *data,
		 size_t length, struct mram_error *err);

/**
 * mram_io_next_data - the first offset from @offset on that may not be a hole
 *
 * At most @end. Holes read as zero; asking only saves reading them.
 */
uint64_t mram_io_next_data(struct mram_io *io, uint64_t offset, uint64_t end);

/**
 * mram_io_write - write exactly @length bytes
 *
 * Straight from @data where that, @offset and @length are aligned as the file
 * wants it; else blocks that are not written whole are read first. A regular
 * file may grow up to the next multiple of io->align; see mram_io_resize(). Not
 * durable before mram_io_flush(). Nobody else may write to the aligned blocks
 * that the range touches.
 */
int mram_io_write(struct mram_io *io, uint64_t offset, const void *data,
		  size_t length, struct mram_error *err);

/**
 * mram_io_resize - make a regular file exactly @size bytes long
 *
 * On a block device: -ENOSPC if it is smaller, else nothing.
 */
int mram_io_resize(struct mram_io *io, uint64_t size, struct mram_error *err);

/** mram_io_flush - make everything written to the file durable */
int mram_io_flush(struct mram_io *io, struct mram_error *err);

/**
 * mram_io_invalidate - make the first block zero, durably, and hold it back
 *
 * May be called again; what was held back is forgotten.
 */
int mram_io_invalidate(struct mram_io *io, struct mram_error *err);

/**
 * mram_io_validate - write the first block and make it durable
 *
 * Flush everything else before. After an error the first block is still held
 * back, and on disk it may be either.
 */
int mram_io_validate(struct mram_io *io, struct mram_error *err);

/** mram_io_alloc - memory that I/O on the file accepts; free() it */
void *mram_io_alloc(const struct mram_io *io, size_t size);

/** mram_io_err - mram_err() for "PATH: cannot @what: (what @code means)" */
int mram_io_err(const struct mram_io *io, struct mram_error *err, int code,
		const char *what);

#endif /* MRAM_IO_H */
