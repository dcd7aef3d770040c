/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A cache set as it lies on its devices: members, journal, prios, uuids, bucket map. */
#ifndef BCFMT_SET_H
#define BCFMT_SET_H

#include <bcfmt/base.h>
#include <bcfmt/dev.h>
#include <bcfmt/geometry.h>
#include <bcfmt/journal.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>

BCFMT_BEGIN_DECLS

struct found;

enum bcfmt_role { BCFMT_ROLE_AUTO, BCFMT_ROLE_CACHE, BCFMT_ROLE_BACKING };

/* A device with its superblock. The device is borrowed and outlives the set. */
struct bcfmt_member {
	struct bcfmt_dev *dev;
	enum bcfmt_role role;
	struct bcfmt_super super;
	bool is_readable;       /* the superblock's sector could be read */
	bool has_magic;         /* it is a bcache superblock, right or wrong */
	uint32_t faults;        /* enum bcfmt_super_fault; judged for the set's page size */
};

/* What a bucket is used for; several bits at once are a conflict or an accumulated fact. */
enum bcfmt_use {
	BCFMT_USE_RESERVED = 1u << 0, /* below first_bucket */
	BCFMT_USE_JOURNAL = 1u << 1,
	BCFMT_USE_PRIO = 1u << 2,     /* of the current chain */
	BCFMT_USE_UUID = 1u << 3,
	BCFMT_USE_NODE = 1u << 4,
	BCFMT_USE_CLEAN = 1u << 5,    /* holds live data, by the last walk over all leaves */
	BCFMT_USE_DIRTY = 1u << 6,
	BCFMT_USE_DAMAGED = 1u << 7,  /* a finding names it */
};
#define BCFMT_USE_METADATA \
	(BCFMT_USE_JOURNAL | BCFMT_USE_PRIO | BCFMT_USE_UUID | BCFMT_USE_NODE | BCFMT_USE_RESERVED)

/* The only state that grows with the device. */
struct bcfmt_bucket {
	uint16_t prio;
	uint8_t gen;      /* raised by every pointer seen (FORMAT 3.4) */
	uint8_t disk_gen; /* as the prio set has it */
	uint8_t use;      /* enum bcfmt_use */
	uint8_t gen_flags; /* of the library: how gen is known, whether pointers were judged by it */
	uint16_t sectors; /* live data sectors, saturating; of a node its level + 1 */
};

enum bcfmt_prio_state {
	BCFMT_PRIO_SET_OK = 0,
	BCFMT_PRIO_SET_CSUM,
	BCFMT_PRIO_SET_MAGIC,
	BCFMT_PRIO_SET_RANGE,    /* bucket number outside the device or below first_bucket */
	BCFMT_PRIO_SET_JOURNAL,  /* inside the journal */
	BCFMT_PRIO_SET_LOOP,     /* bucket named twice */
	BCFMT_PRIO_SET_UNREADABLE,
};

/* One link of the prio chain as it was followed; it ends at the first that is not OK. */
struct bcfmt_prio_link {
	uint64_t bucket;
	uint64_t csum;
	uint64_t csum_computed;
	uint64_t magic;
	uint64_t seq;
	enum bcfmt_prio_state state;
};

enum bcfmt_uuids_state {
	BCFMT_UUIDS_OK = 0,
	BCFMT_UUIDS_ABSENT,      /* no journal entry names a table */
	BCFMT_UUIDS_BAD_POINTER, /* __bch_btree_ptr_invalid() */
	BCFMT_UUIDS_BAD_SIZE,    /* not the meta bucket; read as far as it goes */
	BCFMT_UUIDS_UNREADABLE,
};

struct bcfmt_set {
	struct bcfmt_ctx *ctx; /* borrowed */
	struct bcfmt_member cache;
	struct bcfmt_member *backing;
	size_t n_backing;
	bool has_cache;

	bool has_geometry;     /* everything below is empty without */
	struct bcfmt_geometry geo;

