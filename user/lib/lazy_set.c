// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The working set: which pages were touched first, in a small file.
 *
 * All numbers are little-endian. The head:
 *
 *	8 bytes		"MRAMWSET"
 *	u32		1, the version
 *	u32		how many blocks the image has
 *	u64		the image's size: the end of its stream
 *	u64		how many runs follow
 *
 * then for each block of the image, in its order:
 *
 *	u64		length in bytes
 *	u64		page size in bytes
 *	u64		checksum of its name
 *	u64		checksum of its bitmap, as it stands in the image
 *
 * then the runs, in the order in which they were touched:
 *
 *	u32		index of the block
 *	u32		0
 *	u64		where in the block it begins, in bytes
 *	u64		length in bytes
 *
 * and at last a u64, the checksum of everything before. Checksums are FNV-1a of
 * 64 bits. Runs are whole pages of the system that wrote them.
 *
 * A page is named at most once, also one that the image does not hold: that is
 * zero, but to find that out costs who touches it as much. What is named is only
 * brought earlier, or made at all where nobody touches it, so memory for zero
 * pages is all that a file which is out of date, or of bad will, can cost; all
 * the same it must be of this very image.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "lazy.h"

#define HEAD_SIZE	32u
#define BLOCK_SIZE	32u
#define RUN_SIZE	24u
#define SUM_SIZE	8u
#define VERSION		1u
/* About eleven million runs: nobody's working set. */
#define MAX_FILE	(256u << 20)

static const char magic[8] = { 'M', 'R', 'A', 'M', 'W', 'S', 'E', 'T' };

static uint64_t checksum(const void *data, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	const unsigned char *p = data;

	while (length--)
		sum = (sum ^ *p++) * UINT64_C(0x100000001b3);
	return sum;
}

static unsigned char *put32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static unsigned char *put64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
	return p + sizeof(v);
}

static uint32_t get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

/*
 * Head and blocks, for @runs runs; the caller frees them. Two that are equal
 * are of the same image.
 */
static unsigned char *make_head(struct mram_restore_lazy *l, uint64_t runs,
				size_t *size, struct mram_error *err)
{
	struct mram_block_info i = { .size = sizeof(i) };
	uint32_t nr = (uint32_t)mram_image_blocks(l->img), n;
	unsigned char *head, *p;
	const uint64_t *bitmap;

	*size = HEAD_SIZE + (size_t)nr * BLOCK_SIZE;
	head = malloc(*size);
	if (!head) {
		mram_err(err, -ENOMEM, "working set: out of memory");
		return NULL;
	}
	memcpy(head, magic, sizeof(magic));
	p = put32(head + sizeof(magic), VERSION);
	p = put32(p, nr);
	p = put64(p, mram_image_size(l->img));
	p = put64(p, runs);
	for (n = 0; n < nr; n++) {
		if (mram_image_block(l->img, (int)n, &i, err) ||
		    mram_image_bitmap(l->img, (int)n, &bitmap, err)) {
			free(head);
			return NULL;
		}
		p = put64(p, i.length);
		p = put64(p, i.page_size);
		p = put64(p, checksum(i.name, strlen(i.name)));
		p = put64(p, checksum(bitmap, bitmap_words(i.pages) * 8));
	}
	return head;
}

/* -------------------------------------------------------------- recording */

static void append(struct lazy_record *r, uint32_t block, uint64_t offset,
		   uint64_t length)
{
	struct lazy_run *last = r->nr ? &r->run[r->nr - 1] : NULL, *grown;
	size_t max;

	if (last && last->block == block &&
	    last->offset + last->length == offset) {
		last->length += length;
		return;
	}
	if (r->nr == r->max) {
		max = r->max ? 2 * r->max : 256;
		grown = realloc(r->run, max * sizeof(*grown));
		/* A record with gaps is still of use. */
		if (!grown)
			return;
		r->run = grown;
		r->max = max;
	}
	r->run[r->nr++] = (struct lazy_run){ block, offset, length };
}

