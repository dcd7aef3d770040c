/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States of a device after any number of entries of a dm-log-writes log. */
#include <bcfmt/write_log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/vec.h"
#include "dev/dev_impl.h"
#include "dev/range_map.h"
#include "dev/write_log_impl.h"

struct log_entry {
	uint64_t start_sector;
	uint64_t sectors;
	uint64_t data_sector; /* of the log, in 512 bytes */
	uint32_t flags;
	uint32_t first_volatile; /* after this entry */
};

struct bcfmt_write_log {
	struct bcfmt_dev *dev; /* borrowed */
	uint64_t device_bytes;
	uint32_t sector_bytes;
	struct vec entries;    /* of struct log_entry */
};

/*
 * What may be lost has an index of its own above the durable one, so that another choice of what
 * is left out touches only that. Both map sectors of the device to sectors of the log, or to
 * RANGE_VALUE_FIXED for zeros.
 */
struct state_dev {
	struct bcfmt_dev dev;
	const struct bcfmt_write_log *log;
	uint32_t n;
	uint32_t n_durable;
	bool has_left_out;
	struct range_map durable;  /* entries before n_durable */
	struct range_map tail;     /* from there to n */
};

static const struct log_entry *entry_at(const struct bcfmt_write_log *log, uint32_t index)
{
	return VEC_AT(&log->entries, const struct log_entry, index);
}

static bool is_write(const struct log_entry *entry)
{
	return entry->sectors &&
	       !(entry->flags & (BCFMT_WRITE_LOG_DISCARD | BCFMT_WRITE_LOG_MARK));
}

static bcfmt_err read_super(struct bcfmt_ctx *ctx, struct bcfmt_write_log *log,
			    uint64_t *n_entries)
{
	const char *name = log->dev->name;
	uint8_t raw[SUPER_BYTES];
	uint64_t version;
	bcfmt_err err = bcfmt_dev_read(log->dev, 0, raw, sizeof(raw));

	if (err)
		return err;
	if (load_le64(raw) != SUPER_MAGIC)
		return bcfmt_fail(ctx, BCFMT_E_DAMAGED, "%s: not a log of dm-log-writes", name);
	version = load_le64(raw + SUPER_VERSION_AT);
	if (version != SUPER_VERSION)
		return bcfmt_fail(ctx, BCFMT_E_UNSUPPORTED, "%s: log version %" PRIu64, name,
				  version);
	log->sector_bytes = load_le32(raw + SUPER_SECTOR_BYTES_AT);
	if (!is_pow2(log->sector_bytes) || log->sector_bytes < BCFMT_SECTOR_BYTES ||
	    log->sector_bytes > LOG_SECTOR_BYTES_MAX)
		return bcfmt_fail(ctx, BCFMT_E_UNSUPPORTED, "%s: log sectors of %" PRIu32 " bytes",
				  name, log->sector_bytes);
	*n_entries = load_le64(raw + SUPER_ENTRIES_AT);
	if (*n_entries > BCFMT_WRITE_LOG_ENTRIES_MAX)
		return bcfmt_fail(ctx, BCFMT_E_UNSUPPORTED, "%s: %" PRIu64 " log entries", name,
				  *n_entries);
	return BCFMT_OK;
}

