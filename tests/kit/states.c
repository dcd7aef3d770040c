/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the states out of the log of writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/states.h"

bool states_open_dev(struct states *states, struct bcfmt_ctx *ctx, struct bcfmt_dev *log_dev,
		     uint64_t bytes)
{
	memset(states, 0, sizeof(*states));
	states->ctx = ctx;
	states->bytes = bytes;
	if (bcfmt_write_log_open(ctx, log_dev, bytes, &states->log) ||
	    bcfmt_write_log_state(ctx, states->log, 0, NULL, &states->whole) ||
	    bcfmt_write_log_state(ctx, states->log, 0, NULL, &states->other) ||
	    bcfmt_write_log_state(ctx, states->log, 0, NULL, &states->next))
		return false;
	states->left_out = malloc(bcfmt_write_log_entries(states->log) / 8 + 1);
	return states->left_out != NULL;
}

bool states_open(struct states *states, struct bcfmt_ctx *ctx, const char *log_path, uint64_t bytes)
{
	struct bcfmt_dev *log_dev;
	bool is_good;

	memset(states, 0, sizeof(*states));
	if (bcfmt_dev_open(ctx, log_path, 0, &log_dev))
		return false;
	is_good = states_open_dev(states, ctx, log_dev, bytes);
	states->owned_log_dev = log_dev;
	return is_good;
}

void states_close(struct states *states)
{
	bcfmt_dev_free(states->next);
	bcfmt_dev_free(states->other);
	bcfmt_dev_free(states->whole);
	bcfmt_write_log_free(states->log);
	bcfmt_dev_free(states->owned_log_dev);
	free(states->left_out);
}

bool states_advance(struct states *states, uint32_t n)
{
	uint32_t behind = n < bcfmt_write_log_entries(states->log) ? n + 1 : n;

	return !bcfmt_write_log_advance(states->whole, n) &&
	       !bcfmt_write_log_advance(states->other, n) &&
	       !bcfmt_write_log_advance(states->next, behind);
}

uint32_t states_losable(const struct states *states, const struct cut *cut)
{
	struct bcfmt_write_log_entry entry;
	uint32_t n = 0;

	if (cut->loss == LOSE_IN_FLIGHT) {
		/* One sector is written or not; more of them can be torn. */
		if (bcfmt_write_log_entry(states->log, cut->n, &entry) || !entry.is_write ||
		    !(entry.flags & BCFMT_WRITE_LOG_FUA) || entry.sectors < 2)
			return 0;
		return 1;
	}
	for (uint32_t i = bcfmt_write_log_first_volatile(states->log, cut->n); i < cut->n; i++)
		n += bcfmt_write_log_may_be_lost(states->log, cut->n, i);
	/* With one write there is only all and nothing. */
	return cut->loss == LOSE_SOME && n < 2 ? 0 : n;
}

/* A sequence that is the same in every run, and another for every cut. */
static uint64_t cut_seed(const struct cut *cut)
{
	return ((uint64_t)cut->n << 24 | (uint64_t)cut->loss << 16 | cut->round) *
		       0x9e3779b97f4a7c15ull |
	       1;
}

static bool toss(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 40 & 1;
}

/* Fills the bitmap of writes that are left out. */
static void choose_lost(struct states *states, const struct cut *cut)
{
	uint64_t seed = cut_seed(cut);

	memset(states->left_out, 0, bcfmt_write_log_entries(states->log) / 8 + 1);
	for (uint32_t i = bcfmt_write_log_first_volatile(states->log, cut->n); i < cut->n; i++)
		if (bcfmt_write_log_may_be_lost(states->log, cut->n, i) &&
		    (cut->loss != LOSE_SOME || toss(&seed)))
			states->left_out[i / 8] |= (uint8_t)(1u << (i % 8));
}

static bcfmt_err copy_sector(struct bcfmt_dev *from, struct bcfmt_dev *to, uint64_t sector)
{
	uint8_t buf[BCFMT_SECTOR_BYTES];
	bcfmt_err err = bcfmt_dev_read(from, sector * sizeof(buf), buf, sizeof(buf));

	return err ? err : bcfmt_dev_write(to, sector * sizeof(buf), buf, sizeof(buf));
}

