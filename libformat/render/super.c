/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A superblock: the lines of bcache-super-show, then the fields that it does not show. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ondisk/super.h"
#include "render/out.h"

static const uint8_t bcache_magic[16] = DISK_SUPER_MAGIC;

static bool has_magic(const struct bcfmt_super *super)
{
	return !memcmp(super->magic, bcache_magic, sizeof(bcache_magic));
}

static bool is_cache(const struct bcfmt_super *super)
{
	return super->version == 0 || super->version == 3 || super->version == 5;
}

static const char *replacement_name(unsigned int policy)
{
	static const char *const names[] = { "lru", "fifo", "random" };

	return policy < 3 ? names[policy] : NULL;
}

static const char *cache_mode_name(unsigned int mode)
{
	static const char *const names[] = { "writethrough", "writeback", "writearound",
					     "no caching" };

	return mode < 4 ? names[mode] : NULL;
}

/* As bcache-super-show calls them. */
static const char *state_name(enum bcfmt_bdev_state state)
{
	static const char *const names[] = { "detached", "clean", "dirty", "inconsistent" };

	return names[(unsigned int)state & 3];
}

/* The checksum cannot be told when the field that says what it covers is out of range. */
static bool has_computed_csum(const struct bcfmt_super *super)
{
	return super->keys <= BCFMT_SUPER_JOURNAL_MAX;
}

/* Letters, digits and .-_ as they are, all else as % and hexadecimal digits. */
static void escape_label(const char *label, char out[3 * BCFMT_LABEL_BYTES + 1])
{
	char *at = out;

	for (; *label; label++) {
		unsigned char c = (unsigned char)*label;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '.' || c == '-' || c == '_')
			*at++ = (char)c;
		else
			at += snprintf(at, 4, "%%%x", c);
	}
	*at = 0;
}

static void number_line(struct bcfmt_out *out, const char *name, uint64_t value, const char *word)
{
	if (word)
		bcfmt_out_line(out, "%s%" PRIu64 " [%s]", name, value, word);
	else
		bcfmt_out_line(out, "%s%" PRIu64, name, value);
}

static void head_lines(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	const char *kind = super->is_backing ? "backing device"
			   : is_cache(super) ? "cache device"
					     : "unknown";

	bcfmt_out_line(out, "sb.magic\t\t%s", has_magic(super) ? "ok" : "bad magic");
	bcfmt_out_line(out, "sb.first_sector\t\t%" PRIu64 " [%s]", super->offset_sector,
		       super->offset_sector == 8 ? "match" : "expected 8");
	if (!has_computed_csum(super))
		bcfmt_out_line(out, "sb.csum\t\t\t%" PRIX64 " [not computed]", super->csum);
	else if (super->csum == super->csum_computed)
		bcfmt_out_line(out, "sb.csum\t\t\t%" PRIX64 " [match]", super->csum);
	else
		bcfmt_out_line(out, "sb.csum\t\t\t%" PRIX64 " [expected %" PRIX64 "]", super->csum,
			       super->csum_computed);
	number_line(out, "sb.version\t\t", super->version, kind);
	bcfmt_out_line(out, "%s", "");
}

static void backing_lines(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	unsigned int mode = bcfmt_super_cache_mode(super);
	enum bcfmt_bdev_state state = bcfmt_super_bdev_state(super);

	number_line(out, "dev.data.first_sector\t", super->data_offset_sectors, NULL);
	number_line(out, "dev.data.cache_mode\t", mode, cache_mode_name(mode));
	number_line(out, "dev.data.cache_state\t", state, state_name(state));
}

