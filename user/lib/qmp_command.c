// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands to QEMU's monitor, their answers, and events in between.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "error.h"
#include "qmp.h"
#include "qmp_wire.h"

const char *qmp_string(struct json_object *o, const char *key)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

int64_t qmp_int(struct json_object *o, const char *key, int64_t missing)
{
	struct json_object *v;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &v) ||
	    !json_object_is_type(v, json_type_int))
		return missing;
	return json_object_get_int64(v);
}

bool qmp_bool(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_is_type(o, json_type_object) &&
	       json_object_object_get_ex(o, key, &v) &&
	       json_object_is_type(v, json_type_boolean) &&
	       json_object_get_boolean(v);
}

struct json_object *qmp_args(const char *key, ...)
{
	struct json_object *o = json_object_new_object(), *v;
	const char *value;
	va_list ap;

	va_start(ap, key);
	for (; o && key; key = va_arg(ap, const char *)) {
		value = va_arg(ap, const char *);
		v = json_object_new_string(value);
		if (!v || json_object_object_add(o, key, v)) {
			json_object_put(v);
			json_object_put(o);
			o = NULL;
		}
	}
	va_end(ap);
	return o;
}

static void take_event(struct qmp *q, const char *event)
{
	if (!strcmp(event, "RESUME"))
		q->resumed++;
}

static int qemus_error(struct json_object *answer, const char *command,
		       struct mram_error *err)
{
	struct json_object *error;
	const char *class, *desc;

	if (!json_object_object_get_ex(answer, "error", &error))
		return 0;
	class = qmp_string(error, "class");
	desc = qmp_string(error, "desc");
	return mram_err(err, class && !strcmp(class, "CommandNotFound") ?
			-ENOSYS : -EREMOTEIO, "QEMU: %s: %.400s", command,
			desc ? desc : "failed, and does not say why");
}

/* Answers to commands that were given up may come before the one for @id. */
static int await(struct qmp *q, const char *command, uint64_t id,
		 struct json_object **out, struct mram_error *err)
{
	uint64_t deadline = qmp_deadline();
	struct json_object *o, *result;
	const char *event;
	int ret;

	for (;;) {
		ret = qmp_receive(q, deadline, &o, err);
		if (ret == -ETIMEDOUT)
			return mram_err(err, ret,
					"%.200s: QEMU does not answer '%s'",
					q->path, command);
		if (ret)
			return ret;
		event = qmp_string(o, "event");
		if (event)
			take_event(q, event);
		else if (qmp_int(o, "id", -1) == (int64_t)id)
			break;
		json_object_put(o);
	}
	ret = qemus_error(o, command, err);
	if (!ret && out) {
		if (json_object_object_get_ex(o, "return", &result))
			*out = json_object_get(result);
		else
			ret = mram_err(err, -EPROTO,
				       "%.200s: QEMU's answer to '%s' is none",
				       q->path, command);
	}
	json_object_put(o);
	return ret;
}

static int execute(struct qmp *q, const char *command,
		   struct json_object *args, int fd, struct json_object **out,
		   struct mram_error *err)
{
	const char *text = args ? json_object_to_json_string_ext(
					  args, JSON_C_TO_STRING_PLAIN) : "{}";
	uint64_t id = ++q->last_id;
	char *line = NULL;
	int ret;

	if (!text ||
	    asprintf(&line,
		     "{\"execute\":\"%s\",\"arguments\":%s,\"id\":%llu}\n",
		     command, text, (unsigned long long)id) < 0) {
		json_object_put(args);
		return mram_err(err, -ENOMEM, "%.200s: out of memory", q->path);
	}
	json_object_put(args);
	ret = qmp_send(q, line, fd, qmp_deadline(), err);
	free(line);
	return ret ? ret : await(q, command, id, out, err);
}

int qmp_execute(struct qmp *q, const char *command, struct json_object *args,
		struct json_object **out, struct mram_error *err)
{
	return execute(q, command, args, -1, out, err);
}

int qmp_execute_fd(struct qmp *q, const char *command,
		   struct json_object *args, int fd, struct mram_error *err)
{
	return execute(q, command, args, fd, NULL, err);
}

int qmp_idle(struct qmp *q, unsigned int msec, struct mram_error *err)
{
	uint64_t deadline = engine_clock() + msec * 1000000ull;
	struct json_object *o;
	const char *event;
	int ret;

	while (!(ret = qmp_receive(q, deadline, &o, err))) {
		event = qmp_string(o, "event");
		if (event)
			take_event(q, event);
		json_object_put(o);
	}
	return ret == -ETIMEDOUT ? 0 : ret;
}
