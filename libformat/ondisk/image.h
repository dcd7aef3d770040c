/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of a metadata image file, bcache-image(5). Not of the kernel's making. */
#ifndef ONDISK_IMAGE_H
#define ONDISK_IMAGE_H

#include "ondisk/types.h"

/* A byte above 127, both kinds of line ends and an end of text: what text transfers break. */
#define DISK_IMAGE_MAGIC "\x8a" "bci\r\n\x1a\n"
#define DISK_IMAGE_VERSION 1u
#define DISK_IMAGE_ALIGN 8u         /* of blocks */
#define DISK_IMAGE_FILE_ALIGN 512u  /* of the whole file */
#define DISK_IMAGE_MEMBERS_MAX 256u
#define DISK_IMAGE_NUMBERED_MAX (1u << 22) /* chunks and holes of one image */
/* Of one chunk. */
#define DISK_IMAGE_CONTENT_MAX (1u << 18)
#define DISK_IMAGE_EXTENTS_MAX (1u << 14)
#define DISK_IMAGE_PAYLOAD_MAX (1u << 20)
#define DISK_IMAGE_STORED_MAX (DISK_IMAGE_PAYLOAD_MAX + (1u << 16))
#define DISK_IMAGE_HOLES_MAX (1u << 15) /* of one block of holes */

enum disk_image_kind {
	DISK_IMAGE_HEAD = 1,  /* first block, and again behind the last numbered one */
	DISK_IMAGE_CHUNK = 2, /* numbered */
	DISK_IMAGE_HOLES = 3, /* numbered */
	DISK_IMAGE_INDEX = 4,
	DISK_IMAGE_END = 5,   /* the last bytes of the file */
};

enum disk_image_method {
	DISK_IMAGE_STORED = 0,  /* as it is */
	DISK_IMAGE_PLAIN = 1,   /* zlib over the bytes of the extents */
	DISK_IMAGE_COLUMNS = 2, /* zlib over the columns that they are made of */
};

/* Goes before the stored bytes of every block. */
struct image_block_disk {
	uint8_t magic[8];
	disk_le64 csum;          /* 0x08 CRC over the bytes from 0x10 on */
	disk_le64 stored_csum;   /* 0x10 CRC over the stored bytes */
	disk_le32 kind;          /* 0x18 enum disk_image_kind */
	disk_le32 number;        /* 0x1c of numbered ones from 0; INDEX, END: how many there are */
	disk_le32 stored_bytes;  /* 0x20 that follow, before the padding to 8 */
	disk_le32 content_bytes; /* 0x24 CHUNK: bytes of metadata */
	disk_le64 first_byte;    /* 0x28 CHUNK: on the member; END: file offset of INDEX */
	disk_le64 end_byte;      /* 0x30 CHUNK: behind its last; END: length of the file */
	disk_le16 member;        /* 0x38 CHUNK, HOLES: whose */
	uint8_t method;          /* 0x3a enum disk_image_method */
	uint8_t pad;             /* 0x3b 0 */
	disk_le32 id;            /* 0x3c low half of stored_csum of HEAD: blocks that belong together */
};

/* Stored bytes of HEAD: this, then the members. */
struct image_head_disk {
	disk_le32 version;
	disk_le32 flags;        /* bit 0 scrubbed */
	disk_le32 n_members;
	disk_le32 member_bytes; /* 128 */
	disk_le64 stamp;        /* of the state of the set, so that two images have two ids */
	uint8_t pad[8];
};
#define DISK_IMAGE_FLAG_SCRUBBED 1u

enum disk_image_role { DISK_IMAGE_CACHE = 1, DISK_IMAGE_BACKING = 2 };

struct image_member_disk {
	disk_le64 bytes;
	disk_le32 logical_block_bytes;
	disk_le16 role;
	disk_le16 flags;   /* bit 0: the kernel held it */
	uint8_t name[112]; /* last part of its path, cut, NUL behind */
};
#define DISK_IMAGE_MEMBER_IN_USE 1u

/* Stored bytes of INDEX: one of these for each numbered block, in the order of numbers. */
struct image_index_disk {
	disk_le64 file_offset;
	disk_le64 stored_csum;
	disk_le64 first_byte;
	disk_le64 end_byte;
	disk_le32 stored_bytes;
	disk_le32 content_bytes;
	disk_le32 number;
	disk_le16 member;
	uint8_t kind;
	uint8_t method;
};

/* Stored bytes of HOLES: sectors of the member that could not be read, ascending. */
struct image_hole_disk {
	disk_le64 first_sector;
	disk_le64 sectors;
};

DISK_AT(struct image_block_disk, csum, 0x08, 8);
DISK_AT(struct image_block_disk, kind, 0x18, 4);
DISK_AT(struct image_block_disk, stored_bytes, 0x20, 4);
DISK_AT(struct image_block_disk, first_byte, 0x28, 8);
DISK_AT(struct image_block_disk, member, 0x38, 2);
DISK_AT(struct image_block_disk, id, 0x3c, 4);
DISK_SIZE(struct image_block_disk, 64);
DISK_AT(struct image_head_disk, stamp, 0x10, 8);
DISK_SIZE(struct image_head_disk, 32);
DISK_AT(struct image_member_disk, name, 0x10, 112);
DISK_SIZE(struct image_member_disk, 128);
DISK_AT(struct image_index_disk, stored_bytes, 0x20, 4);
DISK_AT(struct image_index_disk, method, 0x2f, 1);
DISK_SIZE(struct image_index_disk, 48);
DISK_SIZE(struct image_hole_disk, 16);

#endif
