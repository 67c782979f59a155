// SPDX-License-Identifier: GPL-2.0
/* A null_blk device through configfs, see nullb.h. */
#include "common.h"
#include "nullb.h"

#define NULLB		"/sys/kernel/config/nullb/mapped-ram-test"

void need_nullb(char *path, size_t size, size_t mib, const char *how)
{
	char index[16];

	shell("modprobe null_blk nr_devices=0; mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config; rmdir " NULLB);
	if (shell("mkdir " NULLB " && cd " NULLB " && echo %zu >size && echo 2 >queue_mode && echo 2048 >max_sectors && { %s; } && echo 1 >power",
		  mib, how))
		need_failed("no null_blk device: %s", how);
	shell_line(index, sizeof(index), "cat " NULLB "/index");
	/* Newer kernels call it what its directory is called. */
	snprintf(path, size, "/dev/mapped-ram-test");
	if (access(path, F_OK))
		snprintf(path, size, "/dev/nullb%s", index);
}

int nullb_drop(void)
{
	return shell("rmdir " NULLB);
}
