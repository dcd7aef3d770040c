/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Undo files: what devices held before they were written to, and putting it back. */
#ifndef BCFMT_UNDO_H
#define BCFMT_UNDO_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>

BCFMT_BEGIN_DECLS

/*
 * The order that makes it safe against a power cut at any point:
 *
 *     create, add_device, save, ..., save, sync, writes of what was saved, ..., finish
 *
 * Nothing may be written to a device that was not saved and synced before. The file may lie
 * anywhere but on these devices. Its format: bcache-undo(5).
 */
struct bcfmt_undo;

#define BCFMT_UNDO_DEVICES_MAX 256u
#define BCFMT_UNDO_NAME_BYTES 256u /* with the terminator; of a longer name the end is kept */
#define BCFMT_UNDO_TEXT_BYTES 64u  /* with the terminator; longer texts are cut */

/*
 * Makes a new file at path, for its owner only, and makes its name durable. reason is a short text
 * such as "make-bcache". E_ARG when something of that name is there, E_SYSTEM when it cannot be
 * made, E_IO when it cannot be written. Freed with bcfmt_undo_free(). Calls with one undo are not
 * thread-safe.
 */
BCFMT_API bcfmt_err bcfmt_undo_create(struct bcfmt_ctx *ctx, const char *path, const char *reason,
				      struct bcfmt_undo **out);
/* The same onto a writable device from its first byte on, instead of a file. store is borrowed. */
BCFMT_API bcfmt_err bcfmt_undo_create_on(struct bcfmt_ctx *ctx, struct bcfmt_dev *store,
					 const char *reason, struct bcfmt_undo **out);
/*
 * Registers a device that will be changed; *index is its number in the file. dev is borrowed and
 * must outlive undo. One that was registered before gets the same number. Where it has a bcache
 * superblock, that is saved at once: putting back takes it away until all else is there again.
 * E_ARG after bcfmt_undo_finish() and for more than BCFMT_UNDO_DEVICES_MAX devices.
 */
BCFMT_API bcfmt_err bcfmt_undo_add_device(struct bcfmt_undo *undo, struct bcfmt_dev *dev,
					  unsigned int *index);
/*
 * Saves what the range holds now, before it is overwritten by new_bytes (NULL: by zeros). May be
 * called for the same sectors again: what they held at first is what is put back. Offset and
 * length are multiples of 512 (else E_ARG) inside the device (else E_RANGE). What cannot be read
 * cannot be saved: E_IO. Zeros, and holes, are not stored. Keeps at most 3 MiB in memory, and 24
 * bytes for each run of sectors that were saved. After an error of the undo file every later call
 * fails with it.
 */
BCFMT_API bcfmt_err bcfmt_undo_save(struct bcfmt_undo *undo, unsigned int index,
				    uint64_t offset_bytes, const void *new_bytes,
				    uint64_t len_bytes);
/* Everything saved so far is durable after this: call it before it is overwritten. */
BCFMT_API bcfmt_err bcfmt_undo_sync(struct bcfmt_undo *undo);
/* Writes the end mark, syncs and closes the file. After an error the file has no end mark. */
BCFMT_API bcfmt_err bcfmt_undo_finish(struct bcfmt_undo *undo);
/* Without bcfmt_undo_finish() the file stays, without end mark. NULL is fine. */
BCFMT_API void bcfmt_undo_free(struct bcfmt_undo *undo);
/* Size of the file by now. */
BCFMT_API uint64_t bcfmt_undo_bytes(const struct bcfmt_undo *undo);

/*
 * A device over lower that saves before every write: save, sync, write. lower must be the device
 * that was registered as index; it and undo are borrowed and must outlive *out. Writes are whole
 * sectors, else E_ARG.
 */
BCFMT_API bcfmt_err bcfmt_dev_undo(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower,
				   struct bcfmt_undo *undo, unsigned int index,
				   struct bcfmt_dev **out);

/* ---- reading ---- */

struct bcfmt_undo_file;

struct bcfmt_undo_info {
	uint32_t version;
	uint64_t created_seconds; /* since 1970 */
	char reason[BCFMT_UNDO_TEXT_BYTES];
	char program_version[BCFMT_UNDO_TEXT_BYTES];
	uint8_t id[BCFMT_UUID_BYTES];
	uint64_t records;
	uint64_t bytes;	  /* of the file that count */
	bool is_complete; /* has the end mark */
	bool is_torn;	  /* a power cut left something behind the last whole record */
	size_t n_devices;
};

enum bcfmt_undo_role { BCFMT_UNDO_OTHER, BCFMT_UNDO_CACHE, BCFMT_UNDO_BACKING };

/* What a bcache superblock says; role OTHER when there was none. */
struct bcfmt_undo_ident {
	enum bcfmt_undo_role role;
	uint8_t uuid[BCFMT_UUID_BYTES];
	uint8_t set_uuid[BCFMT_UUID_BYTES];
	char label[33];
};

