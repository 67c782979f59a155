// SPDX-License-Identifier: GPL-2.0
/* Looks at the rest of the kernel: counters, commands, files of /proc. */
#include <stdarg.h>

#include "common.h"

/* The number behind "NAME" and ':' or a space, at the start of a line */
static long proc_number(const char *path, const char *name)
{
	size_t length = strlen(name);
	long value = -ENOENT;
	char line[256];
	FILE *f;

	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, name, length) ||
		    (line[length] != ':' && line[length] != ' '))
			continue;
		value = strtol(line + length + 1, NULL, 10);
		break;
	}
	fclose(f);
	return value;
}

int pagemap_read(const void *mem, size_t pages, uint64_t *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t size = pages * sizeof(*entries);
	ssize_t got;
	int ret = 0;

	if (fd < 0)
		return -errno;
	got = pread(fd, entries, size,
		    (uintptr_t)mem / page_size() * sizeof(*entries));
	if (got != (ssize_t)size)
		ret = got < 0 ? -errno : -EIO;
	close(fd);
	return ret;
}

long self_status_kb(const char *name)
{
	return proc_number("/proc/self/status", name);
}

long meminfo_kb(const char *name)
{
	return proc_number("/proc/meminfo", name);
}

long vmstat(const char *name)
{
	/* Without this each CPU may hold back some of the count. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	return proc_number("/proc/vmstat", name);
}

long pinned_pages(void)
{
	/* Two reads, not one: the released ones first, so it is never short. */
	long released = vmstat("nr_foll_pin_released");
	long acquired = proc_number("/proc/vmstat", "nr_foll_pin_acquired");

	if (released < 0 || acquired < 0)
		return -ENOENT;
	return acquired - released;
}

bool pins_return_to(long pages)
{
	int tries;

	for (tries = 0; tries < 50; tries++) {
		if (pinned_pages() <= pages)
			return true;
		usleep(100 * 1000);
	}
	fprintf(stderr, "# %ld pages are pinned, %ld were before\n",
		pinned_pages(), pages);
	return false;
}

int shell(const char *fmt, ...)
{
	char line[2 * PATH_MAX];
	char quiet[2 * PATH_MAX + 32];
	va_list ap;
	int status;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	snprintf(quiet, sizeof(quiet), "{ %s\n} >/dev/null 2>&1", line);
	status = system(quiet);
	if (status < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void shell_line(char *buf, size_t size, const char *fmt, ...)
{
	char line[2 * PATH_MAX];
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	f = popen(line, "re");
	if (!f || !fgets(buf, size, f))
		buf[0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (f && pclose(f))
		buf[0] = '\0';
}

int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

bool have_program(const char *name)
{
	return !shell("PATH=$PATH:/usr/sbin:/sbin command -v %s", name);
}

bool soft_dirty(const void *addr)
{
	uint64_t entry;

	if (pagemap_read(addr, 1, &entry))
		need_failed("no pagemap");
	return entry & PAGEMAP_WRITTEN;
}
