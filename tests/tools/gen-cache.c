/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gen-cache [options] DIR: makes a whole cache set of any size, with memory that does not grow
 * with the number of extents: DIR/cache.img and DIR/backing0.img ..., all sparse. Same options,
 * same bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bcfmt/write_set.h>

#include "base/checked.h"
#include "cli/message.h"
#include "cli/number.h"
#include "cli/options.h"
#include "kit/extents.h"
#include "kit/recipe_impl.h"

#define DATA_OFFSET_SECTORS 16u
#define REPLAY_MAX 1355u /* keys of 24 bytes in 8 pages */
#define LAYOUT_TRIES 4096u
#define PATH_BYTES 4096u
#define REG_SECONDS 1600000000u
#define SEED_SET 1u
#define SEED_CACHE 2u
#define SEED_DEVICE 10u

enum {
	OPT_EXTENTS = CLI_ID_FIRST,
	OPT_DEVICES,
	OPT_VOLUMES,
	OPT_BUCKET,
	OPT_BLOCK,
	OPT_EXTENT,
	OPT_STRIDE,
	OPT_DIRTY,
	OPT_SIZE,
	OPT_FILL,
	OPT_REPLAY,
	OPT_SEED,
	OPT_DATA,
};

static const struct cli_option table[] = {
	{ OPT_EXTENTS, 0, "extents", CLI_ARG_NUMBER, "N", false, 0, "extents in all (1000)" },
	{ OPT_DEVICES, 0, "devices", CLI_ARG_NUMBER, "N", false, 0,
	  "backing devices, inodes from 0 on (1)" },
	{ OPT_VOLUMES, 0, "volumes", CLI_ARG_NUMBER, "N", false, 0,
	  "flash-only volumes, inodes behind the devices; all of\n"
	  "their extents are dirty (0)" },
	{ OPT_BUCKET, 0, "bucket", CLI_ARG_SIZE, "SIZE", false, 0, "(512k)" },
	{ OPT_BLOCK, 0, "block", CLI_ARG_SIZE, "SIZE", false, 0, "512 to 4k (512)" },
	{ OPT_EXTENT, 0, "extent", CLI_ARG_TEXT, "SIZE[-SIZE]", false, 0,
	  "length of extents, in whole blocks (4k)" },
	{ OPT_STRIDE, 0, "stride", CLI_ARG_SIZE, "SIZE", false, 0,
	  "of a device for each of its extents, which lies anywhere\n"
	  "in it (twice the longest extent)" },
	{ OPT_DIRTY, 0, "dirty", CLI_ARG_NUMBER, "PERCENT", false, 0,
	  "extents of devices that are dirty (50)" },
	{ OPT_SIZE, 0, "size", CLI_ARG_SIZE, "SIZE", false, 0,
	  "of the cache (what the extents need, and a quarter)" },
	{ OPT_FILL, 0, "fill", CLI_ARG_NUMBER, "PERCENT", false, 0, "of each node (80)" },
	{ OPT_REPLAY, 0, "replay", CLI_ARG_NUMBER, "N", false, 0,
	  "extents that are not in the tree but in the journal: the\n"
	  "first ones of inode 0 (0)" },
	{ OPT_SEED, 0, "seed", CLI_ARG_NUMBER, "N", false, 0, "1 or more (1)" },
	{ OPT_DATA, 0, "data", CLI_ARG_NONE, NULL, false, 0,
	  "also write the data: dirty extents on the cache, clean ones\n"
	  "on cache and device; and print the sha256 of each volume" },
};

static const struct cli_program program = {
	.name = "gen-cache",
	.operands = "[options] DIR",
	.summary =
		"Makes a cache that a kernel registers: DIR/cache.img, and DIR/backing0.img ...\n"
		"Extents are spread at random over the cache; no two share sectors.",
	.options = table,
	.n_options = sizeof(table) / sizeof(table[0]),
	.notes =
		"Prints a line for the cache and one for each device or volume, in words\n"
		"name=value; with --data a line \"sha256 inode=N SUM -\" of what the device that a\n"
		"kernel shows for it has to read as: zeros where no extent is.",
	.usage_exit = 2,
};

struct gen {
	const char *dir;
	struct bcfmt_ctx *ctx;
	struct extents extents;
	struct bcfmt_new_set_params params;
	struct bcfmt_new_set set;
	struct bcfmt_uuid_entry uuids[EXTENTS_INODES_MAX];
	uint64_t cache_bytes; /* 0: what is needed */
	struct bcfmt_dev *cache;
	struct bcfmt_dev *backing[EXTENTS_INODES_MAX];
	bool has_data;
};

