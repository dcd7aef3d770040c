/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The devices of a set that is an input (memory.h). */
#include "fuzz/memory_dev.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "fuzz/faults.h"

void memory_contexts(struct bcfmt_ctx *ctxs[2])
{
	struct bcfmt_ctx_params params = { .threads = 1 };

	assert(bcfmt_ctx_new(&params, &ctxs[0]) == BCFMT_OK);
	params.threads = 3;
	params.max_bytes = 1; /* the library takes the least that it can do with */
	params.tmp_dir = "/tmp";
	assert(bcfmt_ctx_new(&params, &ctxs[1]) == BCFMT_OK);
}

bool memory_open(struct memory *memory, const uint8_t *input, size_t input_bytes)
{
	memset(memory, 0, sizeof(*memory));
	if (!memory_head(input, input_bytes, &memory->head))
		return false;
	memory->input = malloc(input_bytes);
	memory->pieces = calloc(MEMORY_PIECES_MAX, sizeof(*memory->pieces));
	assert(memory->input && memory->pieces);
	memcpy(memory->input, input, input_bytes);
	memory->n = memory_pieces(memory->input, input_bytes, memory->pieces);
	memory->n_devices = 1 + memory->head.n_backing;
	return true;
}

void memory_close(struct memory *memory)
{
	free(memory->input);
	free(memory->pieces);
}

uint32_t memory_page_bytes(const struct memory *memory)
{
	return memory->head.flags & MEMORY_FLAG_PAGE_16K ? 16384 : 4096;
}

uint32_t memory_failing_device(const struct memory *memory)
{
	return memory->head.flags & MEMORY_FLAG_BACKING ? 1 : 0;
}

struct bcfmt_dev *memory_device(struct bcfmt_ctx *ctx, const struct memory *memory, uint32_t device)
{
	static const char *const names[MEMORY_DEVICES_MAX] = { "cache", "backing", "backing1" };
	size_t len_bytes =
		(size_t)(device ? memory->head.backing_sectors : memory->head.cache_sectors) *
		BCFMT_SECTOR_BYTES;
	struct bcfmt_dev *dev;

	assert(bcfmt_dev_mem(ctx, names[device], NULL, len_bytes, &dev) == BCFMT_OK);
	for (uint32_t i = 0; i < memory->n; i++) {
		const struct memory_piece *piece = &memory->pieces[i];
		size_t at = (size_t)piece->sector * BCFMT_SECTOR_BYTES;

		if (piece->device != device || at >= len_bytes)
			continue;
		assert(bcfmt_dev_write(dev, at, piece->bytes,
				       min_u64(piece->len_bytes, len_bytes - at)) == BCFMT_OK);
	}
	return dev;
}

struct bcfmt_dev *memory_faulty(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, uint16_t fail_read,
				uint16_t fail_write)
{
	struct bcfmt_dev_faults faults = {
		.fail_read = fail_read & ~FAULTS_ONCE,
		.fail_write = fail_write & ~FAULTS_ONCE,
		.once = (fail_read | fail_write) & FAULTS_ONCE,
	};
	struct bcfmt_dev *faulty;

	assert(bcfmt_dev_faulty(ctx, dev, &faults, &faulty) == BCFMT_OK);
	return faulty;
}