	struct bcfmt_journal journal;
	struct bcfmt_journal_histories histories;
	bool is_shallow;       /* entries older than its replay window are no history */
	bool has_newest;       /* the entry that this set is read by */
	/*
	 * In use, and the journal has no entry: then tree, gens and uuid table are those that a search
	 * of the cache finds, see bcfmt_set_search(). newest is empty.
	 */
	bool is_without_journal;
	bool has_tree;         /* either of both, and the search has found anything */
	size_t newest_index;
	struct bcfmt_jset newest; /* header only, keys NULL */
	/*
	 * 0, or the number of an entry before it that proves that the newest cannot have version 0, as
	 * it says: versions only rise. newest.version is that of the other one then.
	 */
	uint64_t version_proof_seq;
	/*
	 * newest.btree_level is not what the entry says, said_level, but what older ones that name
	 * the very same root agree on: a node keeps its level as long as it lives.
	 */
	bool is_level_mended;
	uint16_t said_level;
	/*
	 * First entry to replay: newest.last_seq, or where that cannot be what entries before it
	 * prove. Above newest.seq when nothing is known.
	 */
	uint64_t window_seq;

	struct bcfmt_prio_link *prio_links;
	size_t n_prio_links;
	bool has_all_prios;
	/*
	 * Of what is missing then, gens come from the prio sets that entry prios_index names, raised
	 * by all pointers: right for dirty data; clean data is called stale.
	 */
	bool has_older_prios;
	size_t prios_index;       /* newest_index where has_all_prios */
	uint32_t prio_page_bytes; /* page size whose layout matched */

	enum bcfmt_uuids_state uuids_state;
	struct bcfmt_bad_read uuids_bad_read;
	struct bcfmt_uuid_entry *uuids; /* nr_uuids entries, zeroed when not read */
	uint32_t n_uuids;
	uint32_t n_older_uuids; /* slots of it that were taken from an older table ... */
	bool has_unproved_uuids; /* of devices that do not confirm it */
	uint64_t found_uuids_ptr; /* where bcfmt_set_search() found the table; 0: it did not */
	size_t uuids_index;     /* ... which this entry names */

	struct bcfmt_bucket *buckets; /* geo.nbuckets */

	struct found *found; /* of the library: what a search of the cache found; NULL: none was made */
};

struct bcfmt_set_params {
	uint32_t page_bytes;          /* 0: 4096 */
	const enum bcfmt_role *roles; /* one a device, NULL: all AUTO */
	uint64_t incarnation_seq;     /* read by the entry with this seq; 0: as a kernel would */
	bool is_shallow;              /* entries older than the replay window are not looked at */
};

/*
 * Reads everything but the tree. Damage never fails it: what could not be read is empty, and the
 * states tell why. E_ARG: no device, two caches (fault names them), a role that cannot be.
 * E_NOMEM, E_CANCELLED. A set has no write access; free with bcfmt_set_free().
 */
BCFMT_API bcfmt_err bcfmt_set_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *const *devs,
				   size_t n_devs, const struct bcfmt_set_params *params,
				   struct bcfmt_set **out);
/*
 * Searches the whole cache of a set without journal (is_without_journal; else nothing is done) for
 * its nodes, prio sets and uuid table. Where nothing has its magic number, has_tree is false
 * afterwards: the set uuid is a wrong one, or all was wiped. bcfmt_tree_open() calls it, too.
 * E_NOMEM, E_CANCELLED.
 */
BCFMT_API bcfmt_err bcfmt_set_search(struct bcfmt_set *set);
BCFMT_API void bcfmt_set_free(struct bcfmt_set *set);

/* The given backing device with this uuid, NULL when it was not given. */
BCFMT_API const struct bcfmt_member *bcfmt_set_backing(const struct bcfmt_set *set,
						       const uint8_t uuid[BCFMT_UUID_BYTES]);
/* Slot of the first live entry with this uuid; END when none. kernel: uuid_find(). */
BCFMT_API bcfmt_err bcfmt_set_inode(const struct bcfmt_set *set,
				    const uint8_t uuid[BCFMT_UUID_BYTES], uint32_t *inode);
/*
 * 0, or the number of the first entry behind the last gap among those to replay: what it and later
 * ones do not name may have been in the missing ones. kernel: bch_journal_replay().
 */
BCFMT_API uint64_t bcfmt_set_after_gap(const struct bcfmt_set *set);
/* Raises the bucket's gen to the pointer's, unless stale or of no use. kernel:
 * bch_initial_mark_key(). Thread-safe. */
BCFMT_API void bcfmt_set_raise_gen(struct bcfmt_set *set, uint64_t ptr);
/* How stale the pointer is, 0 = valid; 0 for pointers outside the map. kernel: ptr_stale(). */
BCFMT_API unsigned int bcfmt_set_stale(const struct bcfmt_set *set, uint64_t ptr);

BCFMT_END_DECLS

#endif
