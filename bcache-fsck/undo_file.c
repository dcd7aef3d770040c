/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The undo file of a repair: its name, what goes into it, what is said of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bcfmt/uuid.h>

#include "cli/message.h"
#include "cli/progress.h"
#include "repair.h"

#define UNDO_DIR "/var/lib/bcache-fsck"
#define UNDO_DIR_VARIABLE "BCACHE_FSCK_UNDO_DIR"

/* After the set and the time, so that names sort by age and none is used twice. */
static char *default_path(const struct repair *repair)
{
	const struct bcfmt_set *set = bcfmt_repair_set(repair->run);
	const struct bcfmt_member *member = set->has_cache ? &set->cache : set->backing;
	const char *dir = getenv(UNDO_DIR_VARIABLE);
	char uuid[BCFMT_UUID_TEXT_BYTES], when[32];
	time_t now = time(NULL);
	struct tm utc;
	char *path;

	/* Only what is ours is made; a folder that was named must be there. */
	if (!dir || !*dir) {
		dir = UNDO_DIR;
		if (mkdir(dir, 0700) && errno != EEXIST)
			cli_error(dir, "cannot be made: %s", strerror(errno));
	}
	bcfmt_uuid_text(member->super.set_uuid, uuid);
	if (!gmtime_r(&now, &utc) || !strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &utc) ||
	    asprintf(&path, "%s/%s-%s.undo", dir, uuid, when) < 0)
		return NULL;
	return path;
}

static int no_undo(struct repair *repair, bcfmt_err err)
{
	cli_progress_clear();
	repair->is_undo_failed = true;
	if (err == BCFMT_E_CANCELLED)
		return fsck_told(repair->ctx, err, "nothing is written");
	cli_error_ctx(NULL, repair->ctx, err);
	cli_error(NULL, "nothing is repaired without an undo file: name one with --undo-file, or "
			"say --undo-file none");
	return FSCK_OPERATIONAL;
}

int undo_file_open(struct repair *repair)
{
	const char *wanted = repair->options->undo_file;
	bcfmt_err err;

	if (repair->undo || repair->options->copy_to || (wanted && !strcmp(wanted, "none")))
		return FSCK_CLEAN;
	repair->undo_path = wanted ? strdup(wanted) : default_path(repair);
	if (!repair->undo_path) {
		cli_error(NULL, "out of memory");
		return FSCK_OPERATIONAL;
	}
	err = bcfmt_undo_create(repair->ctx, repair->undo_path, "bcache-fsck", &repair->undo);
	return err ? no_undo(repair, err) : FSCK_CLEAN;
}

int undo_file_make(struct repair *repair)
{
	bool is_new = !repair->undo;
	int bits = undo_file_open(repair);
	bcfmt_err err;

	if (bits || !repair->undo)
		return bits;
	err = bcfmt_repair_save(repair->run, repair->undo);
	cli_progress_clear();
	if (!err)
		return FSCK_CLEAN;
	/* Nothing was written to a device yet: half an undo file is of no use to anybody. */
	if (is_new)
		unlink(repair->undo_path);
	return no_undo(repair, err);
}

int undo_file_close(struct repair *repair, bool is_failed)
{
	bcfmt_err err;

	if (!repair->undo)
		return FSCK_CLEAN;
	if (is_failed) {
		cli_error(NULL, "what was overwritten is in %s: bcache-fsck --undo %s DEVICE...",
			  repair->undo_path, repair->undo_path);
		return FSCK_CLEAN;
	}
	err = bcfmt_undo_finish(repair->undo);
	if (err)
		return fsck_told(repair->ctx, err, "");
	if (!repair->options->is_quiet)
		bcfmt_out_line(repair->out, "what was overwritten is in %s", repair->undo_path);
	return FSCK_CLEAN;
}

void undo_file_free(struct repair *repair)
{
	bcfmt_undo_free(repair->undo);
	free(repair->undo_path);
	repair->undo = NULL;
	repair->undo_path = NULL;
}
