/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a check of the set says against a copy of a volume. */
#ifndef DOUBT_H
#define DOUBT_H

#include <bcfmt/loss.h>
#include <bcfmt/problem.h>

#include "walk.h"

/*
 * Checks the whole set; *report, finished, is freed with bcfmt_report_free(). Before walk_open():
 * both walk the tree of the set. What is lost or doubtful of it goes to *losses, freed with
 * bcfmt_losses_free(); NULL when there is no tree.
 */
bcfmt_err doubt_check(struct dump *d, struct bcfmt_report **report, struct bcfmt_losses **losses);
/*
 * Tells the findings that put in doubt what lies between walk->lo and walk->hi and that its walk
 * does not tell itself, with ranges; true when there are any.
 */
bool doubt_tell(const struct walk *walk, const struct bcfmt_report *report);

#endif
