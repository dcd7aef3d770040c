/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of a journal entry. */
#ifndef ONDISK_JSET_H
#define ONDISK_JSET_H

#include "ondisk/types.h"

#define DISK_JSET_MAGIC 0x245235c1a3625032ull
#define DISK_JSET_MEMBERS 8u /* kernel: MAX_CACHES_PER_SET */
#define DISK_JSET_KEY_WORDS 8u /* kernel: BKEY_PAD */

/* Native order, here little-endian. journal_read_bucket() ends the bucket where it says "ends". */
struct jset_disk {
	disk_le64 csum;     /* 0x00 CRC over 8 .. 240 + 8 * keys; a wrong one ends */
	disk_le64 magic;    /* 0x08 set magic ^ DISK_JSET_MAGIC; another ends */
	disk_le64 seq;      /* 0x10 from 1, +1 an entry */
	disk_le32 version;  /* 0x18 1; 0 means 64-byte uuid entries, uuid_read() */
	disk_le32 keys;     /* 0x1c u64 words that follow; past the bucket or 8 pages ends */
	disk_le64 last_seq; /* 0x20 oldest entry still needed, <= seq */
	disk_le64 uuid_bucket[DISK_JSET_KEY_WORDS]; /* 0x28 key and junk; uuid_read() refuses */
	disk_le64 btree_root[DISK_JSET_KEY_WORDS];  /* 0x68 key and junk; run_cache_set() refuses */
	disk_le16 btree_level; /* 0xa8 of the root, 0 is a leaf; the kernel keeps 8 bits */
	uint8_t pad[6];     /* 0xaa junk */
	disk_le64 prio_bucket[DISK_JSET_MEMBERS]; /* 0xb0 bucket; only [nr_this_dev] counts */
};

DISK_AT(struct jset_disk, csum, 0x00, 8);
DISK_AT(struct jset_disk, magic, 0x08, 8);
DISK_AT(struct jset_disk, seq, 0x10, 8);
DISK_AT(struct jset_disk, version, 0x18, 4);
DISK_AT(struct jset_disk, keys, 0x1c, 4);
DISK_AT(struct jset_disk, last_seq, 0x20, 8);
DISK_AT(struct jset_disk, uuid_bucket, 0x28, 64);
DISK_AT(struct jset_disk, btree_root, 0x68, 64);
DISK_AT(struct jset_disk, btree_level, 0xa8, 2);
DISK_AT(struct jset_disk, pad, 0xaa, 6);
DISK_AT(struct jset_disk, prio_bucket, 0xb0, 64);
DISK_SIZE(struct jset_disk, 240);

#endif
