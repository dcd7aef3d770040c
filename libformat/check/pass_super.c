/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Superblocks.
 * Checks: every rule of FORMAT 2.6 on every member (S1, S2, S3), one finding a rule; whether the
 * set can be handled at all: geometry, several cache devices, marked as never used.
 * Needs: members. kernel: read_super(), read_super_common(), cache_alloc(), register_bcache().
 */
#include <stdlib.h>
#include <string.h>

#include <bcfmt/jset.h>

#include "base/checked.h"
#include "check/check_impl.h"

struct super_check {
	struct check *ck;
	const struct bcfmt_member *member;
	const struct bcfmt_super *super;
	struct bcfmt_where where;
};

static bcfmt_err report_identity(struct super_check *sc, uint32_t fault)
{
	const struct bcfmt_super *super = sc->super;

	switch (fault) {
	case BCFMT_SUPER_BAD_OFFSET:
		return CHECK_REPORT(sc->ck, SUPER_BAD_OFFSET, &sc->where,
				    BCFMT_U64("offset", super->offset_sector));
	case BCFMT_SUPER_BAD_MAGIC:
		return CHECK_REPORT_PLAIN(sc->ck, SUPER_BAD_MAGIC, &sc->where);
	case BCFMT_SUPER_BAD_CSUM:
		return CHECK_REPORT(sc->ck, SUPER_BAD_CSUM, &sc->where,
				    BCFMT_HEX("stored", super->csum),
				    BCFMT_HEX("computed", super->csum_computed));
	case BCFMT_SUPER_ZERO_UUID:
		return CHECK_REPORT_PLAIN(sc->ck, SUPER_ZERO_UUID, &sc->where);
	case BCFMT_SUPER_ZERO_SET_UUID:
		return CHECK_REPORT_PLAIN(sc->ck, SUPER_ZERO_SET_UUID, &sc->where);
	case BCFMT_SUPER_BAD_VERSION:
		return CHECK_REPORT(sc->ck, SUPER_BAD_VERSION, &sc->where,
				    BCFMT_U64("version", super->version));
	case BCFMT_SUPER_UNKNOWN_COMPAT:
		return CHECK_REPORT(sc->ck, SUPER_UNKNOWN_COMPAT, &sc->where,
				    BCFMT_HEX("features", super->feature_compat));
	case BCFMT_SUPER_UNKNOWN_RO_COMPAT:
		return CHECK_REPORT(sc->ck, SUPER_UNKNOWN_RO_COMPAT, &sc->where,
				    BCFMT_HEX("features", super->feature_ro_compat));
	case BCFMT_SUPER_UNKNOWN_INCOMPAT:
		return CHECK_REPORT(sc->ck, SUPER_UNKNOWN_INCOMPAT, &sc->where,
				    BCFMT_HEX("features", super->feature_incompat));
	case BCFMT_SUPER_OBSO_LARGE:
		return CHECK_REPORT_PLAIN(sc->ck, SUPER_OBSO_LARGE, &sc->where);
	case BCFMT_SUPER_BAD_REPLACEMENT:
		return CHECK_REPORT(sc->ck, SUPER_BAD_REPLACEMENT, &sc->where,
				    BCFMT_U64("policy", bcfmt_super_replacement(super)));
	case BCFMT_SUPER_BAD_CACHE_MODE:
		return CHECK_REPORT(sc->ck, SUPER_BAD_CACHE_MODE, &sc->where,
				    BCFMT_U64("mode", bcfmt_super_cache_mode(super)));
	}
	return BCFMT_END;
}

