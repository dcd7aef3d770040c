/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other names for uuids and labels. */
#include "image/scrub.h"

#include <stdio.h>
#include <string.h>

#include <bcfmt/uuid.h>
#include <uuid/uuid.h>

#include "base/bytes.h"
#include "codec/crc64_math.h"

void scrub_init(struct scrub *scrub, bool is_on, const uint8_t set_uuid[BCFMT_UUID_BYTES])
{
	uint8_t other[BCFMT_UUID_BYTES];

	memset(scrub, 0, sizeof(*scrub));
	scrub->is_on = is_on;
	if (!is_on)
		return;
	uuid_generate_random(scrub->key);
	memcpy(other, set_uuid, sizeof(other));
	scrub_uuid(scrub, other);
	scrub->magic_diff = load_le64(set_uuid) ^ load_le64(other);
}

void scrub_hide_uuid(const struct scrub *scrub, uint8_t uuid[BCFMT_UUID_BYTES])
{
	uint8_t other[BCFMT_UUID_BYTES];

	if (bcfmt_uuid_is_zero(uuid) || !memcmp(uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES))
		return;
	uuid_generate_sha1(other, scrub->key, (const char *)uuid, BCFMT_UUID_BYTES);
	memcpy(uuid, other, BCFMT_UUID_BYTES);
}

void scrub_uuid(const struct scrub *scrub, uint8_t uuid[BCFMT_UUID_BYTES])
{
	if (scrub->is_on)
		scrub_hide_uuid(scrub, uuid);
}

void scrub_label(const struct scrub *scrub, uint8_t label[BCFMT_LABEL_BYTES])
{
	uint8_t other[BCFMT_UUID_BYTES];
	size_t len = strnlen((const char *)label, BCFMT_LABEL_BYTES);

	if (!scrub->is_on || !len)
		return;
	uuid_generate_sha1(other, scrub->key, (const char *)label, len);
	memset(label, 0, BCFMT_LABEL_BYTES);
	snprintf((char *)label, BCFMT_LABEL_BYTES, "label-%08x",
		 (unsigned int)(load_le64(other) & 0xffffffff));
}

void scrub_header(const struct scrub *scrub, uint8_t *header, uint64_t covered_bytes)
{
	uint64_t magic = load_le64(header + 8);

	if (!scrub->magic_diff)
		return;
	store_le64(header + 8, magic ^ scrub->magic_diff);
	/* The checksum reads the first byte of the word as its highest. */
	store_le64(header, load_le64(header) ^ crc64_shift(__builtin_bswap64(scrub->magic_diff),
							   covered_bytes));
}