/* ---- command line ---- */

static uint32_t sectors_of(const struct cli_parser *parser, const char *value, uint64_t max)
{
	uint64_t bytes;

	if (!cli_number_bytes(value, &bytes) || !bytes || bytes % BCFMT_SECTOR_BYTES ||
	    bytes / BCFMT_SECTOR_BYTES > max)
		cli_usage(parser, "'%s' is no size in whole sectors, or too large", value);
	return (uint32_t)(bytes / BCFMT_SECTOR_BYTES);
}

static void read_extent(struct gen *gen, const struct cli_parser *parser, const char *value)
{
	const char *dash = strchr(value, '-');
	char least[32] = "";

	if (dash && (size_t)(dash - value) < sizeof(least))
		memcpy(least, value, (size_t)(dash - value));
	gen->extents.most_sectors =
		sectors_of(parser, dash ? dash + 1 : value, BCFMT_KEY_MAX_SECTORS);
	gen->extents.least_sectors =
		dash ? sectors_of(parser, least, BCFMT_KEY_MAX_SECTORS) : gen->extents.most_sectors;
}

struct counts {
	uint64_t extents;
	uint64_t devices;
	uint64_t volumes;
};

static void take(struct gen *gen, struct counts *counts, const struct cli_parser *parser, int id,
		 const char *value)
{
	switch (id) {
	case CLI_OPERAND:
		if (gen->dir)
			cli_usage(parser, "more than one folder");
		gen->dir = value;
		break;
	case OPT_EXTENTS:
		counts->extents = cli_value_u64(parser, value, 1ull << 36);
		break;
	case OPT_DEVICES:
		counts->devices = cli_value_u64(parser, value, RECIPE_BACKING_MAX);
		break;
	case OPT_VOLUMES:
		counts->volumes =
			cli_value_u64(parser, value, EXTENTS_INODES_MAX - RECIPE_BACKING_MAX);
		break;
	case OPT_BUCKET:
		gen->params.bucket_sectors = sectors_of(parser, value, 1u << 22);
		break;
	case OPT_BLOCK:
		gen->params.block_sectors = sectors_of(parser, value, 8);
		break;
	case OPT_EXTENT:
		read_extent(gen, parser, value);
		break;
	case OPT_STRIDE:
		gen->extents.stride_sectors = sectors_of(parser, value, UINT32_MAX);
		break;
	case OPT_DIRTY:
		gen->extents.dirty_percent = (unsigned int)cli_value_u64(parser, value, 100);
		break;
	case OPT_SIZE:
		gen->cache_bytes = cli_value_bytes(parser, value);
		break;
	case OPT_FILL:
		gen->params.fill_percent = (unsigned int)cli_value_u64(parser, value, 100);
		break;
	case OPT_REPLAY:
		gen->params.n_journal_keys = (uint32_t)cli_value_u64(parser, value, REPLAY_MAX);
		break;
	case OPT_SEED:
		gen->extents.seed = cli_value_u64(parser, value, UINT64_MAX);
		break;
	case OPT_DATA:
		gen->has_data = true;
		break;
	default:
		break;
	}
}

/* What does not fit together. */
static void check_sizes(const struct gen *gen, const struct cli_parser *parser)
{
	const struct extents *extents = &gen->extents;

	if (!is_pow2(extents->block_sectors) || extents->least_sectors % extents->block_sectors ||
	    extents->most_sectors % extents->block_sectors ||
	    extents->stride_sectors % extents->block_sectors)
		cli_usage(parser, "extents and stride must be whole blocks, blocks a power of 2");
	if (extents->least_sectors > extents->most_sectors ||
	    extents->most_sectors > extents->bucket_sectors)
		cli_usage(parser, "an extent fits into a bucket, and the longest comes last");
	if (extents->stride_sectors < extents->most_sectors)
		cli_usage(parser, "the stride is shorter than the longest extent");
	if (gen->params.n_journal_keys > extents->inode[0].n)
		cli_usage(parser, "inode 0 has fewer extents than are to be replayed");
	if (!extents->seed)
		cli_usage(parser, "seeds begin with 1");
}

