/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The number of a node that a repair writes where no journal entry is left. What such a repair goes
 * by is what a search finds, and while its own entry is not written the search finds its new nodes,
 * too: they are told from all others by a number that follows from the pointer. A kernel takes any
 * number but 0, gives random ones itself, and keeps a node's own when it appends to it. kernel:
 * bch_btree_node_read_done(), bch_bset_init_next().
 */
#ifndef CODEC_NODE_SEQ_H
#define CODEC_NODE_SEQ_H

#include <bcfmt/node.h>

/* Never 0. */
uint64_t node_seq_of_search(const struct bcfmt_geometry *geo, uint64_t ptr);
/* It has this number, and is as it was written: nothing was appended to it since. */
bool node_is_of_search(const struct bcfmt_geometry *geo, const struct bcfmt_node *node,
		       uint64_t ptr);

#endif
