/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One node: bsets as a kernel reads them (B1), keys that tile and are in order (B2), keys within
 * the node's range (B3), place and size (B4), and every key on its own. Called from workers.
 * kernel: bch_btree_node_read_done(), bch_btree_iter_next_check(), bch_ptr_invalid().
 */
#include <bcfmt/node.h>

#include "check/check_impl.h"
#include "check/predict.h"
#include "codec/key_iter.h"

struct node_check {
	struct check *ck;
	const struct bcfmt_node_view *view;
	struct bcfmt_where where;
	bool has_late;   /* one finding a node of each kind is enough */
	bool has_early;
	bool is_odd;     /* a kernel may stumble over one of its keys */
};

static bcfmt_err report_fault(struct node_check *nc, const struct bcfmt_bset *bset)
{
	struct check *ck = nc->ck;
	struct bcfmt_arg level = BCFMT_U64("level", nc->view->ref->level);
	uint32_t strays = 0;

	nc->where.block = bset->block;
	switch (bset->fault) {
	case BCFMT_BSET_OK:
		break;
	case BCFMT_BSET_ZERO_SEQ:
		return CHECK_REPORT(ck, NODE_BAD_HEADER, &nc->where, level);
	case BCFMT_BSET_VERSION:
		return CHECK_REPORT(ck, NODE_BAD_VERSION, &nc->where, level,
				    BCFMT_U64("version", bset->version),
				    BCFMT_U64("keys", bset->keys_field));
	case BCFMT_BSET_OVERRUN:
		return CHECK_REPORT(ck, NODE_OVERRUN, &nc->where, level,
				    BCFMT_U64("keys", bset->keys_field));
	case BCFMT_BSET_MAGIC:
		return CHECK_REPORT(ck, NODE_BAD_MAGIC, &nc->where, level,
				    BCFMT_HEX("magic", bset->magic),
				    BCFMT_HEX("want",
					      ck->set->geo.set_magic ^ 0x90135c78b99e07f5ull));
	case BCFMT_BSET_CSUM:
		return CHECK_REPORT(ck, NODE_BAD_CSUM, &nc->where, level,
				    BCFMT_HEX("stored", bset->csum),
				    BCFMT_U64("keys", bset->keys_field),
				    BCFMT_HEX("computed", bset->csum_computed));
	case BCFMT_BSET_EMPTY:
		return CHECK_REPORT(ck, NODE_EMPTY_SET, &nc->where, level);
	case BCFMT_BSET_HOLE:
		for (uint32_t i = 0; i < nc->view->node->n_bsets; i++)
			strays += nc->view->node->bsets[i].is_stray;
		return CHECK_REPORT(ck, NODE_HOLE, &nc->where, level,
				    BCFMT_U64("strays", strays));
	}
	return BCFMT_OK;
}

static bcfmt_err check_layout(struct node_check *nc)
{
	const struct bcfmt_node *node = nc->view->node;
	struct bcfmt_bset hole = { .fault = node->fault, .block = node->fault_block,
				   .keys_field = node->fault_keys };
	bcfmt_err err = BCFMT_OK;

	if (nc->view->bad.sectors)
		err = CHECK_REPORT(nc->ck, NODE_UNREADABLE, &nc->where,
				   BCFMT_U64("sectors", nc->view->bad.sectors),
				   BCFMT_U64("level", nc->view->ref->level),
				   BCFMT_U64("sector", nc->view->bad.first_sector));
	if (err || !node->fault)
		return err;
	/* The damaged bset itself when it is listed: it knows its fields. */
	for (uint32_t i = 0; i < node->n_bsets; i++)
		if (node->bsets[i].fault == node->fault &&
		    node->bsets[i].block == node->fault_block)
			hole = node->bsets[i];
	err = report_fault(nc, &hole);
	nc->where.block = BCFMT_NO_NUMBER;
	return err;
}