/* The first inodes have the extents that do not divide evenly. */
static void share_out(struct gen *gen, const struct counts *counts)
{
	struct extents *extents = &gen->extents;
	uint64_t n_inodes = counts->devices + counts->volumes;

	extents->n_inodes = (uint32_t)n_inodes;
	for (uint32_t i = 0; i < extents->n_inodes; i++) {
		struct extents_inode *inode = &extents->inode[i];
		struct bcfmt_uuid_entry *entry = &gen->uuids[i];

		inode->n = counts->extents / n_inodes + (i < counts->extents % n_inodes);
		inode->is_volume = i >= counts->devices;
		inode->data_offset_sectors = inode->is_volume ? 0 : DATA_OFFSET_SECTORS;
		recipe_seed_uuid(recipe_mix(extents->seed) + SEED_DEVICE + i, entry->uuid);
		snprintf(entry->label, sizeof(entry->label), "%s%" PRIu32,
			 inode->is_volume ? "volume" : "device", i);
		entry->first_reg = entry->last_reg = REG_SECONDS;
		entry->flags = inode->is_volume ? BCFMT_UUID_FLASH_ONLY : 0;
		entry->sectors = inode->is_volume ? extents_sectors(extents, i) : 0;
	}
}

static void parse(struct gen *gen, int argc, char **argv)
{
	struct counts counts = { .extents = 1000, .devices = 1 };
	struct cli_parser parser;
	const char *value;
	int id;

	gen->extents.seed = 1;
	gen->extents.dirty_percent = 50;
	gen->extents.least_sectors = gen->extents.most_sectors = 8;
	gen->params.bucket_sectors = 1024;
	gen->params.block_sectors = 1;
	cli_parse(&parser, &program, argc, argv);
	while ((id = cli_next(&parser, &value)) != CLI_END)
		take(gen, &counts, &parser, id, value);
	if (!gen->dir)
		cli_usage(&parser, "no folder given");
	if (counts.extents && !counts.devices && !counts.volumes)
		cli_usage(&parser, "extents of no device");
	gen->extents.block_sectors = gen->params.block_sectors;
	gen->extents.bucket_sectors = gen->params.bucket_sectors;
	if (!gen->extents.stride_sectors)
		gen->extents.stride_sectors = 2ull * gen->extents.most_sectors;
	share_out(gen, &counts);
	check_sizes(gen, &parser);
	gen->params.seed = recipe_mix(gen->extents.seed);
	recipe_seed_uuid(recipe_mix(gen->extents.seed) + SEED_CACHE, gen->params.uuid);
	recipe_seed_uuid(recipe_mix(gen->extents.seed) + SEED_SET, gen->params.set_uuid);
	gen->params.last_mount = REG_SECONDS;
	gen->params.max_keys = counts.extents;
	gen->params.uuids = gen->uuids;
	gen->params.n_uuids = gen->extents.n_inodes;
	cli_parser_free(&parser);
}

/* ---- layout ---- */

/*
 * Takes the smallest cache that has room for the extents in four of five sectors of the data
 * buckets, and leaves one more bucket in eight without any, for a kernel to go on with.
 */
static bcfmt_err choose_size(struct gen *gen)
{
	uint64_t slots = gen->extents.bucket_sectors / gen->extents.most_sectors;
	uint64_t want = div_round_up(extents_total(&gen->extents), slots);
	uint64_t bucket_bytes = (uint64_t)gen->extents.bucket_sectors * BCFMT_SECTOR_BYTES;
	uint64_t nbuckets = BCFMT_MIN_BUCKETS;
	bcfmt_err err = BCFMT_E_ARG;

	want += want / 4 + 1;
	for (unsigned int i = 0; i < LAYOUT_TRIES; i++) {
		bcfmt_ctx_fault_clear(gen->ctx);
		err = bcfmt_new_set_plan(gen->ctx, nbuckets * bucket_bytes, BCFMT_SECTOR_BYTES,
					 &gen->params, &gen->set);
		if (!err && gen->set.data_buckets >= want + want / 8)
			break;
		nbuckets = max_u64(nbuckets + nbuckets / 64 + 1, want);
		if (err && nbuckets > (1ull << 43) / gen->extents.bucket_sectors)
			break;
	}
	gen->cache_bytes = nbuckets * bucket_bytes;
	gen->extents.n_buckets = want;
	return err;
}

static bcfmt_err lay_out(struct gen *gen)
{
	uint64_t total = extents_total(&gen->extents);
	bcfmt_err err;

	if (gen->cache_bytes) {
		err = bcfmt_new_set_plan(gen->ctx, gen->cache_bytes, BCFMT_SECTOR_BYTES,
					 &gen->params, &gen->set);
		gen->extents.n_buckets = gen->set.data_buckets;
	} else {
		err = choose_size(gen);
	}
	gen->extents.first_bucket = gen->set.data_bucket;
	if (!err && total > extents_slots(&gen->extents))
		err = bcfmt_fail(gen->ctx, BCFMT_E_ARG,
				 "%" PRIu64 " extents do not fit into %" PRIu64 " buckets", total,
				 gen->extents.n_buckets);
	return err;
}

