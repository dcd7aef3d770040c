/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while a device is formatted: whatever of the writes arrived, the device is as it was
 * found, or has no superblock, or is complete and nothing of an older set can come back.
 */
#include "make_help.h"

#include <bcfmt/check.h>
#include <bcfmt/undo.h>
#include <bcfmt/write_log.h>

#define LOG_BYTES (1ull << 30) /* sparse */
#define ROUNDS 6u

/* One formatted device and the states that its log gives. */
struct cuts {
	struct bcfmt_dev *lower; /* what it was before; is written */
	struct bcfmt_dev *found; /* a copy from before */
	struct bcfmt_dev *log;
	struct bcfmt_dev *recorder;
	struct bcfmt_write_log *states;
	uint8_t old_uuid[BCFMT_UUID_BYTES];
	bool had_super;
};
static struct cuts cuts[2];
static size_t n_cuts;
static struct bcfmt_recording *recording;
static uint32_t first_entry;
static struct bcfmt_dev *undo_store; /* NULL: nothing is saved */
static struct {
	uint64_t old, none, complete;
} seen;

static void begin(void)
{
	help_make_begin();
	cr_assert_eq(bcfmt_recording_new(help_ctx, &recording), BCFMT_OK);
}

static void end(void)
{
	for (size_t i = 0; i < n_cuts; i++) {
		bcfmt_write_log_free(cuts[i].states);
		bcfmt_dev_free(cuts[i].recorder);
		bcfmt_dev_free(cuts[i].log);
		bcfmt_dev_free(cuts[i].found);
		bcfmt_dev_free(cuts[i].lower);
	}
	bcfmt_dev_free(undo_store);
	help_n_devices = 0; /* those were the recorders */
	bcfmt_recording_free(recording);
	help_make_end();
}

TestSuite(make_cuts, .init = begin, .fini = end, .timeout = 300);

static bool super_of(struct bcfmt_dev *dev, struct bcfmt_super *super)
{
	uint8_t raw[BCFMT_SUPER_BYTES];

	help_read(dev, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw));
	bcfmt_super_decode(raw, super);
	return !bcfmt_super_faults(super, bcfmt_dev_bytes(dev), 512, 4096);
}

