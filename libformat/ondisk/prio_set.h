/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of a prio set, which fills a meta bucket. */
#ifndef ONDISK_PRIO_SET_H
#define ONDISK_PRIO_SET_H

#include "ondisk/types.h"

#define DISK_PRIO_MAGIC 0x6750e15f87337f91ull

/* Native order, here little-endian. "Refuses" is prio_read(). */
struct prio_set_disk {
	disk_le64 csum;    /* 0x00 CRC over 8 .. end of the meta bucket; refuses a wrong one */
	disk_le64 magic;   /* 0x08 set magic ^ DISK_PRIO_MAGIC; refuses others */
	disk_le64 seq;     /* 0x10 +1 a write of the chain; not checked */
	disk_le32 version; /* 0x18 0; not checked */
	disk_le32 pad;     /* 0x1c 0; not checked */
	disk_le64 next_bucket; /* 0x20 bucket of the next set; junk in the last; not checked */
};

/* From 0x28 on, packed; entry i of set s is that of bucket s * per set + i. */
struct prio_entry_disk {
	disk_le16 prio; /* 0 little-endian in any set; 65535 metadata, 32768 new, 0 never used */
	uint8_t gen;    /* 2 lower bound of the bucket's generation */
};

DISK_AT(struct prio_set_disk, csum, 0x00, 8);
DISK_AT(struct prio_set_disk, magic, 0x08, 8);
DISK_AT(struct prio_set_disk, seq, 0x10, 8);
DISK_AT(struct prio_set_disk, version, 0x18, 4);
DISK_AT(struct prio_set_disk, pad, 0x1c, 4);
DISK_AT(struct prio_set_disk, next_bucket, 0x20, 8);
DISK_SIZE(struct prio_set_disk, 40);
DISK_AT(struct prio_entry_disk, prio, 0, 2);
DISK_AT(struct prio_entry_disk, gen, 2, 1);
DISK_SIZE(struct prio_entry_disk, 3);

#endif
