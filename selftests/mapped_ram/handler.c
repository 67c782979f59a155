// SPDX-License-Identifier: GPL-2.0
/* Faults that a userfaultfd tells of, and a thread that serves them. */
#include <poll.h>
#include <sys/syscall.h>

#include "handler.h"

int handler_open(struct handler *h, int flags, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int ret = 0;

	h->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);
	if (h->uffd < 0)
		return -errno;
	if (ioctl(h->uffd, UFFDIO_API, &api) || pipe(h->quit)) {
		ret = -errno;
		close(h->uffd);
	}
	return ret;
}

int handler_register(struct handler *h, void *mem, size_t length, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)mem, .len = length },
		.mode = mode,
	};

	return ioctl(h->uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

bool handler_copy(struct handler *h, size_t at, const void *page)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)h->mem + at,
		.src = (uintptr_t)page,
		.len = page_size(),
	};

	return !ioctl(h->uffd, UFFDIO_COPY, &copy);
}

int handler_protect(struct handler *h, size_t at, size_t length, bool protect)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)h->mem + at, .len = length },
		.mode = protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(h->uffd, UFFDIO_WRITEPROTECT, &wp) ? -errno : 0;
}

static void *handle(void *arg)
{
	struct handler *h = arg;
	struct pollfd fds[] = {
		{ .fd = h->uffd, .events = POLLIN },
		{ .fd = h->quit[0], .events = POLLIN },
	};
	struct uffd_msg msg;

	sleep(h->late);
	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		if (read(h->uffd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		h->serve(h, (msg.arg.pagefault.address & -page_size()) -
			 (uintptr_t)h->mem);
	}
	return NULL;
}

int handler_start(struct handler *h)
{
	return -pthread_create(&h->thread, NULL, handle, h);
}

void handler_stop(struct handler *h)
{
	if (write(h->quit[1], "q", 1) != 1)
		need_failed("the handler cannot be told: %m");
	pthread_join(h->thread, NULL);
}

void handler_close(struct handler *h)
{
	close(h->uffd);
	close(h->quit[0]);
	close(h->quit[1]);
}
