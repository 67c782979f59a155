// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keeping two jobs off one image. Two saves at once would end in an image that
 * looks valid and holds a mixture.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lock.h"
#include "tool.h"

int lock_image(const char *path, enum image_use use)
{
	bool write = use == IMAGE_WRITE, busy;
	struct stat st;
	int fd;

	if (stat(path, &st) || !S_ISREG(st.st_mode))
		return 0;
	/* For writing: file systems on a network want that for such a lock. */
	fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0;
	/* The lock lives as long as this descriptor, that is, as the tool. */
	if (!flock(fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB))
		return 0;
	busy = errno == EWOULDBLOCK;
	close(fd);
	/* Some file systems have no locks. */
	if (!busy)
		return 0;
	return tool_fail("%s is in use by another mapped-ram; wait until it is done",
			 path);
}
