// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What QEMU loads when its shared memory is there already: the image's stream
 * without that, in the form of x-ignore-shared. Blocks in no shared file travel
 * as page records, and the device state as it stands in the image.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "be.h"
#include "bitmap.h"
#include "cursor.h"
#include "error.h"
#include "format.h"
#include "pages.h"
#include "qemu_incoming.h"

#define CAP_IGNORE_SHARED	"x-ignore-shared"
#define FLAG_ZERO		0x02u
#define FLAG_PAGE		0x08u

#define ROOM		(1u << 20)
/* How often the caller is asked while QEMU takes nothing. */
#define SILENCE_MSEC	200
/* For so long it may take nothing: as for an answer of its monitor. */
#define SILENCE_MAX	600

/**
 * struct feed - the stream on its way
 * @m: what goes where
 * @fd: to QEMU
 * @at: bytes in @room that were not sent yet
 */
struct feed {
	const struct qemu_match *m;
	int fd;
	size_t at;
	uint8_t *room;
};

static int flush(struct feed *f, struct mram_error *err)
{
	const struct qmp *qmp = f->m->q->qmp;
	struct pollfd p = { .fd = f->fd, .events = POLLOUT };
	unsigned int silence = 0;
	size_t done = 0;
	ssize_t n;

	while (done < f->at) {
		if (qmp->cancelled && qmp->cancelled(qmp->cancelled_data))
			return mram_err(err, -ECANCELED,
					"%.200s: the caller wants no more",
					qmp->path);
		if (poll(&p, 1, SILENCE_MSEC) <= 0) {
			if (++silence < SILENCE_MAX)
				continue;
			return mram_err(err, -ETIMEDOUT,
					"%.200s: QEMU does not read its incoming migration",
					qmp->path);
		}
		silence = 0;
		n = send(f->fd, f->room + done, f->at - done,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0)
			done += (size_t)n;
		else if (errno == ECONNRESET)
			return -EPIPE;
		else if (errno != EAGAIN && errno != EINTR)
			return errno == EPIPE ? -EPIPE :
			       mram_err(err, -errno, "%.200s: QEMU's incoming migration: %s",
					qmp->path, strerror(errno));
	}
	f->at = 0;
	return 0;
}

static int put(struct feed *f, const void *data, size_t length,
	       struct mram_error *err)
{
	size_t part;
	int ret;

	for (; length; length -= part) {
		if (f->at == ROOM) {
			ret = flush(f, err);
			if (ret)
				return ret;
		}
		part = ROOM - f->at < length ? ROOM - f->at : length;
		memcpy(f->room + f->at, data, part);
		f->at += part;
		data = (const uint8_t *)data + part;
	}
	return 0;
}

static int put_be(struct feed *f, uint64_t v, unsigned int length,
		  struct mram_error *err)
{
	uint8_t bytes[8];
	unsigned int i;

	for (i = 0; i < length; i++)
		bytes[i] = (uint8_t)(v >> 8 * (length - 1 - i));
	return put(f, bytes, length, err);
}

static int put_name(struct feed *f, const char *name, struct mram_error *err)
{
	int ret = put_be(f, strlen(name), 1, err);

	return ret ? ret : put(f, name, strlen(name), err);
}

/* A piece of the image as it stands there, from where the cursor is. */
static int copy(struct feed *f, struct mram_cursor *c, size_t length,
		struct mram_error *err)
{
	uint8_t bytes[MRAM_NAME_MAX + 1];
	int ret;

	ret = mram_cursor_get(c, bytes, length, "configuration", err);
	return ret ? ret : put(f, bytes, length, err);
}

/* ---------------------------------------------------------- configuration */

static int skip_capabilities(struct mram_cursor *c, struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint32_t nr = 0;
	int ret;

	ret = mram_cursor_expect(c, 1, "version of the subsection", err);
	if (!ret)
		ret = mram_cursor_be32(c, &nr, "number of capabilities", err);
	while (!ret && nr--)
		ret = mram_cursor_name(c, name, "capability", err);
	return ret;
}

/* All of the configuration but its capabilities. It was checked before. */
static int put_subsections(struct feed *f, struct mram_cursor *c,
			   struct mram_error *err)
{
	char name[MRAM_NAME_MAX + 1];
	uint8_t type;
	int ret;

	for (;;) {
		ret = mram_cursor_u8(c, &type, "next section", err);
		if (ret || type != MRAM_VM_SUBSECTION)
			return ret;
		ret = mram_cursor_name(c, name, "name of a subsection", err);
		if (!ret && !strcmp(name, MRAM_SUB_CAPABILITIES)) {
			ret = skip_capabilities(c, err);
		} else if (!ret) {
			ret = put_be(f, MRAM_VM_SUBSECTION, 1, err);
			if (!ret)
				ret = put_name(f, name, err);
			if (!ret)
				ret = copy(f, c, strcmp(name, MRAM_SUB_UUID) ?
					   8 : 20, err);
		}
		if (ret)
			return ret;
	}
}

static int put_configuration(struct feed *f, struct mram_error *err)
{
	const struct mram_image *img = f->m->img;
	const char *machine = mram_image_machine(img);
	struct mram_cursor c;
	int ret;

	mram_cursor_init(&c, img->io, img->file_size, img->start);
	ret = copy(f, &c, 4 + 4 + 1 + 4, err);
	if (!ret)
		ret = copy(f, &c, strlen(machine), err);
	if (!ret)
		ret = put_subsections(f, &c, err);
	if (!ret)
		ret = put_be(f, MRAM_VM_SUBSECTION, 1, err);
	if (!ret)
		ret = put_name(f, MRAM_SUB_CAPABILITIES, err);
	if (!ret)
		ret = put_be(f, 1, 4, err);
	if (!ret)
		ret = put_be(f, 1, 4, err);
	return ret ? ret : put_name(f, CAP_IGNORE_SHARED, err);
}

