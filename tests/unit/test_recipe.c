/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The recipe language: errors, the same bytes every time, and what decoders find in its images. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bcfmt/jset.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "kit/recipe.h"

#define BUCKET_BYTES 8192u
#define CACHE_BYTES  (600u * BUCKET_BYTES)

static char dir[] = "/tmp/test-recipe-XXXXXX";

static void make_dir(void)
{
	cr_assert(mkdtemp(dir));
}

static void remove_dir(void)
{
	static const char *const names[] = { "cache.img", "backing0.img", "backing1.img",
					     "cache.map", "backing0.map", "backing1.map" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
		snprintf(path, sizeof(path), "%s/again/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/again", dir);
	rmdir(path);
	rmdir(dir);
}

static void build_to(const char *text, const char *base_dir, const char *out_dir)
{
	struct recipe_error error;
	struct recipe *recipe;

	cr_assert(recipe_parse("test", text, strlen(text), &recipe, &error), "%s", error.text);
	cr_assert(recipe_build(recipe, base_dir, out_dir, &error), "%s", error.text);
	recipe_free(recipe);
}

static void build(const char *text)
{
	build_to(text, NULL, dir);
}

/* The whole file, freed by the caller. */
static uint8_t *read_file(const char *in_dir, const char *name, size_t *bytes)
{
	char path[256];
	struct stat status;
	uint8_t *raw;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", in_dir, name);
	fd = open(path, O_RDONLY);
	cr_assert(fd >= 0, "%s", path);
	cr_assert(!fstat(fd, &status));
	*bytes = (size_t)status.st_size;
	raw = calloc(1, *bytes + 1);
	cr_assert(raw);
	cr_assert_eq(read(fd, raw, *bytes), (ssize_t)*bytes);
	close(fd);
	return raw;
}

static uint8_t *read_cache(struct bcfmt_geometry *geo)
{
	struct bcfmt_super super;
	size_t bytes;
	uint8_t *raw = read_file(dir, "cache.img", &bytes);

	cr_assert_eq(bytes, CACHE_BYTES);
	bcfmt_super_decode(raw + BCFMT_SUPER_OFFSET_BYTES, &super);
	cr_assert_eq(bcfmt_geometry_init(&super, bytes, 4096, geo), BCFMT_OK);
	return raw;
}

/* ---- errors ---- */

struct bad_recipe {
	char text[160];
	char error[80];
};

ParameterizedTestParameters(recipe, names_what_is_wrong)
{
	static struct bad_recipe rows[] = {
		{ "", "test: no cache, backing or base line" },
		{ "frob", "test:1: 'frob': is no statement" },
		{ "\n\n  # only comments\nfrob x", "test:4: 'frob': is no statement" },
		{ "cache buckets=600", "test:1: 'bucket': is missing" },
		{ "cache buckets=600 bucket=8", "'8': is no size with a unit" },
		{ "cache buckets=600 bucket=8q", "'8q': is no size with a unit" },
		{ "cache buckets=600 bucket=1000b", "'1000b': is no multiple of 512" },
		{ "cache buckets=sixhundred bucket=8k", "'sixhundred': is no number" },
		{ "cache buckets=-1 bucket=8k", "'-1': is no number" },
		{ "cache buckets=99999999999999999999 bucket=8k", "is no number" },
		{ "cache buckets=600 bucket=8k colour=red", "'colour=red': unknown here" },
		{ "cache buckets=600 bucket=8k bucket=4k", "'bucket=4k': unknown here" },
		{ "cache buckets=600 bucket=3k", "powers of two" },
		{ "cache buckets=4 bucket=8k journal=9", "gives no geometry" },
		{ "cache buckets=600 bucket=8k\ncache buckets=6 bucket=8k", "must come once" },
		{ "cache buckets=600 bucket=8k set=seed:x", "is no uuid" },
		{ "cache buckets=600 bucket=8k label=\"open", "open quote" },
		{ "node root level=0", "'node': needs a cache line" },
		{ "cache buckets=600 bucket=8k\nkey start=1s len=1s hole", "below no node" },
		{ "cache buckets=600 bucket=8k\nbset", "below no node" },
		{ "cache buckets=600 bucket=8k\nnode a level=0\nkey start=8s len=8s",
		  "needs one of ptr=, hole" },
		{ "cache buckets=600 bucket=8k\nnode a level=0\nkey start=8s len=8s ptr=30",
		  "'30': is no place" },
		{ "cache buckets=600 bucket=8k\nnode a level=0\nkey start=8 len=8s hole",
		  "'8': is no size" },
		{ "cache buckets=600 bucket=8k\nnode a level=0\nnode a level=0", "defined twice" },
		{ "cache buckets=600 bucket=8k\nnode root level=1\nchild b upto=max",
		  "test:3: 'b': is named but" },
		{ "cache buckets=600 bucket=8k\nnode root level=1\nchild b upto=7",
		  "'7': is no position" },
		{ "cache buckets=600 bucket=8k\ngen bucket=600 gen=1", "'600': is too large" },
		{ "cache buckets=600 bucket=8k\nprio bucket=3,x", "is no list of buckets" },
		{ "cache buckets=600 bucket=8k\nprio bucket=30,31", "as many as the chain" },
		{ "cache buckets=600 bucket=8k\nuuid slot=0 device=backing0", "is no device" },
		{ "cache buckets=600 bucket=8k\nset super.version 3", "has the form PATH = VALUE" },
		{ "cache buckets=600 bucket=8k\nwants BC0105", "is no slug" },
		{ "base ../x", "is no name of a fixture" },
		{ "cache buckets=600 bucket=8k\nbase dirty", "must come first" },
		{ "backing\nbacking\nbacking\nbacking\nbacking\nbacking\nbacking\nbacking\nbacking",
		  "test:9: 'backing': at most 8" },
	};

	return cr_make_param_array(struct bad_recipe, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct bad_recipe *row, recipe, names_what_is_wrong)
{
	struct recipe_error error;
	struct recipe *recipe;

	cr_expect(!recipe_parse("test", row->text, strlen(row->text), &recipe, &error));
	cr_expect_null(recipe);
	cr_expect(strstr(error.text, row->error), "got \"%s\", want \"%s\"", error.text,
		  row->error);
	recipe_free(recipe);
}

Test(recipe, bounds_words_and_lines)
{
	struct recipe_error error;
	struct recipe *recipe;
	char text[4096];

	memset(text, 'a', sizeof(text));
	cr_expect(!recipe_parse("test", text, sizeof(text), &recipe, &error));
	cr_expect(strstr(error.text, "too long"));
	for (size_t i = 0; i < 200; i++)
		text[i] = i % 2 ? ' ' : 'w';
	cr_expect(!recipe_parse("test", text, 200, &recipe, &error));
	cr_expect(strstr(error.text, "more than 64 words"), "%s", error.text);
	cr_expect(!recipe_parse("test", "cache\0x", 7, &recipe, &error));
	cr_expect(strstr(error.text, "zero byte"));
}

/* What only shows when the image is made. */
ParameterizedTestParameters(recipe, cannot_be_built)
{
	static struct bad_recipe rows[] = {
		{ "set super.colour = 3", "test:2: 'super.colour': names no field" },
		{ "set nothing.seq = 3", "names no structure" },
		{ "set node[root].bset[1].seq = 3", "names no structure" },
		{ "set node[root].bset[0].key[0].gen = 3", "has no such key" },
		{ "set journal[1].seq = 3", "names no structure" },
		{ "set super.keys = 65536", "has fewer bits" },
		{ "set super.keys = many", "needs a number" },
		{ "set super.uuid = 7", "needs a uuid" },
		{ "set super.journal[256] = 7", "no such number" },
		{ "set uuid[64].flags = 7", "no such number" },
		{ "set super.journal[1 = 7", "does not close" },
		{ "zero bucket=601", "beyond the end" },
		{ "zero at=5M len=4k", "beyond the end" },
		{ "poke bytes at=0b hex=0g", "is no hex" },
		{ "copy bucket=5 to=600", "beyond the end" },
		{ "node root level=0\nbset block=16", "does not fit into the node" },
		{ "journal seq=1 ring=1 at=16s", "is too large" },
		{ "node root level=0\nkeys 400 start=0s len=8s ptr=30+0s", "does not fit" },
	};

	return cr_make_param_array(struct bad_recipe, rows, sizeof(rows) / sizeof(rows[0]));
}

ParameterizedTest(struct bad_recipe *row, recipe, cannot_be_built, .init = make_dir,
		  .fini = remove_dir)
{
	struct recipe_error error;
	struct recipe *recipe;
	char text[256];

	snprintf(text, sizeof(text), "cache buckets=600 bucket=8k\n%s", row->text);
	if (recipe_parse("test", text, strlen(text), &recipe, &error))
		cr_expect(!recipe_build(recipe, NULL, dir, &error), "%s", row->text);
	cr_expect(strstr(error.text, row->error), "got \"%s\", want \"%s\"", error.text,
		  row->error);
	recipe_free(recipe);
}

/* ---- images ---- */

static const char whole[] = "cache buckets=600 bucket=8k label=\"a b\"\n"
			    "backing state=dirty size=1M\n"
			    "uuid slot=3 device=backing0 first=5 last=6\n"
			    "uuid slot=4 uuid=seed:77 volume=64k label=vol\n"
			    "prio bucket=40 seq=9 next=871\n"
			    "uuids bucket=41 gen=2\n"
			    "gen bucket=77 gen=200 prio=12\n"
			    "data bucket=30 len=4k seed=5\n"
			    "data backing0 at=16s len=4k seed=5\n"
			    "node root level=1 bucket=50 gen=3\n"
			    "  tombstone bucket=60 gen=7\n"
			    "  child left upto=0:512s\n"
			    "  child right upto=max\n"
			    "node left level=0 bucket=51\n"
			    "  bset\n"
			    "  bset\n"
			    "    keys 5 start=16s len=6s step=8s ptr=30+0s gen=4 dirty\n"
			    "    key start=100s len=300s hole\n"
			    "node right level=0\n"
			    "  key inode=3 start=1024s len=8s placeholder\n"
			    "journal seq=7 last=6\n"
			    "  key inode=3 start=16s len=8s ptr=35+8s dirty\n"
			    "journal seq=8 last=6\n";

Test(recipe, gives_the_same_bytes_twice, .init = make_dir, .fini = remove_dir)
{
	static const char *const names[] = { "cache.img", "backing0.img" };
	char again[64];

	snprintf(again, sizeof(again), "%s/again", dir);
	cr_assert(!mkdir(again, 0755));
	build(whole);
	build_to(whole, NULL, again);
	for (size_t i = 0; i < 2; i++) {
		size_t bytes, again_bytes;
		uint8_t *raw = read_file(dir, names[i], &bytes);
		uint8_t *other = read_file(again, names[i], &again_bytes);

		cr_assert_eq(bytes, again_bytes);
		cr_expect(!memcmp(raw, other, bytes), "%s", names[i]);
		free(raw);
		free(other);
	}
}

Test(recipe, superblocks_decode_to_what_was_said, .init = make_dir, .fini = remove_dir)
{
	struct bcfmt_super cache, backing;
	uint8_t *raw;
	size_t bytes;

	build(whole);
	raw = read_file(dir, "cache.img", &bytes);
	bcfmt_super_decode(raw + BCFMT_SUPER_OFFSET_BYTES, &cache);
	free(raw);
	cr_expect_eq(bcfmt_super_faults(&cache, bytes, 512, 4096), 0);
	cr_expect_eq(cache.version, 3);
	cr_expect_eq(cache.nbuckets_or_data_offset, 600);
	cr_expect_eq(cache.bucket_sectors, 16);
	cr_expect_eq(cache.keys, 4);
	cr_expect_eq(cache.first_bucket, 2);
	cr_expect_eq(cache.journal_bucket[3], 5);
	cr_expect_eq(cache.flags, 1);
	cr_expect_str_eq(cache.label, "a b");

	raw = read_file(dir, "backing0.img", &bytes);
	bcfmt_super_decode(raw + BCFMT_SUPER_OFFSET_BYTES, &backing);
	free(raw);
	cr_expect_eq(bytes, 1u << 20);
	cr_expect_eq(bcfmt_super_faults(&backing, bytes, 512, 4096), 0);
	cr_expect(backing.is_backing);
	cr_expect_eq(bcfmt_super_bdev_state(&backing), BCFMT_BDEV_DIRTY);
	cr_expect(!memcmp(backing.set_uuid, cache.set_uuid, BCFMT_UUID_BYTES));
	cr_expect(memcmp(backing.uuid, cache.uuid, BCFMT_UUID_BYTES));
}

Test(recipe, journal_and_tables_decode, .init = make_dir, .fini = remove_dir)
{
	struct bcfmt_uuid_entry entry;
	struct bcfmt_prio_set prio;
	struct bcfmt_geometry geo;
	struct bcfmt_jset jset;
	uint8_t *raw;
	uint16_t value;
	uint8_t gen;

	build(whole);
	raw = read_cache(&geo);
	/* Ring bucket 1 is bucket 3. */
	cr_assert_eq(bcfmt_jset_decode(&geo, raw + 3 * BUCKET_BYTES, BUCKET_BYTES, &jset),
		     BCFMT_JSET_OK);
	cr_expect_eq(jset.seq, 7);
	cr_expect_eq(jset.last_seq, 6);
	cr_expect_eq(jset.keys_field, 3);
	cr_expect_eq(jset.btree_level, 1);
	cr_expect_eq(jset.btree_root.ptr, bcfmt_ptr_make(0, 50 * 16, 3));
	cr_expect_eq(jset.uuid_bucket.ptr, bcfmt_ptr_make(0, 41 * 16, 2));
	cr_expect_eq(jset.prio_bucket[0], 40);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw + 3 * BUCKET_BYTES + 512, BUCKET_BYTES - 512,
				       &jset),
		     BCFMT_JSET_OK);
	cr_expect_eq(jset.seq, 8);

	cr_assert_eq(bcfmt_prio_decode(&geo, raw + 40 * BUCKET_BYTES, &prio), BCFMT_PRIO_OK);
	cr_expect_eq(prio.seq, 9);
	cr_expect_eq(prio.next_bucket, 871);
	bcfmt_prio_entry(raw + 40 * BUCKET_BYTES, 77, &value, &gen);
	cr_expect_eq(value, 12);
	cr_expect_eq(gen, 200);
	bcfmt_prio_entry(raw + 40 * BUCKET_BYTES, 60, &value, &gen);
	cr_expect_eq(gen, 7, "a tombstone raises the gen");
	bcfmt_prio_entry(raw + 40 * BUCKET_BYTES, 30, &value, &gen);
	cr_expect_eq(gen, 4);
	cr_expect_eq(value, BCFMT_PRIO_INITIAL);
	bcfmt_prio_entry(raw + 40 * BUCKET_BYTES, 50, &value, &gen);
	cr_expect_eq(value, BCFMT_PRIO_BTREE);

	bcfmt_uuid_decode(raw + 41 * BUCKET_BYTES + 3 * 128, 1, &entry);
	cr_expect_eq(bcfmt_uuid_state(&entry), BCFMT_UUID_LIVE);
	cr_expect_eq(entry.first_reg, 5);
	bcfmt_uuid_decode(raw + 41 * BUCKET_BYTES + 4 * 128, 1, &entry);
	cr_expect_eq(entry.flags, BCFMT_UUID_FLASH_ONLY);
	cr_expect_eq(entry.sectors, 128);
	cr_expect_str_eq(entry.label, "vol");
	bcfmt_uuid_decode(raw + 41 * BUCKET_BYTES, 1, &entry);
	cr_expect_eq(bcfmt_uuid_state(&entry), BCFMT_UUID_FREE);
	free(raw);
}

