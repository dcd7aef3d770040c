/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The number that tells a node of a repair without journal. */
#include "codec/node_seq.h"

#include <bcfmt/crc64.h>

#include "base/bytes.h"

uint64_t node_seq_of_search(const struct bcfmt_geometry *geo, uint64_t ptr)
{
	uint8_t raw[8];
	uint64_t seq;

	store_le64(raw, geo->set_magic);
	seq = bcfmt_crc64_seeded(ptr, raw, sizeof(raw));
	return seq ? seq : 1;
}

bool node_is_of_search(const struct bcfmt_geometry *geo, const struct bcfmt_node *node,
		       uint64_t ptr)
{
	return !node->fault && node->n_bsets == 1 && node->seq == node_seq_of_search(geo, ptr);
}