/* Reads the entry whose header lies at *header_bytes and moves that to the next one. */
static bcfmt_err read_entry(struct bcfmt_ctx *ctx, struct bcfmt_write_log *log,
			    uint64_t *header_bytes)
{
	const char *name = log->dev->name;
	uint64_t unit = log->sector_bytes / BCFMT_SECTOR_BYTES;
	uint64_t device_sectors = log->device_bytes / BCFMT_SECTOR_BYTES;
	uint32_t index = (uint32_t)log->entries.n;
	struct log_entry entry = { 0 };
	uint64_t flags, end_sector, data_bytes;
	uint8_t raw[ENTRY_BYTES];
	struct log_entry *added;
	bcfmt_err err;

	if (*header_bytes > log->dev->bytes ||
	    log->dev->bytes - *header_bytes < log->sector_bytes)
		return bcfmt_fail(ctx, BCFMT_E_DAMAGED, "%s: entry %" PRIu32
				  " lies beyond the end of the log", name, index);
	err = bcfmt_dev_read(log->dev, *header_bytes, raw, sizeof(raw));
	if (err)
		return err;
	*header_bytes += log->sector_bytes;
	flags = load_le64(raw + ENTRY_FLAGS_AT);
	if (flags & ~ENTRY_FLAGS_ALL)
		return bcfmt_fail(ctx, BCFMT_E_DAMAGED, "%s: entry %" PRIu32 ": flags 0x%" PRIx64,
				  name, index, flags);
	entry.flags = (uint32_t)flags;
	entry.data_sector = *header_bytes / BCFMT_SECTOR_BYTES;
	if (mul_overflows(load_le64(raw), unit, &entry.start_sector) ||
	    mul_overflows(load_le64(raw + ENTRY_SECTORS_AT), unit, &entry.sectors) ||
	    add_overflows(entry.start_sector, entry.sectors, &end_sector))
		return bcfmt_fail(ctx, BCFMT_E_DAMAGED, "%s: entry %" PRIu32
				  ": sectors beyond 2^64", name, index);
	if (entry.sectors && end_sector > device_sectors)
		return bcfmt_fail(ctx, BCFMT_E_RANGE, "%s: entry %" PRIu32 " ends at sector"
				  " %" PRIu64 " of a device of %" PRIu64 " sectors", name, index,
				  end_sector, device_sectors);
	if (!(entry.flags & BCFMT_WRITE_LOG_DISCARD)) {
		/* Not beyond device_bytes, so this does not overflow. */
		data_bytes = entry.sectors * BCFMT_SECTOR_BYTES;
		if (data_bytes > log->dev->bytes - *header_bytes)
			return bcfmt_fail(ctx, BCFMT_E_DAMAGED, "%s: entry %" PRIu32
					  ": data beyond the end of the log", name, index);
		*header_bytes += data_bytes;
	}
	if (entry.flags & (BCFMT_WRITE_LOG_FLUSH | BCFMT_WRITE_LOG_FUA))
		entry.first_volatile = index + 1;
	else if (index)
		entry.first_volatile = entry_at(log, index - 1)->first_volatile;
	added = vec_push(&log->entries, sizeof(entry));
	if (!added)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory at entry %" PRIu32, name,
				  index);
	*added = entry;
	return BCFMT_OK;
}

bcfmt_err bcfmt_write_log_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, uint64_t device_bytes,
			       struct bcfmt_write_log **out)
{
	struct bcfmt_write_log *log;
	uint64_t n_entries = 0, header_bytes;
	bcfmt_err err;

	*out = NULL;
	if (!device_bytes || device_bytes % BCFMT_SECTOR_BYTES)
		return bcfmt_fail(ctx, BCFMT_E_ARG, "%s: recorded device of %" PRIu64 " bytes",
				  dev->name, device_bytes);
	log = calloc(1, sizeof(*log));
	if (!log)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", dev->name);
	log->dev = dev;
	log->device_bytes = device_bytes;
	err = read_super(ctx, log, &n_entries);
	header_bytes = log->sector_bytes;
	while (!err && log->entries.n < n_entries) {
		if (bcfmt_ctx_is_cancelled(ctx))
			err = bcfmt_fail(ctx, BCFMT_E_CANCELLED, "%s: cancelled", dev->name);
		else
			err = read_entry(ctx, log, &header_bytes);
	}
	if (err) {
		bcfmt_write_log_free(log);
		return err;
	}
	*out = log;
	return BCFMT_OK;
}

void bcfmt_write_log_free(struct bcfmt_write_log *log)
{
	if (!log)
		return;
	vec_free(&log->entries);
	free(log);
}

uint32_t bcfmt_write_log_entries(const struct bcfmt_write_log *log)
{
	return (uint32_t)log->entries.n;
}