static bcfmt_err open_image(struct gen *gen, const char *name, uint64_t bytes,
			    struct bcfmt_dev **out)
{
	char path[PATH_BYTES];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", gen->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) || close(fd))
		return bcfmt_fail(gen->ctx, BCFMT_E_SYSTEM, "%s: %s", path, strerror(errno));
	return bcfmt_dev_open(gen->ctx, path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, out);
}

/* ---- devices and data ---- */

static bcfmt_err write_backing(struct gen *gen, uint32_t inode)
{
	const struct extents_inode *of = &gen->extents.inode[inode];
	enum bcfmt_bdev_state state = BCFMT_BDEV_CLEAN;
	struct bcfmt_super super = { .offset_sector = gen->set.super.offset_sector, .version = 1 };
	char name[32];
	bcfmt_err err;

	for (uint64_t i = 0; i < of->n && state == BCFMT_BDEV_CLEAN; i++)
		if (extents_get(&gen->extents, inode, i).is_dirty)
			state = BCFMT_BDEV_DIRTY;
	super.flags = 1 | (uint64_t)state << 61; /* cache mode writeback */
	super.block_sectors = gen->set.super.block_sectors;
	memcpy(super.magic, gen->set.super.magic, sizeof(super.magic));
	memcpy(super.uuid, gen->uuids[inode].uuid, sizeof(super.uuid));
	memcpy(super.set_uuid, gen->set.super.set_uuid, sizeof(super.set_uuid));
	memcpy(super.label, gen->uuids[inode].label, sizeof(super.label));
	snprintf(name, sizeof(name), "backing%" PRIu32 ".img", inode);
	err = open_image(gen, name,
			 (of->data_offset_sectors + extents_sectors(&gen->extents, inode)) *
				 BCFMT_SECTOR_BYTES,
			 &gen->backing[inode]);
	return err ? err : bcfmt_super_write(gen->ctx, gen->backing[inode], &super, 0);
}

/* The content of an extent into buf. */
static void fill(const struct gen *gen, const struct extent_at *at, uint8_t *buf)
{
	uint64_t first = at->start_sector - gen->extents.inode[at->inode].data_offset_sectors;

	for (uint32_t i = 0; i < at->sectors; i++)
		extents_content(gen->extents.seed, at->inode, first + i,
				buf + (size_t)i * BCFMT_SECTOR_BYTES);
}

static bcfmt_err write_data(struct gen *gen, uint32_t inode, uint8_t *buf)
{
	bcfmt_err err = BCFMT_OK;

	for (uint64_t i = 0; !err && i < gen->extents.inode[inode].n; i++) {
		struct extent_at at = extents_get(&gen->extents, inode, i);
		size_t len_bytes = (size_t)at.sectors * BCFMT_SECTOR_BYTES;

		fill(gen, &at, buf);
		err = bcfmt_dev_write(gen->cache, at.cache_sector * BCFMT_SECTOR_BYTES, buf,
				      len_bytes);
		if (!err && !at.is_dirty)
			err = bcfmt_dev_write(gen->backing[inode],
					      at.start_sector * BCFMT_SECTOR_BYTES, buf, len_bytes);
	}
	return err;
}

static bool put_zeros(FILE *pipe, uint64_t bytes)
{
	static const uint8_t zeros[1u << 16];
	bool is_fine = true;

	while (is_fine && bytes) {
		size_t piece_bytes = (size_t)min_u64(bytes, sizeof(zeros));

		is_fine = fwrite(zeros, 1, piece_bytes, pipe) == piece_bytes;
		bytes -= piece_bytes;
	}
	return is_fine;
}

/* What the volume has to read as, computed from the seed alone; sha256sum prints it. */
static bcfmt_err print_sha256(struct gen *gen, uint32_t inode, uint8_t *buf)
{
	const struct extents_inode *of = &gen->extents.inode[inode];
	FILE *pipe;
	uint64_t sector = 0;
	bool is_fine = true;

	printf("sha256 inode=%" PRIu32 " ", inode);
	fflush(stdout);
	pipe = popen("sha256sum", "w");
	if (!pipe)
		return bcfmt_fail(gen->ctx, BCFMT_E_SYSTEM, "sha256sum: %s", strerror(errno));
	for (uint64_t i = 0; is_fine && i < of->n; i++) {
		struct extent_at at = extents_get(&gen->extents, inode, i);
		uint64_t first = at.start_sector - of->data_offset_sectors;
		size_t len_bytes = (size_t)at.sectors * BCFMT_SECTOR_BYTES;

		fill(gen, &at, buf);
		is_fine = put_zeros(pipe, (first - sector) * BCFMT_SECTOR_BYTES) &&
			  fwrite(buf, 1, len_bytes, pipe) == len_bytes;
		sector = first + at.sectors;
	}
	is_fine = is_fine && put_zeros(pipe, (extents_sectors(&gen->extents, inode) - sector) *
						     BCFMT_SECTOR_BYTES);
	if (pclose(pipe) || !is_fine)
		return bcfmt_fail(gen->ctx, BCFMT_E_SYSTEM, "sha256sum failed");
	return BCFMT_OK;
}

