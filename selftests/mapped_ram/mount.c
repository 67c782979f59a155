// SPDX-License-Identifier: GPL-2.0
/* File systems, loop devices and swap that live as long as one test. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/swap.h>

#include "common.h"

#define SBIN	"PATH=$PATH:/usr/sbin:/sbin "

void need_private_mounts(void)
{
	if (unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		need_failed("own mount namespace: %m");
}

int scratch_open(struct scratch *s, uint64_t size)
{
	int fd;

	*s = (struct scratch){ 0 };
	snprintf(s->backing, sizeof(s->backing), "%s/scratch-XXXXXX",
		 test_dir());
	fd = mkstemp(s->backing);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, size)) {
		close(fd);
		return -errno;
	}
	close(fd);
	/* Some machines have no loop device until somebody asks for it. */
	shell(SBIN "modprobe loop");
	shell_line(s->dev, sizeof(s->dev),
		   SBIN "losetup --direct-io=on --show -f '%s' 2>/dev/null",
		   s->backing);
	return s->dev[0] ? 0 : -ENXIO;
}

int scratch_mount(struct scratch *s, const char *fstype, const char *opts)
{
	const char *force = strcmp(fstype, "ext4") ? "-f" : "-F";
	char dir[PATH_MAX];
	int ret;

	if (shell(SBIN "mkfs.%s -q %s '%s'", fstype, force, s->dev))
		return -EOPNOTSUPP;
	snprintf(dir, sizeof(dir), "%s/mount-XXXXXX", test_dir());
	if (!mkdtemp(dir))
		return -errno;
	ret = shell(SBIN "mount -t %s %s%s '%s' '%s'", fstype,
		    opts ? "-o " : "", opts ? opts : "", s->dev, dir);
	if (ret) {
		rmdir(dir);
		return -EIO;
	}
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	return 0;
}

int scratch_umount(struct scratch *s)
{
	if (!s->dir[0])
		return 0;
	if (umount2(s->dir, 0))
		return -errno;
	rmdir(s->dir);
	s->dir[0] = '\0';
	return 0;
}

void scratch_close(struct scratch *s)
{
	if (s->dir[0] && umount2(s->dir, 0)) {
		/* Somebody keeps it in use: said, and out of the way. */
		fprintf(stderr, "# umount %s: %m\n", s->dir);
		umount2(s->dir, MNT_DETACH);
	}
	if (s->dir[0])
		rmdir(s->dir);
	if (s->dev[0])
		shell(SBIN "losetup -d '%s'", s->dev);
	if (s->backing[0])
		unlink(s->backing);
	*s = (struct scratch){ 0 };
}

int scratch_swap_on(struct scratch *s, uint64_t size)
{
	int ret = scratch_open(s, size);

	if (ret)
		return ret;
	if (!shell(SBIN "mkswap '%s'", s->dev) && !swapon(s->dev, 0))
		return 0;
	scratch_close(s);
	return -EIO;
}

void scratch_swap_off(struct scratch *s)
{
	if (s->dev[0] && swapoff(s->dev))
		fprintf(stderr, "# swapoff %s: %m\n", s->dev);
	scratch_close(s);
}
