/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Superblocks that are damaged, overwritten or gone, proposed anew from what the rest of the
 * devices proves. Nothing is written here.
 */
#ifndef REPAIR_SUPER_FIND_H
#define REPAIR_SUPER_FIND_H

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/super.h>

enum super_field {
	SUPER_FIELD_MAGIC,   /* magic and offset */
	SUPER_FIELD_VERSION, /* with the features, which go with it */
	SUPER_FIELD_UUID,
	SUPER_FIELD_SET_UUID,
	SUPER_FIELD_LABEL,
	SUPER_FIELD_FLAGS, /* cache: SYNC, discard, replacement; backing: the cache mode */
	SUPER_FIELD_STATE, /* backing: bits 61 and 62 of the flags */
	SUPER_FIELD_SEQ,
	SUPER_FIELD_NBUCKETS,
	SUPER_FIELD_DATA_OFFSET,
	SUPER_FIELD_BLOCK,
	SUPER_FIELD_BUCKET,
	SUPER_FIELD_MEMBER, /* nr_in_set and nr_this_dev */
	SUPER_FIELD_LAST_MOUNT,
	SUPER_FIELD_FIRST_BUCKET,
	SUPER_FIELD_JOURNAL, /* keys and the list of journal buckets */
	SUPER_FIELD_CSUM,    /* changed alone: all fields are right as they are */
	SUPER_FIELDS,
};

enum super_outcome {
	SUPER_SOUND,	/* nothing to change */
	SUPER_PROPOSED, /* super and raw are what should be there */
	SUPER_UNKNOWN,	/* no evidence, or two candidates are equally good: why tells */
	SUPER_FOREIGN,	/* no evidence, and the device holds something else: why names it */
};

#define SUPER_NOTE_BYTES 200u
/* What a changed field was derived from. */
struct super_note {
	enum super_field field;
	bool is_guess;	/* not proved: needs consent that names it */
	char value[64]; /* of the new superblock, with its unit */
	char text[SUPER_NOTE_BYTES];
};

struct super_proposal {
	enum super_outcome outcome;
	struct bcfmt_super super;	       /* SOUND: as it is; PROPOSED: as it should be */
	uint8_t raw[BCFMT_SUPER_BYTES];	       /* the same, for offset BCFMT_SUPER_OFFSET_BYTES */
	uint32_t changed;		       /* bits 1 << enum super_field */
	uint32_t guessed;		       /* those of changed that are guesses */
	struct super_note notes[SUPER_FIELDS]; /* of changed fields, in the order of their numbers */
	size_t n_notes;
	/* UNKNOWN, FOREIGN: the reason and what helps. Else what confirms the whole, "" if nothing. */
	char why[320];
};

/* "bucket size"; static storage. */
const char *super_field_name(enum super_field field);

/*
 * The superblock of a cache device. partners are the other devices of its set, as far as given;
 * only those that are backing devices with a right superblock are of use. A superblock that a
 * kernel takes stays as it is unless the journal proves it wrong. E_NOMEM, E_CANCELLED; a device
 * that cannot be read at all is UNKNOWN.
 *
 * kernel: read_super(), run_cache_set(), journal_read_bucket(), prio_read()
 */
bcfmt_err repair_super_cache(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			     struct bcfmt_dev *const *partners, size_t n_partners,
			     struct super_proposal *out);

/*
 * The superblock of a backing device. Of the partners, the first with the superblock of a cache
 * (a repaired one in an overlay will do) says what belongs to it; other backing devices of the
 * set take their places in its table. Errors as above.
 *
 * kernel: read_super(), bch_cached_dev_attach()
 */
bcfmt_err repair_super_backing(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			       struct bcfmt_dev *const *partners, size_t n_partners,
			       struct super_proposal *out);

#endif
