/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking a set: passes that fill a report, and the verdict. */
#ifndef BCFMT_CHECK_H
#define BCFMT_CHECK_H

#include <bcfmt/base.h>
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
	enum bcfmt_certainty certainty;
	enum bcfmt_safety safe_alone; /* may the backing device run without the cache */
	const char *reason;     /* static sentence for safe_alone */
};

enum bcfmt_registers { BCFMT_REGISTERS_UNKNOWN, BCFMT_REGISTERS_YES, BCFMT_REGISTERS_NO };

/* Freed with bcfmt_verdict_clear(). */
struct bcfmt_verdict {
	/* Live entries, inodes with dirty data, given backing devices that no entry names. */
	struct bcfmt_verdict_device *devices;
	size_t n_devices;
	uint64_t unplaced_inodes; /* inodes with dirty data beyond those listed (hostile tables) */
	uint64_t unplaced_dirty_bytes;
	enum bcfmt_registers registers; /* would a kernel register the set */
	const char *first_lines[8];     /* lines that it may print first; static, from the table */
	size_t n_first_lines;
	uint64_t nodes;
	uint64_t leaves;
	uint64_t extents;
	uint64_t replay_entries;
	uint64_t replay_keys;
	uint64_t free_buckets;
	uint64_t spilled_bytes;         /* temporary files */
	bool is_complete;               /* every node was read */
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
