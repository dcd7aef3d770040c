/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes the place of where bcache-dump exports to: every sector is compared with the truth. */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/base.h>

#include "../../bcache-dump/sink.h"
#include "base/checked.h"
#include "damage/damage.h"

#define PIECE_BYTES (64u << 10)

struct sink {
	uint64_t offset_bytes;
};

static const struct volume *volume;
static const uint8_t zeros[PIECE_BYTES];

void sink_compare(const struct volume *wanted)
{
	volume = wanted;
	memset(wanted->exported, 0, sizeof(*wanted->exported) + wanted->bytes / BCFMT_SECTOR_BYTES);
}

static enum sector_state judge(uint64_t offset_bytes, const uint8_t *got)
{
	const uint8_t *old = volume->old ? volume->old + offset_bytes : zeros;

	if (!memcmp(got, volume->truth + offset_bytes, BCFMT_SECTOR_BYTES))
		return SECTOR_RIGHT;
	return !memcmp(got, old, BCFMT_SECTOR_BYTES) || !memcmp(got, zeros, BCFMT_SECTOR_BYTES)
		       ? SECTOR_OLD
		       : SECTOR_WRONG;
}

bcfmt_err sink_open(struct bcfmt_ctx *ctx, const char *path, uint64_t volume_bytes,
		    struct bcfmt_dev *const *inputs, size_t n_inputs, struct sink **out)
{
	(void)path, (void)inputs, (void)n_inputs;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "out of memory");
	volume->exported->is_other_size = volume_bytes != volume->bytes;
	return BCFMT_OK;
}

bcfmt_err sink_write(struct sink *sink, const void *buf, size_t len_bytes)
{
	const uint8_t *got = buf;
	uint64_t left_bytes = volume->bytes - min_u64(volume->bytes, sink->offset_bytes);
	uint64_t bytes = min_u64(len_bytes, left_bytes);

	if (memcmp(got, volume->truth + sink->offset_bytes, (size_t)bytes) != 0)
		for (uint64_t at = 0; at + BCFMT_SECTOR_BYTES <= bytes; at += BCFMT_SECTOR_BYTES)
			volume->exported->sectors[(sink->offset_bytes + at) / BCFMT_SECTOR_BYTES] =
				(uint8_t)judge(sink->offset_bytes + at, got + at);
	sink->offset_bytes += len_bytes;
	return BCFMT_OK;
}

bcfmt_err sink_zeros(struct sink *sink, uint64_t len_bytes)
{
	while (len_bytes) {
		uint64_t bytes = min_u64(len_bytes, PIECE_BYTES);

		sink_write(sink, zeros, (size_t)bytes);
		len_bytes -= bytes;
	}
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
	volume->exported->is_whole = true;
	volume->exported->is_other_size |= sink->offset_bytes != volume->bytes;
	return BCFMT_OK;
}

void sink_free(struct sink *sink)
{
	free(sink);
}
