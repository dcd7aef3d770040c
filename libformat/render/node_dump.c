/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node key by key in the form of the kernel's bch_dump_bset() and bch_bkey_dump(). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "render/out.h"

/* Sector of the set in its node: what bch_dump_bucket() calls block. */
static uint64_t set_sector(const struct bcfmt_geometry *geo, const struct bcfmt_bset *bset)
{
	return (uint64_t)bset->block * geo->block_sectors;
}

/* kernel: bch_dump_bset(), the order that an iterator over one set relies on. */
static bool is_backwards(const struct bcfmt_key *key, const struct bcfmt_key *next, bool is_leaf)
{
	struct bcfmt_pos then = is_leaf ? bcfmt_key_start(next) : bcfmt_key_end(next);

	return bcfmt_pos_cmp(bcfmt_key_end(key), then) > 0;
}

/* Stale when any of its pointers is. kernel: bch_ptr_status(). */
static bool is_stale(const struct bcfmt_set *set, const struct bcfmt_key *key, const uint8_t *raw)
{
	for (unsigned int i = 0; i < bcfmt_key_ptr_count(key); i++) {
		uint64_t ptr = load_le64(raw + 16 + 8 * i);

		if (bcfmt_ptr_is_available(ptr) && bcfmt_set_stale(set, ptr))
			return true;
	}
	return false;
}

static void key_text(struct bcfmt_out *out, const struct bcfmt_set *set,
		     const struct bcfmt_bset *bset, const struct bcfmt_key_iter *it,
		     const struct bcfmt_key *key)
{
	const struct bcfmt_geometry *geo = &set->geo;
	char text[BCFMT_KEY_TEXT_BYTES];

	bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), true);
	out_put(out, "block %" PRIu64 " key %" PRIu32 "/%" PRIu32 ":  %s", set_sector(geo, bset),
		it->word, bset->keys_field, text);
	for (unsigned int i = 0; i < bcfmt_key_ptr_count(key); i++) {
		uint64_t bucket = bcfmt_ptr_bucket(geo, load_le64(it->raw + 16 + 8 * i));

		out_put(out, " bucket %" PRIu64, bucket);
		if (bucket >= geo->first_bucket && bucket < geo->nbuckets)
			out_put(out, " prio %u", set->buckets[bucket].prio);
	}
	out_put(out, " %s", bcfmt_key_status_text(geo, key, is_stale(set, key, it->raw)));
	out_end_line(out);
}

static void key_json(struct bcfmt_out *out, const struct bcfmt_set *set,
		     const struct bcfmt_bset *bset, const struct bcfmt_key_iter *it,
		     const struct bcfmt_key *key, bool is_skipping)
{
	json_t *object = out_json_object(out, "node_key");
	char text[BCFMT_KEY_TEXT_BYTES];

	bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), false);
	out_json_set(out, object, "block", out_json_u64(bset->block));
	out_json_set(out, object, "word", out_json_u64(it->word));
	out_json_set(out, object, "text", json_string(text));
	out_json_set(out, object, "inode", out_json_u64(bcfmt_key_inode(key)));
	out_json_set(out, object, "end_sector", out_json_u64(bcfmt_key_end_sector(key)));
	out_json_set(out, object, "sectors", out_json_u64(bcfmt_key_sectors(key)));
	out_json_set(out, object, "dirty", json_boolean(bcfmt_key_is_dirty(key)));
	if (bcfmt_key_has_data(key)) {
		out_json_set(out, object, "cache_sector", out_json_u64(bcfmt_ptr_sector(key->ptr)));
		out_json_set(out, object, "generation", out_json_u64(bcfmt_ptr_gen(key->ptr)));
		out_json_set(out, object, "bucket",
			     out_json_u64(bcfmt_ptr_bucket(&set->geo, key->ptr)));
	}
	out_json_set(
		out, object, "status",
		json_string(bcfmt_key_status_text(&set->geo, key, is_stale(set, key, it->raw))));
	out_json_set(out, object, "skipped_backwards", json_boolean(is_skipping));
	out_json(out, object);
}

static void bset_json(struct bcfmt_out *out, const struct bcfmt_bset *bset)
{
	json_t *object = out_json_object(out, "node_set");

	out_json_set(out, object, "block", out_json_u64(bset->block));
	out_json_set(out, object, "blocks", out_json_u64(bset->blocks));
	out_json_set(out, object, "words", out_json_u64(bset->keys_field));
	out_json_set(out, object, "version", out_json_u64(bset->version));
	out_json_set(out, object, "magic", out_json_hex(bset->magic));
	out_json_set(out, object, "sequence", out_json_hex(bset->seq));
	out_json_set(out, object, "checksum", out_json_hex(bset->csum));
	if (bset->csum_computed)
		out_json_set(out, object, "checksum_computed", out_json_hex(bset->csum_computed));
	if (bset->fault)
		out_json_set(out, object, "fault", json_string(bcfmt_bset_fault_text(bset->fault)));
	out_json_set(out, object, "stray", json_boolean(bset->is_stray));
	out_json(out, object);
}

static void dump_bset(struct bcfmt_out *out, const struct bcfmt_set *set,
		      const struct bcfmt_bset *bset, bool is_leaf)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
	struct bcfmt_key_iter at;
	struct bcfmt_key key;
	struct bcfmt_key next;
	bool has_key = bcfmt_key_iter_next(&it, &key);

	while (has_key) {
		bool has_next;
		bool is_skipping;

		at = it;
		has_next = bcfmt_key_iter_next(&it, &next);
		is_skipping = has_next && is_backwards(&key, &next, is_leaf);
		if (bcfmt_out_is_json(out)) {
			key_json(out, set, bset, &at, &key, is_skipping);
		} else {
			key_text(out, set, bset, &at, &key);
			if (is_skipping)
				bcfmt_out_line(out, "Key skipped backwards");
		}
		has_key = has_next;
		if (has_next)
			key = next;
	}
	if (it.is_overrun)
		bcfmt_out_line(out,
			       "block %" PRIu64 " key %" PRIu32 "/%" PRIu32
			       ": passes the end of its set",
			       set_sector(&set->geo, bset), it.next_word, bset->keys_field);
}

/* What the kernel would say instead of reading on. Without a set it has no block to name. */
static void put_fault(struct bcfmt_out *out, const struct bcfmt_set *set,
		      const struct bcfmt_node_view *view)
{
	bcfmt_out_line(out, "%s at bucket %" PRIu64 ", block %" PRIu32 ", %" PRIu32 " keys",
		       bcfmt_bset_fault_text(view->node->fault),
		       bcfmt_ptr_bucket(&set->geo, view->ref->ptr), view->node->fault_block,
		       view->node->fault_keys);
}

void bcfmt_render_node_dump(struct bcfmt_out *out, const struct bcfmt_set *set,
			    const struct bcfmt_node_view *view)
{
	const struct bcfmt_node *node = view->node;
	bool is_fault_told = node->fault == BCFMT_BSET_OK;

	for (uint32_t i = 0; i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];

		/* Between the sets that a kernel has read by then and the rest. */
		if (!is_fault_told && (bset->fault || bset->is_stray)) {
			put_fault(out, set, view);
			is_fault_told = true;
		}
		if (bcfmt_out_is_json(out))
			bset_json(out, bset);
		dump_bset(out, set, bset, view->ref->level == 0);
	}
	if (!is_fault_told)
		put_fault(out, set, view);
}
