/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of devices and volumes whose newest data is lost, or may not be the newest. */
#ifndef BCFMT_LOSS_H
#define BCFMT_LOSS_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/tree.h>

BCFMT_BEGIN_DECLS

/* What happened to a range, the worse first. */
enum bcfmt_loss {
	BCFMT_LOSS_STALE,      /* lost: dirty data whose bucket was handed out again */
	BCFMT_LOSS_UNREADABLE, /* lost: dirty data that the cache cannot read */
	BCFMT_LOSS_PLACE,      /* lost: dirty data at a place that cannot be */
	BCFMT_LOSS_NODE,       /* doubtful: a node that may tell of newer data is damaged or gone */
	BCFMT_LOSS_ORDER,      /* doubtful: its leaf is out of order */
	BCFMT_LOSS_JOURNAL,    /* doubtful: an entry to replay that may tell of it is gone */
	BCFMT_LOSS_TWICE,      /* doubtful: other data has the same place on the cache */
};
#define BCFMT_LOSS_KINDS 7u
/* "stale", "unreadable", "place", "node", "order", "journal", "twice"; static. */
BCFMT_API const char *bcfmt_loss_name(enum bcfmt_loss kind);
static inline bool bcfmt_loss_is_lost(enum bcfmt_loss kind)
{
	return kind <= BCFMT_LOSS_PLACE;
}

/*
 * A collection of such ranges. Memory follows the limit of the context, not their number. Adding is
 * thread-safe; it ends with bcfmt_losses_finish(). Freed with bcfmt_losses_free().
 */
struct bcfmt_losses;

BCFMT_API bcfmt_err bcfmt_losses_new(struct bcfmt_ctx *ctx, struct bcfmt_losses **out);
BCFMT_API void bcfmt_losses_free(struct bcfmt_losses *losses); /* NULL is fine */

/* The positions [lo, hi) in the order of keys, over as many inodes as there are in between. */
BCFMT_API bcfmt_err bcfmt_losses_add(struct bcfmt_losses *losses, enum bcfmt_loss kind,
				     struct bcfmt_pos lo, struct bcfmt_pos hi);

/*
 * What the callbacks of a walk say, see struct bcfmt_tree_visitor: a child that is one of two for
 * its range, or does not say what was freed, while the tree is opened; the place of these once it
 * is, and where entries to replay are missing all of which those behind them do not tell; then
 * leaves. Of all other children that are not followed the leaves tell, see doubts in
 * struct bcfmt_node_view.
 */
BCFMT_API bcfmt_err bcfmt_losses_child(struct bcfmt_losses *losses,
				       const struct bcfmt_node_ref *parent,
				       const struct bcfmt_key *key);
BCFMT_API bcfmt_err bcfmt_losses_tree(struct bcfmt_losses *losses, const struct bcfmt_tree *tree);
BCFMT_API bcfmt_err bcfmt_losses_leaf(struct bcfmt_losses *losses, const struct bcfmt_set *set,
				      const struct bcfmt_node_view *view,
				      const struct bcfmt_extent *extents, size_t n_extents);
/* Forgets what leaves said: they are walked once more. */
BCFMT_API bcfmt_err bcfmt_losses_forget_leaves(struct bcfmt_losses *losses);

/* Sorts what was added; no adding afterwards. */
BCFMT_API bcfmt_err bcfmt_losses_finish(struct bcfmt_losses *losses);

/* A range of one inode, sectors as keys count them: from the start of the backing device. */
struct bcfmt_loss_range {
	uint64_t start_sector;
	uint64_t end_sector;
	bool is_lost;
};
typedef bcfmt_err (*bcfmt_loss_fn)(void *arg, const struct bcfmt_loss_range *range);
/*
 * Calls fn for what of [start_sector, end_sector) of the inode is lost or doubtful: ranges in
 * ascending order that do not overlap, lost where both were said, neighbours of one sort joined.
 * What fn returns, if not OK, ends it. Not thread-safe.
 */
BCFMT_API bcfmt_err bcfmt_losses_each(struct bcfmt_losses *losses, uint32_t inode,
				      uint64_t start_sector, uint64_t end_sector, bcfmt_loss_fn fn,
				      void *arg);
/* Anything at all, of any inode. */
BCFMT_API bool bcfmt_losses_has_any(const struct bcfmt_losses *losses);

BCFMT_END_DECLS

#endif