static bcfmt_err check_place(struct node_check *nc)
{
	const struct bcfmt_geometry *geo = &nc->ck->set->geo;
	const struct bcfmt_node_ref *ref = nc->view->ref;
	uint64_t offset_sectors = bcfmt_ptr_sector(ref->ptr) & (geo->bucket_sectors - 1);
	bcfmt_err err = BCFMT_OK;

	if (offset_sectors)
		err = CHECK_REPORT(nc->ck, NODE_UNALIGNED, &nc->where,
				   BCFMT_U64("level", ref->level),
				   BCFMT_U64("offset", offset_sectors));
	if (!err && check_is_cut_short(geo, ref))
		err = CHECK_REPORT(nc->ck, NODE_CUT_SHORT, &nc->where,
				   BCFMT_U64("level", ref->level), BCFMT_U64("got", ref->sectors),
				   BCFMT_U64("want", geo->node_sectors));
	/* These make a kernel read more than it allocated, or hold no bset. */
	if (!err && ref->sectors != geo->node_sectors &&
	    (ref->sectors & (ref->sectors - 1) || ref->sectors < geo->block_sectors))
		err = CHECK_REPORT(nc->ck, NODE_BAD_SIZE, &nc->where,
				   BCFMT_U64("level", ref->level), BCFMT_U64("got", ref->sectors),
				   BCFMT_U64("want", geo->node_sectors));
	return err;
}

/*
 * The END of the key that comes last when a kernel merges the bsets, and how many words they
 * have. A cursor waits at a bset's greatest START until the other bsets have caught up, so the
 * bset with the greatest START of all gives its last key last.
 */
static struct bcfmt_pos last_merged(const struct bcfmt_node *node, bool is_leaf, uint32_t *words)
{
	struct bcfmt_pos greatest = { 0, 0 }, last = { 0, 0 };

	*words = 0;
	for (uint32_t i = 0; i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];
		struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
		struct bcfmt_pos most = { 0, 0 }, end = { 0, 0 };
		struct bcfmt_key key;

		if (bset->fault || bset->is_stray)
			continue;
		while (key_iter_step(&it, &key)) {
			struct bcfmt_pos at = is_leaf ? bcfmt_key_start(&key) : bcfmt_key_end(&key);

			if (!bcfmt_key_sectors(&key))
				continue;
			*words += bcfmt_key_words(&key);
			end = bcfmt_key_end(&key);
			if (bcfmt_pos_cmp(at, most) > 0)
				most = at;
		}
		if (bcfmt_pos_cmp(most, greatest) >= 0) {
			greatest = most;
			last = end;
		}
	}
	return last;
}

/* kernel: a node's search tree is looked at only when it has two lines of 128 bytes. */
#define SHORT_KEY_WORDS_MIN 28u

static bcfmt_err report_late(struct node_check *nc, const char *text)
{
	const struct bcfmt_node_ref *ref = nc->view->ref;
	uint32_t words;
	struct bcfmt_pos last = last_merged(nc->view->node, ref->level == 0, &words);
	struct bcfmt_arg level = BCFMT_U64("level", ref->level);
	char pos[64];

	nc->has_late = true;
	check_pos_text(pos, ref->hi);
	if (words >= SHORT_KEY_WORDS_MIN && bcfmt_pos_cmp(last, ref->hi) > 0)
		return CHECK_REPORT(nc->ck, NODE_SHORT_KEY, &nc->where, level,
				    BCFMT_TEXT("text", text), BCFMT_TEXT("own", pos));
	return CHECK_REPORT(nc->ck, NODE_LATE_KEY, &nc->where, level, BCFMT_TEXT("text", text),
			    BCFMT_TEXT("end", pos));
}

static bcfmt_err check_range(struct node_check *nc, const struct bcfmt_key *key, const char *text)
{
	const struct bcfmt_node_ref *ref = nc->view->ref;
	struct bcfmt_pos start = ref->level ? bcfmt_key_end(key) : bcfmt_key_start(key);
	int from_lo = bcfmt_pos_cmp(start, ref->lo);
	bool is_late = bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0;
	/* A child's own key lies after the range's begin, an extent may touch it. */
	bool is_early = from_lo < 0 || (ref->level && !from_lo);
	char pos[64];
	bcfmt_err err = BCFMT_OK;

	/* The key counts nowhere; of a node in disorder the journal knows better. */
	if ((is_late || is_early) && !nc->view->is_disordered) {
		__atomic_store_n(&nc->ck->is_doubtful, true, __ATOMIC_RELAXED);
		/* Of a child, its range; where that begins nobody says. */
		if (!ref->level && !nc->view->has_foreign_keys)
			err = check_loss_key(nc->ck, BCFMT_LOSS_NODE, key);
	}
	if (!err && is_late && !nc->has_late)
		err = report_late(nc, text);
	if (!err && is_early && !nc->has_early) {
		nc->has_early = true;
		err = CHECK_REPORT(nc->ck, NODE_EARLY_KEY, &nc->where,
				   BCFMT_U64("level", ref->level), BCFMT_TEXT("text", text),
				   BCFMT_TEXT("begin", check_pos_text(pos, ref->lo)));
	}
	return err;
}

