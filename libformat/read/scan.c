/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds bsets and prio sets wherever they lie. */
#include "read/scan.h"

#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/key.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>

#include "base/checked.h"
#include "codec/crc64_math.h"
#include "ondisk/bset.h"
#include "ondisk/prio_set.h"

/* Of a bucket: what is made up to cost more is not looked at to the end. */
#define BUDGET_FACTOR 8u
#define NODE_BYTES_MAX ((uint64_t)BCFMT_KEY_MAX_SECTORS * BCFMT_SECTOR_BYTES)

/* Layouts differ only above 4 MiB buckets. */
static const uint32_t writer_page_bytes[] = { 4096, 16384, 65536 };

struct scan {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *dev;
	const struct bcfmt_geometry *geo;
	dev_bad_fn on_bad;
	void *arg;
	uint8_t *window; /* window_cap */
	size_t window_cap;
	uint64_t window_at;
	size_t window_bytes;
	uint64_t data_end; /* reading ahead beyond it is in vain */
	bool is_window_bad; /* could not be read as a whole, and is not filled */
	uint8_t *buf;	    /* of a range that was read by itself */
	size_t buf_bytes;
};

uint64_t scan_budget(uint64_t len_bytes)
{
	return BUDGET_FACTOR * len_bytes;
}

bool scan_bset_at(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes,
		  uint64_t sector, uint64_t *budget_bytes, struct scan_bset *out)
{
	const struct bset_disk *disk = (const struct bset_disk *)raw;
	uint64_t bucket_sector = sector & ~(uint64_t)(geo->bucket_sectors - 1);
	uint64_t bytes, node_sector;

	if (avail_bytes < sizeof(*disk) ||
	    le64_get(&disk->magic) != (geo->set_magic ^ DISK_BSET_MAGIC))
		return false;
	out->seq = le64_get(&disk->seq);
	out->version = le32_get(&disk->version);
	out->words = le32_get(&disk->keys);
	bytes = sizeof(*disk) + 8ull * out->words;
	if (!out->seq || out->version > DISK_BSET_VERSION || bytes > avail_bytes ||
	    bytes > *budget_bytes)
		return false;
	*budget_bytes -= bytes;
	if (!out->version) {
		out->ptr = bcfmt_ptr_make(geo->nr_this_dev, bucket_sector, 0);
		return le64_get(&disk->csum) == bcfmt_bset_csum(raw, out->words, 0, 0);
	}
	out->ptr = crc64_seed(le64_get(&disk->csum), raw + 8, (size_t)bytes - 8);
	node_sector = bcfmt_ptr_sector(out->ptr);
	return out->ptr == bcfmt_ptr_make(geo->nr_this_dev, node_sector, bcfmt_ptr_gen(out->ptr)) &&
	       node_sector >= bucket_sector && node_sector <= sector &&
	       !((sector - node_sector) % geo->block_sectors);
}

uint32_t scan_prio_bytes_max(const struct bcfmt_geometry *geo)
{
	return bcfmt_geometry_meta_bytes(geo->bucket_sectors, 65536);
}

static bool is_prio(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes,
		    uint32_t meta_bytes)
{
	struct bcfmt_geometry other = *geo;
	struct bcfmt_prio_set prio;

	other.meta_bytes = meta_bytes;
	return meta_bytes <= avail_bytes && bcfmt_prio_decode(&other, raw, &prio) == BCFMT_PRIO_OK;
}

uint32_t scan_prio_at(const struct bcfmt_geometry *geo, const uint8_t *raw, size_t avail_bytes)
{
	const struct prio_set_disk *disk = (const struct prio_set_disk *)raw;

	if (avail_bytes < sizeof(*disk) ||
	    le64_get(&disk->magic) != (geo->set_magic ^ DISK_PRIO_MAGIC))
		return 0;
	if (is_prio(geo, raw, avail_bytes, geo->meta_bytes))
		return geo->meta_bytes;
	for (size_t i = 0; i < sizeof(writer_page_bytes) / sizeof(writer_page_bytes[0]); i++) {
		uint32_t meta_bytes =
			bcfmt_geometry_meta_bytes(geo->bucket_sectors, writer_page_bytes[i]);

		if (meta_bytes != geo->meta_bytes && is_prio(geo, raw, avail_bytes, meta_bytes))
			return meta_bytes;
	}
	return 0;
}

