/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while a set is repaired, adopted for, or brought home: devices and undo file are
 * recorded on one timeline, and every state that a cut could have left is worked on once more.
 *
 * repair_cuts [--task repair|adopt|writeback|detach] [--rounds N] [--most N] [--incarnation SEQ]
 *             [--cache IMAGE] [--backing IMAGE]... IMAGE...
 *
 * After every write, or about N of them and all after which something else follows: all of them;
 * those that may be lost left out; random ones of them; random sectors of them; parts of the write
 * that is on its way. In each state
 *   - of a repair, every sector has the place that it had before it, or that it has after it;
 *   - a further run ends with a set in which nothing is found that the whole run does not leave, in
 *     which every sector has the place on the cache that it has after the whole run, and the backing
 *     devices hold the same;
 *   - the undo file as the cut left it brings back every byte;
 *   - the whole undo file, torn or damaged afterwards, brings back every byte or tells that it
 *     cannot.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bcfmt/write_log.h>

#include "kit/states.h"
#include "repair/task.h"

#define LOG_BYTES (4ull << 30)	   /* sparse */
#define STORE_BYTES (256ull << 20) /* likewise */
#define DISKS_MAX (DEVICES_MAX + 1u)
#define FAILURES_MAX 10u
#define COMPARE_BYTES (1u << 20)
#define DATA_SECTOR 16u /* of a backing device: what lies before is its superblock */

struct run {
	struct bcfmt_ctx *ctx;
	struct task task;
	unsigned int rounds;
	uint32_t most;
	struct bcfmt_dev *image[DEVICES_MAX];
	enum bcfmt_role roles[DEVICES_MAX];
	/* Of every device, and behind them of the undo file. */
	size_t n_disks;
	struct bcfmt_dev *lower[DISKS_MAX]; /* what is written to */
	struct bcfmt_dev *log[DISKS_MAX];
	struct bcfmt_dev *recorder[DISKS_MAX];
	struct states states[DISKS_MAX];
	struct bcfmt_dev *store; /* of the undo file */
	uint64_t undo_bytes;	 /* of the whole file */
	uint32_t first, last;	 /* entries of the logs while it was done */
	bool has_before;
	uint64_t print_before; /* of the set */
	uint64_t print;	       /* of the set afterwards */
	uint64_t left;	       /* findings in it */
	uint64_t cuts;
	uint64_t undone;
	uint64_t refused; /* torn undo files that told so */
	unsigned int failures;
};

static _Noreturn void die(struct run *run, const char *what)
{
	printf("%s: %s\n0 passed, 1 failed\n", what, bcfmt_ctx_fault(run->ctx));
	exit(1);
}

static bool complain(struct run *run, const struct cut *cut, const char *what)
{
	char name[CUT_NAME_BYTES];

	printf("%s: %s%s%s\n", cut_name(cut, name), what, *bcfmt_ctx_fault(run->ctx) ? ": " : "",
	       bcfmt_ctx_fault(run->ctx));
	fflush(stdout);
	bcfmt_ctx_fault_clear(run->ctx);
	if (++run->failures < FAILURES_MAX)
		return false;
	printf("%" PRIu64 " passed, %u failed\n", run->cuts, run->failures);
	exit(1);
}

/* ---- what is recorded ---- */

static struct bcfmt_dev *sparse(struct run *run, uint64_t bytes)
{
	const char *dir = getenv("TMPDIR");
	struct bcfmt_dev *dev;
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/repair-cuts.XXXXXX", dir && *dir ? dir : "/tmp");
	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) || close(fd) ||
	    bcfmt_dev_open(run->ctx, path, BCFMT_OPEN_WRITE, &dev))
		die(run, "no temporary file");
	unlink(path);
	return dev;
}

