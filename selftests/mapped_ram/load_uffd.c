// SPDX-License-Identifier: GPL-2.0
/*
 * Proves what LOAD does where a userfaultfd has a part of what it works on at a
 * time. What that supplies is waited for, page by page, and then replaced; who
 * protects pages against writing is told of each before it is written to; and
 * where nobody is told of the kernel's own faults it is an error, of the first
 * page there. Memory before it and behind it is loaded as if it was all there
 * is.
 */
#include "handler.h"
#include "loader.h"
#include "harness.h"

/* The part: it begins with a page that the image does not hold, see loader.h. */
#define FIRST	300
#define COUNT	67

FIXTURE(load_uffd) {
	struct loader l;
	struct handler handler;
	unsigned char *there;	/* of each page, of mincore(2) */
	unsigned int *told;	/* how often of each page */
	size_t early;		/* pages written to before that */
};

FIXTURE_VARIANT(load_uffd) {
	enum mem_kind kind;
};

FIXTURE_VARIANT_ADD(load_uffd, anon) { MEM_ANON };
FIXTURE_VARIANT_ADD(load_uffd, thp) { MEM_THP };
FIXTURE_VARIANT_ADD(load_uffd, memfd) { MEM_MEMFD };

FIXTURE_SETUP(load_uffd)
{
	need_loader(&self->l, variant->kind);
	need_loader_pinned(&self->l);
	self->there = malloc(self->l.nr);
	self->told = calloc(self->l.nr, sizeof(*self->told));
	ASSERT_TRUE(self->there && self->told);
	self->handler.mem = self->l.mem.addr;
	self->handler.data = self;
}

FIXTURE_TEARDOWN(load_uffd)
{
	loader_drop(&self->l);
	EXPECT_EQ(self->l.pins, pinned_pages());
	free(self->there);
	free(self->told);
}

/* Nothing is there, and the part is another's to supply. */
static int begin_missing(FIXTURE_DATA(load_uffd) *self, int flags)
{
	struct mem *mem = &self->l.mem;
	int ret;

	if (madvise(mem->addr, LOADER_LENGTH, mem->fd < 0 ? MADV_DONTNEED :
							    MADV_REMOVE))
		return -errno;
	ret = handler_open(&self->handler, flags, 0);
	return ret ? ret : handler_register(&self->handler,
					    region_page(&self->l.r, FIRST),
					    COUNT * page_size(),
					    UFFDIO_REGISTER_MODE_MISSING);
}

/* All is there, and the part is protected. */
static int begin_protected(FIXTURE_DATA(load_uffd) *self, int flags)
{
	uint64_t features = UFFD_FEATURE_PAGEFAULT_FLAG_WP;
	const size_t size = page_size();
	int ret;

	memset(self->l.mem.addr, LOADER_OLD, LOADER_LENGTH);
	memset(self->told, 0, self->l.nr * sizeof(*self->told));
	if (self->l.mem.fd >= 0)
		features |= UFFD_FEATURE_WP_HUGETLBFS_SHMEM;
	ret = handler_open(&self->handler, flags, features);
	if (!ret)
		ret = handler_register(&self->handler,
				       region_page(&self->l.r, FIRST),
				       COUNT * size, UFFDIO_REGISTER_MODE_WP);
	return ret ? ret : handler_protect(&self->handler, FIRST * size,
					   COUNT * size, true);
}

static void supply(struct handler *h, size_t at)
{
	FIXTURE_DATA(load_uffd) *self = h->data;
	uint8_t old[4096];

	memset(old, LOADER_OLD, page_size());
	self->told[at / page_size()]++;
	handler_copy(h, at, old);
}

static void unprotect(struct handler *h, size_t at)
{
	FIXTURE_DATA(load_uffd) *self = h->data;

	self->told[at / page_size()]++;
	self->early += !loader_is_old(h->mem + at, page_size());
	handler_protect(h, at, page_size(), false);
}