void lazy_record_touch(struct mram_restore_lazy *l, struct lazy_block *b,
		       uint64_t first, uint64_t end)
{
	uint64_t from;

	if (!l->record.path)
		return;
	pthread_mutex_lock(&l->record.lock);
	for (; first < end; first++) {
		first = bitmap_next(b->touched, first, end, 0);
		from = first;
		first = bitmap_next(b->touched, from, end, 1);
		if (first > from)
			append(&l->record, (uint32_t)b->index,
			       from << b->unit_shift,
			       (first - from) << b->unit_shift);
		bitmap_or_range(b->touched, from, first);
	}
	pthread_mutex_unlock(&l->record.lock);
}

static unsigned char *make_file(struct mram_restore_lazy *l, size_t *size,
				struct mram_error *err)
{
	const struct lazy_record *r = &l->record;
	unsigned char *file, *p;
	size_t i, head_size;

	file = make_head(l, r->nr, &head_size, err);
	if (!file)
		return NULL;
	*size = head_size + r->nr * RUN_SIZE + SUM_SIZE;
	p = realloc(file, *size);
	if (!p) {
		free(file);
		mram_err(err, -ENOMEM, "working set: out of memory");
		return NULL;
	}
	file = p;
	p += head_size;
	for (i = 0; i < r->nr; i++) {
		p = put32(p, r->run[i].block);
		p = put32(p, 0);
		p = put64(p, r->run[i].offset);
		p = put64(p, r->run[i].length);
	}
	put64(p, checksum(file, *size - SUM_SIZE));
	return file;
}

static int write_all(int fd, const unsigned char *p, size_t length)
{
	ssize_t n;

	for (; length; p += n, length -= (size_t)n) {
		n = write(fd, p, length);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			return -errno;
	}
	return fsync(fd) ? -errno : 0;
}

int lazy_record_write(struct mram_restore_lazy *l, struct mram_error *err)
{
	unsigned char *file;
	char *tmp = NULL;
	size_t size;
	int fd, ret;

	if (!l->record.path)
		return 0;
	file = make_file(l, &size, err);
	if (!file)
		return -ENOMEM;
	/* Whoever reads it sees all of one or all of another. */
	if (asprintf(&tmp, "%s.XXXXXX", l->record.path) < 0)
		tmp = NULL;
	fd = tmp ? mkostemp(tmp, O_CLOEXEC) : -1;
	ret = fd < 0 ? -errno : write_all(fd, file, size);
	if (fd >= 0) {
		close(fd);
		if (!ret && rename(tmp, l->record.path))
			ret = -errno;
		if (ret)
			unlink(tmp);
	}
	free(tmp);
	free(file);
	if (ret)
		return mram_err(err, ret, "%.200s: cannot write the working set: %s",
				l->record.path, strerror(-ret));
	return 0;
}

/* ---------------------------------------------------------------- reading */