static void record_disk(struct run *run, struct bcfmt_recording *recording, struct bcfmt_dev *base)
{
	size_t i = run->n_disks++;

	run->log[i] = sparse(run, LOG_BYTES);
	if (bcfmt_dev_overlay(run->ctx, base, &run->lower[i]) ||
	    bcfmt_dev_recording(run->ctx, recording, run->lower[i], run->log[i], &run->recorder[i]))
		die(run, "cannot record");
}

static void record(struct run *run, struct bcfmt_recording *recording)
{
	struct bcfmt_undo *undo;

	for (size_t i = 0; i < run->task.n; i++)
		record_disk(run, recording, run->image[i]);
	run->store = sparse(run, STORE_BYTES);
	record_disk(run, recording, run->store);
	run->has_before = !task_look(&run->task, run->image, &run->print_before, &run->left);
	bcfmt_ctx_fault_clear(run->ctx); /* without a usable superblock there is nothing to see */
	run->first = bcfmt_recording_entries(recording);
	if (bcfmt_undo_create_on(run->ctx, run->recorder[run->task.n], "test", &undo) ||
	    task_run(&run->task, run->recorder, undo) || bcfmt_undo_finish(undo))
		die(run, "cannot be done");
	run->undo_bytes = bcfmt_undo_bytes(undo);
	bcfmt_undo_free(undo);
	run->last = bcfmt_recording_entries(recording);
	if (task_look(&run->task, run->recorder, &run->print, &run->left))
		die(run, "cannot check what was done");
	for (size_t i = 0; i < run->n_disks; i++)
		if (!states_open_dev(&run->states[i], run->ctx, run->log[i],
				     bcfmt_dev_bytes(run->lower[i])))
			die(run, "cannot read the log");
}

/* What was done to disk i after n entries; none when it was done to another. */
static bool entry_of(const struct run *run, size_t i, uint32_t n,
		     struct bcfmt_write_log_entry *entry)
{
	return !bcfmt_write_log_entry(run->states[i].log, n, entry) &&
	       !(entry->flags & BCFMT_WRITE_LOG_MARK);
}

/* ---- what must be true ---- */

/* Everything that was ever written to device i, from start_sector on, is what it is on other. */
static bool is_same(struct run *run, size_t i, uint64_t start_sector, struct bcfmt_dev *dev,
		    struct bcfmt_dev *other)
{
	static uint8_t a[COMPARE_BYTES], b[COMPARE_BYTES];
	struct bcfmt_write_log_entry entry;

	for (uint32_t n = run->first; n < run->last; n++) {
		if (!entry_of(run, i, n, &entry) || !entry.is_write ||
		    entry.start_sector < start_sector)
			continue;
		for (uint64_t done = 0; done < entry.sectors * BCFMT_SECTOR_BYTES;
		     done += sizeof(a)) {
			uint64_t at = entry.start_sector * BCFMT_SECTOR_BYTES + done;
			uint64_t rest = entry.sectors * BCFMT_SECTOR_BYTES - done;
			size_t len = rest < sizeof(a) ? (size_t)rest : sizeof(a);

			if (bcfmt_dev_read(dev, at, a, len) || bcfmt_dev_read(other, at, b, len) ||
			    memcmp(a, b, len) != 0)
				return false;
		}
	}
	return true;
}

static bool is_as_before(struct run *run, struct bcfmt_dev *const *devs)
{
	for (size_t i = 0; i < run->task.n; i++)
		if (!is_same(run, i, 0, devs[i], run->image[i]))
			return false;
	return true;
}

static bcfmt_err undo(struct run *run, struct bcfmt_dev *store, struct bcfmt_dev *const *devs,
		      bool *is_complete)
{
	struct bcfmt_undo_file *file;
	bcfmt_err err = bcfmt_undo_file_open_dev(run->ctx, store, &file);

	*is_complete = !err && bcfmt_undo_file_info(file)->is_complete;
	if (!err)
		err = bcfmt_undo_file_match(file, devs, run->task.n);
	if (!err)
		err = bcfmt_undo_file_check(file, NULL, NULL);
	if (!err)
		err = bcfmt_undo_file_apply(file, 0);
	bcfmt_undo_file_free(file);
	return err;
}

