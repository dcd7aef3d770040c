/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata images: all structures of a set in one compressed file, without the data. The format is
 * described in bcache-image(5).
 */
#ifndef BCFMT_IMAGE_H
#define BCFMT_IMAGE_H

#include <bcfmt/base.h>
#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/set.h>

BCFMT_BEGIN_DECLS

/* ---- reading -------------------------------------------------------------------------------- */

struct bcfmt_image;

/* A device of the set that the image was made from. Strings are owned by the image. */
struct bcfmt_image_member {
	const char *name;   /* "cache", "cache1", "backing0", ...: no two are alike */
	const char *source; /* last part of the path that it had, as it was; "" after a scrub */
	uint64_t bytes;     /* whole sectors */
	uint32_t logical_block_bytes;
	enum bcfmt_role role; /* CACHE or BACKING */
	bool was_in_use;      /* a kernel held it: the image may be inconsistent */
};

/* A range of a member that the file should tell of and does not, because the file is damaged. */
struct bcfmt_image_loss {
	size_t member;
	uint64_t first_byte;
	uint64_t end_byte;
	bool is_of_holes; /* only which sectors of it could not be read; those read as zeros now */
};

/* The device begins, or ends, as images do. A device that cannot be read does not. */
BCFMT_API bool bcfmt_image_is(struct bcfmt_dev *dev);

/*
 * Opens an image and verifies the checksum of every part of it. dev, the file, is owned by *out
 * after success. A file that is cut short or damaged opens as well: bcfmt_image_losses() says what
 * is not there. E_DAMAGED when no part of it says what the members are, E_UNSUPPORTED for a later
 * version of the format, E_NOMEM, E_IO, E_CANCELLED.
 */
BCFMT_API bcfmt_err bcfmt_image_open(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev,
				     struct bcfmt_image **out);
/* Lives on until its devices are freed too. NULL is fine. */
BCFMT_API void bcfmt_image_free(struct bcfmt_image *image);

BCFMT_API const struct bcfmt_image_member *bcfmt_image_members(const struct bcfmt_image *image,
							       size_t *n);
/*
 * In the order of members and places; those of holes after the others of their member, and what only
 * a walk found in the end. Borrowed until the next walk.
 */
BCFMT_API const struct bcfmt_image_loss *bcfmt_image_losses(const struct bcfmt_image *image,
							    size_t *n);
BCFMT_API bool bcfmt_image_is_scrubbed(const struct bcfmt_image *image);

/*
 * A member as a device that can be read. What is no metadata reads as zeros; what could not be
 * read when the image was made, and what is lost, gives E_IO. Threads may share it. Named
 * "FILE:MEMBER".
 */
BCFMT_API bcfmt_err bcfmt_image_dev(struct bcfmt_image *image, size_t member,
				    struct bcfmt_dev **out);

enum bcfmt_image_part {
	BCFMT_IMAGE_DATA,  /* bytes of metadata */
	BCFMT_IMAGE_ZEROS, /* metadata too: zeros where no data lies; data inside comes after it */
	BCFMT_IMAGE_HOLE,  /* could not be read then, or is lost now; bytes NULL, whole sectors */
};
/* bytes: len_bytes of them for DATA, else NULL. What it returns ends the walk and is returned. */
typedef bcfmt_err (*bcfmt_image_part_fn)(void *arg, enum bcfmt_image_part part,
					 uint64_t offset_bytes, const uint8_t *bytes,
					 uint64_t len_bytes);
/*
 * Data and zeros of a member in ascending order, then its holes. What cannot be read any more or
 * does not expand is a loss from then on: bcfmt_image_losses() has it too. Not while another thread
 * reads devices of the image.
 */
BCFMT_API bcfmt_err bcfmt_image_walk(struct bcfmt_image *image, size_t member,
				     bcfmt_image_part_fn part, void *arg);

/*
 * Reads a pipe or file to its end into an unlinked temporary file, which becomes a device. fd is
 * the caller's. E_IO, E_NOMEM, E_CANCELLED; E_SYSTEM for an empty one.
 */
BCFMT_API bcfmt_err bcfmt_dev_spool(struct bcfmt_ctx *ctx, const char *name, int fd,
				    struct bcfmt_dev **out);

/* ---- making --------------------------------------------------------------------------------- */

/* How far nodes and prio sets are looked for that nothing points to. */
enum bcfmt_image_scan {
	BCFMT_IMAGE_SCAN_ALL,   /* at every block: reads the whole cache device */
	BCFMT_IMAGE_SCAN_HEADS, /* at the first block of each bucket, where they begin */
	BCFMT_IMAGE_SCAN_NONE,
};

struct bcfmt_image_params {
	bool is_scrubbed; /* other uuids and labels throughout */
	enum bcfmt_image_scan scan;
};

struct bcfmt_image_stats {
	uint64_t content_bytes; /* metadata in the image */
	uint64_t image_bytes;   /* length of the image */
	uint64_t nodes;         /* that the set reaches */
	uint64_t found_bsets;   /* older ones and those of lost nodes, by the scan */
	uint64_t found_prios;   /* prio sets, all of them */
	uint64_t journal_entries; /* right ones, and those that can be mended */
	uint64_t uuid_tables;
	uint64_t hole_sectors;  /* could not be read */
	uint64_t withheld;      /* structures of which only a marker is kept: not metadata at all */
};

/* Takes the next bytes of the image; what it returns ends the work and is returned. */
typedef bcfmt_err (*bcfmt_image_write_fn)(void *arg, const void *bytes, size_t len_bytes);

/*
 * Makes the image of a set: superblocks, journal ring, prio sets, uuid tables, nodes, older ones
 * included, in the order of the devices, compressed on the context's threads. Walks the tree of the
 * set, so it has to be a fresh one. Never takes bytes that are not covered by a checksum, or are
 * what the format says at that place. stats may be NULL. E_NOMEM, E_CANCELLED, E_SYSTEM.
 */
BCFMT_API bcfmt_err bcfmt_image_make(struct bcfmt_set *set, const struct bcfmt_image_params *params,
				     bcfmt_image_write_fn write, void *arg,
				     struct bcfmt_image_stats *stats);

BCFMT_END_DECLS

#endif
