/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proposals of superblocks: what was there, what is made of it, and what differs. */
#include "repair/super_find.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <bcfmt/probe.h>
#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "ondisk/super.h"
#include "repair/super_impl.h"

#define FLAGS_STATE (3ull << 61)

static const uint8_t super_magic[16] = DISK_SUPER_MAGIC;

const char *super_field_name(enum super_field field)
{
	static const char *const names[SUPER_FIELDS] = {
		[SUPER_FIELD_MAGIC] = "magic and offset",
		[SUPER_FIELD_VERSION] = "version and features",
		[SUPER_FIELD_UUID] = "uuid",
		[SUPER_FIELD_SET_UUID] = "set uuid",
		[SUPER_FIELD_LABEL] = "label",
		[SUPER_FIELD_FLAGS] = "flags",
		[SUPER_FIELD_STATE] = "state",
		[SUPER_FIELD_SEQ] = "seq",
		[SUPER_FIELD_NBUCKETS] = "number of buckets",
		[SUPER_FIELD_DATA_OFFSET] = "data offset",
		[SUPER_FIELD_BLOCK] = "block size",
		[SUPER_FIELD_BUCKET] = "bucket size",
		[SUPER_FIELD_MEMBER] = "place in the set",
		[SUPER_FIELD_LAST_MOUNT] = "time of last mount",
		[SUPER_FIELD_FIRST_BUCKET] = "first bucket",
		[SUPER_FIELD_JOURNAL] = "journal buckets",
		[SUPER_FIELD_CSUM] = "checksum",
	};

	return field < SUPER_FIELDS ? names[field] : "";
}

void proposing_begin(struct proposing *p, struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
		     bool is_backing, struct super_proposal *out)
{
	struct bcfmt_bad_read bad = { 0, 0 };

	*out = (struct super_proposal){ 0 };
	*p = (struct proposing){ .ctx = ctx, .dev = dev, .out = out };
	p->is_readable = !bcfmt_dev_read_salvage(dev, BCFMT_SUPER_OFFSET_BYTES, p->raw,
						 sizeof(p->raw), &bad) &&
			 !bad.sectors;
	bcfmt_super_decode(p->raw, &p->stored);
	p->has_csum_right = p->stored.keys <= BCFMT_SUPER_JOURNAL_MAX && p->stored.csum &&
			    p->stored.csum == p->stored.csum_computed;
	/* The role decides how the shared field is read, and which versions there are. */
	p->stored.is_backing = is_backing;
	if (is_backing)
		p->stored.data_offset_sectors = p->stored.version == 1
							? DISK_SUPER_DATA_OFFSET_MIN
							: p->stored.nbuckets_or_data_offset;
	p->faults = bcfmt_super_faults(&p->stored, bcfmt_dev_bytes(dev),
				       bcfmt_dev_logical_block_bytes(dev), 4096);
	if (is_backing && p->stored.version != 1 && p->stored.version != 4 &&
	    p->stored.version != 6)
		p->faults |= BCFMT_SUPER_BAD_VERSION;
	p->is_ours =
		p->has_csum_right || !memcmp(p->stored.magic, super_magic, sizeof(super_magic));
}

void proposing_base(struct proposing *p)
{
	p->super = p->stored;
	if (!p->is_ours) {
		p->super = (struct bcfmt_super){ .is_backing = p->stored.is_backing };
		memset(p->out->raw, 0, sizeof(p->out->raw));
	} else {
		memcpy(p->out->raw, p->raw, sizeof(p->raw));
	}
	/* A backing device has no journal buckets; those of a cache are derived. */
	if (p->super.keys > BCFMT_SUPER_JOURNAL_MAX || (p->super.is_backing && !p->has_csum_right))
		p->super.keys = 0;
	memcpy(p->super.magic, super_magic, sizeof(super_magic));
	p->super.offset_sector = DISK_SUPER_SECTOR;
}

void proposing_note(struct proposing *p, enum super_field field, bool is_guess, const char *fmt,
		    ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(p->texts[field], sizeof(p->texts[field]), fmt, args);
	va_end(args);
	p->guessed &= ~(1u << field);
	p->guessed |= (uint32_t)is_guess << field;
}

uint64_t proposing_csum(const struct proposing *p)
{
	uint8_t raw[BCFMT_SUPER_BYTES];

	memcpy(raw, p->out->raw, sizeof(raw));
	bcfmt_super_encode(&p->super, raw);
	return bcfmt_super_csum(raw);
}

