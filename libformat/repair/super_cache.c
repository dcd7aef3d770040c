/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proposes the superblock of a cache device from what lies behind it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/set.h>
#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "codec/crc64_math.h"
#include "ondisk/super.h"
#include "repair/super_impl.h"
#include "set/layout_find.h"

#define SET_UUID_TAIL_AT (offsetof(struct super_disk, set_uuid) + 8)
#define FLAGS_POLICY 0x1eull /* discard and replacement */
#define FLAGS_KNOWN 0x1full
#define RING_BUCKETS_MAX 256u /* this many belong to almost any count of buckets */

/* Faults that no new superblock cures: the device or the tools that made it are the matter. */
#define FAULTS_NOT_OURS                                                             \
	((uint32_t)(BCFMT_SUPER_BLOCK_BELOW_DEVICE | BCFMT_SUPER_BLOCK_ABOVE_PAGE | \
		    BCFMT_SUPER_BUCKET_BELOW_PAGE | BCFMT_SUPER_OBSO_LARGE))
#define FAULTS_FEATURES \
	(BCFMT_SUPER_UNKNOWN_COMPAT | BCFMT_SUPER_UNKNOWN_RO_COMPAT | BCFMT_SUPER_UNKNOWN_INCOMPAT)

struct search {
	struct proposing *p;
	struct bcfmt_dev *const *partners;
	size_t n_partners;
	struct layout_search found;
};

static uint64_t set_magic_of(const struct bcfmt_super *super)
{
	return load_le64(super->set_uuid);
}

static void find_names(struct search *search)
{
	struct layout_search *found = &search->found;
	struct bcfmt_super super;

	for (size_t i = 0;
	     partner_super(search->partners, search->n_partners, true, &i, &super) == BCFMT_OK;
	     i++) {
		uint32_t least = found->hints.block_sectors;

		layout_search_name(found, set_magic_of(&super));
		found->hints.block_sectors =
			least ? (uint32_t)min_u64(least, super.block_sectors) : super.block_sectors;
	}
	found->n_partner_named = found->n_named;
	layout_search_name(found, set_magic_of(&search->p->stored));
	if (search->p->is_ours)
		found->hints.stored = &search->p->stored;
}

/* ---- the fields ------------------------------------------------------------------------- */

static void take_layout(struct proposing *p, const struct layout_search *found)
{
	const struct layout *layout = &found->layout;
	const char *ring =
		layout->is_ring_by_rule ? "as kernels place it" : "as the superblock has it";
	uint8_t raw[BCFMT_SUPER_BYTES];
	uint64_t flags_known = BCFMT_FEATURE_LARGE_BUCKET | BCFMT_FEATURE_OBSO_LARGE_BUCKET;

	/* A kernel leaves version 0 at its first write; under a right checksum it may stand. */
	if (p->super.version != 3 && p->super.version != 5 &&
	    (p->super.version != 0 || !p->has_csum_right)) {
		p->super.version = 3;
		p->super.feature_compat = p->super.feature_ro_compat = 0;
		p->super.feature_incompat = 0;
	}
	if (p->super.version == 5 && (p->super.feature_compat || p->super.feature_ro_compat ||
				      p->super.feature_incompat & ~flags_known)) {
		p->super.feature_compat = p->super.feature_ro_compat = 0;
		p->super.feature_incompat &= flags_known;
	}
	/* The effective bucket size of another version is another one. */
	memcpy(raw, p->out->raw, sizeof(raw));
	bcfmt_super_encode(&p->super, raw);
	bcfmt_super_decode(raw, &p->super);
	layout_to_super(layout, &p->super);
	proposing_note(p, SUPER_FIELD_VERSION, false, "%s",
		       p->super.version == 5 ? "buckets of 32 MiB and more need it"
					     : "what kernels write for a cache in use");
	proposing_note(p, SUPER_FIELD_BUCKET, false, "%s", layout->bucket_text);
	proposing_note(p, SUPER_FIELD_BLOCK, layout->is_block_guess, "%s", layout->block_text);
	proposing_note(p, SUPER_FIELD_NBUCKETS, false, "%s; %s",
		       bcfmt_dev_bytes(p->dev) / BCFMT_SECTOR_BYTES >> layout->bucket_log2 ==
				       layout->nbuckets
			       ? "what the device holds"
			       : "what the superblock says",
		       layout->has_chain ? "the prio chain is as long as so many need"
					 : "nothing that was found lies behind them");
	proposing_note(p, SUPER_FIELD_FIRST_BUCKET, false,
		       "the newest journal entry lies in the ring that begins there, %s", ring);
	proposing_note(p, SUPER_FIELD_JOURNAL, false,
		       "one bucket in 128, from the first one on, %s", ring);
	/* Pointers name member 0, else no bset would have verified. */
	if (p->faults & BCFMT_SUPER_BAD_MEMBER || p->super.nr_this_dev || !p->is_ours) {
		p->super.nr_in_set = 1;
		p->super.nr_this_dev = 0;
	}
	proposing_note(p, SUPER_FIELD_MEMBER, false, "all pointers name the only member of a set");
}

