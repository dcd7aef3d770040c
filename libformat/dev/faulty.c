/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that fails at a chosen operation, for tests of what the callers do then. */
#include <stdatomic.h>
#include <stdlib.h>

#include "dev/dev_impl.h"

struct faulty_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower; /* owned */
	struct bcfmt_dev_faults faults;
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
	_Atomic uint64_t flushes;
};

/* Counts one operation and tells whether it is to fail. */
static bool is_due(const struct faulty_dev *faulty, _Atomic uint64_t *count, uint64_t fail_at)
{
	uint64_t number = atomic_fetch_add(count, 1) + 1;

	if (!fail_at)
		return false;
	return faulty->faults.once ? number == fail_at : number >= fail_at;
}

static bcfmt_err faulty_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	struct faulty_dev *faulty = (struct faulty_dev *)dev;

	if (is_due(faulty, &faulty->reads, faulty->faults.fail_read))
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0, "injected failure");
	return dev_read_quiet(faulty->lower, offset_bytes, buf, len_bytes, fault);
}

static bcfmt_err faulty_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	struct faulty_dev *faulty = (struct faulty_dev *)dev;

	if (is_due(faulty, &faulty->writes, faulty->faults.fail_write))
		return dev_io_fail(fault, BCFMT_E_IO, offset_bytes, 0, "injected failure");
	return dev_write_quiet(faulty->lower, offset_bytes, buf, len_bytes, fault);
}

static bcfmt_err faulty_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	struct faulty_dev *faulty = (struct faulty_dev *)dev;

	if (is_due(faulty, &faulty->flushes, faulty->faults.fail_flush))
		return dev_io_fail(fault, BCFMT_E_IO, 0, 0, "injected failure");
	return dev_flush_quiet(faulty->lower, fault);
}

static bcfmt_err faulty_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				  uint64_t *begin_bytes, uint64_t *end_bytes,
				  struct io_fault *fault)
{
	struct faulty_dev *faulty = (struct faulty_dev *)dev;

	return dev_next_data_quiet(faulty->lower, offset_bytes, begin_bytes, end_bytes, fault);
}

static void faulty_free(struct bcfmt_dev *dev)
{
	struct faulty_dev *faulty = (struct faulty_dev *)dev;

	bcfmt_dev_free(faulty->lower);
	free(faulty);
}

static const struct dev_ops faulty_ops = {
	.read = faulty_read,
	.write = faulty_write,
	.flush = faulty_flush,
	.next_data = faulty_next_data,
	.free = faulty_free,
};

bcfmt_err bcfmt_dev_faulty(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower,
			   const struct bcfmt_dev_faults *faults, struct bcfmt_dev **out)
{
	struct faulty_dev *faulty = calloc(1, sizeof(*faulty));

	*out = NULL;
	if (!faulty || dev_init_above(&faulty->dev, &faulty_ops, ctx, lower)) {
		free(faulty);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	faulty->lower = lower;
	faulty->faults = *faults;
	*out = &faulty->dev;
	return BCFMT_OK;
}
