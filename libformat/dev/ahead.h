/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of a device that threads of their own read ahead of their turn, past the page cache. */
#ifndef DEV_AHEAD_H
#define DEV_AHEAD_H

#include "dev/dev_impl.h"

/* The place of piece i. Called from several threads. A length of 0: there is nothing to read. */
typedef void (*ahead_fn)(void *arg, size_t i, uint64_t *offset_bytes, size_t *len_bytes);

struct ahead;

/*
 * Begins to read the pieces 0..n-1, in this order and as many at once as keeps a disk busy. A piece
 * longer than piece_bytes is left out. NULL when piece_bytes is not of a size for which this pays,
 * or when memory or threads are not to be had: the caller then reads as it would without.
 */
struct ahead *ahead_start(struct bcfmt_dev *dev, size_t piece_bytes, size_t n, ahead_fn place,
			  void *arg);
/*
 * Waits for a piece. NULL: the caller is to read it, because it is near or could not be read here.
 * Every piece is taken once, by any thread, and given back when it is done with: a thread that takes
 * one holds no other, and pieces are taken in ascending order. Ended anywhere in the row.
 */
void *ahead_take(struct ahead *ahead, size_t i);
void ahead_give(struct ahead *ahead, size_t i);
/* With all pieces that were taken given back. NULL is fine. */
void ahead_stop(struct ahead *ahead);

#endif
