/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The problem table, findings, and the report that collects them. */
#ifndef BCFMT_PROBLEM_H
#define BCFMT_PROBLEM_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/key.h>

BCFMT_BEGIN_DECLS

enum bcfmt_severity {
	BCFMT_SEV_NOTE,      /* odd or worth knowing, no problem: never counts for the exit code */
	BCFMT_SEV_WASTE,     /* space or speed is lost, data is safe */
	BCFMT_SEV_ERROR,     /* metadata is wrong, data is not lost by it */
	BCFMT_SEV_DATA_LOSS, /* user data is gone, doubtful, or will be lost if a kernel goes on */
	BCFMT_SEV_FATAL,     /* the set cannot be read any further */
};

/* What a repair would do. */
enum bcfmt_repair {
	BCFMT_REPAIR_NONE,
	BCFMT_REPAIR_REWRITE_SUPER,
	BCFMT_REPAIR_REPLAY_JOURNAL, /* merge tree and journal, commit with one new entry */
	BCFMT_REPAIR_CHOOSE_HISTORY,
	BCFMT_REPAIR_REBUILD_PRIOS,
	BCFMT_REPAIR_REBUILD_UUIDS,
	BCFMT_REPAIR_REWRITE_NODE,
	BCFMT_REPAIR_REBUILD_TREE,
	BCFMT_REPAIR_DROP_KEY,
	BCFMT_REPAIR_ADOPT,
	BCFMT_REPAIR_SET_BACKING_STATE,
	BCFMT_REPAIR_FREE_BUCKETS,
};

enum bcfmt_consent {
	BCFMT_CONSENT_AUTO,  /* preen may do it: nothing can be lost */
	BCFMT_CONSENT_ASK,
	BCFMT_CONSENT_NEVER, /* only by an option of its own */
};

/* What a kernel does with such a set. */
enum bcfmt_effect {
	BCFMT_EFFECT_NONE,
	BCFMT_EFFECT_WARNS,
	BCFMT_EFFECT_REFUSES_DEVICE, /* the device is not registered */
	BCFMT_EFFECT_STOPS_SET,      /* registration of the set fails, or it is shut down */
	BCFMT_EFFECT_NOT_ATTACHED,   /* the backing device stays without its cache */
	BCFMT_EFFECT_SERVES_WRONG,   /* returns old or wrong data without a message */
	BCFMT_EFFECT_LOSES_WRITES,   /* drops dirty data without or with a message */
	BCFMT_EFFECT_OOPS,           /* BUG, oops, memory overrun */
	BCFMT_EFFECT_HANGS,
};

enum bcfmt_problem_id {
	BCFMT_P_NONE = 0,
#define PROBLEM(name, number, slug, severity, repair, consent, message, meaning) \
	BCFMT_P_##name = number,
#define KERNEL(name, since, until, effect, function, line)
#include <bcfmt/problems.def>
#undef PROBLEM
#undef KERNEL
};

/* One row of the table; all strings static. */
struct bcfmt_problem {
	enum bcfmt_problem_id id; /* printed as BC0105, never reused */
	const char *slug;
	enum bcfmt_severity severity;
	enum bcfmt_repair repair;
	enum bcfmt_consent consent;
	const char *message;      /* template: {name:type} */
	const char *meaning;      /* for --explain and the man page; sentences */
};

/* What kernels [since, until) do; versions as major * 1000 + minor, 0 open. */
struct bcfmt_kernel_effect {
	enum bcfmt_problem_id id;
	unsigned int since;
	unsigned int until;
	enum bcfmt_effect effect;
	const char *function; /* of the kernel, that the rule was read from */
	const char *line;     /* message it prints, "" for none; %llu and the like for values */
};

/* Rows sorted by number; *n rows. */
BCFMT_API const struct bcfmt_problem *bcfmt_problem_table(size_t *n);
BCFMT_API const struct bcfmt_kernel_effect *bcfmt_kernel_effect_table(size_t *n);
BCFMT_API const struct bcfmt_problem *bcfmt_problem_find(enum bcfmt_problem_id id);
/* By "BC0105", "bc105", "105" or slug; NULL when unknown. */
BCFMT_API const struct bcfmt_problem *bcfmt_problem_by_name(const char *name);
BCFMT_API const char *bcfmt_severity_name(enum bcfmt_severity severity); /* "data-loss" */
BCFMT_API const char *bcfmt_repair_name(enum bcfmt_repair repair);       /* "rewrite-super" */
BCFMT_API const char *bcfmt_consent_name(enum bcfmt_consent consent);    /* "ask" */
BCFMT_API const char *bcfmt_effect_name(enum bcfmt_effect effect);       /* "stops-set" */

/* A line that a kernel prints that says nothing of the state on disk, or only by itself. */
struct bcfmt_kernel_line {
	const char *pattern; /* fixed words; %s stands for any value */
	const char *meaning; /* what happened and what to do */
	enum bcfmt_problem_id id; /* the problem behind it, or BCFMT_P_NONE */
};
BCFMT_API const struct bcfmt_kernel_line *bcfmt_kernel_line_table(size_t *n);
/* The row that a line of dmesg (prefix, numbers and all) matches best; NULL when none does. */
BCFMT_API const struct bcfmt_kernel_line *bcfmt_kernel_line_find(const char *dmesg_line);

