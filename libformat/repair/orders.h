/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Orders of a repair while it is done. */
#ifndef REPAIR_ORDERS_H
#define REPAIR_ORDERS_H

#include "repair/repair_impl.h"

struct order_inode {
	const struct bcfmt_home_done *done; /* NULL: nothing of it was brought home */
	bool is_moved;			    /* its keys go to another inode */
	bool is_without_clean;		    /* clean keys can be older than what the device holds */
};

struct order_member {
	bool has_state;
	enum bcfmt_bdev_state state;
	bool is_attached; /* gets the set's uuid */
	bool is_freed;	  /* loses it */
};

/* An inode that takes the keys of others, where it and newer ones of them have none. */
struct order_target {
	uint32_t inode;
	uint32_t *sources; /* the newest first */
	size_t n_sources;
};

struct orders {
	const struct bcfmt_set *set;
	struct bcfmt_uuid_entry *uuids; /* the new table */
	struct order_inode *inodes;	/* set->n_uuids */
	struct order_member *members;	/* set->n_backing */
	struct order_target *targets;	/* by inode */
	size_t n_targets;
	bool wants_rewrite;
	bool has_detached;
};

/* The merge of a rewrite, arg the orders. */
bcfmt_err orders_merge(void *arg, struct bcfmt_tree *tree, const struct bcfmt_node_ref *ref,
		       const struct bcfmt_extent *extents, size_t n_extents, emit_fn emit,
		       void *emit_arg);

#endif
