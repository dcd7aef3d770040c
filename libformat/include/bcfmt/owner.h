/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose an inode was, as older uuid tables that are still on the cache tell. */
#ifndef BCFMT_OWNER_H
#define BCFMT_OWNER_H

#include <bcfmt/base.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

enum bcfmt_owner_proof {
	BCFMT_OWNER_UNKNOWN, /* no older table names a device that is known */
	BCFMT_OWNER_PROVED,
	BCFMT_OWNER_CONTRADICTED, /* they name several */
};

struct bcfmt_owner {
	enum bcfmt_owner_proof proof;
	uint8_t uuid[BCFMT_UUID_BYTES]; /* of the newest table that names one */
	uint64_t seq;			/* of the newest entry that names that table */
	uint64_t bucket;		/* of the table */
};

/*
 * Looks through the tables that entries older than the newest name, where the ring holds one
 * history. owners has set->n_uuids entries; those of slots that are live now stay UNKNOWN. A table
 * has no checksum and its bucket may hold something else by now. What proves is that it has, in the
 * slot of the inode, the uuid of a backing device that was given or that the newest table has in
 * another slot: 16 bytes that nothing else has there. A kernel never uses a slot again, so that one
 * owner is all there can be. E_NOMEM, E_CANCELLED; what cannot be read proves nothing. kernel:
 * uuid_find_empty(), bch_cached_dev_attach().
 */
BCFMT_API bcfmt_err bcfmt_owners_find(const struct bcfmt_set *set, struct bcfmt_owner *owners);

BCFMT_END_DECLS

#endif
