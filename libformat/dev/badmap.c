/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device of which only those ranges can be read that a ddrescue mapfile calls finished. */
#include <stdlib.h>

#include "base/checked.h"
#include "dev/dev_impl.h"
#include "dev/mapfile.h"
#include "dev/range_map.h"

struct badmap_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower;   /* owned once the map is read */
	struct range_map finished; /* bytes; the values mean nothing */
};

/* How far what is finished reaches from offset_bytes on; offset_bytes when nothing there is. */
static uint64_t finished_until(const struct badmap_dev *badmap, uint64_t offset_bytes,
			       uint64_t end_bytes)
{
	struct range range;

	if (!range_map_at(&badmap->finished, offset_bytes, &range) || range.start > offset_bytes)
		return offset_bytes;
	return min_u64(range.end, end_bytes);
}

static bcfmt_err badmap_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t end_bytes = offset_bytes + len_bytes;
	uint64_t until_bytes = finished_until(badmap, offset_bytes, end_bytes);

	if (until_bytes < end_bytes)
		return dev_io_fail(fault, BCFMT_E_IO, until_bytes, 0,
				   "not finished in the bad-sector map");
	return dev_read_quiet(badmap->lower, offset_bytes, buf, len_bytes, fault);
}

/* What was written can be read again, as on a disk that replaces its bad sectors. */
static bcfmt_err badmap_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t end_bytes = offset_bytes + len_bytes;
	bcfmt_err err = dev_write_quiet(badmap->lower, offset_bytes, buf, len_bytes, fault);

	if (err || finished_until(badmap, offset_bytes, end_bytes) == end_bytes)
		return err;
	err = range_map_join(&badmap->finished, offset_bytes, end_bytes);
	return err ? dev_io_fail(fault, err, offset_bytes, 0, NULL) : BCFMT_OK;
}

static bcfmt_err badmap_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	return dev_flush_quiet(((struct badmap_dev *)dev)->lower, fault);
}

/* What is not finished is no hole, though ddrescue leaves one there: it counts as data. */
static bcfmt_err badmap_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				  uint64_t *begin_bytes, uint64_t *end_bytes,
				  struct io_fault *fault)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;
	uint64_t until_bytes = finished_until(badmap, offset_bytes, dev->bytes);
	struct range range;

	if (until_bytes > offset_bytes) {
		bcfmt_err err = dev_next_data_quiet(badmap->lower, offset_bytes, begin_bytes,
						    end_bytes, fault);

		if (err < 0)
			return err;
		if (!err && *begin_bytes < until_bytes) {
			*end_bytes = min_u64(*end_bytes, until_bytes);
			return BCFMT_OK;
		}
		if (until_bytes == dev->bytes)
			return BCFMT_END;
	}
	*begin_bytes = until_bytes;
	*end_bytes = dev->bytes;
	if (range_map_at(&badmap->finished, until_bytes, &range))
		*end_bytes = min_u64(range.start, dev->bytes);
	return BCFMT_OK;
}

/* A bad disk is not asked for what is known to be bad. */
static bool is_finished(const struct badmap_dev *badmap, uint64_t offset_bytes, uint64_t len_bytes)
{
	uint64_t end_bytes = offset_bytes + len_bytes;

	return finished_until(badmap, offset_bytes, end_bytes) == end_bytes;
}

static void badmap_read_ahead(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	if (is_finished(badmap, offset_bytes, len_bytes))
		dev_read_ahead(badmap->lower, offset_bytes, len_bytes);
}

static bool badmap_is_far(struct bcfmt_dev *dev, uint64_t offset_bytes, uint64_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	return is_finished(badmap, offset_bytes, len_bytes) &&
	       dev_is_far(badmap->lower, offset_bytes, len_bytes);
}

static bool badmap_read_around(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			       size_t len_bytes)
{
	const struct badmap_dev *badmap = (struct badmap_dev *)dev;

	return is_finished(badmap, offset_bytes, len_bytes) &&
	       dev_read_around(badmap->lower, offset_bytes, buf, len_bytes);
}

static void badmap_free(struct bcfmt_dev *dev)
{
	struct badmap_dev *badmap = (struct badmap_dev *)dev;

	bcfmt_dev_free(badmap->lower);
	range_map_clear(&badmap->finished);
	free(badmap);
}

static const struct dev_ops badmap_ops = {
	.read = badmap_read,
	.write = badmap_write,
	.flush = badmap_flush,
	.next_data = badmap_next_data,
	.read_ahead = badmap_read_ahead,
	.is_far = badmap_is_far,
	.read_around = badmap_read_around,
	.free = badmap_free,
};

/* What is not called finished is not. */
static bcfmt_err take_range(void *arg, uint64_t start_bytes, uint64_t end_bytes, char status)
{
	struct badmap_dev *badmap = arg;

	return status == '+' ? range_map_join(&badmap->finished, start_bytes, end_bytes) : BCFMT_OK;
}

bcfmt_err bcfmt_dev_badmap(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower, const char *map_path,
			   struct bcfmt_dev **out)
{
	struct badmap_dev *badmap = calloc(1, sizeof(*badmap));
	bcfmt_err err;

	*out = NULL;
	if (!badmap || dev_init_above(&badmap->dev, &badmap_ops, ctx, lower)) {
		free(badmap);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	err = mapfile_read(ctx, map_path, take_range, badmap);
	if (err)
		goto free_badmap;
	badmap->lower = lower;
	*out = &badmap->dev;
	return BCFMT_OK;

free_badmap:
	bcfmt_dev_free(&badmap->dev);
	return err;
}
