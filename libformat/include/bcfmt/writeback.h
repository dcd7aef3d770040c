/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bringing dirty data home to its backing devices, whose it is, and maps of what is lost. */
#ifndef BCFMT_WRITEBACK_H
#define BCFMT_WRITEBACK_H

#include <bcfmt/base.h>
#include <bcfmt/loss.h>
#include <bcfmt/set.h>
#include <bcfmt/tree.h>
#include <bcfmt/undo.h>

BCFMT_BEGIN_DECLS

/* ---- maps of what is lost ---- */

struct bcfmt_loss_map {
	const char *volume;	      /* named in a comment of the file: label or uuid */
	uint32_t inode;		      /* in the collection */
	uint64_t data_offset_sectors; /* what keys of the inode count in front of the volume */
	uint64_t volume_sectors;
};
struct bcfmt_loss_sums {
	uint64_t lost_bytes;
	uint64_t doubtful_bytes;
};
/* What of the volume is lost, and what is only doubtful. losses is finished. */
BCFMT_API bcfmt_err bcfmt_losses_sum(struct bcfmt_losses *losses, const struct bcfmt_loss_map *map,
				     struct bcfmt_loss_sums *out);
/*
 * Writes a mapfile of ddrescue that covers the whole volume: positions in bytes of the volume, lost
 * '-', doubtful '/', the rest '+'. It is written beside path, synced, and takes its place: a file of
 * that name is replaced, or nothing happens. E_SYSTEM with the path when it cannot be written.
 */
BCFMT_API bcfmt_err bcfmt_losses_write_map(struct bcfmt_ctx *ctx, struct bcfmt_losses *losses,
					   const struct bcfmt_loss_map *map, const char *path);

/* ---- whose data it is ---- */

/* By order of the user: dirty data under inode belongs to the backing device uuid. */
struct bcfmt_adoption {
	uint32_t inode;
	uint8_t uuid[BCFMT_UUID_BYTES];
};

/* Why nothing is written to a backing device. */
enum bcfmt_home_refusal {
	BCFMT_HOME_OK,
	BCFMT_HOME_SUPER,     /* its superblock is wrong */
	BCFMT_HOME_TWIN,      /* another of the given devices has its uuid */
	BCFMT_HOME_OTHER_SET, /* it is attached to another set */
	BCFMT_HOME_STALE,     /* it was run without its cache, and nobody adopted for it */
	BCFMT_HOME_DETACHED,  /* it is marked as attached to no cache, and likewise */
	BCFMT_HOME_SLOTS,     /* two live slots have its uuid */
};
/* A sentence without subject, "was run without its cache ..."; static, "" for OK. */
BCFMT_API const char *bcfmt_home_refusal_text(enum bcfmt_home_refusal refusal);

/* A backing device and the inodes whose dirty data goes to it. */
struct bcfmt_home_device {
	const struct bcfmt_member *member;
	enum bcfmt_home_refusal refusal;
	bool has_slot;	  /* inodes[0] is that of its live slot */
	bool is_adopted;  /* somebody adopted for it, if only the data of its own slot */
	uint32_t *inodes; /* the newest first: its own, then adopted ones in descending order */
	size_t n_inodes;
};
struct bcfmt_home {
	struct bcfmt_home_device *devices; /* one a backing device of the set, in its order */
	size_t n_devices;
};

/*
 * Finds out which inodes belong to which of the given backing devices: live slots, adoptions, and
 * with is_auto what older uuid tables prove (bcfmt_owners_find()); is_auto also is a word for
 * devices that are stale or detached and have a slot. set must outlive *out. E_ARG with a fault for
 * an adoption that cannot be: no such slot, a device that was not given, an inode that is live and
 * another's, or adopted twice. Freed with bcfmt_home_free().
 */
BCFMT_API bcfmt_err bcfmt_home_new(const struct bcfmt_set *set,
				   const struct bcfmt_adoption *adoptions, size_t n_adoptions,
				   bool is_auto, struct bcfmt_home **out);
