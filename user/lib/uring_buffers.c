// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Registering regions as fixed buffers: see uring_buffers.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "uring_buffers.h"

/* The largest table that the kernel makes: 16 TiB. */
#define TABLE_SIZE	(1u << 14)

static int refuse(struct mram_error *err, const struct engine_region *r,
		  int code)
{
	const char *why = "";

	if (code == -ENOMEM)
		why = ": raise RLIMIT_MEMLOCK, or do without MRAM_REGION_PIN";
	else if (code == -EFAULT)
		why = ": not all of it is mapped and writable";
	else if (code == -EOPNOTSUPP)
		why = ": memory of a file on disk cannot be pinned";
	else if (code == -EINVAL)
		why = ": that takes Linux 5.19";
	return mram_err(err, code,
			"region '%s': io_uring does not register its %" PRIu64 " bytes: %s%s",
			r->name, r->pages << r->page_shift, strerror(-code),
			why);
}

int uring_buffers_add(struct uring_buffers *b, struct engine_region *r,
		      struct mram_error *err)
{
	uint64_t left = r->pages << r->page_shift;
	uint32_t first = b->used;
	struct iovec iov = { .iov_base = r->addr };
	int ret;

	if (left > (TABLE_SIZE - b->used) * URING_BUFFER)
		return mram_err(err, -E2BIG,
				"region '%s': io_uring registers %llu GiB at most",
				r->name, TABLE_SIZE * URING_BUFFER >> 30);
	if (!b->made) {
		ret = io_uring_register_buffers_sparse(b->ring, TABLE_SIZE);
		if (ret)
			return refuse(err, r, ret);
		b->made = true;
	}
	for (; left; left -= iov.iov_len, b->used++) {
		iov.iov_len = left < URING_BUFFER ? left : URING_BUFFER;
		ret = io_uring_register_buffers_update_tag(b->ring, b->used,
							   &iov, NULL, 1);
		if (ret != 1)
			return refuse(err, r, ret < 0 ? ret : -EIO);
		iov.iov_base = (char *)iov.iov_base + iov.iov_len;
	}
	r->id = first;
	r->resident = true;
	return 0;
}

void uring_buffers_release(struct uring_buffers *b)
{
	if (b->made)
		io_uring_unregister_buffers(b->ring);
	b->made = false;
}
