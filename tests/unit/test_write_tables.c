/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblocks, prio chains, uuid tables and journal entries: what is written, what is refused. */
#include "write_help.h"

#include <bcfmt/prio.h>

#include "kit/set_kit.h"
#include "write/write_impl.h"

static struct set_kit kit;
static struct bcfmt_target target;

static void begin_with(const struct set_kit_shape *shape)
{
	write_begin();
	set_kit_init(&kit, shape);
	target = (struct bcfmt_target){ write_ctx, kit.dev, &kit.geo };
}

/* 1500 buckets of 4 KiB: two prio sets. */
static void begin(void)
{
	begin_with(&(struct set_kit_shape){
		.block_sectors = 2, .bucket_sectors = 8, .nbuckets = 1500 });
}

static void end(void)
{
	set_kit_clear(&kit);
	write_end();
}

TestSuite(write_super, .init = begin, .fini = end);
TestSuite(write_prios, .init = begin, .fini = end);
TestSuite(write_uuids, .init = begin, .fini = end);
TestSuite(write_jset, .init = begin, .fini = end);

static bool is_all(const uint8_t *bytes, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* ---- superblocks ---- */

Test(write_super, bytes_without_a_field_stay)
{
	uint8_t raw[BCFMT_SUPER_BYTES], around[1024];
	struct bcfmt_super super = kit.super, decoded;

	memset(raw, 0xd7, sizeof(raw));
	set_kit_write(&kit, 8, raw, sizeof(raw));
	memset(around, 0x11, sizeof(around));
	set_kit_write(&kit, 6, around, sizeof(around));
	set_kit_write(&kit, 16, around, sizeof(around));
	super.seq = 12;
	memcpy(super.label, "a label of all thirty-two bytes!", 32);
	cr_assert_eq(bcfmt_super_write(write_ctx, kit.dev, &super, 0), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	set_kit_read(&kit, 8, raw, sizeof(raw));
	bcfmt_super_decode(raw, &decoded);
	cr_expect_eq(decoded.csum, decoded.csum_computed);
	cr_expect_eq(decoded.seq, 12);
	cr_expect_str_eq(decoded.label, super.label);
	cr_expect_eq(bcfmt_super_faults(&decoded, bcfmt_dev_bytes(kit.dev), 512, 4096), 0);
	cr_expect(is_all(raw + 2258, sizeof(raw) - 2258, 0xd7));
	cr_expect(is_all(raw + 144, 40, 0xd7));
	set_kit_read(&kit, 6, around, sizeof(around));
	cr_expect(is_all(around, sizeof(around), 0x11));
	set_kit_read(&kit, 16, around, sizeof(around));
	cr_expect(is_all(around, sizeof(around), 0x11));
}

Test(write_super, faults_are_refused_but_those_that_are_known)
{
	struct bcfmt_super super = kit.super;
	uint8_t raw[BCFMT_SUPER_BYTES];

	super.block_sectors = 3;
	write_expect_fault(bcfmt_super_write(write_ctx, kit.dev, &super, 0), BCFMT_E_ARG,
			   "its block size is no power of two");
	super.flags |= 7u << 2;
	write_expect_fault(bcfmt_super_write(write_ctx, kit.dev, &super,
					     BCFMT_SUPER_BLOCK_NOT_POW2),
			   BCFMT_E_ARG, "its replacement policy is unknown");
	set_kit_read(&kit, 8, raw, sizeof(raw));
	cr_expect(is_all(raw, sizeof(raw), 0));
	cr_expect_eq(bcfmt_super_write(write_ctx, kit.dev, &super,
				       BCFMT_SUPER_BLOCK_NOT_POW2 | BCFMT_SUPER_BAD_REPLACEMENT),
		     BCFMT_OK);
	super.keys = 257;
	write_expect_fault(bcfmt_super_write(write_ctx, kit.dev, &super, UINT32_MAX), BCFMT_E_ARG,
			   "257 journal buckets");
}

/* Each fault of a superblock has its words. */
Test(write_super, every_fault_is_told)
{
	const char *last = NULL;

	for (unsigned int bit = 0; bit <= 27; bit++) {
		const char *text = write_super_refusal(1u << bit);

		cr_assert_not_null(text);
		cr_expect(!last || strcmp(text, last), "bit %u", bit);
		last = text;
	}
	cr_expect_null(write_super_refusal(0));
}

Test(write_super, one_write_and_one_flush)
{
	struct bcfmt_dev_faults faults = { .fail_write = 1, .once = true };
	uint8_t raw[BCFMT_SUPER_BYTES];

	cr_assert_eq(bcfmt_dev_faulty(write_ctx, kit.dev, &faults, &kit.dev), BCFMT_OK);
	write_expect_fault(bcfmt_super_write(write_ctx, kit.dev, &kit.super, 0), BCFMT_E_IO,
			   "sector 8: cannot write");
	set_kit_read(&kit, 8, raw, sizeof(raw));
	cr_expect(is_all(raw, sizeof(raw), 0));
	faults = (struct bcfmt_dev_faults){ .fail_write = 2, .fail_flush = 1 };
	cr_assert_eq(bcfmt_dev_faulty(write_ctx, kit.dev, &faults, &kit.dev), BCFMT_OK);
	write_expect_fault(bcfmt_super_write(write_ctx, kit.dev, &kit.super, 0), BCFMT_E_IO,
			   "cannot flush");
}

/* A sector that cannot be read can be written: its tail is then zero. */
Test(write_super, over_an_unreadable_one)
{
	struct bcfmt_dev_faults faults = { .fail_read = 1 };
	struct bcfmt_dev *lower = kit.dev;
	struct bcfmt_super decoded;
	uint8_t raw[BCFMT_SUPER_BYTES];

	memset(raw, 0xd7, sizeof(raw));
	set_kit_write(&kit, 8, raw, sizeof(raw));
	cr_assert_eq(bcfmt_dev_faulty(write_ctx, lower, &faults, &kit.dev), BCFMT_OK);
	cr_expect_eq(bcfmt_super_write(write_ctx, kit.dev, &kit.super, 0), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_read(lower, 4096, raw, sizeof(raw)), BCFMT_OK);
	bcfmt_super_decode(raw, &decoded);
	cr_expect_eq(decoded.csum, decoded.csum_computed);
	cr_expect(is_all(raw + 2258, sizeof(raw) - 2258, 0));
}

/* ---- prio chains ---- */

static void entry(void *arg, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	(void)arg;
	*prio = (uint16_t)(bucket * 3 + 1);
	*gen = (uint8_t)(bucket + 5);
}

static struct bcfmt_prio_chain chain_of(const uint64_t *links, size_t n)
{
	return (struct bcfmt_prio_chain){
		.links = links, .n_links = n, .seq = 8, .last_next = 77, .entry = entry
	};
}

Test(write_prios, entries_of_all_buckets)
{
	uint64_t links[2] = { 1400, 50 };
	struct bcfmt_prio_chain chain = chain_of(links, 2);
	struct bcfmt_bucket *buckets = calloc(1500, sizeof(*buckets));
	uint8_t junk[4096], raw[2][4096], again[4096];
	struct bcfmt_prio_set set;
	uint16_t prio;
	uint8_t gen;

	memset(junk, 0x99, sizeof(junk));
	set_kit_write(&kit, 50 * 8, junk, sizeof(junk));
	cr_assert_eq(bcfmt_prio_chain_write(&target, &chain), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	set_kit_read(&kit, 1400 * 8, raw[0], 4096);
	set_kit_read(&kit, 50 * 8, raw[1], 4096);
	cr_expect_eq(bcfmt_prio_decode(&kit.geo, raw[0], &set), BCFMT_PRIO_OK);
	cr_expect_eq(set.seq, 8);
	cr_expect_eq(set.next_bucket, 50);
	cr_expect_eq(bcfmt_prio_decode(&kit.geo, raw[1], &set), BCFMT_PRIO_OK);
	cr_expect_eq(set.next_bucket, 77);
	for (uint32_t i = 0; i < 2 * kit.geo.prios_per_bucket; i++) {
		uint64_t first_data = (uint64_t)kit.geo.first_bucket + kit.geo.journal_buckets;
		bool has_entry = i >= first_data && i < 1500;

		bcfmt_prio_entry(raw[i / 1352], i % 1352, &prio, &gen);
		cr_assert_eq(prio, has_entry ? (uint16_t)(i * 3 + 1) : 0, "bucket %u", i);
		cr_assert_eq(gen, has_entry ? (uint8_t)(i + 5) : 0, "bucket %u", i);
		if (i < 1500)
			buckets[i] = (struct bcfmt_bucket){ .prio = (uint16_t)(i * 3 + 1),
							    .gen = (uint8_t)(i + 5) };
	}
	/* The same from the map of a set. */
	chain.buckets = buckets;
	chain.entry = NULL;
	cr_assert_eq(bcfmt_prio_chain_write(&target, &chain), BCFMT_OK);
	set_kit_read(&kit, 50 * 8, again, 4096);
	cr_expect(!memcmp(raw[1], again, sizeof(again)));
	free(buckets);
}

Test(write_prios, without_rules_the_rest_of_the_set_stays)
{
	uint64_t links[2] = { 1400, 50 };
	struct bcfmt_prio_chain chain = chain_of(links, 2);
	uint8_t junk[4096], raw[4096];
	struct bcfmt_prio_set set;
	uint16_t prio;
	uint8_t gen;

	memset(junk, 0x99, sizeof(junk));
	set_kit_write(&kit, 50 * 8, junk, sizeof(junk));
	cr_assert_eq(bcfmt_prio_chain_write_raw(&target, &chain), BCFMT_OK);
	set_kit_read(&kit, 50 * 8, raw, 4096);
	cr_expect_eq(bcfmt_prio_decode(&kit.geo, raw, &set), BCFMT_PRIO_OK);
	cr_expect(is_all(raw + 40 + 3 * (1500 - 1352), 4096 - 40 - 3 * (1500 - 1352), 0x99));
	set_kit_read(&kit, 1400 * 8, raw, 4096);
	bcfmt_prio_entry(raw, 0, &prio, &gen);
	cr_expect_eq(prio, 1);
	cr_expect_eq(gen, 5);
	/* A chain that is too short, or names the journal. */
	links[0] = kit.geo.first_bucket;
	chain.n_links = 1;
	cr_expect_eq(bcfmt_prio_chain_write_raw(&target, &chain), BCFMT_OK);
	links[0] = 1500;
	cr_expect_eq(bcfmt_prio_chain_write_raw(&target, &chain), BCFMT_E_RANGE);
}

Test(write_prios, chains_that_are_refused)
{
	uint64_t links[3] = { 1400, 50, 60 };
	struct bcfmt_prio_chain chain = chain_of(links, 1);

	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "1 sets");
	chain.n_links = 3;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "3 sets");
	chain.n_links = 2;
	chain.seq = 0;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "seq 0");
	chain.seq = 1;
	links[1] = 1400;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "bucket 1400");
	links[1] = 1500;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "bucket 1500");
	links[1] = kit.geo.first_bucket + 1u;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "cannot hold");
	links[1] = 0;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_ARG, "bucket 0");
}

