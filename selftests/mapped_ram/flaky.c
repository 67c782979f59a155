// SPDX-License-Identifier: GPL-2.0
/* Disks that fail or are slow, see flaky.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>

#include "flaky.h"

#define SECTOR		512
#define TABLE_SIZE	16384
#define HOLD		60000	/* ms */

/* The machine has no udev that would load a module for a missing node. */
static int open_control(const char *path, const char *module)
{
	char cmd[64];
	int fd;

	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 || (errno != ENOENT && errno != ENODEV))
		return fd < 0 ? -errno : fd;
	snprintf(cmd, sizeof(cmd), "modprobe -q %s", module);
	if (system(cmd))
		return -ENOENT;
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * A loop device keeps this setting when its file goes, and every pass of later
 * tests would make copies: also after a test that died.
 */
static void make_ordinary(const struct memdisk *disk)
{
	blkdev_sysfs_set(disk->path, "queue/stable_writes", "0");
}

int memdisk_open(struct memdisk *disk, uint64_t size)
{
	struct loop_config config = {
		.block_size = SECTOR,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR,
	};
	int control, index, err;

	disk->fd = -1;
	disk->mem_fd = memfd_create("memdisk", MFD_CLOEXEC);
	if (disk->mem_fd < 0)
		return -errno;
	if (ftruncate(disk->mem_fd, size)) {
		err = -errno;
		goto close_mem;
	}
	control = open_control("/dev/loop-control", "loop");
	if (control < 0) {
		err = control;
		goto close_mem;
	}
	config.fd = disk->mem_fd;
	/* Somebody else may take the free one first: ask again. */
	do {
		if (disk->fd >= 0)
			close(disk->fd);
		err = -ENODEV;
		index = ioctl(control, LOOP_CTL_GET_FREE);
		if (index < 0)
			break;
		snprintf(disk->path, sizeof(disk->path), "/dev/loop%d", index);
		disk->fd = open(disk->path, O_RDWR | O_CLOEXEC);
		if (disk->fd < 0)
			break;
		err = ioctl(disk->fd, LOOP_CONFIGURE, &config) ? -errno : 0;
	} while (err == -EBUSY);
	close(control);
	if (!err) {
		make_ordinary(disk);
		return 0;
	}
	if (disk->fd >= 0)
		close(disk->fd);
close_mem:
	close(disk->mem_fd);
	return err;
}

void memdisk_close(struct memdisk *disk)
{
	make_ordinary(disk);
	close(disk->fd);
	close(disk->mem_fd);
}

