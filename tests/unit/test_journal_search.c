/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's search for the journal against a second one, written here from the format alone
 * with a list that is walked link by link. Rings are random: wrapped, torn, with gaps, stale laps,
 * empty buckets, numbers that no kernel writes.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include <bcfmt/journal.h>

#include "codec_kit.h"
#include "dev/dev_impl.h"
#include "kit/set_kit.h"

#define RING_MAX 32u
#define BLOCKS 16u
#define ENTRIES_MAX (RING_MAX * BLOCKS)

struct model_entry {
	uint64_t seq;
	uint64_t last_seq;
	bool is_bad; /* a block that has this set's magic and a wrong checksum */
	bool is_gap; /* a block that is no entry */
};

/* What lies in the ring, entry after entry: each takes a block. */
struct model {
	uint32_t n_buckets;
	uint32_t n[RING_MAX];
	struct model_entry at[RING_MAX][BLOCKS];
};

struct link {
	struct link *next;
	struct link *prev;
	uint64_t seq;
	uint64_t last_seq;
	uint32_t ring_index;
	uint32_t block;
};

struct naive {
	const struct model *model;
	struct link head;
	struct link pool[ENTRIES_MAX];
	uint32_t n_pool;
	uint64_t bucket_seq[RING_MAX];
	bool is_read[RING_MAX];
	uint32_t ring_index;
};

static void unlink_entry(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

/* FORMAT 6.3, steps 4 and 5. */
static bool naive_take(struct naive *naive, uint32_t ring_index, uint32_t block)
{
	const struct model_entry *entry = &naive->model->at[ring_index][block];
	struct link *head = &naive->head, *after, *link;

	while (head->next != head && head->next->seq < entry->last_seq)
		unlink_entry(head->next);
	for (after = head->prev; after != head; after = after->prev) {
		if (after->seq == entry->seq || entry->seq < after->last_seq)
			return false;
		if (entry->seq > after->seq)
			break;
	}
	link = &naive->pool[naive->n_pool++];
	*link = (struct link){ after->next, after, entry->seq, entry->last_seq, ring_index, block };
	after->next->prev = link;
	after->next = link;
	if (entry->seq > naive->bucket_seq[ring_index])
		naive->bucket_seq[ring_index] = entry->seq;
	return true;
}

static bool naive_read(struct naive *naive, uint32_t ring_index)
{
	const struct model *model = naive->model;
	bool has_taken = false;

	naive->is_read[ring_index] = true;
	for (uint32_t i = 0; i < model->n[ring_index]; i++) {
		if (model->at[ring_index][i].is_bad || model->at[ring_index][i].is_gap)
			break;
		has_taken |= naive_take(naive, ring_index, i);
	}
	return has_taken;
}

static bool naive_find_any(struct naive *naive, uint32_t *found)
{
	uint32_t n = naive->model->n_buckets;

	for (uint64_t i = 0; i < n; i++) {
		*found = (uint32_t)((i * 2654435769ull & 0xffffffff) % n);
		if (naive->is_read[*found])
			break;
		if (naive_read(naive, *found))
			return true;
	}
	for (*found = 0; *found < n; (*found)++)
		if (!naive->is_read[*found] && naive_read(naive, *found))
			return true;
	return false;
}

/* FORMAT 6.4. */
static void naive_search(struct naive *naive, const struct model *model)
{
	uint32_t n = model->n_buckets, l, r, m, at;
	uint64_t highest = 0;

	memset(naive, 0, sizeof(*naive));
	naive->model = model;
	naive->head.next = naive->head.prev = &naive->head;
	if (!naive_find_any(naive, &l))
		return;
	for (r = l + 1; r < n && !naive->is_read[r];)
		r++;
	m = l;
	while (l + 1 < r) {
		uint64_t newest = naive->head.prev->seq;

		m = (l + r) / 2;
		naive_read(naive, m);
		if (naive->head.prev->seq != newest)
			l = m;
		else
			r = m;
	}
	for (at = (m + n - 1) % n; at != m; at = (at + n - 1) % n)
		if (!naive->is_read[at] && !naive_read(naive, at))
			break;
	for (uint32_t i = 0; i < n; i++)
		if (naive->bucket_seq[i] > highest) {
			highest = naive->bucket_seq[i];
			naive->ring_index = i;
		}
}

/* ---- the same ring on a device ---- */

static struct bcfmt_ctx *ctx;
static struct bcfmt_dev *dev;
static struct bcfmt_geometry geo;

static void begin(void)
{
	struct bcfmt_super super = kit_cache_super();
	struct bcfmt_ctx_params params = { .threads = 1 };

	super.bucket_field = BLOCKS;
	super.bucket_sectors = BLOCKS;
	super.first_bucket = 2;
	super.keys = RING_MAX;
	geo = kit_geometry_of(&super);
	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(ctx, "ring", NULL, 64ull * BLOCKS * 512, &dev), BCFMT_OK);
}

