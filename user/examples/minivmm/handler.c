// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory that another process fills while the guest runs: it is handed a
 * userfaultfd and told, as JSON, what is where. Documentation/restore.rst has
 * this conversation.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "minivmm.h"

#define HUGE_PAGE	(2 * MIB)

/*
 * The userfaultfd stays open here, too: else the kernel would let the guest see
 * zero pages when the other process dies. Now it waits for ever, and so may we:
 * a thread that touches no guest memory listens for that death.
 */
struct handler {
	int socket;
	int uffd;
	pthread_t listener;
};

/*
 * A VMM that discards, unmaps or moves guest memory meanwhile, as with a balloon,
 * has to ask for UFFD_FEATURE_EVENT_REMOVE, _UNMAP and _REMAP, too. This one does
 * none of that.
 */
static void open_uffd(struct handler *h)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_MISSING_SHMEM |
			    UFFD_FEATURE_MISSING_HUGETLBFS,
	};

	h->uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->uffd < 0 || ioctl(h->uffd, UFFDIO_API, &api))
		die("userfaultfd: %s", strerror(errno));
}

static void add(const struct handler *h, FILE *text, const struct region *r,
		enum ram_kind kind)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)r->addr, r->length },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (ioctl(h->uffd, UFFDIO_REGISTER, &reg))
		die("%s: cannot be registered with a userfaultfd: %s", r->name,
		    strerror(errno));
	fprintf(text, "%s{\"name\":\"%s\",\"base_host_virt_addr\":%llu,\"size\":%llu,\"offset\":0,\"page_size\":%llu}",
		ftell(text) > 1 ? "," : "", r->name,
		(unsigned long long)(uintptr_t)r->addr,
		(unsigned long long)r->length,
		(unsigned long long)(kind == RAM_HUGETLB ? HUGE_PAGE :
							   GUEST_PAGE));
}

static void hand_over(const struct handler *h, char *text, size_t length)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .head = {
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct iovec data = { text, length };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.head), &h->uffd, sizeof(int));
	if (sendmsg(h->socket, &message, MSG_NOSIGNAL) != (ssize_t)length)
		die("handing the memory over: %s", strerror(errno));
}

static void connect_to(struct handler *h, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		die("%s: too long for a socket", path);
	strcpy(address.sun_path, path);
	h->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->socket < 0 || connect(h->socket, (void *)&address,
				     sizeof(address)))
		die("%s: %s", path, strerror(errno));
}

static void describe(const struct handler *h, const struct ram *ram,
		     enum ram_kind kind)
{
	size_t length;
	char *text;
	FILE *f;

	f = open_memstream(&text, &length);
	if (!f)
		die("out of memory");
	putc('[', f);
	for (int i = 0; i < REGIONS; i++)
		if (ram_whole_pages(&ram->regions[i], kind))
			add(h, f, &ram->regions[i], kind);
	putc(']', f);
	if (fclose(f))
		die("out of memory");
	hand_over(h, text, length);
	free(text);
}

/* The other process says how it ended, or ends without a word */
static void *listen_to(void *arg)
{
	struct handler *h = arg;
	char answer[1024];
	size_t length = 0;
	ssize_t n;

	do {
		n = read(h->socket, answer + length,
			 sizeof(answer) - 1 - length);
		length += n > 0 ? n : 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	answer[length] = '\0';
	if (!strstr(answer, "\"resident\":true"))
		die("the process that fills the memory has ended before all was there: %s",
		    length ? answer : "without a word");
	return NULL;
}

static void start_listener(struct handler *h)
{
	int ret = pthread_create(&h->listener, NULL, listen_to, h);

	if (ret)
		die("thread: %s", strerror(ret));
}

struct handler *handler_connect(const char *path, const struct ram *ram,
				enum ram_kind kind)
{
	struct handler *h = malloc(sizeof(*h));

	if (!h)
		die("out of memory");
	connect_to(h, path);
	open_uffd(h);
	describe(h, ram, kind);
	start_listener(h);
	return h;
}

void handler_wait(struct handler *h)
{
	pthread_join(h->listener, NULL);
	close(h->socket);
	close(h->uffd);
	free(h);
}