/* What on the devices a line of a kernel speaks of. */
enum bcfmt_place_kind {
	BCFMT_PLACE_NONE,    /* nothing, or the line does not say what */
	BCFMT_PLACE_SUPER,   /* superblocks */
	BCFMT_PLACE_JOURNAL, /* ring_index, sector in it; first_seq to last_seq; or all of it */
	BCFMT_PLACE_PRIOS,
	BCFMT_PLACE_UUIDS,
	BCFMT_PLACE_ROOT,
	BCFMT_PLACE_NODE,    /* bucket, block */
	BCFMT_PLACE_CHILD,   /* key: a pointer to a node */
	BCFMT_PLACE_EXTENT,  /* key; bucket where the line names it */
	BCFMT_PLACE_SECTOR,  /* sector of the device that is called so */
};
#define BCFMT_PLACE_DEVICE_BYTES 64u
struct bcfmt_kernel_place {
	enum bcfmt_place_kind kind;
	struct bcfmt_key key; /* its generation too; with has_key */
	bool has_key;
	/* BCFMT_NO_NUMBER where the line does not have them. */
	uint64_t bucket;
	uint64_t block;
	uint64_t ring_index;  /* of the journal */
	uint64_t first_seq;
	uint64_t last_seq;
	uint64_t sector;
	char device[BCFMT_PLACE_DEVICE_BYTES]; /* "" when unknown */
};
BCFMT_API const char *bcfmt_place_kind_name(enum bcfmt_place_kind kind); /* "node" */
/* What the line speaks of, from its own numbers; all kinds are possible for any text. */
BCFMT_API void bcfmt_kernel_line_place(const char *dmesg_line, struct bcfmt_kernel_place *out);

#define BCFMT_FINDING_ARGS 6u
#define BCFMT_FINDING_TEXT_BYTES 200u
#define BCFMT_NO_NUMBER UINT64_MAX

/* Types of message arguments; names as in the templates. */
enum bcfmt_arg_type {
	BCFMT_ARG_U64,    /* u64, and with a unit: sector, sectors, bytes, bucket, seq, gen */
	BCFMT_ARG_HEX,    /* hex: 0x and 16 digits */
	BCFMT_ARG_TEXT,   /* text */
};

struct bcfmt_arg {
	const char *name; /* static */
	enum bcfmt_arg_type type;
	uint64_t u64;
	const char *text; /* copied when reported; cut when the finding is full */
};
#define BCFMT_U64(name, value) ((struct bcfmt_arg){ name, BCFMT_ARG_U64, (value), NULL })
#define BCFMT_HEX(name, value) ((struct bcfmt_arg){ name, BCFMT_ARG_HEX, (value), NULL })
#define BCFMT_TEXT(name, value) ((struct bcfmt_arg){ name, BCFMT_ARG_TEXT, 0, (value) })

/* Where it is. Unknown numbers are BCFMT_NO_NUMBER, unknown names NULL. */
struct bcfmt_where {
	const char *device;    /* name as opened; borrowed from a device that outlives the report */
	const char *structure; /* static: "super" "journal" "prio" "uuid" "node" "key" "data" "set" */
	const char *field;     /* static */
	uint64_t sector;       /* of the device */
	uint64_t bucket;
	uint64_t block;        /* bset in its node */
	uint64_t key;          /* word index of the key in its set */
};
#define BCFMT_WHERE_INIT \
	{ NULL, NULL, NULL, BCFMT_NO_NUMBER, BCFMT_NO_NUMBER, BCFMT_NO_NUMBER, BCFMT_NO_NUMBER }

struct bcfmt_finding {
	const struct bcfmt_problem *problem;
	struct bcfmt_where where;
	struct bcfmt_arg args[BCFMT_FINDING_ARGS];
	uint32_t n_args;
	char text[BCFMT_FINDING_TEXT_BYTES]; /* holds the text arguments */
};

struct bcfmt_report;

/* Findings of one problem beyond this many are counted, not kept; those kept come first in order. */
#define BCFMT_FINDINGS_KEPT 256u

BCFMT_API bcfmt_err bcfmt_report_new(struct bcfmt_ctx *ctx, struct bcfmt_report **out);
BCFMT_API void bcfmt_report_free(struct bcfmt_report *report);
/*
 * Adds a finding; thread-safe. Names and types of the arguments must be those of the template:
 * anything else is E_ARG with a fault (a bug of the caller, caught by the tests).
 */
BCFMT_API bcfmt_err bcfmt_report_add(struct bcfmt_report *report, enum bcfmt_problem_id id,
				     const struct bcfmt_where *where, size_t n_args,
				     const struct bcfmt_arg *args);
/* Forgets all findings whose problem number lies in [from, to). */
BCFMT_API void bcfmt_report_forget(struct bcfmt_report *report, unsigned int from,
				   unsigned int to);
/* Sorts and drops what only follows from another finding. Call once, before reading. */
BCFMT_API void bcfmt_report_finish(struct bcfmt_report *report);

/* Findings kept, sorted by problem and place. */
BCFMT_API size_t bcfmt_report_count(const struct bcfmt_report *report);
BCFMT_API const struct bcfmt_finding *bcfmt_report_at(const struct bcfmt_report *report, size_t i);
/* All findings of a problem, those not kept included. */
BCFMT_API uint64_t bcfmt_report_total(const struct bcfmt_report *report, enum bcfmt_problem_id id);
/* Findings of this severity, those not kept included. */
BCFMT_API uint64_t bcfmt_report_severity_total(const struct bcfmt_report *report,
					       enum bcfmt_severity severity);
/* Dropped as consequences of other findings. */
BCFMT_API uint64_t bcfmt_report_suppressed(const struct bcfmt_report *report);

/* The finding's sentence, without place; cut at out_bytes. Returns the length. */
BCFMT_API size_t bcfmt_finding_message(const struct bcfmt_finding *finding, char *out,
				       size_t out_bytes);

BCFMT_END_DECLS

#endif
