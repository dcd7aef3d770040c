/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of a bset, the log record of a btree node. */
#ifndef ONDISK_BSET_H
#define ONDISK_BSET_H

#include "ondisk/types.h"

#define DISK_BSET_MAGIC 0x90135c78b99e07f5ull
#define DISK_BSET_VERSION 1u /* highest known: checksum seeded with the node's pointer */

/* Native order, here little-endian. "Refuses" is bch_btree_node_read_done(). */
struct bset_disk {
	disk_le64 csum;    /* 0x00 CRC over 8 .. 32 + 8 * keys; refuses a wrong one */
	disk_le64 magic;   /* 0x08 set magic ^ DISK_BSET_MAGIC; refuses others */
	disk_le64 seq;     /* 0x10 random, one for a node; refuses 0 in the first */
	disk_le32 version; /* 0x18 0, 1; refuses others */
	disk_le32 keys;    /* 0x1c u64 words that follow; refuses what passes the node's end */
};

DISK_AT(struct bset_disk, csum, 0x00, 8);
DISK_AT(struct bset_disk, magic, 0x08, 8);
DISK_AT(struct bset_disk, seq, 0x10, 8);
DISK_AT(struct bset_disk, version, 0x18, 4);
DISK_AT(struct bset_disk, keys, 0x1c, 4);
DISK_SIZE(struct bset_disk, 32);

#endif
