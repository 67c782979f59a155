// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that LOAD makes memory what image and file bitmap say, and nothing
 * else: random bitmaps, on random ranges, into memory that was never touched
 * and into memory that is in use, of every kind, from a raw block device and
 * from file systems. Pages of clear bits become zero, whatever the image holds
 * in their place. Memory outside of the range, both bitmaps and the image do
 * not change, the outputs add up, and the page cache holds nothing of the
 * image.
 */
#include "rig.h"
#include "harness.h"

#define MIN_CHOICE	(256 * KIB)	/* of max_extent */
#define PASSES		2

struct job {
	const struct shape *shape;
	struct image img;
	struct mem mem;
	struct region r;
	uint8_t *data;		/* the image */
	uint8_t *want;		/* what memory must be */
	uint64_t *dirty;	/* what the bitmaps must stay */
	uint64_t *file;
};

FIXTURE(load_model) {
	struct rng rng;
	struct place place;
	struct mapped_ram_info info;
	int dev;
};

FIXTURE_VARIANT(load_model) {
	const char *fstype;		/* NULL: the raw device */
};

FIXTURE_VARIANT_ADD(load_model, blkdev) { NULL };
FIXTURE_VARIANT_ADD(load_model, ext4) { "ext4" };
FIXTURE_VARIANT_ADD(load_model, xfs) { "xfs" };
FIXTURE_VARIANT_ADD(load_model, btrfs) { "btrfs" };

FIXTURE_SETUP(load_model)
{
	int err;

	self->rng = rng_new(0x10ad);
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, mr_info(self->dev, &self->info));
	err = place_open(&self->place, variant->fstype);
	if (err == -EOPNOTSUPP)
		SKIP(return, "no %s here", variant->fstype);
	ASSERT_EQ(0, err);
}

FIXTURE_TEARDOWN(load_model)
{
	close(self->dev);
	place_close(&self->place);
}

static void random_bits(struct rng *rng, uint64_t *map, size_t bits)
{
	size_t bit, run;
	bool on = rng_percent(rng, 50);

	for (bit = 0; bit < bits; bit += run, on = !on) {
		run = 1 + rng_below(rng, rng_percent(rng, 20) ? 100 : 5);
		if (run > bits - bit)
			run = bits - bit;
		if (on)
			bits_set(map, bit, run);
		else
			bits_clear(map, bit, run);
	}
}

