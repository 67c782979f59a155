// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what IMAGE_SET takes and what it refuses, with which error, one wrong
 * thing at a time; that a refused image leaves the old one attached; that one
 * that is taken replaces it, and outlives its descriptor.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

#include <linux/fs.h>

#include "abi.h"
#include "harness.h"

FIXTURE(abi_image_set) {
	struct rig rig;
	struct image file;	/* a valid regular file beside the rig's image */
};

FIXTURE_SETUP(abi_image_set)
{
	need_abi_rig(&self->rig);
	need_image_file(&self->file, NULL, self->rig.img.size);
}

FIXTURE_TEARDOWN(abi_image_set)
{
	/* The rig's image is still the session's. */
	EXPECT_EQ(0, abi_still_works(&self->rig));
	image_drop(&self->file);
	rig_drop(&self->rig);
}

#define EXPECT_FD_REFUSED(err, _fd, _flags) do {			\
	struct mapped_ram_image_set _set = abi_image_set(&self->rig);	\
									\
	_set.fd = _fd;							\
	_set.flags = _flags;						\
	EXPECT_REFUSED(err, MAPPED_RAM_IMAGE_SET, &_set)		\
		TH_LOG(#_fd " with " #_flags);				\
} while (0)

TEST_F(abi_image_set, outputs)
{
	struct mapped_ram_image_set set = abi_image_set(&self->rig);
	unsigned int block;

	ASSERT_EQ(0, ioctl(self->rig.img.fd, BLKSSZGET, &block));
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_IMAGE_SET, &set));
	EXPECT_EQ(block, set.out_offset_align);
	EXPECT_NE(0, set.out_mem_align);
	EXPECT_EQ(0, set.out_mem_align & (set.out_mem_align - 1));
	EXPECT_EQ(MAPPED_RAM_IMAGE_OUT_BLOCK_DEVICE, set.out_flags);
	EXPECT_EQ(0, set.out_pad);

	set = abi_image_set(&self->rig);
	set.fd = self->file.fd;
	ASSERT_EQ(0, mr_ioctl(self->rig.dev, MAPPED_RAM_IMAGE_SET, &set));
	EXPECT_NE(0, set.out_offset_align);
	EXPECT_EQ(0, page_size() % set.out_offset_align);
	EXPECT_EQ(0, set.out_flags & MAPPED_RAM_IMAGE_OUT_BLOCK_DEVICE);
	EXPECT_EQ(0, set.out_pad);
	ASSERT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
}

TEST_F(abi_image_set, not_open)
{
	int closed = dup(self->file.fd);

	ASSERT_LE(0, closed);
	close(closed);
	EXPECT_FD_REFUSED(EBADF, -1, 0);
	EXPECT_FD_REFUSED(EBADF, -1, MAPPED_RAM_IMAGE_LOAD);
	EXPECT_FD_REFUSED(EBADF, closed, 0);
	EXPECT_FD_REFUSED(EBADF, INT_MAX, 0);
	EXPECT_FD_REFUSED(EBADF, INT_MIN, 0);
}

