/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes a whole new cache: layout, then everything from the leaves to the superblock. */
#include <bcfmt/write_set.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/journal.h>
#include <bcfmt/prio.h>

#include "base/checked.h"
#include "write/write_impl.h"

#define BUCKET_FIELD_MAX 65535u /* above it the superblock has the logarithm */
#define SUPER_END_SECTORS 24u	/* of the first buckets; make-bcache: 23 / bucket + 1 */
#define JOURNAL_MIN 2u
#define BTREE_RESERVE_MIN 32u /* kernel: free[RESERVE_BTREE] since 6.16 */
#define BTREE_RESERVE_MAX 256u
#define GEN_NEW 1u /* of a bucket that was used once */
#define ZERO_BYTES (1u << 20)
#define PAGE_BYTES 4096u
#define RING_INDEX_FIRST 1u /* a kernel never begins with 0 */

/* ---- layout ---- */

static uint64_t clamp_u64(uint64_t value, uint64_t low, uint64_t high)
{
	return min_u64(max_u64(value, low), high);
}

static bcfmt_err fill_super(struct bcfmt_ctx *ctx, uint64_t dev_bytes,
			    const struct bcfmt_new_set_params *params, struct bcfmt_super *super)
{
	static const uint8_t magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
					   0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };
	uint64_t dev_sectors = dev_bytes / BCFMT_SECTOR_BYTES;
	bool is_large = params->bucket_sectors > BUCKET_FIELD_MAX;

	if (!is_pow2(params->bucket_sectors) || !is_pow2(params->block_sectors) ||
	    params->block_sectors > params->bucket_sectors ||
	    params->block_sectors > PAGE_BYTES / BCFMT_SECTOR_BYTES)
		return bcfmt_fail(ctx, BCFMT_E_ARG,
				  "a cache with blocks of %" PRIu32 " and buckets of %" PRIu32
				  " sectors is not possible",
				  params->block_sectors, params->bucket_sectors);
	if (params->label && strlen(params->label) > BCFMT_LABEL_BYTES)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "label '%s' is longer than %u bytes",
				  params->label, BCFMT_LABEL_BYTES);
	*super = (struct bcfmt_super){
		.offset_sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES,
		.version = is_large ? 5 : 3,
		.flags = params->flags | BCFMT_SUPER_FLAG_SYNC,
		.seq = 1,
		.feature_incompat = is_large ? BCFMT_FEATURE_LARGE_BUCKET : 0,
		.nbuckets_or_data_offset =
			params->nbuckets ? params->nbuckets : dev_sectors / params->bucket_sectors,
		.block_sectors = (uint16_t)params->block_sectors,
		.bucket_field = is_large ? (uint16_t)log2_floor(params->bucket_sectors)
					 : (uint16_t)params->bucket_sectors,
		.nr_in_set = 1,
		.last_mount = params->last_mount,
		.first_bucket = (uint16_t)((SUPER_END_SECTORS - 1) / params->bucket_sectors + 1),
		.bucket_sectors = params->bucket_sectors,
	};
	super->keys = (uint16_t)clamp_u64(super->nbuckets_or_data_offset >> 7, JOURNAL_MIN,
					  BCFMT_SUPER_JOURNAL_MAX);
	for (uint16_t i = 0; i < super->keys; i++)
		super->journal_bucket[i] = (uint64_t)super->first_bucket + i;
	memcpy(super->magic, magic, sizeof(magic));
	memcpy(super->uuid, params->uuid, sizeof(super->uuid));
	memcpy(super->set_uuid, params->set_uuid, sizeof(super->set_uuid));
	if (params->label)
		memcpy(super->label, params->label, strlen(params->label));
	return BCFMT_OK;
}

/*
 * Buckets that a kernel wants without any use: for a prio chain, and for new nodes, of which
 * kernels before 6.16 want as many as there are journal buckets, which are never more.
 */
static uint64_t reserve_of(const struct bcfmt_new_set *set)
{
	return set->prio_buckets +
	       clamp_u64(set->geo.nbuckets >> 7, BTREE_RESERVE_MIN, BTREE_RESERVE_MAX);
}

static bcfmt_err check_super(struct bcfmt_ctx *ctx, uint64_t dev_bytes,
			     uint32_t logical_block_bytes, const struct bcfmt_super *super)
{
	const char *why = write_super_refusal(
		bcfmt_super_faults(super, dev_bytes, logical_block_bytes, PAGE_BYTES));

	if (!why)
		return BCFMT_OK;
	return bcfmt_fail(ctx, BCFMT_E_ARG,
			  "no kernel registers a cache of %" PRIu64 " buckets of %" PRIu32
			  " sectors with blocks of %u on a device of %" PRIu64 " bytes: %s",
			  super->nbuckets_or_data_offset, super->bucket_sectors,
			  super->block_sectors, dev_bytes, why);
}

