// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * mapped-ram save --qmp: a running QEMU to an image. The library does the job;
 * here is what people see of it, and what becomes of the image's file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "lock.h"
#include "progress.h"
#include "region.h"
#include "save_qmp.h"
#include "save_report.h"
#include "target.h"
#include "tool.h"

struct job {
	struct save_qmp *cmd;
	const char *image;
	struct target target;
	struct save_report report;
	enum mram_qemu_phase phase;
	uint32_t pass;
	char verb[96];
};

/* A bar for each pass: its title says which one, and what makes it long. */
static void new_bar(struct job *j, const struct mram_qemu_progress *p)
{
	size_t length;

	progress_end();
	if (!p->total)
		return;
	if (p->phase == MRAM_QEMU_COMPARE)
		snprintf(j->verb, sizeof(j->verb), "comparing");
	else
		snprintf(j->verb, sizeof(j->verb), "pass %u%s", p->pass,
			 p->phase == MRAM_QEMU_LAST ? ", stopped" : "");
	length = strlen(j->verb);
	if (p->dirty_rate && p->phase == MRAM_QEMU_LIVE)
		snprintf(j->verb + length, sizeof(j->verb) - length,
			 ", dirtied %s/s",
			 tool_format_size(p->dirty_rate * REGION_PAGE_SIZE).text);
	progress_start(j->verb, p->total, p->total * REGION_PAGE_SIZE);
}

static int on_progress(void *data, const struct mram_qemu_progress *p)
{
	struct job *j = data;

	if (p->phase == MRAM_QEMU_BEGUN && !j->target.begun &&
	    target_begun(&j->target))
		return 1;
	if (p->phase != j->phase || p->pass != j->pass) {
		j->phase = p->phase;
		j->pass = p->pass;
		new_bar(j, p);
	} else {
		progress_update(p->done);
	}
	return cleanup_interrupted();
}

static void on_pass_done(void *data, const struct mram_qemu_pass *pass)
{
	struct job *j = data;

	report_add_pass(&j->report, pass);
}

/* A copy that shares the old image's data is made before anything is written. */
static int copy_base(struct job *j)
{
	struct mram_error err = { 0 };
	struct stat old, new;
	int ret;

	if (!stat(j->cmd->base, &old) && !stat(j->image, &new) &&
	    old.st_dev == new.st_dev && old.st_ino == new.st_ino)
		return tool_fail("%s is the base itself; --update works on the image itself",
				 j->image);
	if (lock_image(j->cmd->base, IMAGE_READ))
		return TOOL_FAILED;
	ret = target_begun(&j->target);
	if (ret)
		return tool_fail("%s: %s", j->image, strerror(-ret));
	ret = mram_image_clone(j->cmd->base, j->image, &err);
	if (!ret && cleanup_interrupted()) {
		ret = -ECANCELED;
		snprintf(err.message, sizeof(err.message), "interrupted");
	}
	if (!ret)
		return 0;
	target_abandon(&j->target, &err);
	return tool_fail_library(j->image, ret, &err);
}

static int check_base(const struct job *j)
{
	struct mram_image *img;
	struct mram_error err = { 0 };
	int ret;

	ret = mram_image_open(&img, j->cmd->base, &err);
	if (ret)
		return tool_fail_library(j->cmd->base, ret, &err);
	mram_image_close(img);
	return 0;
}

/* What can be known to be wrong is said before a file is made or changed. */
static int prepare(struct job *j, const struct mram_qemu *q, bool force)
{
	const struct regions none = { 0 };
	struct mram_error err = { 0 };
	struct stat st;
	int ret;

	ret = mram_qemu_check_image(q, j->image, &err);
	if (ret)
		return tool_fail_library(j->image, ret, &err);
	if (j->cmd->base && check_base(j))
		return TOOL_FAILED;
	if (j->cmd->opts.flags & MRAM_QEMU_UPDATE && stat(j->image, &st))
		return tool_fail("%s: %s; --update wants an image to update",
				 j->image, strerror(errno));
	if (target_check(&j->target, j->image, &none, force))
		return TOOL_FAILED;
	if (j->cmd->opts.flags & MRAM_QEMU_UPDATE && !j->target.held_image)
		return tool_fail("%s is no whole image; --update wants one to update",
				 j->image);
	if (j->cmd->base && copy_base(j))
		return TOOL_FAILED;
	if (j->cmd->base)
		j->cmd->opts.flags |= MRAM_QEMU_UPDATE;
	return cleanup_interrupted() ? tool_fail("interrupted") : 0;
}

static int save(struct job *j, struct mram_qemu *q)
{
	struct mram_qemu_save_stats stats = { .size = sizeof(stats) };
	struct mram_error err = { 0 };
	int ret;

	j->cmd->opts.progress = on_progress;
	j->cmd->opts.pass_done = on_pass_done;
	j->cmd->opts.data = j;
	/* Whatever comes, the machine has to run again before the tool ends. */
	cleanup_hold(true);
	ret = mram_qemu_save(q, j->image, &j->cmd->opts, &stats, &err);
	cleanup_hold(false);
	progress_end();
	if (!ret)
		return j->cmd->json ? report_json(&j->report, &stats) :
				      report_print(&j->report, q, &stats);
	target_abandon(&j->target, &err);
	if (ret == -ECANCELED && cleanup_interrupted())
		return tool_fail("interrupted; %s %s; %s", j->image,
				 j->target.begun || j->target.created ?
				 "holds no image" : "is as it was",
				 err.message);
	return tool_fail_library(j->image, ret, &err);
}

int save_qmp(struct save_qmp *cmd, const char *image, bool force)
{
	struct job j = { .cmd = cmd, .image = image, .report.image = image };
	struct mram_error err = { 0 };
	struct mram_qemu *q;
	int ret;

	ret = mram_qemu_open(&q, cmd->socket, &err);
	if (ret)
		return tool_fail_library(cmd->socket, ret, &err);
	ret = prepare(&j, q, force);
	if (!ret)
		ret = save(&j, q);
	mram_qemu_close(q);
	report_free(&j.report);
	return ret;
}
