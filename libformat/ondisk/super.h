/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of the superblock at byte 4096 of a cache or backing device. */
#ifndef ONDISK_SUPER_H
#define ONDISK_SUPER_H

#include "ondisk/types.h"

#define DISK_SUPER_SECTOR 8u
#define DISK_SUPER_CSUM_FROM 8u
#define DISK_SUPER_JOURNAL_AT 208u
#define DISK_SUPER_JOURNAL_MAX 256u /* kernel: SB_JOURNAL_BUCKETS */
/* Initializer of the 16 bytes at magic. */
#define DISK_SUPER_MAGIC \
	{ 0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, \
	  0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81 }
#define DISK_SUPER_DATA_OFFSET_MIN 16u /* sectors. kernel: BDEV_DATA_START_DEFAULT */

/* Little-endian throughout. "Refuses" without a name is read_super(); "common" is for caches only:
 * read_super_common(). */
struct super_disk {
	disk_le64 csum;            /* 0x000 CRC over 8 .. 208 + 8 * keys; refuses a wrong one */
	disk_le64 offset_sector;   /* 0x008 8; refuses others */
	disk_le64 version;         /* 0x010 0, 3, 5 cache, 1, 4, 6 backing; refuses others */
	uint8_t magic[16];         /* 0x018 fixed; refuses others */
	uint8_t uuid[16];          /* 0x028 of the device; refuses all zero */
	uint8_t set_uuid[16];      /* 0x038 of the cache set; common refuses all zero */
	uint8_t label[32];         /* 0x048 text, NUL only if shorter; anything goes */
	disk_le64 flags;           /* 0x068 bits by role; nothing is refused at registration */
	disk_le64 seq;             /* 0x070 cache: superblock writes; backing: 0 */
	disk_le64 feature_compat;    /* 0x078 version 5: 0; refuses others */
	disk_le64 feature_incompat;  /* 0x080 version 5: 0..3; refuses others */
	disk_le64 feature_ro_compat; /* 0x088 version 5: 0; refuses others */
	disk_le64 pad[5];          /* 0x090 0 when written, never read */
	/* 0x0b8 cache: buckets, 513 .. LONG_MAX, common and cache_alloc(); backing: data offset in
	 * sectors, >= 16, refuses less in versions 4 and 6, not read in version 1 */
	disk_le64 nbuckets_or_data_offset;
	disk_le16 block_sectors;   /* 0x0c0 >= device block; common: power of 2, <= page */
	/* 0x0c2 sectors, or their log2 with feature 0x2; common: power of 2, >= page.
	 * Junk on a backing device, as are the next two and first_bucket */
	disk_le16 bucket_field;
	disk_le16 nr_in_set;       /* 0x0c4 members, 1..8; common */
	disk_le16 nr_this_dev;     /* 0x0c6 < nr_in_set; common */
	disk_le32 last_mount;      /* 0x0c8 seconds since 1970; not checked */
	disk_le16 first_bucket;    /* 0x0cc bucket, ends at sector 16 or later; common */
	disk_le16 keys;            /* 0x0ce journal buckets, 0..256; common */
	disk_le64 journal_bucket[DISK_SUPER_JOURNAL_MAX]; /* 0x0d0 first_bucket + i; common */
	disk_le16 obso_bucket_hi;  /* 0x8d0 bits 16.. of the bucket size with feature 0x1 only */
	uint8_t tail[1838];        /* 0x8d2 what was there before; never read */
};

DISK_AT(struct super_disk, csum, 0x000, 8);
DISK_AT(struct super_disk, offset_sector, 0x008, 8);
DISK_AT(struct super_disk, version, 0x010, 8);
DISK_AT(struct super_disk, magic, 0x018, 16);
DISK_AT(struct super_disk, uuid, 0x028, 16);
DISK_AT(struct super_disk, set_uuid, 0x038, 16);
DISK_AT(struct super_disk, label, 0x048, 32);
DISK_AT(struct super_disk, flags, 0x068, 8);
DISK_AT(struct super_disk, seq, 0x070, 8);
DISK_AT(struct super_disk, feature_compat, 0x078, 8);
DISK_AT(struct super_disk, feature_incompat, 0x080, 8);
DISK_AT(struct super_disk, feature_ro_compat, 0x088, 8);
DISK_AT(struct super_disk, pad, 0x090, 40);
DISK_AT(struct super_disk, nbuckets_or_data_offset, 0x0b8, 8);
DISK_AT(struct super_disk, block_sectors, 0x0c0, 2);
DISK_AT(struct super_disk, bucket_field, 0x0c2, 2);
DISK_AT(struct super_disk, nr_in_set, 0x0c4, 2);
DISK_AT(struct super_disk, nr_this_dev, 0x0c6, 2);
DISK_AT(struct super_disk, last_mount, 0x0c8, 4);
DISK_AT(struct super_disk, first_bucket, 0x0cc, 2);
DISK_AT(struct super_disk, keys, 0x0ce, 2);
DISK_AT(struct super_disk, journal_bucket, DISK_SUPER_JOURNAL_AT, 2048);
DISK_AT(struct super_disk, obso_bucket_hi, 0x8d0, 2);
DISK_AT(struct super_disk, tail, 0x8d2, 1838);
DISK_SIZE(struct super_disk, 4096);

#endif
