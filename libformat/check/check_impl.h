/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the passes of a check share. */
#ifndef CHECK_CHECK_IMPL_H
#define CHECK_CHECK_IMPL_H

#include <pthread.h>

#include <bcfmt/check.h>
#include <bcfmt/loss.h>
#include <bcfmt/tree.h>

#include "base/checked.h"
#include "check/used.h"

/* What the extents of one inode add up to. */
struct inode_use {
	uint64_t dirty_sectors;
	uint64_t dirty_begin_sector; /* of the first dirty extent, and where the last one ends */
	uint64_t dirty_end_sector;
	uint64_t redirtied_sectors;
	uint64_t clean_sectors;
	uint64_t lost_sectors;
	uint64_t invalid_sectors; /* dirty, at impossible places: known from nodes, not extents */
};

#define CHECK_INODE_BYTES ((BCFMT_KEY_MAX_INODE + 1) / 8)

struct check {
	struct bcfmt_ctx *ctx;
	struct bcfmt_set *set;
	const struct bcfmt_check_params *params;
	struct bcfmt_report *report;
	struct bcfmt_verdict *verdict;
	struct bcfmt_tree *tree; /* after the tree pass; NULL without geometry */

	pthread_mutex_t lock;         /* of everything below while leaves are walked */
	struct inode_use *inodes;     /* set->n_uuids */
	struct inode_use beyond;      /* inodes past the table */
	uint64_t beyond_keys;
	uint32_t beyond_first_inode;
	uint8_t *beyond_dirty;        /* a bit for every inode there can be */
	struct used *used;            /* places of the extents; thread-safe by itself */
	uint64_t extents;
	uint64_t read_bytes;
	bool is_doubtful;             /* a leaf is damaged, missing or out of order */
	bool has_lost_keys;           /* a leaf lacks its end, by the gens of this walk */
	bool has_unknown;             /* a backing device that may be in the table under another uuid */
	const struct bcfmt_member *disguised; /* a backing device that is a cache; NULL: none */
	struct predict *predict;      /* what a kernel would stumble over */
	uint8_t on_cache[1000];       /* by problem number: found on the cache device itself */
};

/* Adds a finding; arguments are struct bcfmt_arg. */
#define CHECK_REPORT(ck, id, where, ...)                                                     \
	check_report(ck, BCFMT_P_##id, where,                                                \
		     sizeof((const struct bcfmt_arg[]){ __VA_ARGS__ }) /                     \
			     sizeof(struct bcfmt_arg),                                       \
		     (const struct bcfmt_arg[]){ __VA_ARGS__ })
#define CHECK_REPORT_PLAIN(ck, id, where) check_report(ck, BCFMT_P_##id, where, 0, NULL)
bcfmt_err check_report(struct check *ck, enum bcfmt_problem_id id, const struct bcfmt_where *where,
		       size_t n_args, const struct bcfmt_arg *args);

/* Before anything can be lost; where leaves are not walked nothing is told of any. */
bcfmt_err check_begin_losses(struct check *ck);
/* These sectors of an inode are lost or doubtful. Nothing at level quick. */
bcfmt_err check_loss(struct check *ck, enum bcfmt_loss kind, uint32_t inode, uint64_t start_sector,
		     uint64_t end_sector);
/* The same of what a key covers, which may be any nonsense. */
bcfmt_err check_loss_key(struct check *ck, enum bcfmt_loss kind, const struct bcfmt_key *key);
/*
 * Of an impossible extent in a node or in an entry that is replayed. Dirty data at a place that
 * cannot be is lost, unless a later key covers it: nobody can tell.
 */
bcfmt_err check_invalid_extent(struct check *ck, const struct bcfmt_key *key);

/* A place on the cache device. */
struct bcfmt_where check_where(const struct check *ck, const char *structure);
struct bcfmt_where check_where_bucket(const struct check *ck, const char *structure,
				      uint64_t bucket);
/* The key's pointer is to another member, or to none that there can be; not a placeholder. */
static inline bool check_is_elsewhere(const struct bcfmt_geometry *geo, const struct bcfmt_key *key)
{
	return bcfmt_key_ptr_count(key) && !bcfmt_key_is_placeholder(key) &&
	       bcfmt_ptr_dev(key->ptr) != geo->nr_this_dev;
}
/*
 * A node smaller than what every kernel gives it. A power of two within the bucket works in all of
 * them; of buckets that are not larger than every kernel's meta bucket the size was always the same.
 */
static inline bool check_is_cut_short(const struct bcfmt_geometry *geo,
				      const struct bcfmt_node_ref *ref)
{
	return ref->sectors < geo->node_sectors && ref->sectors >= geo->block_sectors &&
	       is_pow2(ref->sectors) &&
	       (uint64_t)geo->bucket_sectors * BCFMT_SECTOR_BYTES <=
		       bcfmt_geometry_meta_bytes(geo->bucket_sectors, 4096);
}
/* "journal", "prios", "uuid table", "btree", "superblock": whose bucket it is; static. */
const char *check_owner(unsigned int use);
/* "inode:start len n" or "inode:sector"; out holds 64 bytes. */
const char *check_range_text(char out[64], uint32_t inode, uint64_t start_sector,
			     uint64_t sectors);
const char *check_pos_text(char out[64], struct bcfmt_pos pos);

/* Whether the superblock of the cache, which a kernel takes, agrees with what lies behind it. */
bcfmt_err check_super_layout(struct check *ck);

/* The passes; each file tells what its pass checks, needs and fills. */
bcfmt_err pass_super(struct check *ck);
bcfmt_err pass_journal(struct check *ck);
bcfmt_err pass_tables(struct check *ck);
bcfmt_err pass_tree(struct check *ck);
/* The search for sectors used twice. */
bcfmt_err check_twice(struct check *ck);
bcfmt_err pass_buckets(struct check *ck);
bcfmt_err pass_backing(struct check *ck);
bcfmt_err pass_data(struct check *ck);
bcfmt_err pass_verdict(struct check *ck);

/* Callbacks of the tree pass for one node and for the final extents of one leaf. */
bcfmt_err check_node(void *arg, const struct bcfmt_node_view *view);
/* For a later walk over leaves: tells of one only when it could be read before. */
bcfmt_err check_node_again(void *arg, const struct bcfmt_node_view *view);
bcfmt_err check_leaf(void *arg, const struct bcfmt_node_view *view,
		     const struct bcfmt_extent *extents, size_t n_extents);
bcfmt_err check_plain(void *arg, const struct bcfmt_node_view *view);

#endif