/* Takes a device over: from now on everything written to it is recorded. */
static struct bcfmt_make_device *record(struct bcfmt_dev *lower, struct bcfmt_dev *found,
					bool is_backing)
{
	struct cuts *cut = &cuts[n_cuts];
	struct bcfmt_super super;
	char name[16];

	snprintf(name, sizeof(name), "log%zu", n_cuts++);
	cut->lower = lower;
	cut->found = found;
	cut->log = help_sparse(name, LOG_BYTES);
	cut->had_super = super_of(found, &super);
	memcpy(cut->old_uuid, super.uuid, BCFMT_UUID_BYTES);
	cr_assert_eq(bcfmt_dev_recording(help_ctx, recording, lower, cut->log, &cut->recorder),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	return help_device(cut->recorder, is_backing);
}

/* What --backup does, without the end that the file gets after the writes. */
static void save(void)
{
	struct bcfmt_undo *undo;

	undo_store = help_sparse("undo", LOG_BYTES);
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, undo_store, "test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_make_save(help_plan, undo), BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	bcfmt_undo_free(undo);
}

/* Formats what was taken over; afterwards there are states. */
static void format(bool is_saved)
{
	help_params.may_wipe_bcache = true;
	help_make_plan();
	cr_assert_not(help_plan->is_refused, "%s", help_issues());
	if (is_saved)
		save();
	first_entry = bcfmt_recording_entries(recording);
	cr_assert_eq(bcfmt_make_commit(help_plan), BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	cr_assert_eq(bcfmt_make_verify(help_plan), BCFMT_OK);
	for (size_t i = 0; i < n_cuts; i++)
		cr_assert_eq(bcfmt_write_log_open(help_ctx, cuts[i].log,
						  bcfmt_dev_bytes(cuts[i].lower), &cuts[i].states),
			     BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
}

static bool is_equal(struct bcfmt_dev *one, struct bcfmt_dev *two, uint64_t from_bytes)
{
	static uint8_t a[1 << 20], b[1 << 20];
	uint64_t bytes = bcfmt_dev_bytes(one);

	for (uint64_t at = from_bytes; at < bytes;) {
		size_t piece = bytes - at < sizeof(a) ? bytes - at : sizeof(a);

		help_read(one, at, a, piece);
		help_read(two, at, b, piece);
		if (memcmp(a, b, piece) != 0)
			return false;
		at += piece;
	}
	return true;
}

static bool is_zero(struct bcfmt_dev *dev, uint64_t at, uint64_t bytes)
{
	static uint8_t buf[1 << 16];

	for (uint64_t done = 0; done < bytes;) {
		size_t piece = bytes - done < sizeof(buf) ? bytes - done : sizeof(buf);

		help_read(dev, at + done, buf, piece);
		if (!help_all_zero(buf, piece))
			return false;
		done += piece;
	}
	return true;
}

/* The check of a device by itself finds nothing worse than notes, and no journal entry. */
static void expect_clean(struct bcfmt_dev *dev)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_set_params set_params = { 0 };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct bcfmt_set *set;

	cr_assert_eq(bcfmt_set_open(help_ctx, &dev, 1, &set_params, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(help_ctx, &report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(set, &params, report, &verdict, NULL, NULL), BCFMT_OK);
	cr_expect_not(set->journal.has_entries);
	for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
		cr_expect_eq(bcfmt_report_severity_total(report, (enum bcfmt_severity)severity), 0);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
}

/* What must hold of device i in any state. */
static void judge(size_t i, struct bcfmt_dev *state, const char *what, uint32_t n)
{
	const struct bcfmt_make_target *target = NULL;
	struct bcfmt_super super;
	uint64_t begin_bytes;

	if (!super_of(state, &super)) {
		seen.none++;
		return;
	}
	for (size_t j = 0; j < help_plan->n_targets; j++)
		if (help_plan->targets[j].dev == cuts[i].recorder)
			target = &help_plan->targets[j];
	cr_assert_not_null(target);
	if (cuts[i].had_super && !memcmp(super.uuid, cuts[i].old_uuid, BCFMT_UUID_BYTES)) {
		/* The sectors up to its superblock are not of the old device. */
		cr_assert(is_equal(state, cuts[i].found, 8192),
			  "device %zu, %s, entry %u: old superblock, other contents", i, what, n);
		seen.old++;
		return;
	}
	cr_assert(!memcmp(&super, &target->super, sizeof(super)),
		  "device %zu, %s, entry %u: a superblock of nobody", i, what, n);
	begin_bytes = (uint64_t)super.first_bucket * super.bucket_sectors * 512;
	cr_assert(is_zero(state, begin_bytes,
			  (uint64_t)target->journal_buckets * super.bucket_sectors * 512),
		  "device %zu, %s, entry %u: the journal is not wiped", i, what, n);
	cr_assert(is_zero(state, 0, 4096));
	expect_clean(state);
	seen.complete++;
}

/* Over a state: of entry e, sectors chosen by the seed are as in another state. */
static void tear(size_t i, struct bcfmt_dev *under, struct bcfmt_dev *from, uint32_t e,
		 uint64_t *seed, const char *what, uint32_t n)
{
	struct bcfmt_write_log_entry entry;
	struct bcfmt_dev *torn;
	uint8_t sector[512];

	cr_assert_eq(bcfmt_write_log_entry(cuts[i].states, e, &entry), BCFMT_OK);
	if (!entry.is_write)
		return;
	cr_assert_eq(bcfmt_dev_overlay(help_ctx, under, &torn), BCFMT_OK);
	for (uint64_t k = 0; k < entry.sectors; k++) {
		if (!(help_random(seed) >> 40 & 1))
			continue;
		help_read(from, (entry.start_sector + k) * 512, sector, 512);
		cr_assert_eq(bcfmt_dev_write(torn, (entry.start_sector + k) * 512, sector, 512),
			     BCFMT_OK);
	}
	judge(i, torn, what, n);
	bcfmt_dev_free(torn);
}

/* All states after n entries: all arrived, some or none of what was not flushed, torn ones. */
static void cut_at(size_t i, uint32_t n)
{
	struct bcfmt_write_log *log = cuts[i].states;
	uint32_t volatile_from = bcfmt_write_log_first_volatile(log, n);
	uint64_t seed = (uint64_t)n * 0x9e3779b97f4a7c15ull + i + 1;
	struct bcfmt_dev *whole, *next, *other;
	uint8_t *left_out = calloc(1, n / 8 + 1);

	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n, NULL, &whole), BCFMT_OK);
	judge(i, whole, "whole", n);
	for (unsigned int round = 0; round <= ROUNDS; round++) {
		memset(left_out, 0, n / 8 + 1);
		for (uint32_t e = volatile_from; e < n; e++)
			if (bcfmt_write_log_may_be_lost(log, n, e) &&
			    (!round || help_random(&seed) >> 40 & 1))
				left_out[e / 8] |= (uint8_t)(1u << e % 8);
		cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n, left_out, &other), BCFMT_OK);
		judge(i, other, round ? "some lost" : "all lost", n);
		for (uint32_t e = volatile_from; e < n; e++)
			if (left_out[e / 8] >> e % 8 & 1)
				tear(i, other, whole, e, &seed, "torn", n);
		bcfmt_dev_free(other);
	}
	if (n < bcfmt_write_log_entries(log)) {
		cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n + 1, NULL, &next), BCFMT_OK);
		for (unsigned int round = 0; round < ROUNDS; round++)
			tear(i, whole, next, n, &seed, "on its way", n);
		bcfmt_dev_free(next);
	}
	bcfmt_dev_free(whole);
	free(left_out);
}

