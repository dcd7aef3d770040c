/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of the bucket map. */
#ifndef CHECK_MAP_H
#define CHECK_MAP_H

#include <bcfmt/map.h>

struct bcfmt_map {
	struct bcfmt_ctx *ctx; /* borrowed */
	struct bcfmt_geometry geo;
	uint8_t set_uuid[BCFMT_UUID_BYTES];
	struct bcfmt_map_total totals[BCFMT_MAP_USES];
	uint64_t unreadable; /* structures */
	bool has_tree;
	bool is_partial;
	bool has_journal_gap; /* entries to replay are missing: all data may be older than it should */
	unsigned int order; /* of the curve: it has 4^order places, of which n_places are used */
	uint32_t n_places;
	uint8_t *places; /* a mark or 0, and what the place is for */
};

/* The greater value matters more. */
#define MAP_BASE_MASK 0x0fu
#define MAP_DOUBTFUL 0x10u
#define MAP_DAMAGED 0x20u

#endif
