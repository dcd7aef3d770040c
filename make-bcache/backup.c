/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --backup: what is overwritten goes to an undo file first. */
#include "backup.h"

#include <stdlib.h>
#include <unistd.h>

#include <bcfmt/undo.h>

#include "cli/message.h"
#include "cli/progress.h"

struct backup {
	const char *path; /* borrowed */
	struct bcfmt_undo *undo;
};

bcfmt_err backup_save(const struct make_run *run, struct backup **out)
{
	const char *path = run->options->backup;
	bool is_made = false;
	bcfmt_err err;

	*out = NULL;
	if (!path)
		return BCFMT_OK;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return bcfmt_fail(run->ctx, BCFMT_E_NOMEM, "out of memory");
	(*out)->path = path;
	err = bcfmt_undo_create(run->ctx, path, "make-bcache", &(*out)->undo);
	is_made = !err;
	if (!err)
		err = bcfmt_make_save(run->plan, (*out)->undo);
	cli_progress_clear();
	if (!err)
		return BCFMT_OK;
	/* Nothing was written to a device yet: half a backup is of no use to anybody. */
	if (is_made)
		unlink(path);
	backup_close(*out);
	*out = NULL;
	return err;
}

bcfmt_err backup_finish(struct backup *backup)
{
	return backup ? bcfmt_undo_finish(backup->undo) : BCFMT_OK;
}

void backup_tell(const struct backup *backup)
{
	if (backup)
		cli_error(NULL, "what was overwritten is in %s: bcache-fsck --undo %s DEVICE...",
			  backup->path, backup->path);
}

void backup_close(struct backup *backup)
{
	if (!backup)
		return;
	bcfmt_undo_free(backup->undo);
	free(backup);
}
