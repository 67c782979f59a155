// SPDX-License-Identifier: GPL-2.0
/*
 * Loop devices: see common.h.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common.h"

int loop_attach(const char *path, int sector, char **device)
{
	struct loop_config config = { .block_size = (uint32_t)sector };
	int control, loop = -1, n, tries;

	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	config.fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC);
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
	for (tries = 0; control >= 0 && tries < 20; tries++) {
		n = ioctl(control, LOOP_CTL_GET_FREE);
		if (n < 0 || asprintf(device, "/dev/loop%d", n) < 0)
			break;
		loop = open(*device, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &config))
			break;
		/* Somebody else was faster. */
		if (loop >= 0)
			close(loop);
		loop = -1;
		free(*device);
		*device = NULL;
	}
	if (control >= 0)
		close(control);
	close((int)config.fd);
	return loop;
}
