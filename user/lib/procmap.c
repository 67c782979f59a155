// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Where other processes map a file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "error.h"
#include "procmap.h"

#define ROOM	(64u << 10)

/* The maps of a process, to be freed; NULL with errno if they cannot be had. */
static char *read_maps(pid_t pid, size_t *length)
{
	size_t size = ROOM, done = 0;
	char path[64], *text, *grown;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	text = malloc(size);
	while (text && (n = read(fd, text + done, size - done)) > 0) {
		done += (size_t)n;
		if (done < size)
			continue;
		size *= 2;
		grown = realloc(text, size);
		if (!grown)
			free(text);
		text = grown;
	}
	if (!text)
		errno = ENOMEM;
	else if (n < 0) {
		free(text);
		text = NULL;
	}
	close(fd);
	*length = done;
	return text;
}

/*
 * The next line that shows the file: "start-end perms offset major:minor inode
 * path". *@text moves behind it; to where the last line begins, of which the end
 * is missing, if there is none.
 */
static bool next_map(char **text, char *end, dev_t dev, ino_t ino,
		     struct procmap *m)
{
	unsigned long long start, last, offset, inode;
	unsigned int major, minor;
	char *line, *eol, *perms;

	for (line = *text; (eol = memchr(line, '\n', end - line));
	     line = eol + 1) {
		/* Few are, and taking the rest apart takes long. */
		perms = memchr(line, ' ', eol - line);
		if (!perms || eol - perms < 5 || perms[2] != 'w' ||
		    perms[4] != 's')
			continue;
		*eol = '\0';
		if (sscanf(line, "%llx-%llx %*s %llx %x:%x %llu", &start,
			   &last, &offset, &major, &minor, &inode) != 6 ||
		    inode != ino || makedev(major, minor) != dev)
			continue;
		*m = (struct procmap){ start, last - start, offset };
		*text = eol + 1;
		return true;
	}
	*text = line;
	return false;
}

int procmap_find(pid_t pid, dev_t dev, ino_t ino, struct procmap **out,
		 struct mram_error *err)
{
	struct procmap *list = NULL, *grown, m;
	size_t length;
	char *text, *at;
	int nr = 0;

	text = read_maps(pid, &length);
	if (!text)
		return mram_err(err, -errno, "/proc/%d/maps: %s", (int)pid,
				strerror(errno));
	at = text;
	while (next_map(&at, text + length, dev, ino, &m)) {
		grown = realloc(list, ((size_t)nr + 1) * sizeof(*list));
		if (!grown) {
			free(list);
			free(text);
			return mram_err(err, -ENOMEM,
					"/proc/%d/maps: out of memory",
					(int)pid);
		}
		list = grown;
		list[nr++] = m;
	}
	free(text);
	*out = list;
	return nr;
}

/*
 * Whether a process maps the file, with @room bytes to look in: as much as is
 * needed to say so is read, since to make the text is what takes long.
 */
static int maps(pid_t pid, dev_t dev, ino_t ino, char *room)
{
	size_t have = 0;
	bool found = false;
	struct procmap m;
	char path[64], *at;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (!found && have < ROOM &&
	       (n = read(fd, room + have, ROOM - have)) > 0) {
		have += (size_t)n;
		at = room;
		found = next_map(&at, room + have, dev, ino, &m);
		have -= (size_t)(at - room);
		memmove(room, at, have);
	}
	n = n < 0 ? -errno : found;
	close(fd);
	return (int)n;
}

int procmap_maps(pid_t pid, dev_t dev, ino_t ino, struct mram_error *err)
{
	char *room = malloc(ROOM);
	int ret = room ? maps(pid, dev, ino, room) : -ENOMEM;

	free(room);
	if (ret < 0)
		return mram_err(err, ret, "/proc/%d/maps: %s", (int)pid,
				strerror(-ret));
	return ret;
}

pid_t procmap_others(pid_t but, dev_t dev, ino_t ino, char *name)
{
	pid_t found = 0, self = getpid();
	char *room = malloc(ROOM);
	struct dirent *d;
	char path[64];
	FILE *f;
	DIR *dir;

	dir = room ? opendir("/proc") : NULL;
	while (dir && !found && (d = readdir(dir))) {
		pid_t pid = atoi(d->d_name);

		if (pid > 0 && pid != but && pid != self &&
		    maps(pid, dev, ino, room) > 0)
			found = pid;
	}
	if (dir)
		closedir(dir);
	free(room);
	strcpy(name, "?");
	if (found) {
		snprintf(path, sizeof(path), "/proc/%d/comm", (int)found);
		f = fopen(path, "re");
		if (f) {
			if (fscanf(f, "%63s", name) != 1)
				strcpy(name, "?");
			fclose(f);
		}
	}
	return found;
}
