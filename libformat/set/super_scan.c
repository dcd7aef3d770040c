/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds journal entries, bsets and prio sets of any set, without a superblock. */
#include "set/super_scan.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/key.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/bset.h"
#include "ondisk/jset.h"
#include "ondisk/prio_set.h"
#include "read/scan.h"

#define PAGE_BYTES_MAX 65536u
#define JSET_BYTES_MAX (BCFMT_JSET_MAX_PAGES * PAGE_BYTES_MAX)
#define PRIO_BYTES_MIN 4096u
#define PRIO_BYTES_MAX (16u << 20)
#define ASK_FIRST_BYTES (1u << 20)
#define PTR_SECTORS (1ull << 43)
#define OPEN_ENTRIES_MAX (1ull << 20) /* between an entry and the oldest that it still needs */

/* The head that all three kinds share, and what the first two have behind it. */
struct head {
	uint64_t csum;
	uint64_t magic;
	uint64_t seq;
	uint32_t version;
	uint32_t words;
};

struct finder {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	struct scan *scan;
	struct bcfmt_geometry wide; /* as little as can be said of any cache */
	struct sights *sights;
	uint64_t budget_bytes; /* of checksums, until the next window */
};

static struct sight *sight_of(struct finder *finder, uint64_t set_magic, bool is_new)
{
	struct sights *sights = finder->sights;
	struct sight *sight;

	for (size_t i = 0; i < sights->n; i++)
		if (sights->items[i].set_magic == set_magic)
			return &sights->items[i];
	if (!is_new)
		return NULL;
	if (sights->n == SIGHTS_MAX) {
		sights->is_capped = true;
		return NULL;
	}
	sight = &sights->items[sights->n++];
	sight->set_magic = set_magic;
	sight->first_jset_sector = UINT64_MAX;
	sight->least_start_sector = UINT64_MAX;
	sight->last_jset.sector = UINT64_MAX;
	sight->last_bset.sector = UINT64_MAX;
	return sight;
}

/* A range inside one bucket. */
static void note_range(struct sight *sight, uint64_t sector, uint64_t sectors)
{
	uint64_t differ = sector ^ (sector + sectors - 1);

	sight->least_log2[differ ? log2_floor(differ) + 1 : 0]++;
	sight->end_sector = max_u64(sight->end_sector, sector + sectors);
}

/* A place where a bucket begins. */
static void note_start(struct sight *sight, uint64_t sector)
{
	if (sector)
		sight->most_log2[__builtin_ctzll(sector)]++;
	sight->least_start_sector = min_u64(sight->least_start_sector, sector);
}

static void note_keys(struct sight *sight, const uint8_t *keys, uint32_t words)
{
	struct bcfmt_key_iter it = bcfmt_key_iter_init(keys, words);
	struct bcfmt_key key;

	while (bcfmt_key_iter_next(&it, &key))
		if (bcfmt_key_sectors(&key) && bcfmt_key_has_data(&key))
			note_range(sight, bcfmt_ptr_sector(key.ptr), bcfmt_key_sectors(&key));
}

/*
 * Journal entries follow each other without a gap, as bsets of a node do: the distance is the
 * length in whole blocks.
 */
static void note_follower(struct sight *sight, const struct sight_last *last, uint64_t sector)
{
	uint64_t distance = sector - last->sector;
	uint64_t sectors = div_round_up(last->bytes, BCFMT_SECTOR_BYTES);
	bool fits_any = false;

	if (distance < sectors || distance >= sectors + (1u << SIGHT_BLOCK_LOG2_MAX))
		return;
	for (unsigned int log2 = 0; log2 <= SIGHT_BLOCK_LOG2_MAX; log2++) {
		uint64_t block = 1ull << log2;

		if (div_round_up(sectors, block) * block == distance && !(sector % block)) {
			sight->block_fits[log2][__builtin_ctzll(sector)]++;
			fits_any = true;
		}
	}
	sight->pairs[__builtin_ctzll(sector)] += fits_any;
}

uint64_t sight_block_fits(const struct sight *sight, unsigned int bucket_log2, unsigned int log2,
			  uint64_t *n_pairs)
{
	uint64_t fits = 0;

	*n_pairs = 0;
	for (unsigned int i = 0; i < bucket_log2; i++) {
		fits += sight->block_fits[log2][i];
		*n_pairs += sight->pairs[i];
	}
	return fits;
}

