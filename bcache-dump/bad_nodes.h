/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The nodes that findings name, as a kernel would dump them. */
#ifndef BAD_NODES_H
#define BAD_NODES_H

#include <stdio.h>

#include <bcfmt/page.h>

/* So many are dumped in full. */
#define BAD_NODES_DUMPED 64u

struct bad_nodes {
	struct bcfmt_page_node nodes[BCFMT_PAGE_NODES]; /* the first ones, with their text */
	size_t n_nodes;
	uint64_t all;
	uint64_t unreadable; /* of those that are dumped */
};

/*
 * Dumps the nodes of set that a finding of report is about and that is worse than waste, to stream
 * and in part into *out, which is zero before and freed with bad_nodes_clear(). The set may have been
 * walked.
 */
bcfmt_err bad_nodes_dump(struct bcfmt_set *set, const struct bcfmt_report *report, FILE *stream,
			 struct bad_nodes *out);
void bad_nodes_clear(struct bad_nodes *bad);

#endif
