/* SPDX-License-Identifier: GPL-2.0-or-later */
/* States that a power cut could have left, out of a log of writes. */
#ifndef KIT_STATES_H
#define KIT_STATES_H

#include <bcfmt/dev.h>
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
	struct bcfmt_dev *owned_log_dev; /* NULL: somebody else's */
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
/* The same of a log that is open, and borrowed. */
bool states_open_dev(struct states *states, struct bcfmt_ctx *ctx, struct bcfmt_dev *log_dev,
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

#endif
