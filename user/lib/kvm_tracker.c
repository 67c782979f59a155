// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Dirty bits from KVM's dirty log.
 *
 * KVM overwrites the bitmap it fills, so it fills a scratch one, which is then
 * ORed into the session's: bits that a pass has given back stay there. With
 * manual protection a page is protected again only after its bit stands in the
 * session, and before a pass can read it: a write in between is in the next
 * log, or in the page that the pass reads.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bitmap.h"
#include "error.h"
#include "opts.h"
#include "session.h"

/*
 * Pages that one KVM_CLEAR_DIRTY_LOG protects: KVM holds its lock meanwhile, so
 * vCPUs that fault wait for it.
 */
#define CLEAR_PAGES	16384

/**
 * struct slot - a memory slot
 * @number: KVM's, with the address space in the upper 16 bits
 * @region: index of the session's region
 * @offset: where in the region it starts, in bytes
 * @pages: length in pages of the system
 */
struct slot {
	uint32_t number;
	int region;
	uint64_t offset;
	uint64_t pages;
};

struct mram_kvm_tracker {
	int vm_fd;
	bool manual;
	struct mram_session *session;
	struct slot *slots;
	size_t nr_slots;
	uint64_t *scratch;
	size_t scratch_size;
	unsigned int page_shift;
};

int mram_kvm_tracker_open(struct mram_kvm_tracker **out, int vm_fd,
			  struct mram_session *s,
			  const struct mram_kvm_tracker_opts *opts,
			  struct mram_error *err)
{
	struct mram_kvm_tracker_opts o;
	struct mram_kvm_tracker *t;
	int ret;

	ret = opts_get(&o, sizeof(o), opts, "track KVM", err);
	if (ret)
		return ret;
	if (o.flags & ~MRAM_KVM_MANUAL_PROTECT || o.reserved)
		return mram_err(err, -EOPNOTSUPP, "track KVM: unknown flags %#x",
				o.flags);
	t = calloc(1, sizeof(*t));
	if (!t)
		return mram_err(err, -ENOMEM, "track KVM: out of memory");
	t->vm_fd = vm_fd;
	t->manual = o.flags & MRAM_KVM_MANUAL_PROTECT;
	t->session = s;
	t->page_shift = __builtin_ctzl(sysconf(_SC_PAGESIZE));
	*out = t;
	return 0;
}

void mram_kvm_tracker_close(struct mram_kvm_tracker *t)
{
	if (!t)
		return;
	free(t->scratch);
	free(t->slots);
	free(t);
}

static int grow_scratch(struct mram_kvm_tracker *t, uint64_t pages)
{
	size_t size = bitmap_words(pages) * sizeof(uint64_t);
	uint64_t *grown;

	if (size <= t->scratch_size)
		return 0;
	grown = realloc(t->scratch, size);
	if (!grown)
		return -ENOMEM;
	t->scratch = grown;
	t->scratch_size = size;
	return 0;
}

int mram_kvm_tracker_add_slot(struct mram_kvm_tracker *t, uint32_t slot,
			      int region, uint64_t offset, uint64_t length,
			      struct mram_error *err)
{
	uint64_t page = 1ull << t->page_shift;
	struct engine_region *r;
	struct slot *grown;
	uint64_t size;
	int ret;

	/* A region is known before begin already, its bitmaps are not. */
	if (region < 0 || (size_t)region >= t->session->nr_regions)
		return mram_err(err, -EINVAL,
				"KVM slot %u: no region %d, the session has %zu",
				slot, region, t->session->nr_regions);
	r = &t->session->regions[region];
	size = r->pages << r->page_shift;
	if (!length || (offset | length) % page)
		return mram_err(err, -EINVAL,
				"KVM slot %u: offset %" PRIu64 " and length %" PRIu64 " must be multiples of %" PRIu64,
				slot, offset, length, page);
	if (offset > size || length > size - offset)
		return mram_err(err, -ERANGE,
				"KVM slot %u: offset %" PRIu64 " plus length %" PRIu64 " leaves region '%s' of %" PRIu64 " bytes",
				slot, offset, length, r->name, size);