uint64_t sight_bucket_faults(const struct sight *sight, unsigned int log2)
{
	uint64_t faults = 0;

	for (unsigned int i = 0; i < SIGHT_LOG2S; i++)
		faults += i > log2 ? sight->least_log2[i] : i < log2 ? sight->most_log2[i] : 0;
	return faults;
}

static bcfmt_err read_at(struct finder *finder, uint64_t sector, size_t len_bytes,
			 const uint8_t **raw)
{
	struct bcfmt_bad_read bad;

	return scan_read(finder->scan, sector * BCFMT_SECTOR_BYTES,
			 (size_t)div_round_up(len_bytes, BCFMT_SECTOR_BYTES) * BCFMT_SECTOR_BYTES,
			 raw, &bad);
}

/* Takes the bytes of a checksum from what may be spent on them here. */
static bool can_afford(struct finder *finder, uint64_t sector, uint64_t len_bytes)
{
	uint64_t dev_bytes = bcfmt_dev_bytes(finder->dev);

	if (len_bytes > finder->budget_bytes || len_bytes > dev_bytes - sector * BCFMT_SECTOR_BYTES)
		return false;
	finder->budget_bytes -= len_bytes;
	return true;
}

/* *bytes: the length of the entry, 0 when there is none. */
static bcfmt_err try_jset(struct finder *finder, uint64_t sector, const struct head *head,
			  const uint8_t *raw, uint64_t *bytes)
{
	uint64_t last_seq = load_le64(raw + offsetof(struct jset_disk, last_seq));
	uint64_t len_bytes = sizeof(struct jset_disk) + 8ull * head->words;
	struct bcfmt_geometry geo = finder->wide;
	struct sight *sight;
	struct bcfmt_jset jset;
	bcfmt_err err;

	*bytes = 0;
	if (len_bytes > JSET_BYTES_MAX || !last_seq || last_seq > head->seq ||
	    head->seq - last_seq > OPEN_ENTRIES_MAX || !can_afford(finder, sector, len_bytes))
		return BCFMT_OK;
	err = read_at(finder, sector, (size_t)len_bytes, &raw);
	if (err)
		return err;
	geo.set_magic = head->magic ^ DISK_JSET_MAGIC;
	if (bcfmt_jset_decode(&geo, raw, (size_t)len_bytes, &jset))
		return BCFMT_OK;
	*bytes = len_bytes;
	sight = sight_of(finder, geo.set_magic, true);
	if (!sight)
		return BCFMT_OK;
	if (sight->last_jset.sector != UINT64_MAX && jset.seq == sight->last_jset.seq + 1)
		note_follower(sight, &sight->last_jset, sector);
	sight->last_jset = (struct sight_last){ sector, jset.seq, len_bytes };
	note_range(sight, sector, div_round_up(len_bytes, BCFMT_SECTOR_BYTES));
	note_keys(sight, jset.keys, jset.keys_field);
	if (bcfmt_key_has_data(&jset.btree_root))
		note_start(sight, bcfmt_ptr_sector(jset.btree_root.ptr));
	if (bcfmt_key_has_data(&jset.uuid_bucket))
		note_start(sight, bcfmt_ptr_sector(jset.uuid_bucket.ptr));
	sight->first_jset_sector = min_u64(sight->first_jset_sector, sector);
	sight->end_jset_sector = sector + div_round_up(len_bytes, BCFMT_SECTOR_BYTES);
	if (!sight->n_jsets++ || jset.seq > sight->newest.seq) {
		sight->newest = jset;
		sight->newest.keys = NULL;
		sight->newest_sector = sector;
	}
	return BCFMT_OK;
}

/*
 * The checksum gives the pointer that it was seeded with; that this is one, to a place not far
 * before, is the proof.
 */
