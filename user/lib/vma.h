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
 * VMA_INACCESSIBLE: mapped, but reading it is not allowed.
 */
enum vma_kind {
	VMA_PRIVATE,
	VMA_SHMEM,
	VMA_FILE,
	VMA_INACCESSIBLE,
};

struct vma {
	uint64_t start;
	uint64_t end;
	enum vma_kind kind;
	bool writable;
};

/* Sorted, without overlap; may have gaps. */
struct vma_list {
	struct vma *vma;
	size_t nr;
	size_t max;
	char *text;
};

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
