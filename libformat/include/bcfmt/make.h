/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Formatting cache and backing devices. A plan is made first and changes nothing: it says what
 * speaks against it, what would be written where, and in which order. Showing it, saving what it
 * overwrites, carrying it out and looking whether it was carried out all go by the same steps.
 */
#ifndef BCFMT_MAKE_H
#define BCFMT_MAKE_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/probe.h>
#include <bcfmt/super.h>
#include <bcfmt/undo.h>

BCFMT_BEGIN_DECLS

#define BCFMT_MAKE_BUCKET_BYTES (512u << 10) /* default */
#define BCFMT_MAKE_DATA_OFFSET 16u           /* sectors; default and least */
#define BCFMT_MAKE_BLOCK_BYTES_MAX 4096u     /* a page: what every kernel takes */
#define BCFMT_MAKE_BUCKET_BYTES_MAX (2ull << 30)

enum bcfmt_replacement { BCFMT_REPLACE_LRU, BCFMT_REPLACE_FIFO, BCFMT_REPLACE_RANDOM };

/* One device to format. */
struct bcfmt_make_device {
	struct bcfmt_dev *dev; /* borrowed; writable only for bcfmt_make_commit() */
	bool is_backing;
	uint8_t uuid[BCFMT_UUID_BYTES];
	struct bcfmt_topology topology;
	const struct bcfmt_signature *signatures; /* found on it; borrowed */
	size_t n_signatures;
};

struct bcfmt_make_params {
	uint64_t block_bytes;         /* 0: the largest preferred block of all devices, at most 4096 */
	uint64_t bucket_bytes;        /* 0: BCFMT_MAKE_BUCKET_BYTES */
	uint64_t data_offset_sectors; /* 0: 16, of a device with zones its first zone */
	uint8_t set_uuid[BCFMT_UUID_BYTES];
	bool is_set_uuid_given;       /* it may have been used before */
	bool is_set_running;          /* the kernel has it: bcfmt_host_has_set() */
	uint32_t set_block_bytes;     /* of its cache; 0: not known */
	const char *label;            /* of all devices, at most 31 bytes; NULL: none */
	enum bcfmt_replacement replacement;
	bool is_writeback;
	bool is_discard;              /* the flag of the cache */
	bool may_discard;             /* discard the cache device as well */
	bool may_wipe_bcache;         /* overwrite a bcache superblock */
	bool may_overwrite;           /* overwrite what libblkid recognises, and erase its magic */
	uint32_t host_page_bytes;     /* of the machine that will use it; 0: not known */
};

enum bcfmt_make_level {
	BCFMT_MAKE_NOTE,
	BCFMT_MAKE_WARNING,
	BCFMT_MAKE_REFUSAL,
};

/* What there is to say; the second column is the name of bcfmt_make_issue_name(). */
#define BCFMT_MAKE_ISSUES(ISSUE) \
	ISSUE(BLOCK_SIZE, "block-size") \
	ISSUE(BLOCK_BELOW_DEVICE, "block-below-device") \
	ISSUE(BLOCK_BELOW_PHYSICAL, "block-below-physical") \
	ISSUE(BLOCK_BELOW_SET, "block-below-set") \
	ISSUE(BUCKET_SIZE, "bucket-size") \
	ISSUE(BUCKET_BELOW_PAGE, "bucket-below-page") \
	ISSUE(BUCKET_FEW_BLOCKS, "bucket-few-blocks") \
	ISSUE(FEW_BUCKETS, "few-buckets") \
	ISSUE(DATA_OFFSET, "data-offset") \
	ISSUE(DEVICE_TOO_SMALL, "device-too-small") \
	ISSUE(NO_KERNEL, "no-kernel") \
	ISSUE(SEVERAL_CACHES, "several-caches") \
	ISSUE(ZERO_UUID, "zero-uuid") \
	ISSUE(DUPLICATE_UUID, "duplicate-uuid") \
	ISSUE(SET_UUID_REUSED, "set-uuid-reused") \
	ISSUE(SET_RUNNING, "set-running") \
	ISSUE(IS_BCACHE, "is-bcache") \
	ISSUE(ON_BCACHE, "on-bcache") \
	ISSUE(SIGNATURE, "signature") \
	ISSUE(STRIPES_OVERFLOW, "stripes-overflow") \
	ISSUE(STRIPES_MANY, "stripes-many") \
	ISSUE(STRIPE_ODD, "stripe-odd") \
	ISSUE(STRIPE_MISALIGNED, "stripe-misaligned") \
	ISSUE(DEVICE_MISALIGNED, "device-misaligned") \
	ISSUE(LARGE_BLOCKS, "large-blocks") \
	ISSUE(ZONED_CACHE, "zoned-cache") \
	ISSUE(ZONED_WRITETHROUGH, "zoned-writethrough") \
	ISSUE(ZONED_OFFSET, "zoned-offset") \
	ISSUE(DISCARD, "discard") \
	ISSUE(DISCARD_LEFT_OUT, "discard-left-out")

