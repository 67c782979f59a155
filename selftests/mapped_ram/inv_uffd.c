// SPDX-License-Identifier: GPL-2.0
/*
 * Proves that memory which a userfaultfd supplies is saved as supplied: the
 * content of a missing page is unknown, not zero, so a pass waits for the
 * handler; it does so for dirty pages only, and a pass that waits in vain ends
 * with a signal, no bit lost. The handler holds a pass up at will, which proves
 * invariant 2, too: a bit is claimed before its page is looked at.
 */
#include "handler.h"
#include "rig.h"
#include "harness.h"

#define PAGES	96
#define ZERO	7	/* what is supplied for this page is zero */

FIXTURE(inv_uffd) {
	struct memdisk disk;
	struct image img;
	struct mem mem;
	struct region r;
	struct handler handler;
	size_t served;		/* pages copied in */
	uint8_t *data;		/* what is supplied */
	size_t late_change;	/* page: when asked for it, ZERO is changed */
	uint64_t *dirty;	/* and reported here; or NULL: nothing is */
	int dev;
};

FIXTURE_VARIANT(inv_uffd) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(inv_uffd, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(inv_uffd, memfd) { MEM_MEMFD };

static void serve(struct handler *h, size_t at)
{
	FIXTURE_DATA(inv_uffd) *self = h->data;

	if (self->dirty && at == self->late_change * page_size()) {
		memset(h->mem + ZERO * page_size(), 0x7e, page_size());
		bit_set(self->dirty, ZERO);
	}
	/* The fault comes late, as over a network. */
	usleep(2000);
	if (handler_copy(h, at, self->data + at))
		__atomic_add_fetch(&self->served, 1, __ATOMIC_SEQ_CST);
}

FIXTURE_SETUP(inv_uffd)
{
	size_t length = PAGES * page_size();
	struct rng rng = rng_new(0xffd);
	int ret = handler_open(&self->handler, 0, 0);

	if (ret)
		SKIP(return, "no userfaultfd: %s", strerror(-ret));
	self->dev = mr_open();
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, memdisk_open(&self->disk, RIG_HEAD + length));
	need_image_blkdev(&self->img, self->disk.path, RIG_HEAD + length);
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd, 0, NULL));
	ASSERT_EQ(0, mem_map(&self->mem, variant->kind, length));
	ASSERT_EQ(0, region_add(&self->r, self->dev, self->mem.addr, length,
				RIG_HEAD, page_size(), 0));
	self->data = malloc(length);
	ASSERT_NE(NULL, self->data);
	rng_fill(&rng, self->data, length);
	memset(self->data + ZERO * page_size(), 0, page_size());

	ASSERT_EQ(0, handler_register(&self->handler, self->mem.addr, length,
				      UFFDIO_REGISTER_MODE_MISSING));
	self->handler.mem = self->mem.addr;
	self->handler.serve = serve;
	self->handler.data = self;
}

FIXTURE_TEARDOWN(inv_uffd)
{
	handler_close(&self->handler);
	close(self->dev);
	region_unmap_bitmaps(&self->r);
	image_drop(&self->img);
	mem_unmap(&self->mem);
	memdisk_close(&self->disk);
	free(self->data);
}

TEST_F(inv_uffd, a_pass_waits_for_the_handler)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);
	const size_t size = page_size();
	uint8_t page[4096];
	size_t i;

	ASSERT_EQ(0, handler_start(&self->handler));
	bits_set(self->r.dirty, 3, 40);
	save.bridge = 8;
	EXPECT_EQ(0, save_pass(&self->r, &save));
	handler_stop(&self->handler);

	EXPECT_EQ(39, save.out_written_pages);
	EXPECT_EQ(1, save.out_zero_pages);
	/* clean pages were not asked for */
	EXPECT_EQ(40, self->served);
	EXPECT_EQ(0, bits_count(self->r.dirty, 0, PAGES));
	EXPECT_EQ(39, bits_count(self->r.file, 3, 40));
	EXPECT_FALSE(bit_test(self->r.file, ZERO));
	for (i = 3; i < 43; i++) {
		if (i == ZERO)
			continue;
		ASSERT_EQ(0, image_read(&self->img, page, size,
					RIG_HEAD + i * size));
		EXPECT_EQ(0, memcmp(page, self->data + i * size, size));
	}
}

