// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Does an image fit a QEMU that waits for one? Its machine, and each block by
 * name and length, before a byte of the machine is touched.
 */
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "format.h"
#include "qemu_incoming.h"

#define MACHINE_SUFFIX	"-machine"
#define ROM_PREFIX	"/rom@"

/**
 * struct there - a block that QEMU has
 * @name: as QEMU calls it
 * @used: its length
 * @max: the longest that it can become
 * @wanted: the image has it
 */
struct there {
	char name[MRAM_NAME_MAX + 1];
	uint64_t used;
	uint64_t max;
	bool wanted;
};

static int check_machine(const struct qemu_match *m, struct mram_error *err)
{
	const char *want = mram_image_machine(m->img), *type;
	struct json_object *value;
	size_t length;
	int ret;

	ret = qmp_execute(m->q->qmp, "qom-get",
			  qmp_args("path", "/machine", "property", "type", NULL),
			  &value, err);
	if (ret)
		return ret;
	type = json_object_get_string(value);
	length = type ? strlen(type) : 0;
	if (length > strlen(MACHINE_SUFFIX) &&
	    !strcmp(type + length - strlen(MACHINE_SUFFIX), MACHINE_SUFFIX))
		length -= strlen(MACHINE_SUFFIX);
	if (strlen(want) != length || memcmp(want, type, length))
		ret = mram_err(err, -EINVAL,
			       "the image is of a machine '%.100s', this QEMU is a '%.*s': start it with -machine %.100s",
			       want, (int)length, type ? type : "", want);
	json_object_put(value);
	return ret;
}

/* NAME PSIZE UNIT OFFSET USED TOTAL ...: names may hold blanks, all else not. */
static bool parse_line(char *line, struct there *t)
{
	unsigned long long offset, used, max;
	char *p, *unit;
	size_t length;

	unit = strstr(line, "iB  0x");
	if (!unit ||
	    sscanf(unit + 4, "%llx %llx %llx", &offset, &used, &max) != 3)
		return false;
	/* Back over the unit's letter, a blank and the number. */
	p = unit - 1;
	while (p > line && p[-1] == ' ')
		p--;
	while (p > line && p[-1] >= '0' && p[-1] <= '9')
		p--;
	while (p > line && p[-1] == ' ')
		p--;
	line += strspn(line, " ");
	length = p > line ? (size_t)(p - line) : 0;
	if (length > MRAM_NAME_MAX)
		return false;
	memset(t, 0, sizeof(*t));
	memcpy(t->name, line, length);
	t->used = used;
	t->max = max;
	return true;
}

static int parse_list(char *text, struct there **out, size_t *nr)
{
	struct there *grown;
	char *line, *end;

	/* The first line is a heading. */
	for (line = strchr(text, '\n'); line && line[1]; line = end) {
		line++;
		end = strchr(line, '\n');
		if (end)
			*end = '\0';
		if (line[strspn(line, " \r")]) {
			grown = reallocarray(*out, *nr + 1, sizeof(**out));
			if (!grown)
				return -ENOMEM;
			*out = grown;
			if (!parse_line(line, &grown[(*nr)++]))
				return -EPROTO;
		}
		if (end)
			*end = '\n';
	}
	return *nr ? 0 : -EPROTO;
}

static int list_blocks(const struct qemu_match *m, struct there **out,
		       size_t *nr, struct mram_error *err)
{
	struct json_object *value;
	char *text;
	int ret;

	ret = qmp_execute(m->q->qmp, "human-monitor-command",
			  qmp_args("command-line", "info ramblock", NULL),
			  &value, err);
	if (ret)
		return ret;
	text = strdup(json_object_get_string(value) ? : "");
	json_object_put(value);
	ret = text ? parse_list(text, out, nr) : -ENOMEM;
	free(text);
	if (ret == -ENOMEM)
		return mram_err(err, ret, "%.200s: out of memory",
				m->q->qmp->path);
	if (ret)
		return mram_err(err, ret,
				"%.200s: QEMU's list of its RAM blocks is not as expected",
				m->q->qmp->path);
	return 0;
}

/* ---------------------------------------------------------------- blocks */

static const struct qemu_ram *find_ram(const struct mram_qemu *q,
				       const char *name)
{
	size_t i;

	for (i = 0; i < q->nr_ram; i++)
		if (qemu_is_named(name, q->ram[i].id))
			return &q->ram[i];
	return NULL;
}

/* The region that QEMU made of a backend, and where it has put it. */
static int find_gpa(struct mram_qemu *q, struct qemu_place *p,
		    struct mram_error *err)
{
	char path[300], region[600] = "";
	struct json_object *list, *o;
	const char *type, *name;
	size_t i;
	int ret;

