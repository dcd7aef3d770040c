/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes the place of where bcache-dump exports to: what comes is compared with the truth. */
#include <stdlib.h>
#include <string.h>

#include "../../bcache-dump/sink.h"
#include "base/checked.h"
#include "fields/fields.h"

#define PIECE_BYTES (64u << 10)

struct sink {
	uint64_t offset_bytes;
	bool is_truth;
};

static const uint8_t zeros[PIECE_BYTES];
static struct truth *truth;
static bool was_truth;
/* What a change touched: its field, and the checksum of the structure. */
static struct touched {
	uintptr_t begin;
	uintptr_t end;
} touched[2];

void sink_compare_with(struct truth *wanted)
{
	uint64_t n = div_round_up(wanted->len_bytes, PIECE_BYTES);

	was_truth = false;
	truth = wanted;
	if (wanted->has_data)
		return;
	wanted->has_data = calloc(1, n ? n : 1);
	wanted->from = calloc(div_round_up(wanted->len_bytes, BCFMT_SECTOR_BYTES) + 1,
			      sizeof(*wanted->from));
	for (uint64_t i = 0; wanted->has_data && i < n; i++)
		wanted->has_data[i] =
			memcmp(truth->bytes + i * PIECE_BYTES, zeros,
			       min_u64(truth->len_bytes - i * PIECE_BYTES, PIECE_BYTES)) != 0;
}

void sink_touched(const uint8_t *begin, size_t len_bytes, const uint8_t *csum)
{
	touched[0] = (struct touched){ (uintptr_t)begin, (uintptr_t)begin + len_bytes };
	touched[1] = (struct touched){ (uintptr_t)csum, (uintptr_t)csum + 8 };
}

bool sink_was_truth(void)
{
	return was_truth;
}

bcfmt_err sink_open(struct bcfmt_ctx *ctx, const char *path, uint64_t volume_bytes,
		    struct bcfmt_dev *const *inputs, size_t n_inputs, struct sink **out)
{
	(void)path, (void)inputs, (void)n_inputs;
	*out = calloc(1, sizeof(**out));
	if (!*out || !truth->has_data || !truth->from)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	(*out)->is_truth = volume_bytes == truth->len_bytes;
	mapped_note_reads(true);
	return BCFMT_OK;
}

/* ---- comparing ---- */

static bool is_touched(const uint8_t *sector)
{
	uintptr_t begin = (uintptr_t)sector, end = begin + BCFMT_SECTOR_BYTES;

	return (touched[0].begin < end && begin < touched[0].end) ||
	       (touched[1].begin < end && begin < touched[1].end);
}

static bool is_same_sector(uint64_t at_bytes, const uint8_t *from, bool is_mapped)
{
	const uint8_t **known = &truth->from[at_bytes / BCFMT_SECTOR_BYTES];
	bool is_same;

	if (is_mapped && *known == from && !is_touched(from))
		return true;
	is_same = !memcmp(from, truth->bytes + at_bytes, BCFMT_SECTOR_BYTES);
	if (is_same && is_mapped && !*known && !is_touched(from))
		*known = from;
	return is_same;
}

/* Sectors that no read was noted for are in the buffer itself; of several the last one counts. */
static bool is_same_chunk(uint64_t at_bytes, const uint8_t *buf, size_t len_bytes)
{
	static const uint8_t **from;
	static size_t cap;
	size_t n = len_bytes / BCFMT_SECTOR_BYTES, n_notes;
	const struct mapped_note *note = mapped_notes(&n_notes);

	if (n > cap) {
		free(from);
		from = malloc(n * sizeof(*from));
		cap = from ? n : 0;
	}
	if (n > cap)
		return false;
	memset(from, 0, n * sizeof(*from));
	for (; n_notes; n_notes--, note++) {
		size_t first = (size_t)(note->to - buf) / BCFMT_SECTOR_BYTES;

		for (size_t i = 0; i < note->len_bytes / BCFMT_SECTOR_BYTES; i++)
			if (first + i < n)
				from[first + i] = note->from + i * BCFMT_SECTOR_BYTES;
	}
	for (size_t i = 0; i < n; i++)
		if (!is_same_sector(at_bytes + i * BCFMT_SECTOR_BYTES,
				    from[i] ? from[i] : buf + i * BCFMT_SECTOR_BYTES, from[i]))
			return false;
	return true;
}

bcfmt_err sink_write(struct sink *sink, const void *buf, size_t len_bytes)
{
	if (sink->is_truth)
		sink->is_truth = len_bytes <= truth->len_bytes - sink->offset_bytes &&
				 is_same_chunk(sink->offset_bytes, buf, len_bytes);
	mapped_note_reads(true);
	sink->offset_bytes += len_bytes;
	return BCFMT_OK;
}

bcfmt_err sink_zeros(struct sink *sink, uint64_t len_bytes)
{
	uint64_t end_bytes = sink->offset_bytes + len_bytes;

	if (sink->is_truth && end_bytes > truth->len_bytes)
		sink->is_truth = false;
	while (sink->is_truth && sink->offset_bytes < end_bytes) {
		uint64_t piece = sink->offset_bytes / PIECE_BYTES;
		uint64_t stop_bytes = min_u64((piece + 1) * PIECE_BYTES, end_bytes);

		if (truth->has_data[piece])
			sink->is_truth = !memcmp(truth->bytes + sink->offset_bytes, zeros,
						 stop_bytes - sink->offset_bytes);
		sink->offset_bytes = stop_bytes;
	}
	sink->offset_bytes = end_bytes;
	return BCFMT_OK;
}

bool sink_is_sparse(const struct sink *sink)
{
	(void)sink;
	return true;
}

bool sink_is_stdout(const struct sink *sink)
{
	(void)sink;
	return true;
}

bcfmt_err sink_commit(struct sink *sink)
{
	was_truth = sink->is_truth && sink->offset_bytes == truth->len_bytes;
	return BCFMT_OK;
}

void sink_free(struct sink *sink)
{
	mapped_note_reads(false);
	free(sink);
}
