// SPDX-License-Identifier: GPL-2.0
/*
 * What the tests of the engines share: random numbers, images, sessions.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

struct mram_error error;

const char *const engine_names[3] = { "module", "uring", "pwrite" };

static uint64_t random_state;

void random_seed(uint64_t salt)
{
	const char *seed = getenv("MRAM_SEED");

	random_state = (seed ? strtoull(seed, NULL, 0) : 1) * 1000003 + salt;
}

/* splitmix64 */
static uint64_t random_next(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint64_t random_below(uint64_t n)
{
	return random_next() % n;
}

void random_fill(void *p, size_t length)
{
	uint64_t *word = p;
	size_t i;

	for (i = 0; i < length / sizeof(*word); i++)
		word[i] = random_next() | 1;
}

char *image_path(void)
{
	const char *dir = getenv("MRAM_TEST_DIR");
	char *path;
	int fd;

	if (asprintf(&path, "%s/image.XXXXXX", dir ? dir : ".") < 0)
		err(1, "asprintf");
	fd = mkstemp(path);
	if (fd < 0)
		err(1, "%s", path);
	close(fd);
	unlink(path);
	return path;
}

void image_remove(char *path)
{
	unlink(path);
	free(path);
}

static int open_image(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

bool image_has_magic(const char *path)
{
	static const char magic[] = { 'Q', 'E', 'V', 'M' };
	char found[sizeof(magic)] = { 0 };
	int fd = open_image(path);
	ssize_t got = pread(fd, found, sizeof(found), 0);

	close(fd);
	return got == sizeof(found) && !memcmp(found, magic, sizeof(magic));
}

void image_copy(const char *to, const char *from)
{
	int in = open_image(from);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static char buf[1 << 20];
	ssize_t got;

	if (out < 0)
		err(1, "%s", to);
	while ((got = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, got) != got)
			err(1, "%s", to);
	if (got < 0 || fsync(out))
		err(1, "%s", from);
	close(in);
	close(out);
}

long long image_difference(const char *a, const char *b)
{
	static char buf[2][1 << 20];
	int fd[2] = { open_image(a), open_image(b) };
	long long offset = 0, i;
	ssize_t got[2];

	for (;;) {
		got[0] = pread(fd[0], buf[0], sizeof(buf[0]), offset);
		got[1] = pread(fd[1], buf[1], sizeof(buf[1]), offset);
		if (got[0] < 0 || got[1] < 0)
			err(1, "%s, %s", a, b);
		for (i = 0; i < got[0] && i < got[1]; i++)
			if (buf[0][i] != buf[1][i])
				break;
		offset += i;
		if (i < got[0] || i < got[1])
			break;
		if (!i) {
			offset = -1;
			break;
		}
	}
	close(fd[0]);
	close(fd[1]);
	return offset;
}

void image_read(const char *path, const struct mram_block_info *info,
		uint64_t page, void *to)
{
	int fd = open_image(path);

	if (pread(fd, to, info->page_size,
		  info->pages_offset + page * info->page_size) !=
	    (ssize_t)info->page_size)
		err(1, "%s: page %llu", path, (unsigned long long)page);
	close(fd);
}

bool engine_works(const char *engine)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
					       .engine = engine);
	struct mram_session *s;
	char *path = image_path();
	int ret;

	ret = mram_session_open(&s, path, &o, &error);
	if (!ret)
		mram_session_close(s);
	image_remove(path);
	return !ret;
}

struct mram_session *engine_open(const char *engine, const char *path)
{
	struct mram_session_opts o = MRAM_OPTS(mram_session_opts,
					       .engine = engine);
	struct mram_session *s;

	if (mram_session_open(&s, path, &o, &error))
		errx(1, "engine %s: %s", engine, error.message);
	return s;
}
