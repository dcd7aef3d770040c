/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extents that are computed, not kept. */
#include "extents.h"

#include "base/bytes.h"
#include "base/checked.h"

#include "recipe_impl.h"

#define ROUNDS 4u

uint64_t extents_total(const struct extents *extents)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < extents->n_inodes; i++)
		total += extents->inode[i].n;
	return total;
}

static uint64_t slots_a_bucket(const struct extents *extents)
{
	return extents->bucket_sectors / extents->most_sectors;
}

uint64_t extents_slots(const struct extents *extents)
{
	return extents->n_buckets * slots_a_bucket(extents);
}

uint64_t extents_sectors(const struct extents *extents, uint32_t inode)
{
	return max_u64(extents->inode[inode].n, 1) * extents->stride_sectors;
}

/* One number of many for an extent; what tells the numbers apart is use. */
static uint64_t draw(const struct extents *extents, uint32_t inode, uint64_t index, uint64_t use)
{
	return recipe_mix(recipe_mix(extents->seed ^ use << 56 ^ (uint64_t)inode << 32) ^ index);
}

/* A Feistel network over twice half_bits. */
static uint64_t shuffle(uint64_t seed, unsigned int half_bits, uint64_t value)
{
	uint64_t mask = (1ull << half_bits) - 1;
	uint64_t left = value >> half_bits, right = value & mask;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t next = left ^ (recipe_mix(seed ^ (uint64_t)round << 60 ^ right) & mask);

		left = right;
		right = next;
	}
	return left << half_bits | right;
}

/* A permutation of 0..n-1: walks the network's cycle until it is back below n. */
static uint64_t permute(uint64_t seed, uint64_t n, uint64_t value)
{
	unsigned int half_bits = n > 1 ? log2_floor(n - 1) / 2 + 1 : 1;

	do {
		value = shuffle(seed, half_bits, value);
	} while (value >= n);
	return value;
}

struct extent_at extents_get(const struct extents *extents, uint32_t inode, uint64_t index)
{
	const struct extents_inode *of = &extents->inode[inode];
	uint64_t number = index, slot, lengths, gaps;
	struct extent_at at = { .inode = inode };

	for (uint32_t i = 0; i < inode; i++)
		number += extents->inode[i].n;
	slot = permute(recipe_mix(extents->seed), extents_slots(extents), number);
	at.cache_sector =
		(extents->first_bucket + slot / slots_a_bucket(extents)) * extents->bucket_sectors +
		slot % slots_a_bucket(extents) * extents->most_sectors;
	lengths = (extents->most_sectors - extents->least_sectors) / extents->block_sectors + 1;
	at.sectors = extents->least_sectors +
		     (uint32_t)(draw(extents, inode, index, 1) % lengths) * extents->block_sectors;
	gaps = (extents->stride_sectors - at.sectors) / extents->block_sectors + 1;
	at.start_sector = of->data_offset_sectors + index * extents->stride_sectors +
			  draw(extents, inode, index, 2) % gaps * extents->block_sectors;
	at.is_dirty =
		of->is_volume || draw(extents, inode, index, 3) % 100 < extents->dirty_percent;
	return at;
}

bcfmt_err extents_next(void *arg, struct bcfmt_key *key)
{
	struct extents_stream *stream = arg;
	struct extent_at at;

	while (stream->inode < stream->extents->n_inodes &&
	       stream->index == stream->extents->inode[stream->inode].n) {
		stream->inode++;
		stream->index = 0;
	}
	if (stream->inode == stream->extents->n_inodes)
		return BCFMT_END;
	at = extents_get(stream->extents, stream->inode, stream->index++);
	*key = bcfmt_key_make(at.inode, at.start_sector + at.sectors, at.sectors, at.is_dirty, true,
			      bcfmt_ptr_make(0, at.cache_sector, 1));
	return BCFMT_OK;
}

void extents_content(uint64_t seed, uint32_t inode, uint64_t sector,
		     uint8_t raw[BCFMT_SECTOR_BYTES])
{
	uint64_t state = recipe_mix(recipe_mix(seed ^ (uint64_t)inode << 40) ^ sector);

	for (unsigned int i = 0; i < BCFMT_SECTOR_BYTES / 8; i++)
		store_le64(raw + 8 * (size_t)i, recipe_mix(state + i));
}