TEST_F(abi_image_set, direction)
{
	int reading = open(self->file.path, O_RDONLY);
	int writing = open(self->file.path, O_WRONLY);
	int path = open(self->file.path, O_PATH);

	ASSERT_LE(0, reading);
	ASSERT_LE(0, writing);
	ASSERT_LE(0, path);
	EXPECT_FD_REFUSED(EBADF, reading, 0);
	EXPECT_FD_REFUSED(EBADF, writing, MAPPED_RAM_IMAGE_LOAD);
	EXPECT_FD_REFUSED(EBADF, path, 0);
	EXPECT_FD_REFUSED(EBADF, path, MAPPED_RAM_IMAGE_LOAD);

	/* One direction is enough for what needs one. */
	EXPECT_EQ(0, mr_image_set(self->rig.dev, writing, 0, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, reading,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->file.direct, 0, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	close(reading);
	close(writing);
	close(path);
}

TEST_F(abi_image_set, neither_file_nor_disk)
{
	int pipes[2], sockets[2];
	int dir = open(test_dir(), O_RDONLY | O_DIRECTORY);
	int null = open("/dev/null", O_RDWR);
	int event = eventfd(0, 0);
	int epoll = epoll_create1(0);

	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	ASSERT_LE(0, dir);
	ASSERT_LE(0, null);
	EXPECT_FD_REFUSED(ENODEV, pipes[1], 0);
	EXPECT_FD_REFUSED(ENODEV, pipes[0], MAPPED_RAM_IMAGE_LOAD);
	EXPECT_FD_REFUSED(ENODEV, sockets[0], 0);
	EXPECT_FD_REFUSED(ENODEV, dir, MAPPED_RAM_IMAGE_LOAD);
	EXPECT_FD_REFUSED(ENODEV, null, 0);
	EXPECT_FD_REFUSED(ENODEV, null, MAPPED_RAM_IMAGE_LOAD);
	EXPECT_FD_REFUSED(ENODEV, event, 0);
	EXPECT_FD_REFUSED(ENODEV, epoll, 0);
	/* The session itself: would hold itself for ever. */
	EXPECT_FD_REFUSED(ENODEV, self->rig.dev, 0);
	close(pipes[0]);
	close(pipes[1]);
	close(sockets[0]);
	close(sockets[1]);
	close(dir);
	close(null);
	close(event);
	close(epoll);
}

TEST_F(abi_image_set, append)
{
	int fd = open(self->file.path, O_RDWR | O_APPEND);

	ASSERT_LE(0, fd);
	EXPECT_FD_REFUSED(EINVAL, fd, 0);
	/* Reading does not care. */
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, MAPPED_RAM_IMAGE_LOAD,
				  NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	close(fd);
}

/* Whether open(O_DIRECT) works decides, not the file system's name. */
TEST_F(abi_image_set, no_direct_io)
{
	int memfd = memfd_create("image", 0);
	int proc = open("/proc/self/comm", O_RDWR);
	char path[64];
	int direct;

	ASSERT_LE(0, memfd);
	ASSERT_LE(0, proc);
	EXPECT_FD_REFUSED(EOPNOTSUPP, proc, 0);
	EXPECT_FD_REFUSED(EOPNOTSUPP, proc, MAPPED_RAM_IMAGE_LOAD);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	direct = open(path, O_RDWR | O_DIRECT);
	if (direct >= 0) {
		EXPECT_EQ(0, mr_image_set(self->rig.dev, direct, 0, NULL));
		EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0,
					  NULL));
		close(direct);
	} else {
		EXPECT_FD_REFUSED(EOPNOTSUPP, memfd, 0);
		EXPECT_FD_REFUSED(EOPNOTSUPP, memfd, MAPPED_RAM_IMAGE_LOAD);
	}
	close(proc);
	close(memfd);
}

/* A disk that became read-only after it was opened for writing */
TEST_F(abi_image_set, read_only_disk)
{
	struct memdisk disk;
	int fd, on = 1;

	ASSERT_EQ(0, memdisk_open(&disk, self->rig.img.size));
	fd = open(disk.path, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, BLKROSET, &on));
	EXPECT_FD_REFUSED(EROFS, fd, 0);
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, MAPPED_RAM_IMAGE_LOAD,
				  NULL));
	on = 0;
	ASSERT_EQ(0, ioctl(fd, BLKROSET, &on));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, 0, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	close(fd);
	memdisk_close(&disk);
}

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = value;
	at[1] = value >> 8;
}

static void fat_file(uint8_t *entry, const char *name, unsigned int cluster,
		     unsigned int size)
{
	memcpy(entry, name, 11);
	put16(entry + 26, cluster);
	put16(entry + 28, size);
}

/*
 * A FAT12 of 512-byte clusters by hand: GOOD.BIN is a file, BAD.BIN's second
 * cluster is said to be free.
 */
static int make_broken_fat(const char *dev)
{
	uint8_t disk[4 * 512] = { 0xeb, 0x3c, 0x90 };
	int fd = open(dev, O_WRONLY);
	ssize_t done;

	memcpy(disk + 3, "SELFTEST", 8);
	put16(disk + 11, 512);		/* bytes a sector */
	disk[13] = 1;			/* sectors a cluster */
	put16(disk + 14, 1);		/* sectors before the FAT */
	disk[16] = 1;			/* FATs */
	put16(disk + 17, 32);		/* root entries: two sectors */
	put16(disk + 19, 128);		/* sectors */
	disk[21] = 0xf8;
	put16(disk + 22, 1);		/* sectors of the FAT */
	put16(disk + 510, 0xaa55);
	/* Entries of 12 bits: media, -1, GOOD's last, BAD's first -> 4 */
	memcpy(disk + 512, "\xf8\xff\xff\xff\x4f\x00\x00", 7);
	fat_file(disk + 1024, "GOOD    BIN", 2, 512);
	fat_file(disk + 1056, "BAD     BIN", 3, 2048);
	if (fd < 0)
		return -errno;
	done = write(fd, disk, sizeof(disk));
	close(fd);
	return done == sizeof(disk) ? 0 : -EIO;
}

/*
 * A file system that went read-only below a file that is open for writing, as
 * FAT does when it finds itself broken.
 */