bcfmt_err bcfmt_write_log_entry(const struct bcfmt_write_log *log, uint32_t index,
				struct bcfmt_write_log_entry *out)
{
	const struct log_entry *entry;

	if (index >= log->entries.n)
		return BCFMT_E_ARG;
	entry = entry_at(log, index);
	*out = (struct bcfmt_write_log_entry){
		.start_sector = entry->start_sector,
		.sectors = entry->sectors,
		.flags = entry->flags,
		.is_write = is_write(entry),
	};
	return BCFMT_OK;
}

uint32_t bcfmt_write_log_first_volatile(const struct bcfmt_write_log *log, uint32_t n)
{
	return n ? entry_at(log, n - 1)->first_volatile : 0;
}

bool bcfmt_write_log_may_be_lost(const struct bcfmt_write_log *log, uint32_t n, uint32_t index)
{
	return index < n && index >= bcfmt_write_log_first_volatile(log, n) &&
	       is_write(entry_at(log, index));
}

/* What sector shows; *until_sector: up to where that goes on. RANGE_VALUE_FIXED: zeros. */
static uint64_t source_of(const struct state_dev *state, uint64_t sector, uint64_t *until_sector)
{
	const struct range_map *maps[] = { &state->tail, &state->durable };
	size_t i;

	*until_sector = state->dev.bytes / BCFMT_SECTOR_BYTES;
	for (i = 0; i < 2; i++) {
		struct range range;

		if (!range_map_at(maps[i], sector, &range))
			continue;
		if (range.start <= sector) {
			*until_sector = min_u64(*until_sector, range.end);
			return range_value_at(&range, sector);
		}
		*until_sector = min_u64(*until_sector, range.start);
	}
	return RANGE_VALUE_FIXED;
}

static bcfmt_err state_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			    size_t len_bytes, struct io_fault *fault)
{
	const struct state_dev *state = (struct state_dev *)dev;
	uint8_t *to = buf;

	while (len_bytes) {
		uint64_t in_sector = offset_bytes % BCFMT_SECTOR_BYTES;
		uint64_t until_sector, source;
		size_t piece_bytes;

		source = source_of(state, offset_bytes / BCFMT_SECTOR_BYTES, &until_sector);
		piece_bytes = min_u64(until_sector * BCFMT_SECTOR_BYTES - offset_bytes, len_bytes);
		if (source == RANGE_VALUE_FIXED) {
			memset(to, 0, piece_bytes);
		} else {
			bcfmt_err err = dev_read_quiet(state->log->dev,
						       source * BCFMT_SECTOR_BYTES + in_sector, to,
						       piece_bytes, fault);

			if (err)
				return err;
		}
		offset_bytes += piece_bytes;
		to += piece_bytes;
		len_bytes -= piece_bytes;
	}
	return BCFMT_OK;
}

static bcfmt_err state_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				 uint64_t *begin_bytes, uint64_t *end_bytes,
				 struct io_fault *fault)
{
	const struct state_dev *state = (struct state_dev *)dev;
	uint64_t sector = offset_bytes / BCFMT_SECTOR_BYTES, until_sector;

	(void)fault;
	for (; sector < dev->bytes / BCFMT_SECTOR_BYTES; sector = until_sector) {
		if (source_of(state, sector, &until_sector) == RANGE_VALUE_FIXED)
			continue;
		*begin_bytes = max_u64(sector * BCFMT_SECTOR_BYTES, offset_bytes);
		*end_bytes = until_sector * BCFMT_SECTOR_BYTES;
		return BCFMT_OK;
	}
	return BCFMT_END;
}

static void state_free(struct bcfmt_dev *dev)
{
	struct state_dev *state = (struct state_dev *)dev;

	range_map_clear(&state->durable);
	range_map_clear(&state->tail);
	free(state);
}

static const struct dev_ops state_ops = {
	.read = state_read,
	.next_data = state_next_data,
	.free = state_free,
};

static bool is_left_out(const uint8_t *left_out, uint32_t index)
{
	return left_out && left_out[index / 8] >> (index % 8) & 1;
}

