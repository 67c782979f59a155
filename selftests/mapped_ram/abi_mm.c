// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a session belongs to the address space of its regions, however
 * the descriptor gets into another one (fork, exec, a socket): every call but
 * INFO is EPERM there and changes nothing, mmap() of the bitmaps too, and the
 * owner goes on unharmed. Threads, which share the address space, may use it.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

#include "abi.h"
#include "harness.h"

FIXTURE(abi_mm) {
	struct rig rig;
};

FIXTURE_SETUP(abi_mm)
{
	need_abi_rig(&self->rig);
}

FIXTURE_TEARDOWN(abi_mm)
{
	EXPECT_EQ(0, abi_still_works(&self->rig));
	rig_drop(&self->rig);
}

/*
 * What a foreigner finds: 0, or the line of the first surprise. Not abi_call():
 * of a descriptor alone a foreigner knows no bitmaps.
 */
static int foreign_calls(struct rig *rig, int dev)
{
	struct mapped_ram_info info;
	struct mapped_ram_image_set set = abi_image_set(rig);
	struct mapped_ram_region_add add = abi_region_add(rig);
	struct mapped_ram_save save = abi_save(rig);
	struct mapped_ram_load load = abi_load(rig);
	void *map;

	if (mr_info(dev, &info) || info.out_abi_version != 1)
		return __LINE__;
	if (mr_ioctl(dev, MAPPED_RAM_IMAGE_SET, &set) != -EPERM)
		return __LINE__;
	if (set.out_mem_align != POISON32)
		return __LINE__;
	if (mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add) != -EPERM)
		return __LINE__;
	if (add.out_region_id != POISON32)
		return __LINE__;
	if (mr_region_remove(dev, rig->r.id) != -EPERM)
		return __LINE__;
	save.first_page = 0;
	save.nr_pages = ABI_PAGES;
	if (mr_ioctl(dev, MAPPED_RAM_SAVE, &save) != -EPERM)
		return __LINE__;
	if (save.out_written_pages != POISON64)
		return __LINE__;
	load.first_page = 0;
	load.nr_pages = ABI_PAGES;
	if (mr_ioctl(dev, MAPPED_RAM_LOAD, &load) != -EPERM)
		return __LINE__;
	if (load.out_read_pages != POISON64)
		return __LINE__;
	map = mmap(NULL, rig->r.bitmap_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   dev, rig->r.dirty_offset);
	if (map != MAP_FAILED || errno != EPERM)
		return __LINE__;
	return 0;
}

/* 0, or the line that a child of ours complains about */
static int child_result(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	if (!WIFEXITED(status))
		return -2;
	return WEXITSTATUS(status);
}

/* An exit status has eight bits: lines are said, too. */
static void child_exit(int line)
{
	if (line)
		fprintf(stderr, "# %s:%d: not as it must be in a child\n",
			__FILE__, line);
	_exit(line ? 1 : 0);
}

TEST_F(abi_mm, fork)
{
	pid_t child = fork();

	if (!child)
		child_exit(foreign_calls(&self->rig, self->rig.dev));
	EXPECT_EQ(0, child_result(child));
}

/* The child does not even inherit the mappings. */
TEST_F(abi_mm, fork_mappings)
{
	pid_t child = fork();
	unsigned char there;

	if (!child) {
		if (!mincore(self->rig.r.dirty, page_size(), &there) ||
		    errno != ENOMEM)
			child_exit(__LINE__);
		if (!mincore(self->rig.r.file, page_size(), &there) ||
		    errno != ENOMEM)
			child_exit(__LINE__);
		child_exit(0);
	}
	EXPECT_EQ(0, child_result(child));
}

/*
 * After exec: this very program, which finds the descriptor in the environment
 * before the harness gets to run.
 */
#define EXEC_ENV	"MRAM_TEST_EXEC"