static void end(void)
{
	bcfmt_dev_free(dev);
	bcfmt_ctx_free(ctx);
}

TestSuite(journal_search, .init = begin, .fini = end);

static void lay_down(const struct model *model)
{
	static uint8_t raw[BLOCKS * 512];

	geo.journal_buckets = model->n_buckets;
	for (uint32_t l = 0; l < model->n_buckets; l++) {
		memset(raw, 0, sizeof(raw));
		for (uint32_t i = 0; i < model->n[l]; i++) {
			const struct model_entry *entry = &model->at[l][i];
			struct bcfmt_jset jset = { .seq = entry->seq,
						   .last_seq = entry->last_seq,
						   .version = 1 };

			if (entry->is_gap)
				continue;
			bcfmt_jset_encode(&geo, &jset, raw + 512ull * i);
			/* The block tells the entry; of two alike either would do. */
			raw[512ull * i] ^= entry->is_bad;
		}
		cr_assert_eq(bcfmt_dev_write(dev, (uint64_t)(geo.first_bucket + l) * sizeof(raw),
					     raw, sizeof(raw)),
			     BCFMT_OK);
	}
}

static void compare(const struct model *model, uint64_t seed)
{
	static struct naive naive;
	struct bcfmt_journal journal;
	const struct link *link = naive.head.next;
	size_t n = 0;

	naive_search(&naive, model);
	lay_down(model);
	cr_assert_eq(bcfmt_journal_read(ctx, dev, &geo, &journal), BCFMT_OK);
	for (link = naive.head.next; link != &naive.head; link = link->next, n++) {
		const struct bcfmt_journal_entry *entry;

		cr_assert_lt(n, journal.n_kernel, "seed %llu: %zu entries, entry %llu is missing",
			     (unsigned long long)seed, journal.n_kernel,
			     (unsigned long long)link->seq);
		entry = &journal.entries[journal.kernel_list[n]];
		cr_assert(entry->seq == link->seq && entry->ring_index == link->ring_index &&
				  entry->sector == link->block,
			  "seed %llu: entry %zu is %llu at %u+%u, must be %llu at %u+%u",
			  (unsigned long long)seed, n, (unsigned long long)entry->seq,
			  entry->ring_index, entry->sector, (unsigned long long)link->seq,
			  link->ring_index, link->block);
	}
	cr_assert_eq(n, journal.n_kernel, "seed %llu", (unsigned long long)seed);
	if (n)
		cr_assert_eq(journal.kernel_ring_index, naive.ring_index, "seed %llu",
			     (unsigned long long)seed);
	bcfmt_journal_clear(&journal);
}

/* ---- rings ---- */

static void push(struct model *model, uint32_t ring_index, uint64_t seq, uint64_t last_seq)
{
	if (model->n[ring_index] < BLOCKS)
		model->at[ring_index][model->n[ring_index]++] =
			(struct model_entry){ .seq = seq, .last_seq = last_seq };
}

