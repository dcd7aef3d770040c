/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Superblocks that other tools wrote over, devices that are something else, and what must not be
 * proposed because nothing proves it.
 */
#include "super_help.h"

#include <bcfmt/write.h>

#include "kit/set_kit.h"

static struct super_fixture fixture;
static struct set_kit kit;

static void begin(void)
{
	help_begin();
}

static void end(void)
{
	super_close(&fixture);
	help_end();
}

TestSuite(repair_super_cases, .init = begin, .fini = end, .timeout = 100);

static void expect(const struct super_proposal *proposal, enum super_outcome outcome,
		   const char *part)
{
	char *text = super_text(proposal);

	cr_expect_eq(proposal->outcome, outcome, "%s", text);
	cr_expect(strstr(text, part), "'%s' is not in: %s", part, text);
	free(text);
}

/* ---- what other tools write ------------------------------------------------------------- */

static void put(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *bytes, size_t len_bytes)
{
	cr_assert_eq(bcfmt_dev_write(dev, offset_bytes, bytes, len_bytes), BCFMT_OK);
}

/* A protective MBR, a GPT with one partition, and its 128 entries. */
static void put_gpt(struct bcfmt_dev *dev)
{
	uint8_t table[34 * 512] = { 0 };

	table[446 + 4] = 0xee;
	store_le32(table + 446 + 8, 1);
	store_le32(table + 446 + 12, UINT32_MAX);
	table[510] = 0x55;
	table[511] = 0xaa;
	memcpy(table + 512, "EFI PART", 8);
	store_le32(table + 512 + 8, 0x10000);
	store_le32(table + 512 + 12, 92);
	store_le64(table + 512 + 24, 1);
	store_le64(table + 512 + 72, 2);
	store_le32(table + 512 + 80, 128);
	store_le32(table + 512 + 84, 128);
	help_fill(table + 1024, 0, 128, 9);
	put(dev, 0, table, sizeof(table));
}

/* A label in sector 1 and a metadata area from byte 4096 on. */
static void put_lvm(struct bcfmt_dev *dev)
{
	uint8_t label[512] = "LABELONE", area[2048] = { 0 };

	label[8] = 1;
	memcpy(label + 24, "LVM2 001", 8);
	memcpy(area + 4, " LVM2 x[5A%r0N*>", 16);
	help_fill(area + 512, 0, 1024, 4);
	put(dev, 512, label, sizeof(label));
	put(dev, 4096, area, sizeof(area));
}

/* Superblock, and the table of block groups where the superblock of bcache was. */
static void put_ext4(struct bcfmt_dev *dev, uint64_t at_bytes)
{
	uint8_t super[1024] = { 0 }, groups[4096] = { 0 };

	store_le32(super, 1024);
	store_le32(super + 4, 16384);
	store_le16(super + 56, 0xef53);
	store_le32(super + 76, 1);
	store_le32(super + 92, 4);
	store_le32(super + 96, 0x40);
	memset(super + 104, 0x11, 16);
	memcpy(super + 120, "home", 4);
	help_fill(groups, 0, 512, 3);
	put(dev, at_bytes + 1024, super, sizeof(super));
	put(dev, at_bytes + 4096, groups, sizeof(groups));
}

static void put_over(struct bcfmt_dev *dev, unsigned int kind)
{
	switch (kind) {
	case 0:
		put_gpt(dev);
		break;
	case 1:
		put_lvm(dev);
		break;
	default:
		put_ext4(dev, 0);
		break;
	}
}