static void __attribute__((constructor)) exec_child(void)
{
	const char *env = getenv(EXEC_ENV);
	struct rig rig = { 0 };
	int dev;

	if (!env)
		return;
	if (sscanf(env, "%d %d %u %zu %lu", &dev, &rig.img.fd, &rig.r.id,
		   &rig.r.bitmap_size, &rig.r.dirty_offset) != 5)
		child_exit(__LINE__);
	rig.r.length = ABI_PAGES * page_size();
	rig.mem.addr = mmap(NULL, rig.r.length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	child_exit(foreign_calls(&rig, dev));
}

static void exec_self(struct rig *rig)
{
	char text[128];

	snprintf(text, sizeof(text), "%d %d %u %zu %lu", dup(rig->dev),
		 dup(rig->img.fd), rig->r.id, rig->r.bitmap_size,
		 rig->r.dirty_offset);
	setenv(EXEC_ENV, text, 1);
	execl("/proc/self/exe", "abi_mm", NULL);
	child_exit(__LINE__);
}

TEST_F(abi_mm, exec)
{
	pid_t child = fork();

	if (!child)
		exec_self(&self->rig);
	EXPECT_EQ(0, child_result(child));
}

/* The owner itself: after its exec the regions' memory does not exist. */
TEST_F(abi_mm, exec_of_the_owner)
{
	pid_t child = fork();

	if (!child) {
		struct rig own;

		need_abi_rig(&own);
		exec_self(&own);
	}
	EXPECT_EQ(0, child_result(child));
}

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	if (sendmsg(socket, &msg, 0) != 1)
		need_failed("sendmsg: %m");
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(socket, &msg, 0) != 1)
		return -1;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

TEST_F(abi_mm, passed_through_a_socket)
{
	int sockets[2];
	pid_t child;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	child = fork();
	if (!child) {
		close(self->rig.dev);
		child_exit(foreign_calls(&self->rig, receive_fd(sockets[0])));
	}
	send_fd(sockets[1], self->rig.dev);
	EXPECT_EQ(0, child_result(child));
	close(sockets[0]);
	close(sockets[1]);
}

/*
 * Only a session without an owner can be taken, by the first who adds a region;
 * whoever opened it has no claim.
 */
TEST_F(abi_mm, first_region_decides)
{
	struct mapped_ram_region_add add = abi_region_add(&self->rig);
	int dev = mr_open();
	pid_t child;

	ASSERT_LE(0, dev);
	/* Refused, so nobody's still */
	add.page_size = 1;
	EXPECT_EQ(-EINVAL, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	child = fork();
	if (!child) {
		struct mapped_ram_region_add its = abi_region_add(&self->rig);

		if (mr_image_set(dev, self->rig.img.fd, 0, NULL))
			child_exit(__LINE__);
		if (mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &its))
			child_exit(__LINE__);
		child_exit(0);
	}
	ASSERT_EQ(0, child_result(child));
	/* The child's from now on, though it is dead. */
	add = abi_region_add(&self->rig);
	EXPECT_EQ(-EPERM, mr_ioctl(dev, MAPPED_RAM_REGION_ADD, &add));
	EXPECT_EQ(POISON32, add.out_region_id);
	EXPECT_EQ(-EPERM, mr_image_set(dev, self->rig.img.fd, 0, NULL));
	EXPECT_EQ(-EPERM, mr_region_remove(dev, 1));
	close(dev);
}

static void *save_in_thread(void *arg)
{
	struct rig *rig = arg;

	return (void *)(intptr_t)rig_save(rig, NULL);
}

TEST_F(abi_mm, thread)
{
	pthread_t thread;
	void *ret;

	ASSERT_EQ(0, pthread_create(&thread, NULL, save_in_thread, &self->rig));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(NULL, ret);
}

/* A process of its own, but in the same address space */
static int save_in_vm_sharer(void *arg)
{
	struct rig *rig = arg;

	return region_save(&rig->r, NULL) ? 1 : 0;
}

TEST_F(abi_mm, process_that_shares_memory)
{
	uint8_t *stack = need_guarded(256 * KIB);
	pid_t child;

	model_save(&self->rig.m, 0, ABI_PAGES, NULL, NULL);
	child = clone(save_in_vm_sharer, stack + 256 * KIB, CLONE_VM | SIGCHLD,
		      &self->rig);
	EXPECT_EQ(0, child_result(child));
	EXPECT_EQ(0, model_check(&self->rig.m));
	guarded_free(stack, 256 * KIB);
}

TEST_HARNESS_MAIN
