/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Other names for uuids and labels, the same for each wherever it stands. */
#ifndef IMAGE_SCRUB_H
#define IMAGE_SCRUB_H

#include <bcfmt/geometry.h>
#include <bcfmt/super.h>

struct scrub {
	bool is_on;
	uint8_t key[BCFMT_UUID_BYTES]; /* random: nobody can try uuids and compare */
	uint64_t magic_diff;	       /* of the magics of all structures of the set */
};

/* set_uuid: of the cache. Off, names stay as they are and nothing below changes anything. */
void scrub_init(struct scrub *scrub, bool is_on, const uint8_t set_uuid[BCFMT_UUID_BYTES]);

/*
 * A number in place of a uuid, by the key, whether scrubbing is on or not. None and that of a
 * detached device stay what they are.
 */
void scrub_hide_uuid(const struct scrub *scrub, uint8_t uuid[BCFMT_UUID_BYTES]);
void scrub_uuid(const struct scrub *scrub, uint8_t uuid[BCFMT_UUID_BYTES]);
void scrub_label(const struct scrub *scrub, uint8_t label[BCFMT_LABEL_BYTES]);

/*
 * header begins with a checksum and a magic, as those of bsets, journal entries and prio sets do.
 * The checksum covers covered_bytes from the magic on. A right magic or checksum becomes a right
 * one, and a wrong one stays as wrong as it was.
 */
void scrub_header(const struct scrub *scrub, uint8_t *header, uint64_t covered_bytes);

#endif