static void cache_lines(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	unsigned int policy = bcfmt_super_replacement(super);
	uint64_t buckets = super->nbuckets_or_data_offset;
	uint64_t bucket_sectors = super->bucket_sectors;

	number_line(out, "dev.cache.first_sector\t", bucket_sectors * super->first_bucket, NULL);
	number_line(out, "dev.cache.cache_sectors\t",
		    bucket_sectors * (buckets - super->first_bucket), NULL);
	number_line(out, "dev.cache.total_sectors\t", bucket_sectors * buckets, NULL);
	bcfmt_out_line(out, "dev.cache.ordered\t%s",
		       super->flags & BCFMT_SUPER_FLAG_SYNC ? "yes" : "no");
	bcfmt_out_line(out, "dev.cache.discard\t%s",
		       super->flags & BCFMT_SUPER_FLAG_DISCARD ? "yes" : "no");
	number_line(out, "dev.cache.pos\t\t", super->nr_this_dev, NULL);
	number_line(out, "dev.cache.replacement\t", policy, replacement_name(policy));
}

/* What bcache-super-show does not know, below its lines. */
static void more_lines(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	bcfmt_out_line(out, "%s", "");
	bcfmt_out_line(out, "sb.flags\t\t0x%016" PRIx64, super->flags);
	number_line(out, "sb.seq\t\t\t", super->seq, NULL);
	if (super->version >= 5 && is_cache(super)) {
		bcfmt_out_line(out, "sb.feature_compat\t0x%016" PRIx64, super->feature_compat);
		bcfmt_out_line(out, "sb.feature_incompat\t0x%016" PRIx64, super->feature_incompat);
		bcfmt_out_line(out, "sb.feature_ro_compat\t0x%016" PRIx64,
			       super->feature_ro_compat);
	}
	if (super->is_backing)
		return;
	number_line(out, "dev.cache.buckets\t", super->nbuckets_or_data_offset, NULL);
	number_line(out, "dev.cache.first_bucket\t", super->first_bucket, NULL);
	number_line(out, "dev.cache.bucket_field\t", super->bucket_field, NULL);
	if (super->obso_bucket_hi)
		number_line(out, "dev.cache.bucket_high\t", super->obso_bucket_hi, NULL);
	if (super->keys && super->keys <= BCFMT_SUPER_JOURNAL_MAX)
		bcfmt_out_line(out, "dev.cache.journal\t%u buckets, %" PRIu64 " to %" PRIu64,
			       super->keys, super->journal_bucket[0],
			       super->journal_bucket[super->keys - 1]);
	else
		bcfmt_out_line(out, "dev.cache.journal\t%u buckets", super->keys);
	number_line(out, "dev.cache.last_mount\t", super->last_mount, NULL);
	number_line(out, "cset.devices\t\t", super->nr_in_set, NULL);
}

static void super_text(struct bcfmt_out *out, const struct bcfmt_super *super)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];
	char label[3 * BCFMT_LABEL_BYTES + 1];

	head_lines(out, super);
	escape_label(super->label, label);
	bcfmt_out_line(out, "dev.label\t\t%s", *label ? label : "(empty)");
	bcfmt_uuid_text(super->uuid, uuid);
	bcfmt_out_line(out, "dev.uuid\t\t%s", uuid);
	number_line(out, "dev.sectors_per_block\t", super->block_sectors, NULL);
	/* Meaningless on a backing device, and shown there by bcache-super-show all the same. */
	number_line(out, "dev.sectors_per_bucket\t",
		    super->is_backing ? super->bucket_field : super->bucket_sectors, NULL);
	if (super->is_backing)
		backing_lines(out, super);
	else
		cache_lines(out, super);
	bcfmt_out_line(out, "%s", "");
	bcfmt_uuid_text(super->set_uuid, uuid);
	bcfmt_out_line(out, "cset.uuid\t\t%s", uuid);
	more_lines(out, super);
}

static void json_named(struct bcfmt_out *out, json_t *object, const char *key, unsigned int value,
		       const char *name)
{
	out_json_set(out, object, key, out_json_u64(value));
	if (name) {
		char name_key[48];

		snprintf(name_key, sizeof(name_key), "%s_name", key);
		out_json_set(out, object, name_key, json_string(name));
	}
}

