/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the write floor share: rules for what is written, and whole nodes. */
#ifndef WRITE_WRITE_IMPL_H
#define WRITE_WRITE_IMPL_H

#include <bcfmt/write.h>

/* The bucket can hold a node, a table or data: not the superblock's, not of the journal. */
bool write_bucket_is_usable(const struct bcfmt_geometry *geo, uint64_t bucket);

/* The first of the faults (enum bcfmt_super_fault) in words; static text, NULL without any. */
const char *write_super_refusal(uint32_t faults);
/* Why a leaf or the journal must not get the key; static text, NULL when it may. */
const char *write_leaf_key_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_key *key);
/* The same for a pointer to a node: child, root. */
const char *write_node_key_refusal(const struct bcfmt_geometry *geo, const struct bcfmt_key *key);
/* E_ARG with a fault that names device, key and reason. */
bcfmt_err write_fail_key(const struct bcfmt_target *target, const struct bcfmt_key *key,
			 const char *why);
/* E_DAMAGED: what was encoded does not decode to the same, a fault of this library. */
bcfmt_err write_fail_verify(const struct bcfmt_target *target, const char *structure,
			    uint64_t sector);

/*
 * A whole node from keys that lie encoded at buf + 32. buf has ref->sectors; all but the keys is
 * overwritten. scratch is zeroed or reused, and cleared by the caller. Rules: bcfmt_node_write().
 */
bcfmt_err write_node(const struct bcfmt_target *target, const struct bcfmt_node_ref *ref,
		     uint64_t seq, uint8_t *buf, uint32_t words, struct bcfmt_node *scratch);

#endif