Test(recipe, nodes_decode, .init = make_dir, .fini = remove_dir)
{
	struct bcfmt_geometry geo;
	struct bcfmt_node node = { 0 };
	struct bcfmt_key_iter it;
	struct bcfmt_key key;
	uint8_t *raw;
	uint64_t root_ptr, left_ptr;

	build(whole);
	raw = read_cache(&geo);
	root_ptr = bcfmt_ptr_make(0, 50 * 16, 3);
	cr_assert_eq(bcfmt_node_decode(&node, &geo, raw + 50 * BUCKET_BYTES, 16, root_ptr),
		     BCFMT_OK);
	cr_expect_eq(node.fault, BCFMT_BSET_OK);
	cr_assert_eq(node.n_bsets, 1);
	it = bcfmt_key_iter_init(node.bsets[0].keys, node.bsets[0].words);
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_expect(bcfmt_key_is_zero_pos(&key));
	cr_expect_eq(key.ptr, bcfmt_ptr_make(0, 60 * 16, 7));
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_expect_eq(key.low, 512);
	cr_expect_eq(bcfmt_key_sectors(&key), 16);
	left_ptr = key.ptr;
	cr_expect_eq(left_ptr, bcfmt_ptr_make(0, 51 * 16, 1));

	/* The checksum is seeded with the pointer that the parent has. */
	cr_assert_eq(bcfmt_node_decode(&node, &geo, raw + 51 * BUCKET_BYTES, 16, left_ptr),
		     BCFMT_OK);
	cr_expect_eq(node.fault, BCFMT_BSET_OK);
	cr_assert_eq(node.n_bsets, 2);
	cr_expect_eq(node.bsets[0].words, 0);
	cr_expect_eq(node.bsets[1].words, 5 * 3 + 2);
	it = bcfmt_key_iter_init(node.bsets[1].keys, node.bsets[1].words);
	for (uint64_t i = 0; i < 5; i++) {
		/* 6 sectors fit twice into a bucket of 16. */
		uint64_t sector = (30 + i / 2) * 16 + i % 2 * 6;

		cr_assert(bcfmt_key_iter_next(&it, &key));
		cr_expect_eq(bcfmt_key_start_sector(&key), 16 + 8 * i);
		cr_expect(bcfmt_key_is_dirty(&key));
		cr_expect_eq(key.ptr, bcfmt_ptr_make(0, sector, 4), "key %zu", (size_t)i);
	}
	cr_assert(bcfmt_key_iter_next(&it, &key));
	cr_expect_eq(bcfmt_key_ptr_count(&key), 0);
	cr_expect_eq(bcfmt_key_sectors(&key), 300);
	bcfmt_node_clear(&node);
	free(raw);
}

