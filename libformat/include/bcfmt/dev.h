/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: anything that holds sectors. Reads of one device may run on several threads at once. */
#ifndef BCFMT_DEV_H
#define BCFMT_DEV_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>

BCFMT_BEGIN_DECLS

struct bcfmt_dev;
struct bcfmt_bad_read;

enum bcfmt_open_flags {
	BCFMT_OPEN_WRITE = 1u << 0,     /* else there is no way to write through the handle */
	BCFMT_OPEN_EXCLUSIVE = 1u << 1, /* O_EXCL and flock(LOCK_EX) until freed */
	BCFMT_OPEN_IN_USE_OK = 1u << 2, /* read although the kernel holds it (--force) */
	BCFMT_OPEN_ALL = (1u << 3) - 1,
};

/*
 * Opens a block device or image file. E_BUSY when the kernel holds the device (mounted, claimed,
 * registered with bcache) and IN_USE_OK is not given: the fault names the holder. E_SYSTEM when
 * it cannot be opened, is a directory or has no size. Frees with bcfmt_dev_free().
 */
BCFMT_API bcfmt_err bcfmt_dev_open(struct bcfmt_ctx *ctx, const char *path, unsigned int flags,
				   struct bcfmt_dev **out);
/* A private copy of len_bytes at bytes (NULL: zeros) that can be read and written. */
BCFMT_API bcfmt_err bcfmt_dev_mem(struct bcfmt_ctx *ctx, const char *name, const void *bytes,
				  size_t len_bytes, struct bcfmt_dev **out);
/*
 * Writes go to memory, beyond 64 MiB to an unlinked temporary file; lower is never written. lower
 * must outlive the overlay.
 */
BCFMT_API bcfmt_err bcfmt_dev_overlay(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower,
				      struct bcfmt_dev **out);
/*
 * The next run of sectors that were written to an overlay, at or after offset_bytes; END when there
 * is none, E_ARG when dev is no overlay.
 */
BCFMT_API bcfmt_err bcfmt_dev_overlay_next(struct bcfmt_dev *dev, uint64_t offset_bytes,
					   uint64_t *begin_bytes, uint64_t *end_bytes);
/*
 * Writes all that was written to an overlay to another device of at least its size: in ascending
 * order, in pieces as large as its runs up to 1 MiB. Flushes when there was anything to write. A
 * run is cut at an error or when the work is cancelled: E_CANCELLED between pieces.
 */
BCFMT_API bcfmt_err bcfmt_dev_overlay_commit(struct bcfmt_dev *overlay, struct bcfmt_dev *to);
/*
 * Copies what from holds to a device of the same size that reads as zeros: holes and zeros are not
 * written. What cannot be read stays zero and is added up in *bad. Flushes at the end.
 */
BCFMT_API bcfmt_err bcfmt_dev_copy(struct bcfmt_dev *from, struct bcfmt_dev *to,
				   struct bcfmt_bad_read *bad);
/*
 * Makes the ranges that a ddrescue mapfile does not call finished ('+') fail to read. lower is
 * owned by *out after success. E_ARG with a fault naming the line for a bad mapfile. Ranges are
 * kept sorted; a map of more than 2^20 lines is E_ARG.
 */
BCFMT_API bcfmt_err bcfmt_dev_badmap(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower,
				     const char *map_path, struct bcfmt_dev **out);

/* Which operation of a faulty device fails; 0 never, 1 the first, and all later ones too. */
struct bcfmt_dev_faults {
	uint64_t fail_read;
	uint64_t fail_write;
	uint64_t fail_flush;
	bool once; /* only that one operation fails */
};
/* Counts operations over lower (owned by *out after success) and fails as told. */
BCFMT_API bcfmt_err bcfmt_dev_faulty(struct bcfmt_ctx *ctx, struct bcfmt_dev *lower,
				     const struct bcfmt_dev_faults *faults,
				     struct bcfmt_dev **out);

