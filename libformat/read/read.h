/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the read floor offers to the floors above beside its public calls. */
#ifndef READ_READ_H
#define READ_READ_H

#include <bcfmt/ctx.h>
#include <bcfmt/dev.h>
#include <bcfmt/geometry.h>
#include <bcfmt/journal.h>
#include <bcfmt/node.h>
#include <bcfmt/prio.h>
#include <bcfmt/super.h>
#include <bcfmt/uuid.h>

/* False when the superblock's sectors cannot be read or the device is too short for them. */
bool super_read(struct bcfmt_dev *dev, struct bcfmt_super *out);

enum prio_state {
	PRIO_STATE_OK,
	PRIO_STATE_CSUM,
	PRIO_STATE_MAGIC,
	PRIO_STATE_UNREADABLE,
};
/*
 * Reads and verifies the prio set in bucket (< nbuckets) into raw (meta_bytes of geo). kernel:
 * prio_read().
 */
enum prio_state prio_set_read(struct bcfmt_dev *dev, const struct bcfmt_geometry *geo,
			      uint64_t bucket, uint8_t *raw, struct bcfmt_prio_set *out);

/*
 * Reads the table that key names: up to n_entries into entries, which the caller zeroed. Tables
 * of version 0 have 64-byte entries. kernel: uuid_read().
 */
bcfmt_err uuids_read(struct bcfmt_ctx *ctx, struct bcfmt_dev *dev, const struct bcfmt_key *key,
		     unsigned int version, struct bcfmt_uuid_entry *entries, uint32_t n_entries,
		     struct bcfmt_bad_read *bad);

/* Buffer and decoded node of one thread; zero it to start, free with node_reader_clear(). */
struct node_reader {
	uint8_t *buf;
	size_t buf_bytes;
	/* Not NULL: all sectors of the node to be read next, and only of that. */
	const uint8_t *ready;
	struct bcfmt_node node;
	struct bcfmt_bad_read bad;
};
/*
 * Reads sectors (1..65535) at the pointer and decodes them. What cannot be read or lies beyond
 * the device is zero in the buffer and told in reader->bad. E_NOMEM only.
 */
bcfmt_err node_read(struct node_reader *reader, struct bcfmt_dev *dev,
		    const struct bcfmt_geometry *geo, uint64_t ptr, uint32_t sectors);
void node_reader_clear(struct node_reader *reader);

/* qsort_r() order of indexes (size_t) into the entries at arg, by their place in the ring. */
int journal_place_cmp(const void *a, const void *b, void *arg);
/*
 * Looks for entries where a number is missing between two others, and fills mended. Needs entries by
 * seq. E_NOMEM.
 */
bcfmt_err journal_find_mended(struct bcfmt_ctx *ctx, struct bcfmt_journal *journal);
/* Simulates the kernel's search of the ring over entries that are sorted by seq already. */
bcfmt_err journal_search_kernel(struct bcfmt_journal *journal);

#endif