bcfmt_err bcfmt_new_set_plan(struct bcfmt_ctx *ctx, uint64_t dev_bytes,
			     uint32_t logical_block_bytes,
			     const struct bcfmt_new_set_params *params, struct bcfmt_new_set *out)
{
	uint64_t reserve;
	bcfmt_err err;

	*out = (struct bcfmt_new_set){ 0 };
	err = fill_super(ctx, dev_bytes, params, &out->super);
	if (!err)
		err = check_super(ctx, dev_bytes, logical_block_bytes, &out->super);
	if (!err && bcfmt_geometry_init(&out->super, dev_bytes, PAGE_BYTES, &out->geo))
		err = bcfmt_fail(ctx, BCFMT_E_ARG, "the sizes of the cache fit no pointer");
	if (err)
		return err;
	if (params->n_uuids > out->geo.nr_uuids)
		return bcfmt_fail(ctx, BCFMT_E_ARG,
				  "%" PRIu32 " devices and volumes do not fit into %" PRIu32
				  " slots",
				  params->n_uuids, out->geo.nr_uuids);
	out->prio_bucket = (uint64_t)out->geo.first_bucket + out->geo.journal_buckets;
	out->prio_buckets = bcfmt_geometry_prio_buckets(&out->geo);
	out->uuid_bucket = out->prio_bucket + out->prio_buckets;
	out->node_bucket = out->uuid_bucket + 1;
	out->node_buckets = bcfmt_tree_nodes_max(&out->geo, params->fill_percent, params->max_keys);
	reserve = reserve_of(out);
	/* Each of these is far below the number of sectors that a pointer can name. */
	if (out->node_bucket + reserve > out->geo.nbuckets ||
	    out->node_buckets > out->geo.nbuckets - out->node_bucket - reserve)
		return bcfmt_fail(ctx, BCFMT_E_ARG,
				  "%" PRIu64 " buckets are too few: %" PRIu64
				  " for journal and tables, %" PRIu64 " for nodes, %" PRIu64
				  " that a kernel needs free",
				  out->geo.nbuckets, out->node_bucket, out->node_buckets, reserve);
	out->data_bucket = out->node_bucket + out->node_buckets;
	out->data_buckets = out->geo.nbuckets - out->data_bucket - reserve;
	return BCFMT_OK;
}

/* ---- writing ---- */

/* What is known of a bucket: this, and not the state of keys, stays in memory. */
struct use {
	uint32_t sectors; /* of data, saturating */
	uint16_t prio;	  /* 0: not used */
	uint8_t gen;
};

struct set_writer {
	const struct bcfmt_new_set_params *params;
	struct bcfmt_new_set *set;
	struct bcfmt_target target;
	struct use *use;
	uint64_t next_node;
};

static bcfmt_err take_node_bucket(void *arg, uint64_t *bucket, uint8_t *gen)
{
	struct set_writer *sw = arg;

	if (sw->next_node == sw->set->data_bucket)
		return bcfmt_fail(sw->target.ctx, BCFMT_E_ARG,
				  "%s: not written: more than the %" PRIu64 " keys planned for",
				  bcfmt_dev_name(sw->target.dev), sw->params->max_keys);
	*bucket = sw->next_node++;
	*gen = GEN_NEW;
	sw->use[*bucket] = (struct use){ 0, BCFMT_PRIO_BTREE, GEN_NEW };
	return BCFMT_OK;
}

static const char *device_refusal(const struct set_writer *sw, const struct bcfmt_key *key)
{
	const struct bcfmt_uuid_entry *entry;

	if (bcfmt_key_inode(key) >= sw->params->n_uuids)
		return "is of no device or volume";
	entry = &sw->params->uuids[bcfmt_key_inode(key)];
	if (bcfmt_uuid_state(entry) != BCFMT_UUID_LIVE)
		return "is of no device or volume";
	if (entry->flags & BCFMT_UUID_FLASH_ONLY && bcfmt_key_end_sector(key) > entry->sectors)
		return "ends behind its volume";
	return NULL;
}

