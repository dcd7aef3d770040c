/* SPDX-License-Identifier: GPL-2.0-or-later */
/* --backup: what is overwritten goes to an undo file first. */
#ifndef BACKUP_H
#define BACKUP_H

#include "make.h"

struct backup;

/*
 * Saves everything that the plan overwrites. *out is NULL without --backup. After an error no file
 * is left.
 */
bcfmt_err backup_save(const struct make_run *run, struct backup **out);
/* Puts the end mark on the file. All three take NULL. */
bcfmt_err backup_finish(struct backup *backup);
/* Says how what was overwritten comes back. */
void backup_tell(const struct backup *backup);
void backup_close(struct backup *backup);

#endif