static void print_inode(const struct gen *gen, uint32_t inode)
{
	const struct extents_inode *of = &gen->extents.inode[inode];
	char uuid[BCFMT_UUID_TEXT_BYTES];
	uint64_t dirty_sectors = 0, clean_sectors = 0;

	for (uint64_t i = 0; i < of->n; i++) {
		struct extent_at at = extents_get(&gen->extents, inode, i);

		*(at.is_dirty ? &dirty_sectors : &clean_sectors) += at.sectors;
	}
	bcfmt_uuid_text(gen->uuids[inode].uuid, uuid);
	printf("%s inode=%" PRIu32 " uuid=%s label=%s bytes=%" PRIu64 " extents=%" PRIu64
	       " dirty=%" PRIu64 " clean=%" PRIu64 "\n",
	       of->is_volume ? "volume" : "device", inode, uuid, gen->uuids[inode].label,
	       extents_sectors(&gen->extents, inode) * BCFMT_SECTOR_BYTES, of->n,
	       dirty_sectors * BCFMT_SECTOR_BYTES, clean_sectors * BCFMT_SECTOR_BYTES);
}

static void print_cache(const struct gen *gen)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(gen->set.super.set_uuid, uuid);
	printf("cache set=%s bytes=%" PRIu64 " buckets=%" PRIu64 " used=%" PRIu64 " free=%" PRIu64
	       " level=%u nodes=%" PRIu64 " leaves=%" PRIu64 " extents=%" PRIu64 " replay=%" PRIu32
	       "\n",
	       uuid, gen->cache_bytes, gen->set.geo.nbuckets, gen->set.used_buckets,
	       gen->set.free_buckets, gen->set.tree.level, gen->set.tree.nodes,
	       gen->set.tree.leaves, extents_total(&gen->extents), gen->params.n_journal_keys);
}

/* The journal takes its keys from the stream, the tree what is left of it. */
static bcfmt_err write_cache(struct gen *gen)
{
	struct extents_stream stream = { .extents = &gen->extents };
	struct bcfmt_key journal[REPLAY_MAX];
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = 0; !err && i < gen->params.n_journal_keys; i++)
		err = extents_next(&stream, &journal[i]);
	gen->params.journal_keys = journal;
	if (!err)
		err = bcfmt_new_set_write(gen->ctx, gen->cache, &gen->params, extents_next, &stream,
					  &gen->set);
	gen->params.journal_keys = NULL;
	return err;
}

static bcfmt_err generate(struct gen *gen)
{
	uint8_t *buf = malloc((size_t)gen->extents.most_sectors * BCFMT_SECTOR_BYTES);
	bcfmt_err err = lay_out(gen);

	if (!buf)
		err = BCFMT_E_NOMEM;
	if (!err)
		err = open_image(gen, "cache.img", gen->cache_bytes, &gen->cache);
	for (uint32_t i = 0; !err && i < gen->extents.n_inodes; i++) {
		if (!gen->extents.inode[i].is_volume)
			err = write_backing(gen, i);
		if (!err && gen->has_data)
			err = write_data(gen, i, buf);
	}
	if (!err)
		err = write_cache(gen);
	if (!err)
		print_cache(gen);
	for (uint32_t i = 0; !err && i < gen->extents.n_inodes; i++) {
		print_inode(gen, i);
		if (gen->has_data)
			err = print_sha256(gen, i, buf);
	}
	free(buf);
	return err;
}

int main(int argc, char **argv)
{
	struct gen gen = { 0 };
	bcfmt_err err;

	parse(&gen, argc, argv);
	if (bcfmt_ctx_new(NULL, &gen.ctx)) {
		cli_error(NULL, "out of memory");
		return 1;
	}
	err = generate(&gen);
	if (err)
		cli_error_ctx(NULL, gen.ctx, err);
	bcfmt_dev_free(gen.cache);
	for (uint32_t i = 0; i < EXTENTS_INODES_MAX; i++)
		bcfmt_dev_free(gen.backing[i]);
	bcfmt_ctx_free(gen.ctx);
	return err || !cli_stdout_flush() ? 1 : 0;
}