/* Pages of which it was not told as often as it should be */
static size_t told_wrongly(const FIXTURE_DATA(load_uffd) *self)
{
	size_t i, wrong = 0;

	for (i = 0; i < self->l.nr; i++)
		wrong += self->told[i] != (i >= FIRST && i < FIRST + COUNT);
	return wrong;
}

static void missing(struct __test_metadata *_metadata,
		    FIXTURE_DATA(load_uffd) *self)
{
	struct loader *l = &self->l;
	struct mapped_ram_load load = load_args(&l->r, 0, l->nr);
	size_t i, made = 0;

	ASSERT_EQ(0, begin_missing(self, 0));
	self->handler.serve = supply;
	ASSERT_EQ(0, handler_start(&self->handler));
	EXPECT_EQ(0, load_pass(&l->r, &load));
	EXPECT_EQ(bits_count(l->r.file, 0, l->nr), load.out_read_pages);
	EXPECT_EQ(l->nr - load.out_read_pages, load.out_zero_pages);
	/* Asked first: to compare brings pages in. */
	ASSERT_EQ(0, mincore(l->mem.addr, LOADER_LENGTH, self->there));
	for (i = 0; i < l->nr; i++)
		made += (i < FIRST || i >= FIRST + COUNT) &&
			self->there[i] & 1 && !bit_test(l->r.file, i);
	if (l->mem.kind != MEM_THP)
		EXPECT_EQ(0, made);
	/* It goes on to supply what it was not asked for yet. */
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, LOADER_LENGTH));
	handler_stop(&self->handler);
	EXPECT_EQ(0, told_wrongly(self));
	handler_close(&self->handler);
}

static void write_protected(struct __test_metadata *_metadata,
			    FIXTURE_DATA(load_uffd) *self)
{
	struct loader *l = &self->l;

	ASSERT_EQ(0, begin_protected(self, 0));
	self->handler.serve = unprotect;
	ASSERT_EQ(0, handler_start(&self->handler));
	EXPECT_EQ(0, loader_load(l));
	handler_stop(&self->handler);
	EXPECT_EQ(0, told_wrongly(self));
	EXPECT_EQ(0, self->early);
	handler_close(&self->handler);
}

static void fails(struct __test_metadata *_metadata,
		  FIXTURE_DATA(load_uffd) *self)
{
	struct loader *l = &self->l;
	struct mapped_ram_load load = load_args(&l->r, 0, FIRST);

	/* What is not in the range does not matter. */
	EXPECT_EQ(0, load_pass(&l->r, &load));
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, FIRST * page_size()));
	memset(l->mem.addr, LOADER_OLD, FIRST * page_size());
	load = load_args(&l->r, 0, l->nr);
	EXPECT_EQ(-EFAULT, load_pass(&l->r, &load));
	EXPECT_EQ(FIRST, load.out_error_page);
	EXPECT_EQ(0, memcmp(l->mem.addr, l->want, FIRST * page_size()));
	/* Nor is anything left of it when nobody has that part any more. */
	handler_close(&self->handler);
	EXPECT_EQ(0, loader_load(l));
}

static void missing_for_the_kernel(struct __test_metadata *_metadata,
				   FIXTURE_DATA(load_uffd) *self)
{
	ASSERT_EQ(0, begin_missing(self, UFFD_USER_MODE_ONLY));
	fails(_metadata, self);
}

static void write_protected_for_the_kernel(struct __test_metadata *_metadata,
					   FIXTURE_DATA(load_uffd) *self)
{
	ASSERT_EQ(0, begin_protected(self, UFFD_USER_MODE_ONLY));
	fails(_metadata, self);
}

TEST_F(load_uffd, a_part)
{
	STEP(missing);
	STEP(missing_for_the_kernel);
	STEP(write_protected);
	STEP(write_protected_for_the_kernel);
}

TEST_HARNESS_MAIN
