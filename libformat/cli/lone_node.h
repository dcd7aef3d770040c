/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading one node by itself, whether a pointer leads to it or not. */
#ifndef CLI_LONE_NODE_H
#define CLI_LONE_NODE_H

#include <bcfmt/tree.h>

/* Zero it to start; freed with lone_node_clear(). */
struct lone_node {
	uint8_t *buf;
	size_t buf_bytes;
	struct bcfmt_node node;
};

/* Reads the node of ref; the view is valid until the next call, its counters are 0. E_NOMEM. */
bcfmt_err lone_node_read(struct lone_node *lone, const struct bcfmt_set *set,
			 const struct bcfmt_node_ref *ref, struct bcfmt_node_view *view);
/*
 * Makes a ref for a node that nothing points to: of the default size, and with the generation
 * that its checksum proves. is_found tells whether there is such a node.
 */
bcfmt_err lone_node_guess(struct lone_node *lone, const struct bcfmt_set *set, uint64_t bucket,
			  struct bcfmt_node_ref *ref, bool *is_found);
void lone_node_clear(struct lone_node *lone);

#endif
