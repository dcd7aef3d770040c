/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What proposals for both roles share. */
#ifndef REPAIR_SUPER_IMPL_H
#define REPAIR_SUPER_IMPL_H

#include "repair/super_find.h"

/* The superblock of a device as it is, and what is made of it. */
struct proposing {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	struct super_proposal *out;
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct bcfmt_super stored;
	uint32_t faults; /* of stored in the role that it is to have */
	bool is_readable;
	bool is_ours; /* its fields are worth keeping where nothing contradicts them */
	bool has_csum_right;
	bool is_csum_proof;	  /* the stored checksum was right for what is being made */
	struct bcfmt_super super; /* what is being made */
	uint32_t guessed;
	char texts[SUPER_FIELDS][SUPER_NOTE_BYTES];
};

/* Reads the superblock of dev for a role. */
void proposing_begin(struct proposing *p, struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
		     bool is_backing, struct super_proposal *out);
/* A made superblock begins with the stored one, or without any field. */
void proposing_base(struct proposing *p);
/* Why a field would be changed; used only if it is. */
void proposing_note(struct proposing *p, enum super_field field, bool is_guess, const char *fmt,
		    ...) BCFMT_PRINTF(4, 5);
/* The checksum that the superblock being made will have. */
uint64_t proposing_csum(const struct proposing *p);
/* Ends with SOUND or PROPOSED, by what was changed. */
void proposing_end(struct proposing *p);
/* Ends with UNKNOWN or, where the device holds something that is known, FOREIGN. E_NOMEM. */
bcfmt_err proposing_give_up(struct proposing *p, bool has_evidence, const char *why);

/* The first partner that is a device of the role with a superblock that is right; END. */
bcfmt_err partner_super(struct bcfmt_dev *const *partners, size_t n_partners, bool is_backing,
			size_t *index, struct bcfmt_super *out);

#endif
