// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram restore --lazy: memory of a virtual machine monitor in another
 * process, filled while its guest runs. The JSON's keys are an interface: they
 * are described in mapped-ram(1), and more may come.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "json.h"
#include "lazy_peer.h"
#include "progress.h"
#include "restore.h"
#include "tool.h"

#define SLICE_MSEC	100

/**
 * struct job - a restore
 * @r: what the command line says
 * @peer: whose memory it is
 * @lazy: the library's job
 * @err: what went wrong, for the peer, too
 * @said: lines that the library said meanwhile; written by its threads
 * @lock: for @said
 */
struct job {
	struct restore *r;
	struct peer peer;
	struct mram_restore_lazy *lazy;
	struct mram_error err;
	char said[2048];
	pthread_mutex_t lock;
};

static void on_message(void *data, const char *text)
{
	size_t length = strlen(text), end;
	struct job *j = data;

	pthread_mutex_lock(&j->lock);
	end = strlen(j->said);
	/* The same line many times does not drive out others. */
	if (!strstr(j->said, text) && end + length + 2 <= sizeof(j->said))
		sprintf(j->said + end, "%s\n", text);
	pthread_mutex_unlock(&j->lock);
}

/* In this thread, which may wait for a terminal. */
static void pass_messages(struct job *j)
{
	char text[sizeof(j->said)], *line, *rest = text;

	pthread_mutex_lock(&j->lock);
	memcpy(text, j->said, sizeof(text));
	j->said[0] = '\0';
	pthread_mutex_unlock(&j->lock);
	while ((line = strsep(&rest, "\n")))
		if (*line)
			tool_warn("%s", line);
	tool_say_warnings();
}

/* ------------------------------------------------------------- what is where */

/* A block by its name, or by where it would be in a file of all of them. */
static int find_block(const struct job *j, const struct mapping *m)
{
	const struct facts *f = &j->r->facts;
	uint64_t at = 0;
	int i;

	for (i = 0; i < f->count; i++) {
		const struct mram_block_info *b = &f->blocks[i];

		if (m->name ? !strcmp(m->name, b->name) :
			      m->offset == at && m->size == b->length)
			break;
		at += b->length;
	}
	if (i == f->count && m->name)
		tool_fail("%s has no block '%s', which %s asks for",
			  j->r->image, m->name, j->r->lazy);
	else if (i == f->count)
		tool_fail("%s has no block of %llu bytes at offset %llu, which %s asks for",
			  j->r->image, (unsigned long long)m->size,
			  (unsigned long long)m->offset, j->r->lazy);
	else if (m->name && m->offset && m->offset != at)
		tool_fail("block '%s': %s asks for it from offset %llu on: only whole blocks can be had",
			  m->name, j->r->lazy, (unsigned long long)m->offset);
	else
		return i;
	return -1;
}

static int add_all(struct job *j)
{
	size_t i;
	int ret, block;

	for (i = 0; i < j->peer.nr_maps; i++) {
		const struct mapping *m = &j->peer.maps[i];
		struct mram_restore_lazy_block_opts o =
			MRAM_OPTS(mram_restore_lazy_block_opts,
				  .page_size = m->page_size);

		block = find_block(j, m);
		if (block < 0)
			return TOOL_FAILED;
		ret = mram_restore_lazy_add_uffd(j->lazy, block, j->peer.uffd,
						 m->addr, m->size, &o, &j->err);
		if (ret)
			return tool_fail_library(j->r->image, ret, &j->err);
	}
	return 0;
}

static int open_lazy(struct job *j)
{
	const struct restore *r = j->r;
	struct mram_restore_lazy_opts o = MRAM_OPTS(mram_restore_lazy_opts,
		.max_extent = r->opts.max_extent,
		.fault_around = r->fault_around,
		.record = r->record,
		.working_set = r->working_set,
		.message = on_message,
		.data = j);
	struct mram_error err = { 0 };
	int ret;

	ret = mram_restore_lazy_open(&j->lazy, r->facts.image, &o, &err);
	return ret ? tool_fail_library(r->image, ret, &err) : 0;
}

/* ----------------------------------------------------------------- the end */

