/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which set a cache device holds, and how it is laid out, whatever its superblock says. */
#ifndef SET_LAYOUT_FIND_H
#define SET_LAYOUT_FIND_H

#include "set/super_geometry.h"
#include "set/super_scan.h"

#define LAYOUT_NAMED_MAX 16u
#define LAYOUT_WHY_BYTES 400u

/* Zero it, fill the first part, run it, clear it. */
struct layout_search {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	struct layout_hints hints;
	/*
	 * hints.stored is a superblock that a kernel takes: it is only compared with its ring and
	 * the beginning of the device, not with all that may lie farther behind.
	 */
	bool is_accepted;
	uint64_t named[LAYOUT_NAMED_MAX]; /* set magics: of partners first, then of the superblock */
	size_t n_named;
	size_t n_partner_named;

	struct sights sights;
	bool is_any_seen;
	struct sight *sight; /* of the set that was chosen */
	struct layout layout;
	bool may_stay; /* accepted, and nothing that was found contradicts it */
	char why[LAYOUT_WHY_BYTES];
	bcfmt_err err; /* in between */
};

void layout_search_name(struct layout_search *search, uint64_t set_magic);
/* OK: sight and layout are filled. END: there is none, or no single one: why tells. E_NOMEM,
 * E_CANCELLED. */
bcfmt_err layout_search_run(struct layout_search *search);
void layout_search_clear(struct layout_search *search);

/* A size that a superblock says, and the one that was found. */
struct layout_difference {
	const char *field; /* static */
	uint64_t stored, found;
};
#define LAYOUT_DIFFERENCES 6u
/* Sizes in which two superblocks differ, into out; their number. */
size_t layout_differences(const struct bcfmt_super *stored, const struct bcfmt_super *found,
			  struct layout_difference out[LAYOUT_DIFFERENCES]);

/* Root, prio chain and all needed entries are in their places. */
bool layout_is_complete(const struct layout *layout);

#endif
