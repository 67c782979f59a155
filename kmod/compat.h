/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The only file that knows how kernels differ. Distributions backport freely,
 * so features are asked for, not versions: Kbuild looks into the headers and
 * defines MRAM_HAS_*.
 */
#ifndef MRAM_COMPAT_H
#define MRAM_COMPAT_H

#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/sched/coredump.h>
#include <linux/uio.h>

#if !defined(CONFIG_64BIT)
#error "mapped_ram needs a 64-bit kernel"
#endif

/* What finds pages that are in memory. Renamed in 6.10. */
#if !defined(CONFIG_HAVE_FAST_GUP) && !defined(CONFIG_HAVE_GUP_FAST)
#error "mapped_ram needs an architecture with a lockless get_user_pages_fast()"
#endif

/* A wait for userfaultfd that ordinary signals end: since 6.2. */
#ifdef MRAM_HAS_FOLL_INTERRUPTIBLE
#define MRAM_GUP_INTERRUPTIBLE	FOLL_INTERRUPTIBLE
#else
#define MRAM_GUP_INTERRUPTIBLE	0
#endif

static inline void mram_vm_flags_mod(struct vm_area_struct *vma,
				     vm_flags_t set, vm_flags_t clear)
{
#ifdef MRAM_HAS_VM_FLAGS_SET
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/*
 * Freeze protection of an asynchronous write. Since 6.8 vfs_iocb_iter_write()
 * takes it, and gives it back unless the write was queued; before, and where
 * the file is called directly, both are the caller's. A queued write gives it
 * back at its completion, always. That change came together with
 * file_write_started().
 */
#ifdef MRAM_HAS_VFS_WRITE_FREEZE
#define MRAM_VFS_WRITE_FREEZE	true
#else
#define MRAM_VFS_WRITE_FREEZE	false
#endif

static inline void mram_write_start(struct kiocb *iocb)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	sb_start_write(sb);
	/* Given back by another function, for lockdep another owner. */
	__sb_writers_release(sb, SB_FREEZE_WRITE);
}

static inline void mram_write_end(struct kiocb *iocb)
{
	struct super_block *sb = file_inode(iocb->ki_filp)->i_sb;

	__sb_writers_acquired(sb, SB_FREEZE_WRITE);
	sb_end_write(sb);
}

/* How file systems said it before they said it of each mapping. */
static inline bool mram_sb_stable_writes(struct super_block *sb)
{
#ifdef SB_I_STABLE_WRITES
	return sb->s_iflags & SB_I_STABLE_WRITES;
#else
	return false;
#endif
}

/*
 * The page cache of hugetlbfs counts in small pages since 6.7, which did away
 * with linear_hugepage_index() in pagemap.h.
 */
static inline unsigned int mram_hugetlb_index_shift(struct vm_area_struct *vma)
{
#ifdef MRAM_HAS_HUGE_INDEX
	return huge_page_shift(hstate_vma(vma));
#else
	return PAGE_SHIFT;
#endif
}

/*
 * What write(2) does before and after it copies a page to the page cache of a
 * file of memory; with folios since 6.12, and with the kiocb since 6.17. What
 * fsdata is for, these files do not need. The caller has the inode's lock.
 */
#ifdef MRAM_HAS_WRITE_BEGIN_IOCB
#define MRAM_WRITE_OF(file)	(&(const struct kiocb){ .ki_filp = (file) })
#else
#define MRAM_WRITE_OF(file)	(file)
#endif

/*
 * @nr pages are written, probably. Return: the folio of the first one, locked,
 * with a reference, or NULL.
 */
static inline struct folio *mram_file_write_begin(struct file *file, loff_t pos,
						  unsigned long nr)
{
	struct address_space *mapping = file->f_mapping;
	void *fsdata = NULL;
#ifdef MRAM_HAS_WRITE_BEGIN_FOLIO
	struct folio *folio;
#else
	struct page *folio;
#endif

	if (mapping->a_ops->write_begin(MRAM_WRITE_OF(file), mapping, pos,
					nr << PAGE_SHIFT, &folio, &fsdata))
		return NULL;
#ifdef MRAM_HAS_WRITE_BEGIN_FOLIO
	return folio;
#else
	return page_folio(folio);
#endif
}

/* The first page was written as a whole: takes lock and reference. */
static inline void mram_file_write_end(struct file *file, loff_t pos,
				       unsigned long nr, struct folio *folio)
{
	struct address_space *mapping = file->f_mapping;

	mapping->a_ops->write_end(MRAM_WRITE_OF(file), mapping, pos,
				  nr << PAGE_SHIFT, PAGE_SIZE,
#ifdef MRAM_HAS_WRITE_BEGIN_FOLIO
				  folio,
#else
				  folio_file_page(folio, pos >> PAGE_SHIFT),
#endif
				  NULL);
}

/* Memory that only the processor may write to. Since 6.6, on some. */
#ifndef VM_SHADOW_STACK
#define VM_SHADOW_STACK		0
#endif

/* Where the pins of a large folio are counted. A name of its own since 6.3. */
static inline atomic_t *mram_folio_pincount(struct folio *folio)
{
#ifdef MRAM_HAS_PINCOUNT_PTR
	return folio_pincount_ptr(folio);
#else
	return &folio->_pincount;
#endif
}

/*
 * Whether pages may be pinned without pin_user_pages(): fork() must know that
 * there are pins, and a secure guest's memory (s390) needs more to be read.
 */
static inline bool mram_mm_may_pin(struct mm_struct *mm)
{
#if defined(HAVE_ARCH_MAKE_PAGE_ACCESSIBLE) || \
	defined(HAVE_ARCH_MAKE_FOLIO_ACCESSIBLE)
	return false;
#elif defined(MRAM_HAS_MM_FLAGS)
	return mm_flags_test(MMF_HAS_PINNED, mm);
#else
	return test_bit(MMF_HAS_PINNED, &mm->flags);
#endif
}

#endif /* MRAM_COMPAT_H */
