/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Layout of undo files, and what the writer and the reader of them share. */
#ifndef DEV_UNDO_IMPL_H
#define DEV_UNDO_IMPL_H

#include <bcfmt/super.h>
#include <bcfmt/undo.h>

#include "base/runs.h"
#include "base/vec.h"

/*
 * A header of type BEGIN, two places for a MARK, and a row of records: each one sector of header and
 * whole sectors of payload, all little-endian. Records are appended and never changed. A MARK says
 * how many bytes of the file were durable when it was written; the two are written in turn, each
 * in a block of its own, and the one with the higher index counts. bcache-undo(5) has it all.
 */
#define UNDO_VERSION 1u
#define UNDO_HEADER_BYTES 512u
#define UNDO_MARKS 2u
#define UNDO_MARK_AT(i) (4096u * ((i) + 1))
#define UNDO_RECORDS_AT 12288u

enum undo_type {
	UNDO_BEGIN = 1,
	UNDO_MARK = 2,
	UNDO_DEVICE = 3, /* a device that will be changed */
	UNDO_IDENT = 4,	 /* which superblock it is going to have */
	UNDO_SAVE = 5,	 /* what sectors hold that were not saved before, and will hold */
	UNDO_AGAIN = 6,	 /* checksums of the same for sectors that were */
};

/* Flags of SAVE and AGAIN. */
#define UNDO_OLD_IS_ZERO 0x1u /* no first part of the payload: all zeros */
#define UNDO_NEW_IS_ZERO 0x2u /* no second part: all zeros */
#define UNDO_NEW_IS_OLD 0x4u  /* no second part: nothing is going to be written */
#define UNDO_FLAGS_ALL 0x7u

/* A record with payload covers at most so many sectors; one without, any number. */
#define UNDO_PIECE_SECTORS 2048u
#define UNDO_PIECE_BYTES (UNDO_PIECE_SECTORS * BCFMT_SECTOR_BYTES)
#define UNDO_CSUM_BYTES 8u
#define UNDO_CSUMS_BYTES_MAX (UNDO_PIECE_SECTORS * UNDO_CSUM_BYTES)

/* The sector that makes a device one of bcache: magic and checksum are in it. */
#define UNDO_SUPER_SECTOR (BCFMT_SUPER_OFFSET_BYTES / BCFMT_SECTOR_BYTES)

/* One header; which members mean something depends on the type. */
struct undo_header {
	enum undo_type type;
	uint32_t device;
	uint64_t index;	       /* of records from 0, of marks from 1 */
	uint64_t offset_bytes; /* of itself, in the file */
	uint64_t payload_bytes;
	uint64_t payload_csum;

	/* BEGIN */
	uint32_t version;
	uint64_t created_seconds;
	char reason[BCFMT_UNDO_TEXT_BYTES];
	char program_version[BCFMT_UNDO_TEXT_BYTES];
	/* MARK */
	uint64_t marked_bytes;
	bool is_complete;
	/* DEVICE; IDENT has ident only */
	uint64_t device_bytes;
	uint32_t logical_block_bytes;
	char name[BCFMT_UNDO_NAME_BYTES];
	struct bcfmt_undo_ident ident;
	/* SAVE, AGAIN */
	uint64_t first_sector;
	uint64_t sectors;
	uint32_t flags;
};

void undo_header_encode(const struct undo_header *header, const uint8_t id[BCFMT_UUID_BYTES],
			uint8_t raw[UNDO_HEADER_BYTES]);
/* False when raw is no header with a right checksum. *id is borrowed from raw. */
bool undo_header_decode(const uint8_t raw[UNDO_HEADER_BYTES], struct undo_header *header,
			const uint8_t **id);

/*
 * The two parts of the payload of a SAVE or AGAIN record, in bytes, each padded to whole sectors:
 * old contents (SAVE) or their checksums (AGAIN), and checksums of the new contents. sectors is at
 * most UNDO_PIECE_SECTORS unless both are 0.
 */
uint64_t undo_old_bytes(enum undo_type type, uint32_t flags, uint64_t sectors);
uint64_t undo_new_bytes(uint32_t flags, uint64_t sectors);

/* One checksum a sector, as the payload has them. */
void undo_csums(const uint8_t *bytes, size_t sectors, uint8_t *csums);
/* Of a sector of zeros. */
uint64_t undo_zero_csum(void);

