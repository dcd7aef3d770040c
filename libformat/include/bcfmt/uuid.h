/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The uuid table: which backing device or flash-only volume an inode number means. */
#ifndef BCFMT_UUID_H
#define BCFMT_UUID_H

#include <bcfmt/base.h>
#include <bcfmt/super.h>

BCFMT_BEGIN_DECLS

#define BCFMT_UUID_ENTRY_BYTES 128u
#define BCFMT_UUID_ENTRY_V0_BYTES 64u
#define BCFMT_UUID_FLASH_ONLY 0x1u
#define BCFMT_UUID_TEXT_BYTES 37u
/* INT_MAX stripes of 2^31 sectors: bcache_device_init(). */
#define BCFMT_VOLUME_MAX_SECTORS (0x7fffffffull << 31)

struct bcfmt_uuid_entry {
	uint8_t uuid[BCFMT_UUID_BYTES];
	char label[BCFMT_LABEL_BYTES + 1]; /* always terminated */
	uint32_t first_reg;   /* seconds */
	uint32_t last_reg;
	uint32_t invalidated;
	uint32_t flags;
	uint64_t sectors;     /* flash-only size */
};

enum bcfmt_uuid_state { BCFMT_UUID_FREE, BCFMT_UUID_DETACHED, BCFMT_UUID_LIVE };

/* version 0: 64-byte entries; 1: 128-byte entries. raw points at the entry itself. */
BCFMT_API void bcfmt_uuid_decode(const uint8_t *raw, unsigned int version,
				 struct bcfmt_uuid_entry *out);
/* Writes 128 bytes, padding zeroed. */
BCFMT_API void bcfmt_uuid_encode(const struct bcfmt_uuid_entry *entry, uint8_t *raw);
BCFMT_API enum bcfmt_uuid_state bcfmt_uuid_state(const struct bcfmt_uuid_entry *entry);
/* The value that the kernel leaves in the slot of a detached device. 16 bytes, static. */
BCFMT_API const uint8_t *bcfmt_uuid_invalid(void);
/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx". */
BCFMT_API void bcfmt_uuid_text(const uint8_t uuid[BCFMT_UUID_BYTES],
			       char out[BCFMT_UUID_TEXT_BYTES]);
/* The form above, of either case, and nothing else; false leaves uuid as it is. */
BCFMT_API bool bcfmt_uuid_parse(const char *text, uint8_t uuid[BCFMT_UUID_BYTES]);
BCFMT_API bool bcfmt_uuid_is_zero(const uint8_t uuid[BCFMT_UUID_BYTES]);

BCFMT_END_DECLS

#endif
