// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is mapped where in this process, as /proc/self/maps tells it, or
 * /proc/self/smaps where more has to be known.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vma.h"

/* Longer than any line: a path is at most a page, escaped at most four times. */
#define TEXT_SIZE	(64 << 10)

struct line {
	uint64_t start, end;
	unsigned int major, minor;
	uint64_t inode;
	const char *perms;
	const char *path;
};

static const char *number(const char *s, int base, uint64_t *value)
{
	char *end;

	*value = strtoull(s, &end, base);
	return end;
}

/* "start-end perms offset major:minor inode   path" */
static bool parse(const char *s, struct line *l)
{
	uint64_t value;

	s = number(s, 16, &l->start);
	if (*s++ != '-')
		return false;
	s = number(s, 16, &l->end);
	if (*s++ != ' ')
		return false;
	l->perms = s;
	if (strnlen(s, 5) < 5)
		return false;
	s = number(s + 5, 16, &value);
	s = number(s, 16, &value);
	l->major = value;
	if (*s++ != ':')
		return false;
	s = number(s, 16, &value);
	l->minor = value;
	s = number(s, 10, &l->inode);
	l->path = s + strspn(s, " ");
	return true;
}

/*
 * memfds, shared anonymous memory and System V segments live on one internal
 * mount, named ones on a tmpfs. What is wrongly taken for a file is only
 * treated with more care.
 */
static bool is_shmem(const struct line *l)
{
	dev_t dev = makedev(l->major, l->minor);
	struct statfs fs;
	struct stat st;
	bool found;
	int fd;

	fd = memfd_create("mapped-ram", MFD_CLOEXEC);
	if (fd >= 0) {
		found = !fstat(fd, &st) && st.st_dev == dev;
		close(fd);
		if (found)
			return true;
	}
	return *l->path == '/' && !stat(l->path, &st) && st.st_dev == dev &&
	       st.st_ino == l->inode && !statfs(l->path, &fs) &&
	       fs.f_type == TMPFS_MAGIC;
}

static enum vma_kind kind_of(const struct line *l)
{
	if (l->perms[0] != 'r')
		return VMA_INACCESSIBLE;
	if (l->perms[3] == 'p')
		/* Private memory of huge pages has a file for the books only. */
		return l->inode && strncmp(l->path, "/anon_hugepage", 14) ?
		       VMA_FILE : VMA_PRIVATE;
	return is_shmem(l) ? VMA_SHMEM : VMA_FILE;
}

static int append(struct vma_list *list, const struct line *l)
{
	struct vma *grown;

	if (list->nr == list->max) {
		size_t max = list->max ? 2 * list->max : 16;

		grown = realloc(list->vma, max * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		list->vma = grown;
		list->max = max;
	}
	list->vma[list->nr++] = (struct vma){
		.start = l->start,
		.end = l->end,
		.kind = kind_of(l),
		.writable = l->perms[1] == 'w',
		.shared = l->perms[3] != 'p',
	};
	return 0;
}

bool vma_have_uffd(void)
{
	static const char name[] = "anon_inode:[userfaultfd]";
	char target[sizeof(name)];
	bool found = false;
	struct dirent *d;
	DIR *dir;

	dir = opendir("/proc/self/fd");
	if (!dir)
		return false;
	while (!found && (d = readdir(dir)))
		found = readlinkat(dirfd(dir), d->d_name, target,
				   sizeof(target)) == sizeof(name) - 1 &&
			!memcmp(target, name, sizeof(name) - 1);
	closedir(dir);
	return found;
}

/*
 * A line of smaps between the headers: the size of the mapping's pages, and
 * "um": a userfaultfd hears of its missing pages.
 */
static void take_detail(struct vma_list *list, uint64_t last_end, const char *s)
{
	static const char page[] = "KernelPageSize:";
	struct vma *v;

	if (!list->nr)
		return;
	v = &list->vma[list->nr - 1];
	if (v->end != last_end)
		return;
	if (!strncmp(s, page, sizeof(page) - 1))
		v->page = strtoull(s + sizeof(page) - 1, NULL, 10) << 10;
	else if (!strncmp(s, "VmFlags:", 8) && strstr(s, " um") &&
		 v->kind != VMA_INACCESSIBLE)
		v->kind = VMA_SUPPLIED;
}

int vma_read(struct vma_list *list, uint64_t start, uint64_t end)
{
	const char *path = list->look_for_uffd ? "/proc/self/smaps" :
						 "/proc/self/maps";
	uint64_t last_end = 0;
	size_t have = 0;
	int ret = 0;
	ssize_t got;
	int fd;

	list->nr = 0;
	if (!list->text)
		list->text = malloc(TEXT_SIZE);
	if (!list->text)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	for (;;) {
		char *s = list->text, *nl;

		got = read(fd, list->text + have, TEXT_SIZE - 1 - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			ret = got < 0 ? -errno : 0;
			break;
		}
		have += got;
		list->text[have] = '\0';
		while ((nl = strchr(s, '\n'))) {
			struct line l;

			*nl = '\0';
			if (!parse(s, &l)) {
				take_detail(list, last_end, s);
				s = nl + 1;
				continue;
			}
			last_end = l.end;
			if (l.start >= end)
				goto out;
			if (l.end > start) {
				ret = append(list, &l);
				if (ret)
					goto out;
			}
			s = nl + 1;
		}
		have -= s - list->text;
		memmove(list->text, s, have);
	}
out:
	close(fd);
	return ret;
}

void vma_free(struct vma_list *list)
{
	free(list->vma);
	free(list->text);
	*list = (struct vma_list){ 0 };
}