/* Of a cache; of a backing device the fields that are not junk. */
static void expect_super(const char *what, const struct super_proposal *proposal,
			 const struct bcfmt_super *right)
{
	const struct bcfmt_super *got = &proposal->super;
	char *text = super_text(proposal);

	cr_expect_eq(proposal->outcome, SUPER_PROPOSED, "%s: %s", what, text);
	cr_expect_eq(got->version, right->version, "%s: %s", what, text);
	cr_expect(!memcmp(got->set_uuid, right->set_uuid, 16), "%s: %s", what, text);
	if (right->is_backing) {
		cr_expect(!memcmp(got->uuid, right->uuid, 16), "%s: %s", what, text);
		cr_expect_eq(got->data_offset_sectors, right->data_offset_sectors, "%s: %s", what,
			     text);
	} else {
		cr_expect_eq(got->nbuckets_or_data_offset, right->nbuckets_or_data_offset, "%s: %s",
			     what, text);
		cr_expect_eq(got->bucket_sectors, right->bucket_sectors, "%s: %s", what, text);
		cr_expect_eq(got->block_sectors, right->block_sectors, "%s: %s", what, text);
		cr_expect_eq(got->first_bucket, right->first_bucket, "%s: %s", what, text);
		cr_expect_eq(got->keys, right->keys, "%s: %s", what, text);
		cr_expect(got->flags & BCFMT_SUPER_FLAG_SYNC, "%s: %s", what, text);
	}
	/* Nothing of the other tool's is left in it. */
	cr_expect(bytes_are_zero(proposal->raw + 144, 40), "%s", what);
	cr_expect(bytes_are_zero(proposal->raw + 2258, BCFMT_SUPER_BYTES - 2258), "%s", what);
	free(text);
}

static void over(const char *image)
{
	static const char *const names[] = { "gpt", "lvm", "ext4" };
	struct super_proposal proposal;

	super_open(&fixture, image);
	for (unsigned int kind = 0; kind < 3; kind++)
		for (size_t which = 0; which < fixture.n; which++) {
			struct bcfmt_dev *partners[SUPER_HELP_MAX];
			size_t n = 0;
			char what[64];
			bcfmt_err err;

			super_overlays(&fixture);
			put_over(fixture.devs[which], kind);
			for (size_t i = 0; i < fixture.n; i++)
				if (i != which)
					partners[n++] = fixture.devs[i];
			err = (which ? repair_super_backing : repair_super_cache)(
				help_ctx, fixture.devs[which], partners, n, &proposal);
			cr_assert_eq(err, BCFMT_OK);
			snprintf(what, sizeof(what), "%s %zu under %s", image, which, names[kind]);
			expect_super(what, &proposal, &fixture.supers[which]);
		}
}