/* What a superblock says: BCFMT_SUPER_BYTES at raw. Role OTHER when it has no magic. */
void undo_ident_of(const uint8_t *raw, struct bcfmt_undo_ident *ident);
/* Whether the first sector of a superblock has the magic. */
bool undo_is_super_sector(const uint8_t *sector);
/* What stands in the first superblock sector of a device while its body is put back. */
void undo_stamp(const uint8_t id[BCFMT_UUID_BYTES], uint32_t device,
		uint8_t sector[BCFMT_SECTOR_BYTES]);

/* ---- reading ---- */

/* One SAVE or AGAIN record, as the index has them: by device, first sector, place in the file. */
struct undo_extent {
	uint64_t start_sector;
	uint64_t end_sector;
	uint64_t offset_bytes; /* of its header */
	uint32_t device;
	uint16_t type; /* UNDO_SAVE or UNDO_AGAIN */
	uint16_t flags;
};

struct undo_file_device {
	struct bcfmt_undo_device info;
	uint64_t first_extent; /* in the index */
	uint64_t n_extents;
	bool has_super_sector; /* it is saved */
	struct bcfmt_dev *dev; /* borrowed; NULL until matched */
	bool is_guess;	       /* another dev would have fitted as well */
	struct bcfmt_undo_tally tally;
	uint64_t differing_outside_super; /* sectors */
};

struct bcfmt_undo_file {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *store;
	bool is_store_owned;
	bool is_checked;
	struct bcfmt_undo_info info;
	uint64_t marked_bytes; /* all before was durable before it was overwritten on a device */
	struct vec devices;    /* of struct undo_file_device */
	struct runs *extents;
	uint64_t needed_sectors; /* that are saved, of all devices */
	uint64_t done_sectors;	 /* of a pass, for progress */
	uint8_t *now;		 /* UNDO_PIECE_BYTES: what a device holds */
	uint8_t *old;		 /* UNDO_PIECE_BYTES: what was saved */
	uint8_t *csums;		 /* UNDO_CSUMS_BYTES_MAX: of what the device holds */
	uint8_t *wanted;	 /* UNDO_CSUMS_BYTES_MAX: of what it may hold */
	uint8_t *states;	 /* UNDO_PIECE_SECTORS of enum bcfmt_undo_state */
};

struct undo_file_device *undo_file_device_at(const struct bcfmt_undo_file *file, size_t i);

/* Of AGAIN records that cover one sector the last so many count. */
#define UNDO_AGAIN_MAX 256u

/* Sectors that are covered by the same records. */
struct undo_segment {
	uint64_t start_sector;
	uint64_t end_sector;
	struct undo_extent save;
	struct undo_extent again[UNDO_AGAIN_MAX]; /* in the order of the file */
	size_t n_again;
};
typedef bcfmt_err (*undo_segment_fn)(void *arg, const struct undo_segment *segment);
/*
 * Calls fn for all segments of a device in ascending order, until it does not return OK; returns
 * that. E_DAMAGED when sectors are in two SAVE records, or in none but in an AGAIN record. Bounded
 * by twice the number of records.
 */
bcfmt_err undo_sweep(struct bcfmt_undo_file *file, size_t device, undo_segment_fn fn, void *arg);

/* The order in which sectors are put back. */
enum undo_class {
	UNDO_BODY,
	UNDO_EDGE,  /* the first and last 128 KiB: what identifies a device lies there */
	UNDO_SUPER, /* the first sector of a bcache superblock */
};
#define UNDO_CLASS(class) (1u << (class))
#define UNDO_CLASSES_ALL 0x7u

/* Sectors of one segment and one class. */
struct undo_piece {
	size_t device;
	uint64_t first_sector;
	uint64_t sectors; /* at most UNDO_PIECE_SECTORS unless all are as before */
	enum undo_class class;
	const uint8_t *states; /* NULL: all are as before; else of each: enum bcfmt_undo_state */
	const uint8_t *old;    /* what was saved, where there are states */
};
typedef bcfmt_err (*undo_piece_fn)(void *arg, const struct undo_piece *piece);
/*
 * Compares dev with what was saved of a device, and calls fn for all pieces of the classes in the
 * mask, in ascending order, until it does not return OK; returns that.
 */
bcfmt_err undo_walk(struct bcfmt_undo_file *file, size_t device, struct bcfmt_dev *dev,
		    unsigned int classes, undo_piece_fn fn, void *arg);

#endif
