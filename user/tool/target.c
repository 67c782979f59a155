// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The file or device that save writes to.
 *
 * It may be overwritten without asking when it is empty, holds an image, or
 * holds nothing at its start. The start is 1 MiB and not just a sector: the
 * marks of file systems lie behind blank sectors, btrfs' 64 KiB from the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "lock.h"
#include "target.h"
#include "tool.h"

#define START_SIZE	(1u << 20)

/* Past the page cache, where the library leaves no page of an image either. */
static int open_start(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	return fd;
}

/* Return: 1 nothing there, 0 something, negative errno */
static int start_is_blank(const char *path)
{
	unsigned char *start = NULL;
	ssize_t got = 0;
	int fd, ret;
	size_t i;

	fd = open_start(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	ret = -posix_memalign((void **)&start, START_SIZE, START_SIZE);
	if (ret)
		goto out;
	got = pread(fd, start, START_SIZE, 0);
	ret = got < 0 ? -errno : 1;
	for (i = 0; ret == 1 && i < (size_t)got; i++)
		if (start[i])
			ret = 0;
	posix_fadvise(fd, 0, START_SIZE, POSIX_FADV_DONTNEED);
out:
	free(start);
	close(fd);
	return ret;
}

static bool holds_image(const char *path)
{
	struct mram_image *img;

	if (mram_image_open(&img, path, NULL))
		return false;
	mram_image_close(img);
	return true;
}

static int check_content(const char *path)
{
	int ret = start_is_blank(path);

	if (ret > 0)
		return 0;
	if (ret < 0)
		return tool_fail("cannot read %s: %s", path, strerror(-ret));
	return tool_fail("%s holds something that is not a whole mapped-ram image; --force overwrites it",
			 path);
}

static int check_existing(struct target *t, const struct regions *rs,
			  bool force)
{
	const struct region *r;
	struct stat st;

	if (stat(t->path, &st))
		return tool_fail("cannot open %s: %s", t->path,
				 strerror(errno));
	t->is_block = S_ISBLK(st.st_mode);
	if (!t->is_block && !S_ISREG(st.st_mode))
		return tool_fail("%s is neither a regular file nor a block device; an image needs one of these",
				 t->path);
	r = regions_find_file(rs, st.st_dev, st.st_ino);
	if (r)
		return tool_fail("%s is the memory of region '%s'; the image needs a file of its own",
				 t->path, r->name);
	if (lock_image(t->path, IMAGE_WRITE))
		return TOOL_FAILED;
	t->held_image = holds_image(t->path);
	if (force || t->held_image || (!t->is_block && !st.st_size))
		return 0;
	return check_content(t->path);
}

/* A new file is durable only with its name. */
static int flush_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	int fd, ret = 0;
	char *dir;

	if (slash)
		dir = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	else
		dir = strdup(".");
	if (!dir)
		return tool_fail("out of memory");
	/* One may write to a directory without being able to read it. */
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fsync(fd) && errno != EINVAL)
		ret = tool_fail("cannot flush %s: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(dir);
	return ret;
}

int target_check(struct target *t, const char *path, const struct regions *rs,
		 bool force)
{
	int fd;

	memset(t, 0, sizeof(*t));
	t->path = path;
	/* It will hold a machine's memory: nobody else reads it by default. */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return check_existing(t, rs, force);
	if (fd < 0)
		return tool_fail("cannot make %s: %s", path, strerror(errno));
	t->created = true;
	if (cleanup_add_file(path, fd)) {
		close(fd);
		return TOOL_FAILED;
	}
	close(fd);
	if (lock_image(path, IMAGE_WRITE))
		return TOOL_FAILED;
	return flush_directory(path);
}

static int zero_start(const char *path)
{
	void *zero = NULL;
	ssize_t put;
	int fd, ret;

	fd = open_start(path, O_WRONLY | O_DSYNC);
	if (fd < 0)
		return -errno;
	ret = -posix_memalign(&zero, START_SIZE, START_SIZE);
	if (!ret) {
		memset(zero, 0, START_SIZE);
		put = pwrite(fd, zero, START_SIZE, 0);
		if (put != START_SIZE)
			ret = put < 0 ? -errno : -EIO;
	}
	free(zero);
	close(fd);
	return ret;
}

int target_begun(struct target *t)
{
	t->begun = true;
	/* For the ways to end that do not come by target_abandon(). */
	return t->created || t->is_block ? 0 : cleanup_add_spoilt(t->path);
}

void target_abandon(const struct target *t, struct mram_error *err)
{
	size_t length = strlen(err->message);
	int ret = 0;

	/* To begin can fail before and after the image lost its validity. */
	if (t->created ||
	    (!t->begun && !(t->held_image && !holds_image(t->path))))
		return;
	if (t->is_block)
		ret = zero_start(t->path);
	else if (truncate(t->path, 0))
		ret = -errno;
	if (ret)
		snprintf(err->message + length, sizeof(err->message) - length,
			 "%sit cannot be emptied: %s", length ? "; " : "",
			 strerror(-ret));
}