struct bcfmt_undo_device {
	char name[BCFMT_UNDO_NAME_BYTES]; /* as it was opened then */
	uint64_t bytes;
	uint32_t logical_block_bytes;
	uint64_t saved_sectors;
	bool is_needed;			/* something of it was to be overwritten */
	struct bcfmt_undo_ident before; /* when it was registered */
	struct bcfmt_undo_ident after;	/* what was to be written; OTHER when nothing was */
};

/*
 * Reads and verifies the whole file; memory does not follow its size. What a power cut left behind
 * the last whole record is ignored: nothing was written to a device on its account. E_DAMAGED,
 * with the place, for everything else that is not as it was written, E_UNSUPPORTED for a later
 * version of the format.
 */
BCFMT_API bcfmt_err bcfmt_undo_file_open(struct bcfmt_ctx *ctx, const char *path,
					 struct bcfmt_undo_file **out);
/* The same from a device that holds what a file would. dev is borrowed. */
BCFMT_API bcfmt_err bcfmt_undo_file_open_dev(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
					     struct bcfmt_undo_file **out);
/* NULL is fine. */
BCFMT_API void bcfmt_undo_file_free(struct bcfmt_undo_file *file);
/* Both borrowed until the file is freed; i < n_devices. */
BCFMT_API const struct bcfmt_undo_info *bcfmt_undo_file_info(const struct bcfmt_undo_file *file);
BCFMT_API const struct bcfmt_undo_device *bcfmt_undo_file_device(const struct bcfmt_undo_file *file,
								 size_t i);

/*
 * Finds out which of devs is which device of the file: by size and contents, and where several fit
 * by name, then by order. One that fits by contents nowhere is taken by name, by uuid, or when no
 * other of its size is left; bcfmt_undo_file_check() then tells how it differs. devs are borrowed
 * and must outlive file. E_ARG when a needed device is missing, when one of devs is not in the
 * file, or when it cannot be told which it is. A file without end mark may have been cut off before
 * a device was registered: one that has no place in it then is left alone.
 */
BCFMT_API bcfmt_err bcfmt_undo_file_match(struct bcfmt_undo_file *file,
					  struct bcfmt_dev *const *devs, size_t n_devs);
/* What bcfmt_undo_file_match() found; NULL when the device was not given. */
BCFMT_API struct bcfmt_dev *bcfmt_undo_file_dev(const struct bcfmt_undo_file *file, size_t i);
/* It was found by order: contents and names would have allowed another of those given as well. */
BCFMT_API bool bcfmt_undo_file_is_guess(const struct bcfmt_undo_file *file, size_t i);

/* What a sector that was saved holds now. */
enum bcfmt_undo_state {
	BCFMT_UNDO_AS_BEFORE, /* what was saved */
	BCFMT_UNDO_WRITTEN,   /* what was to be written, or what putting back leaves for a time */
	/*
	 * What was to be written, although the file says that it was not yet safe to do so: a mark
	 * of it is damaged.
	 */
	BCFMT_UNDO_AHEAD,
	BCFMT_UNDO_FOREIGN, /* anything else: somebody used the device since */
};
#define BCFMT_UNDO_STATES 4u

struct bcfmt_undo_range {
	size_t device;
	uint64_t first_sector;
	uint64_t sectors;
	enum bcfmt_undo_state state;
};
typedef void (*bcfmt_undo_range_fn)(void *arg, const struct bcfmt_undo_range *range);

struct bcfmt_undo_tally {
	uint64_t sectors[BCFMT_UNDO_STATES];
	struct bcfmt_undo_range first_doubtful; /* AHEAD or FOREIGN; 0 sectors: none is */
};

/*
 * Compares every saved sector of the devices that were matched; writes nothing. range, which may
 * be NULL, is told of all ranges, device by device in ascending order; neighbours of one state are
 * one range.
 */
BCFMT_API bcfmt_err bcfmt_undo_file_check(struct bcfmt_undo_file *file, bcfmt_undo_range_fn range,
					  void *arg);
/* Result of the last check. Borrowed. */
BCFMT_API const struct bcfmt_undo_tally *bcfmt_undo_file_tally(const struct bcfmt_undo_file *file,
							       size_t i);

enum bcfmt_undo_flags {
	/* Also over sectors that are AHEAD or FOREIGN, and onto a device that is a guess. */
	BCFMT_UNDO_FORCE = 1u << 0,
};

/*
 * Puts back what differs, after a check that succeeded. E_ARG, and nothing is written, without a
 * check, when a device is not writable, and without FORCE when sectors are AHEAD or FOREIGN or a
 * device that something would be written to is a guess. Flushes, reads back and compares; E_IO when something else comes back.
 *
 * A cut at any point leaves a state that the same can be done with again. While the body of a
 * device is put back it has no valid superblock: the first sector of a bcache superblock is
 * replaced by a text that says what goes on, both ends of the device follow, and that sector comes
 * last, on caches after all other devices. Does not look at the context's cancel flag.
 */
BCFMT_API bcfmt_err bcfmt_undo_file_apply(struct bcfmt_undo_file *file, unsigned int flags);

BCFMT_END_DECLS

#endif