/* Frees the device and what it owns; NULL is fine. */
BCFMT_API void bcfmt_dev_free(struct bcfmt_dev *dev);

BCFMT_API const char *bcfmt_dev_name(const struct bcfmt_dev *dev); /* as opened; borrowed */
BCFMT_API uint64_t bcfmt_dev_bytes(const struct bcfmt_dev *dev);
BCFMT_API uint32_t bcfmt_dev_logical_block_bytes(const struct bcfmt_dev *dev); /* files: 512 */
BCFMT_API bool bcfmt_dev_is_writable(const struct bcfmt_dev *dev);
/*
 * Descriptor of a block device or image file, borrowed; -1 for all other kinds, of which only reading
 * tells what they hold. Its file offset is not kept.
 */
BCFMT_API int bcfmt_dev_fd(const struct bcfmt_dev *dev);
/* The kernel held it when it was opened with IN_USE_OK. */
BCFMT_API bool bcfmt_dev_was_in_use(const struct bcfmt_dev *dev);
/* It is, or stands on, a member of a metadata image: data reads as zeros. */
BCFMT_API bool bcfmt_dev_is_image(const struct bcfmt_dev *dev);

/* Whole or error. E_RANGE beyond the end, E_IO from the medium (fault: device and sector). */
BCFMT_API bcfmt_err bcfmt_dev_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
				   size_t len_bytes);
BCFMT_API bcfmt_err bcfmt_dev_write(struct bcfmt_dev *dev, uint64_t offset_bytes, const void *buf,
				    size_t len_bytes);
/*
 * Makes the range read as zeros, by the device's own means where it has any; holes of image files
 * stay holes. Whole or error like a write; after an error the range is undefined.
 */
BCFMT_API bcfmt_err bcfmt_dev_zero(struct bcfmt_dev *dev, uint64_t offset_bytes,
				   uint64_t len_bytes);
/*
 * Tells a block device that nobody needs the range; what it reads as afterwards is undefined.
 * E_UNSUPPORTED, without a fault, when the device takes no discards or is none.
 */
BCFMT_API bcfmt_err bcfmt_dev_discard(struct bcfmt_dev *dev, uint64_t offset_bytes,
				      uint64_t len_bytes);
BCFMT_API bcfmt_err bcfmt_dev_flush(struct bcfmt_dev *dev);
/* Later reads come from the medium as far as the kernel allows, after a flush. No errors. */
BCFMT_API void bcfmt_dev_forget(struct bcfmt_dev *dev);

/* What could not be read of a range. */
struct bcfmt_bad_read {
	uint64_t first_sector;
	uint64_t sectors; /* 0: all was read */
};
/*
 * Reads what can be read: after an error goes on in pieces of 4 KiB, then 512 bytes, and zeroes
 * what fails or lies beyond the end. offset and length are multiples of 512. OK even when
 * nothing was readable; *bad tells (added up over the range, bounded work: after 64 failed
 * pieces in a row the rest of the range counts as bad).
 */
BCFMT_API bcfmt_err bcfmt_dev_read_salvage(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
					   size_t len_bytes, struct bcfmt_bad_read *bad);
/*
 * Reads every sector that can be read, however many fail, and zeroes the others. is_bad has a byte
 * for each of the len_bytes / 512 sectors: 1 where it could not be read or lies beyond the end,
 * else 0. offset and length are multiples of 512. OK even when nothing was readable; E_CANCELLED.
 */
BCFMT_API bcfmt_err bcfmt_dev_read_marked(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
					  size_t len_bytes, uint8_t *is_bad);
/*
 * The end of the data that begins at or after offset_bytes and its begin, as SEEK_DATA tells;
 * where holes are unknown all is data. END when only a hole is left.
 */
BCFMT_API bcfmt_err bcfmt_dev_next_data(struct bcfmt_dev *dev, uint64_t offset_bytes,
					uint64_t *begin_bytes, uint64_t *end_bytes);

BCFMT_END_DECLS

#endif
