/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files that make an image share. */
#ifndef IMAGE_IMAGE_IMPL_H
#define IMAGE_IMAGE_IMPL_H

#include <bcfmt/image.h>
#include <bcfmt/node.h>
#include <bcfmt/tree.h>

#include "base/vec.h"
#include "image/scrub.h"
#include "image/writer.h"
#include "read/scan.h"

/* A structure whose place is known from a pointer. One a bucket, the first kind wins. */
enum known_kind {
	KNOWN_PRIO,	 /* of the chain of the newest entry */
	KNOWN_UUIDS,	 /* the newest table */
	KNOWN_NODE,	 /* reached from a root */
	KNOWN_OLD_UUIDS, /* named by an older entry, and its bucket not known to be used again */
};
struct known {
	uint64_t bucket;
	uint64_t ptr; /* KNOWN_PRIO: 0 */
	uint64_t seq; /* of the entry that names it: the newest goes first */
	uint32_t sectors;
	uint32_t version; /* tables: of that entry */
	enum known_kind kind;
};
/* Fills out (struct known, by bucket) for the set, and for the other history where there are two.
 */
bcfmt_err known_collect(struct bcfmt_set *set, struct vec *out);

/* A part of a node that stays, before it is written. */
struct kept {
	uint32_t offset_bytes; /* in the node */
	uint32_t len_bytes;
	enum image_kind kind;
	bool is_own; /* these bytes, not those of the node */
	uint8_t own[BCFMT_BSET_HEADER_BYTES];
};

struct maker {
	struct bcfmt_ctx *ctx;
	struct bcfmt_set *set;
	const struct bcfmt_image_params *params;
	struct bcfmt_image_stats *stats;
	struct scrub scrub;
	struct image_writer *writer;
	struct scan *scan;
	struct range_map bad; /* bytes of the member at hand that could not be read */
	struct vec known;     /* struct known */

	/* Scratch of clean_node(). */
	struct vec kept; /* struct kept */
	struct bcfmt_node node;
	uint8_t *word_use; /* a byte for each word of a node, enum word_use */
	size_t word_use_bytes;
	struct vec uuids; /* of clean_uuids(): 16 bytes each, sorted */
};

/* The bytes of a superblock, right or wrong, to what may stay of them; len_bytes are there. */
bcfmt_err clean_super(struct maker *maker, const uint8_t raw[BCFMT_SUPER_BYTES], size_t len_bytes);
/* What is in a node, and in the rest of its place, to what may stay. raw: sectors at known->ptr. */
bcfmt_err clean_node(struct maker *maker, const struct known *known, const uint8_t *raw);
bcfmt_err clean_prio(struct maker *maker, const struct known *known, const uint8_t *raw,
		     size_t len_bytes);
bcfmt_err clean_uuids(struct maker *maker, const struct known *known, const uint8_t *raw);
/* All entries of a ring bucket. */
bcfmt_err clean_journal(struct maker *maker, uint64_t bucket);

/* All of a structure is metadata; what of it lies behind the end of the device does not count. */
bcfmt_err add_cover(struct maker *maker, uint64_t offset_bytes, uint64_t len_bytes);
/* Bytes as they are. */
bcfmt_err add_raw(struct maker *maker, uint64_t offset_bytes, const uint8_t *bytes,
		  size_t len_bytes);
/* Adds a whole structure; its header is scrubbed on the way. */
bcfmt_err add_bset(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
		   uint32_t len_bytes);
bcfmt_err add_prio(struct maker *maker, uint64_t offset_bytes, const uint8_t *raw,
		   uint32_t meta_bytes);

/*
 * Words of the key at raw when it is one such as a kernel writes into a set of this geometry, and
 * whole; else 0. Of a structure whose checksum is wrong only those stay.
 */
uint32_t plausible_key(const struct bcfmt_geometry *geo, const uint8_t *raw, uint32_t words);

#endif
