/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading one node by itself, whether a pointer leads to it or not. */
#include "cli/lone_node.h"

#include <stdlib.h>
#include <string.h>

#define GENS 256u

bcfmt_err lone_node_read(struct lone_node *lone, const struct bcfmt_set *set,
			 const struct bcfmt_node_ref *ref, struct bcfmt_node_view *view)
{
	size_t len_bytes = (size_t)ref->sectors * BCFMT_SECTOR_BYTES;
	bcfmt_err err;

	*view = (struct bcfmt_node_view){ .ref = ref, .node = &lone->node };
	if (lone->buf_bytes < len_bytes) {
		uint8_t *grown = realloc(lone->buf, len_bytes);

		if (!grown)
			return BCFMT_E_NOMEM;
		lone->buf = grown;
		lone->buf_bytes = len_bytes;
	}
	err = bcfmt_dev_read_salvage(set->cache.dev,
				     bcfmt_ptr_sector(ref->ptr) * BCFMT_SECTOR_BYTES, lone->buf,
				     len_bytes, &view->bad);
	if (err)
		return err;
	return bcfmt_node_decode(&lone->node, &set->geo, lone->buf, ref->sectors, ref->ptr);
}

/* A node does not tell its level; keys of an interior one look like pointers to nodes. */
static bool is_interior(const struct bcfmt_set *set, const struct bcfmt_bset *bset)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	const struct bcfmt_geometry *geo = &set->geo;
	struct bcfmt_key key;
	bool has_any = false;

	while (bcfmt_key_iter_next(&it, &key)) {
		if (bcfmt_key_is_dirty(&key) || !bcfmt_key_has_data(&key) ||
		    bcfmt_key_sectors(&key) != geo->node_sectors ||
		    bcfmt_ptr_sector(key.ptr) % geo->bucket_sectors)
			return false;
		has_any = true;
	}
	return has_any;
}

bcfmt_err lone_node_guess(struct lone_node *lone, const struct bcfmt_set *set, uint64_t bucket,
			  struct bcfmt_node_ref *ref, bool *is_found)
{
	const struct bcfmt_geometry *geo = &set->geo;
	struct bcfmt_node_view view;
	bcfmt_err err;

	*is_found = false;
	*ref = (struct bcfmt_node_ref){
		.ptr = bcfmt_ptr_make(geo->nr_this_dev, bucket * geo->bucket_sectors,
				      set->buckets[bucket].gen),
		.hi = bcfmt_pos_max(),
		.sectors = geo->node_sectors,
	};
	err = lone_node_read(lone, set, ref, &view);
	/* The newest generation first: old checksums without a seed fit all of them. */
	for (unsigned int age = 0; age < GENS && !err; age++) {
		const struct bcfmt_bset *first = lone->node.bsets;

		if (lone->node.n_bsets && first->fault == BCFMT_BSET_OK && !first->is_stray &&
		    !first->block) {
			*is_found = true;
			ref->level = is_interior(set, first);
			return BCFMT_OK;
		}
		if (lone->node.n_bsets && first->fault != BCFMT_BSET_CSUM)
			return BCFMT_OK;
		ref->ptr = bcfmt_ptr_make(geo->nr_this_dev, bucket * geo->bucket_sectors,
					  set->buckets[bucket].gen - age - 1);
		err = bcfmt_node_decode(&lone->node, geo, lone->buf, ref->sectors, ref->ptr);
	}
	return err;
}

void lone_node_clear(struct lone_node *lone)
{
	bcfmt_node_clear(&lone->node);
	free(lone->buf);
	memset(lone, 0, sizeof(*lone));
}