static void job_open(struct __test_metadata *_metadata,
		     FIXTURE_DATA(load_model) *self, struct job *job)
{
	const struct shape *shape = job->shape;
	uint64_t offset = shape->page_size > MIB ? shape->page_size : MIB;
	size_t bitmap;

	ASSERT_EQ(0, mem_map(&job->mem, shape->kind, shape->length))
		TH_LOG("no %s", mem_name(shape->kind));
	need_place_image(&self->place, &job->img, offset + shape->length);
	job->data = malloc(job->img.size);
	job->want = calloc(1, shape->length);
	ASSERT_NE(NULL, job->data);
	ASSERT_NE(NULL, job->want);
	rng_fill(&self->rng, job->data, job->img.size);
	ASSERT_EQ(0, image_write(&job->img, job->data, job->img.size, 0));
	image_uncache(&job->img);

	ASSERT_EQ(0, mr_image_set(self->dev, job->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	ASSERT_EQ(0, region_add(&job->r, self->dev, job->mem.addr,
				shape->length, offset, shape->page_size, 0));
	bitmap = job->r.bitmap_size;
	job->dirty = malloc(bitmap);
	job->file = malloc(bitmap);
	ASSERT_NE(NULL, job->dirty);
	ASSERT_NE(NULL, job->file);
}

static void job_close(struct __test_metadata *_metadata, struct job *job)
{
	ASSERT_EQ(0, mr_region_remove(job->r.dev, job->r.id));
	region_unmap_bitmaps(&job->r);
	image_drop(&job->img);
	mem_unmap(&job->mem);
	free(job->data);
	free(job->want);
	free(job->dirty);
	free(job->file);
}

static void random_args(struct rng *rng, const struct mapped_ram_info *info,
			const struct region *r, struct mapped_ram_load *load)
{
	uint64_t most = info->out_max_extent / r->page_size;

	*load = load_args(r, 0, r->nr_pages);
	if (rng_percent(rng, 50)) {
		load->first_page = rng_below(rng, r->nr_pages);
		load->nr_pages = 1 + rng_below(rng, r->nr_pages -
					       load->first_page);
	}
	if (rng_percent(rng, 60))
		load->window = 1 + rng_below(rng, rng_percent(rng, 50) ? 3 :
					     info->out_max_window);
	if (rng_percent(rng, 60))
		load->max_extent = r->page_size *
			(1 + rng_below(rng, most < 9 ? most : 9));
}

/* What the pass does to memory; returns the reads it may make at most. */
static uint64_t expect(struct job *job, const struct mapped_ram_load *load,
		       uint64_t *read, uint64_t *zero)
{
	size_t size = job->r.page_size, run = 0, cut, i;
	uint64_t ios = 0;

	*read = 0;
	*zero = 0;
	/* What the module chooses by itself is at least so much. */
	cut = (load->max_extent ?: size > MIN_CHOICE ? size : MIN_CHOICE) / size;
	for (i = load->first_page; i < load->first_page + load->nr_pages; i++) {
		if (!bit_test(job->file, i)) {
			memset(job->want + i * size, 0, size);
			++*zero;
			run = 0;
			continue;
		}
		memcpy(job->want + i * size,
		       job->data + job->r.offset + i * size, size);
		++*read;
		if (run++ % cut == 0)
			ios++;
	}
	return ios;
}

static void check(struct __test_metadata *_metadata, struct job *job)
{
	size_t length = job->shape->length, size = job->r.page_size, i;
	uint8_t *now = malloc(job->img.size);

	for (i = 0; i < length; i += size)
		ASSERT_EQ(0, memcmp(job->mem.addr + i, job->want + i, size))
			TH_LOG("%s, page size %zu: page %zu, bit %d, is wrong",
			       mem_name(job->shape->kind), size, i / size,
			       bit_test(job->file, i / size));
	EXPECT_EQ(0, memcmp(job->dirty, job->r.dirty, job->r.bitmap_size));
	EXPECT_EQ(0, memcmp(job->file, job->r.file, job->r.bitmap_size));
	ASSERT_NE(NULL, now);
	ASSERT_EQ(0, image_read(&job->img, now, job->img.size, 0));
	EXPECT_EQ(0, memcmp(now, job->data, job->img.size));
	free(now);
}

static void one_pass(struct __test_metadata *_metadata,
		     FIXTURE_DATA(load_model) *self, struct job *job)
{
	struct mapped_ram_load load;
	uint64_t read, zero, ios;

	/* Bits behind the last page too: nobody may read or change them. */
	random_bits(&self->rng, job->r.file, job->r.bitmap_size * 8);
	random_bits(&self->rng, job->r.dirty, job->r.bitmap_size * 8);
	memcpy(job->file, job->r.file, job->r.bitmap_size);
	memcpy(job->dirty, job->r.dirty, job->r.bitmap_size);

	random_args(&self->rng, &self->info, &job->r, &load);
	ios = expect(job, &load, &read, &zero);
	ASSERT_EQ(0, load_pass(&job->r, &load));
	check(_metadata, job);
	EXPECT_EQ(read, load.out_read_pages);
	EXPECT_EQ(zero, load.out_zero_pages);
	EXPECT_EQ(read * job->r.page_size, load.out_bytes);
	EXPECT_LE(load.out_ios, ios);
	EXPECT_EQ(MAPPED_RAM_NO_PAGE, load.out_error_page);
	EXPECT_EQ(0, load.out_flags & MAPPED_RAM_PASS_OUT_BOUNCED);
	EXPECT_EQ(0, load.out_pad);
	if (!(load.out_flags & MAPPED_RAM_PASS_OUT_BUFFERED)) {
		EXPECT_EQ(0, cached_region_pages(&job->r, &job->img));
	}
}

/* A file's own content is what absent pages of its mappings hold. */
static void fill_file(struct __test_metadata *_metadata, struct job *job,
		      struct rng *rng)
{
	size_t at;

	if (job->shape->kind != MEM_FILE_SHARED &&
	    job->shape->kind != MEM_FILE_PRIVATE)
		return;
	rng_fill(rng, job->want, job->shape->length);
	for (at = 0; at < job->shape->length; at += 4096)
		ASSERT_EQ(4096, pwrite(job->mem.fd, job->want + at, 4096, at));
}

TEST_F_TIMEOUT(load_model, into_fresh_and_used_memory, 180)
{
	struct job job;
	size_t i;
	int pass;

	for (i = 0; i < nr_shapes(&self->place); i++) {
		job = (struct job){ .shape = &shapes[i] };
		job_open(_metadata, self, &job);
		fill_file(_metadata, &job, &self->rng);
		one_pass(_metadata, self, &job);

		rng_fill(&self->rng, job.want, shapes[i].length);
		memcpy(job.mem.addr, job.want, shapes[i].length);
		for (pass = 0; pass < PASSES; pass++)
			one_pass(_metadata, self, &job);
		job_close(_metadata, &job);
	}
}

TEST_HARNESS_MAIN