/* Where the journal knows every write, keys that no kernel puts into a leaf lose nothing. */
static bcfmt_err add_invalid(const struct node_check *nc, const struct bcfmt_key *key)
{
	return nc->view->has_foreign_keys ? BCFMT_OK : check_invalid_extent(nc->ck, key);
}

static bcfmt_err check_extent_key(struct node_check *nc, const struct bcfmt_key *key,
				  const char *text)
{
	const struct bcfmt_geometry *geo = &nc->ck->set->geo;
	enum bcfmt_key_fault fault = bcfmt_key_fault_extent(geo, key);
	bcfmt_err err = BCFMT_OK;

	if (fault && fault != BCFMT_KEY_ZERO_SIZE)
		err = add_invalid(nc, key);
	if (err)
		return err;
	if (fault && fault != BCFMT_KEY_ZERO_SIZE)
		return CHECK_REPORT(nc->ck, EXTENT_INVALID, &nc->where, BCFMT_TEXT("text", text),
				    BCFMT_TEXT("status", bcfmt_key_fault_text(fault)));
	if (fault || !check_is_elsewhere(geo, key))
		return BCFMT_OK;
	/* No device has such a number, so a kernel reads what the key covers. */
	if (!bcfmt_ptr_is_available(key->ptr))
		err = add_invalid(nc, key);
	if (err)
		return err;
	return CHECK_REPORT(nc->ck, EXTENT_OTHER_MEMBER, &nc->where,
			    BCFMT_TEXT("text", text),
			    BCFMT_U64("member", bcfmt_ptr_dev(key->ptr)),
			    BCFMT_U64("own", geo->nr_this_dev));
}

/* A freed node's trace in an interior node; it only raises a gen. */
static bool is_tombstone(const struct node_check *nc, const struct bcfmt_key *key)
{
	return nc->view->ref->level && bcfmt_key_is_zero_pos(key);
}

/* Nothing to say of the key: so it is with all but a few of millions, and no text is made. */
static bool is_ordinary(const struct node_check *nc, const struct bcfmt_key *key)
{
	const struct bcfmt_geometry *geo = &nc->ck->set->geo;
	const struct bcfmt_node_ref *ref = nc->view->ref;
	bool is_leaf = ref->level == 0;

	if (bcfmt_key_ptr_count(key) > 1 || bcfmt_key_csum_type(key))
		return false;
	if (is_leaf && check_is_elsewhere(geo, key))
		return false;
	if (is_leaf && bcfmt_key_sectors(key) && bcfmt_key_fault_extent(geo, key))
		return false;
	if (is_tombstone(nc, key) || !bcfmt_key_sectors(key))
		return true;
	if (bcfmt_pos_cmp(bcfmt_key_end(key), ref->hi) > 0)
		return false;
	return is_leaf ? bcfmt_pos_cmp(bcfmt_key_start(key), ref->lo) >= 0 :
			 bcfmt_pos_cmp(bcfmt_key_end(key), ref->lo) > 0;
}

static bcfmt_err check_key(struct node_check *nc, const struct bcfmt_key_iter *it,
			   const struct bcfmt_key *key)
{
	bool is_leaf = nc->view->ref->level == 0;
	char text[BCFMT_KEY_TEXT_BYTES];
	bcfmt_err err = BCFMT_OK;

	if (is_ordinary(nc, key)) {
		nc->is_odd |= !is_leaf && bcfmt_key_fault_btree(&nc->ck->set->geo, key);
		return BCFMT_OK;
	}
	nc->is_odd = true;
	bcfmt_key_text_raw(text, it->raw, bcfmt_key_words(key), false);
	nc->where.key = it->word;
	if (bcfmt_key_ptr_count(key) > 1)
		err = CHECK_REPORT(nc->ck, KEY_SEVERAL_PTRS, &nc->where, BCFMT_TEXT("text", text),
				   BCFMT_U64("pointers", bcfmt_key_ptr_count(key)));
	if (!err && bcfmt_key_csum_type(key))
		err = CHECK_REPORT(nc->ck, KEY_CSUM, &nc->where, BCFMT_TEXT("text", text));
	if (!err && is_leaf)
		err = check_extent_key(nc, key, text);
	/* One that was found by a search may have had another range. */
	if (err || is_tombstone(nc, key) || !bcfmt_key_sectors(key) || nc->view->ref->is_found ||
	    (is_leaf && bcfmt_key_fault_extent(&nc->ck->set->geo, key)))
		return err;
	return check_range(nc, key, text);
}

