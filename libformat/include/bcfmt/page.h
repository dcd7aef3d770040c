/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A check of a set as one HTML page that needs nothing else: no network, no script, no other file. */
#ifndef BCFMT_PAGE_H
#define BCFMT_PAGE_H

#include <bcfmt/base.h>
#include <bcfmt/check.h>
#include <bcfmt/map.h>
#include <bcfmt/problem.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

/* So much of it is in the page; the rest is counted there. */
#define BCFMT_PAGE_FINDINGS 20u /* of one problem */
#define BCFMT_PAGE_FINDINGS_ALL 400u
#define BCFMT_PAGE_NODES 12u
#define BCFMT_PAGE_NODE_LINES 160u
#define BCFMT_PAGE_MEMBERS 32u

struct bcfmt_page_node {
	uint64_t bucket;
	unsigned int level;
	bool is_in_tree;
	const char *text; /* what bcfmt_render_node_dump() prints */
};

/* A name and what stands behind it: a file of a bundle, a version. */
struct bcfmt_page_row {
	const char *name;
	const char *value;
};

/* All of it is borrowed. */
struct bcfmt_page {
	const struct bcfmt_set *set;
	const struct bcfmt_report *report; /* finished */
	const struct bcfmt_verdict *verdict;
	const struct bcfmt_map *map;	     /* NULL: there is none */
	const struct bcfmt_page_node *nodes; /* damaged ones, worth looking at first */
	size_t n_nodes;			     /* at most BCFMT_PAGE_NODES are shown */
	uint64_t all_nodes;		     /* as many there are */
	const struct bcfmt_page_row *versions;
	size_t n_versions;
	const struct bcfmt_page_row *files;
	size_t n_files;
	bool is_scrubbed;
};

/*
 * Writes the page to stream, a FILE *. Every string is escaped, from wherever it comes. In a node the
 * lines of bad keys are marked, and some lines around them shown. At most 2 MiB. E_IO, E_NOMEM.
 */
BCFMT_API bcfmt_err bcfmt_render_page(struct bcfmt_ctx *ctx, void *stream,
				      const struct bcfmt_page *page);

BCFMT_END_DECLS

#endif
