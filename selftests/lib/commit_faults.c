// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a commit that stops anywhere, by a crash or by an error of any
 * of its system calls, leaves no image that a loader would accept, and that
 * short and interrupted calls do no harm. For that, the linker puts this
 * program's own pwrite(), fdatasync() and ftruncate() before the real ones: they
 * stop, fail or are cut short at the n-th call, and are the real ones
 * otherwise. Its pread() tells where it was called.
 */
#include <sys/wait.h>

#include "commit.h"

enum { NOTHING, STOP, FAIL, SHORT, INTERRUPT };

#define CALLS_MAX	64

static struct {
	int what;
	int at;			/* the n-th call from now, from 1 */
	int n;
	struct { char type; uint64_t offset, length; } log[CALLS_MAX];
	uint64_t read_end;	/* how far reads went */
} calls;

ssize_t __real_pwrite(int fd, const void *data, size_t length, off_t offset);
ssize_t __real_pread(int fd, void *data, size_t length, off_t offset);
int __real_fdatasync(int fd);
int __real_ftruncate(int fd, off_t length);
ssize_t __wrap_pwrite(int fd, const void *data, size_t length, off_t offset);
ssize_t __wrap_pread(int fd, void *data, size_t length, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_ftruncate(int fd, off_t length);

static int next_call(char type, uint64_t offset, uint64_t length)
{
	if (calls.n < CALLS_MAX) {
		calls.log[calls.n].type = type;
		calls.log[calls.n].offset = offset;
		calls.log[calls.n].length = length;
	}
	if (++calls.n != calls.at)
		return NOTHING;
	if (calls.what == STOP)
		_exit(0);
	if (calls.what == FAIL)
		errno = EIO;
	if (calls.what == INTERRUPT)
		errno = EINTR;
	return calls.what;
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t length, off_t offset)
{
	switch (next_call('w', (uint64_t)offset, length)) {
	case FAIL:
	case INTERRUPT:
		return -1;
	case SHORT:
		if (length > 4096)
			length = 4096;
		break;
	}
	return __real_pwrite(fd, data, length, offset);
}

ssize_t __wrap_pread(int fd, void *data, size_t length, off_t offset)
{
	if (calls.read_end < (uint64_t)offset + length)
		calls.read_end = (uint64_t)offset + length;
	return __real_pread(fd, data, length, offset);
}

int __wrap_fdatasync(int fd)
{
	return next_call('s', 0, 0) == FAIL ? -1 : __real_fdatasync(fd);
}

int __wrap_ftruncate(int fd, off_t length)
{
	int what = next_call('t', 0, (uint64_t)length);

	return what == FAIL || what == INTERRUPT ? -1 :
						   __real_ftruncate(fd, length);
}

static void arm(int what, int at)
{
	calls.what = what;
	calls.at = at;
	calls.n = 0;
	calls.read_end = 0;
}

/* Everything is flushed before the first block, and that is flushed too. */
TEST_F(commit, order)
{
	int i, n;

	ASSERT_EQ(0, begin(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, commit(self));
	n = calls.n;
	ASSERT_LT(4, n);
	ASSERT_GE(CALLS_MAX, n);
	EXPECT_EQ('s', calls.log[n - 1].type);
	EXPECT_EQ('w', calls.log[n - 2].type);
	EXPECT_EQ(0, calls.log[n - 2].offset);
	EXPECT_EQ(self->io->first_size, calls.log[n - 2].length);
	EXPECT_EQ('s', calls.log[n - 3].type);
	for (i = 0; i < n - 3; i++)
		EXPECT_TRUE(calls.log[i].type == 't' ||
			    calls.log[i].offset >= self->io->first_size);
}

/* What an older image left behind the new one's end is nobody's. */
TEST_F(commit, reads_nothing_to_write_the_end)
{
	uint8_t *old = calloc(1, SMALL_END + 70000);
	int fd = open(self->path, O_RDWR | O_CLOEXEC);

	put_at(fd, 0, old, SMALL_END + 70000);
	ASSERT_EQ(0, begin(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, commit(self));
	EXPECT_GE(SMALL_TAIL, calls.read_end);
	/* Of other parts, blocks that are not written whole are read. */
	if (self->io->direct)
		EXPECT_LT(SMALL_RECORD_B, calls.read_end);
	close(fd);
	free(old);
}

TEST_F_TIMEOUT(commit, stops_anywhere, 120)
{
	int i, n, status, ret;
	pid_t pid;

	ASSERT_EQ(0, begin(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, commit(self));
	n = calls.n;
	for (i = 1; i <= n; i++) {
		ASSERT_EQ(0, begin(self));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			arm(STOP, i);
			commit(self);
			_exit(1);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(WIFEXITED(status) && !WEXITSTATUS(status));
		ret = try_open(self->path, &self->e);
		/* Before the last of them, the flush, the first block is in. */
		EXPECT_EQ(i < n ? -ENODATA : 0, ret) {
			TH_LOG("call %d of %d: %s", i, n, self->e.message);
		}
	}
}

TEST_F_TIMEOUT(commit, fails_anywhere, 120)
{
	int i, n;

	ASSERT_EQ(0, begin(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, commit(self));
	n = calls.n;
	for (i = 1; i <= n; i++) {
		ASSERT_EQ(0, begin(self));
		arm(FAIL, i);
		self->end = 77;
		memset(&self->e, 0xa5, sizeof(self->e));
		EXPECT_EQ(-EIO, commit(self));
		EXPECT_EQ(-EIO, self->e.code);
		EXPECT_TRUE(contains(self->e.message, "Input/output error"));
		EXPECT_TRUE(contains(self->e.message, self->path));
		EXPECT_EQ(77, self->end);
		if (i < n)
			EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
		/* The same call again repairs it. */
		arm(NOTHING, 0);
		ASSERT_EQ(0, commit(self));
		EXPECT_TRUE(is_by_hand(self));
	}
}

TEST_F_TIMEOUT(commit, interrupted_and_cut_short, 120)
{
	int i, n, what;

	ASSERT_EQ(0, begin(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, commit(self));
	n = calls.n;
	for (what = SHORT; what <= INTERRUPT; what++)
		for (i = 1; i <= n; i++) {
			ASSERT_EQ(0, begin(self));
			arm(what, i);
			ASSERT_EQ(0, commit(self));
			EXPECT_TRUE(is_by_hand(self));
		}
}

/* Taking the old image's validity away must not fail silently either. */
TEST_F(commit, invalidating_fails)
{
	int i, n;

	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, commit(self));
	arm(NOTHING, 0);
	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	n = calls.n;
	ASSERT_EQ(2, n);
	EXPECT_EQ('w', calls.log[0].type);
	EXPECT_EQ('s', calls.log[1].type);
	for (i = 1; i <= n; i++) {
		arm(FAIL, i);
		EXPECT_EQ(-EIO, mram_io_invalidate(self->io, &self->e));
		EXPECT_TRUE(contains(self->e.message, "Input/output error"));
	}
}

TEST_HARNESS_MAIN