static bcfmt_err try_bset(struct finder *finder, uint64_t sector, const struct head *head,
			  const uint8_t *raw, uint64_t *bytes)
{
	uint64_t len_bytes = sizeof(struct bset_disk) + 8ull * head->words;
	struct bcfmt_geometry geo = finder->wide;
	struct scan_bset bset;
	struct sight *sight;
	uint64_t node_sector;
	bcfmt_err err;

	*bytes = 0;
	if (len_bytes > (uint64_t)BCFMT_KEY_MAX_SECTORS * BCFMT_SECTOR_BYTES ||
	    len_bytes > finder->budget_bytes ||
	    len_bytes > bcfmt_dev_bytes(finder->dev) - sector * BCFMT_SECTOR_BYTES)
		return BCFMT_OK;
	err = read_at(finder, sector, (size_t)len_bytes, &raw);
	if (err)
		return err;
	geo.set_magic = head->magic ^ DISK_BSET_MAGIC;
	if (!scan_bset_at(&geo, raw, (size_t)len_bytes, sector, &finder->budget_bytes, &bset))
		return BCFMT_OK;
	node_sector = bcfmt_ptr_sector(bset.ptr);
	if (bset.version && sector - node_sector >= BCFMT_KEY_MAX_SECTORS)
		return BCFMT_OK;
	*bytes = len_bytes;
	sight = sight_of(finder, geo.set_magic, true);
	if (!sight)
		return BCFMT_OK;
	sight->n_bsets++;
	if (sight->last_bset.sector != UINT64_MAX && bset.seq == sight->last_bset.seq)
		note_follower(sight, &sight->last_bset, sector);
	sight->last_bset = (struct sight_last){ sector, bset.seq, len_bytes };
	note_keys(sight, raw + sizeof(struct bset_disk), bset.words);
	if (!bset.version)
		return BCFMT_OK;
	note_start(sight, node_sector);
	note_range(sight, node_sector,
		   sector - node_sector + div_round_up(len_bytes, BCFMT_SECTOR_BYTES));
	return BCFMT_OK;
}

/* Those of the highest seq are kept. */
static void keep_prio(struct sight *sight, const struct sight_prio *prio)
{
	size_t lowest = 0;

	if (sight->n_kept_prios < SIGHT_PRIOS_MAX) {
		sight->prios[sight->n_kept_prios++] = *prio;
		return;
	}
	for (size_t i = 1; i < SIGHT_PRIOS_MAX; i++)
		if (sight->prios[i].seq < sight->prios[lowest].seq)
			lowest = i;
	if (prio->seq > sight->prios[lowest].seq)
		sight->prios[lowest] = *prio;
}

/* Its length is not stored: it is the one of all possible that the checksum covers. */
static bcfmt_err try_prio(struct finder *finder, uint64_t sector, const struct head *head,
			  const uint8_t *raw, uint64_t *bytes)
{
	struct sight_prio prio = { .sector = sector, .seq = head->seq };
	uint64_t set_magic = head->magic ^ DISK_PRIO_MAGIC;
	uint32_t at = sizeof(disk_le64);
	uint64_t csum = ~UINT64_MAX;
	struct sight *sight;
	bcfmt_err err = BCFMT_OK;

	*bytes = 0;
	prio.next_bucket = load_le64(raw + offsetof(struct prio_set_disk, next_bucket));
	if (head->version || head->words || prio.next_bucket >= PTR_SECTORS || sector % 8 ||
	    (finder->sights->n && !sight_of(finder, set_magic, false)))
		return BCFMT_OK;
	for (uint32_t len = PRIO_BYTES_MIN; len <= PRIO_BYTES_MAX; len *= 2) {
		if (!can_afford(finder, sector, len - at))
			return BCFMT_OK;
		err = read_at(finder, sector, len, &raw);
		if (err)
			return err;
		/* The final inversion of the first part is undone by the seed of the next. */
		csum = bcfmt_crc64_seeded(~csum, raw + at, len - at);
		at = len;
		if (csum != head->csum)
			continue;
		prio.bytes = len;
		break;
	}
	if (!prio.bytes)
		return BCFMT_OK;
	*bytes = prio.bytes;
	sight = sight_of(finder, set_magic, true);
	if (!sight)
		return BCFMT_OK;
	sight->n_prios++;
	note_start(sight, sector);
	keep_prio(sight, &prio);
	return BCFMT_OK;
}

/* *sectors: how far to go on. */
static bcfmt_err look(struct finder *finder, uint64_t sector, uint64_t *sectors)
{
	const uint8_t *raw;
	struct head head;
	uint64_t bytes;
	bcfmt_err err = read_at(finder, sector, BCFMT_SECTOR_BYTES, &raw);

	*sectors = 1;
	if (err)
		return err;
	head.seq = load_le64(raw + offsetof(struct bset_disk, seq));
	head.version = load_le32(raw + offsetof(struct bset_disk, version));
	if (!head.seq || head.version > DISK_BSET_VERSION)
		return BCFMT_OK;
	head.csum = load_le64(raw + offsetof(struct bset_disk, csum));
	head.magic = load_le64(raw + offsetof(struct bset_disk, magic));
	head.words = load_le32(raw + offsetof(struct bset_disk, keys));
	err = try_jset(finder, sector, &head, raw, &bytes);
	/* The window may have moved; what is needed of the head is read again by each. */
	if (!err && !bytes)
		err = try_bset(finder, sector, &head, raw, &bytes);
	if (!err && !bytes) {
		err = read_at(finder, sector, BCFMT_SECTOR_BYTES, &raw);
		if (!err)
			err = try_prio(finder, sector, &head, raw, &bytes);
	}
	if (bytes)
		*sectors = div_round_up(bytes, BCFMT_SECTOR_BYTES);
	return err;
}