TEST_F(abi_image_set, read_only_file_system)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];
	struct memdisk disk;
	struct statvfs fs;
	uint8_t byte[2048];
	int fd, bad;

	need_private_mounts();
	ASSERT_EQ(0, memdisk_open(&disk, 64 * KIB));
	ASSERT_EQ(0, make_broken_fat(disk.path));
	snprintf(dir, sizeof(dir), "%s/fat-XXXXXX", test_dir());
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount(disk.path, dir, "vfat", 0, "errors=remount-ro")) {
		rmdir(dir);
		memdisk_close(&disk);
		SKIP(return, "no vfat here: %s", strerror(errno));
	}
	snprintf(path, sizeof(path), "%s/good.bin", dir);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, 0, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));

	snprintf(path, sizeof(path), "%s/bad.bin", dir);
	bad = open(path, O_RDONLY);
	ASSERT_LE(0, bad);
	EXPECT_GT((ssize_t)sizeof(byte), read(bad, byte, sizeof(byte)));
	ASSERT_EQ(0, fstatvfs(fd, &fs));
	ASSERT_NE(0, fs.f_flag & ST_RDONLY);
	EXPECT_FD_REFUSED(EROFS, fd, 0);
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, MAPPED_RAM_IMAGE_LOAD,
				  NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	close(bad);
	close(fd);
	EXPECT_EQ(0, umount(dir));
	rmdir(dir);
	memdisk_close(&disk);
}

TEST_F(abi_image_set, swap_file)
{
	struct image swap;
	int ret;

	need_image_file(&swap, NULL, MIB);
	if (shell("PATH=$PATH:/usr/sbin:/sbin mkswap '%s'", swap.path) ||
	    shell("PATH=$PATH:/usr/sbin:/sbin swapon '%s'", swap.path)) {
		image_drop(&swap);
		SKIP(return, "no swap files here");
	}
	EXPECT_FD_REFUSED(ETXTBSY, swap.fd, 0);
	EXPECT_FD_REFUSED(ETXTBSY, swap.fd, MAPPED_RAM_IMAGE_LOAD);
	ASSERT_EQ(0, shell("PATH=$PATH:/usr/sbin:/sbin swapoff '%s'",
			   swap.path));
	ret = mr_image_set(self->rig.dev, swap.fd, 0, NULL);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	image_drop(&swap);
}

/* Where the regions are decides whether a disk is long enough for them. */
TEST_F(abi_image_set, disk_too_short)
{
	uint64_t end = self->rig.r.offset + self->rig.r.length;
	struct memdisk disk;
	int fd;

	ASSERT_EQ(0, memdisk_open(&disk, end - page_size()));
	fd = open(disk.path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_FD_REFUSED(EFBIG, fd, 0);
	EXPECT_FD_REFUSED(EFBIG, fd, MAPPED_RAM_IMAGE_LOAD);
	close(fd);
	memdisk_close(&disk);

	ASSERT_EQ(0, memdisk_open(&disk, end));
	fd = open(disk.path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, mr_image_set(self->rig.dev, fd, 0, NULL));
	EXPECT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	close(fd);
	memdisk_close(&disk);
}

/*
 * A region at the end of the largest file there can be, added while no image
 * says otherwise
 */
TEST_F(abi_image_set, file_too_short)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	struct mapped_ram_image_set set = abi_image_set(&self->rig);
	struct mapped_ram_image_set before;
	int dev = mr_open();

	ASSERT_LE(0, dev);
	add.pages_offset = INT64_MAX / page_size() * page_size() - page_size();
	ASSERT_EQ(0, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	set.fd = self->file.fd;
	before = set;
	if (shell("stat -f -c %%T '%s' | grep -q xfs", self->file.path)) {
		EXPECT_EQ(-EFBIG, mr_ioctl(dev, MAPPED_RAM_IMAGE_SET, &set));
		EXPECT_EQ(0, memcmp(&before, &set, sizeof(set)));
		/* Refused, so there is still none. */
		EXPECT_EQ(0, mr_region_remove(dev, add.out_region_id));
	}
	close(dev);
}

/* What is refused does not replace; what is taken does. */
TEST_F(abi_image_set, replaced)
{
	struct mapped_ram_image_set set = abi_image_set(&self->rig);
	struct model m;
	int fd = dup(self->file.fd);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, mr_image_set(self->rig.dev, fd, 0, NULL));
	/* The session has its own reference. */
	close(fd);
	set.fd = -1;
	EXPECT_REFUSED(EBADF, MAPPED_RAM_IMAGE_SET, &set);

	/* So this goes to the file, and the rig's image stays as it was. */
	need_model(&m, &self->rig.r, &self->file);
	model_save(&m, 0, ABI_PAGES, NULL, NULL);
	EXPECT_EQ(0, region_save(&self->rig.r, NULL));
	EXPECT_EQ(0, model_check(&m));
	EXPECT_EQ(0, cached_pages(self->file.fd));

	ASSERT_EQ(0, mr_image_set(self->rig.dev, self->rig.img.fd, 0, NULL));
	/* What the other image has got is clean, but not in this one. */
	memcpy(self->rig.m.dirty, m.dirty, self->rig.r.bitmap_size);
	memcpy(self->rig.m.file, m.file, self->rig.r.bitmap_size);
	model_free(&m);
}

TEST_HARNESS_MAIN