Test(recipe, data_depends_on_seed_and_sector_only, .init = make_dir, .fini = remove_dir)
{
	static const uint8_t zeros[512];
	size_t cache_bytes, backing_bytes;
	uint8_t *cache, *backing;

	build(whole);
	cache = read_file(dir, "cache.img", &cache_bytes);
	backing = read_file(dir, "backing0.img", &backing_bytes);
	cr_expect(!memcmp(cache + 30 * BUCKET_BYTES, backing + 8192, 4096));
	cr_expect(memcmp(cache + 30 * BUCKET_BYTES, cache + 30 * BUCKET_BYTES + 512, 512));
	cr_expect(!memcmp(cache + 30 * BUCKET_BYTES + 4096, zeros, 512));
	free(cache);
	free(backing);
}

Test(recipe, dirty_keys_have_data_of_their_own_and_clean_ones_that_of_the_device,
     .init = make_dir, .fini = remove_dir)
{
	static const char text[] = "cache buckets=600 bucket=8k\n"
				   "backing state=dirty\n"
				   "uuid slot=0 device=backing0\n"
				   "node root level=0\n"
				   "  key start=16s len=8s ptr=30+0s dirty\n"
				   "  key start=24s len=8s ptr=31+0s\n";
	struct recipe_error error;
	struct recipe *recipe;
	size_t cache_bytes, backing_bytes;
	uint8_t *cache, *backing;

	cr_assert(recipe_parse("test", text, sizeof(text) - 1, &recipe, &error), "%s", error.text);
	recipe_fill(recipe);
	cr_assert(recipe_build(recipe, NULL, dir, &error), "%s", error.text);
	recipe_free(recipe);
	cache = read_file(dir, "cache.img", &cache_bytes);
	backing = read_file(dir, "backing0.img", &backing_bytes);
	cr_expect(memcmp(cache + 30 * 8192, backing + 16 * 512, 512));
	cr_expect(memcmp(cache + 30 * 8192, cache + 30 * 8192 + 512, 512));
	cr_expect(!memcmp(cache + 31 * 8192, backing + 24 * 512, 4096));
	cr_expect(memcmp(backing + 24 * 512, backing + 25 * 512, 512));
	free(cache);
	free(backing);
}