BCFMT_API void bcfmt_home_free(struct bcfmt_home *home); /* NULL is fine */

/* ---- copying ---- */

/* Dirty data that was not brought home, and why. */
enum bcfmt_home_why {
	BCFMT_HOME_UNREADABLE, /* the cache cannot read it */
	BCFMT_HOME_OUTSIDE,    /* its sectors are not those of the device's data */
	BCFMT_HOME_PLACE,      /* its place holds metadata, or is on another device */
};
struct bcfmt_home_left {
	const struct bcfmt_home_device *device;
	enum bcfmt_home_why why;
	uint32_t inode;
	uint64_t start_sector; /* as keys count: of the backing device */
	uint64_t sectors;
	uint64_t cache_sector; /* of the first of them */
};

struct bcfmt_writeback_sums {
	uint64_t copied_bytes;
	uint64_t unreadable_bytes;
	uint64_t outside_bytes; /* BCFMT_HOME_OUTSIDE and BCFMT_HOME_PLACE */
	uint64_t covered_bytes; /* adopted, where a newer inode of the device has keys */
};

/*
 * What of a device is home by now: how far the copying came, and what it left out on the way.
 * Memory follows the number of ranges that were left out. It is filled by bcfmt_writeback_run(),
 * outlives the set, and is freed with bcfmt_home_done_free().
 */
struct bcfmt_home_done;

BCFMT_API bcfmt_err bcfmt_home_done_new(struct bcfmt_ctx *ctx,
					const struct bcfmt_home_device *device,
					struct bcfmt_home_done **out);
BCFMT_API void bcfmt_home_done_free(struct bcfmt_home_done *done); /* NULL is fine */
/* Over all calls; what was cut off by an error may have been copied twice. */
BCFMT_API const struct bcfmt_writeback_sums *bcfmt_home_done_sums(
	const struct bcfmt_home_done *done);
/* Everything was looked at; and nothing was left out. */
BCFMT_API bool bcfmt_home_done_is_through(const struct bcfmt_home_done *done);
BCFMT_API bool bcfmt_home_done_is_whole(const struct bcfmt_home_done *done);
/* Adds what was left out to losses, as unreadable sectors of inode. */
BCFMT_API bcfmt_err bcfmt_home_done_add_losses(const struct bcfmt_home_done *done,
					       struct bcfmt_losses *losses, uint32_t inode);
/* The extent is home: all of it was copied, and is durable. Thread-safe. */
BCFMT_API bool bcfmt_home_done_has(const struct bcfmt_home_done *done,
				   const struct bcfmt_extent *extent);

struct bcfmt_writeback_params {
	/* What is written to: the device's own, or a copy of it. Writable, and borrowed. */
	struct bcfmt_dev *target;
	struct bcfmt_undo *undo; /* saves what is overwritten; NULL: nothing does */
	unsigned int undo_index; /* of target in it */
	uint64_t stop_bytes;	 /* ends after a batch once so many were copied; 0: never */
	uint64_t total_bytes;	 /* of progress; 0: not known */
	/* Told in ascending order inode by inode; may be NULL. What it returns, if not OK, ends it. */
	bcfmt_err (*left)(void *arg, const struct bcfmt_home_left *left);
	void *arg;
};

/*
 * Copies dirty data to the device, from where done came to: inode by inode in the order of its
 * sectors. Reads with several threads, writes what lies side by side at once. What done says is
 * durable on target when this returns, also when it was cancelled or failed. An extent of an
 * adopted inode yields to all that newer inodes of the device have there. device is the one that
 * done was made for, found again if the set was opened anew. E_ARG when it is refused.
 *
 * A failed read of the cache is no error: the sectors stay as they are and are told. Errors: those
 * of the tree, of target and of undo. kernel: write_dirty(), read_dirty().
 */
BCFMT_API bcfmt_err bcfmt_writeback_run(struct bcfmt_set *set,
					const struct bcfmt_home_device *device,
					const struct bcfmt_writeback_params *params,
					struct bcfmt_home_done *done);

BCFMT_END_DECLS

#endif