enum bcfmt_make_issue_id {
#define BCFMT_MAKE_ISSUE_ID(name, text) BCFMT_ISSUE_##name,
	BCFMT_MAKE_ISSUES(BCFMT_MAKE_ISSUE_ID)
#undef BCFMT_MAKE_ISSUE_ID
};

struct bcfmt_make_issue {
	enum bcfmt_make_issue_id id;
	enum bcfmt_make_level level;
	const struct bcfmt_dev *dev; /* NULL: the whole run */
	char text[384];              /* a sentence, lower case, no full stop, without the device */
};

enum bcfmt_make_action {
	BCFMT_MAKE_ZERO,
	BCFMT_MAKE_DISCARD,
	BCFMT_MAKE_WRITE,
	BCFMT_MAKE_FLUSH, /* no range */
};

struct bcfmt_make_step {
	enum bcfmt_make_action action;
	size_t target;       /* index */
	uint64_t offset_bytes;
	uint64_t len_bytes;
	uint8_t *bytes;      /* BCFMT_MAKE_WRITE: len_bytes of them */
	const char *purpose; /* static: "superblock" */
};

/* How far bcfmt_make_commit() came with a device. */
enum bcfmt_make_state {
	BCFMT_MAKE_UNTOUCHED,
	BCFMT_MAKE_ERASED,   /* begun: it may have no superblock, neither the old nor the new one */
	BCFMT_MAKE_COMPLETE,
};

struct bcfmt_make_target {
	struct bcfmt_dev *dev;
	bool is_backing;
	bool is_block_device;      /* else an image file */
	bool has_old;              /* a bcache superblock is on it, right or wrong */
	struct bcfmt_super old;
	struct bcfmt_super super;  /* as it will be; zeros when sizes are refused */
	uint32_t journal_buckets;  /* wiped of a cache: all that the first registration makes one */
	enum bcfmt_make_state state;
};

struct bcfmt_make_plan {
	struct bcfmt_ctx *ctx;              /* borrowed */
	struct bcfmt_make_target *targets;  /* caches first, else in the order given */
	size_t n_targets;
	struct bcfmt_make_issue *issues;    /* those of the run first, then by target */
	size_t n_issues;
	bool is_refused;                    /* an issue is a refusal; there are no steps then */
	struct bcfmt_make_step *steps;
	size_t n_steps;
};

/*
 * Looks at everything and makes a plan; reads devices, writes nothing. What speaks against it is
 * in the issues and no error. The devices must outlive the plan. E_ARG: no device, label too
 * long; E_IO: a device cannot be read, E_NOMEM. Frees with bcfmt_make_plan_free().
 *
 * Each device by itself: the old superblock is destroyed and that is flushed, then what else is
 * to go is wiped and flushed, and the new superblock comes last, in one write and with a flush.
 * Wherever that is cut, the device is as it was before, or has no superblock, or is complete.
 */
BCFMT_API bcfmt_err bcfmt_make_plan_new(struct bcfmt_ctx *ctx,
					const struct bcfmt_make_params *params,
					const struct bcfmt_make_device *devices, size_t n_devices,
					struct bcfmt_make_plan **out);
BCFMT_API void bcfmt_make_plan_free(struct bcfmt_make_plan *plan);

/*
 * Saves what the plan overwrites to an undo file and makes that durable; call it before
 * bcfmt_make_commit(). What is only discarded is not saved. E_ARG when the plan is refused, and
 * the errors of the undo file.
 */
BCFMT_API bcfmt_err bcfmt_make_save(const struct bcfmt_make_plan *plan, struct bcfmt_undo *undo);
/*
 * Carries the plan out. Stops at the first error; the states of the targets tell how far it came.
 * E_ARG when the plan is refused or a device cannot be written, E_IO, E_CANCELLED. That a device
 * takes no discards is no error.
 */
BCFMT_API bcfmt_err bcfmt_make_commit(struct bcfmt_make_plan *plan);
/* Reads everything back. E_DAMAGED with a fault that names the place when it differs; E_IO. */
BCFMT_API bcfmt_err bcfmt_make_verify(const struct bcfmt_make_plan *plan);

/* "few-buckets"; static. */
BCFMT_API const char *bcfmt_make_issue_name(enum bcfmt_make_issue_id id);
/* A new random uuid. */
BCFMT_API void bcfmt_make_uuid(uint8_t uuid[BCFMT_UUID_BYTES]);

BCFMT_END_DECLS

#endif
