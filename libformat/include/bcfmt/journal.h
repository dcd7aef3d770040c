/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The journal ring: every entry that is on the disk, and what a kernel makes of it. */
#ifndef BCFMT_JOURNAL_H
#define BCFMT_JOURNAL_H

#include <bcfmt/base.h>
#include <bcfmt/dev.h>
#include <bcfmt/geometry.h>
#include <bcfmt/jset.h>

BCFMT_BEGIN_DECLS

#define BCFMT_JOURNAL_PINS_MAX 32766u /* kernel: JOURNAL_PIN rounded up, open entries at most */
/*
 * Room for so many entries is taken to be enough for those that a kernel writes itself between the
 * replay of the first key and the write of its leaf: some for prios and for each device, and one for
 * each new root. It keeps one bucket of the ring free for them; where that has fewer blocks than
 * this, registration can hang (BC0222). Hangs were seen with room for two, none with four.
 */
#define BCFMT_JOURNAL_ROOM_ENTRIES 16u

struct bcfmt_journal_entry {
	uint64_t seq;
	uint64_t last_seq;
	uint64_t csum;       /* tells two entries with one seq apart */
	uint64_t prio_bucket;
	uint64_t root_ptr;
	uint64_t uuid_ptr;
	uint32_t keys_words;
	uint32_t sector;     /* in its journal bucket */
	uint32_t blocks;
	uint16_t ring_index;
	uint8_t level;
	bool is_in_sequence : 1; /* reached by reading its bucket from the start, as a kernel does */
	bool has_old_uuids : 1;  /* version 0: its uuid table has entries of 64 bytes */
	bool is_misnumbered : 1; /* seq is as on the disk, the right one is among the mended */
};

/* What is wrong with an entry that is known all the same. */
enum bcfmt_mend_kind {
	BCFMT_MEND_BIT,	  /* one bit, told by the checksum */
	BCFMT_MEND_MAGIC, /* the magic, under a right checksum */
	BCFMT_MEND_SEQ,	  /* the number, under a right checksum */
};
struct bcfmt_journal_mend {
	enum bcfmt_mend_kind kind;
	uint32_t offset_bytes; /* BIT: in the entry */
	uint8_t mask;
};
/* An entry that no kernel takes, by its place: entry.seq and csum are those of the mended one. */
struct bcfmt_journal_mended {
	struct bcfmt_journal_entry entry;
	struct bcfmt_journal_mend mend;
};

/* Where reading a bucket in sequence ended at something that has this set's magic. */
struct bcfmt_journal_stop {
	uint64_t seq;        /* as the damaged header claims */
	uint64_t last_seq;
	uint64_t bytes;
	uint32_t sector;
	uint16_t ring_index;
	enum bcfmt_jset_fault fault; /* TOO_BIG or CSUM */
};

struct bcfmt_journal {
	struct bcfmt_dev *dev;           /* borrowed */
	struct bcfmt_geometry geo;
	struct bcfmt_journal_entry *entries; /* valid ones, by (seq, ring_index, sector) */
	size_t n_entries;
	/* Of the numbers that no entry has, those that are proved by the entries beside them. */
	struct bcfmt_journal_mended *mended; /* by seq */
	size_t n_mended;
	struct bcfmt_journal_stop *stops;
	size_t n_stops;
	struct bcfmt_bad_read bad_read;  /* over the whole ring */
	bool is_other_endian;            /* a big-endian machine wrote the ring */
	bool is_capped;                  /* more entries than are kept: no real ring has so many */
	bool has_entries;
	size_t newest;                   /* index: highest seq; of equals, in sequence first */
	/* What the search of a 6.x kernel ends with (FORMAT 6.4): indexes into entries by seq. */
	size_t *kernel_list;
	size_t n_kernel;
	uint32_t kernel_ring_index;      /* it writes on after this one */
};

/*
 * Reads the whole ring of the cache and simulates the kernel's search. Damage is told in *out;
 * errors are E_NOMEM, E_CANCELLED. Frees with bcfmt_journal_clear(). dev must outlive *out.
 * kernel: bch_journal_read(), journal_read_bucket().
 */
BCFMT_API bcfmt_err bcfmt_journal_read(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
				       const struct bcfmt_geometry *geo,
				       struct bcfmt_journal *out);
BCFMT_API void bcfmt_journal_clear(struct bcfmt_journal *journal);

/*
 * Reads entry index again. *buf is grown with realloc() and freed by the caller; out->keys
 * points into it. E_DAMAGED when it no longer verifies.
 */
BCFMT_API bcfmt_err bcfmt_journal_entry_load(const struct bcfmt_journal *journal, size_t index,
					     uint8_t **buf, size_t *buf_bytes,
					     struct bcfmt_jset *out);
/* The same for the mended entry `seq`; END when there is none. */
BCFMT_API bcfmt_err bcfmt_journal_mended_load(const struct bcfmt_journal *journal, uint64_t seq,
					      uint8_t **buf, size_t *buf_bytes,
					      struct bcfmt_jset *out);
/* The mended entry `seq`, NULL when there is none. */
BCFMT_API const struct bcfmt_journal_mended *bcfmt_journal_mended_at(
	const struct bcfmt_journal *journal, uint64_t seq);
/*
 * Index of the entry with this seq (in sequence preferred); END when there is none. Of those that
 * are misnumbered nothing is told.
 */
BCFMT_API bcfmt_err bcfmt_journal_find(const struct bcfmt_journal *journal, uint64_t seq,
				       size_t *index);
/* Absolute sector of an entry on the cache. */
BCFMT_API uint64_t bcfmt_journal_entry_sector(const struct bcfmt_journal *journal, size_t index);

/* Two histories of one set in one ring: an old one that was never wiped (FORMAT 11.3). */
struct bcfmt_journal_histories {
	bool is_found;
	bool is_proved;            /* by the prio sequence: newer_seq names the newer history */
	uint64_t newer_seq;        /* newest entry of the history written last; 0 when unknown */
	uint64_t older_seq;        /* newest entry of the other, which a kernel would take */
	uint64_t prio_seq_found;   /* in the prio set that the kernel's newest entry names */
	uint64_t prio_seq_least;   /* the least that a single history would have there */
	char evidence[160];        /* one sentence, values named */
};
/* Looks for them; reads prio set headers. E_NOMEM. */
BCFMT_API bcfmt_err bcfmt_journal_histories(struct bcfmt_ctx *ctx,
					    const struct bcfmt_journal *journal,
					    struct bcfmt_journal_histories *out);

BCFMT_END_DECLS

#endif