/* The undo file gives the old state back; one that says nothing belongs to untouched devices. */
static bool judge_undo(struct run *run, const struct cut *cut, struct bcfmt_dev *store,
		       struct bcfmt_dev *const *devs)
{
	bool is_complete;

	(void)undo(run, store, devs, &is_complete);
	run->undone++;
	if (!is_as_before(run, devs))
		return complain(run, cut, "is not what it was after --undo");
	bcfmt_ctx_fault_clear(run->ctx);
	return true;
}

/* A place in the undo file, another one for every cut. */
static uint64_t place_for(const struct run *run, const struct cut *cut)
{
	uint64_t seed = ((uint64_t)cut->n << 8 | (uint64_t)cut->loss << 4 | cut->round) + 1;

	return (seed * 0x9e3779b97f4a7c15ull >> 16) % run->undo_bytes;
}

/* The file lost its end, or a byte of it changed, after all that was done. */
static bool judge_spoilt(struct run *run, const struct cut *cut, bool is_torn,
			 struct bcfmt_dev *const *devs)
{
	struct bcfmt_dev *store, *again[DEVICES_MAX];
	uint64_t at = place_for(run, cut), sector = at / BCFMT_SECTOR_BYTES;
	uint64_t end = run->undo_bytes / BCFMT_SECTOR_BYTES + 1;
	uint8_t raw[BCFMT_SECTOR_BYTES] = { 0 };
	bool is_complete, is_good = true;
	bcfmt_err err = bcfmt_dev_overlay(run->ctx, run->lower[run->task.n], &store);

	for (size_t i = 0; i < run->task.n; i++)
		if (bcfmt_dev_overlay(run->ctx, devs[i], &again[i]))
			die(run, "no state");
	for (uint64_t i = sector; is_torn && !err && i < end; i++)
		err = bcfmt_dev_write(store, i * sizeof(raw), raw, sizeof(raw));
	if (!is_torn && !err)
		err = bcfmt_dev_read(store, sector * sizeof(raw), raw, sizeof(raw));
	raw[at % sizeof(raw)] ^= 0x10;
	if (!is_torn && !err)
		err = bcfmt_dev_write(store, sector * sizeof(raw), raw, sizeof(raw));
	if (err)
		die(run, "no undo file");
	err = undo(run, store, again, &is_complete);
	run->refused += err || !is_complete;
	if (!err && (is_complete || !is_torn) && !is_as_before(run, again))
		is_good = complain(run, cut, "a damaged undo file is taken for a whole one");
	bcfmt_ctx_fault_clear(run->ctx);
	for (size_t i = 0; i < run->task.n; i++)
		bcfmt_dev_free(again[i]);
	bcfmt_dev_free(store);
	return is_good;
}

/* The old state or the new one, nothing in between. */
static bool judge_switch(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	uint64_t print, left;

	if (run->task.kind != TASK_REPAIR || !run->has_before)
		return true;
	if (task_look(&run->task, devs, &print, &left))
		return complain(run, cut, "cannot be checked as it is");
	if (print != run->print_before && print != run->print)
		return complain(run, cut,
				"holds neither what was there before nor what is afterwards");
	return true;
}

static bool judge_rerun(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	uint64_t print, left;

	if (task_run(&run->task, devs, NULL))
		return complain(run, cut, "cannot be done again");
	if (task_look(&run->task, devs, &print, &left))
		return complain(run, cut, "cannot be checked");
	if (left > run->left)
		return complain(run, cut, "has more findings than after the whole run");
	if (print != run->print)
		return complain(run, cut, "does not hold the same");
	for (size_t i = 0; i < run->task.n; i++)
		if (bcfmt_dev_bytes(devs[i]) != bcfmt_dev_bytes(run->image[i]))
			return complain(run, cut, "has another size");
	return true;
}

