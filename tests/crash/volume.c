/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volume that a state holds, sector by sector, and two of them against each other. */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/tree.h>

#include "crash.h"

bool volume_new(struct volume *volume, uint64_t backing_bytes, uint64_t data_offset_sectors)
{
	memset(volume, 0, sizeof(*volume));
	volume->data_offset_sectors = data_offset_sectors;
	volume->sectors = backing_bytes / BCFMT_SECTOR_BYTES - data_offset_sectors;
	volume->ptr = calloc(volume->sectors, sizeof(*volume->ptr));
	return volume->ptr != NULL;
}

void volume_free(struct volume *volume)
{
	free(volume->ptr);
	free(volume->journal_keys);
}

static bcfmt_err lay_extents(void *arg, const struct bcfmt_node_view *view,
			     const struct bcfmt_extent *extents, size_t n_extents)
{
	struct volume *volume = arg;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];
		uint64_t start = extent->start_sector - volume->data_offset_sectors;

		/* Clean ones are copies of what the backing device has; stale ones are gone. */
		if (extent->inode != volume->inode || !extent->is_dirty || extent->stale)
			continue;
		if (extent->start_sector < volume->data_offset_sectors ||
		    extent->end_sector - volume->data_offset_sectors > volume->sectors)
			return BCFMT_E_RANGE;
		for (uint64_t k = 0; k < extent->end_sector - extent->start_sector; k++)
			volume->ptr[start + k] = extent->ptr + (k << 8);
		volume->dirty_sectors += extent->end_sector - extent->start_sector;
	}
	return BCFMT_OK;
}

static bool add_journal_key(struct volume *volume, const struct bcfmt_key *key)
{
	if (volume->n_journal_keys == volume->journal_keys_cap) {
		size_t cap = volume->journal_keys_cap ? 2 * volume->journal_keys_cap : 1024;
		struct bcfmt_key *grown = realloc(volume->journal_keys, cap * sizeof(*grown));

		if (!grown)
			return false;
		volume->journal_keys = grown;
		volume->journal_keys_cap = cap;
	}
	volume->journal_keys[volume->n_journal_keys++] = *key;
	return true;
}

/* Keys of every entry that is whole, those before the replay window too. */
static bcfmt_err read_ring(struct volume *volume, const struct bcfmt_journal *journal)
{
	uint8_t *buf = NULL;
	size_t buf_bytes = 0;
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < journal->n_entries; i++) {
		struct bcfmt_key_iter it;
		struct bcfmt_jset jset;
		struct bcfmt_key key;

		err = bcfmt_journal_entry_load(journal, i, &buf, &buf_bytes, &jset);
		if (err)
			break;
		it = bcfmt_key_iter_init(jset.keys, jset.keys_field);
		while (!err && bcfmt_key_iter_next(&it, &key))
			if (bcfmt_key_inode(&key) == volume->inode && bcfmt_key_has_data(&key) &&
			    !add_journal_key(volume, &key))
				err = BCFMT_E_NOMEM;
	}
	free(buf);
	return err;
}

bool volume_read(struct volume *volume, struct bcfmt_set *set, uint32_t inode)
{
	struct bcfmt_tree_visitor gens = { 0 }, lay = { .arg = volume, .leaf = lay_extents };
	struct bcfmt_tree *tree = NULL;
	bool again;
	bcfmt_err err;

	memset(volume->ptr, 0, volume->sectors * sizeof(*volume->ptr));
	volume->inode = inode;
	volume->dirty_sectors = 0;
	volume->n_journal_keys = 0;
	err = bcfmt_tree_open(set, NULL, &tree);
	if (!err)
		err = bcfmt_tree_walk_leaves(tree, &gens, &again);
	if (!err)
		err = bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &lay);
	bcfmt_tree_free(tree);
	if (!err)
		err = read_ring(volume, &set->journal);
	return !err;
}

static bcfmt_err read_sector(const struct volume *volume, struct bcfmt_dev *cache,
			     struct bcfmt_dev *backing, uint64_t sector, uint8_t *buf)
{
	uint64_t ptr = volume->ptr[sector];

	if (ptr)
		return bcfmt_dev_read(cache, bcfmt_ptr_sector(ptr) * BCFMT_SECTOR_BYTES, buf,
				      BCFMT_SECTOR_BYTES);
	return bcfmt_dev_read(backing, (volume->data_offset_sectors + sector) * BCFMT_SECTOR_BYTES,
			      buf, BCFMT_SECTOR_BYTES);
}

/*
 * Counts the differing sectors that are under a key of the ring: the very place that the volume
 * is read from, generation included, is in a journal entry.
 */
static void find_journaled(const struct volume *volume, const uint8_t *differs,
			   struct difference *out)
{
	for (size_t i = 0; i < volume->n_journal_keys; i++) {
		const struct bcfmt_key *key = &volume->journal_keys[i];
		uint64_t start = bcfmt_key_start_sector(key) - volume->data_offset_sectors;

		for (uint64_t k = 0; k < bcfmt_key_sectors(key); k++) {
			if (start + k >= volume->sectors || !differs[start + k] ||
			    volume->ptr[start + k] != key->ptr + (k << 8))
				continue;
			if (!out->wrong++)
				out->first_wrong_sector = start + k;
		}
	}
}

bool volume_compare(const struct volume *a, struct bcfmt_dev *a_cache, const struct volume *b,
		    struct bcfmt_dev *b_cache, struct bcfmt_dev *backing, const uint8_t *is_changed,
		    struct difference *out)
{
	uint8_t *differs = calloc(a->sectors, 1);
	bcfmt_err err = differs ? BCFMT_OK : BCFMT_E_NOMEM;

	memset(out, 0, sizeof(*out));
	for (uint64_t i = 0; !err && i < a->sectors; i++) {
		uint8_t x[BCFMT_SECTOR_BYTES], y[BCFMT_SECTOR_BYTES];

		/* The same place with the same contents in both. */
		if (a->ptr[i] == b->ptr[i] &&
		    (!a->ptr[i] || !is_changed[bcfmt_ptr_sector(a->ptr[i])]))
			continue;
		out->read++;
		err = read_sector(a, a_cache, backing, i, x);
		if (!err)
			err = read_sector(b, b_cache, backing, i, y);
		if (err || !memcmp(x, y, sizeof(x)))
			continue;
		differs[i] = 1;
		out->differ++;
	}
	out->compared = a->sectors;
	if (!err && out->differ) {
		find_journaled(a, differs, out);
		find_journaled(b, differs, out);
	}
	free(differs);
	return !err;
}