static int print_json(const struct job *j,
		      const struct mram_restore_lazy_stats *s)
{
	json_object *o = json_object_new_object();

	if (o && json_add_number(o, "blocks", j->peer.nr_maps) &&
	    json_add_number(o, "pages", s->pages) &&
	    json_add_number(o, "read", s->read) &&
	    json_add_number(o, "streamed", s->read - s->fault_pages) &&
	    json_add_number(o, "fault_pages", s->fault_pages) &&
	    json_add_number(o, "faults", s->faults) &&
	    json_add_number(o, "zero", s->zero) &&
	    json_add_number(o, "discarded", s->discarded) &&
	    json_add_number(o, "existed", s->existed) &&
	    json_add_number(o, "failed", s->failed) &&
	    json_add_number(o, "working_set", s->working_set) &&
	    json_add_number(o, "ios", s->ios) &&
	    json_add_number(o, "bytes", s->bytes) &&
	    json_add_number(o, "nsec", s->nsec))
		return json_print(o);
	json_object_put(o);
	return json_print(NULL);
}

static int print(const struct job *j, const struct mram_restore_lazy_stats *s)
{
	printf("%zu of %d blocks restored: %llu pages read, of which %llu for %llu faults; %llu zero, %llu I/Os, %s, %.2f s\n",
	       j->peer.nr_maps, j->r->facts.count,
	       (unsigned long long)s->read,
	       (unsigned long long)s->fault_pages,
	       (unsigned long long)s->faults, (unsigned long long)s->zero,
	       (unsigned long long)s->ios, tool_format_size(s->bytes).text,
	       tool_seconds(s->nsec));
	if (s->flags & MRAM_LAZY_STATS_WORKING_SET)
		printf("%llu pages of the working set came first\n",
		       (unsigned long long)s->working_set);
	return 0;
}

/* Why it failed, for people; @j->err goes to the peer. */
static int failed(struct job *j, int code)
{
	if (code == -ECANCELED && cleanup_interrupted()) {
		snprintf(j->err.message, sizeof(j->err.message), "interrupted");
		return tool_fail("interrupted; the memory of the virtual machine is incomplete, and it cannot go on");
	}
	if (code == -ESRCH && j->peer.pid > 0)
		return tool_fail("%s: the virtual machine (process %d) has gone before all its memory was there",
				 j->r->lazy, (int)j->peer.pid);
	if (code == -ESRCH)
		return tool_fail("%s: the virtual machine has gone before all its memory was there",
				 j->r->lazy);
	return tool_fail_library(j->r->image, code, &j->err);
}

/* Returns 0, -ECANCELED, or what the library says. */
static int await_all(struct job *j, struct mram_restore_lazy_stats *s)
{
	uint64_t all;
	int ret;

	mram_restore_lazy_stats(j->lazy, s);
	all = s->read + s->left;
	progress_start("restoring", all, all * REGION_PAGE_SIZE);
	do {
		ret = mram_restore_lazy_wait(j->lazy, SLICE_MSEC, &j->err);
		pass_messages(j);
		mram_restore_lazy_stats(j->lazy, s);
		progress_update(all > s->left ? all - s->left : 0);
		if (ret == -ETIMEDOUT && cleanup_interrupted()) {
			mram_restore_lazy_cancel(j->lazy);
			ret = -ECANCELED;
		}
	} while (ret == -ETIMEDOUT);
	if (!ret)
		ret = mram_restore_lazy_finish(j->lazy, s, &j->err);
	progress_end();
	pass_messages(j);
	return ret;
}

static int serve(struct job *j)
{
	struct mram_restore_lazy_stats s = { .size = sizeof(s) };
	int ret;

	if (peer_listen(&j->peer, j->r->lazy) || add_all(j))
		return TOOL_FAILED;
	ret = mram_restore_lazy_start(j->lazy, &j->err);
	if (!ret)
		ret = await_all(j, &s);
	if (ret)
		return failed(j, ret);
	peer_tell(&j->peer, NULL);
	return j->r->json ? print_json(j, &s) : print(j, &s);
}

int restore_lazy(struct restore *r)
{
	struct job j = {
		.r = r,
		.peer = PEER,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int ret;

	ret = open_lazy(&j);
	if (!ret)
		ret = peer_accept(&j.peer, r->lazy);
	if (!ret)
		ret = serve(&j);
	if (ret)
		peer_tell(&j.peer, j.err.message[0] ? j.err.message :
			  "the memory is not accepted");
	mram_restore_lazy_close(j.lazy);
	peer_close(&j.peer);
	return ret;
}
