// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that loading through a file that is open for saving, too, only reads:
 * an overlay file system believes what an I/O says of itself, and would end a
 * write on the file system below that nobody has begun. That one could never be
 * frozen again.
 */
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "rig.h"
#include "harness.h"

#define PAGES	300

FIXTURE(load_overlay) {
	struct scratch fs;
	char merged[PATH_MAX];
	struct rig rig;
};

static int make_dir(char *path, const char *parent, const char *name)
{
	snprintf(path, PATH_MAX, "%.2000s/%s", parent, name);
	return mkdir(path, 0700) ? -errno : 0;
}

FIXTURE_SETUP(load_overlay)
{
	char lower[PATH_MAX], upper[PATH_MAX], work[PATH_MAX];
	char options[3 * PATH_MAX];

	need_private_mounts();
	ASSERT_EQ(0, scratch_open(&self->fs, 64 * MIB));
	ASSERT_EQ(0, scratch_mount(&self->fs, "ext4", NULL));
	ASSERT_EQ(0, make_dir(lower, self->fs.dir, "lower"));
	ASSERT_EQ(0, make_dir(upper, self->fs.dir, "upper"));
	ASSERT_EQ(0, make_dir(work, self->fs.dir, "work"));
	ASSERT_EQ(0, make_dir(self->merged, self->fs.dir, "merged"));
	snprintf(options, sizeof(options),
		 "lowerdir=%.2000s,upperdir=%.2000s,workdir=%.2000s", lower,
		 upper, work);
	ASSERT_EQ(0, mount("overlay", self->merged, "overlay", 0, options));
	need_rig_on(&self->rig, MEM_ANON, PAGES * page_size(), 0,
		    self->merged);
}

FIXTURE_TEARDOWN(load_overlay)
{
	rig_drop(&self->rig);
	umount2(self->merged, MNT_DETACH);
	scratch_close(&self->fs);
}

/* In a process of its own: where it does not succeed, it does not end. */
static pid_t freeze_and_thaw(const char *dir)
{
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	_exit(fd < 0 || ioctl(fd, FIFREEZE, 0) || ioctl(fd, FITHAW, 0));
}

/* Its exit status, or -1 when there was none in a minute */
static int status_of(pid_t pid)
{
	int status, i;

	for (i = 0; i < 600; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		usleep(100000);
	}
	return -1;
}

TEST_F_TIMEOUT(load_overlay, below_can_be_frozen, 120)
{
	struct rng rng = rng_new(0x0f5);
	struct mapped_ram_load load = load_args(&self->rig.r, 0, PAGES);
	uint8_t *saved;

	rig_dirty_all(&self->rig, &rng);
	ASSERT_EQ(0, rig_save(&self->rig, NULL));
	saved = malloc(self->rig.mem.length);
	ASSERT_NE(NULL, saved);
	memcpy(saved, self->rig.mem.addr, self->rig.mem.length);
	memset(self->rig.mem.addr, 0x55, self->rig.mem.length);
	ASSERT_EQ(0, load_pass(&self->rig.r, &load));
	EXPECT_EQ(0, memcmp(saved, self->rig.mem.addr, self->rig.mem.length));
	EXPECT_EQ(0, status_of(freeze_and_thaw(self->fs.dir)));
	free(saved);
}

TEST_HARNESS_MAIN