#define OVER(name)                            \
	Test(repair_super_cases, over_##name) \
	{                                     \
		over(#name);                  \
	}
OVER(clean)
OVER(dirty)
OVER(deep)
OVER(deep2)
OVER(multi)
OVER(full)
OVER(blk4k)
OVER(large)
OVER(ext4)

/* ---- what is missing -------------------------------------------------------------------- */

/* Nobody else has the second half of the set uuid; the proposal says so. */
Test(repair_super_cases, cache_alone)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct super_proposal proposal;

	super_open(&fixture, "dirty");
	super_put(&fixture, 0, raw);
	cr_assert_eq(repair_super_cache(help_ctx, fixture.devs[0], NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_PROPOSED, "set uuid (guess) ");
	cr_expect_eq(proposal.guessed, 1u << SUPER_FIELD_SET_UUID);
	cr_expect(!memcmp(proposal.super.set_uuid, fixture.supers[0].set_uuid, 8));
	cr_expect(memcmp(proposal.super.set_uuid, fixture.supers[0].set_uuid, 16));
	cr_expect_eq(proposal.super.keys, fixture.supers[0].keys);

	/* Its checksum has it, when all else of the superblock is right. */
	memcpy(raw, fixture.raws[0], sizeof(raw));
	help_fill(raw + 56, 0, 16, 7);
	super_put(&fixture, 0, raw);
	cr_assert_eq(repair_super_cache(help_ctx, fixture.devs[0], NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_PROPOSED, "set uuid (guess) ");
	cr_expect(!memcmp(proposal.super.set_uuid, fixture.supers[0].set_uuid, 16));
}

/* Nodes and prio sets give the geometry where no journal entry is left. */
Test(repair_super_cases, ring_gone)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct super_proposal proposal;
	const struct bcfmt_super *super;

	super_open(&fixture, "deep");
	super = &fixture.supers[0];
	super_put(&fixture, 0, raw);
	cr_assert_eq(bcfmt_dev_zero(fixture.devs[0],
				    (uint64_t)super->first_bucket * super->bucket_sectors * 512,
				    (uint64_t)super->keys * super->bucket_sectors * 512),
		     BCFMT_OK);
	cr_assert_eq(repair_super_cache(help_ctx, fixture.devs[0], fixture.devs + 1, fixture.n - 1,
					&proposal),
		     BCFMT_OK);
	expect_super("ring gone", &proposal, super);
	expect(&proposal, SUPER_PROPOSED, "no journal entry is left");
}

Test(repair_super_cases, prios_gone)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct super_proposal proposal;

	super_open(&fixture, "dirty");
	super_put(&fixture, 0, raw);
	for (uint64_t bucket = 9; bucket < 1024; bucket++) {
		uint8_t head[512];

		cr_assert_eq(bcfmt_dev_read(fixture.devs[0], bucket * 65536, head, 512), BCFMT_OK);
		/* set magic ^ the prio magic */
		if (load_le64(head + 8) ==
		    (load_le64(fixture.supers[0].set_uuid) ^ 0x6750e15f87337f91ull))
			cr_assert_eq(bcfmt_dev_zero(fixture.devs[0], bucket * 65536, 65536),
				     BCFMT_OK);
	}
	cr_assert_eq(repair_super_cache(help_ctx, fixture.devs[0], fixture.devs + 1, 1, &proposal),
		     BCFMT_OK);
	expect_super("prios gone", &proposal, &fixture.supers[0]);
	expect(&proposal, SUPER_PROPOSED, "0 prio sets verify");
	expect(&proposal, SUPER_PROPOSED, "uuid table and the root that the journal names");
}

/* A device that was cut after it was formatted lacks what the chain and the ring speak of. */
Test(repair_super_cases, device_cut)
{
	struct super_proposal proposal;
	struct bcfmt_dev *file;
	char path[HELP_PATH_BYTES];

	super_open(&fixture, "dirty");
	cr_assert_eq(truncate(help_path(path, "cache.img"), 40 << 20), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &file), BCFMT_OK);
	cr_assert_eq(repair_super_cache(help_ctx, file, fixture.devs + 1, 1, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "the device was cut");
	bcfmt_dev_free(file);
}

/* ---- what is something else ------------------------------------------------------------- */

Test(repair_super_cases, foreign)
{
	struct super_proposal proposal;
	struct bcfmt_dev *dev;
	char path[HELP_PATH_BYTES];

	super_open(&fixture, "dirty");
	help_text("foreign", "");
	cr_assert_eq(truncate(help_path(path, "foreign"), 64 << 20), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &dev), BCFMT_OK);
	cr_assert_eq(repair_super_cache(help_ctx, dev, fixture.devs + 1, 1, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "no journal entry, node or prio set");
	put_ext4(dev, 0);
	cr_assert_eq(repair_super_cache(help_ctx, dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_FOREIGN, "it holds ext4 with label home");
	cr_assert_eq(repair_super_backing(help_ctx, dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_FOREIGN, "it holds ext4 with label home");
	/* The cache's only device is given. */
	cr_assert_eq(repair_super_backing(help_ctx, dev, fixture.devs, 2, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_FOREIGN, "the cache knows no backing device that is not given");
	bcfmt_dev_free(dev);
}

/* Clean data that the cache has differs from what is on the device: another disk. */
Test(repair_super_cases, wrong_disk)
{
	struct super_proposal proposal;
	struct bcfmt_dev *dev;

	super_open(&fixture, "multi");
	dev = help_mem((size_t)bcfmt_dev_bytes(fixture.files[2]), 5);
	cr_assert_eq(repair_super_backing(help_ctx, dev, fixture.devs, 2, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "no slot of the cache's table");
	bcfmt_dev_free(dev);
}

/* ---- of several, none ------------------------------------------------------------------- */

static void kit_begin(void)
{
	struct set_kit_shape shape = { .journal_buckets = 5 };

	set_kit_init(&kit, &shape);
}

/* A set with this uuid in the buckets from first on, its entry in a ring bucket. */
static void kit_set(uint8_t uuid, uint64_t first, uint32_t ring_index)
{
	struct set_kit_jset jset = { .ring_index = ring_index };
	struct bcfmt_key keys[3];
	uint64_t root_ptr;
	uint32_t block;

	memset(kit.super.set_uuid, uuid, BCFMT_UUID_BYTES);
	kit.geo.set_magic = load_le64(kit.super.set_uuid);
	kit.prio_bucket = first;
	kit.uuid_bucket = first + 1;
	for (uint32_t i = 0; i < 3; i++)
		keys[i] = set_kit_dirty(0, 100 + 8 * i, 8, set_kit_ptr(&kit, first + 3, 0));
	set_kit_tables(&kit);
	root_ptr = set_kit_ptr(&kit, first + 2, 0);
	block = set_kit_bset(&kit, root_ptr, 0, 7, keys, 1);
	set_kit_bset(&kit, root_ptr, block, 7, keys + 1, 2);
	jset.root_ptr = root_ptr;
	jset.seq = 1;
	jset.sector = set_kit_jset(&kit, &jset);
	jset.seq = 2;
	jset.last_seq = 1;
	set_kit_jset(&kit, &jset);
}

Test(repair_super_cases, two_sets)
{
	struct super_proposal proposal;

	kit_begin();
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	kit_set(0x31, 20, 1);
	kit_set(0x32, 30, 2);
	set_kit_zero(&kit, 8, 8);
	cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "remains of 2 sets are equally good");
	expect(&proposal, SUPER_UNKNOWN, "3131313131313131 and 3232323232323232");

	/* A device of one of them decides. */
	for (uint8_t uuid = 0x31; uuid <= 0x32; uuid++) {
		uint8_t raw[BCFMT_SUPER_BYTES];

		cr_assert_eq(bcfmt_dev_read(kit.backing[0], 4096, raw, sizeof(raw)), BCFMT_OK);
		memset(raw + 56, uuid, 16);
		store_le64(raw, bcfmt_super_csum(raw));
		cr_assert_eq(bcfmt_dev_write(kit.backing[0], 4096, raw, sizeof(raw)), BCFMT_OK);
		cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, kit.backing, 1, &proposal),
			     BCFMT_OK);
		expect(&proposal, SUPER_PROPOSED, "2 journal entries up to 2 are in the ring");
		cr_expect_eq(proposal.super.set_uuid[0], uuid);
		cr_expect_eq(proposal.super.set_uuid[15], uuid);
		cr_expect_eq(proposal.guessed, 0);
	}
	set_kit_clear(&kit);
}

/* A new superblock over an old set stays, whatever the old set left. */
Test(repair_super_cases, made_anew)
{
	struct bcfmt_super super;
	struct super_proposal proposal;

	kit_begin();
	kit_set(0x31, 20, 1);
	super = kit.super;
	memset(super.set_uuid, 0x55, BCFMT_UUID_BYTES);
	super.version = 0;
	super.flags = super.keys = 0;
	cr_assert_eq(bcfmt_super_write(kit.ctx, kit.dev, &super, UINT32_MAX), BCFMT_OK);
	cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_SOUND, "");
	/* The same set uuid again. */
	memset(super.set_uuid, 0x31, BCFMT_UUID_BYTES);
	cr_assert_eq(bcfmt_super_write(kit.ctx, kit.dev, &super, UINT32_MAX), BCFMT_OK);
	cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_SOUND, "");
	set_kit_clear(&kit);
}

