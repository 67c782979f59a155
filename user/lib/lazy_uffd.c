// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * userfaultfd(2): opening one, and its ioctls. The only file of lazy*.c that
 * knows what which kernel offers.
 *
 * Pages are placed with UFFDIO_COPY, for all kinds of memory. Of the other ways
 * UFFDIO_CONTINUE, or letting go of a range (reading straight into a second
 * mapping of a shared file) costs more on pages of 4 KiB, since direct I/O has to
 * fault in and clear each of them. UFFDIO_MOVE takes one call for pages that lie
 * apart, but each page that it moves interrupts every processor on which the
 * process runs, which is where the guest is. user/bench/place.c measures both.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "lazy.h"

/* Headers may be older than the kernel. */
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW	_IO(0xaa, 0x00)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON	(1 << 14)
#endif
#ifndef UFFDIO_POISON
struct uffdio_poison {
	struct uffdio_range range;
	__u64 mode;
	__s64 updated;
};
#define UFFDIO_POISON		_IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

#define WANTED	(UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP | \
		 UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_MISSING_HUGETLBFS | \
		 UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_POISON)

/* The system call where it is allowed, otherwise the device. */
static int new_fd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev;

	if (fd >= 0 || errno != EPERM)
		return fd < 0 ? -errno : fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -EPERM;
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = -errno;
	close(dev);
	return fd;
}

static int no_fd(int code, struct mram_error *err)
{
	return mram_err(err, code, "restore: cannot make a userfaultfd: %s%s",
			strerror(-code), code == -EPERM ?
			": set vm.unprivileged_userfaultfd, or allow access to /dev/userfaultfd" :
			"");
}

int lazy_uffd_open(struct lazy_fd *f, struct mram_error *err)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd, ret;

	/* What is offered is told by one that asks for nothing. */
	fd = new_fd();
	if (fd < 0)
		return no_fd(fd, err);
	ret = ioctl(fd, UFFDIO_API, &api) ? -errno : 0;
	close(fd);
	if (ret)
		return no_fd(ret, err);
	fd = new_fd();
	if (fd < 0)
		return no_fd(fd, err);
	api = (struct uffdio_api){
		.api = UFFD_API,
		.features = api.features & WANTED,
	};
	*f = (struct lazy_fd){ .fd = fd, .own = true };
	f->features = api.features;
	if (!ioctl(fd, UFFDIO_API, &api))
		return 0;
	ret = -errno;
	close(fd);
	return no_fd(ret, err);
}

/* The kernel tells the features of an open one only here. */
static bool read_features(int fd, uint64_t *features)
{
	char path[48], line[128];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "API: %*x:%" SCNx64, features) == 1;
	fclose(file);
	return found;
}

int lazy_uffd_adopt(struct lazy_fd *f, int fd, struct mram_error *err)
{
	uint64_t features;
	int flags;

	if (!read_features(fd, &features))
		return mram_err(err, -EINVAL,
				"restore: file descriptor %d is not a userfaultfd",
				fd);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return mram_err(err, -errno, "restore: userfaultfd %d: %s", fd,
				strerror(errno));
	*f = (struct lazy_fd){ .fd = fd, .features = features };
	return 0;
}

bool lazy_uffd_can_poison(const struct lazy_fd *f)
{
	return f->features & UFFD_FEATURE_POISON;
}

int lazy_uffd_register(int fd, uint64_t addr, uint64_t length, uint64_t *ioctls)
{
	struct uffdio_register r = {
		.range = { .start = addr, .len = length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(fd, UFFDIO_REGISTER, &r))
		return -errno;
	*ioctls = r.ioctls;
	return 0;
}

void lazy_uffd_wake(int fd, uint64_t addr, uint64_t length)
{
	struct uffdio_range r = { .start = addr, .len = length };

	ioctl(fd, UFFDIO_WAKE, &r);
}

int lazy_uffd_unregister(int fd, uint64_t addr, uint64_t length)
{
	struct uffdio_range r = { .start = addr, .len = length };
	int ret = ioctl(fd, UFFDIO_UNREGISTER, &r) ? -errno : 0;

	/*
	 * The kernel wakes whoever waits before it lets go of the memory, and
	 * since it handles faults with no more than the mapping's own lock
	 * (6.4), somebody may begin to wait in between.
	 */
	lazy_uffd_wake(fd, addr, length);
	return ret;
}

/* What came out of an ioctl that may stop half way. */
static int64_t outcome(int ret, int64_t done, uint64_t length)
{
	if (!ret)
		return (int64_t)length;
	if (done > 0)
		return done;
	return done < 0 ? done : -errno;
}

int64_t lazy_uffd_copy(int fd, uint64_t addr, const void *from, uint64_t length)
{
	struct uffdio_copy c = {
		.dst = addr,
		.src = (uintptr_t)from,
		.len = length,
	};
	int ret = ioctl(fd, UFFDIO_COPY, &c);

	return outcome(ret, c.copy, length);
}

int64_t lazy_uffd_zero(int fd, uint64_t addr, uint64_t length)
{
	struct uffdio_zeropage z = {
		.range = { .start = addr, .len = length },
	};
	int ret = ioctl(fd, UFFDIO_ZEROPAGE, &z);

	return outcome(ret, z.zeropage, length);
}

int64_t lazy_uffd_poison(int fd, uint64_t addr, uint64_t length)
{
	struct uffdio_poison p = {
		.range = { .start = addr, .len = length },
	};
	int ret = ioctl(fd, UFFDIO_POISON, &p);

	return outcome(ret, p.updated, length);
}

int lazy_uffd_continue(int fd, uint64_t addr, uint64_t length)
{
	struct uffdio_continue c = {
		.range = { .start = addr, .len = length },
	};

	return ioctl(fd, UFFDIO_CONTINUE, &c) ? -errno : 0;
}
