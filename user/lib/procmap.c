// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where other processes map a file.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "error.h"
#include "procmap.h"

static FILE *open_proc(pid_t pid, const char *what)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	return fopen(path, "re");
}

/* "start-end perms offset major:minor inode   path" */
static bool parse(const char *line, dev_t dev, ino_t ino, struct procmap *m)
{
	unsigned long long start, end, offset, inode;
	const char *perms = strchr(line, ' ');
	unsigned int major, minor;

	/* Few are, and taking the rest apart takes long. */
	if (!perms || perms[2] != 'w' || perms[4] != 's')
		return false;
	if (sscanf(line, "%llx-%llx %*s %llx %x:%x %llu", &start, &end,
		   &offset, &major, &minor, &inode) != 6)
		return false;
	*m = (struct procmap){ start, end - start, offset };
	return inode == ino && makedev(major, minor) == dev;
}

int procmap_find(pid_t pid, dev_t dev, ino_t ino, struct procmap **out,
		 struct mram_error *err)
{
	struct procmap *list = NULL, *grown, m;
	char *line = NULL;
	size_t size = 0;
	int nr = 0, ret = 0;
	FILE *f;

	f = open_proc(pid, "maps");
	if (!f)
		return mram_err(err, -errno, "/proc/%d/maps: %s", (int)pid,
				strerror(errno));
	while (!ret && getline(&line, &size, f) > 0) {
		if (!parse(line, dev, ino, &m))
			continue;
		grown = realloc(list, ((size_t)nr + 1) * sizeof(*list));
		if (!grown) {
			ret = mram_err(err, -ENOMEM,
				       "/proc/%d/maps: out of memory",
				       (int)pid);
			break;
		}
		list = grown;
		list[nr++] = m;
	}
	free(line);
	fclose(f);
	if (ret) {
		free(list);
		return ret;
	}
	*out = list;
	return nr;
}

static bool maps(pid_t pid, dev_t dev, ino_t ino)
{
	struct procmap m;
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	FILE *f;

	f = open_proc(pid, "maps");
	if (!f)
		return false;
	while (!found && getline(&line, &size, f) > 0)
		found = parse(line, dev, ino, &m);
	free(line);
	fclose(f);
	return found;
}

pid_t procmap_others(pid_t but, dev_t dev, ino_t ino, char *name)
{
	struct dirent *d;
	pid_t found = 0;
	FILE *f;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return 0;
	while (!found && (d = readdir(dir))) {
		pid_t pid = atoi(d->d_name);

		if (pid > 0 && pid != but && pid != getpid() &&
		    maps(pid, dev, ino))
			found = pid;
	}
	closedir(dir);
	strcpy(name, "?");
	if (found) {
		f = open_proc(found, "comm");
		if (f) {
			if (fscanf(f, "%63s", name) != 1)
				strcpy(name, "?");
			fclose(f);
		}
	}
	return found;
}