/* One entry and one bset have any block size. */
Test(repair_super_cases, block_not_proved)
{
	struct super_proposal proposal;

	kit_begin();
	set_kit_backing(&kit, 0, BCFMT_BDEV_CLEAN, 4096);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, set_kit_node(&kit, kit.free_bucket, NULL, 0), 0);
	set_kit_zero(&kit, 8, 8);
	cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, NULL, 0, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "to prove the block size");
	cr_assert_eq(repair_super_cache(kit.ctx, kit.dev, kit.backing, 1, &proposal), BCFMT_OK);
	expect(&proposal, SUPER_PROPOSED, "block size (guess) 1 sectors");
	set_kit_clear(&kit);
}

/* Two slots, nothing to compare: either could be it, until the other device is given. */
Test(repair_super_cases, two_slots)
{
	struct super_proposal proposal;
	struct bcfmt_dev *partners[2];

	kit_begin();
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	set_kit_backing(&kit, 1, BCFMT_BDEV_DIRTY, 4096);
	kit_set(0x31, 20, 1);
	cr_assert_eq(bcfmt_dev_zero(kit.backing[0], 4096, 4096), BCFMT_OK);
	partners[0] = kit.dev;
	partners[1] = kit.backing[1];
	cr_assert_eq(repair_super_backing(kit.ctx, kit.backing[0], partners, 1, &proposal),
		     BCFMT_OK);
	expect(&proposal, SUPER_UNKNOWN, "or more than one");
	cr_assert_eq(repair_super_backing(kit.ctx, kit.backing[0], partners, 2, &proposal),
		     BCFMT_OK);
	expect(&proposal, SUPER_PROPOSED, ": slot 0");
	expect(&proposal, SUPER_PROPOSED, "24 dirty sectors");
	cr_expect_eq(bcfmt_super_bdev_state(&proposal.super), BCFMT_BDEV_DIRTY);
	set_kit_clear(&kit);
}

