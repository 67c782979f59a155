/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is mapped where in this process, as /proc/self/maps tells it.
 */
#ifndef MRAM_VMA_H
#define MRAM_VMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * VMA_PRIVATE: no file behind it: a page that is not there is zero.
 * VMA_SHMEM: shared, the file lives in memory only.
 * VMA_FILE: a page that is not there is in a file.
 * VMA_SUPPLIED: a page that is not there comes from a userfaultfd.
 * VMA_INACCESSIBLE: mapped, but reading it is not allowed.
 */
enum vma_kind {
	VMA_PRIVATE,
	VMA_SHMEM,
	VMA_FILE,
	VMA_SUPPLIED,
	VMA_INACCESSIBLE,
};

struct vma {
	uint64_t start;
	uint64_t end;
	enum vma_kind kind;
	bool writable;
	bool shared;
	uint64_t page;
};

/*
 * Sorted, without overlap; may have gaps. With @look_for_uffd the kernel is
 * asked for more, which takes it a look at every page of the process: only
 * then VMA_SUPPLIED, and the size of the pages, are known.
 */
struct vma_list {
	struct vma *vma;
	size_t nr;
	size_t max;
	char *text;
	bool look_for_uffd;
};

/**
 * vma_have_uffd - does this process have a userfaultfd?
 *
 * One that only another process has is not noticed.
 */
bool vma_have_uffd(void);

/**
 * vma_read - find the mappings that touch [@start, @end)
 * @list: zeroed before the first use; reused by the next call
 *
 * Return: 0 or a negative errno.
 */
int vma_read(struct vma_list *list, uint64_t start, uint64_t end);

/** vma_free - free what the list holds */
void vma_free(struct vma_list *list);

#endif /* MRAM_VMA_H */