/*
 * The second half of the set uuid is in no structure of a cache. A backing device of the set has
 * it; else the one value with which the stored checksum comes right, if that can be.
 */
static void take_set_uuid(struct search *search, const struct sight *sight)
{
	struct proposing *p = search->p;
	bool is_first_right = set_magic_of(&p->stored) == sight->set_magic;
	bool is_tail_known = is_first_right && p->is_ours;
	uint64_t n_seen = sight->n_jsets ? sight->n_jsets : sight->n_bsets;
	const char *seen = sight->n_jsets ? "journal entries" : "parts of nodes";
	struct bcfmt_super partner;
	size_t index = 0;

	store_le64(p->super.set_uuid, sight->set_magic);
	proposing_note(p, SUPER_FIELD_SET_UUID, !is_tail_known,
		       "first half: magic of %llu %s; second half: %s", (unsigned long long)n_seen,
		       seen,
		       p->is_ours ? "as it is, which only backing devices could prove"
				  : "made up, devices that are not given will not attach");
	for (; partner_super(search->partners, search->n_partners, true, &index, &partner) ==
	       BCFMT_OK;
	     index++) {
		if (set_magic_of(&partner) != sight->set_magic)
			continue;
		memcpy(p->super.set_uuid, partner.set_uuid, sizeof(p->super.set_uuid));
		proposing_note(p, SUPER_FIELD_SET_UUID, false,
			       "first half: magic of %llu %s; the whole: backing device %.80s",
			       (unsigned long long)n_seen, seen,
			       bcfmt_dev_name(search->partners[index]));
		return;
	}
	if (!p->is_ours) /* not zero, which would mean something else */
		store_le64(p->super.set_uuid + 8, sight->set_magic ^ UINT64_MAX);
}

/* Of what nothing else can prove, the stored checksum may: it covers all of it. */
static void take_by_csum(struct proposing *p, const struct sight *sight)
{
	uint64_t kept_flags = p->super.flags;
	uint8_t raw[BCFMT_SUPER_BYTES];
	uint64_t tail_bytes, diff;

	if (!p->is_ours || p->has_csum_right || !p->stored.csum)
		return;
	p->is_csum_proof = true;
	if (proposing_csum(p) == p->stored.csum)
		return;
	for (uint64_t policy = 0; policy < 6; policy++) {
		p->super.flags = BCFMT_SUPER_FLAG_SYNC |
				 (policy & 1 ? BCFMT_SUPER_FLAG_DISCARD : 0) | (policy >> 1) << 2;
		if (proposing_csum(p) == p->stored.csum) {
			proposing_note(p, SUPER_FIELD_FLAGS, false,
				       "of all values the one that the stored checksum has");
			return;
		}
	}
	p->is_csum_proof = false;
	p->super.flags = kept_flags;
	if (set_magic_of(&p->stored) == sight->set_magic ||
	    !(p->guessed & 1u << SUPER_FIELD_SET_UUID))
		return;
	/* Which word of eight bytes makes the rest come right; any rest has one. */
	memcpy(raw, p->out->raw, sizeof(raw));
	bcfmt_super_encode(&p->super, raw);
	tail_bytes = DISK_SUPER_JOURNAL_AT + 8ull * p->super.keys - SET_UUID_TAIL_AT;
	diff = crc64_unshift(bcfmt_super_csum(raw) ^ p->stored.csum, tail_bytes);
	for (unsigned int i = 0; i < 8; i++)
		p->super.set_uuid[8 + i] ^= (uint8_t)(diff >> (56 - 8 * i));
	if (proposing_csum(p) == p->stored.csum)
		proposing_note(
			p, SUPER_FIELD_SET_UUID, true,
			"first half: magic of %llu journal entries; second half: "
			"right if nothing else of the superblock is damaged, by its checksum",
			(unsigned long long)sight->n_jsets);
}