/* ---- where the data begins -------------------------------------------------------------- */

/* The device of slot 0, whose file system begins at this sector; keys begin at 100. */
static void offset_at(uint64_t sector, struct super_proposal *proposal)
{
	kit_begin();
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 65536);
	kit_set(0x31, 20, 1);
	if (sector)
		put_ext4(kit.backing[0], sector * 512);
	cr_assert_eq(bcfmt_dev_zero(kit.backing[0], 4096, 4096), BCFMT_OK);
	cr_assert_eq(repair_super_backing(kit.ctx, kit.backing[0], &kit.dev, 1, proposal),
		     BCFMT_OK);
}

Test(repair_super_cases, offset_by_signature)
{
	struct super_proposal proposal;

	offset_at(64, &proposal);
	expect(&proposal, SUPER_PROPOSED, "data offset 64 sectors: ext4 begins there");
	cr_expect_eq(proposal.super.version, 4);
	cr_expect_eq(proposal.super.data_offset_sectors, 64);
	set_kit_clear(&kit);
	/* The cache holds data before it. */
	offset_at(2048, &proposal);
	expect(&proposal, SUPER_PROPOSED, "version and features (guess)");
	cr_expect_eq(proposal.super.data_offset_sectors, 16);
	set_kit_clear(&kit);
	offset_at(0, &proposal);
	expect(&proposal, SUPER_PROPOSED, "version and features (guess)");
	cr_expect_eq(proposal.super.data_offset_sectors, 16);
	set_kit_clear(&kit);
}

/* The superblock of the file system is dirty in the cache and nowhere else. */
Test(repair_super_cases, offset_by_cached_signature)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super super;
	struct super_proposal proposal;

	super_open(&fixture, "ext4");
	/* As if the data began at 32: the volume does not, and 16 is found by what is there. */
	super = fixture.supers[1];
	super.version = 4;
	super.nbuckets_or_data_offset = 8;
	bcfmt_super_encode(&super, raw);
	super_put(&fixture, 1, raw);
	cr_assert_eq(repair_super_backing(help_ctx, fixture.devs[1], fixture.devs, 1, &proposal),
		     BCFMT_OK);
	expect(&proposal, SUPER_PROPOSED, "data offset 16 sectors: the least");
	cr_expect_eq(proposal.super.data_offset_sectors, 16);
}

/* ---- what cannot be read ---------------------------------------------------------------- */

Test(repair_super_cases, unreadable)
{
	struct super_proposal proposal;
	struct bcfmt_dev *file, *bad;
	char path[HELP_PATH_BYTES], map[HELP_PATH_BYTES];

	super_open(&fixture, "dirty");
	help_text("map", "0x0 +\n0x0 0x1000 +\n0x1000 0x1000 -\n0x2000 0x3ffe000 +\n");
	cr_assert_eq(bcfmt_dev_open(help_ctx, help_path(path, "cache.img"), 0, &file), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_badmap(help_ctx, file, help_path(map, "map"), &bad), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
	cr_assert_eq(repair_super_cache(help_ctx, bad, fixture.devs + 1, 1, &proposal), BCFMT_OK);
	expect_super("unreadable", &proposal, &fixture.supers[0]);
	bcfmt_dev_free(bad);
}
