/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes the place of where bcache-dump exports to: what comes is compared with the truth. */
#include <stdlib.h>
#include <string.h>

#include "../../bcache-dump/sink.h"
#include "fields/fields.h"

#define PIECE_BYTES (64u << 10)

struct sink {
	uint64_t offset_bytes;
	bool is_truth;
};

static const struct truth *truth;
static uint8_t *has_data; /* a piece of the truth */
static bool was_truth;

void sink_compare_with(const struct truth *wanted)
{
	uint64_t n = (wanted->len_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
	static const uint8_t zeros[PIECE_BYTES];

	was_truth = false;
	if (truth == wanted)
		return;
	truth = wanted;
	free(has_data);
	has_data = calloc(1, n ? n : 1);
	for (uint64_t i = 0; has_data && i < n; i++) {
		uint64_t left = truth->len_bytes - i * PIECE_BYTES;

		has_data[i] = memcmp(truth->bytes + i * PIECE_BYTES, zeros,
				     left < PIECE_BYTES ? left : PIECE_BYTES) != 0;
	}
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
	if (!*out || !has_data)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	(*out)->is_truth = volume_bytes == truth->len_bytes;
	return BCFMT_OK;
}

bcfmt_err sink_write(struct sink *sink, const void *buf, size_t len_bytes)
{
	if (sink->is_truth)
		sink->is_truth = len_bytes <= truth->len_bytes - sink->offset_bytes &&
				 !memcmp(buf, truth->bytes + sink->offset_bytes, len_bytes);
	sink->offset_bytes += len_bytes;
	return BCFMT_OK;
}

bcfmt_err sink_zeros(struct sink *sink, uint64_t len_bytes)
{
	uint64_t end_bytes = sink->offset_bytes + len_bytes;

	if (sink->is_truth && end_bytes > truth->len_bytes)
		sink->is_truth = false;
	while (sink->is_truth && sink->offset_bytes < end_bytes) {
		static const uint8_t zeros[PIECE_BYTES];
		uint64_t piece = sink->offset_bytes / PIECE_BYTES;
		uint64_t stop_bytes = (piece + 1) * PIECE_BYTES;

		stop_bytes = stop_bytes < end_bytes ? stop_bytes : end_bytes;
		if (has_data[piece])
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
	free(sink);
}
