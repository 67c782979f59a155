// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Finding a QEMU's memory: its backends by the monitor, their files by
 * their paths, and that the process really maps them by /proc.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "opts.h"
#include "procmap.h"
#include "qemu.h"

#define FILE_TYPE	"memory-backend-file"

static int get_property(struct mram_qemu *q, const char *id, const char *name,
			struct json_object **out, struct mram_error *err)
{
	char path[300];

	snprintf(path, sizeof(path), "/objects/%s", id);
	return qmp_execute(q->qmp, "qom-get",
			   qmp_args("path", path, "property", name, NULL), out,
			   err);
}

/* As the process sees it; it may have a root and a directory of its own. */
static int open_path(const struct mram_qemu *q, const char *path)
{
	int flags = (q->incoming ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK;
	char full[4200];
	int fd;

	snprintf(full, sizeof(full), "/proc/%d/%s/%s", (int)q->qmp->pid,
		 *path == '/' ? "root" : "cwd", path);
	fd = open(full, flags);
	if (fd < 0 && *path == '/')
		fd = open(path, flags);
	return fd;
}

static int check_mapped(const struct mram_qemu *q, const struct qemu_ram *r,
			struct mram_error *err)
{
	char name[64];
	pid_t other;
	int ret;

	ret = procmap_maps(q->qmp->pid, r->dev, r->ino, err);
	if (ret < 0)
		return ret;
	if (!ret)
		return mram_err(err, -ENXIO,
				"memory backend '%s': process %d, which listens on %s, does not map %s shared: is it QEMU?",
				r->id, (int)q->qmp->pid, q->qmp->path, r->path);
	other = procmap_others(q->qmp->pid, r->dev, r->ino, name);
	if (other)
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': process %d (%s) maps %s, too: %s",
				r->id, (int)other, name, r->path,
				q->incoming ? "it would see what is restored" :
				"what it writes (as a vhost-user device does) cannot be seen");
	return 0;
}

static int open_ram(struct mram_qemu *q, struct qemu_ram *r,
		    struct mram_error *err)
{
	const struct qemu_ram *other;
	struct statfs fs;
	struct stat st;

	r->fd = open_path(q, r->path);
	if (r->fd < 0 || fstat(r->fd, &st) || fstatfs(r->fd, &fs))
		return mram_err(err, -errno, "memory backend '%s': %s: %s",
				r->id, r->path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': %s is a directory: give it a mem-path that names a file",
				r->id, r->path);
	if (!S_ISREG(st.st_mode))
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': %s is not a regular file",
				r->id, r->path);
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->huge = fs.f_type == HUGETLBFS_MAGIC;
	if ((uint64_t)st.st_size < r->offset ||
	    (uint64_t)st.st_size - r->offset < r->size)
		return mram_err(err, -ENODATA,
				"memory backend '%s': %s is shorter than its %" PRIu64 " bytes",
				r->id, r->path, r->offset + r->size);
	for (other = q->ram; other < r; other++)
		if (other->dev == r->dev && other->ino == r->ino)
			break;
	/* Two backends may be parts of one file; one lock is enough then. */
	if (other == r && flock(r->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return mram_err(err, -EBUSY,
				"memory backend '%s': %s is locked: another job works on this machine",
				r->id, r->path);
	/* Reading takes no huge page that is not there already: reserve none. */
	r->addr = mmap(NULL, r->size,
		       q->incoming ? PROT_READ | PROT_WRITE : PROT_READ,
		       q->incoming ? MAP_SHARED : MAP_SHARED | MAP_NORESERVE,
		       r->fd, (off_t)r->offset);
	if (r->addr == MAP_FAILED) {
		r->addr = NULL;
		return mram_err(err, -errno,
				"memory backend '%s': cannot map %s: %s", r->id,
				r->path, strerror(errno));
	}
	return check_mapped(q, r, err);
}

static int check_pages(const struct qemu_ram *r, struct mram_error *err)
{
	if (!r->size || r->size % 4096 || r->offset % 4096)
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': %" PRIu64 " bytes at offset %" PRIu64 " of its file: not whole pages",
				r->id, r->size, r->offset);
	return 0;
}

/* A monitor that is not QEMU's may say null. */
static const char *text_of(struct json_object *value)
{
	return json_object_get_string(value) ? : "";
}

static int add_backend(struct mram_qemu *q, struct json_object *dev,
		       struct mram_error *err)
{
	const char *id = qmp_string(dev, "id");
	struct json_object *value = NULL;
	struct qemu_ram *grown, *r;
	int ret;

	if (!id || strlen(id) > 255)
		return mram_err(err, -EOPNOTSUPP,
				"QEMU has a memory backend without an id: use memory-backend-file,share=on with one");
	grown = realloc(q->ram, (q->nr_ram + 1) * sizeof(*grown));
	if (!grown)
		return mram_err(err, -ENOMEM, "%s: out of memory", q->qmp->path);
	q->ram = grown;
	r = &grown[q->nr_ram];
	*r = (struct qemu_ram){
		.fd = -1,
		.id = strdup(id),
		.size = (uint64_t)qmp_int(dev, "size", 0),
	};
	if (!r->id)
		return mram_err(err, -ENOMEM, "%s: out of memory", q->qmp->path);
	q->nr_ram++;