/* The next sector with data at or after this one, and where that data ends. */
static bcfmt_err next_data(struct finder *finder, uint64_t *sector, uint64_t *end_sector)
{
	uint64_t begin_bytes, end_bytes;
	bcfmt_err err = bcfmt_dev_next_data(finder->dev, *sector * BCFMT_SECTOR_BYTES, &begin_bytes,
					    &end_bytes);

	if (err == BCFMT_END)
		return err;
	if (err) { /* the device cannot tell: all of it may be data */
		*end_sector = bcfmt_dev_bytes(finder->dev) / BCFMT_SECTOR_BYTES;
		return BCFMT_OK;
	}
	*sector = max_u64(*sector, begin_bytes / BCFMT_SECTOR_BYTES);
	*end_sector = div_round_up(end_bytes, BCFMT_SECTOR_BYTES);
	scan_hint(finder->scan, end_bytes);
	return BCFMT_OK;
}

static bcfmt_err scan_device(struct finder *finder, sights_enough_fn enough, void *arg)
{
	uint64_t end = bcfmt_dev_bytes(finder->dev) / BCFMT_SECTOR_BYTES;
	uint64_t sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES + 8, data_end = 0;
	uint64_t ask_at = ASK_FIRST_BYTES / BCFMT_SECTOR_BYTES, told = UINT64_MAX;
	bcfmt_err err = BCFMT_OK;

	while (!err && sector < end) {
		uint64_t sectors;

		if (sector >= data_end) {
			err = next_data(finder, &sector, &data_end);
			if (err == BCFMT_END)
				sector = end;
			if (err)
				break;
		}
		if (sector >= ask_at) {
			while (ask_at <= sector)
				ask_at *= 2;
			finder->sights->scanned_bytes = sector * BCFMT_SECTOR_BYTES;
			if (enough && enough(arg, finder->sights, sector * BCFMT_SECTOR_BYTES))
				return BCFMT_OK;
		}
		if (sector * BCFMT_SECTOR_BYTES / SCAN_WINDOW_BYTES != told) {
			told = sector * BCFMT_SECTOR_BYTES / SCAN_WINDOW_BYTES;
			finder->budget_bytes = scan_budget(SCAN_WINDOW_BYTES);
			bcfmt_ctx_progress(finder->ctx, "superblock", sector, end);
			if (bcfmt_ctx_is_cancelled(finder->ctx))
				return BCFMT_E_CANCELLED;
		}
		err = look(finder, sector, &sectors);
		sector += sectors;
	}
	finder->sights->scanned_bytes = end * BCFMT_SECTOR_BYTES;
	finder->sights->is_whole = true;
	return err == BCFMT_END ? BCFMT_OK : err;
}

bcfmt_err sights_scan(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const uint64_t *named,
		      size_t n_named, sights_enough_fn enough, void *arg, struct sights *out)
{
	struct finder finder = {
		.ctx = ctx,
		.dev = dev,
		.sights = out,
		.wide = { .block_sectors = 1,
			  .bucket_sectors = 1u << SIGHT_BUCKET_LOG2_MAX,
			  .bucket_shift = SIGHT_BUCKET_LOG2_MAX,
			  .page_bytes = PAGE_BYTES_MAX },
	};
	bcfmt_err err;

	*out = (struct sights){ .items = calloc(SIGHTS_MAX, sizeof(*out->items)) };
	if (!out->items)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: no memory to look for structures",
				  bcfmt_dev_name(dev));
	for (size_t i = 0; i < n_named && i < SIGHTS_MAX; i++)
		if (named[i])
			sight_of(&finder, named[i], true)->is_named = true;
	err = scan_new(ctx, dev, &finder.wide, SCAN_WINDOW_BYTES, NULL, NULL, &finder.scan);
	if (!err)
		err = scan_device(&finder, enough, arg);
	scan_free(finder.scan);
	return err;
}

void sights_free(struct sights *sights)
{
	free(sights->items);
	*sights = (struct sights){ 0 };
}
