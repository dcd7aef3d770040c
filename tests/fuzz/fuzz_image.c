/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole set in memory (image.h), opened, checked, walked and shown. Twice, with another number
 * of threads and another limit of memory, it says the same; while an allocation fails it says so or
 * says the same; while reads fail it never looks safer than it is.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/dev.h>

#include "base/bytes.h"
#include "fuzz/check_set.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"
#include "fuzz/image.h"

#define SPILL_BYTES 1u /* the library takes the least that it can do with */

/* One with a thread and much memory, one with several and as little as there can be. */
static struct bcfmt_ctx *ctxs[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };

	(void)argc;
	(void)argv;
	assert(bcfmt_ctx_new(&params, &ctxs[0]) == BCFMT_OK);
	params.threads = 3;
	params.max_bytes = SPILL_BYTES;
	params.tmp_dir = "/tmp";
	assert(bcfmt_ctx_new(&params, &ctxs[1]) == BCFMT_OK);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t input_bytes, size_t input_max,
			       unsigned int seed)
{
	return image_mutate(input, input_bytes, input_max, seed);
}

struct image {
	struct image_head head;
	struct image_piece *pieces;
	uint32_t n;
	uint8_t *input; /* a copy: pieces are not written to, but not const either */
};

static size_t device_bytes(const struct image *image, uint32_t device)
{
	return (size_t)(device ? image->head.backing_sectors : image->head.cache_sectors) * 512;
}

static bool image_open(struct image *image, const uint8_t *input, size_t input_bytes)
{
	memset(image, 0, sizeof(*image));
	if (!image_head(input, input_bytes, &image->head))
		return false;
	image->input = malloc(input_bytes);
	image->pieces = calloc(IMAGE_PIECES_MAX, sizeof(*image->pieces));
	assert(image->input && image->pieces);
	memcpy(image->input, input, input_bytes);
	image->n = image_pieces(image->input, input_bytes, image->pieces);
	return true;
}

static void image_close(struct image *image)
{
	free(image->input);
	free(image->pieces);
}

static struct bcfmt_dev *make_device(struct bcfmt_ctx *ctx, const struct image *image,
				     uint32_t device, uint16_t fail_read)
{
	struct bcfmt_dev_faults faults = {
		.fail_read = fail_read & ~FAULTS_ONCE,
		.once = fail_read & FAULTS_ONCE,
	};
	size_t len_bytes = device_bytes(image, device);
	struct bcfmt_dev *mem, *dev;

	assert(bcfmt_dev_mem(ctx, device ? "backing" : "cache", NULL, len_bytes, &mem) == BCFMT_OK);
	for (uint32_t i = 0; i < image->n; i++) {
		const struct image_piece *piece = &image->pieces[i];
		size_t at = (size_t)piece->sector * 512;

		if (piece->device != device || at >= len_bytes)
			continue;
		assert(bcfmt_dev_write(mem, at, piece->bytes,
				       piece->len_bytes < len_bytes - at
					       ? piece->len_bytes
					       : len_bytes - at) == BCFMT_OK);
	}
	assert(bcfmt_dev_faulty(ctx, mem, &faults, &dev) == BCFMT_OK);
	return dev;
}

/* Checks the set while an allocation or a read fails. True when an allocation did. */
static bool run(struct bcfmt_ctx *ctx, const struct image *image, uint16_t fail_alloc,
		uint16_t fail_read, struct checked *out)
{
	uint32_t failing = image->head.flags & IMAGE_FLAG_BACKING ? 1 : 0;
	uint32_t level = image->head.flags & IMAGE_FLAG_LEVEL;
	uint32_t page_bytes = image->head.flags & IMAGE_FLAG_PAGE_16K ? 16384 : 4096;
	struct bcfmt_dev *devs[1 + IMAGE_BACKING_MAX];
	uint32_t n = 1 + image->head.n_backing;
	bool has_failed;

	for (uint32_t i = 0; i < n; i++)
		devs[i] = make_device(ctx, image, i, i == failing ? fail_read : 0);
	faults_arm(fail_alloc);
	check_set(ctx, devs, n, level > BCFMT_LEVEL_DATA ? BCFMT_LEVEL_QUICK : level, page_bytes,
		  out);
	has_failed = faults_disarm();
	for (uint32_t i = 0; i < n; i++)
		bcfmt_dev_free(devs[i]);
	return has_failed;
}

static void assert_same(const struct checked *a, const struct checked *b)
{
	assert(!strcmp(a->json, b->json));
}

static void check_faults(const struct image *image, struct bcfmt_ctx *ctx,
			 const struct checked *whole)
{
	struct checked failed;
	bool has_failed = run(ctx, image, image->head.fail_alloc, image->head.fail_read, &failed);

	if (failed.err) {
		assert(has_failed);
		assert(failed.err == BCFMT_E_NOMEM || failed.err == BCFMT_E_SYSTEM);
	} else if (image->head.fail_read) {
		assert_not_safer(&failed, whole);
	} else {
		assert_same(&failed, whole);
	}
	checked_clear(&failed);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct checked whole, again;
	struct bcfmt_ctx *ctx;
	struct image image;

	if (!image_open(&image, input, input_bytes))
		return 0;
	ctx = ctxs[(image.head.flags & IMAGE_FLAG_THREADS) != 0];
	run(ctx, &image, 0, 0, &whole);
	if (whole.err) {
		/* Two caches, or two backing devices with one uuid: a superblock can say so. */
		assert(whole.err == BCFMT_E_ARG && !whole.is_opened);
	} else if (image.head.fail_alloc || image.head.fail_read) {
		check_faults(&image, ctx, &whole);
	} else {
		run(ctxs[!(image.head.flags & IMAGE_FLAG_THREADS)], &image, 0, 0, &again);
		assert(!again.err);
		assert_same(&whole, &again);
		checked_clear(&again);
	}
	checked_clear(&whole);
	image_close(&image);
	return 0;
}