/* Data that was brought home; the cache is written elsewhere by another run. */
static bool judge_home(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	struct bcfmt_set *set;
	bool is_good = true;

	if (run->task.kind < TASK_WRITEBACK)
		return true;
	if (bcfmt_set_open(run->ctx, devs, run->task.n, NULL, &set))
		return complain(run, cut, "cannot be opened");
	for (size_t i = 0; i < run->task.n && is_good; i++)
		if (devs[i] != set->cache.dev &&
		    !is_same(run, i, DATA_SECTOR, devs[i], run->recorder[i]))
			is_good = complain(run, cut, "is not what it is after the whole run");
	bcfmt_set_free(set);
	return is_good;
}

/* ---- the states ---- */

/* Only the undo file was written to since the cut before: the devices are as they were. */
static bool has_devices_changed(const struct run *run, uint32_t n)
{
	struct bcfmt_write_log_entry entry;

	return n == run->first || !entry_of(run, run->task.n, n - 1, &entry);
}

static void make_state(struct run *run, const struct cut *cut, size_t i, struct bcfmt_dev **made,
		       struct bcfmt_dev **dev)
{
	struct cut whole = { cut->n, LOSE_NOTHING, 0 };
	bool is_this = cut->loss == LOSE_NOTHING || states_losable(&run->states[i], cut) > 0;
	struct bcfmt_dev *state = states_make(&run->states[i], is_this ? cut : &whole, made);

	if (!state || bcfmt_dev_overlay(run->ctx, state, dev))
		die(run, "no state");
}

static void judge_cut(struct run *run, const struct cut *cut)
{
	struct bcfmt_dev *made[DISKS_MAX] = { NULL }, *dev[DISKS_MAX] = { NULL };
	struct bcfmt_dev *again[DEVICES_MAX] = { NULL };
	bool is_possible = cut->loss == LOSE_NOTHING;

	for (size_t i = 0; i < run->n_disks; i++)
		is_possible |= states_losable(&run->states[i], cut) > 0;
	if (!is_possible)
		return;
	for (size_t i = 0; i < run->n_disks; i++)
		make_state(run, cut, i, &made[i], &dev[i]);
	for (size_t i = 0; i < run->task.n; i++)
		if (bcfmt_dev_overlay(run->ctx, dev[i], &again[i]))
			die(run, "no state");
	run->cuts++;
	if (has_devices_changed(run, cut->n) && judge_switch(run, cut, again) &&
	    judge_rerun(run, cut, again))
		judge_home(run, cut, again);
	judge_spoilt(run, cut, true, dev);
	judge_spoilt(run, cut, false, dev);
	judge_undo(run, cut, dev[run->task.n], dev);
	for (size_t i = 0; i < run->task.n; i++)
		bcfmt_dev_free(again[i]);
	for (size_t i = 0; i < run->n_disks; i++) {
		bcfmt_dev_free(dev[i]);
		bcfmt_dev_free(made[i]);
	}
}

static size_t disk_of(const struct run *run, uint32_t n)
{
	struct bcfmt_write_log_entry entry;

	for (size_t i = 0; i < run->n_disks; i++)
		if (entry_of(run, i, n, &entry))
			return i;
	return run->n_disks;
}

/* After a flush, and where another disk is written to next, there is always a cut. */
static bool is_turn(const struct run *run, uint32_t n)
{
	size_t i = n > run->first ? disk_of(run, n - 1) : run->n_disks;
	struct bcfmt_write_log_entry entry;

	return i == run->n_disks || n == run->last || disk_of(run, n) != i ||
	       (entry_of(run, i, n - 1, &entry) && !entry.is_write);
}

