/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What else is shown of a set that was checked: its volumes, what was there before, the report. */
#ifndef FUZZ_CHECK_VIEWS_H
#define FUZZ_CHECK_VIEWS_H

#include <bcfmt/check.h>
#include <bcfmt/tree.h>

/*
 * Reads volumes, follows the history of inodes, looks for owners and draws the page, and asserts
 * what exports, mounts and reports rely on. print is a checksum of what volumes hold and of their
 * history: with the same devices it is always the same.
 */
bcfmt_err check_views(struct bcfmt_set *set, const struct bcfmt_report *report,
		      const struct bcfmt_verdict *verdict, struct bcfmt_tree *tree,
		      uint64_t *print);

#endif