bcfmt_err scan_prio_read(struct bcfmt_dev *dev, const struct bcfmt_geometry *geo, uint64_t bucket,
			 uint8_t *buf, struct bcfmt_prio_set *out, uint32_t *meta_bytes)
{
	uint64_t at_bytes = bcfmt_bucket_sector(geo, bucket) * BCFMT_SECTOR_BYTES;
	uint64_t dev_bytes = bcfmt_dev_bytes(dev);
	const struct prio_set_disk *disk = (const struct prio_set_disk *)buf;
	struct bcfmt_geometry layout = *geo;
	struct bcfmt_bad_read bad;
	size_t len_bytes;
	bcfmt_err err;

	*meta_bytes = 0;
	if (bucket >= geo->nbuckets || at_bytes >= dev_bytes)
		return BCFMT_OK;
	len_bytes = (size_t)min_u64(scan_prio_bytes_max(geo), dev_bytes - at_bytes);
	/* Nothing is read whole that does not begin like one. */
	err = bcfmt_dev_read_salvage(dev, at_bytes, buf, BCFMT_SECTOR_BYTES, &bad);
	if (err || le64_get(&disk->magic) != (geo->set_magic ^ DISK_PRIO_MAGIC))
		return err;
	err = bcfmt_dev_read_salvage(dev, at_bytes, buf, len_bytes, &bad);
	if (err)
		return err;
	*meta_bytes = scan_prio_at(geo, buf, len_bytes);
	layout.meta_bytes = *meta_bytes;
	if (*meta_bytes && bcfmt_prio_decode(&layout, buf, out))
		*meta_bytes = 0;
	return BCFMT_OK;
}

bcfmt_err scan_new(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct bcfmt_geometry *geo,
		   size_t window_bytes, dev_bad_fn on_bad, void *arg, struct scan **out)
{
	struct scan *scan = calloc(1, sizeof(*scan));

	*out = NULL;
	if (scan)
		scan->window = malloc(window_bytes);
	if (!scan || !scan->window) {
		free(scan);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: no memory for a scan", dev->name);
	}
	scan->ctx = ctx;
	scan->dev = dev;
	scan->geo = geo;
	scan->window_cap = window_bytes;
	scan->data_end = UINT64_MAX;
	scan->on_bad = on_bad;
	scan->arg = arg;
	*out = scan;
	return BCFMT_OK;
}

void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	free(scan->window);
	free(scan->buf);
	free(scan);
}

void scan_hint(struct scan *scan, uint64_t data_end_bytes)
{
	scan->data_end = data_end_bytes;
}

static bool is_in_window(const struct scan *scan, uint64_t offset_bytes, size_t len_bytes)
{
	return offset_bytes >= scan->window_at &&
	       offset_bytes - scan->window_at <= scan->window_bytes &&
	       len_bytes <= scan->window_bytes - (offset_bytes - scan->window_at);
}

/* Moves the window to begin at a place and hold at least len_bytes, as far as is of use. */
static bcfmt_err move_window(struct scan *scan, uint64_t offset_bytes, size_t len_bytes)
{
	uint64_t end_byte = min_u64(max_u64(scan->data_end, offset_bytes + len_bytes),
				    bcfmt_dev_bytes(scan->dev));
	struct io_fault fault;
	bcfmt_err err;

	scan->window_at = offset_bytes;
	scan->window_bytes = (size_t)min_u64(scan->window_cap, end_byte - offset_bytes);
	err = dev_read_quiet(scan->dev, offset_bytes, scan->window, scan->window_bytes, &fault);
	scan->is_window_bad = err == BCFMT_E_IO;
	if (err && err != BCFMT_E_IO)
		return bcfmt_fail(scan->ctx, err, "%s: cannot read: %s", scan->dev->name,
				  bcfmt_err_name(err));
	return BCFMT_OK;
}

/* What lies beyond the end of the device is no fault of its medium. */
static bcfmt_err tell_bad(void *arg, uint64_t first_sector, uint64_t sectors)
{
	const struct scan *scan = arg;
	uint64_t end = bcfmt_dev_bytes(scan->dev) / BCFMT_SECTOR_BYTES;

	if (first_sector >= end || !scan->on_bad)
		return BCFMT_OK;
	return scan->on_bad(scan->arg, first_sector, min_u64(sectors, end - first_sector));
}

static bcfmt_err read_alone(struct scan *scan, uint64_t offset_bytes, size_t len_bytes,
			    const uint8_t **out, struct bcfmt_bad_read *bad)
{
	if (scan->buf_bytes < len_bytes) {
		uint8_t *grown = realloc(scan->buf, len_bytes);

		if (!grown)
			return bcfmt_fail(scan->ctx, BCFMT_E_NOMEM, "%s: no memory for %zu bytes",
					  scan->dev->name, len_bytes);
		scan->buf = grown;
		scan->buf_bytes = len_bytes;
	}
	*out = scan->buf;
	return dev_read_salvage_each(scan->dev, offset_bytes, scan->buf, len_bytes, bad, tell_bad,
				     scan);
}

