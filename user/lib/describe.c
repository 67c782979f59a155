// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Lengths of device sections from QEMU's JSON description: see describe.h.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "describe.h"
#include "format.h"

/* QEMU's descriptions of devices in devices in devices are this deep. */
#define DEPTH_MAX	128

struct json_object *mram_describe_parse(const char *text, size_t length)
{
	struct json_tokener *tok;
	struct json_object *top;

	if (!length || length > INT_MAX)
		return NULL;
	tok = json_tokener_new_ex(DEPTH_MAX);
	if (!tok)
		return NULL;
	top = json_tokener_parse_ex(tok, text, (int)length);
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    json_tokener_get_parse_end(tok) != length ||
	    !json_object_is_type(top, json_type_object)) {
		json_object_put(top);
		top = NULL;
	}
	json_tokener_free(tok);
	return top;
}

static struct json_object *get(struct json_object *o, const char *key,
			       enum json_type type)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, type))
		return NULL;
	return v;
}

static const char *get_string(struct json_object *o, const char *key)
{
	struct json_object *v = get(o, key, json_type_string);

	return v ? json_object_get_string(v) : NULL;
}

static int get_int(struct json_object *o, const char *key, int64_t *n)
{
	struct json_object *v = get(o, key, json_type_int);

	if (!v)
		return -EINVAL;
	*n = json_object_get_int64(v);
	return 0;
}

struct json_object *mram_describe_devices(struct json_object *top)
{
	return get(top, "devices", json_type_array);
}

struct json_object *mram_describe_find(struct json_object *devices,
				       const char *name, uint32_t instance,
				       size_t *next)
{
	size_t nr = json_object_array_length(devices), i;
	struct json_object *d;
	const char *dname;
	int64_t dinstance;

	for (i = *next; i < nr; i++) {
		d = json_object_array_get_idx(devices, i);
		dname = get_string(d, "name");
		if (!dname || strcmp(dname, name) ||
		    get_int(d, "instance_id", &dinstance))
			continue;
		/* QEMU's -1, "any", comes out either way. */
		if ((uint32_t)dinstance != instance)
			continue;
		*next = i + 1;
		return d;
	}
	return NULL;
}

bool mram_describe_plain(struct json_object *device)
{
	struct json_object *fields = get(device, "fields", json_type_array), *f;
	const char *name, *type;
	int64_t n;

	if (!fields || json_object_array_length(fields) != 1 ||
	    get(device, "subsections", json_type_array))
		return false;
	f = json_object_array_get_idx(fields, 0);
	name = get_string(f, "name");
	type = get_string(f, "type");
	return name && type && !strcmp(name, "data") &&
	       !strcmp(type, "buffer") && get_int(f, "array_len", &n);
}

static int add(uint64_t *sum, uint64_t n)
{
	return __builtin_add_overflow(*sum, n, sum) ? -EINVAL : 0;
}

/* A field's size counts all that is in it; equal elements stand there once. */
static int add_fields(struct json_object *fields, uint64_t *sum)
{
	size_t nr = json_object_array_length(fields), i;
	struct json_object *f;
	int64_t size, count;
	uint64_t bytes;

	for (i = 0; i < nr; i++) {
		f = json_object_array_get_idx(fields, i);
		if (get_int(f, "size", &size) || size < 0)
			return -EINVAL;
		if (get_int(f, "array_len", &count))
			count = 1;
		if (count < 0 || __builtin_mul_overflow((uint64_t)size,
							(uint64_t)count,
							&bytes))
			return -EINVAL;
		if (add(sum, bytes))
			return -EINVAL;
	}
	return 0;
}

/* The parser bounds the depth. */
static int add_described(struct json_object *o, uint64_t *sum)
{
	struct json_object *subs, *sub, *fields;
	const char *name;
	size_t nr, i;

	fields = get(o, "fields", json_type_array);
	if (!fields || add_fields(fields, sum))
		return -EINVAL;
	subs = get(o, "subsections", json_type_array);
	nr = subs ? json_object_array_length(subs) : 0;
	for (i = 0; i < nr; i++) {
		sub = json_object_array_get_idx(subs, i);
		name = get_string(sub, "vmsd_name");
		/* Its mark, the name with its length, the version. */
		if (!name || strlen(name) > MRAM_NAME_MAX ||
		    add(sum, 1 + 1 + strlen(name) + 4) ||
		    add_described(sub, sum))
			return -EINVAL;
	}
	return 0;
}

int mram_describe_length(struct json_object *device, uint64_t *length)
{
	*length = 0;
	return add_described(device, length);
}