static void cut_everywhere(void)
{
	for (size_t i = 0; i < n_cuts; i++) {
		uint32_t entries = bcfmt_write_log_entries(cuts[i].states);

		cr_assert(entries > first_entry);
		for (uint32_t n = first_entry; n <= entries; n++)
			cut_at(i, n);
	}
	cr_expect(seen.none > 0);
	cr_expect(seen.complete > 0);
}

Test(make_cuts, a_pair_with_random_contents)
{
	record(help_mem(HELP_CACHE_BYTES, 1), help_mem(HELP_CACHE_BYTES, 1), false);
	record(help_mem(1 << 20, 2), help_mem(1 << 20, 2), true);
	format(false);
	cut_everywhere();
	cr_expect_eq(seen.old, 0);
}

/* A device of fixtures/ as a file of the test; the folder of the repository is where tests run. */
static struct bcfmt_dev *fixture(const char *name, const char *file)
{
	char command[HELP_PATH_BYTES * 2], path[HELP_PATH_BYTES * 2];
	struct bcfmt_dev *dev;

	snprintf(command, sizeof(command), "tests/tools/fixture %s %s", name, help_dir);
	cr_assert_eq(system(command), 0);
	snprintf(path, sizeof(path), "%s/%s", help_dir, file);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE, &dev), BCFMT_OK);
	return dev;
}

/* Both come from one file, which is made anew in between. */
static struct bcfmt_dev *copy_of(struct bcfmt_dev *dev)
{
	struct bcfmt_dev *copy;

	cr_assert_eq(bcfmt_dev_overlay(help_ctx, dev, &copy), BCFMT_OK);
	return copy;
}

