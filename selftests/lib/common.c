// SPDX-License-Identifier: GPL-2.0
/*
 * Bytes, files and the small image: see common.h.
 */
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common.h"

static int digit(char c)
{
	if (!isxdigit((unsigned char)c))
		errx(1, "'%c' is neither a hex digit nor quoted", c);
	return isdigit((unsigned char)c) ? c - '0' :
					   tolower((unsigned char)c) - 'a' + 10;
}

struct bytes bytes(const char *text)
{
	struct bytes b = { .data = malloc(strlen(text) + 1) };
	const char *p;

	if (!b.data)
		err(1, "bytes");
	for (p = text; *p; p++) {
		if (isspace((unsigned char)*p))
			continue;
		if (*p == '\'') {
			for (p++; *p && *p != '\''; p++)
				b.data[b.length++] = (uint8_t)*p;
			if (!*p)
				errx(1, "no closing quote in: %s", text);
			continue;
		}
		b.data[b.length++] = (uint8_t)(digit(p[0]) << 4 | digit(p[1]));
		p++;
	}
	return b;
}

bool bytes_equal(const void *found, size_t length, struct bytes want)
{
	const uint8_t *p = found;
	size_t i;

	if (length != want.length)
		printf("# %zu bytes, expected %zu\n", length,
			       want.length);
	for (i = 0; i < length && i < want.length; i++)
		if (p[i] != want.data[i]) {
			printf("# byte 0x%zx is %02x, expected %02x\n",
				       i, p[i], want.data[i]);
			return false;
		}
	return length == want.length;
}

char *tmp_file(const char *dir)
{
	char *path;
	int fd;

	if (asprintf(&path, "%s/mapped-ram-test-XXXXXX", dir) < 0)
		err(1, "asprintf");
	fd = mkstemp(path);
	if (fd < 0)
		err(1, "%s", path);
	close(fd);
	return path;
}

char *mem_file(int *fd)
{
	char *path;

	*fd = memfd_create("image", MFD_CLOEXEC);
	if (*fd < 0)
		err(1, "memfd_create");
	if (asprintf(&path, "/proc/self/fd/%d", *fd) < 0)
		err(1, "asprintf");
	return path;
}

void fill_random(uint8_t *p, size_t length, unsigned int seed)
{
	size_t i;

	for (i = 0; i < length; i++, seed = seed * 1103515245 + 12345)
		p[i] = (uint8_t)(seed >> 16);
}

bool file_equals(const char *path, const uint8_t *want, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *found = malloc(size);
	struct bytes all = { (uint8_t *)want, size };
	bool same;

	get_at(fd, 0, found, size);
	same = bytes_equal(found, size, all);
	free(found);
	close(fd);
	return same;
}

void put_at(int fd, uint64_t offset, const void *data, size_t length)
{
	if (pwrite(fd, data, length, (off_t)offset) != (ssize_t)length)
		err(1, "writing %zu bytes at 0x%llx", length,
		    (unsigned long long)offset);
}

void put_text(int fd, uint64_t offset, const char *text)
{
	struct bytes b = bytes(text);

	put_at(fd, offset, b.data, b.length);
	free(b.data);
}

void get_at(int fd, uint64_t offset, void *data, size_t length)
{
	if (pread(fd, data, length, (off_t)offset) != (ssize_t)length)
		err(1, "reading %zu bytes at 0x%llx", length,
		    (unsigned long long)offset);
}

bool contains(const char *message, const char *words)
{
	char *copy = strdup(words), *rest = copy, *word;
	bool all = true;

	while ((word = strsep(&rest, "|")))
		if (!strstr(message, word)) {
			printf("# \"%s\" does not say \"%s\"\n", message,
				       word);
			all = false;
		}
	free(copy);
	return all;
}

/* Magic, version; machine name; one capability; RAM; 0x6000 bytes of it. */
const char small_head[] =
	"5145564d 00000003"
	"07 00000004 'none'"
	"05 1a 'configuration/capabilities' 00000001 00000001 0a 'mapped-ram'"
	"01 4d52414d 03 'ram' 00000000 00000004"
	"0000000000006004";

/* Name, length; header version, page size, bitmap, pages. */
const char small_record_a[] =
	"06 'pc.ram' 0000000000004000"
	"00000001 0000000000001000 0000000000000084 0000000000100000";
const char small_bitmap_a[] = "05 00 00 00 00 00 00 00";

const char small_record_b[] =
	"03 'rom' 0000000000002000"
	"00000001 0000000000001000 0000000000104028 0000000000200000";
const char small_bitmap_b[] = "02 00 00 00 00 00 00 00";

/* End of the RAM section's start, its end, a device, end mark, description. */
const char small_tail[] =
	"0000000000000010 7e 4d52414d"
	"03 4d52414d 0000000000000010 7e 4d52414d"
	"04 00000000 03 'cpu' 00000000 00000001 'abc' 7e 00000000"
	"00"
	"06 000001dc"
	"'{\"configuration\":{\"vmsd_name\":\"configuration\",\"version\":1,'"
	"'\"fields\":[{\"name\":\"len\",\"type\":\"uint32\",\"size\":4},'"
	"'{\"name\":\"name\",\"type\":\"buffer\",\"size\":4}],'"
	"'\"subsections\":[{\"vmsd_name\":\"configuration/capabilities\",'"
	"'\"version\":1,'"
	"'\"fields\":[{\"name\":\"caps_count\",\"type\":\"uint32\",\"size\":4},'"
	"'{\"name\":\"capabilities\",\"type\":\"capability\",\"size\":11}]}]},'"
	"'\"page_size\":4096,'"
	"'\"devices\":[{\"name\":\"cpu\",\"instance_id\":0,\"vmsd_name\":\"cpu\",'"
	"'\"version\":1,'"
	"'\"fields\":[{\"name\":\"data\",\"type\":\"buffer\",\"size\":3}]}]}'";

void small_page(void *to, int block, int page)
{
	memset(to, 'A' + 16 * block + page, 4096);
}

void small_image(int fd)
{
	uint8_t page[4096];

	put_text(fd, SMALL_HEAD, small_head);
	put_text(fd, SMALL_RECORD_A, small_record_a);
	put_text(fd, SMALL_BITMAP_A, small_bitmap_a);
	small_page(page, 0, 0);
	put_at(fd, SMALL_PAGES_A, page, sizeof(page));
	small_page(page, 0, 2);
	put_at(fd, SMALL_PAGES_A + 0x2000, page, sizeof(page));
	put_text(fd, SMALL_RECORD_B, small_record_b);
	put_text(fd, SMALL_BITMAP_B, small_bitmap_b);
	small_page(page, 1, 1);
	put_at(fd, SMALL_PAGES_B + 0x1000, page, sizeof(page));
	put_text(fd, SMALL_TAIL, small_tail);
}