static void cut_everywhere(struct run *run)
{
	static const enum loss random_losses[] = { LOSE_SOME, LOSE_TORN, LOSE_IN_FLIGHT };
	uint32_t step = run->most ? (run->last - run->first) / run->most + 1 : 1;

	for (uint32_t n = run->first; n <= run->last; n++) {
		if ((n - run->first) % step && !is_turn(run, n))
			continue;
		for (size_t i = 0; i < run->n_disks; i++)
			if (!states_advance(&run->states[i], n))
				die(run, "no state");
		judge_cut(run, &(struct cut){ n, LOSE_NOTHING, 0 });
		judge_cut(run, &(struct cut){ n, LOSE_EVERYTHING, 0 });
		for (size_t i = 0; i < sizeof(random_losses) / sizeof(random_losses[0]); i++)
			for (unsigned int round = 0; round < run->rounds; round++)
				judge_cut(run, &(struct cut){ n, random_losses[i], round });
	}
}

static void add_image(struct run *run, const char *path, enum bcfmt_role role)
{
	size_t i = run->task.n++;

	if (i == DEVICES_MAX)
		exit(2);
	run->roles[i] = role;
	if (bcfmt_dev_open(run->ctx, path, 0, &run->image[i]))
		die(run, path);
}

static void read_options(struct run *run, int argc, char **argv)
{
	static const struct option options[] = {
		{ "task", required_argument, NULL, 't' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "most", required_argument, NULL, 'm' },
		{ "incarnation", required_argument, NULL, 'i' },
		{ "cache", required_argument, NULL, 'c' },
		{ "backing", required_argument, NULL, 'b' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 't':
			if (!task_parse(optarg, &run->task.kind))
				exit(2);
			break;
		case 'r':
			run->rounds = (unsigned int)atoi(optarg);
			break;
		case 'm':
			run->most = (uint32_t)atoi(optarg);
			break;
		case 'i':
			run->task.params.incarnation_seq = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			add_image(run, optarg, BCFMT_ROLE_CACHE);
			break;
		case 'b':
			add_image(run, optarg, BCFMT_ROLE_BACKING);
			break;
		default:
			exit(2);
		}
	}
	for (; optind < argc; optind++)
		add_image(run, argv[optind], BCFMT_ROLE_AUTO);
	if (!run->task.n)
		exit(2);
	run->task.params.roles = run->roles;
}

/* Where nothing can be repaired there is nothing to cut. */
static bool is_written(const struct run *run)
{
	struct bcfmt_write_log_entry entry;

	for (uint32_t n = run->first; n < run->last; n++)
		if (!entry_of(run, run->task.n, n, &entry))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct run run = { .rounds = 4, .task.params.check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_ctx_params ctx_params = { .threads = 1 };
	struct bcfmt_recording *recording;

	if (bcfmt_ctx_new(&ctx_params, &run.ctx))
		return 1;
	run.task.ctx = run.ctx;
	read_options(&run, argc, argv);
	if (bcfmt_recording_new(run.ctx, &recording))
		die(&run, "cannot record");
	record(&run, recording);
	if (is_written(&run))
		cut_everywhere(&run);
	printf("%" PRIu64 " cuts of %" PRIu32 " writes and flushes, %" PRIu64 " undone, %" PRIu64
	       " spoilt undo files told of\n",
	       run.cuts, run.last - run.first, run.undone, run.refused);
	printf("%" PRIu64 " passed, %u failed\n", run.cuts - run.failures, run.failures);
	for (size_t i = 0; i < run.n_disks; i++) {
		states_close(&run.states[i]);
		bcfmt_dev_free(run.recorder[i]);
		bcfmt_dev_free(run.lower[i]);
		bcfmt_dev_free(run.log[i]);
	}
	for (size_t i = 0; i < run.task.n; i++)
		bcfmt_dev_free(run.image[i]);
	bcfmt_dev_free(run.store);
	bcfmt_recording_free(recording);
	bcfmt_ctx_free(run.ctx);
	return run.failures != 0;
}