/* Of the lost writes some sectors did arrive. */
static bcfmt_err tear(struct states *states, const struct cut *cut, struct bcfmt_dev *overlay)
{
	uint64_t seed = cut_seed(cut);
	bcfmt_err err = BCFMT_OK;

	for (uint32_t i = bcfmt_write_log_first_volatile(states->log, cut->n); i < cut->n; i++) {
		struct bcfmt_write_log_entry entry;

		if (!bcfmt_write_log_may_be_lost(states->log, cut->n, i))
			continue;
		err = bcfmt_write_log_entry(states->log, i, &entry);
		for (uint64_t k = 0; !err && k < entry.sectors; k++)
			if (toss(&seed))
				err = copy_sector(states->whole, overlay, entry.start_sector + k);
	}
	return err;
}

/* Whether sector k of the entry on its way arrived: at least one did and at least one did not. */
static bool has_landed(unsigned int round, uint64_t k, uint64_t sectors, uint64_t landed,
		       uint64_t *seed)
{
	if (round == 0)
		return k == 0;
	if (round == 1)
		return k == sectors - 1;
	if (k == sectors - 1 && (!landed || landed == k))
		return !landed;
	return toss(seed);
}

static bcfmt_err fly(struct states *states, const struct cut *cut, struct bcfmt_dev *overlay)
{
	struct bcfmt_write_log_entry entry;
	uint64_t seed = cut_seed(cut), landed = 0;
	bcfmt_err err = bcfmt_write_log_entry(states->log, cut->n, &entry);

	for (uint64_t k = 0; !err && k < entry.sectors; k++) {
		if (!has_landed(cut->round, k, entry.sectors, landed, &seed))
			continue;
		landed++;
		err = copy_sector(states->next, overlay, entry.start_sector + k);
	}
	return err;
}

struct bcfmt_dev *states_make(struct states *states, const struct cut *cut,
			      struct bcfmt_dev **overlay)
{
	struct bcfmt_dev *base = cut->loss == LOSE_IN_FLIGHT ? states->whole : states->other;
	bcfmt_err err = BCFMT_OK;

	*overlay = NULL;
	if (cut->loss == LOSE_NOTHING)
		return states->whole;
	if (base == states->other) {
		choose_lost(states, cut);
		err = bcfmt_write_log_leave_out(base, states->left_out);
	}
	if (err || (cut->loss != LOSE_TORN && cut->loss != LOSE_IN_FLIGHT))
		return err ? NULL : base;
	err = bcfmt_dev_overlay(states->ctx, base, overlay);
	if (!err)
		err = cut->loss == LOSE_TORN ? tear(states, cut, *overlay)
					     : fly(states, cut, *overlay);
	if (!err)
		return *overlay;
	bcfmt_dev_free(*overlay);
	*overlay = NULL;
	return NULL;
}

static const char *const loss_words[] = {
	[LOSE_NOTHING] = "nothing", [LOSE_EVERYTHING] = "everything", [LOSE_SOME] = "some",
	[LOSE_TORN] = "torn",	    [LOSE_IN_FLIGHT] = "in-flight",
};

const char *cut_name(const struct cut *cut, char out[CUT_NAME_BYTES])
{
	snprintf(out, CUT_NAME_BYTES, "%u,%s,%u", cut->n, loss_words[cut->loss], cut->round);
	return out;
}

bool cut_parse(const char *text, struct cut *cut)
{
	char word[16] = "nothing", rest;
	int n;

	memset(cut, 0, sizeof(*cut));
	n = sscanf(text, "%u,%15[a-z-],%u%c", &cut->n, word, &cut->round, &rest);
	for (size_t i = 0; i < sizeof(loss_words) / sizeof(loss_words[0]); i++)
		if (!strcmp(word, loss_words[i])) {
			cut->loss = (enum loss)i;
			return n >= 1 && n <= 3;
		}
	return false;
}
