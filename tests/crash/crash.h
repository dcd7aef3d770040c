/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States that a power cut could have left, and what has to hold in each of them. */
#ifndef CRASH_CRASH_H
#define CRASH_CRASH_H

#include <bcfmt/dev.h>
#include <bcfmt/set.h>
#include <bcfmt/write_log.h>

/* What became of the writes that nothing had made durable when the power went. */
enum loss {
	LOSE_NOTHING,
	LOSE_EVERYTHING,
	LOSE_SOME, /* whole writes, each with an even chance */
	LOSE_TORN, /* the same for every sector of every write */
	/*
	 * Nothing of them, but entry n, durable by itself, was on its way: some of its sectors
	 * are there, not all. A kernel knows torn journal entries, but not torn nodes.
	 */
	LOSE_IN_FLIGHT,
};

/* One state: after n entries, round chooses among the random ones. */
struct cut {
	uint32_t n;
	enum loss loss;
	unsigned int round;
};
#define CUT_NAME_BYTES 64u

struct states {
	struct bcfmt_ctx *ctx;
	struct bcfmt_dev *log_dev;
	struct bcfmt_write_log *log;
	struct bcfmt_dev *whole; /* all of the first n entries */
	struct bcfmt_dev *other; /* the same without what is lost */
	struct bcfmt_dev *next;	 /* n + 1 entries */
	uint8_t *left_out;	 /* a bit an entry */
	uint64_t bytes;		 /* of the device that was recorded */
};

/* bytes: size of the device that was recorded. False: the context's fault tells. */
bool states_open(struct states *states, struct bcfmt_ctx *ctx, const char *log_path,
		 uint64_t bytes);
void states_close(struct states *states);
/* Moves whole to the first n entries; n must not become less. */
bool states_advance(struct states *states, uint32_t n);
/* The same loss is possible in other ways: 0 when this one cannot be after cut->n entries. */
uint32_t states_losable(const struct states *states, const struct cut *cut);
/*
 * The device in this state; states must have been moved to cut->n. Valid until the next call.
 * *overlay is to be freed when it is not NULL. NULL: the context's fault tells.
 */
struct bcfmt_dev *states_make(struct states *states, const struct cut *cut,
			      struct bcfmt_dev **overlay);
const char *cut_name(const struct cut *cut, char out[CUT_NAME_BYTES]);
/* "N", "N,everything", "N,some,ROUND", "N,torn,ROUND", "N,in-flight,ROUND". */
bool cut_parse(const char *text, struct cut *cut);

/* Where each sector of the volume comes from. */
struct volume {
	uint64_t *ptr; /* pointer word for this very sector; 0: the backing device has it */
	uint64_t sectors;
	uint64_t data_offset_sectors;
	uint64_t dirty_sectors;
	uint32_t inode;
	/* Sectors of the inode that a key of any valid entry in the ring covers, by place. */
	struct bcfmt_key *journal_keys;
	size_t n_journal_keys;
	size_t journal_keys_cap;
};
bool volume_new(struct volume *volume, uint64_t backing_bytes, uint64_t data_offset_sectors);
void volume_free(struct volume *volume);
/* Resolves what set, which has been checked, holds for inode. False: the fault tells. */
bool volume_read(struct volume *volume, struct bcfmt_set *set, uint32_t inode);

struct difference {
	uint64_t compared; /* sectors of the volume */
	uint64_t read;	   /* of these, because place or contents could differ */
	uint64_t differ;
	uint64_t wrong; /* differ though a journal entry holds the key */
	uint64_t first_wrong_sector;
};
/*
 * Compares what two states read. is_changed tells which sectors of the cache may differ between
 * the two at all. A sector may read otherwise only under keys that no entry of either ring holds.
 */
bool volume_compare(const struct volume *a, struct bcfmt_dev *a_cache, const struct volume *b,
		    struct bcfmt_dev *b_cache, struct bcfmt_dev *backing, const uint8_t *is_changed,
		    struct difference *out);

#endif