static bcfmt_err report_sizes(struct super_check *sc, uint32_t fault)
{
	const struct bcfmt_super *super = sc->super;
	uint64_t dev_sectors = bcfmt_dev_bytes(sc->member->dev) / BCFMT_SECTOR_BYTES;

	switch (fault) {
	case BCFMT_SUPER_BLOCK_BELOW_DEVICE:
		return CHECK_REPORT(sc->ck, SUPER_BLOCK_BELOW_DEVICE, &sc->where,
				    BCFMT_U64("block", (uint64_t)super->block_sectors *
							       BCFMT_SECTOR_BYTES),
				    BCFMT_U64("device",
					      bcfmt_dev_logical_block_bytes(sc->member->dev)));
	case BCFMT_SUPER_BAD_DATA_OFFSET:
		return CHECK_REPORT(sc->ck, SUPER_BAD_DATA_OFFSET, &sc->where,
				    BCFMT_U64("offset", super->data_offset_sectors));
	case BCFMT_SUPER_DATA_PAST_END:
		return CHECK_REPORT(sc->ck, SUPER_DATA_PAST_END, &sc->where,
				    BCFMT_U64("offset", super->data_offset_sectors),
				    BCFMT_U64("end", dev_sectors));
	case BCFMT_SUPER_BLOCK_NOT_POW2:
		return CHECK_REPORT(sc->ck, SUPER_BLOCK_NOT_POW2, &sc->where,
				    BCFMT_U64("block", super->block_sectors));
	case BCFMT_SUPER_BLOCK_ABOVE_PAGE:
		return CHECK_REPORT(sc->ck, SUPER_BLOCK_ABOVE_PAGE, &sc->where,
				    BCFMT_U64("block", super->block_sectors));
	case BCFMT_SUPER_BUCKET_NOT_POW2:
		return CHECK_REPORT(sc->ck, SUPER_BUCKET_NOT_POW2, &sc->where,
				    BCFMT_U64("bucket", super->bucket_sectors));
	case BCFMT_SUPER_BUCKET_BELOW_PAGE:
		return CHECK_REPORT(sc->ck, SUPER_BUCKET_BELOW_PAGE, &sc->where,
				    BCFMT_U64("bucket", super->bucket_sectors));
	case BCFMT_SUPER_BUCKET_OVERFLOW:
		return CHECK_REPORT(sc->ck, SUPER_BUCKET_OVERFLOW, &sc->where,
				    BCFMT_U64("exponent", super->bucket_field));
	case BCFMT_SUPER_DEVICE_TOO_SMALL: {
		uint64_t need;

		if (__builtin_mul_overflow(super->nbuckets_or_data_offset,
					   (uint64_t)super->bucket_sectors, &need))
			need = UINT64_MAX;
		return CHECK_REPORT(sc->ck, SUPER_DEVICE_TOO_SMALL, &sc->where,
				    BCFMT_U64("need", need), BCFMT_U64("have", dev_sectors));
	}
	}
	return BCFMT_END;
}

static bcfmt_err report_counts(struct super_check *sc, uint32_t fault)
{
	const struct bcfmt_super *super = sc->super;
	struct check *ck = sc->ck;

	switch (fault) {
	case BCFMT_SUPER_MANY_JOURNAL:
		return CHECK_REPORT(ck, SUPER_MANY_JOURNAL, &sc->where,
				    BCFMT_U64("keys", super->keys));
	case BCFMT_SUPER_MANY_BUCKETS:
		return CHECK_REPORT(ck, SUPER_MANY_BUCKETS, &sc->where,
				    BCFMT_U64("nbuckets", super->nbuckets_or_data_offset));
	case BCFMT_SUPER_FEW_BUCKETS:
		return CHECK_REPORT(ck, SUPER_FEW_BUCKETS, &sc->where,
				    BCFMT_U64("nbuckets", super->nbuckets_or_data_offset));
	case BCFMT_SUPER_BAD_MEMBER:
		return CHECK_REPORT(ck, SUPER_BAD_MEMBER, &sc->where,
				    BCFMT_U64("number", super->nr_this_dev),
				    BCFMT_U64("members", super->nr_in_set));
	case BCFMT_SUPER_JOURNAL_NOT_SEQ:
		for (uint32_t i = 0; i < super->keys && i < BCFMT_SUPER_JOURNAL_MAX; i++) {
			uint64_t want = (uint64_t)super->first_bucket + i;

			if (super->journal_bucket[i] != want)
				return CHECK_REPORT(ck, SUPER_JOURNAL_NOT_SEQ, &sc->where,
						    BCFMT_U64("index", i),
						    BCFMT_U64("got", super->journal_bucket[i]),
						    BCFMT_U64("want", want));
		}
		return BCFMT_OK;
	case BCFMT_SUPER_JOURNAL_PAST_END:
		return CHECK_REPORT(ck, SUPER_JOURNAL_PAST_END, &sc->where,
				    BCFMT_U64("keys", super->keys),
				    BCFMT_U64("first", super->first_bucket),
				    BCFMT_U64("nbuckets", super->nbuckets_or_data_offset));
	case BCFMT_SUPER_FIRST_BUCKET_LOW:
		return CHECK_REPORT(ck, SUPER_FIRST_BUCKET_LOW, &sc->where,
				    BCFMT_U64("first", super->first_bucket));
	}
	return BCFMT_END;
}

/*
 * A cache is a cache by its version alone, which one byte changes. A backing device has no journal
 * buckets; one that names them in a row, each in its place, and has an entry of its set in one of
 * them, is a cache. E_NOMEM.
 */