static void format_fixture(const char *name, bool is_saved)
{
	struct bcfmt_dev *cache = fixture(name, "cache.img");
	struct bcfmt_dev *backing = fixture(name, "backing0.img");
	struct bcfmt_super old;

	/* The same set, the same geometry: what old entries could come back to. */
	cr_assert(super_of(cache, &old));
	memcpy(help_params.set_uuid, old.set_uuid, BCFMT_UUID_BYTES);
	help_params.bucket_bytes = (uint64_t)old.bucket_sectors * 512;
	help_params.block_bytes = (uint64_t)old.block_sectors * 512;
	/* Writes go to the overlay; the file stays as it was found. */
	record(copy_of(cache), cache, false);
	record(copy_of(backing), backing, true);
	format(is_saved);
}

Test(make_cuts, an_old_cache_with_dirty_data)
{
	format_fixture("dirty", false);
	cut_everywhere();
	cr_expect(seen.old > 0);
}

Test(make_cuts, a_set_that_came_back_before)
{
	format_fixture("resurrect", false);
	cut_everywhere();
	cr_expect(seen.old > 0);
}

/* The other geometry leaves old metadata in other places. */
Test(make_cuts, an_old_cache_with_smaller_buckets)
{
	struct bcfmt_dev *cache = fixture("deep", "cache.img");
	struct bcfmt_super old;

	cr_assert(super_of(cache, &old));
	memcpy(help_params.set_uuid, old.set_uuid, BCFMT_UUID_BYTES);
	help_params.bucket_bytes = 65536;
	record(copy_of(cache), cache, false);
	format(false);
	cut_everywhere();
	cr_expect(seen.old > 0);
}

/* The state of device i after n entries, with or without what was not flushed; can be written. */
static struct bcfmt_dev *state_of(size_t i, uint32_t n, bool is_lost, struct bcfmt_dev **state)
{
	struct bcfmt_write_log *log = cuts[i].states;
	uint8_t *left_out = calloc(1, n / 8 + 1);

	for (uint32_t e = bcfmt_write_log_first_volatile(log, n); is_lost && e < n; e++)
		if (bcfmt_write_log_may_be_lost(log, n, e))
			left_out[e / 8] |= (uint8_t)(1u << e % 8);
	cr_assert_eq(bcfmt_write_log_state(help_ctx, log, n, left_out, state), BCFMT_OK);
	free(left_out);
	return copy_of(*state);
}

static void undo_at(uint32_t n, bool is_lost)
{
	struct bcfmt_dev *states[2], *devs[2];
	struct bcfmt_undo_file *file;

	for (size_t i = 0; i < n_cuts; i++)
		devs[i] = state_of(i, n, is_lost, &states[i]);
	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, undo_store, &file), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_file_match(file, devs, n_cuts), BCFMT_OK, "entry %u: %s", n,
		     bcfmt_ctx_fault(help_ctx));
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	for (size_t i = 0; i < n_cuts; i++) {
		const struct bcfmt_undo_tally *tally = bcfmt_undo_file_tally(file, i);

		cr_expect_eq(tally->sectors[BCFMT_UNDO_FOREIGN], 0, "entry %u, device %zu", n, i);
		cr_expect_eq(tally->sectors[BCFMT_UNDO_AHEAD], 0, "entry %u, device %zu", n, i);
	}
	cr_assert_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK, "entry %u: %s", n,
		     bcfmt_ctx_fault(help_ctx));
	for (size_t i = 0; i < n_cuts; i++) {
		cr_assert(is_equal(devs[i], cuts[i].found, 0), "entry %u, device %zu", n, i);
		bcfmt_dev_free(devs[i]);
		bcfmt_dev_free(states[i]);
	}
	bcfmt_undo_file_free(file);
}

Test(make_cuts, undoing_brings_back_every_byte_after_any_cut)
{
	format_fixture("dirty", true);
	for (uint32_t n = first_entry; n <= bcfmt_recording_entries(recording); n++) {
		undo_at(n, false);
		undo_at(n, true);
	}
}
