/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking a set: passes that fill a report, and the verdict. */
#ifndef BCFMT_CHECK_H
#define BCFMT_CHECK_H

#include <bcfmt/base.h>
#include <bcfmt/loss.h>
#include <bcfmt/problem.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

enum bcfmt_check_level { BCFMT_LEVEL_QUICK, BCFMT_LEVEL_FULL, BCFMT_LEVEL_DATA };

struct bcfmt_check_params {
	enum bcfmt_check_level level;
	unsigned int kernel;  /* major * 1000 + minor to predict for; 0: all known series */
	uint32_t page_bytes;  /* of that kernel's machine; 0: 4096 */
};

/* How sure a number of the verdict is. */
enum bcfmt_certainty { BCFMT_UNKNOWN, BCFMT_AT_LEAST, BCFMT_EXACT };
enum bcfmt_safety { BCFMT_SAFETY_UNKNOWN, BCFMT_SAFE, BCFMT_NOT_SAFE };

/* What the cache holds for one inode: a backing device, a volume, or nobody. */
struct bcfmt_verdict_device {
	uint32_t inode;         /* when has_inode: a given backing device may be in no table */
	bool has_inode;
	bool has_entry;         /* a live uuid entry; else uuid is that of the slot or device */
	bool is_flash_only;
	uint8_t uuid[BCFMT_UUID_BYTES];
	char label[BCFMT_LABEL_BYTES + 1];
	const struct bcfmt_member *member; /* the given backing device; NULL when not given */
	uint64_t dirty_bytes;     /* without redirtied ones */
	uint64_t redirtied_bytes; /* written back, but a kernel's replay makes them dirty again */
	uint64_t clean_bytes;
	uint64_t lost_bytes;    /* dirty, pointing to reused buckets */
	/*
	 * Bytes that may be older than what was written, as the verdict's losses name them;
	 * BCFMT_NO_NUMBER where they were not looked for or the end of the device is not known.
	 */
	uint64_t doubtful_bytes;
	enum bcfmt_certainty certainty;
	enum bcfmt_safety safe_alone; /* may the backing device run without the cache */
	const char *reason;     /* static sentence for safe_alone */
};

enum bcfmt_registers { BCFMT_REGISTERS_UNKNOWN, BCFMT_REGISTERS_YES, BCFMT_REGISTERS_NO };

/* Steps of a registration in the order of the kernel's register_bcache() and run_cache_set(). */
enum bcfmt_stage {
	BCFMT_STAGE_SUPER,    /* read_super() */
	BCFMT_STAGE_ALLOC,    /* cache_alloc(); of a backing device cached_dev_init() */
	BCFMT_STAGE_JOURNAL,  /* bch_journal_read() */
	BCFMT_STAGE_PRIOS,    /* prio_read() */
	BCFMT_STAGE_ROOT_PTR, /* the root's pointer in the newest entry */
	BCFMT_STAGE_ROOT,     /* the root itself is read */
	BCFMT_STAGE_UUIDS,    /* uuid_read() */
	BCFMT_STAGE_TREE,     /* bch_btree_check(): all other nodes, on several threads */
	BCFMT_STAGE_MARK,     /* bch_journal_mark() */
	BCFMT_STAGE_START,    /* bch_initial_gc_finish(), the allocator; a fresh set is made */
	BCFMT_STAGE_REPLAY,   /* bch_journal_replay() */
	BCFMT_STAGE_ATTACH,   /* bch_cached_dev_attach(), flash-only volumes */
	BCFMT_STAGE_RUNNING,  /* registered; what comes later */
};
BCFMT_API const char *bcfmt_stage_name(enum bcfmt_stage stage); /* "root-pointer" */

/* How a registration can end. */
enum bcfmt_outcome {
	BCFMT_OUTCOME_UNKNOWN,        /* not enough was read, or several are possible */
	BCFMT_OUTCOME_REGISTERS,      /* cache: the set runs; backing device: attached to it */
	BCFMT_OUTCOME_UNCACHED,       /* backing device: its volume runs without the cache */
	BCFMT_OUTCOME_WAITS,          /* backing device: registered, no volume until its set runs */
	BCFMT_OUTCOME_REFUSES_DEVICE, /* its superblock is not taken */
	BCFMT_OUTCOME_STOPS_SET,      /* an error shuts the set down */
	BCFMT_OUTCOME_OOPS,           /* BUG, oops, memory overrun */
	BCFMT_OUTCOME_HANGS,
};
BCFMT_API const char *bcfmt_outcome_name(enum bcfmt_outcome outcome); /* "stops-set" */