static bcfmt_err check_keys(struct node_check *nc)
{
	const struct bcfmt_node *node = nc->view->node;
	bcfmt_err err = BCFMT_OK;

	if (nc->view->is_plain)
		return BCFMT_OK;
	for (uint32_t i = 0; !err && i < node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &node->bsets[i];
		struct bcfmt_key_iter it = bcfmt_key_iter_init(bset->keys, bset->words);
		struct bcfmt_key key;

		if (bset->fault)
			continue;
		nc->where.block = bset->block;
		while (!err && key_iter_step(&it, &key))
			err = check_key(nc, &it, &key);
		nc->where.key = BCFMT_NO_NUMBER;
		if (!err && it.is_overrun)
			err = CHECK_REPORT(nc->ck, NODE_NOT_TILING, &nc->where,
					   BCFMT_U64("level", nc->view->ref->level));
	}
	nc->where.block = BCFMT_NO_NUMBER;
	return err;
}

/*
 * The signature of FORMAT 14.2: many keys out of order, hardly any of size 0, which right inserts
 * leave behind where they overwrite (some inserts of that kernel went right: it depends on what
 * lay on its stack). One displaced key may be any other fault.
 */
static bool is_insert_bug(const struct bcfmt_node_view *view)
{
	return view->skipped_backwards >= 4 && view->skipped_backwards >= view->keys / 16 &&
	       view->zero_size_keys <= view->skipped_backwards / 16;
}

static bcfmt_err check_order(struct node_check *nc)
{
	const struct bcfmt_node_view *view = nc->view;
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; !err && i < view->node->n_bsets; i++) {
		const struct bcfmt_bset *bset = &view->node->bsets[i];

		nc->where.block = bset->block;
		if (bset->skipped_backwards)
			err = CHECK_REPORT(nc->ck, NODE_DISORDER, &nc->where,
					   BCFMT_U64("level", view->ref->level),
					   BCFMT_U64("places", bset->skipped_backwards),
					   BCFMT_U64("keys", bset->key_count));
	}
	nc->where.block = BCFMT_NO_NUMBER;
	if (!err && is_insert_bug(view))
		err = CHECK_REPORT(nc->ck, NODE_INSERT_BUG, &nc->where,
				   BCFMT_U64("places", view->skipped_backwards),
				   BCFMT_U64("zero", view->zero_size_keys),
				   BCFMT_U64("same", view->same_range_keys),
				   BCFMT_U64("placeholders", view->placeholders));
	return err;
}

bcfmt_err check_node(void *arg, const struct bcfmt_node_view *view)
{
	struct check *ck = arg;
	uint64_t bucket = bcfmt_ptr_bucket(&ck->set->geo, view->ref->ptr);
	struct node_check nc = { .ck = ck, .view = view,
				 .where = check_where_bucket(ck, "node", bucket) };
	bool is_cut;
	bcfmt_err err;

	nc.where.sector = bcfmt_ptr_sector(view->ref->ptr);
	__atomic_fetch_add(&ck->read_bytes, (uint64_t)view->ref->sectors * BCFMT_SECTOR_BYTES,
			   __ATOMIC_RELAXED);
	is_cut = view->node->fault || view->bad.sectors || view->is_overrun;
	if (is_cut || view->is_disordered)
		__atomic_fetch_or(&ck->set->buckets[bucket].use, BCFMT_USE_DAMAGED,
				  __ATOMIC_RELAXED);
	err = check_place(&nc);
	if (!err)
		err = check_layout(&nc);
	if (!err)
		err = check_order(&nc);
	if (!err)
		err = check_keys(&nc);
	/* No kernel gets to what only a search found. */
	return err || view->ref->is_found ? err : predict_node(ck, view, nc.is_odd);
}
