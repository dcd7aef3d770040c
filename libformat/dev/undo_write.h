/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of an undo file that is being written. */
#ifndef DEV_UNDO_WRITE_H
#define DEV_UNDO_WRITE_H

#include "base/vec.h"
#include "dev/range_map.h"
#include "dev/undo_impl.h"

struct undo_target {
	struct bcfmt_dev *dev;	/* borrowed */
	struct range_map saved; /* sectors; the values mean nothing */
};

/* A range of one kind that becomes one record. */
struct undo_run {
	enum undo_type type;
	uint32_t flags;
	uint32_t device;
	uint64_t first_sector;
	uint64_t sectors; /* 0: none */
};

struct bcfmt_undo {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *store; /* NULL after finish */
	bool is_store_owned;
	bool is_marked;	  /* nothing was written since the last mark */
	bcfmt_err failed; /* of the first write that did; it stays so */
	uint8_t id[BCFMT_UUID_BYTES];
	uint64_t next_bytes;
	uint64_t next_index;
	uint64_t next_mark;
	struct vec targets;	 /* of struct undo_target */
	struct undo_run pending; /* zeros that were and will be, and may go on */
	uint8_t *piece;		 /* UNDO_PIECE_BYTES: what the device holds */
	uint8_t *csums[2];	 /* UNDO_CSUMS_BYTES_MAX each, of old and new contents */
};

struct undo_target *undo_target_at(const struct bcfmt_undo *undo, size_t i);
/* Whether the file can still be written to. */
bcfmt_err undo_check_open(const struct bcfmt_undo *undo);
/* Appends a record; the two parts of its payload are whole sectors, or nothing. */
bcfmt_err undo_put_record(struct bcfmt_undo *undo, struct undo_header *header, const void *first,
			  uint64_t first_bytes, const void *second, uint64_t second_bytes);
/* old: what the sectors hold, new: what they will; NULL where the flags of the run say it. */
bcfmt_err undo_put_run(struct bcfmt_undo *undo, const struct undo_run *run, const uint8_t *old,
		       const uint8_t *new);

#endif
