// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A copy of an image that shares all its data with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

static const char *advice(int code)
{
	if (code == -EOPNOTSUPP || code == -EXDEV || code == -EINVAL ||
	    code == -ENOTTY)
		return ": both must be files of one file system that can share data, such as XFS or btrfs";
	return "";
}

int mram_image_clone(const char *from, const char *to, struct mram_error *err)
{
	int in, out, ret = 0;
	bool created = false;

	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return mram_err(err, -errno, "%.200s: cannot open: %s", from,
				strerror(errno));
	/* It holds a machine's memory: nobody else reads it by default. */
	out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out >= 0)
		created = true;
	else if (errno == EEXIST)
		out = open(to, O_WRONLY | O_CLOEXEC);
	if (out < 0) {
		ret = mram_err(err, -errno, "%.200s: cannot open: %s", to,
			       strerror(errno));
	} else if (ioctl(out, FICLONE, in)) {
		ret = -errno;
		if (ret == -ENOTTY || ret == -EINVAL)
			ret = -EOPNOTSUPP;
		mram_err(err, ret, "%.200s: cannot share the data of %.200s: %s%s",
			 to, from, strerror(-ret), advice(ret));
	}
	if (out >= 0)
		close(out);
	close(in);
	if (ret && created)
		unlink(to);
	return ret;
}