	ret = grow_scratch(t, length >> t->page_shift);
	grown = realloc(t->slots, (t->nr_slots + 1) * sizeof(*grown));
	if (grown)
		t->slots = grown;
	if (ret || !grown)
		return mram_err(err, -ENOMEM, "KVM slot %u: out of memory",
				slot);
	t->slots[t->nr_slots++] = (struct slot){
		.number = slot,
		.region = region,
		.offset = offset,
		.pages = length >> t->page_shift,
	};
	return 0;
}

/* Regions may have larger pages than KVM: then several bits make one. */
static void or_coarse(const struct mram_kvm_tracker *t, const struct slot *slot,
		      struct engine_region *r)
{
	uint64_t w, bits, page;

	for (w = 0; w < bitmap_words(slot->pages); w++) {
		bits = t->scratch[w] & bitmap_mask(w, 0, slot->pages);
		for (; bits; bits &= bits - 1) {
			page = w * BITS_PER_WORD + __builtin_ctzll(bits);
			page = (slot->offset + (page << t->page_shift)) >>
			       r->page_shift;
			bitmap_or_range(r->dirty, page, page + 1);
		}
	}
}

/* Let KVM protect the pages again that the scratch bitmap names. */
static int protect(const struct mram_kvm_tracker *t, const struct slot *slot,
		   struct mram_error *err)
{
	struct kvm_clear_dirty_log clear = { .slot = slot->number };
	uint64_t first, nr;

	for (first = 0; first < slot->pages; first += CLEAR_PAGES) {
		nr = slot->pages - first;
		if (nr > CLEAR_PAGES)
			nr = CLEAR_PAGES;
		if (!bitmap_count(t->scratch, first, first + nr))
			continue;
		clear.first_page = first;
		clear.num_pages = nr;
		clear.dirty_bitmap = t->scratch + first / BITS_PER_WORD;
		if (ioctl(t->vm_fd, KVM_CLEAR_DIRTY_LOG, &clear))
			return mram_err(err, -errno,
					"KVM slot %u: KVM_CLEAR_DIRTY_LOG of pages %" PRIu64 " + %" PRIu64 ": %s",
					slot->number, first, nr,
					strerror(errno));
	}
	return 0;
}

static int64_t sync_slot(struct mram_kvm_tracker *t, const struct slot *slot,
			 struct mram_error *err)
{
	struct kvm_dirty_log log = {
		.slot = slot->number,
		.dirty_bitmap = t->scratch,
	};
	struct engine_region *r;
	int ret;

	ret = session_region(t->session, slot->region, "fetch KVM's dirty log",
			     &r, err);
	if (ret)
		return ret;
	memset(t->scratch, 0, bitmap_words(slot->pages) * sizeof(uint64_t));
	if (ioctl(t->vm_fd, KVM_GET_DIRTY_LOG, &log))
		return mram_err(err, -errno,
				"KVM slot %u (region '%s'): KVM_GET_DIRTY_LOG: %s%s",
				slot->number, r->name, strerror(errno),
				errno == ENOENT ?
				": the slot needs KVM_MEM_LOG_DIRTY_PAGES" : "");

	if (r->page_shift == t->page_shift)
		bitmap_or_shifted(r->dirty, slot->offset >> t->page_shift,
				  t->scratch, slot->pages);
	else
		or_coarse(t, slot, r);
	if (t->manual) {
		ret = protect(t, slot, err);
		if (ret)
			return ret;
	}
	return bitmap_count(t->scratch, 0, slot->pages);
}

int64_t mram_kvm_tracker_sync(struct mram_kvm_tracker *t,
			      struct mram_error *err)
{
	int64_t count = 0, got;
	size_t i;

	for (i = 0; i < t->nr_slots; i++) {
		got = sync_slot(t, &t->slots[i], err);
		if (got < 0)
			return got;
		count += got;
	}
	return count;
}