TEST_F(inv_uffd, changed_after_it_was_found_zero)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);
	uint8_t page[4096], want[4096];

	/* Two runs: the pass has looked at the first when it asks for more. */
	bits_set(self->r.dirty, 3, 6);
	bits_set(self->r.dirty, 12, 6);
	self->late_change = 14;
	self->dirty = self->r.dirty;
	ASSERT_EQ(0, handler_start(&self->handler));
	EXPECT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(12, save.out_written_pages + save.out_zero_pages);
	EXPECT_TRUE(bit_test(self->r.dirty, ZERO));
	EXPECT_EQ(1, bits_count(self->r.dirty, 0, PAGES));

	save = save_args(&self->r, 0, PAGES);
	EXPECT_EQ(0, save_pass(&self->r, &save));
	EXPECT_EQ(1, save.out_written_pages);
	EXPECT_TRUE(bit_test(self->r.file, ZERO));
	handler_stop(&self->handler);
	memset(want, 0x7e, sizeof(want));
	ASSERT_EQ(0, image_read(&self->img, page, sizeof(page),
				RIG_HEAD + ZERO * page_size()));
	EXPECT_EQ(0, memcmp(page, want, sizeof(page)));
}

static void wake(int signal)
{
}

TEST_F(inv_uffd, a_signal_ends_the_waiting)
{
	struct mapped_ram_save save = save_args(&self->r, 0, PAGES);
	struct sigaction act = { .sa_handler = wake };
	int err;

	/* Nobody serves the fault when the signal comes. */
	self->handler.late = 3;
	ASSERT_EQ(0, handler_start(&self->handler));
	bits_set(self->r.dirty, 10, 5);
	ASSERT_EQ(0, sigaction(SIGALRM, &act, NULL));
	alarm(1);
	err = save_pass(&self->r, &save);
	alarm(0);
	/* Before 6.2 only a deadly signal ends the kernel's own waiting. */
	if (err) {
		EXPECT_EQ(-EINTR, err);
		EXPECT_EQ(0, save.out_written_pages);
		EXPECT_EQ(5, bits_count(self->r.dirty, 0, PAGES));
		EXPECT_EQ(0, bits_count(self->r.file, 0, PAGES));
		EXPECT_EQ(0, save_pass(&self->r, &save));
	}
	handler_stop(&self->handler);
	EXPECT_EQ(5, save.out_written_pages);
	EXPECT_EQ(0, bits_count(self->r.dirty, 0, PAGES));
	EXPECT_EQ(5, bits_count(self->r.file, 10, 5));
}

TEST_F(inv_uffd, a_load_replaces_what_the_handler_supplies)
{
	struct mapped_ram_load load = load_args(&self->r, 0, PAGES);
	const size_t size = page_size();

	/* What it supplies for the clear bits is not zero, and must become so. */
	ASSERT_EQ(0, mr_image_set(self->dev, self->img.fd,
				  MAPPED_RAM_IMAGE_LOAD, NULL));
	ASSERT_EQ(0, handler_start(&self->handler));
	ASSERT_EQ(0, image_write(&self->img, self->data, PAGES * size,
				 RIG_HEAD));
	bits_set(self->r.file, 0, 20);
	EXPECT_EQ(0, load_pass(&self->r, &load));
	handler_stop(&self->handler);
	EXPECT_EQ(20, load.out_read_pages);
	EXPECT_EQ(PAGES - 20, load.out_zero_pages);
	EXPECT_EQ(0, memcmp(self->mem.addr, self->data, 20 * size));
	EXPECT_TRUE(all_zero(self->mem.addr + 20 * size, (PAGES - 20) * size));
}

TEST_HARNESS_MAIN
