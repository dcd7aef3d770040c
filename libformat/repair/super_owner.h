/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which slot of a cache's uuid table a backing device without a superblock belongs to. */
#ifndef REPAIR_SUPER_OWNER_H
#define REPAIR_SUPER_OWNER_H

#include <bcfmt/probe.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#define OWNERS_MAX 64u

/* A slot that the device could have, and what the cache holds for it. */
struct owner {
	uint32_t inode;
	const struct bcfmt_uuid_entry *entry; /* of the set */
	bool has_extents;
	uint64_t first_sector; /* of all that is valid */
	uint64_t end_sector;
	uint64_t dirty_sectors;
	uint64_t equal_sectors; /* clean ones that are the same on the device; zeros do not count */
	uint64_t other_sectors;
};

struct owners {
	struct bcfmt_set *set;	 /* the cache alone */
	struct bcfmt_tree *tree; /* gens final */
	struct bcfmt_dev *dev;	 /* the backing device */
	struct owner items[OWNERS_MAX];
	size_t n;
	bool is_capped; /* more slots than that */
};

/*
 * Opens the cache and looks at every live slot that is no flash-only volume and has no uuid of
 * those given (16 bytes each). END when the cache cannot be read by its superblock. E_NOMEM,
 * E_CANCELLED. Freed with owners_free(), after an error too.
 */
bcfmt_err owners_find(struct bcfmt_ctx *ctx, struct bcfmt_dev *cache, struct bcfmt_dev *dev,
		      const uint8_t (*taken)[BCFMT_UUID_BYTES], size_t n_taken, struct owners *out);
void owners_free(struct owners *owners);
/* Fills what the cache holds for owner->inode. Of owners set, tree and dev are used. E_NOMEM. */
bcfmt_err owner_look(const struct owners *owners, struct owner *owner);

/* What is equal on cache and device is no accident. */
bool owner_is_proved(const struct owner *owner);
/* It cannot be this device: it is too short, or holds something else where it should be equal. */
bool owner_is_excluded(const struct owners *owners, const struct owner *owner);

/*
 * What libblkid finds in the volume if its data begins at offset_sector: the head of the device
 * with what the cache holds of it laid over. owner may be NULL: of the device alone. E_NOMEM,
 * E_CANCELLED; nothing is found where the device cannot be read.
 */
bcfmt_err owners_signature(struct bcfmt_ctx *ctx, const struct owners *owners,
			   const struct owner *owner, struct bcfmt_dev *dev, uint64_t offset_sector,
			   struct bcfmt_signature *found, bool *is_found);

#endif
