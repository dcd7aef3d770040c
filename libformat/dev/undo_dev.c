/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A device that saves what it overwrites in an undo file. */
#include <bcfmt/undo.h>

#include <stdlib.h>

#include "dev/dev_impl.h"

struct saving_dev {
	struct bcfmt_dev dev;
	struct bcfmt_dev *lower; /* borrowed */
	struct bcfmt_undo *undo; /* borrowed */
	unsigned int index;
};

static bcfmt_err saving_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes, struct io_fault *fault)
{
	return dev_read_quiet(((struct saving_dev *)dev)->lower, offset_bytes, buf, len_bytes,
			      fault);
}

/* What fails before the write is recorded in the context by the undo file. */
static bcfmt_err saving_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
			      size_t len_bytes, struct io_fault *fault)
{
	struct saving_dev *saving = (struct saving_dev *)dev;
	bcfmt_err err = bcfmt_undo_save(saving->undo, saving->index, offset_bytes, buf, len_bytes);

	if (!err)
		err = bcfmt_undo_sync(saving->undo);
	if (err)
		return dev_io_fail(fault, err, offset_bytes, 0, "cannot save what is there");
	return dev_write_quiet(saving->lower, offset_bytes, buf, len_bytes, fault);
}

static bcfmt_err saving_flush(struct bcfmt_dev *dev, struct io_fault *fault)
{
	return dev_flush_quiet(((struct saving_dev *)dev)->lower, fault);
}

static bcfmt_err saving_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
				  uint64_t *begin_bytes, uint64_t *end_bytes,
				  struct io_fault *fault)
{
	return dev_next_data_quiet(((struct saving_dev *)dev)->lower, offset_bytes, begin_bytes,
				   end_bytes, fault);
}

static void saving_forget(struct bcfmt_dev *dev)
{
	dev_forget(((struct saving_dev *)dev)->lower);
}

static void saving_free(struct bcfmt_dev *dev)
{
	free(dev);
}

static const struct dev_ops saving_ops = {
	.read = saving_read,
	.write = saving_write,
	.flush = saving_flush,
	.next_data = saving_next_data,
	.forget = saving_forget,
	.free = saving_free,
};

bcfmt_err bcfmt_dev_undo(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower, struct bcfmt_undo *undo,
			 unsigned int index, struct bcfmt_dev **out)
{
	struct saving_dev *saving = calloc(1, sizeof(*saving));

	*out = NULL;
	if (!saving || dev_init_above(&saving->dev, &saving_ops, ctx, lower)) {
		free(saving);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: out of memory", lower->name);
	}
	saving->lower = lower;
	saving->undo = undo;
	saving->index = index;
	*out = &saving->dev;
	return BCFMT_OK;
}