static bool differs(const struct proposing *p, enum super_field field)
{
	const struct bcfmt_super *a = &p->stored, *b = &p->super;

	switch (field) {
	case SUPER_FIELD_MAGIC:
		return a->offset_sector != b->offset_sector ||
		       memcmp(a->magic, b->magic, sizeof(a->magic));
	case SUPER_FIELD_VERSION:
		return a->version != b->version || a->feature_compat != b->feature_compat ||
		       a->feature_incompat != b->feature_incompat ||
		       a->feature_ro_compat != b->feature_ro_compat;
	case SUPER_FIELD_UUID:
		return memcmp(a->uuid, b->uuid, sizeof(a->uuid));
	case SUPER_FIELD_SET_UUID:
		return memcmp(a->set_uuid, b->set_uuid, sizeof(a->set_uuid));
	case SUPER_FIELD_LABEL:
		return memcmp(a->label, b->label, sizeof(a->label));
	case SUPER_FIELD_FLAGS:
		return b->is_backing ? (a->flags ^ b->flags) & ~FLAGS_STATE : a->flags != b->flags;
	case SUPER_FIELD_STATE:
		return b->is_backing && (a->flags ^ b->flags) & FLAGS_STATE;
	case SUPER_FIELD_SEQ:
		return a->seq != b->seq;
	case SUPER_FIELD_NBUCKETS:
		return !b->is_backing && a->nbuckets_or_data_offset != b->nbuckets_or_data_offset;
	case SUPER_FIELD_DATA_OFFSET:
		return b->is_backing && a->nbuckets_or_data_offset != b->nbuckets_or_data_offset;
	case SUPER_FIELD_BLOCK:
		return a->block_sectors != b->block_sectors;
	case SUPER_FIELD_BUCKET:
		return a->bucket_field != b->bucket_field || a->obso_bucket_hi != b->obso_bucket_hi;
	case SUPER_FIELD_MEMBER:
		return a->nr_in_set != b->nr_in_set || a->nr_this_dev != b->nr_this_dev;
	case SUPER_FIELD_LAST_MOUNT:
		return a->last_mount != b->last_mount;
	case SUPER_FIELD_FIRST_BUCKET:
		return a->first_bucket != b->first_bucket;
	case SUPER_FIELD_JOURNAL:
		return a->keys != b->keys ||
		       memcmp(a->journal_bucket, b->journal_bucket, 8 * (size_t)b->keys);
	case SUPER_FIELD_CSUM:
	case SUPER_FIELDS:
		break;
	}
	return false;
}

static void tell_flags(const struct bcfmt_super *super, char *out, size_t out_bytes)
{
	static const char *const modes[] = { "writethrough", "writeback", "writearound", "none" };
	static const char *const policies[] = { "lru", "fifo", "random" };
	unsigned int mode = bcfmt_super_cache_mode(super);
	unsigned int policy = bcfmt_super_replacement(super);

	if (super->is_backing)
		snprintf(out, out_bytes, "%s", mode < 4 ? modes[mode] : "unknown");
	else
		snprintf(out, out_bytes, "%s%s%s",
			 super->flags & BCFMT_SUPER_FLAG_SYNC ? "sync " : "",
			 super->flags & BCFMT_SUPER_FLAG_DISCARD ? "discard " : "",
			 policy < 3 ? policies[policy] : "unknown");
}

static void tell_value(const struct bcfmt_super *super, enum super_field field, char *out,
		       size_t out_bytes)
{
	static const char *const states[] = { "detached", "clean", "dirty", "stale" };
	uint64_t number = 0;
	const char *unit = "";

	*out = '\0';
	switch (field) {
	case SUPER_FIELD_UUID:
	case SUPER_FIELD_SET_UUID:
		bcfmt_uuid_text(field == SUPER_FIELD_UUID ? super->uuid : super->set_uuid, out);
		return;
	case SUPER_FIELD_FLAGS:
		tell_flags(super, out, out_bytes);
		return;
	case SUPER_FIELD_STATE:
		snprintf(out, out_bytes, "%s", states[bcfmt_super_bdev_state(super)]);
		return;
	case SUPER_FIELD_MEMBER:
		snprintf(out, out_bytes, "%u of %u", super->nr_this_dev, super->nr_in_set);
		return;
	case SUPER_FIELD_LABEL:
		/* Without the newline that echo puts behind it. */
		snprintf(out, out_bytes, "\"%.*s\"", (int)strcspn(super->label, "\n"),
			 super->label);
		return;
	case SUPER_FIELD_MAGIC:
	case SUPER_FIELD_CSUM:
	case SUPER_FIELDS:
		return;
	case SUPER_FIELD_VERSION:
		number = super->version;
		break;
	case SUPER_FIELD_SEQ:
		number = super->seq;
		break;
	case SUPER_FIELD_NBUCKETS:
		number = super->nbuckets_or_data_offset;
		break;
	case SUPER_FIELD_DATA_OFFSET:
		number = super->data_offset_sectors;
		unit = " sectors";
		break;
	case SUPER_FIELD_BLOCK:
		number = super->block_sectors;
		unit = " sectors";
		break;
	case SUPER_FIELD_BUCKET:
		number = super->bucket_sectors;
		unit = " sectors";
		break;
	case SUPER_FIELD_LAST_MOUNT:
		number = super->last_mount;
		break;
	case SUPER_FIELD_FIRST_BUCKET:
		number = super->first_bucket;
		break;
	case SUPER_FIELD_JOURNAL:
		number = super->keys;
		break;
	}
	snprintf(out, out_bytes, "%llu%s", (unsigned long long)number, unit);
}