static void take_rest(struct search *search)
{
	struct proposing *p = search->p;
	const struct sight *sight = search->found.sight;
	bool is_flags_odd = p->super.flags & ~FLAGS_KNOWN || bcfmt_super_replacement(&p->super) > 2;

	take_set_uuid(search, sight);
	if (bcfmt_uuid_is_zero(p->super.uuid)) {
		memcpy(p->super.uuid, p->super.set_uuid, sizeof(p->super.uuid));
		p->super.uuid[0] ^= 0xff;
		proposing_note(p, SUPER_FIELD_UUID, false,
			       "made up from the set uuid: it names the device and nothing more");
	}
	if (!p->is_ours) {
		p->super.seq = 1;
		proposing_note(p, SUPER_FIELD_SEQ, false, "the first: kernels only count it up");
	}
	if (p->has_csum_right ? bcfmt_super_replacement(&p->super) > 2 : is_flags_odd)
		p->super.flags &= p->has_csum_right ? ~FLAGS_POLICY : 0;
	proposing_note(p, SUPER_FIELD_FLAGS, false,
		       "replacement policy lru, no discard: the default");
	/* Without it a kernel would give up all that is on the device. */
	if (!(p->super.flags & BCFMT_SUPER_FLAG_SYNC) && (!p->has_csum_right || p->super.keys)) {
		p->super.flags |= BCFMT_SUPER_FLAG_SYNC;
		proposing_note(
			p, SUPER_FIELD_FLAGS, p->has_csum_right,
			"there are %llu %s, so it is in sync; discard and replacement policy: %s",
			(unsigned long long)(sight->n_jsets ? sight->n_jsets : sight->n_bsets),
			sight->n_jsets ? "journal entries" : "parts of nodes",
			p->is_ours && !is_flags_odd ? "as they are" : "default");
	}
	take_by_csum(p, sight);
}

/* ---- the whole -------------------------------------------------------------------------- */

static void tell_proof(struct proposing *p, const struct layout_search *found)
{
	const struct layout *layout = &found->layout;

	if (!found->sight->n_jsets)
		snprintf(p->out->why, sizeof(p->out->why),
			 "no journal entry is left; %llu parts of nodes and %llu prio sets fit",
			 (unsigned long long)found->sight->n_bsets,
			 (unsigned long long)found->sight->n_prios);
	else
		snprintf(p->out->why, sizeof(p->out->why),
			 "with it %llu journal entries up to %llu are in the ring, %llu that are "
			 "needed are missing, the root node %s, %llu prio sets verify%s",
			 (unsigned long long)layout->n_entries,
			 (unsigned long long)layout->newest_seq,
			 (unsigned long long)layout->missing_entries,
			 layout->has_root ? "verifies" : "does not verify",
			 (unsigned long long)layout->prio_links,
			 p->is_csum_proof ? "; the stored checksum is right with it" : "");
}

/* A kernel takes it as it is. */
static bool is_accepted(const struct proposing *p)
{
	return p->has_csum_right && !(p->faults & ~FAULTS_NOT_OURS);
}

static void leave(struct proposing *p)
{
	p->is_ours = true;
	proposing_base(p);
	proposing_end(p);
}

/* Counts that fit each other and the sizes that were found are what was written. */
static bool is_cut(const struct proposing *p, const struct layout *layout)
{
	return p->has_csum_right && p->faults & BCFMT_SUPER_DEVICE_TOO_SMALL &&
	       p->stored.bucket_sectors == 1u << layout->bucket_log2 &&
	       p->stored.nbuckets_or_data_offset <= INT64_MAX &&
	       p->stored.keys < RING_BUCKETS_MAX &&
	       p->stored.keys == layout_ring_buckets(p->stored.nbuckets_or_data_offset);
}

/* A policy that no kernel knows is put right without a look at the rest. */
static void mend_policy(struct proposing *p)
{
	proposing_base(p);
	p->super.flags &= ~(7ull << 2);
	proposing_note(p, SUPER_FIELD_FLAGS, false, "replacement policy lru: the default");
	proposing_end(p);
}