static bcfmt_err find_journal(const struct bcfmt_member *member, uint64_t *found_bucket)
{
	struct bcfmt_super super = member->super;
	struct bcfmt_geometry geo;
	struct bcfmt_jset jset;
	size_t len_bytes;
	uint8_t *buf;
	bcfmt_err err;

	*found_bucket = 0;
	super.is_backing = false;
	super.bucket_sectors = super.bucket_field;
	if (!super.keys || bcfmt_geometry_init(&super, bcfmt_dev_bytes(member->dev), 4096, &geo))
		return BCFMT_OK;
	for (uint32_t i = 0; i < super.keys; i++)
		if (super.journal_bucket[i] != (uint64_t)super.first_bucket + i)
			return BCFMT_OK;
	len_bytes = (size_t)min_u64((uint64_t)geo.bucket_sectors * BCFMT_SECTOR_BYTES,
				    (uint64_t)BCFMT_JSET_MAX_PAGES * geo.page_bytes);
	buf = malloc(len_bytes);
	if (!buf)
		return BCFMT_E_NOMEM;
	err = BCFMT_OK;
	for (uint32_t i = 0; !err && i < super.keys && !*found_bucket; i++) {
		uint64_t bucket = super.journal_bucket[i];
		struct bcfmt_bad_read bad;

		err = bcfmt_dev_read_salvage(member->dev,
					     bcfmt_bucket_sector(&geo, bucket) * BCFMT_SECTOR_BYTES,
					     buf, len_bytes, &bad);
		if (!err && bcfmt_jset_decode(&geo, buf, len_bytes, &jset) == BCFMT_JSET_OK)
			*found_bucket = bucket;
	}
	free(buf);
	return err;
}

/* Not of a device whose role was forced: it says itself what it is. */
static bool says_backing(const struct bcfmt_super *super)
{
	return super->version == 1 || super->version == 4 || super->version == 6;
}

static bcfmt_err check_role(struct super_check *sc)
{
	uint64_t bucket;
	bcfmt_err err;

	if (!sc->member->has_magic || !says_backing(sc->super))
		return BCFMT_OK;
	err = find_journal(sc->member, &bucket);
	if (err || !bucket)
		return err;
	sc->ck->disguised = sc->member;
	return CHECK_REPORT(sc->ck, SUPER_ROLE, &sc->where,
			    BCFMT_U64("version", sc->super->version), BCFMT_U64("bucket", bucket));
}

static bcfmt_err check_member(struct check *ck, const struct bcfmt_member *member)
{
	struct super_check sc = { ck, member, &member->super, BCFMT_WHERE_INIT };

	sc.where.device = bcfmt_dev_name(member->dev);
	sc.where.structure = "super";
	sc.where.sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES;
	if (!member->is_readable)
		return CHECK_REPORT(ck, SUPER_UNREADABLE, &sc.where,
				    BCFMT_U64("sector", sc.where.sector));
	for (unsigned int bit = 0; bit < 32; bit++) {
		uint32_t fault = member->faults & (1u << bit);
		bcfmt_err err = BCFMT_END;

		if (!fault)
			continue;
		err = report_identity(&sc, fault);
		if (err == BCFMT_END)
			err = report_sizes(&sc, fault);
		if (err == BCFMT_END)
			err = report_counts(&sc, fault);
		if (err < 0)
			return err;
	}
	return check_role(&sc);
}

static bcfmt_err check_cache(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	const struct bcfmt_super *super = &set->cache.super;
	struct bcfmt_where where = check_where(ck, "super");
	bcfmt_err err = BCFMT_OK;

	where.sector = BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES;
	if (!set->cache.has_magic)
		return BCFMT_OK;
	if (!set->has_geometry)
		return CHECK_REPORT(ck, SUPER_UNUSABLE, &where,
				    BCFMT_U64("block", super->block_sectors),
				    BCFMT_U64("bucket", super->bucket_sectors),
				    BCFMT_U64("nbuckets", super->nbuckets_or_data_offset),
				    BCFMT_U64("first", super->first_bucket),
				    BCFMT_U64("keys", super->keys));
	if (super->nr_in_set > 1 && !(set->cache.faults & BCFMT_SUPER_BAD_MEMBER))
		err = CHECK_REPORT(ck, SET_SEVERAL_MEMBERS, &where,
				   BCFMT_U64("number", super->nr_this_dev),
				   BCFMT_U64("members", super->nr_in_set));
	if (err)
		return err;
	if (super->flags & BCFMT_SUPER_FLAG_SYNC)
		return check_super_layout(ck);
	if (!set->journal.has_entries)
		return CHECK_REPORT_PLAIN(ck, SUPER_FRESH, &where);
	return CHECK_REPORT(ck, SUPER_NOT_SYNC, &where,
			    BCFMT_U64("entries", set->journal.n_entries),
			    BCFMT_U64("seq", set->journal.entries[set->journal.newest].seq));
}

bcfmt_err pass_super(struct check *ck)
{
	const struct bcfmt_set *set = ck->set;
	bcfmt_err err = BCFMT_OK;

	if (set->has_cache) {
		err = check_member(ck, &set->cache);
		if (!err)
			err = check_cache(ck);
	} else if (set->n_backing) {
		struct bcfmt_where where = check_where(ck, "set");

		err = CHECK_REPORT(ck, SET_NO_CACHE, &where,
				   BCFMT_TEXT("device", bcfmt_dev_name(set->backing[0].dev)));
	}
	for (size_t i = 0; !err && i < set->n_backing; i++)
		err = check_member(ck, &set->backing[i]);
	return err;
}
