// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is in the way of saving a running QEMU, or of restoring into a waiting
 * one, by its name. Nothing is changed here.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "qemu.h"

#define OFF_WITH	"turn it off with migrate-set-capabilities"

/*
 * Capabilities that may be on. All others change what the stream is made of, or
 * how it is moved; one that is not known yet may do so.
 */
static const char *const harmless[] = {
	"events", "auto-converge", "late-block-activate", "validate-uuid",
	"rdma-pin-all", "postcopy-blocktime", "dirty-limit",
	/* These two are set as they have to be, and set back. */
	"x-ignore-shared", "mapped-ram",
};

static const char *job_name(const struct mram_qemu *q)
{
	return q->incoming ? "restoring" : "saving";
}

static bool is_harmless(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++)
		if (!strcmp(harmless[i], name))
			return true;
	return false;
}

static int check_capabilities(struct mram_qemu *q, struct mram_error *err)
{
	bool ignore_shared = false;
	struct json_object *list, *o;
	const char *name;
	size_t i;
	int ret;

	ret = qmp_execute(q->qmp, "query-migrate-capabilities", NULL, &list,
			  err);
	if (ret)
		return ret;
	for (i = 0; !ret && i < json_object_array_length(list); i++) {
		o = json_object_array_get_idx(list, i);
		name = qmp_string(o, "capability");
		if (!name)
			continue;
		if (!strcmp(name, "x-ignore-shared")) {
			ignore_shared = true;
			q->had_ignore_shared = qmp_bool(o, "state");
		} else if (!strcmp(name, "mapped-ram")) {
			q->had_mapped_ram = qmp_bool(o, "state");
		} else if (qmp_bool(o, "state") && !is_harmless(name)) {
			ret = mram_err(err, -EOPNOTSUPP,
				       "QEMU's migration capability '%.60s' is on, which excludes %s: " OFF_WITH,
				       name, job_name(q));
		}
	}
	json_object_put(list);
	if (!ret && !ignore_shared)
		ret = mram_err(err, -EOPNOTSUPP,
			       "this QEMU has no migration capability 'x-ignore-shared': it is too old");
	return ret;
}

static int check_parameters(struct mram_qemu *q, struct mram_error *err)
{
	struct json_object *o;
	const char *tls;
	int ret;

	ret = qmp_execute(q->qmp, "query-migrate-parameters", NULL, &o, err);
	if (ret)
		return ret;
	tls = qmp_string(o, "tls-creds");
	if (tls && *tls)
		ret = mram_err(err, -EOPNOTSUPP,
			       "QEMU's migration parameter 'tls-creds' is '%.60s', and TLS excludes %s: set it to ''",
			       tls, job_name(q));
	q->bandwidth = qmp_int(o, "max-bandwidth", -1);
	json_object_put(o);
	return ret;
}

/* What query-migrate says, in a word. Return: whether one is under way. */
static bool under_way(struct json_object *o, char *text)
{
	static const char *const over[] = {
		"none", "completed", "failed", "cancelled",
	};
	const char *status = qmp_string(o, "status");
	size_t i;

	snprintf(text, 32, "%s", status ? status : "none");
	for (i = 0; i < sizeof(over) / sizeof(over[0]); i++)
		if (!strcmp(text, over[i]))
			return false;
	return true;
}

int qemu_migration(struct mram_qemu *q, char *text, struct mram_error *err)
{
	struct json_object *o;
	int ret;

	ret = qmp_execute(q->qmp, "query-migrate", NULL, &o, err);
	if (ret)
		return ret;
	ret = under_way(o, text);
	json_object_put(o);
	return ret;
}

int qemu_migration_failed(struct mram_qemu *q, const char *what,
			  const char *text, const char *then,
			  struct mram_error *err)
{
	struct json_object *o;
	const char *why;
	int ret;

	ret = qmp_execute(q->qmp, "query-migrate", NULL, &o, err);
	if (ret)
		return ret;
	why = qmp_string(o, "error-desc");
	ret = mram_err(err, -EREMOTEIO, "%s (%s)%s%.300s%s", what, text,
		       why ? ": " : "", why ? why : "", then);
	json_object_put(o);
	return ret;
}

static int check_migration(struct mram_qemu *q, struct mram_error *err)
{
	struct json_object *o, *reasons, *first;
	char text[32];
	int ret;

	ret = qmp_execute(q->qmp, "query-migrate", NULL, &o, err);
	if (ret)
		return ret;
	if (under_way(o, text)) {
		ret = mram_err(err, -EBUSY,
			       "QEMU is being migrated (%s): wait for its end, or migrate_cancel",
			       text);
	} else if (json_object_object_get_ex(o, "blocked-reasons", &reasons) &&
		   json_object_is_type(reasons, json_type_array) &&
		   json_object_array_length(reasons)) {
		first = json_object_array_get_idx(reasons, 0);
		ret = mram_err(err, -EOPNOTSUPP,
			       "QEMU cannot be migrated, and so not saved: %.300s",
			       json_object_get_string(first));
	}
	json_object_put(o);
	return ret;
}