/* A set of several caches has the prio sets of each of them in every journal entry. */
static bool is_alone(const struct bcfmt_set *set)
{
	bool is_other = false;

	for (unsigned int i = 1; i < BCFMT_MAX_MEMBERS; i++)
		is_other = is_other || set->newest.prio_bucket[i];
	return set->has_newest && set->newest.prio_bucket[0] && !is_other;
}

/* The place in the set, when all other fields are those that are proposed. */
static bcfmt_err mend_member(struct proposing *p)
{
	static const enum bcfmt_role role = BCFMT_ROLE_CACHE;
	struct bcfmt_set_params params = { .roles = &role };
	struct bcfmt_dev *dev;
	struct bcfmt_set *set = NULL;
	uint8_t raw[BCFMT_SUPER_BYTES];
	bcfmt_err err;

	if (p->super.nr_in_set < 2 || p->super.nr_this_dev)
		return BCFMT_OK;
	memcpy(raw, p->out->raw, sizeof(raw));
	bcfmt_super_encode(&p->super, raw);
	err = bcfmt_dev_overlay(p->ctx, p->dev, &dev);
	if (err)
		return err;
	err = bcfmt_dev_write(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));
	if (!err)
		err = bcfmt_set_open(p->ctx, &dev, 1, &params, &set);
	if (!err && is_alone(set)) {
		p->super.nr_in_set = 1;
		proposing_note(p, SUPER_FIELD_MEMBER, false,
			       "the newest journal entry has prio sets of one cache");
	}
	bcfmt_set_free(set);
	bcfmt_dev_free(dev);
	return err;
}

static bcfmt_err propose(struct search *search)
{
	struct proposing *p = search->p;
	struct layout_search *found = &search->found;
	bcfmt_err err;

	find_names(search);
	found->is_accepted = is_accepted(p);
	err = layout_search_run(found);
	if (err && err != BCFMT_END)
		return err;
	if (err && found->is_accepted) {
		leave(p);
		return BCFMT_OK;
	}
	p->is_ours = p->is_ours || (err && found->is_any_seen);
	if (err)
		return proposing_give_up(p, false, found->why);
	if (is_cut(p, &found->layout))
		return proposing_give_up(p, true,
					 "the superblock is right in itself, but the device is "
					 "shorter than it says: the device was cut");
	if (found->may_stay && (p->stored.flags & BCFMT_SUPER_FLAG_SYNC || !p->stored.keys)) {
		p->is_ours = true;
		proposing_base(p);
		err = mend_member(p);
		proposing_end(p);
		tell_proof(p, found);
		return err;
	}
	/* Only the magic was hit where the rest still names the set. */
	p->is_ours = p->is_ours || set_magic_of(&p->stored) == found->sight->set_magic;
	proposing_base(p);
	take_layout(p, found);
	take_rest(search);
	tell_proof(p, found);
	err = mend_member(p);
	proposing_end(p);
	return err;
}

bcfmt_err repair_super_cache(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
			     struct bcfmt_dev *const *partners, size_t n_partners,
			     struct super_proposal *out)
{
	struct search *search = calloc(1, sizeof(*search));
	struct proposing *p = malloc(sizeof(*p));
	bcfmt_err err = BCFMT_OK;

	*out = (struct super_proposal){ 0 };
	if (!search || !p) {
		err = bcfmt_fail(ctx, BCFMT_E_NOMEM, "%s: no memory for a superblock",
				 bcfmt_dev_name(dev));
		goto out;
	}
	proposing_begin(p, ctx, dev, false, out);
	*search = (struct search){ .p = p,
				   .partners = partners,
				   .n_partners = n_partners,
				   .found = { .ctx = ctx, .dev = dev } };
	if (p->has_csum_right && p->faults & FAULTS_FEATURES)
		err = proposing_give_up(p, true,
					"the superblock has features that are not known here, "
					"under a right checksum: its layout may be another one");
	else if (p->has_csum_right && p->faults == BCFMT_SUPER_BAD_REPLACEMENT)
		mend_policy(p);
	else
		err = propose(search);
out:
	if (search)
		layout_search_clear(&search->found);
	free(search);
	free(p);
	return err;
}