/* The head of the chain must not be there before what it leads to. */
Test(write_prios, the_last_set_comes_first)
{
	uint64_t links[2] = { 1400, 50 };
	struct bcfmt_prio_chain chain = chain_of(links, 2);
	struct bcfmt_dev_faults faults = { .fail_write = 2 };
	struct bcfmt_dev *lower = kit.dev;
	struct bcfmt_prio_set set;
	uint8_t raw[4096];

	cr_assert_eq(bcfmt_dev_faulty(write_ctx, lower, &faults, &kit.dev), BCFMT_OK);
	target.dev = kit.dev;
	write_expect_fault(bcfmt_prio_chain_write(&target, &chain), BCFMT_E_IO, "injected");
	set_kit_read(&kit, 50 * 8, raw, 4096);
	cr_expect_eq(bcfmt_prio_decode(&kit.geo, raw, &set), BCFMT_PRIO_OK);
	set_kit_read(&kit, 1400 * 8, raw, 4096);
	cr_expect(is_all(raw, sizeof(raw), 0));
}

/* ---- uuid tables ---- */

static struct bcfmt_uuid_entry entries[3];

static void make_entries(void)
{
	memset(entries, 0, sizeof(entries));
	memset(entries[0].uuid, 0xb0, BCFMT_UUID_BYTES);
	memcpy(entries[1].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	memset(entries[2].uuid, 0xb2, BCFMT_UUID_BYTES);
	strcpy(entries[2].label, "volume");
	entries[2].flags = BCFMT_UUID_FLASH_ONLY;
	entries[2].sectors = 4096;
	entries[2].first_reg = 5;
	entries[2].last_reg = 6;
	entries[1].invalidated = 7;
}

Test(write_uuids, a_whole_meta_bucket)
{
	struct bcfmt_uuid_entry decoded;
	uint8_t raw[4096];

	make_entries();
	memset(raw, 0x99, sizeof(raw));
	set_kit_write(&kit, 200 * 8, raw, sizeof(raw));
	cr_assert_eq(bcfmt_uuids_write(&target, 200, entries, 3), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	set_kit_read(&kit, 200 * 8, raw, sizeof(raw));
	for (uint32_t i = 0; i < 3; i++) {
		bcfmt_uuid_decode(raw + i * 128, 1, &decoded);
		cr_expect(!memcmp(&decoded, &entries[i], sizeof(decoded)), "slot %u", i);
	}
	cr_expect(is_all(raw + 3 * 128, sizeof(raw) - 3 * 128, 0));
	/* Without entries, and as many as there is room for. */
	cr_expect_eq(bcfmt_uuids_write(&target, 201, NULL, 0), BCFMT_OK);
	write_expect_fault(bcfmt_uuids_write_raw(&target, 201, entries, 33, 1), BCFMT_E_ARG,
			   "33 entries");
}

Test(write_uuids, slots_of_version_0)
{
	struct bcfmt_uuid_entry decoded;
	uint8_t raw[4096];

	make_entries();
	cr_assert_eq(bcfmt_uuids_write_raw(&target, 200, entries, 3, 0), BCFMT_OK);
	set_kit_read(&kit, 200 * 8, raw, sizeof(raw));
	bcfmt_uuid_decode(raw + 2 * 64, 0, &decoded);
	cr_expect_str_eq(decoded.label, "volume");
	cr_expect_eq(decoded.last_reg, 6);
	cr_expect(is_all(raw + 2 * 64 + 60, sizeof(raw) - 2 * 64 - 60, 0));
}

Test(write_uuids, tables_that_are_refused)
{
	struct bcfmt_uuid_entry many[33];

	make_entries();
#define TABLE(part) \
	write_expect_fault(bcfmt_uuids_write(&target, 200, entries, 3), BCFMT_E_ARG, part)
	entries[2].flags |= 4;
	TABLE("slot 2 has unknown flags");
	entries[2].flags = 0;
	TABLE("slot 2 has a size and is no volume");
	entries[2].flags = 1;
	entries[2].sectors = 0;
	TABLE("slot 2 is a volume without a size");
	entries[2].sectors = 1;
	memset(entries[2].uuid, 0xb0, BCFMT_UUID_BYTES);
	TABLE("b0b0b0b0-b0b0-b0b0-b0b0-b0b0b0b0b0b0 stands in two slots");
	/* Detached slots all have the same uuid. */
	memcpy(entries[2].uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES);
	cr_expect_eq(bcfmt_uuids_write(&target, 200, entries, 3), BCFMT_OK);
	write_expect_fault(bcfmt_uuids_write(&target, kit.geo.first_bucket, entries, 3),
			   BCFMT_E_ARG, "cannot hold");
	write_expect_fault(bcfmt_uuids_write(&target, 1500, entries, 3), BCFMT_E_ARG,
			   "cannot hold");
	write_expect_fault(bcfmt_uuids_write_raw(&target, 1500, entries, 3, 1), BCFMT_E_ARG,
			   "bucket 1500");
	memset(many, 0, sizeof(many));
	write_expect_fault(bcfmt_uuids_write(&target, 200, many, 33), BCFMT_E_ARG, "33 entries");
}

/* ---- journal entries ---- */

static struct bcfmt_jset good_jset(void)
{
	struct bcfmt_jset jset = { .seq = 9, .last_seq = 4, .version = 1, .btree_level = 1 };

	jset.btree_root = set_kit_last_child(&kit, set_kit_ptr(&kit, 300, 0));
	jset.uuid_bucket = bcfmt_key_make(0, 0, 8, false, true, set_kit_ptr(&kit, 301, 0));
	jset.prio_bucket[0] = 302;
	return jset;
}

Test(write_jset, padding_is_zero_up_to_the_block)
{
	struct bcfmt_key keys[50];
	struct bcfmt_jset jset = good_jset(), decoded;
	uint8_t words[50 * 24], raw[4096];
	uint64_t sector = (kit.geo.first_bucket + 3u) * 8u;

	for (uint32_t i = 0; i < 50; i++)
		keys[i] = i % 7 ? set_kit_dirty(1, 500 - i, 8, set_kit_ptr(&kit, 400 + i, 0))
				: set_kit_hole(0, i, 1);
	jset.keys = words;
	jset.keys_field = bcfmt_keys_encode(keys, 50, words);
	memset(raw, 0x99, sizeof(raw));
	set_kit_write(&kit, sector, raw, sizeof(raw));
	cr_assert_eq(bcfmt_jset_write(&target, &jset, 3, 2), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	set_kit_read(&kit, sector, raw, sizeof(raw));
	cr_expect(is_all(raw, 1024, 0x99));
	cr_assert_eq(bcfmt_jset_decode(&kit.geo, raw + 1024, 3072, &decoded), BCFMT_JSET_OK);
	cr_expect_eq(decoded.seq, 9);
	cr_expect_eq(decoded.last_seq, 4);
	cr_expect_eq(decoded.blocks, 2);
	cr_expect(!memcmp(decoded.keys, words, 8 * jset.keys_field));
	cr_expect(is_all(raw + 1024 + decoded.bytes, 2048 - decoded.bytes, 0));
	cr_expect(is_all(raw + 3072, 1024, 0x99));
	/* Without rules the rest of the block stays. */
	memset(raw, 0x99, sizeof(raw));
	set_kit_write(&kit, sector, raw, sizeof(raw));
	cr_assert_eq(bcfmt_jset_write_raw(&target, &jset, 3, 1), BCFMT_OK);
	set_kit_read(&kit, sector, raw, sizeof(raw));
	cr_expect(is_all(raw + 512 + decoded.bytes, 4096 - 512 - decoded.bytes, 0x99));
}

Test(write_jset, entries_that_are_refused)
{
	struct bcfmt_jset jset;
	struct bcfmt_key key;
	uint8_t words[4096];

#define JSET(statement, part)                                                                  \
	do {                                                                                   \
		jset = good_jset();                                                            \
		jset.keys = words;                                                             \
		statement;                                                                     \
		write_expect_fault(bcfmt_jset_write(&target, &jset, 0, 0), BCFMT_E_ARG, part); \
	} while (0)
	JSET(jset.seq = 0, "first needed entry");
	JSET(jset.last_seq = 0, "first needed entry");
	JSET(jset.last_seq = 10, "first needed entry");
	JSET(jset.seq = 32770, "first needed entry");
	JSET(jset.version = 0, "version");
	JSET(jset.btree_level = 256, "level");
	JSET(jset.btree_root.low--, "root");
	JSET(jset.btree_root.ptr += 1 << 8, "root");
	JSET(jset.btree_root = set_kit_last_child(&kit, set_kit_ptr(&kit, 4, 0)), "root");
	JSET(jset.btree_root.high &= ~(7ull << 60), "root");
	JSET(jset.btree_root.high -= 1ull << 20, "root");
	JSET(jset.uuid_bucket.high -= 1ull << 20, "uuid table");
	JSET(jset.uuid_bucket.low++, "uuid table");
	JSET(jset.uuid_bucket.ptr = set_kit_ptr(&kit, 4, 0), "uuid table");
	JSET(jset.uuid_bucket.ptr |= 1ull << 51, "uuid table");
	JSET(jset.prio_bucket[0] = 4, "prio bucket");
	JSET(jset.prio_bucket[0] = 1500, "prio bucket");
	JSET(jset.prio_bucket[7] = 302, "other members");
	key = set_kit_dirty(0, 8, 0, set_kit_ptr(&kit, 400, 0));
	JSET(jset.keys_field = bcfmt_keys_encode(&key, 1, words), "has no size");
	key = set_kit_dirty(0, 8, 8, set_kit_ptr(&kit, 4, 0));
	JSET(jset.keys_field = bcfmt_keys_encode(&key, 1, words), "journal");
	key = set_kit_dirty(0, 8, 8, set_kit_ptr(&kit, 400, 0));
	JSET(jset.keys_field = bcfmt_keys_encode(&key, 1, words) - 1, "last word");
	jset = good_jset();
	write_expect_fault(bcfmt_jset_write(&target, &jset, 0, 1), BCFMT_E_ARG, "aligned");
	write_expect_fault(bcfmt_jset_write(&target, &jset, 8, 0), BCFMT_E_ARG, "outside");
	write_expect_fault(bcfmt_jset_write(&target, &jset, 0, 8), BCFMT_E_ARG, "outside");
	write_expect_fault(bcfmt_jset_write_raw(&target, &jset, 8, 0), BCFMT_E_ARG, "outside");
	cr_expect_eq(bcfmt_jset_write(&target, &jset, 7, 6), BCFMT_OK);
}

static struct bcfmt_key *fill_keys(struct bcfmt_jset *jset, uint32_t n, uint8_t *words)
{
	struct bcfmt_key *keys = calloc(n, sizeof(*keys));

	for (uint32_t i = 0; i < n; i++)
		keys[i] = set_kit_hole(0, i, 1);
	jset->keys = words;
	jset->keys_field = bcfmt_keys_encode(keys, n, words);
	return keys;
}

/* To the last word of the bucket; 8 pages in larger ones. */
Test(write_jset, the_largest_entries)
{
	static uint8_t words[1 << 16];
	struct bcfmt_jset jset = good_jset();

	free(fill_keys(&jset, (4096 - 240) / 16, words));
	cr_expect_eq(bcfmt_jset_write(&target, &jset, 1, 0), BCFMT_OK);
	write_expect_fault(bcfmt_jset_write(&target, &jset, 1, 2), BCFMT_E_ARG, "does not fit");
	free(fill_keys(&jset, (4096 - 240) / 16 + 1, words));
	write_expect_fault(bcfmt_jset_write(&target, &jset, 1, 0), BCFMT_E_ARG, "does not fit");
	write_expect_fault(bcfmt_jset_write_raw(&target, &jset, 1, 0), BCFMT_E_ARG, "does not fit");
	end();
	begin_with(&(struct set_kit_shape){ .bucket_sectors = 128 });
	jset = good_jset();
	jset.uuid_bucket = bcfmt_key_make(0, 0, 128, false, true, set_kit_ptr(&kit, 301, 0));
	free(fill_keys(&jset, (32768 - 240) / 16, words));
	cr_expect_eq(bcfmt_jset_write(&target, &jset, 1, 0), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(write_ctx));
	free(fill_keys(&jset, (32768 - 240) / 16 + 1, words));
	write_expect_fault(bcfmt_jset_write(&target, &jset, 1, 0), BCFMT_E_ARG, "8 pages");
	cr_expect_eq(bcfmt_jset_write_raw(&target, &jset, 1, 0), BCFMT_OK);
	jset.keys_field = UINT32_MAX;
	write_expect_fault(bcfmt_jset_write(&target, &jset, 1, 0), BCFMT_E_ARG, "8 pages");
	write_expect_fault(bcfmt_jset_write_raw(&target, &jset, 1, 0), BCFMT_E_ARG, "does not fit");
}