static void super_json_backing(struct bcfmt_out *out, json_t *object,
			       const struct bcfmt_super *super)
{
	out_json_set(out, object, "data_offset_sectors", out_json_u64(super->data_offset_sectors));
	json_named(out, object, "cache_mode", bcfmt_super_cache_mode(super),
		   cache_mode_name(bcfmt_super_cache_mode(super)));
	json_named(out, object, "state", bcfmt_super_bdev_state(super),
		   state_name(bcfmt_super_bdev_state(super)));
}

static void super_json_cache(struct bcfmt_out *out, json_t *object, const struct bcfmt_super *super)
{
	json_t *journal = json_array();

	out_json_set(out, object, "bucket_sectors", out_json_u64(super->bucket_sectors));
	out_json_set(out, object, "bucket_field", out_json_u64(super->bucket_field));
	out_json_set(out, object, "bucket_high", out_json_u64(super->obso_bucket_hi));
	out_json_set(out, object, "buckets", out_json_u64(super->nbuckets_or_data_offset));
	out_json_set(out, object, "first_bucket", out_json_u64(super->first_bucket));
	out_json_set(out, object, "devices_in_set", out_json_u64(super->nr_in_set));
	out_json_set(out, object, "device_number", out_json_u64(super->nr_this_dev));
	out_json_set(out, object, "last_mount", out_json_u64(super->last_mount));
	out_json_set(out, object, "is_synchronized",
		     json_boolean(super->flags & BCFMT_SUPER_FLAG_SYNC));
	out_json_set(out, object, "discard", json_boolean(super->flags & BCFMT_SUPER_FLAG_DISCARD));
	json_named(out, object, "replacement", bcfmt_super_replacement(super),
		   replacement_name(bcfmt_super_replacement(super)));
	out_json_set(out, object, "journal_buckets", out_json_u64(super->keys));
	for (unsigned int i = 0; i < super->keys && i < BCFMT_SUPER_JOURNAL_MAX; i++)
		out_json_append(out, journal, out_json_u64(super->journal_bucket[i]));
	out_json_set(out, object, "journal", journal);
}

static void super_json(struct bcfmt_out *out, const char *device, const struct bcfmt_super *super)
{
	json_t *object = out_json_object(out, "super");

	out_json_set(out, object, "device", out_json_text(device));
	if (super->is_backing || is_cache(super))
		out_json_set(out, object, "role",
			     json_string(super->is_backing ? "backing" : "cache"));
	out_json_set(out, object, "has_magic", json_boolean(has_magic(super)));
	out_json_set(out, object, "sector", out_json_u64(super->offset_sector));
	out_json_set(out, object, "checksum", out_json_hex(super->csum));
	if (has_computed_csum(super))
		out_json_set(out, object, "checksum_computed", out_json_hex(super->csum_computed));
	out_json_set(out, object, "version", out_json_u64(super->version));
	out_json_set(out, object, "uuid", out_json_uuid(super->uuid));
	out_json_set(out, object, "set_uuid", out_json_uuid(super->set_uuid));
	out_json_set(out, object, "label", out_json_text(super->label));
	out_json_set(out, object, "flags", out_json_hex(super->flags));
	out_json_set(out, object, "sequence", out_json_u64(super->seq));
	out_json_set(out, object, "feature_compat", out_json_hex(super->feature_compat));
	out_json_set(out, object, "feature_incompat", out_json_hex(super->feature_incompat));
	out_json_set(out, object, "feature_ro_compat", out_json_hex(super->feature_ro_compat));
	out_json_set(out, object, "block_sectors", out_json_u64(super->block_sectors));
	if (super->is_backing)
		super_json_backing(out, object, super);
	else
		super_json_cache(out, object, super);
	out_json(out, object);
}

void bcfmt_render_super(struct bcfmt_out *out, const char *device, const struct bcfmt_super *super)
{
	if (bcfmt_out_is_json(out))
		super_json(out, device, super);
	else
		super_text(out, super);
}