bcfmt_err scan_read(struct scan *scan, uint64_t offset_bytes, size_t len_bytes, const uint8_t **out,
		    struct bcfmt_bad_read *bad)
{
	uint64_t dev_bytes = bcfmt_dev_bytes(scan->dev);

	*bad = (struct bcfmt_bad_read){ 0 };
	if (len_bytes > scan->window_cap || offset_bytes > dev_bytes ||
	    len_bytes > dev_bytes - offset_bytes)
		return read_alone(scan, offset_bytes, len_bytes, out, bad);
	if (!is_in_window(scan, offset_bytes, len_bytes)) {
		bcfmt_err err = move_window(scan, offset_bytes, len_bytes);

		if (err)
			return err;
	}
	if (scan->is_window_bad)
		return read_alone(scan, offset_bytes, len_bytes, out, bad);
	*out = scan->window + (offset_bytes - scan->window_at);
	return BCFMT_OK;
}

/* The magic at a place is one that is looked for; then so many bytes have to be seen. */
static size_t claimed_bytes(const struct scan *scan, const uint8_t *raw, bool is_bucket_start)
{
	const struct bcfmt_geometry *geo = scan->geo;
	const struct bset_disk *disk = (const struct bset_disk *)raw;
	uint64_t magic = le64_get(&disk->magic);

	if (magic == (geo->set_magic ^ DISK_BSET_MAGIC))
		return (size_t)(sizeof(*disk) + 8ull * le32_get(&disk->keys));
	if (is_bucket_start && magic == (geo->set_magic ^ DISK_PRIO_MAGIC))
		return scan_prio_bytes_max(geo);
	return 0;
}

/* Looks at one block; *bytes is what the structure there takes, 0 without one. */
static bcfmt_err look(struct scan *scan, uint64_t sector, uint64_t end_sector, uint64_t *budget,
		      scan_fn found, void *arg, size_t *bytes)
{
	const struct bcfmt_geometry *geo = scan->geo;
	struct scan_found item = { .offset_bytes = sector * BCFMT_SECTOR_BYTES };
	bool is_bucket_start = !(sector & (geo->bucket_sectors - 1));
	size_t avail_bytes =
		(size_t)min_u64((end_sector - sector) * BCFMT_SECTOR_BYTES, NODE_BYTES_MAX);
	struct bcfmt_bad_read bad;
	size_t claimed;
	bcfmt_err err;

	*bytes = 0;
	err = scan_read(scan, item.offset_bytes, bcfmt_block_bytes(geo), &item.raw, &bad);
	if (err)
		return err;
	claimed = claimed_bytes(scan, item.raw, is_bucket_start);
	claimed = div_round_up(claimed, BCFMT_SECTOR_BYTES) * BCFMT_SECTOR_BYTES;
	if (!claimed)
		return BCFMT_OK;
	/* A made-up length must not cost a read for every block. */
	if (claimed > avail_bytes || claimed > *budget)
		return BCFMT_OK;
	err = scan_read(scan, item.offset_bytes, claimed, &item.raw, &bad);
	if (err)
		return err;
	if (scan_bset_at(geo, item.raw, claimed, sector, budget, &item.bset)) {
		item.kind = SCAN_BSET;
		item.bytes = BCFMT_BSET_HEADER_BYTES + 8 * item.bset.words;
	} else if (is_bucket_start) {
		item.kind = SCAN_PRIO;
		item.bytes = scan_prio_at(geo, item.raw, claimed);
	}
	*bytes = item.bytes;
	return item.bytes ? found(arg, &item) : BCFMT_OK;
}

bcfmt_err scan_range(struct scan *scan, uint64_t first_sector, uint64_t end_sector, bool is_head,
		     scan_fn found, void *arg)
{
	uint32_t block_sectors = scan->geo->block_sectors;
	uint64_t budget = scan_budget((end_sector - first_sector) * BCFMT_SECTOR_BYTES);
	bcfmt_err err = BCFMT_OK;

	while (!err && first_sector < end_sector && end_sector - first_sector >= block_sectors) {
		size_t bytes;

		err = look(scan, first_sector, end_sector, &budget, found, arg, &bytes);
		if (is_head)
			break;
		first_sector +=
			bytes ? div_round_up(bytes, bcfmt_block_bytes(scan->geo)) * block_sectors
			      : block_sectors;
	}
	return err;
}