Test(recipe, set_mends_and_poke_does_not, .init = make_dir, .fini = remove_dir)
{
	static const char head[] = "cache buckets=600 bucket=8k\nprio bucket=40\n"
				   "node root level=0 bucket=50\nkey start=16s len=8s ptr=30+0s\n";
	static const char *const words[] = { "set", "poke" };

	for (size_t i = 0; i < 2; i++) {
		enum bcfmt_jset_fault jset_fault = i ? BCFMT_JSET_CSUM : BCFMT_JSET_OK;
		enum bcfmt_bset_fault bset_fault = i ? BCFMT_BSET_CSUM : BCFMT_BSET_OK;
		enum bcfmt_prio_fault prio_fault = i ? BCFMT_PRIO_CSUM : BCFMT_PRIO_OK;
		struct bcfmt_node node = { 0 };
		struct bcfmt_prio_set prio;
		struct bcfmt_geometry geo;
		struct bcfmt_super super;
		struct bcfmt_jset jset;
		char text[1024];
		uint8_t *raw;

		snprintf(text, sizeof(text),
			 "%s%s super.last_mount = 7\n%s journal[0].version = 5\n"
			 "%s prio[0].entry[30].gen = 77\n%s node[root].bset[0].key[0].len = 4s\n",
			 head, words[i], words[i], words[i], words[i]);
		build(text);
		raw = read_cache(&geo);
		bcfmt_super_decode(raw + BCFMT_SUPER_OFFSET_BYTES, &super);
		cr_expect_eq(super.last_mount, 7);
		cr_expect_eq(super.csum == super.csum_computed, !i);
		cr_expect_eq(bcfmt_jset_decode(&geo, raw + 3 * BUCKET_BYTES, BUCKET_BYTES, &jset),
			     jset_fault);
		cr_expect_eq(jset.version, 5);
		cr_expect_eq(bcfmt_prio_decode(&geo, raw + 40 * BUCKET_BYTES, &prio), prio_fault);
		cr_assert_eq(bcfmt_node_decode(&node, &geo, raw + 50 * BUCKET_BYTES, 16,
					       bcfmt_ptr_make(0, 50 * 16, 1)),
			     BCFMT_OK);
		cr_expect_eq(node.bsets[0].fault, bset_fault);
		bcfmt_node_clear(&node);
		free(raw);
	}
}

