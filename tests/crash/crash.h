/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What has to hold in each of the states that a power cut could have left. */
#ifndef CRASH_CRASH_H
#define CRASH_CRASH_H

#include <bcfmt/dev.h>
#include <bcfmt/set.h>

#include "kit/states.h"

/* Where each sector of the volume comes from. */
struct volume {
	uint64_t *ptr; /* pointer word for this very sector; 0: the backing device has it */
	uint64_t sectors;
	uint64_t data_offset_sectors;
	uint64_t dirty_sectors;
	uint32_t inode;
	/* Sectors of the inode that a key of any valid entry in the ring covers, by place. */
	struct bcfmt_key *journal_keys;
	size_t n_journal_keys;
	size_t journal_keys_cap;
};
bool volume_new(struct volume *volume, uint64_t backing_bytes, uint64_t data_offset_sectors);
void volume_free(struct volume *volume);
/* Resolves what set, which has been checked, holds for inode. False: the fault tells. */
bool volume_read(struct volume *volume, struct bcfmt_set *set, uint32_t inode);

struct difference {
	uint64_t compared; /* sectors of the volume */
	uint64_t read;	   /* of these, because place or contents could differ */
	uint64_t differ;
	uint64_t wrong; /* differ though a journal entry holds the key */
	uint64_t first_wrong_sector;
};
/*
 * Compares what two states read. is_changed tells which sectors of the cache may differ between
 * the two at all. A sector may read otherwise only under keys that no entry of either ring holds.
 */
bool volume_compare(const struct volume *a, struct bcfmt_dev *a_cache, const struct volume *b,
		    struct bcfmt_dev *b_cache, struct bcfmt_dev *backing, const uint8_t *is_changed,
		    struct difference *out);

#endif