static unsigned char *load(const char *path, size_t *size, const char **why)
{
	unsigned char *file = NULL;
	struct stat st;
	ssize_t n = -1;
	size_t have = 0;
	int fd;

	/* A FIFO must not make us wait. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st)) {
		*why = strerror(errno);
		goto out;
	}
	*why = "it is not a regular file";
	if (!S_ISREG(st.st_mode))
		goto out;
	*why = "its size cannot be right";
	if ((uint64_t)st.st_size < HEAD_SIZE + SUM_SIZE ||
	    st.st_size > (off_t)MAX_FILE)
		goto out;
	*size = (size_t)st.st_size;
	*why = "out of memory";
	file = malloc(*size);
	while (file && have < *size) {
		n = read(fd, file + have, *size - have);
		if (n <= 0 && !(n < 0 && errno == EINTR))
			break;
		have += n > 0 ? (size_t)n : 0;
	}
	if (file && have < *size) {
		*why = n < 0 ? strerror(errno) : "it has become shorter";
		free(file);
		file = NULL;
	}
out:
	if (fd >= 0)
		close(fd);
	return file;
}

static struct lazy_block *block_of(struct mram_restore_lazy *l, uint32_t index)
{
	size_t i;

	for (i = 0; i < l->nr_blocks; i++)
		if ((uint32_t)l->blocks[i].index == index)
			return &l->blocks[i];
	return NULL;
}

/* A block of the image need not be one that is restored. */
static const char *take_run(struct mram_restore_lazy *l, const unsigned char *p)
{
	static const char bad[] = "a run lies outside of its block";
	uint64_t offset = get64(p + 8), length = get64(p + 16);
	struct mram_block_info i = { .size = sizeof(i) };
	struct lazy_block *b;
	uint64_t first, end;

	if (get32(p) >= (uint32_t)mram_image_blocks(l->img) || get32(p + 4) ||
	    mram_image_block(l->img, (int)get32(p), &i, NULL))
		return bad;
	if (!length || offset >= i.length || length > i.length - offset)
		return bad;
	b = block_of(l, get32(p));
	if (!b)
		return NULL;
	if (!b->wanted)
		b->wanted = lazy_bitmap(b->units);
	if (!b->wanted)
		return "out of memory";
	first = offset >> b->unit_shift;
	end = ((offset + length - 1) >> b->unit_shift) + 1;
	bitmap_or_range(b->wanted, first, end);
	/* What is brought in for it nobody will be seen to touch. */
	lazy_record_touch(l, b, first, end);
	return NULL;
}

static const char *take_file(struct mram_restore_lazy *l,
			     const unsigned char *file, size_t size)
{
	uint64_t runs = get64(file + 24), room = 0, i;
	uint32_t n;
	const char *why = NULL;
	unsigned char *head;
	size_t head_size;
	bool same;

	if (memcmp(file, magic, sizeof(magic)))
		return "it is none";
	if (get32(file + 8) != VERSION)
		return "it is of a version that is not known";
	if (get64(file + size - SUM_SIZE) != checksum(file, size - SUM_SIZE))
		return "it is damaged";
	head = make_head(l, runs, &head_size, NULL);
	if (!head)
		return "out of memory";
	same = size >= head_size + SUM_SIZE && !memcmp(file, head, head_size);
	for (n = 0; same && n < get32(head + 12); n++)
		room += get64(head + HEAD_SIZE + n * BLOCK_SIZE);
	free(head);
	if (!same)
		return "it is of another image";
	if (runs > (size - head_size - SUM_SIZE) / RUN_SIZE ||
	    runs * RUN_SIZE != size - head_size - SUM_SIZE)
		return "its length does not fit what it says";
	for (i = 0; i < runs && !why; i++) {
		const unsigned char *run = file + head_size + i * RUN_SIZE;

		/* No page is named twice: that is what bounds the work. */
		if (get64(run + 16) > room)
			why = "it names more than there is";
		else
			why = take_run(l, run);
		room -= get64(run + 16);
	}
	return why;
}

/* Pages that it names, in units. */
static uint64_t count(const struct mram_restore_lazy *l,
		      const struct lazy_block *b)
{
	if (!b->wanted)
		return 0;
	return bitmap_count(b->wanted, 0, b->units)
	       << (b->unit_shift - l->page_shift);
}

void lazy_set_placed(struct mram_restore_lazy *l, const struct lazy_block *b,
		     uint64_t first, uint64_t end)
{
	uint64_t units = 0, w;

	if (!b->wanted)
		return;
	/* Given up before, or by others now: each is counted once. */
	for (w = first / BITS_PER_WORD; w * BITS_PER_WORD < end; w++)
		units += (unsigned int)__builtin_popcountll(
			bitmap_claim(&b->wanted[w],
				     bitmap_mask(w, first, end)));
	if (units)
		__atomic_fetch_sub(&l->counts.set_left,
				   units << (b->unit_shift - l->page_shift),
				   __ATOMIC_RELEASE);
}

void lazy_set_read(struct mram_restore_lazy *l)
{
	unsigned char *file;
	const char *why;
	size_t size, i;

	if (!l->working_set)
		return;
	file = load(l->working_set, &size, &why);
	if (file)
		why = take_file(l, file, size);
	free(file);
	if (!why) {
		for (i = 0; i < l->nr_blocks; i++)
			l->named += count(l, &l->blocks[i]);
		l->counts.set_left = l->named;
		l->has_set = true;
		return;
	}
	for (i = 0; i < l->nr_blocks; i++) {
		struct lazy_block *b = &l->blocks[i];

		lazy_bitmap_free(b->wanted, b->units);
		b->wanted = NULL;
		if (b->touched)
			memset(b->touched, 0, bitmap_words(b->units) * 8);
	}
	l->record.nr = 0;
	lazy_message(l, "working set %.200s is not used: %s", l->working_set,
		     why);
}