Test(recipe, fields_have_their_bits, .init = make_dir, .fini = remove_dir)
{
	struct bcfmt_key key;
	uint8_t *raw;
	size_t bytes;

	build("cache buckets=600 bucket=8k\nnode root level=0 bucket=50\n"
	      "  key start=16s len=8s ptr=30+0s\n"
	      "set node[root].bset[0].key[0].inode = 1048575\n"
	      "set node[root].bset[0].key[0].len = 65535s\n"
	      "set node[root].bset[0].key[0].dirty = 1\n"
	      "set node[root].bset[0].key[0].csum = 2\n"
	      "set node[root].bset[0].key[0].gen = 255\n"
	      "set node[root].bset[0].key[0].sector = 123456789s\n"
	      "set node[root].bset[0].key[0].dev = 5\n"
	      "set node[root].bset[0].key[0].end = journal[0].seq\n");
	raw = read_file(dir, "cache.img", &bytes);
	cr_assert(bcfmt_key_decode(raw + 50 * BUCKET_BYTES + 32, 3, &key));
	free(raw);
	cr_expect_eq(bcfmt_key_inode(&key), 0xfffff);
	cr_expect_eq(bcfmt_key_sectors(&key), 65535);
	cr_expect(bcfmt_key_is_dirty(&key));
	cr_expect_eq(bcfmt_key_csum_type(&key), 2);
	cr_expect_eq(bcfmt_key_ptr_count(&key), 1);
	cr_expect_eq(key.ptr, bcfmt_ptr_make(5, 123456789, 255));
	cr_expect_eq(key.low, 1, "the value of another field");
}