/* Counts the bucket of a key whose pointer was judged already. */
static const char *bucket_refusal(struct set_writer *sw, const struct bcfmt_key *key)
{
	uint64_t bucket = bcfmt_ptr_bucket(&sw->set->geo, key->ptr);
	uint8_t gen = (uint8_t)bcfmt_ptr_gen(key->ptr);
	struct use *use = &sw->use[bucket];

	if (bucket < sw->set->data_bucket)
		return "lies in a bucket for metadata";
	if (use->prio && use->gen != gen)
		return "has another gen than its bucket";
	if (use->sectors + bcfmt_key_sectors(key) > sw->set->geo.bucket_sectors)
		return "overfills its bucket";
	sw->set->used_buckets += !use->prio;
	*use = (struct use){ use->sectors + bcfmt_key_sectors(key), BCFMT_PRIO_INITIAL, gen };
	return NULL;
}

static bcfmt_err take_key(struct set_writer *sw, const struct bcfmt_key *key)
{
	const char *why = write_leaf_key_refusal(&sw->set->geo, key);

	if (!why)
		why = device_refusal(sw, key);
	if (!why && bcfmt_key_ptr_count(key))
		why = bucket_refusal(sw, key);
	return why ? write_fail_key(&sw->target, key, why) : BCFMT_OK;
}

static bcfmt_err write_tree(struct set_writer *sw, bcfmt_key_fn next, void *next_arg)
{
	struct bcfmt_tree_writer_params params = { .bucket = take_node_bucket,
						   .bucket_arg = sw,
						   .seed = sw->params->seed,
						   .fill_percent = sw->params->fill_percent };
	struct bcfmt_tree_writer *writer;
	struct bcfmt_key key;
	bcfmt_err err = bcfmt_tree_writer_new(&sw->target, &params, &writer);

	while (!err && (err = next(next_arg, &key)) == BCFMT_OK) {
		err = take_key(sw, &key);
		if (!err)
			err = bcfmt_tree_writer_add(writer, &key);
	}
	if (err == BCFMT_END)
		err = bcfmt_tree_writer_finish(writer, &sw->set->tree);
	bcfmt_tree_writer_free(writer);
	return err;
}

static void prio_entry(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	const struct set_writer *sw = arg;

	*prio = sw->use[bucket].prio;
	*gen = sw->use[bucket].gen;
}

static bcfmt_err write_prios(struct set_writer *sw)
{
	const struct bcfmt_new_set *set = sw->set;
	struct bcfmt_prio_chain chain = {
		.n_links = (size_t)set->prio_buckets, .seq = 1, .entry = prio_entry, .entry_arg = sw
	};
	uint64_t *links = malloc(chain.n_links * sizeof(*links));
	bcfmt_err err;

	if (!links)
		return bcfmt_fail(sw->target.ctx, BCFMT_E_NOMEM,
				  "%s: out of memory for a prio chain",
				  bcfmt_dev_name(sw->target.dev));
	for (size_t i = 0; i < chain.n_links; i++)
		links[i] = set->prio_bucket + i;
	chain.links = links;
	err = bcfmt_prio_chain_write(&sw->target, &chain);
	free(links);
	return err;
}

static bcfmt_err write_journal(struct set_writer *sw)
{
	const struct bcfmt_new_set *set = sw->set;
	uint32_t n = sw->params->n_journal_keys;
	uint64_t seq = max_u64(sw->params->journal_seq, 1);
	struct bcfmt_jset jset = { .seq = seq,
				   .last_seq = seq,
				   .version = 1,
				   .btree_root = set->tree.root,
				   .btree_level = set->tree.level };
	uint8_t *raw = malloc(8ull * 3 * n + 1);
	bcfmt_err err;

	if (!raw)
		return bcfmt_fail(sw->target.ctx, BCFMT_E_NOMEM,
				  "%s: out of memory for a journal entry",
				  bcfmt_dev_name(sw->target.dev));
	jset.uuid_bucket = bcfmt_key_make(
		0, 0, set->geo.meta_bytes / BCFMT_SECTOR_BYTES, false, true,
		bcfmt_ptr_make(set->geo.nr_this_dev,
			       bcfmt_bucket_sector(&set->geo, set->uuid_bucket), GEN_NEW));
	jset.prio_bucket[set->geo.nr_this_dev] = set->prio_bucket;
	jset.keys_field = bcfmt_keys_encode(sw->params->journal_keys, n, raw);
	jset.keys = raw;
	err = bcfmt_jset_write(&sw->target, &jset, RING_INDEX_FIRST, 0);
	free(raw);
	return err;
}