/* ----------------------------------------------------------------- memory */

static int put_block(struct feed *f, const struct qemu_place *p,
		     struct mram_error *err)
{
	int ret;

	ret = put_name(f, p->block->name, err);
	if (!ret)
		ret = put_be(f, p->block->length, 8, err);
	return ret ? ret : put_be(f, p->gpa, 8, err);
}

static int put_footer(struct feed *f, struct mram_error *err)
{
	int ret;

	ret = put_be(f, MRAM_RAM_FLAG_EOS, 8, err);
	if (!ret)
		ret = put_be(f, MRAM_VM_SECTION_FOOTER, 1, err);
	return ret ? ret : put_be(f, f->m->img->ram_id, 4, err);
}

/* Blocks without a byte first: the list ends with the last byte of memory. */
static int put_blocks(struct feed *f, struct mram_error *err)
{
	const struct mram_image *img = f->m->img;
	uint64_t total = 0;
	int ret, empty;
	size_t i;

	for (i = 0; i < img->nr_blocks; i++)
		total += img->blocks[i].length;
	ret = put_be(f, MRAM_VM_SECTION_START, 1, err);
	if (!ret)
		ret = put_be(f, img->ram_id, 4, err);
	if (!ret)
		ret = put_name(f, MRAM_RAM_NAME, err);
	if (!ret)
		ret = put_be(f, 0, 4, err);
	if (!ret)
		ret = put_be(f, MRAM_RAM_VERSION, 4, err);
	if (!ret)
		ret = put_be(f, total | MRAM_RAM_FLAG_MEM_SIZE, 8, err);
	for (empty = 1; empty >= 0; empty--)
		for (i = 0; !ret && i < img->nr_blocks; i++)
			if ((!img->blocks[i].length) == empty)
				ret = put_block(f, &f->m->places[i], err);
	return ret ? ret : put_footer(f, err);
}

/*
 * Also zero pages: QEMU may have put something there when it started, which the
 * page's absence from the stream would leave.
 */
static int put_page(struct feed *f, const char *name, uint64_t offset,
		    const uint8_t *data, size_t size, struct mram_error *err)
{
	int ret;

	ret = put_be(f, offset | (data ? FLAG_PAGE : FLAG_ZERO), 8, err);
	if (!ret)
		ret = put_name(f, name, err);
	if (ret)
		return ret;
	return data ? put(f, data, size, err) : put_be(f, 0, 1, err);
}

static int put_run(struct feed *f, struct pages *p, uint64_t first,
		   uint64_t end, bool held, struct mram_error *err)
{
	size_t size = (size_t)p->info.page_size;
	uint64_t count = end - first, i;
	int ret = 0;

	for (; !ret && first < end; first += count) {
		if (held) {
			count = pages_chunk(p, end - first);
			ret = pages_read(p, first, count, err);
		}
		for (i = 0; !ret && i < count; i++)
			ret = put_page(f, p->info.name, (first + i) * size,
				       held ? p->buffer + i * size : NULL,
				       size, err);
	}
	return ret;
}

static int put_memory(struct feed *f, int index, struct mram_error *err)
{
	struct pages p = { 0 };
	uint64_t at = 0, end;
	bool held;
	int ret;

	ret = pages_open(&p, f->m->img, index, err);
	while (!ret && at < p.info.pages) {
		held = bitmap_test(p.bitmap, at);
		end = bitmap_next(p.bitmap, at, p.info.pages, !held);
		ret = put_run(f, &p, at, end, held, err);
		at = end;
	}
	pages_close(&p);
	return ret;
}

static int put_memories(struct feed *f, struct qemu_fed *fed,
			struct mram_error *err)
{
	const struct mram_image *img = f->m->img;
	size_t i;
	int ret;

	ret = put_be(f, MRAM_VM_SECTION_END, 1, err);
	if (!ret)
		ret = put_be(f, img->ram_id, 4, err);
	for (i = 0; !ret && i < img->nr_blocks; i++) {
		if (f->m->places[i].ram)
			continue;
		ret = put_memory(f, (int)i, err);
		fed->pages += img->blocks[i].pages;
	}
	return ret ? ret : put_footer(f, err);
}

/* ------------------------------------------------------------------ state */

static int put_state(struct feed *f, struct qemu_fed *fed,
		     struct mram_error *err)
{
	const struct mram_image *img = f->m->img;
	uint64_t at = img->state_offset;
	size_t part;
	int ret = 0;

	while (!ret && at < img->end) {
		ret = flush(f, err);
		if (ret)
			break;
		part = img->end - at < ROOM ? (size_t)(img->end - at) : ROOM;
		ret = mram_io_read(img->io, at, f->room, part, err);
		f->at = part;
		at += part;
		fed->state_bytes += part;
	}
	return ret ? ret : flush(f, err);
}

int qemu_feed(const struct qemu_match *m, int fd, struct qemu_fed *fed,
	      struct mram_error *err)
{
	struct feed f = { .m = m, .fd = fd };
	int ret;

	f.room = mram_io_alloc(m->img->io, ROOM);
	if (!f.room)
		return mram_err(err, -ENOMEM, "no memory for QEMU's stream");
	ret = put_configuration(&f, err);
	if (!ret)
		ret = put_blocks(&f, err);
	if (!ret)
		ret = put_memories(&f, fed, err);
	if (!ret)
		ret = put_state(&f, fed, err);
	free(f.room);
	return ret;
}