/* What a kernel leaves behind: laps over the ring, restarts, a window of its own length. */
static void make_sane(struct model *model, uint64_t *state)
{
	uint32_t entries = 1 + set_kit_below(state, 300), window = 1 + set_kit_below(state, 60);
	uint32_t at = 1, used = 0, per_bucket = 1 + set_kit_below(state, BLOCKS);
	uint64_t seq = 1 + set_kit_below(state, 3) * (set_kit_random(state) >> 8);

	memset(model, 0, sizeof(*model));
	model->n_buckets = 2 + set_kit_below(state, RING_MAX - 1);
	at %= model->n_buckets;
	for (uint32_t i = 0; i < entries; i++, seq++) {
		uint64_t oldest = seq > window ? seq - window : 1;

		if (used == per_bucket || !set_kit_below(state, 40)) {
			at = (at + 1) % model->n_buckets;
			used = 0;
			per_bucket = 1 + set_kit_below(state, BLOCKS);
		}
		/* Overwritten from the front, what is behind stays. */
		model->at[at][used++] = (struct model_entry){ .seq = seq, .last_seq = oldest };
		if (model->n[at] < used)
			model->n[at] = used;
	}
}

static void damage(struct model *model, uint64_t *state)
{
	uint32_t times = set_kit_below(state, 6);

	for (uint32_t i = 0; i < times; i++) {
		uint32_t l = set_kit_below(state, model->n_buckets);
		uint32_t block = set_kit_below(state, BLOCKS);
		struct model_entry *entry = &model->at[l][block];

		switch (set_kit_below(state, 5)) {
		case 0:
			model->n[l] = 0;
			break;
		case 1:
			entry->is_bad = true;
			break;
		case 2:
			entry->is_gap = true;
			break;
		case 3:
			if (model->n[l] > block)
				model->n[l] = block;
			break;
		default:
			*entry = model->at[set_kit_below(state, model->n_buckets)]
					  [set_kit_below(state, BLOCKS)];
		}
	}
	/* Blocks that no entry was put into are none. */
	for (uint32_t l = 0; l < model->n_buckets; l++)
		for (uint32_t i = 0; i < BLOCKS; i++)
			if (!model->at[l][i].seq)
				model->at[l][i].is_gap = true;
}

static void make_wild(struct model *model, uint64_t *state)
{
	uint32_t range = 2 + set_kit_below(state, 100);

	memset(model, 0, sizeof(*model));
	model->n_buckets = 1 + set_kit_below(state, RING_MAX);
	for (uint32_t l = 0; l < model->n_buckets; l++) {
		uint32_t n = set_kit_below(state, 2) ? set_kit_below(state, BLOCKS + 1) : 0;
		uint64_t seq = 1 + set_kit_below(state, range);

		for (uint32_t i = 0; i < n; i++) {
			uint64_t back = set_kit_below(state, range / 2 + 1);

			if (!set_kit_below(state, 8))
				seq = 1 + set_kit_below(state, range);
			/* Now and then an entry that is older than it says to need. */
			push(model, l, seq,
			     set_kit_below(state, 6) ? (seq > back ? seq - back : 1) : seq + back);
			seq++;
		}
	}
}

Test(journal_search, sane_rings)
{
	static struct model model;
	uint64_t state = 0x1234567;

	for (uint64_t i = 0; i < 1500; i++) {
		make_sane(&model, &state);
		compare(&model, i);
	}
}

Test(journal_search, damaged_rings)
{
	static struct model model;
	uint64_t state = 0x89abcde;

	for (uint64_t i = 0; i < 2500; i++) {
		make_sane(&model, &state);
		damage(&model, &state);
		compare(&model, i);
	}
}

Test(journal_search, rings_that_no_kernel_writes)
{
	static struct model model;
	uint64_t state = 0xfedcba987;

	for (uint64_t i = 0; i < 4000; i++) {
		make_wild(&model, &state);
		compare(&model, i);
	}
}

Test(journal_search, one_bucket)
{
	static struct model model = { .n_buckets = 1 };

	compare(&model, 0);
	push(&model, 0, 5, 5);
	compare(&model, 1);
	push(&model, 0, 6, 5);
	compare(&model, 2);
}

