/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes chains of prio sets. */
#include "write/write_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/prio.h>

#include "base/checked.h"

struct chain_writer {
	const struct bcfmt_target *target;
	const struct bcfmt_prio_chain *chain;
	uint8_t *raw; /* a meta bucket */
	bool is_raw;
};

static void entry_of(const struct chain_writer *cw, uint64_t bucket, uint16_t *prio, uint8_t *gen)
{
	const struct bcfmt_geometry *geo = cw->target->geo;

	*prio = 0;
	*gen = 0;
	if (!cw->is_raw && !write_bucket_is_usable(geo, bucket))
		return;
	if (cw->chain->buckets) {
		*prio = cw->chain->buckets[bucket].prio;
		*gen = cw->chain->buckets[bucket].gen;
	} else {
		cw->chain->entry(cw->chain->entry_arg, bucket, prio, gen);
	}
}

static bcfmt_err write_link(const struct chain_writer *cw, size_t index)
{
	const struct bcfmt_geometry *geo = cw->target->geo;
	const struct bcfmt_prio_chain *chain = cw->chain;
	uint64_t sector = bcfmt_bucket_sector(geo, chain->links[index]);
	uint64_t first = index * (uint64_t)geo->prios_per_bucket;
	bool is_last = index + 1 == chain->n_links;
	uint64_t next = is_last ? chain->last_next : chain->links[index + 1];
	struct bcfmt_prio_set decoded;
	bcfmt_err err = BCFMT_OK;

	if (cw->is_raw)
		err = bcfmt_dev_read(cw->target->dev, sector * BCFMT_SECTOR_BYTES, cw->raw,
				     geo->meta_bytes);
	else
		memset(cw->raw, 0, geo->meta_bytes);
	if (err)
		return err;
	for (uint32_t i = 0; i < geo->prios_per_bucket && first + i < geo->nbuckets; i++) {
		uint16_t prio;
		uint8_t gen;

		entry_of(cw, first + i, &prio, &gen);
		bcfmt_prio_entry_set(cw->raw, i, prio, gen);
	}
	bcfmt_prio_encode(geo, cw->raw, chain->seq, next);
	if (bcfmt_prio_decode(geo, cw->raw, &decoded) || decoded.seq != chain->seq ||
	    decoded.next_bucket != next)
		return write_fail_verify(cw->target, "prio set", sector);
	return bcfmt_dev_write(cw->target->dev, sector * BCFMT_SECTOR_BYTES, cw->raw,
			       geo->meta_bytes);
}

static bcfmt_err write_chain(const struct bcfmt_target *target,
			     const struct bcfmt_prio_chain *chain, bool is_raw)
{
	struct chain_writer cw = { .target = target, .chain = chain, .is_raw = is_raw };
	bcfmt_err err = BCFMT_OK;

	cw.raw = malloc(target->geo->meta_bytes);
	if (!cw.raw)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a prio set",
				  bcfmt_dev_name(target->dev));
	for (size_t i = chain->n_links; !err && i--;)
		err = bcfmt_ctx_is_cancelled(target->ctx) ? BCFMT_E_CANCELLED : write_link(&cw, i);
	free(cw.raw);
	return err;
}

static int by_number(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static bcfmt_err check_links(const struct bcfmt_target *target,
			     const struct bcfmt_prio_chain *chain)
{
	uint64_t *sorted = malloc(chain->n_links * sizeof(*sorted));
	bcfmt_err err = BCFMT_OK;

	if (!sorted)
		return bcfmt_fail(target->ctx, BCFMT_E_NOMEM, "%s: out of memory for a prio chain",
				  bcfmt_dev_name(target->dev));
	memcpy(sorted, chain->links, chain->n_links * sizeof(*sorted));
	qsort(sorted, chain->n_links, sizeof(*sorted), by_number);
	for (size_t i = 0; !err && i < chain->n_links; i++)
		if (!write_bucket_is_usable(target->geo, sorted[i]) ||
		    (i && sorted[i] == sorted[i - 1]))
			err = bcfmt_fail(target->ctx, BCFMT_E_ARG,
					 "%s: prio chain not written: bucket %" PRIu64
					 " cannot hold a set, or is named twice",
					 bcfmt_dev_name(target->dev), sorted[i]);
	free(sorted);
	return err;
}

bcfmt_err bcfmt_prio_chain_write(const struct bcfmt_target *target,
				 const struct bcfmt_prio_chain *chain)
{
	uint64_t need = bcfmt_geometry_prio_buckets(target->geo);
	bcfmt_err err;

	if (chain->n_links != need || !chain->seq)
		return bcfmt_fail(target->ctx, BCFMT_E_ARG,
				  "%s: prio chain not written: %zu sets with seq %" PRIu64
				  ", not %" PRIu64 " sets with seq 1 or more",
				  bcfmt_dev_name(target->dev), chain->n_links, chain->seq, need);
	err = check_links(target, chain);
	return err ? err : write_chain(target, chain, false);
}

bcfmt_err bcfmt_prio_chain_write_raw(const struct bcfmt_target *target,
				     const struct bcfmt_prio_chain *chain)
{
	return write_chain(target, chain, true);
}