Test(recipe, buckets_are_moved_and_wiped, .init = make_dir, .fini = remove_dir)
{
	static const uint8_t zeros[BUCKET_BYTES];
	static const uint8_t poked[] = { 0x00, 0xff, 0xa5 };
	uint8_t *before, *after;
	size_t bytes;

	build("cache buckets=600 bucket=8k\ndata bucket=30 seed=1\ndata bucket=31 seed=2\n");
	before = read_file(dir, "cache.img", &bytes);
	build("cache buckets=600 bucket=8k\ndata bucket=30 seed=1\ndata bucket=31 seed=2\n"
	      "copy bucket=30 to=40\nswap bucket=30 with=31\nzero bucket=31 at=4k len=2s\n"
	      "poke bytes bucket=32 at=5b hex=00ffa5\ntruncate cache size=1M\n");
	after = read_file(dir, "cache.img", &bytes);
	cr_expect_eq(bytes, 1u << 20);
	cr_expect(!memcmp(after + 40 * BUCKET_BYTES, before + 30 * BUCKET_BYTES, BUCKET_BYTES));
	cr_expect(!memcmp(after + 30 * BUCKET_BYTES, before + 31 * BUCKET_BYTES, BUCKET_BYTES));
	cr_expect(!memcmp(after + 31 * BUCKET_BYTES, before + 30 * BUCKET_BYTES, 4096));
	cr_expect(!memcmp(after + 31 * BUCKET_BYTES + 4096, zeros, 1024));
	cr_expect(
		!memcmp(after + 31 * BUCKET_BYTES + 5120, before + 30 * BUCKET_BYTES + 5120, 512));
	cr_expect(!memcmp(after + 32 * BUCKET_BYTES + 5, poked, sizeof(poked)));
	free(before);
	free(after);
}