	if (!qmp_bool(dev, "share"))
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s' is private RAM (share=off): what is in it cannot be %s from outside, use " FILE_TYPE ",share=on",
				id, q->incoming ? "set" : "seen");
	ret = get_property(q, id, "type", &value, err);
	if (!ret && strcmp(text_of(value), FILE_TYPE))
		ret = mram_err(err, -EOPNOTSUPP,
			       "memory backend '%s' is a %.60s: only memory in named files can be %s, use " FILE_TYPE ",share=on",
			       id, text_of(value),
			       q->incoming ? "restored" : "saved");
	json_object_put(value);
	if (ret)
		return ret;
	ret = get_property(q, id, "mem-path", &value, err);
	if (ret)
		return ret;
	r->path = strdup(text_of(value));
	json_object_put(value);
	if (!r->path)
		return mram_err(err, -ENOMEM, "%s: out of memory", q->qmp->path);
	/* QEMU before 8.1 has no such property, and no offset. */
	if (!get_property(q, id, "offset", &value, NULL)) {
		r->offset = (uint64_t)json_object_get_int64(value);
		json_object_put(value);
	}
	return check_pages(r, err);
}

static int by_id(const void *a, const void *b)
{
	const struct qemu_ram *x = a, *y = b;

	return strcmp(x->id, y->id);
}

static int find_ram(struct mram_qemu *q, struct mram_error *err)
{
	struct json_object *list;
	size_t i, nr;
	int ret;

	ret = qmp_execute(q->qmp, "query-memdev", NULL, &list, err);
	if (ret)
		return ret;
	nr = json_object_is_type(list, json_type_array) ?
	     json_object_array_length(list) : 0;
	if (!nr)
		ret = mram_err(err, -EOPNOTSUPP,
			       "QEMU has no memory backends: its RAM is private; use -object " FILE_TYPE ",share=on and -machine memory-backend=");
	for (i = 0; !ret && i < nr; i++)
		ret = add_backend(q, json_object_array_get_idx(list, i), err);
	json_object_put(list);
	/* The same order each time: an image can then be updated. */
	if (!ret)
		qsort(q->ram, q->nr_ram, sizeof(*q->ram), by_id);
	for (i = 0; !ret && i < q->nr_ram; i++)
		ret = open_ram(q, &q->ram[i], err);
	return ret;
}

static int find_name(struct mram_qemu *q, struct mram_error *err)
{
	struct json_object *o;
	const char *name;
	int ret;

	ret = qmp_execute(q->qmp, "query-name", NULL, &o, err);
	if (ret)
		return ret;
	name = qmp_string(o, "name");
	q->name = strdup(name ? name : "");
	json_object_put(o);
	return q->name ? 0 : mram_err(err, -ENOMEM, "out of memory");
}

static int open_qemu(struct mram_qemu **out, const char *path, bool incoming,
		     struct mram_error *err)
{
	struct mram_qemu *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return mram_err(err, -ENOMEM, "%.200s: out of memory", path);
	q->incoming = incoming;
	ret = qmp_open(&q->qmp, path, err);
	if (!ret && q->qmp->pid <= 0)
		ret = mram_err(err, -ESRCH,
			       "%.200s: the process that listens there cannot be seen from here; is it in a container?",
			       path);
	if (!ret)
		ret = incoming ? qemu_check_incoming(q, err) :
				 qemu_check(q, err);
	if (!ret)
		ret = find_name(q, err);
	if (!ret)
		ret = find_ram(q, err);
	if (ret) {
		mram_qemu_close(q);
		return ret;
	}
	*out = q;
	return 0;
}

int mram_qemu_open(struct mram_qemu **out, const char *path,
		   struct mram_error *err)
{
	return open_qemu(out, path, false, err);
}

int mram_qemu_open_incoming(struct mram_qemu **out, const char *path,
			    struct mram_error *err)
{
	return open_qemu(out, path, true, err);
}

void mram_qemu_close(struct mram_qemu *q)
{
	size_t i;

	if (!q)
		return;
	for (i = 0; i < q->nr_ram; i++) {
		struct qemu_ram *r = &q->ram[i];

		if (r->addr)
			munmap(r->addr, r->size);
		if (r->fd >= 0)
			close(r->fd);
		free(r->id);
		free(r->path);
	}
	free(q->ram);
	free(q->name);
	qmp_close(q->qmp);
	free(q);
}

void mram_qemu_info(const struct mram_qemu *q, struct mram_qemu_info *info)
{
	struct mram_qemu_info i = {
		.pid = q->qmp->pid,
		.version = q->qmp->version,
		.running = q->runs,
		.backends = (uint32_t)q->nr_ram,
		.name = q->name,
	};
	size_t k;

	for (k = 0; k < q->nr_ram; k++)
		i.bytes += q->ram[k].size;
	opts_put(info, &i, sizeof(i));
}

int mram_qemu_check_image(const struct mram_qemu *q, const char *path,
			  struct mram_error *err)
{
	struct stat st;
	size_t i;

	if (stat(path, &st))
		return 0;
	for (i = 0; i < q->nr_ram; i++)
		if (q->ram[i].dev == st.st_dev && q->ram[i].ino == st.st_ino)
			return mram_err(err, -EINVAL,
					"%.200s is the memory of backend '%s': the image needs a file of its own",
					path, q->ram[i].id);
	return 0;
}
