/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A whole set in memory (memory.h), opened, checked, walked and shown. Twice, with another number
 * of threads and another limit of memory, it says the same; while an allocation fails it says so or
 * says the same; while reads fail it never looks safer than it is.
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "fuzz/check_set.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_dev.h"

static struct bcfmt_ctx *ctxs[2];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	memory_contexts(ctxs);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t input_bytes, size_t input_max,
			       unsigned int seed)
{
	return memory_mutate(input, input_bytes, input_max, seed);
}

/* Checks the set while an allocation or a read fails. True when an allocation did. */
static bool run(struct bcfmt_ctx *ctx, const struct memory *memory, uint16_t fail_alloc,
		uint16_t fail_read, struct checked *out)
{
	uint32_t failing = memory_failing_device(memory), n = memory->n_devices;
	uint32_t level = memory->head.flags & MEMORY_FLAG_LEVEL;
	struct bcfmt_dev *devs[MEMORY_DEVICES_MAX];
	bool has_failed;

	for (uint32_t i = 0; i < n; i++)
		devs[i] = memory_faulty(ctx, memory_device(ctx, memory, i),
					i == failing ? fail_read : 0, 0);
	faults_arm(fail_alloc);
	check_set(ctx, devs, n, level > BCFMT_LEVEL_DATA ? BCFMT_LEVEL_QUICK : level,
		  memory_page_bytes(memory), true, out);
	has_failed = faults_disarm();
	for (uint32_t i = 0; i < n; i++)
		bcfmt_dev_free(devs[i]);
	return has_failed;
}

static void assert_same(const struct checked *a, const struct checked *b)
{
	assert(!strcmp(a->json, b->json));
	assert(a->print == b->print);
}

static void check_faults(const struct memory *memory, struct bcfmt_ctx *ctx,
			 const struct checked *whole)
{
	struct checked failed;
	bool has_failed =
		run(ctx, memory, memory->head.fail_alloc, memory->head.fail_read, &failed);

	if (failed.err == BCFMT_E_IO) {
		/* A leaf that could be read in one walk and not in the next. */
		assert(memory->head.fail_read);
	} else if (failed.err) {
		assert(has_failed);
		assert(failed.err == BCFMT_E_NOMEM || failed.err == BCFMT_E_SYSTEM);
	} else if (memory->head.fail_read) {
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
	struct memory memory;

	if (!memory_open(&memory, input, input_bytes))
		return 0;
	ctx = ctxs[(memory.head.flags & MEMORY_FLAG_THREADS) != 0];
	run(ctx, &memory, 0, 0, &whole);
	if (whole.err) {
		/* Two caches, or two backing devices with one uuid: a superblock can say so. */
		assert(whole.err == BCFMT_E_ARG && !whole.is_opened);
	} else if (memory.head.fail_alloc || memory.head.fail_read) {
		check_faults(&memory, ctx, &whole);
	} else {
		run(ctxs[!(memory.head.flags & MEMORY_FLAG_THREADS)], &memory, 0, 0, &again);
		assert(!again.err);
		assert_same(&whole, &again);
		checked_clear(&again);
	}
	checked_clear(&whole);
	memory_close(&memory);
	return 0;
}