/* Zeroes what is data in a range, so that a sparse file stays sparse. */
static bcfmt_err zero_range(const struct bcfmt_target *target, uint64_t begin_bytes,
			    uint64_t end_bytes)
{
	uint8_t *zeros = calloc(1, ZERO_BYTES);
	bcfmt_err err = BCFMT_OK;

	if (!zeros)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory",
				  bcfmt_dev_name(target->dev));
	while (!err && begin_bytes < end_bytes) {
		uint64_t data_bytes, stop_bytes;

		err = bcfmt_dev_next_data(target->dev, begin_bytes, &data_bytes, &stop_bytes);
		if (err || data_bytes >= end_bytes)
			break;
		stop_bytes = min_u64(min_u64(stop_bytes, end_bytes), data_bytes + ZERO_BYTES);
		if (bcfmt_ctx_is_cancelled(target->ctx))
			err = BCFMT_E_CANCELLED;
		else
			err = bcfmt_dev_write(target->dev, data_bytes, zeros,
					      (size_t)(stop_bytes - data_bytes));
		begin_bytes = stop_bytes;
	}
	free(zeros);
	return err == BCFMT_END ? BCFMT_OK : err;
}

/*
 * A set that was there must not be registered half overwritten; entries of one with the same uuid
 * would be taken for newer ones.
 */
static bcfmt_err wipe_old(const struct set_writer *sw)
{
	const struct bcfmt_geometry *geo = &sw->set->geo;
	uint64_t ring_bytes = bcfmt_bucket_sector(geo, geo->first_bucket) * BCFMT_SECTOR_BYTES;
	uint64_t ring_end_bytes =
		bcfmt_bucket_sector(geo, sw->set->prio_bucket) * BCFMT_SECTOR_BYTES;
	bcfmt_err err = zero_range(&sw->target, 0, BCFMT_SUPER_OFFSET_BYTES + BCFMT_SUPER_BYTES);

	if (!err)
		err = bcfmt_dev_flush(sw->target.dev);
	return err ? err : zero_range(&sw->target, ring_bytes, ring_end_bytes);
}

static bcfmt_err check_free(struct set_writer *sw)
{
	struct bcfmt_new_set *set = sw->set;

	set->free_buckets =
		set->geo.nbuckets - set->node_bucket - set->tree.nodes - set->used_buckets;
	if (set->free_buckets >= reserve_of(set))
		return BCFMT_OK;
	return bcfmt_fail(sw->target.ctx, BCFMT_E_ARG,
			  "%s: not written: %" PRIu64 " buckets left free, a kernel needs %" PRIu64,
			  bcfmt_dev_name(sw->target.dev), set->free_buckets, reserve_of(set));
}

static bcfmt_err write_all(struct set_writer *sw, bcfmt_key_fn next, void *next_arg)
{
	const struct bcfmt_new_set *set = sw->set;
	bcfmt_err err = wipe_old(sw);

	for (uint64_t i = set->prio_bucket; i <= set->uuid_bucket; i++)
		sw->use[i] = (struct use){ 0, BCFMT_PRIO_BTREE, GEN_NEW };
	if (!err)
		err = write_tree(sw, next, next_arg);
	for (uint32_t i = 0; !err && i < sw->params->n_journal_keys; i++)
		err = take_key(sw, &sw->params->journal_keys[i]);
	if (!err)
		err = check_free(sw);
	if (!err)
		err = bcfmt_uuids_write(&sw->target, set->uuid_bucket, sw->params->uuids,
					sw->params->n_uuids);
	if (!err)
		err = write_prios(sw);
	if (!err)
		err = bcfmt_dev_flush(sw->target.dev);
	if (!err)
		err = write_journal(sw);
	if (!err)
		err = bcfmt_dev_flush(sw->target.dev);
	return err ? err : bcfmt_super_write(sw->target.ctx, sw->target.dev, &set->super, 0);
}

bcfmt_err bcfmt_new_set_write(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			      const struct bcfmt_new_set_params *params, bcfmt_key_fn next,
			      void *next_arg, struct bcfmt_new_set *out)
{
	struct set_writer sw = { .params = params, .set = out };
	bcfmt_err err = bcfmt_new_set_plan(ctx, bcfmt_dev_bytes(dev),
					   bcfmt_dev_logical_block_bytes(dev), params, out);

	if (err)
		return err;
	sw.target = (struct bcfmt_target){ ctx, dev, &out->geo };
	sw.next_node = out->node_bucket;
	sw.use = calloc((size_t)out->geo.nbuckets, sizeof(*sw.use));
	if (!sw.use)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory for %" PRIu64 " buckets",
				  bcfmt_dev_name(dev), out->geo.nbuckets);
	err = write_all(&sw, next, next_arg);
	free(sw.use);
	return err;
}