/* A newest bucket that neither the probe nor the halving meets is not found. */
Test(journal_search, it_misses_what_lies_behind_an_empty_stretch)
{
	static struct model model = { .n_buckets = 32 };
	struct bcfmt_journal journal;

	push(&model, 0, 1, 1);
	push(&model, 3, 2, 1);
	push(&model, 20, 90, 90);
	compare(&model, 0);
	cr_assert_eq(bcfmt_journal_read(ctx, dev, &geo, &journal), BCFMT_OK);
	cr_expect_eq(journal.entries[journal.newest].seq, 90);
	cr_expect_eq(journal.n_kernel, 1);
	cr_expect_eq(journal.entries[journal.kernel_list[0]].seq, 1);
	bcfmt_journal_clear(&journal);
}

/* ---- rings made to keep a search busy ---- */

enum busy { BUSY_SAME, BUSY_TWINS, BUSY_SAWTOOTH, BUSY_FALLING };

struct busy_dev {
	struct bcfmt_dev dev;
	enum busy kind;
};

/* Every block of the device is an entry that its number decides. */
static bcfmt_err busy_read(struct bcfmt_dev *at, uint64_t offset_bytes, void *buf, size_t len_bytes,
			   struct io_fault *fault)
{
	const struct busy_dev *busy = (const struct busy_dev *)at;
	uint64_t n = at->bytes / 512;

	(void)fault;
	for (size_t done = 0; done < len_bytes; done += 512) {
		uint64_t i = (offset_bytes + done) / 512;
		struct bcfmt_jset jset = { .seq = 1, .last_seq = 1, .version = 1 };

		if (busy->kind == BUSY_FALLING)
			jset.seq = n - i;
		/* One new number a bucket keeps the search going. */
		if (busy->kind == BUSY_TWINS && i % 1024 == 0)
			jset.seq = 2 + (i / 1024 + 128 - 66) % 128;
		/* Every other entry drops the one before it. */
		if (busy->kind == BUSY_SAWTOOTH) {
			jset.seq = i & 1 ? 1 : n + n - i;
			jset.last_seq = i & 1 ? n + 1 : 0;
		}
		bcfmt_jset_encode(&geo, &jset, (uint8_t *)buf + done);
	}
	return BCFMT_OK;
}

static void busy_free(struct bcfmt_dev *at)
{
	(void)at;
}

static void read_busy(enum busy kind, struct bcfmt_journal *journal)
{
	static const struct dev_ops ops = { .read = busy_read, .free = busy_free };
	struct busy_dev busy = { .kind = kind };

	geo.bucket_sectors = 1024;
	geo.bucket_shift = 10;
	geo.journal_buckets = 128;
	cr_assert_eq(dev_init(&busy.dev, &ops, ctx, "busy", 140ull * 1024 * 512), BCFMT_OK);
	cr_assert_eq(bcfmt_journal_read(ctx, &busy.dev, &geo, journal), BCFMT_OK);
	bcfmt_dev_free(&busy.dev);
}

Test(journal_search, entries_of_one_number_end_in_time, .timeout = 60)
{
	struct bcfmt_journal journal;

	read_busy(BUSY_SAME, &journal);
	cr_expect_eq(journal.n_entries, 131072);
	cr_expect_eq(journal.n_kernel, 1);
	bcfmt_journal_clear(&journal);
}

Test(journal_search, many_twins_in_every_bucket_end_in_time, .timeout = 60)
{
	struct bcfmt_journal journal;

	read_busy(BUSY_TWINS, &journal);
	cr_expect_eq(journal.n_entries, 131072);
	cr_expect_gt(journal.n_kernel, 100);
	bcfmt_journal_clear(&journal);
}

Test(journal_search, entries_older_than_they_need_end_in_time, .timeout = 60)
{
	struct bcfmt_journal journal;

	read_busy(BUSY_SAWTOOTH, &journal);
	cr_expect_eq(journal.n_entries, 131072);
	bcfmt_journal_clear(&journal);
}

Test(journal_search, falling_numbers_end_in_time, .timeout = 60)
{
	struct bcfmt_journal journal;

	read_busy(BUSY_FALLING, &journal);
	cr_expect_eq(journal.n_entries, 131072);
	cr_expect_gt(journal.n_kernel, 0);
	bcfmt_journal_clear(&journal);
}
