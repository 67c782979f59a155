// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram verify: can every page that an image holds be read?
 *
 * Pages are read from the file itself and not restored: memory for the whole
 * block is not needed, and what is read goes past the page cache, so that it
 * comes from the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "facts.h"
#include "lock.h"
#include "progress.h"
#include "tool.h"

#define BUFFER_SIZE	(4u << 20)

static const char help[] =
"usage: mapped-ram verify [--json] IMAGE\n"
"\n"
"Check the structure of IMAGE, and read every page that it holds. The exit\n"
"status is 0 if all is well; else what is wrong is said on stderr.\n"
"\n"
"  --json      print JSON\n"
"  --help, -h  this text\n";

static const struct option options[] = {
	{ "json",	no_argument,	NULL, 'j' },
	{ "help",	no_argument,	NULL, 'h' },
	{ }
};

struct verify {
	struct facts facts;
	int fd;
	bool direct;
	void *buffer;
	uint64_t pages_read;
	uint64_t bytes_read;
	uint64_t nsec;
};

static int open_image(struct verify *v)
{
	v->direct = true;
	v->fd = open(v->facts.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (v->fd < 0 && errno == EINVAL) {
		v->direct = false;
		v->fd = open(v->facts.path, O_RDONLY | O_CLOEXEC);
	}
	if (v->fd < 0)
		return tool_fail("cannot open %s: %s", v->facts.path,
				 strerror(errno));
	if (posix_memalign(&v->buffer, BUFFER_SIZE, BUFFER_SIZE))
		return tool_fail("out of memory");
	return 0;
}

/*
 * Images that others wrote may not be aligned as this disk wants it. Then the
 * page cache has to help.
 */
static bool leave_direct(struct verify *v)
{
	int flags = fcntl(v->fd, F_GETFL);

	if (!v->direct || flags < 0 ||
	    fcntl(v->fd, F_SETFL, flags & ~O_DIRECT))
		return false;
	v->direct = false;
	return true;
}

/* Return: 0, or a negative errno; -ENODATA when the file ends before */
static int read_all(struct verify *v, uint64_t offset, size_t length)
{
	size_t done = 0;
	ssize_t got;

	while (done < length) {
		got = pread(v->fd, (char *)v->buffer + done, length - done,
			    (off_t)(offset + done));
		if (got > 0)
			done += (size_t)got;
		else if (!got)
			return -ENODATA;
		else if (errno == EINVAL && leave_direct(v))
			continue;
		else if (errno != EINTR || cleanup_interrupted())
			return -errno;
	}
	return 0;
}

static int fail_page(const struct verify *v, const struct mram_block_info *b,
		     uint64_t page, uint64_t offset, int code)
{
	return tool_fail("%s: block '%s': page %llu at offset %llu cannot be read: %s",
			 v->facts.path, b->name, (unsigned long long)page,
			 (unsigned long long)offset,
			 code == -ENODATA ? "the file ends before it" :
					    strerror(-code));
}

/* A large read failed: small ones find the page. */
static int find_bad_page(struct verify *v, const struct mram_block_info *b,
			 uint64_t offset, size_t length, int code)
{
	uint64_t page = (offset - b->pages_offset) / b->page_size;
	size_t step = b->page_size < length ? b->page_size : length, at;
	int ret;

	for (at = 0; at < length; at += step) {
		ret = read_all(v, offset + at, step);
		if (ret)
			return fail_page(v, b, page + at / step, offset + at,
					 ret);
	}
	/* It can be read now, but it could not be trusted. */
	return fail_page(v, b, page, offset, code);
}

static int read_run(struct verify *v, const struct mram_block_info *b,
		    uint64_t first, uint64_t count)
{
	uint64_t start = b->pages_offset + first * b->page_size;
	uint64_t end = start + count * b->page_size, offset;
	size_t length;
	int ret;

	for (offset = start; offset < end; offset += length) {
		length = end - offset < BUFFER_SIZE ? end - offset :
						      BUFFER_SIZE;
		if (cleanup_interrupted())
			return tool_fail("interrupted");
		ret = read_all(v, offset, length);
		if (ret && cleanup_interrupted())
			return tool_fail("interrupted");
		if (ret)
			return find_bad_page(v, b, offset, length, ret);
		v->bytes_read += length;
		progress_update(v->pages_read +
				(offset + length - start) / b->page_size);
	}
	v->pages_read += count;
	return 0;
}

/* The next page from @page on whose bit is @set; @pages when there is none. */
static uint64_t next(const uint64_t *words, uint64_t page, uint64_t pages,
		     bool set)
{
	uint64_t word;

	while (page < pages) {
		word = set ? words[page / 64] : ~words[page / 64];
		word &= ~UINT64_C(0) << page % 64;
		if (word) {
			page = page / 64 * 64 + (uint64_t)__builtin_ctzll(word);
			return page < pages ? page : pages;
		}
		page = (page / 64 + 1) * 64;
	}
	return pages;
}

static int read_block(struct verify *v, int i)
{
	const struct mram_block_info *b = &v->facts.blocks[i];
	const uint64_t *words = v->facts.bitmaps[i];
	uint64_t first, end;

	for (first = next(words, 0, b->pages, true); first < b->pages;
	     first = next(words, end, b->pages, true)) {
		end = next(words, first, b->pages, false);
		if (read_run(v, b, first, end - first))
			return TOOL_FAILED;
	}
	return 0;
}

static int print_json(const struct verify *v)
{
	json_object *o = facts_json(&v->facts), *read[4];
	static const char * const keys[4] = {
		"pages_read", "bytes_read", "seconds", "direct",
	};
	bool failed = !o;
	int i;

	read[0] = json_object_new_uint64(v->pages_read);
	read[1] = json_object_new_uint64(v->bytes_read);
	read[2] = json_object_new_double(tool_seconds(v->nsec));
	read[3] = json_object_new_boolean(v->direct);
	for (i = 0; i < 4; i++)
		if (failed || !read[i] ||
		    json_object_object_add(o, keys[i], read[i])) {
			json_object_put(read[i]);
			failed = true;
		}
	if (failed) {
		json_object_put(o);
		o = NULL;
	}
	return facts_print_json(o);
}

static int verify(struct verify *v, bool json)
{
	uint64_t start = tool_now();
	int i;

	if (open_image(v))
		return TOOL_FAILED;
	progress_start("verifying", v->facts.set_pages, v->facts.set_bytes);
	for (i = 0; i < v->facts.count; i++)
		if (read_block(v, i))
			return TOOL_FAILED;
	progress_end();
	v->nsec = tool_now() - start;
	if (json)
		return print_json(v);
	printf("%d %s good: %llu pages read, %llu zero, %s, %.2f s%s\n",
	       v->facts.count, v->facts.count == 1 ? "block" : "blocks",
	       (unsigned long long)v->pages_read,
	       (unsigned long long)(v->facts.pages - v->facts.set_pages),
	       tool_format_size(v->bytes_read).text, tool_seconds(v->nsec),
	       v->direct ? "" : ", through the page cache");
	return 0;
}

int cmd_verify(int argc, char **argv)
{
	struct verify v = { .fd = -1 };
	const char *image;
	bool json = false;
	int c, status;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			fputs(help, stdout);
			return tool_finish_output(0);
		case 'j':
			json = true;
			break;
		default:
			return tool_bad_option("verify", argv, c);
		}
	}
	status = tool_one_image("verify", argc, argv, &image);
	if (status)
		return status;

	cleanup_start();
	status = lock_image(image, IMAGE_READ);
	if (!status)
		status = facts_gather(&v.facts, image);
	if (!status)
		status = verify(&v, json);
	if (v.fd >= 0)
		close(v.fd);
	free(v.buffer);
	facts_free(&v.facts);
	return tool_finish_output(cleanup_end(status));
}