Test(recipe, unreadable_places_go_to_maps, .init = make_dir, .fini = remove_dir)
{
	size_t bytes;
	char *map;

	build("cache buckets=600 bucket=8k\nbacking size=1M\n"
	      "unreadable bucket=40\nunreadable at=4k len=8s\nunreadable at=4608b len=1s\n");
	map = (char *)read_file(dir, "cache.map", &bytes);
	cr_expect(strstr(map, "0x00000000  0x00001000  +\n"
			      "0x00001000  0x00001000  -\n"
			      "0x00002000  0x0004e000  +\n"
			      "0x00050000  0x00002000  -\n"
			      "0x00052000  0x0045e000  +\n"),
		  "%s", map);
	free(map);
	map = (char *)read_file(dir, "backing0.map", &bytes);
	cr_expect(strstr(map, "0x00000000  0x00100000  +\n"), "%s", map);
	free(map);
	/* The next recipe has none, and no backing device either. */
	build("cache buckets=600 bucket=8k\n");
	cr_expect_eq(access(dir, F_OK), 0);
	{
		char path[64];

		snprintf(path, sizeof(path), "%s/cache.map", dir);
		cr_expect(access(path, F_OK));
		snprintf(path, sizeof(path), "%s/backing0.img", dir);
		cr_expect(access(path, F_OK));
	}
}

Test(recipe, starts_from_a_base, .init = make_dir, .fini = remove_dir)
{
	struct bcfmt_node node = { 0 };
	struct bcfmt_geometry geo;
	struct bcfmt_jset jset;
	size_t bytes;
	char again[64];
	uint8_t *base, *raw;

	snprintf(again, sizeof(again), "%s/again", dir);
	cr_assert(!mkdir(again, 0755));
	build(whole);
	base = read_cache(&geo);
	build_to("base whole\nset journal[newest].last_seq = 8\nset prio[0].seq = 33\n"
		 "set node[bucket:51].bset[1].key[0].gen = 9\npoke node[root].bset[0].version = 0\n"
		 "set backing0.super.state = 1\nset uuid[3].flags = 2\n",
		 dir, again);
	raw = read_file(again, "cache.img", &bytes);
	cr_assert_eq(bytes, CACHE_BYTES);
	cr_assert_eq(bcfmt_jset_decode(&geo, raw + 3 * BUCKET_BYTES + 512, 512, &jset),
		     BCFMT_JSET_OK);
	cr_expect_eq(jset.last_seq, 8);
	cr_assert_eq(bcfmt_node_decode(&node, &geo, raw + 51 * BUCKET_BYTES, 16,
				       bcfmt_ptr_make(0, 51 * 16, 1)),
		     BCFMT_OK);
	cr_expect_eq(node.fault, BCFMT_BSET_OK);
	cr_assert_eq(bcfmt_node_decode(&node, &geo, raw + 50 * BUCKET_BYTES, 16,
				       bcfmt_ptr_make(0, 50 * 16, 3)),
		     BCFMT_OK);
	cr_expect_eq(node.fault, BCFMT_BSET_CSUM);
	bcfmt_node_clear(&node);
	cr_expect_eq(load_le32(raw + 41 * BUCKET_BYTES + 3 * 128 + 60), 2);
	/* Nothing else changed: sectors 8 of the superblock, first entry, right leaf. */
	cr_expect(!memcmp(raw, base, 3 * BUCKET_BYTES + 512));
	free(raw);
	free(base);
}

Test(recipe, a_base_is_needed, .init = make_dir, .fini = remove_dir)
{
	struct recipe_error error;
	struct recipe *recipe;

	cr_assert(recipe_parse("test", "base dirty\n", 11, &recipe, &error));
	cr_expect_str_eq(recipe_base(recipe), "dirty");
	cr_expect(!recipe_build(recipe, NULL, dir, &error));
	cr_expect(strstr(error.text, "needs the unpacked fixture"), "%s", error.text);
	cr_expect(!recipe_build(recipe, "/nowhere", dir, &error));
	recipe_free(recipe);
}
