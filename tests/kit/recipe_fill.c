/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data for the keys of a recipe, so that a volume shows which of them it was read by. */
#include "recipe_impl.h"

#include "base/bytes.h"
#include "base/checked.h"

#define BACKING_SEED 0xbacull
#define FILL_SECTORS_MAX (16u << 11) /* of a backing device: 16 MiB */
#define FILL_PIECE_SECTORS 128u

static void pattern(uint64_t seed, uint64_t first_sector, uint64_t sectors, uint8_t *out)
{
	for (uint64_t i = 0; i < sectors * BCFMT_SECTOR_BYTES / 8; i++)
		store_le64(out + 8 * i, recipe_mix(seed << 48 ^ (first_sector << 6) ^ i));
}

/* What sectors of the device hold depends on seed and pattern_sector, which counts along. */
static void fill(struct recipe_build *build, uint32_t device, uint64_t sector, uint64_t sectors,
		 uint64_t seed, uint64_t pattern_sector)
{
	uint64_t size_sectors = build->recipe->device[device].bytes / BCFMT_SECTOR_BYTES;
	uint8_t raw[FILL_PIECE_SECTORS * BCFMT_SECTOR_BYTES];

	if (sector >= size_sectors)
		return;
	sectors = min_u64(sectors, size_sectors - sector);
	while (sectors && !build->has_failed) {
		uint64_t piece = min_u64(sectors, FILL_PIECE_SECTORS);

		pattern(seed, pattern_sector, piece, raw);
		recipe_image_write(build, device, sector * BCFMT_SECTOR_BYTES, raw,
				   piece * BCFMT_SECTOR_BYTES);
		sector += piece;
		pattern_sector += piece;
		sectors -= piece;
	}
}

/* Clean data is what the backing device has; dirty data is nowhere else. */
static void fill_key(struct recipe_build *build, const struct recipe_key *from)
{
	struct bcfmt_key key = { .high = from->word[0], .low = from->word[1] };
	uint64_t sectors = bcfmt_key_sectors(&key), start;

	if (from->child >= 0 || from->n_words < 3 || sectors > key.low ||
	    !bcfmt_ptr_is_available(from->word[2]))
		return;
	start = bcfmt_key_start_sector(&key);
	if (bcfmt_key_is_dirty(&key))
		fill(build, RECIPE_CACHE, bcfmt_ptr_sector(from->word[2]), sectors,
		     bcfmt_key_inode(&key) + 1, bcfmt_ptr_sector(from->word[2]));
	else
		fill(build, RECIPE_CACHE, bcfmt_ptr_sector(from->word[2]), sectors, BACKING_SEED,
		     start);
}

void recipe_fill_keys(struct recipe_build *build)
{
	const struct recipe *recipe = build->recipe;

	for (uint32_t i = 1; i <= RECIPE_BACKING_MAX; i++)
		if (recipe->device[i].is_used)
			fill(build, i, 16, FILL_SECTORS_MAX, BACKING_SEED, 16);
	for (size_t i = 0; i < recipe->keys.n && recipe->device[RECIPE_CACHE].is_used; i++)
		fill_key(build, VEC_AT(&recipe->keys, struct recipe_key, i));
}