/* Applies entries [first, end) in order. */
static bcfmt_err apply(const struct bcfmt_write_log *log, struct range_map *map, uint32_t first,
		       uint32_t end, const uint8_t *left_out)
{
	uint32_t i;

	for (i = first; i < end; i++) {
		const struct log_entry *entry = entry_at(log, i);
		bool is_discard = entry->flags & BCFMT_WRITE_LOG_DISCARD;
		bcfmt_err err;

		if (!entry->sectors || entry->flags & BCFMT_WRITE_LOG_MARK ||
		    is_left_out(left_out, i))
			continue;
		err = range_map_set(map, entry->start_sector, entry->start_sector + entry->sectors,
				    is_discard ? RANGE_VALUE_FIXED : entry->data_sector);
		if (err)
			return err;
	}
	return BCFMT_OK;
}

/* *state: the device as a state, or E_ARG when it is none. */
static bcfmt_err state_of(struct bcfmt_dev *dev, struct state_dev **state)
{
	*state = (struct state_dev *)dev;
	if (dev->ops == &state_ops)
		return BCFMT_OK;
	return bcfmt_fail(dev->ctx, BCFMT_E_ARG, "%s: not a state of a write log", dev->name);
}

bcfmt_err bcfmt_write_log_advance(struct bcfmt_dev *dev, uint32_t n)
{
	struct state_dev *state;
	uint32_t n_durable, first;
	bcfmt_err err = state_of(dev, &state);

	if (err)
		return err;
	if (n < state->n || n > state->log->entries.n)
		return bcfmt_fail(dev->ctx, BCFMT_E_ARG, "%s: entry %" PRIu32 " is not in %" PRIu32
				  "..%zu", dev->name, n, state->n, state->log->entries.n);
	n_durable = bcfmt_write_log_first_volatile(state->log, n);
	first = state->n;
	if (n_durable != state->n_durable || state->has_left_out) {
		range_map_clear(&state->tail);
		first = n_durable;
	}
	err = apply(state->log, &state->durable, state->n_durable, n_durable, NULL);
	if (!err)
		err = apply(state->log, &state->tail, first, n, NULL);
	if (err)
		return bcfmt_fail(dev->ctx, err, "%s: out of memory", dev->name);
	state->n = n;
	state->n_durable = n_durable;
	state->has_left_out = false;
	return BCFMT_OK;
}

bcfmt_err bcfmt_write_log_leave_out(struct bcfmt_dev *dev, const uint8_t *left_out)
{
	struct state_dev *state;
	bcfmt_err err = state_of(dev, &state);
	uint32_t i;

	if (err)
		return err;
	for (i = 0; left_out && i < state->n; i++)
		if (is_left_out(left_out, i) &&
		    !bcfmt_write_log_may_be_lost(state->log, state->n, i))
			return bcfmt_fail(dev->ctx, BCFMT_E_ARG, "%s: entry %" PRIu32
					  " cannot be lost after %" PRIu32, dev->name, i,
					  state->n);
	range_map_clear(&state->tail);
	state->has_left_out = left_out != NULL;
	err = apply(state->log, &state->tail, state->n_durable, state->n, left_out);
	return err ? bcfmt_fail(dev->ctx, err, "%s: out of memory", dev->name) : BCFMT_OK;
}

bcfmt_err bcfmt_write_log_state(struct bcfmt_ctx *ctx, struct bcfmt_write_log *log, uint32_t n,
				const uint8_t *left_out, struct bcfmt_dev **out)
{
	struct state_dev *state = calloc(1, sizeof(*state));
	bcfmt_err err;

	*out = NULL;
	if (!state || dev_init(&state->dev, &state_ops, ctx, log->dev->name, log->device_bytes)) {
		free(state);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", log->dev->name);
	}
	state->log = log;
	err = bcfmt_write_log_advance(&state->dev, n);
	if (!err && left_out)
		err = bcfmt_write_log_leave_out(&state->dev, left_out);
	if (err) {
		bcfmt_dev_free(&state->dev);
		return err;
	}
	*out = &state->dev;
	return BCFMT_OK;
}
