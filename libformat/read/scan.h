/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finding structures that nothing may point to: bsets, by the pointer that their checksum was
 * seeded with, and prio sets. Reads a device from front to back through a window.
 */
#ifndef READ_SCAN_H
#define READ_SCAN_H

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/geometry.h>
#include <bcfmt/prio.h>

#include "dev/dev_impl.h"

/* A bset with a right checksum. */
struct scan_bset {
	/*
	 * The node that it was written to, with the generation that its bucket had; of version 0,
	 * whose checksums tell nothing, the start of the bucket with generation 0.
	 */
	uint64_t ptr;
	uint64_t seq;
	uint32_t version;
	uint32_t words; /* of keys */
};

/*
 * Whose bset lies at raw, of which avail_bytes (to the end of its bucket at most) can be read.
 * sector is its place, block aligned. False when there is none of this set, or one that was
 * written for another place. Checksums cost their length: *budget_bytes goes down by it, and
 * nothing is found when it is used up. kernel: btree_csum_set().
 */
bool scan_bset_at(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes,
		  uint64_t sector, uint64_t *budget_bytes, struct scan_bset *out);
/* Checksums of the bsets in a bucket, or a part of it, may cover so many bytes together. */
uint64_t scan_budget(uint64_t len_bytes);

/*
 * The layout of the prio set of this set at raw: meta bytes for one of the page sizes of writers,
 * that of geo first; 0 when none fits in avail_bytes with a right checksum.
 */
uint32_t scan_prio_at(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes);
/* The most that a prio set can take in a layout that fits a bucket. */
uint32_t scan_prio_bytes_max(const struct bcfmt_geometry *geo);
/*
 * Reads the prio set in a bucket, in any of these layouts, with buf of scan_prio_bytes_max().
 * *meta_bytes: that of its layout; 0: there is no bucket, or none verifies in it.
 */
bcfmt_err scan_prio_read(struct bcfmt_dev *dev, const struct bcfmt_geometry *geo, uint64_t bucket,
			 uint8_t *buf, struct bcfmt_prio_set *out, uint32_t *meta_bytes);

struct scan;
#define SCAN_WINDOW_BYTES (4u << 20)
/*
 * on_bad is told of sectors inside the device that cannot be read; dev and geo must outlive the
 * scan. window_bytes: what is read ahead, smaller where only a little of it will be looked at.
 */
bcfmt_err scan_new(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct bcfmt_geometry *geo,
		   size_t window_bytes, dev_bad_fn on_bad, void *arg, struct scan **out);
void scan_free(struct scan *scan);
/* Behind this place there is a hole, as far as is known: nothing there is read ahead. */
void scan_hint(struct scan *scan, uint64_t data_end_bytes);

/*
 * Whole sectors, unreadable ones zero, at *out until the next call. Cheap when calls ascend. Where
 * the device has errors this range is read by itself, so that what of it is given up does not
 * depend on what is around it.
 */
bcfmt_err scan_read(struct scan *scan, uint64_t offset_bytes, size_t len_bytes, const uint8_t **out,
		    struct bcfmt_bad_read *bad);

enum scan_kind { SCAN_BSET, SCAN_PRIO };
struct scan_found {
	enum scan_kind kind;
	uint64_t offset_bytes;
	uint32_t bytes;
	const uint8_t *raw;    /* until the callback returns */
	struct scan_bset bset; /* SCAN_BSET */
};
/* What it returns, if not OK, ends the scan and is returned. */
typedef bcfmt_err (*scan_fn)(void *arg, const struct scan_found *found);
/*
 * Tells what lies in [first_sector, end_sector) of one bucket, in ascending order. Both are block
 * aligned; is_head: only what begins at first_sector.
 */
bcfmt_err scan_range(struct scan *scan, uint64_t first_sector, uint64_t end_sector, bool is_head,
		     scan_fn found, void *arg);

#endif
