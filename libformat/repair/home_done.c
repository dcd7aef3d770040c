/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What of a device is home by now. */
#include "repair/home_done.h"

#include <stdlib.h>
#include <string.h>

bcfmt_err bcfmt_home_done_new(struct bcfmt_ctx *ctx, const struct bcfmt_home_device *device,
			      struct bcfmt_home_done **out)
{
	struct bcfmt_home_done *done = calloc(1, sizeof(*done));
	size_t n = device->n_inodes;

	*out = NULL;
	if (done) {
		done->ctx = ctx;
		done->inodes = calloc(n + 1, sizeof(*done->inodes));
		done->left = calloc(n + 1, sizeof(*done->left));
	}
	if (!done || !done->inodes || !done->left) {
		bcfmt_home_done_free(done);
		return bcfmt_fail(ctx, BCFMT_E_NOMEM, "no memory to copy dirty data");
	}
	if (n)
		memcpy(done->inodes, device->inodes, n * sizeof(*done->inodes));
	done->n_inodes = n;
	*out = done;
	return BCFMT_OK;
}

void bcfmt_home_done_free(struct bcfmt_home_done *done)
{
	if (!done)
		return;
	for (size_t i = 0; i < done->n_inodes; i++)
		range_map_clear(&done->left[i]);
	free(done->inodes);
	free(done->left);
	free(done);
}

const struct bcfmt_writeback_sums *bcfmt_home_done_sums(const struct bcfmt_home_done *done)
{
	return &done->sums;
}

bool bcfmt_home_done_is_through(const struct bcfmt_home_done *done)
{
	return done->inode_index >= done->n_inodes;
}

bool bcfmt_home_done_is_whole(const struct bcfmt_home_done *done)
{
	return bcfmt_home_done_is_through(done) && !done->has_left;
}

bcfmt_err home_done_leave(struct bcfmt_home_done *done, size_t index, uint64_t start_sector,
			  uint64_t sectors)
{
	bcfmt_err err = range_map_join(&done->left[index], start_sector, start_sector + sectors);

	done->has_left = true;
	return err ? bcfmt_fail(done->ctx, err, "no memory for sectors that were left out")
		   : BCFMT_OK;
}

bool bcfmt_home_done_has(const struct bcfmt_home_done *done, const struct bcfmt_extent *extent)
{
	struct range range;
	size_t i = 0;

	while (i < done->n_inodes && done->inodes[i] != extent->inode)
		i++;
	if (i >= done->n_inodes || i > done->inode_index ||
	    (i == done->inode_index && extent->end_sector > done->sector))
		return false;
	return !range_map_at(&done->left[i], extent->start_sector, &range) ||
	       range.start >= extent->end_sector;
}

bcfmt_err bcfmt_home_done_add_losses(const struct bcfmt_home_done *done,
				     struct bcfmt_losses *losses, uint32_t inode)
{
	bcfmt_err err = BCFMT_OK;

	for (size_t i = 0; !err && i < done->n_inodes; i++) {
		uint64_t at = 0;
		struct range range;

		while (!err && range_map_at(&done->left[i], at, &range)) {
			err = bcfmt_losses_add(losses, BCFMT_LOSS_UNREADABLE,
					       (struct bcfmt_pos){ inode, range.start },
					       (struct bcfmt_pos){ inode, range.end });
			at = range.end;
		}
	}
	return err;
}