/* What happens all the same, or later, to data or kernel; the problem's KERNEL rows tell more. */
struct bcfmt_prediction_effect {
	enum bcfmt_effect effect;
	enum bcfmt_problem_id id;
};

#define BCFMT_PREDICTION_LINES	 32u
#define BCFMT_PREDICTION_FOLLOWS 4u
#define BCFMT_PREDICTION_EFFECTS 32u

/*
 * What a kernel does with one of the given devices. Lines are without the kernel's prefix and, of
 * errors of the set, without "error on UUID: " before and ", disabling caching" behind; values that
 * are not determined stand as %-conversions.
 */
struct bcfmt_prediction {
	unsigned int kernel;  /* major * 1000 + minor */
	uint32_t page_bytes;
	const struct bcfmt_member *member;
	enum bcfmt_registers registers;
	enum bcfmt_outcome outcome; /* where several are possible and none is to register, the usual */
	unsigned int outcomes; /* all that are possible: bits 1 << enum bcfmt_outcome */
	enum bcfmt_stage stage; /* the last that is surely reached */
	/*
	 * Lines of which one is the first to tell of the failure, all of them when several threads
	 * race or what decides is not on the disks. Where the device may register all the same, none
	 * need come.
	 */
	char *first_lines[BCFMT_PREDICTION_LINES];
	size_t n_first_lines;
	char *follow_lines[BCFMT_PREDICTION_FOLLOWS]; /* that come after it */
	size_t n_follow_lines;
	struct bcfmt_prediction_effect effects[BCFMT_PREDICTION_EFFECTS];
	size_t n_effects;
};

/* Freed with bcfmt_verdict_clear(). */
struct bcfmt_verdict {
	/* Live entries, inodes with dirty data, given backing devices that no entry names. */
	struct bcfmt_verdict_device *devices;
	size_t n_devices;
	uint64_t unplaced_inodes; /* inodes with dirty data beyond those listed (hostile tables) */
	uint64_t unplaced_dirty_bytes;
	enum bcfmt_registers registers; /* would every kernel asked for register the set */
	const char *first_lines[8];     /* lines they may print first; into the predictions */
	size_t n_first_lines;
	/* Of the cache for every kernel, then of every backing device. Empty without devices. */
	struct bcfmt_prediction *predictions;
	size_t n_predictions;
	uint64_t nodes;
	uint64_t leaves;
	uint64_t extents;
	uint64_t replay_entries;
	uint64_t replay_keys;
	uint64_t free_buckets;
	uint64_t spilled_bytes;         /* temporary files */
	bool is_complete;               /* every node was read, and nothing is doubtful */
	struct bcfmt_losses *losses;    /* finished; NULL: the leaves were not walked */
};

/* Time and memory of one pass. */
struct bcfmt_pass_stat {
	const char *name; /* static */
	double seconds;
	uint64_t read_bytes; /* metadata read by the pass, 0 when not counted */
};
#define BCFMT_PASSES_MAX 8u

/*
 * Runs all passes of the level over set (which has no write access), adds to report, fills
 * *verdict. stats may be NULL, else BCFMT_PASSES_MAX entries; *n_stats is set. Findings are not
 * errors; errors are E_NOMEM, E_CANCELLED, E_SYSTEM (temporary files).
 */
BCFMT_API bcfmt_err bcfmt_check_run(struct bcfmt_set *set, const struct bcfmt_check_params *params,
				    struct bcfmt_report *report, struct bcfmt_verdict *verdict,
				    struct bcfmt_pass_stat *stats, size_t *n_stats);
BCFMT_API void bcfmt_verdict_clear(struct bcfmt_verdict *verdict);

BCFMT_END_DECLS

#endif