void proposing_end(struct proposing *p)
{
	struct super_proposal *out = p->out;

	for (unsigned int i = 0; i < SUPER_FIELD_CSUM; i++)
		if (differs(p, (enum super_field)i))
			out->changed |= 1u << i;
	bcfmt_super_encode(&p->super, out->raw);
	if (!out->changed && !p->has_csum_right) {
		out->changed = 1u << SUPER_FIELD_CSUM;
		if (!*p->texts[SUPER_FIELD_CSUM])
			proposing_note(p, SUPER_FIELD_CSUM, false,
				       "what the set proves of the fields is right as it is");
	}
	if (!out->changed)
		memcpy(out->raw, p->raw, sizeof(p->raw));
	bcfmt_super_decode(out->raw, &out->super);
	out->outcome = out->changed ? SUPER_PROPOSED : SUPER_SOUND;
	if (p->is_csum_proof)
		p->guessed = 0;
	out->guessed = p->guessed & out->changed;
	for (unsigned int i = 0; i < SUPER_FIELDS; i++) {
		struct super_note *note = &out->notes[out->n_notes];

		if (!(out->changed & 1u << i))
			continue;
		note->field = (enum super_field)i;
		note->is_guess = out->guessed >> i & 1;
		memcpy(note->text, *p->texts[i] ? p->texts[i] : "as every such superblock has it",
		       *p->texts[i] ? sizeof(note->text) : 32);
		tell_value(&out->super, note->field, note->value, sizeof(note->value));
		out->n_notes++;
	}
}

bcfmt_err proposing_give_up(struct proposing *p, bool has_evidence, const char *why)
{
	struct bcfmt_signature found[BCFMT_SIGNATURES_MAX];
	struct super_proposal *out = p->out;
	size_t n = 0;
	bcfmt_err err = BCFMT_OK;

	out->outcome = SUPER_UNKNOWN;
	out->super = p->stored;
	memcpy(out->raw, p->raw, sizeof(p->raw));
	if (!has_evidence && !p->is_ours)
		err = bcfmt_dev_signatures(p->dev, found, &n);
	if (err == BCFMT_E_NOMEM)
		return err;
	if (err)
		n = 0; /* no file, or one that cannot be read: nothing to name */
	snprintf(out->why, sizeof(out->why), "%s", why);
	if (n) {
		out->outcome = SUPER_FOREIGN;
		snprintf(out->why, sizeof(out->why), "%s, and it holds %s%s%s%s", why,
			 found[0].is_partition_table ? "a partition table: " : "", found[0].type,
			 *found[0].label ? " with label " : "", found[0].label);
	}
	return BCFMT_OK;
}

bcfmt_err partner_super(struct bcfmt_dev *const *partners, size_t n_partners, bool is_backing,
			size_t *index, struct bcfmt_super *out)
{
	for (size_t i = *index; i < n_partners; i++) {
		uint8_t raw[BCFMT_SUPER_BYTES];
		struct bcfmt_bad_read bad = { 0, 0 };

		if (bcfmt_dev_read_salvage(partners[i], BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw),
					   &bad) ||
		    bad.sectors)
			continue;
		bcfmt_super_decode(raw, out);
		if (out->is_backing != is_backing ||
		    bcfmt_super_faults(out, bcfmt_dev_bytes(partners[i]), 0, 4096) &
			    (BCFMT_SUPER_BAD_MAGIC | BCFMT_SUPER_BAD_OFFSET | BCFMT_SUPER_BAD_CSUM |
			     BCFMT_SUPER_MANY_JOURNAL | BCFMT_SUPER_BAD_VERSION))
			continue;
		*index = i;
		return BCFMT_OK;
	}
	return BCFMT_END;
}