	snprintf(path, sizeof(path), "/objects/%s", p->ram->id);
	ret = qmp_execute(q->qmp, "qom-list", qmp_args("path", path, NULL),
			  &list, err);
	if (ret)
		return ret;
	for (i = 0; i < json_object_array_length(list) && !*region; i++) {
		o = json_object_array_get_idx(list, i);
		type = qmp_string(o, "type");
		name = qmp_string(o, "name");
		if (type && name && !strncmp(type, "child<memory-region", 19))
			snprintf(region, sizeof(region), "%s/%.280s", path,
				 name);
	}
	json_object_put(list);
	if (!*region)
		return mram_err(err, -EOPNOTSUPP,
				"memory backend '%s': QEMU does not tell where it has it",
				p->ram->id);
	ret = qmp_execute(q->qmp, "qom-get",
			  qmp_args("path", region, "property", "addr", NULL),
			  &o, err);
	if (ret)
		return ret;
	p->gpa = (uint64_t)json_object_get_int64(o);
	json_object_put(o);
	return 0;
}

/* Tables for the guest's firmware may become longer, and only they. */
static bool fits(const struct mram_image_block *b, const struct there *t)
{
	if (t->max > t->used || !strncmp(t->name, ROM_PREFIX, strlen(ROM_PREFIX)))
		return b->length <= t->max;
	return b->length == t->used;
}

static int place(struct qemu_match *m, struct qemu_place *p,
		 struct there *list, size_t nr, struct mram_error *err)
{
	const struct mram_image_block *b = p->block;
	uint64_t page = m->img->target_page_size ? : MRAM_PAGE_SIZE_MIN;
	struct there *t;

	for (t = list; t < list + nr; t++)
		if (!strcmp(t->name, b->name))
			break;
	if (t == list + nr)
		return mram_err(err, -EINVAL,
				"block '%s' of the image: this QEMU has none of that name; are the machine and its devices the same?",
				b->name);
	t->wanted = true;
	if (b->page_size != page)
		return mram_err(err, -EOPNOTSUPP,
				"block '%s' of the image has pages of %" PRIu64 " bytes, QEMU's have %" PRIu64,
				b->name, b->page_size, page);
	p->ram = find_ram(m->q, b->name);
	if (p->ram ? b->length != p->ram->size || b->length != t->used
		   : !fits(b, t))
		return mram_err(err, -EINVAL,
				"block '%s' of the image has %" PRIu64 " bytes, this QEMU's has %" PRIu64,
				b->name, b->length, t->used);
	return p->ram ? find_gpa(m->q, p, err) : 0;
}

static int check_missing(const struct qemu_match *m, const struct there *list,
			 size_t nr, struct mram_error *err)
{
	const struct there *t;
	size_t i, k;

	for (t = list; t < list + nr; t++)
		if (!t->wanted && t->used && *t->name)
			return mram_err(err, -EINVAL,
					"block '%s' of this QEMU: the image has none of that name; are the machine and its devices the same?",
					t->name);
	for (i = 0; i < m->q->nr_ram; i++) {
		for (k = 0; k < m->img->nr_blocks; k++)
			if (m->places[k].ram == &m->q->ram[i])
				break;
		if (k == m->img->nr_blocks)
			return mram_err(err, -EOPNOTSUPP,
					"memory backend '%s': the machine does not use it as RAM",
					m->q->ram[i].id);
	}
	return 0;
}

/* What QEMU would take from a stream, a machine's RAM should not be. */
static int check_private(const struct qemu_match *m, struct mram_error *err)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < m->img->nr_blocks; i++) {
		const struct mram_image_block *b = m->places[i].block;

		if (m->places[i].ram)
			continue;
		sum += b->length;
		if (sum > MRAM_STATE_MAX)
			return mram_err(err, -EOPNOTSUPP,
					"block '%s' of %" PRIu64 " bytes is private memory of QEMU: only small blocks may be; use memory-backend-file,share=on",
					b->name, b->length);
	}
	return 0;
}

int qemu_match(struct qemu_match *m, struct mram_error *err)
{
	struct there *list = NULL;
	size_t nr = 0, i;
	int ret;

	m->places = calloc(m->img->nr_blocks, sizeof(*m->places));
	if (!m->places)
		return mram_err(err, -ENOMEM, "%.200s: out of memory",
				m->q->qmp->path);
	ret = check_machine(m, err);
	if (!ret)
		ret = list_blocks(m, &list, &nr, err);
	for (i = 0; !ret && i < m->img->nr_blocks; i++) {
		m->places[i].block = &m->img->blocks[i];
		ret = place(m, &m->places[i], list, nr, err);
	}
	if (!ret)
		ret = check_missing(m, list, nr, err);
	if (!ret)
		ret = check_private(m, err);
	free(list);
	return ret;
}

void qemu_match_free(struct qemu_match *m)
{
	free(m->places);
	m->places = NULL;
}
