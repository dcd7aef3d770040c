/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layouts of a slot of the uuid table, whose index is the inode number of keys. */
#ifndef ONDISK_UUID_ENTRY_H
#define ONDISK_UUID_ENTRY_H

#include "ondisk/types.h"

/* No checksum, no magic: nothing in it is refused. Used when jset.version >= 1. */
struct uuid_entry_disk {
	uint8_t uuid[16];      /* 0x00 of the backing device or volume; zero: free slot */
	uint8_t label[32];     /* 0x10 text, NUL only if shorter */
	disk_le32 first_reg;   /* 0x30 seconds since 1970 */
	disk_le32 last_reg;    /* 0x34 seconds since 1970 */
	disk_le32 invalidated; /* 0x38 seconds since 1970, 0: never */
	disk_le32 flags;       /* 0x3c bit 0: flash-only volume */
	disk_le64 sectors;     /* 0x40 size of a flash-only volume; bcache_device_init(): > 0 */
	uint8_t pad[56];       /* 0x48 junk */
};

/* Used when jset.version is 0. */
struct uuid_entry_v0_disk {
	uint8_t uuid[16];      /* 0x00 as above */
	uint8_t label[32];     /* 0x10 as above */
	disk_le32 first_reg;   /* 0x30 as above */
	disk_le32 last_reg;    /* 0x34 as above */
	disk_le32 invalidated; /* 0x38 as above */
	disk_le32 pad;         /* 0x3c junk */
};

DISK_AT(struct uuid_entry_disk, uuid, 0x00, 16);
DISK_AT(struct uuid_entry_disk, label, 0x10, 32);
DISK_AT(struct uuid_entry_disk, first_reg, 0x30, 4);
DISK_AT(struct uuid_entry_disk, last_reg, 0x34, 4);
DISK_AT(struct uuid_entry_disk, invalidated, 0x38, 4);
DISK_AT(struct uuid_entry_disk, flags, 0x3c, 4);
DISK_AT(struct uuid_entry_disk, sectors, 0x40, 8);
DISK_AT(struct uuid_entry_disk, pad, 0x48, 56);
DISK_SIZE(struct uuid_entry_disk, 128);
DISK_AT(struct uuid_entry_v0_disk, uuid, 0x00, 16);
DISK_AT(struct uuid_entry_v0_disk, label, 0x10, 32);
DISK_AT(struct uuid_entry_v0_disk, first_reg, 0x30, 4);
DISK_AT(struct uuid_entry_v0_disk, last_reg, 0x34, 4);
DISK_AT(struct uuid_entry_v0_disk, invalidated, 0x38, 4);
DISK_AT(struct uuid_entry_v0_disk, pad, 0x3c, 4);
DISK_SIZE(struct uuid_entry_v0_disk, 64);

#endif