int blkdev_sysfs_set(const char *path, const char *attr, const char *value)
{
	struct stat st;
	char sys[160];
	int fd, err = 0;

	if (stat(path, &st))
		return -errno;
	snprintf(sys, sizeof(sys), "/sys/dev/block/%u:%u/%s",
		 major(st.st_rdev), minor(st.st_rdev), attr);
	fd = open(sys, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int dm_ioctl(struct flaky *f, unsigned long cmd, struct dm_ioctl *dm,
		    size_t size)
{
	int fd, err;

	dm->version[0] = DM_VERSION_MAJOR;
	dm->data_size = size;
	dm->data_start = sizeof(*dm);
	snprintf(dm->name, sizeof(dm->name), "%s", f->name);

	fd = open_control("/dev/" DM_DIR "/" DM_CONTROL_NODE, "dm-mod");
	if (fd < 0)
		return fd;
	err = ioctl(fd, cmd, dm) ? -errno : 0;
	close(fd);
	return err;
}

/* Appends a line to @table, of which *@used bytes are used. */
static void add_target(struct flaky *f, char *table, size_t *used,
		       const struct flaky_part *part)
{
	struct dm_ioctl *dm = (struct dm_ioctl *)table;
	struct dm_target_spec *spec = (struct dm_target_spec *)(table + *used);
	char *args = (char *)(spec + 1);
	size_t room = TABLE_SIZE - *used - sizeof(*spec);
	unsigned long long start = part->offset / SECTOR;
	const char *type = "linear";

	switch (part->what) {
	case FLAKY_PASS:
		snprintf(args, room, "%s %llu", f->disk.path, start);
		break;
	case FLAKY_ERROR:
		type = "error";
		break;
	case FLAKY_ERROR_WRITES:
		/* never up, always down */
		type = "flakey";
		snprintf(args, room, "%s %llu 0 3600 1 error_writes",
			 f->disk.path, start);
		break;
	case FLAKY_DELAY:
		type = "delay";
		snprintf(args, room, "%s %llu %u", f->disk.path, start,
			 part->msec);
		break;
	case FLAKY_HOLD:
		/* An exchange ends all delays first. */
		type = "delay";
		snprintf(args, room, "%s %llu %u", f->disk.path, start, HOLD);
		break;
	}
	spec->sector_start = start;
	spec->length = part->length / SECTOR;
	snprintf(spec->target_type, sizeof(spec->target_type), "%s", type);
	spec->next = sizeof(*spec) + ((strlen(args) + 8) & ~7UL);
	*used += spec->next;
	dm->target_count++;
}

int flaky_set(struct flaky *f, const struct flaky_part *parts, size_t nr)
{
	struct flaky_part gap = { .what = FLAKY_PASS };
	size_t used = sizeof(struct dm_ioctl), i;
	struct dm_ioctl dm = { 0 };
	char *table;
	int err;

	table = calloc(1, TABLE_SIZE);
	if (!table)
		return -ENOMEM;
	for (i = 0; i < nr; i++) {
		gap.length = parts[i].offset - gap.offset;
		if (gap.length)
			add_target(f, table, &used, &gap);
		add_target(f, table, &used, &parts[i]);
		gap.offset = parts[i].offset + parts[i].length;
	}
	gap.length = f->size - gap.offset;
	if (gap.length)
		add_target(f, table, &used, &gap);

	err = dm_ioctl(f, DM_TABLE_LOAD, (struct dm_ioctl *)table, used);
	free(table);
	if (err)
		return err;
	/* A file system above stays as it is: a freeze would write to it. */
	dm.flags = DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG;
	err = dm_ioctl(f, DM_DEV_SUSPEND, &dm, sizeof(dm));
	if (err)
		return err;
	memset(&dm, 0, sizeof(dm));
	return dm_ioctl(f, DM_DEV_SUSPEND, &dm, sizeof(dm));
}

int flaky_set_all(struct flaky *f, enum flaky_what what, unsigned int msec)
{
	struct flaky_part all = {
		.length = f->size,
		.what = what,
		.msec = msec,
	};

	return flaky_set(f, &all, 1);
}

int flaky_hold_from(struct flaky *f, uint64_t offset)
{
	struct flaky_part part = {
		.offset = offset,
		.length = f->size - offset,
		.what = FLAKY_HOLD,
	};

	return flaky_set(f, &part, 1);
}

int flaky_held(struct flaky *f)
{
	unsigned int reads, writes, held = 0, i;
	struct dm_target_spec *spec;
	struct dm_ioctl *dm;
	int err;

	dm = calloc(1, TABLE_SIZE);
	if (!dm)
		return -ENOMEM;
	err = dm_ioctl(f, DM_TABLE_STATUS, dm, TABLE_SIZE);
	spec = (void *)dm + dm->data_start;
	for (i = 0; !err && i < dm->target_count; i++) {
		/* The kernel counts what is delayed. */
		if (!strcmp(spec->target_type, "delay") &&
		    sscanf((char *)(spec + 1), "%u %u", &reads, &writes) == 2)
			held += reads + writes;
		/* Unlike in a table that is loaded, all count from the first. */
		spec = (void *)dm + dm->data_start + spec->next;
	}
	free(dm);
	return err ? err : (int)held;
}

int flaky_open(struct flaky *f, uint64_t size)
{
	static int count;
	struct dm_ioctl dm = { 0 };
	int err;

	f->size = size;
	snprintf(f->name, sizeof(f->name), "mapped-ram-test-%d-%d",
		 (int)getpid(), count++);
	err = memdisk_open(&f->disk, size);
	if (err)
		return err;
	err = dm_ioctl(f, DM_DEV_CREATE, &dm, sizeof(dm));
	if (err)
		goto close_disk;
	snprintf(f->path, sizeof(f->path), "/dev/dm-%u", minor(dm.dev));
	err = flaky_set_all(f, FLAKY_PASS, 0);
	if (!err)
		return 0;
	memset(&dm, 0, sizeof(dm));
	dm_ioctl(f, DM_DEV_REMOVE, &dm, sizeof(dm));
close_disk:
	memdisk_close(&f->disk);
	return err;
}

void flaky_close(struct flaky *f)
{
	struct dm_ioctl dm = { .flags = DM_DEFERRED_REMOVE };

	/* Deferred: a test that died mid-way may still hold it open. */
	dm_ioctl(f, DM_DEV_REMOVE, &dm, sizeof(dm));
	memdisk_close(&f->disk);
}