/* What state the machine is in; @state has room for 64 bytes. */
static int query_state(struct mram_qemu *q, char *state, struct mram_error *err)
{
	struct json_object *o;
	const char *status;
	int ret;

	ret = qmp_execute(q->qmp, "query-status", NULL, &o, err);
	if (ret)
		return ret;
	status = qmp_string(o, "status");
	snprintf(state, 64, "%s", status ? status : "?");
	json_object_put(o);
	return 0;
}

int qemu_check_state(struct mram_qemu *q, bool *runs, struct mram_error *err)
{
	char state[64];
	int ret;

	ret = query_state(q, state, err);
	if (ret)
		return ret;
	*runs = !strcmp(state, "running");
	if (!*runs && strcmp(state, "paused") && strcmp(state, "prelaunch"))
		return mram_err(err, -EBUSY,
				"the virtual machine is in state '%s': it can be saved when it runs or is paused%s",
				state, strcmp(state, "postmigrate") ? "" :
				"; 'cont' ends this state");
	return 0;
}

/* ----------------------------------------------------------------- devices */

/* What has its own way to the memory, or stands before it in the stream. */
static const struct {
	const char *prefix;
	const char *why;
} devices[] = {
	{ "vhost-user-", "another process writes to the memory" },
	{ "vfio-", "a device of the host writes to the memory" },
	{ "vhost-vdpa", "a device of the host writes to the memory" },
	{ "ivshmem", "other processes write to its memory" },
	{ "virtio-mem", "its state stands where an image can have none" },
	{ "x-pci-proxy", "another process writes to the memory" },
	{ "vfio_user", "another process writes to the memory" },
};

static int check_device(const char *type, const char *name,
			struct mram_error *err)
{
	size_t i;

	if (strncmp(type, "child<", 6))
		return 0;
	for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (!strncmp(type + 6, devices[i].prefix,
			     strlen(devices[i].prefix)))
			return mram_err(err, -EOPNOTSUPP,
					"the machine has a %.*s ('%.100s'): %s",
					(int)strcspn(type + 6, ">"), type + 6,
					name, devices[i].why);
	return 0;
}

static int check_devices(struct mram_qemu *q, const char *path,
			 struct mram_error *err)
{
	struct json_object *list, *o;
	const char *type, *name;
	size_t i;
	int ret;

	ret = qmp_execute(q->qmp, "qom-list", qmp_args("path", path, NULL),
			  &list, err);
	if (ret)
		return ret;
	for (i = 0; !ret && i < json_object_array_length(list); i++) {
		o = json_object_array_get_idx(list, i);
		type = qmp_string(o, "type");
		name = qmp_string(o, "name");
		if (type && name)
			ret = check_device(type, name, err);
	}
	json_object_put(list);
	return ret;
}

/* Network back ends are no devices; only the human monitor lists them. */
static int check_network(struct mram_qemu *q, struct mram_error *err)
{
	static const char *const others[] = { "vhost-user", "vhost-vdpa" };
	struct json_object *o;
	const char *text;
	size_t i;
	char key[32];
	int ret;

	ret = qmp_execute(q->qmp, "human-monitor-command",
			  qmp_args("command-line", "info network", NULL), &o,
			  NULL);
	/* A QEMU without network support has no such command. */
	if (ret == -ENOSYS || ret == -EREMOTEIO)
		return 0;
	if (ret)
		return mram_err(err, ret, "%.200s: QEMU does not tell of its network",
				q->qmp->path);
	text = json_object_get_string(o);
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(key, sizeof(key), "type=%s", others[i]);
		if (text && strstr(text, key))
			ret = mram_err(err, -EOPNOTSUPP,
				       "the machine has a network back end of type %s: others write to the memory",
				       others[i]);
	}
	json_object_put(o);
	return ret;
}

int qemu_check(struct mram_qemu *q, struct mram_error *err)
{
	int ret;

	ret = qemu_check_state(q, &q->runs, err);
	/* First what QEMU would call a blocker, with less of a name. */
	if (!ret)
		ret = check_devices(q, "/machine/peripheral", err);
	if (!ret)
		ret = check_devices(q, "/machine/peripheral-anon", err);
	if (!ret)
		ret = check_network(q, err);
	if (!ret)
		ret = check_migration(q, err);
	if (!ret)
		ret = check_capabilities(q, err);
	if (!ret)
		ret = check_parameters(q, err);
	return ret;
}

/* ---------------------------------------------------------------- incoming */

static int check_waiting(struct mram_qemu *q, struct mram_error *err)
{
	char state[64], text[32];
	int ret;

	ret = query_state(q, state, err);
	if (!ret && strcmp(state, "inmigrate"))
		ret = mram_err(err, -EBUSY,
			       "the virtual machine is in state '%s', not 'inmigrate': QEMU has to be started with -incoming defer",
			       state);
	if (!ret)
		ret = qemu_migration(q, text, err);
	if (ret >= 0 && strcmp(text, "none"))
		ret = mram_err(err, -EBUSY,
			       "QEMU's incoming migration is '%s' already: start QEMU anew, with -incoming defer",
			       text);
	return ret;
}

int qemu_check_incoming(struct mram_qemu *q, struct mram_error *err)
{
	int ret;

	ret = check_waiting(q, err);
	if (!ret)
		ret = check_capabilities(q, err);
	if (!ret)
		ret = check_parameters(q, err);
	return ret;
}
