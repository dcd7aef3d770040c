/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the dirty data of a set lies, and whether a repair has kept it. */
#ifndef FUZZ_PLACES_H
#define FUZZ_PLACES_H

#include <bcfmt/loss.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>

#include "base/vec.h"

/* Extents that an export takes from the cache, in the order of keys. */
struct places {
	struct vec extents;
};

/* Looks at the whole set; NULL devices are none. What it returns is no fault of the target. */
bcfmt_err places_find(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs, size_t n_devs,
		      const struct bcfmt_set_params *params, struct places *places);
void places_clear(struct places *places);

/*
 * Sectors of before that are not at the same place in after, and of which no one of the losses, which
 * may be NULL, says that they are lost or doubtful.
 */
uint64_t places_missing(const struct places *before, const struct places *after,
			struct bcfmt_losses *const *losses, size_t n_losses);

#endif
