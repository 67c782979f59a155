// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that a committed image is, byte for byte, the one written out by
 * hand; and that a commit that stops anywhere, by a crash or by an error of
 * any of its system calls, leaves no image that a loader would accept. For
 * that, the linker puts this program's own pwrite(), fsync() and ftruncate()
 * before the real ones: they stop, fail or are cut short at the n-th call, and
 * are the real ones otherwise.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#include "common.h"
#include "image.h"

enum { NOTHING, STOP, FAIL, SHORT, INTERRUPT };

#define CALLS_MAX	64

static struct {
	int what;
	int at;			/* the n-th call from now, from 1 */
	int n;
	struct { char type; uint64_t offset, length; } log[CALLS_MAX];
} calls;

ssize_t __real_pwrite(int fd, const void *data, size_t length, off_t offset);
int __real_fsync(int fd);
int __real_ftruncate(int fd, off_t length);
ssize_t __wrap_pwrite(int fd, const void *data, size_t length, off_t offset);
int __wrap_fsync(int fd);
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

int __wrap_fsync(int fd)
{
	return next_call('s', 0, 0) == FAIL ? -1 : __real_fsync(fd);
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
}

FIXTURE(commit) {
	char *path;
	struct mram_io *io;
	struct mram_layout l;
	struct mram_error e;
	const uint64_t *bitmaps[2];
	uint64_t words[2];
	uint64_t end;
	uint8_t *want;
};

static const struct mram_section cpu = {
	.name = "cpu", .version = 1, .data = "abc", .length = 3,
};

FIXTURE_SETUP(commit)
{
	char *by_hand;
	int fd;

	arm(NOTHING, 0);
	self->path = tmp_file("/tmp");
	ASSERT_EQ(0, mram_layout_init(&self->l, NULL, &self->e));
	ASSERT_EQ(0, mram_layout_add_block(&self->l, "pc.ram", 0x4000, 4096,
					   &self->e));
	ASSERT_EQ(1, mram_layout_add_block(&self->l, "rom", 0x2000, 4096,
					   &self->e));
	ASSERT_EQ(0, mram_layout_finish(&self->l, &self->e));
	self->words[0] = 5;
	self->words[1] = 2;
	self->bitmaps[0] = &self->words[0];
	self->bitmaps[1] = &self->words[1];
	ASSERT_EQ(0, mram_io_open(&self->io, self->path, MRAM_IO_WRITE,
				  &self->e));

	self->want = calloc(1, SMALL_END);
	by_hand = mem_file(&fd);
	small_image(fd);
	get_at(fd, 0, self->want, SMALL_END);
	close(fd);
	free(by_hand);
}

FIXTURE_TEARDOWN(commit)
{
	arm(NOTHING, 0);
	mram_io_close(self->io);
	mram_layout_free(&self->l);
	unlink(self->path);
	free(self->path);
	free(self->want);
	EXPECT_NO_LEAKS();
}

static int begin(FIXTURE_DATA(commit) *self)
{
	uint8_t *page = malloc(4096);
	int ret;

	ret = mram_io_invalidate(self->io, &self->e);
	if (!ret)
		ret = mram_io_resize(self->io, self->l.tail_offset, &self->e);
	small_page(page, 0, 0);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_A, page, 4096,
				    &self->e);
	small_page(page, 0, 2);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_A + 0x2000, page,
				    4096, &self->e);
	small_page(page, 1, 1);
	if (!ret)
		ret = mram_io_write(self->io, SMALL_PAGES_B + 0x1000, page,
				    4096, &self->e);
	free(page);
	return ret;
}

static int commit(FIXTURE_DATA(commit) *self)
{
	return mram_image_write_commit(self->io, &self->l, self->bitmaps, &cpu,
				       1, &self->end, &self->e);
}

static int try_open(const char *path, struct mram_error *e)
{
	struct mram_image *img;
	int ret = mram_image_open(&img, path, e);

	if (!ret)
		mram_image_close(img);
	return ret;
}

static bool is_by_hand(FIXTURE_DATA(commit) *self)
{
	int fd = open(self->path, O_RDONLY | O_CLOEXEC);
	struct bytes want = { self->want, SMALL_END };
	uint8_t *found;
	struct stat st;
	bool equal;

	if (fd < 0 || fstat(fd, &st))
		return false;
	found = malloc((size_t)st.st_size);
	get_at(fd, 0, found, (size_t)st.st_size);
	equal = bytes_equal(found, (size_t)st.st_size, want);
	free(found);
	close(fd);
	return equal;
}

TEST_F(commit, as_written_by_hand)
{
	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	EXPECT_EQ(SMALL_END, self->end);
	EXPECT_TRUE(is_by_hand(self));
	EXPECT_EQ(0, try_open(self->path, &self->e));
}

TEST_F(commit, bits_behind_the_block_are_not_written)
{
	self->words[0] |= ~0xfULL;
	self->words[1] |= 1ULL << 63 | 4;
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, commit(self));
	EXPECT_TRUE(is_by_hand(self));
}

TEST_F(commit, needs_invalidating)
{
	EXPECT_EQ(-EINVAL, commit(self));
	EXPECT_TRUE(contains(self->e.message, "invalidated"));
	ASSERT_EQ(0, begin(self));
	ASSERT_EQ(0, commit(self));
	EXPECT_EQ(-EINVAL, commit(self));
	EXPECT_TRUE(is_by_hand(self));
}

/*
 * Over a longer file full of something else: only the gaps, and the pages that
 * are clear, may still have the old bytes.
 */
TEST_F(commit, over_an_older_image)
{
	static const struct { uint64_t from, to; } parts[] = {
		{ 0, SMALL_BITMAP_A + 8 },
		{ SMALL_PAGES_A, SMALL_PAGES_A + 0x1000 },
		{ SMALL_PAGES_A + 0x2000, SMALL_PAGES_A + 0x3000 },
		{ SMALL_RECORD_B, SMALL_BITMAP_B + 8 },
		{ SMALL_PAGES_B + 0x1000, SMALL_END },
	};
	size_t size = SMALL_END + 70000, i;
	uint8_t *old = malloc(size);
	int fd = open(self->path, O_RDWR | O_CLOEXEC);
	struct stat st;

	memset(old, 0xee, size);
	put_at(fd, 0, old, size);
	put_at(fd, 0, self->want, 4096);

	ASSERT_EQ(0, begin(self));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	ASSERT_EQ(0, fstat(fd, &st));
	ASSERT_EQ(SMALL_END, st.st_size);
	get_at(fd, 0, old, SMALL_END);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		EXPECT_EQ(0, memcmp(old + parts[i].from,
				    self->want + parts[i].from,
				    parts[i].to - parts[i].from));
	EXPECT_EQ(0, try_open(self->path, &self->e));
	free(old);
	close(fd);
}

TEST_F(commit, twice)
{
	ASSERT_EQ(0, begin(self));
	self->words[0] = 0;
	ASSERT_EQ(0, commit(self));
	EXPECT_FALSE(is_by_hand(self));
	self->words[0] = 5;
	ASSERT_EQ(0, mram_io_invalidate(self->io, &self->e));
	EXPECT_EQ(-ENODATA, try_open(self->path, &self->e));
	ASSERT_EQ(0, commit(self));
	EXPECT_TRUE(is_by_hand(self));
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
