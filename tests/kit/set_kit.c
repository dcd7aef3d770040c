/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small cache set in memory. */
#include "set_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/write.h>

#define MUST(call)                                \
	do {                                      \
		bcfmt_err must_err = (call);      \
		if (must_err)                     \
			give_up(#call, must_err); \
	} while (0)

static void give_up(const char *what, bcfmt_err err)
{
	fprintf(stderr, "set kit: %s: %s\n", what, bcfmt_err_name(err));
	abort();
}

static void *must_have(void *memory)
{
	if (!memory)
		give_up("memory", BCFMT_E_NOMEM);
	return memory;
}

uint64_t set_kit_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

uint32_t set_kit_below(uint64_t *state, uint32_t n)
{
	return (uint32_t)(set_kit_random(state) >> 11) % n;
}

static struct bcfmt_super empty_super(uint8_t uuid_byte)
{
	static const uint8_t magic[16] = { 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca,
					   0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 };
	struct bcfmt_super super = { .offset_sector = 8 };

	memcpy(super.magic, magic, sizeof(magic));
	memset(super.uuid, uuid_byte, sizeof(super.uuid));
	memset(super.set_uuid, 0x5e, sizeof(super.set_uuid));
	return super;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
	return value ? value : fallback;
}

void set_kit_init(struct set_kit *kit, const struct set_kit_shape *shape)
{
	struct bcfmt_ctx_params params = { .threads = or_default(shape->threads, 1),
					   .cancelled = shape->cancelled };
	struct bcfmt_super *super = &kit->super;
	uint64_t bytes;

	memset(kit, 0, sizeof(*kit));
	MUST(bcfmt_ctx_new(&params, &kit->ctx));
	*super = empty_super(0xca);
	super->version = 3;
	super->flags = BCFMT_SUPER_FLAG_SYNC;
	super->nbuckets_or_data_offset = or_default(shape->nbuckets, 640);
	super->block_sectors = (uint16_t)or_default(shape->block_sectors, 1);
	super->bucket_sectors = or_default(shape->bucket_sectors, 16);
	super->bucket_field = (uint16_t)super->bucket_sectors;
	super->nr_in_set = 1;
	super->first_bucket = (uint16_t)(23 / super->bucket_sectors + 1);
	super->keys = (uint16_t)or_default(shape->journal_buckets, 8);
	for (uint16_t i = 0; i < super->keys; i++)
		super->journal_bucket[i] = (uint64_t)super->first_bucket + i;
	bytes = super->nbuckets_or_data_offset * super->bucket_sectors * BCFMT_SECTOR_BYTES;
	MUST(bcfmt_geometry_init(super, bytes, or_default(shape->page_bytes, 4096), &kit->geo));
	MUST(bcfmt_dev_mem(kit->ctx, "cache", NULL, bytes, &kit->dev));
	kit->gens = must_have(malloc(kit->geo.nbuckets));
	memset(kit->gens, 1, kit->geo.nbuckets);
	memset(kit->gens, 0, (size_t)super->first_bucket + super->keys);
	kit->prio_bucket = (uint64_t)super->first_bucket + super->keys;
	kit->prio_seq = 1;
	kit->uuid_bucket = kit->prio_bucket + bcfmt_geometry_prio_buckets(&kit->geo);
	kit->free_bucket = kit->uuid_bucket + 1;
	memset(kit->uuids[0].uuid, 0xb0, BCFMT_UUID_BYTES);
}

void set_kit_clear(struct set_kit *kit)
{
	bcfmt_set_free(kit->set);
	bcfmt_dev_free(kit->dev);
	for (size_t i = 0; i < kit->n_backing; i++)
		bcfmt_dev_free(kit->backing[i]);
	bcfmt_ctx_free(kit->ctx);
	free(kit->gens);
	memset(kit, 0, sizeof(*kit));
}

uint64_t set_kit_ptr(const struct set_kit *kit, uint64_t bucket, uint32_t sector)
{
	return bcfmt_ptr_make(0, bcfmt_bucket_sector(&kit->geo, bucket) + sector,
			      kit->gens[bucket]);
}

struct bcfmt_key set_kit_clean(uint32_t inode, uint64_t start_sector, uint32_t sectors,
			       uint64_t ptr)
{
	return bcfmt_key_make(inode, start_sector + sectors, sectors, false, true, ptr);
}

struct bcfmt_key set_kit_dirty(uint32_t inode, uint64_t start_sector, uint32_t sectors,
			       uint64_t ptr)
{
	return bcfmt_key_make(inode, start_sector + sectors, sectors, true, true, ptr);
}

struct bcfmt_key set_kit_hole(uint32_t inode, uint64_t start_sector, uint32_t sectors)
{
	return bcfmt_key_make(inode, start_sector + sectors, sectors, false, false, 0);
}

struct bcfmt_key set_kit_child(const struct set_kit *kit, struct bcfmt_pos pos, uint64_t ptr)
{
	return bcfmt_key_make(pos.inode, pos.sector, kit->geo.node_sectors, false, true, ptr);
}

struct bcfmt_key set_kit_last_child(const struct set_kit *kit, uint64_t ptr)
{
	return set_kit_child(kit, bcfmt_pos_max(), ptr);
}

void set_kit_write(struct set_kit *kit, uint64_t sector, const void *bytes, size_t len_bytes)
{
	MUST(bcfmt_dev_write(kit->dev, sector * BCFMT_SECTOR_BYTES, bytes, len_bytes));
}

void set_kit_read(const struct set_kit *kit, uint64_t sector, void *bytes, size_t len_bytes)
{
	MUST(bcfmt_dev_read(kit->dev, sector * BCFMT_SECTOR_BYTES, bytes, len_bytes));
}

void set_kit_spoil(struct set_kit *kit, uint64_t bucket, uint64_t offset_bytes)
{
	uint64_t sector =
		bcfmt_bucket_sector(&kit->geo, bucket) + offset_bytes / BCFMT_SECTOR_BYTES;
	uint8_t raw[BCFMT_SECTOR_BYTES];

	set_kit_read(kit, sector, raw, sizeof(raw));
	raw[offset_bytes % BCFMT_SECTOR_BYTES] ^= 0x55;
	set_kit_write(kit, sector, raw, sizeof(raw));
}

void set_kit_zero(struct set_kit *kit, uint64_t sector, uint32_t sectors)
{
	uint8_t *zeros = must_have(calloc(sectors, BCFMT_SECTOR_BYTES));

	set_kit_write(kit, sector, zeros, (size_t)sectors * BCFMT_SECTOR_BYTES);
	free(zeros);
}

static struct bcfmt_target target_of(const struct set_kit *kit)
{
	return (struct bcfmt_target){ kit->ctx, kit->dev, &kit->geo };
}

static uint32_t round_to_blocks(const struct set_kit *kit, uint64_t bytes)
{
	return (uint32_t)((bytes + bcfmt_block_bytes(&kit->geo) - 1) /
			  bcfmt_block_bytes(&kit->geo));
}

uint32_t set_kit_bset(struct set_kit *kit, uint64_t ptr, uint32_t block, uint64_t seq,
		      const struct bcfmt_key *keys, uint32_t n_keys)
{
	struct bcfmt_target target = target_of(kit);
	uint8_t *raw = must_have(malloc(24ull * n_keys + 1));
	struct bcfmt_bset_raw bset = { .ptr = ptr,
				       .node_sectors = kit->geo.bucket_sectors,
				       .block = block,
				       .seq = seq,
				       .version = 1,
				       .words = bcfmt_keys_encode(keys, n_keys, raw),
				       .keys = raw };

	MUST(bcfmt_bset_write_raw(&target, &bset));
	free(raw);
	return block + round_to_blocks(kit, BCFMT_BSET_HEADER_BYTES + 8ull * bset.words);
}

uint64_t set_kit_node(struct set_kit *kit, uint64_t bucket, const struct bcfmt_key *keys,
		      uint32_t n_keys)
{
	uint64_t ptr = set_kit_ptr(kit, bucket, 0);

	set_kit_bset(kit, ptr, 0, 0x5eed0000 + bucket, keys, n_keys);
	return ptr;
}

uint32_t set_kit_jset(struct set_kit *kit, const struct set_kit_jset *from)
{
	struct bcfmt_target target = target_of(kit);
	uint32_t meta_sectors = kit->geo.meta_bytes / BCFMT_SECTOR_BYTES;
	uint8_t *raw = must_have(calloc(1, 24ull * from->n_keys + 8ull * from->fill_words + 1));
	struct bcfmt_jset jset = { .seq = from->seq, .version = 1, .keys = raw };

	jset.last_seq = from->last_seq ? from->last_seq : from->seq;
	jset.btree_root = set_kit_last_child(kit, from->root_ptr);
	jset.btree_level = from->level;
	jset.uuid_bucket = bcfmt_key_make(0, 0, meta_sectors, false, true,
					  from->uuid_ptr ? from->uuid_ptr
							 : set_kit_ptr(kit, kit->uuid_bucket, 0));
	jset.prio_bucket[0] = from->prio_bucket ? from->prio_bucket : kit->prio_bucket;
	jset.keys_field = bcfmt_keys_encode(from->keys, from->n_keys, raw) + from->fill_words;
	MUST(bcfmt_jset_write_raw(&target, &jset, from->ring_index, from->sector));
	free(raw);
	return from->sector +
	       round_to_blocks(kit, BCFMT_JSET_HEADER_BYTES + 8ull * jset.keys_field) *
		       kit->geo.block_sectors;
}

void set_kit_first_jset(struct set_kit *kit, uint64_t root_ptr, uint16_t level)
{
	struct set_kit_jset jset = {
		.ring_index = 1, .seq = 1, .root_ptr = root_ptr, .level = level
	};

	set_kit_jset(kit, &jset);
}

static void prio_entry(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	const struct set_kit *kit = arg;

	*prio = BCFMT_PRIO_INITIAL;
	*gen = kit->gens[bucket];
}

void set_kit_prios(struct set_kit *kit, const uint64_t *buckets, size_t n_buckets)
{
	struct bcfmt_target target = target_of(kit);
	/* Of the last one the kernel leaves the head of an older chain. */
	struct bcfmt_prio_chain chain = { .links = buckets,
					  .n_links = n_buckets,
					  .seq = kit->prio_seq,
					  .last_next = 0xdead,
					  .entry = prio_entry,
					  .entry_arg = kit };

	MUST(bcfmt_prio_chain_write_raw(&target, &chain));
}

void set_kit_tables(struct set_kit *kit)
{
	struct bcfmt_target target = target_of(kit);
	uint64_t chain[16], n = bcfmt_geometry_prio_buckets(&kit->geo);
	uint32_t n_uuids = kit->geo.nr_uuids < SET_KIT_UUIDS ? kit->geo.nr_uuids : SET_KIT_UUIDS;

	if (n > sizeof(chain) / sizeof(chain[0]))
		give_up("a chain of so many prio sets", BCFMT_E_ARG);
	MUST(bcfmt_super_write(kit->ctx, kit->dev, &kit->super, UINT32_MAX));
	MUST(bcfmt_uuids_write_raw(&target, kit->uuid_bucket, kit->uuids, n_uuids, 1));
	for (uint64_t i = 0; i < n; i++)
		chain[i] = kit->prio_bucket + i;
	set_kit_prios(kit, chain, n);
}

void set_kit_backing(struct set_kit *kit, uint32_t slot, enum bcfmt_bdev_state state,
		     uint64_t sectors)
{
	static const char *const names[SET_KIT_BACKING_MAX] = { "backing0", "backing1", "backing2",
								"backing3" };
	struct bcfmt_super super = empty_super((uint8_t)(0xb0 + slot));
	struct bcfmt_dev *dev;

	super.version = 1;
	super.block_sectors = kit->super.block_sectors;
	super.flags = (uint64_t)state << 61;
	MUST(bcfmt_dev_mem(kit->ctx, names[kit->n_backing], NULL, sectors * BCFMT_SECTOR_BYTES,
			   &dev));
	MUST(bcfmt_super_write(kit->ctx, dev, &super, UINT32_MAX));
	kit->backing[kit->n_backing++] = dev;
	memcpy(kit->uuids[slot].uuid, super.uuid, BCFMT_UUID_BYTES);
}

bcfmt_err set_kit_open(struct set_kit *kit)
{
	struct bcfmt_dev *devs[1 + SET_KIT_BACKING_MAX] = { kit->dev };

	for (size_t i = 0; i < kit->n_backing; i++)
		devs[1 + i] = kit->backing[i];
	bcfmt_set_free(kit->set);
	return bcfmt_set_open(kit->ctx, devs, 1 + kit->n_backing, NULL, &kit->set);
}

void set_kit_check(struct set_kit *kit, enum bcfmt_check_level level, struct set_kit_result *out)
{
	struct bcfmt_check_params params = { .level = level, .kernel = 6001 };

	memset(out, 0, sizeof(*out));
	if (!kit->set)
		out->err = set_kit_open(kit);
	if (!out->err)
		out->err = bcfmt_report_new(kit->ctx, &out->report);
	if (!out->err)
		out->err =
			bcfmt_check_run(kit->set, &params, out->report, &out->verdict, NULL, NULL);
	if (!out->err)
		bcfmt_report_finish(out->report);
}

void set_kit_result_clear(struct set_kit_result *result)
{
	bcfmt_report_free(result->report);
	bcfmt_verdict_clear(&result->verdict);
	memset(result, 0, sizeof(*result));
}

uint64_t set_kit_problems(const struct set_kit_result *result, enum bcfmt_severity least)
{
	uint64_t total = 0;

	for (enum bcfmt_severity severity = least; severity <= BCFMT_SEV_FATAL; severity++)
		total += bcfmt_report_severity_total(result->report, severity);
	return total;
}

static void write_verdict(FILE *out, const struct bcfmt_verdict *verdict)
{
	fprintf(out, "nodes %llu leaves %llu extents %llu entries %llu keys %llu free %llu\n",
		(unsigned long long)verdict->nodes, (unsigned long long)verdict->leaves,
		(unsigned long long)verdict->extents, (unsigned long long)verdict->replay_entries,
		(unsigned long long)verdict->replay_keys,
		(unsigned long long)verdict->free_buckets);
	fprintf(out, "registers %u complete %u unplaced %llu\n", verdict->registers,
		verdict->is_complete, (unsigned long long)verdict->unplaced_dirty_bytes);
	for (size_t i = 0; i < verdict->n_first_lines; i++)
		fprintf(out, "line %s\n", verdict->first_lines[i]);
	for (size_t i = 0; i < verdict->n_predictions; i++) {
		const struct bcfmt_prediction *prediction = &verdict->predictions[i];

		fprintf(out, "kernel %u outcomes %x outcome %u stage %u effects %zu\n",
			prediction->kernel, prediction->outcomes, prediction->outcome,
			prediction->stage, prediction->n_effects);
		for (size_t j = 0; j < prediction->n_first_lines; j++)
			fprintf(out, "first %s\n", prediction->first_lines[j]);
	}
	for (size_t i = 0; i < verdict->n_devices; i++) {
		const struct bcfmt_verdict_device *device = &verdict->devices[i];

		fprintf(out,
			"inode %u dirty %llu again %llu clean %llu lost %llu sure %u safe %u\n",
			device->inode, (unsigned long long)device->dirty_bytes,
			(unsigned long long)device->redirtied_bytes,
			(unsigned long long)device->clean_bytes,
			(unsigned long long)device->lost_bytes, device->certainty,
			device->safe_alone);
	}
}

char *set_kit_result_text(const struct set_kit_result *result)
{
	char *text = NULL;
	size_t text_bytes = 0;
	FILE *out = must_have(open_memstream(&text, &text_bytes));

	fprintf(out, "err %d\n", result->err);
	for (size_t i = 0; i < bcfmt_report_count(result->report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(result->report, i);
		char message[512];

		bcfmt_finding_message(finding, message, sizeof(message));
		fprintf(out, "%s sector %lld bucket %lld block %lld key %lld: %s\n",
			finding->problem->slug, (long long)finding->where.sector,
			(long long)finding->where.bucket, (long long)finding->where.block,
			(long long)finding->where.key, message);
	}
	fprintf(out, "suppressed %llu\n",
		(unsigned long long)bcfmt_report_suppressed(result->report));
	write_verdict(out, &result->verdict);
	fclose(out);
	return text;
}

const struct bcfmt_verdict_device *set_kit_device(const struct set_kit_result *result,
						  uint32_t inode)
{
	for (size_t i = 0; i < result->verdict.n_devices; i++)
		if (result->verdict.devices[i].has_inode &&
		    result->verdict.devices[i].inode == inode)
			return &result->verdict.devices[i];
	return NULL;
}
