/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power cuts while a set is repaired: the repair is recorded, and every state that a cut could have
 * left is repaired once more.
 *
 * repair_cuts [--rounds N] [--step N] [--incarnation SEQ] IMAGE...
 *
 * After every write: all of them; those that may be lost left out; random ones of them; random
 * sectors of them; parts of the write that is on its way. In each state a further run ends with a
 * set in which nothing is found that the whole repair does not leave, and in which every sector has
 * the place on the cache that it has after the whole repair. The undo file brings back every byte.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bcfmt/crc64.h>
#include <bcfmt/repair.h>
#include <bcfmt/tree.h>
#include <bcfmt/write_log.h>

#include "kit/states.h"

#define DEVICES_MAX 8u
#define LOG_BYTES (4ull << 30) /* sparse */
#define WRITES_MAX 65536u
#define FAILURES_MAX 10u
#define COMPARE_BYTES (1u << 20)

struct run {
	struct bcfmt_ctx *ctx;
	unsigned int rounds;
	uint32_t step;
	struct bcfmt_repair_params params;
	size_t n;
	struct bcfmt_dev *image[DEVICES_MAX];
	struct bcfmt_dev *lower[DEVICES_MAX]; /* an overlay that the repair is committed to */
	struct bcfmt_dev *log[DEVICES_MAX];
	struct bcfmt_dev *recorder[DEVICES_MAX];
	struct states states[DEVICES_MAX];
	struct bcfmt_dev *undo_store;
	struct bcfmt_repair_write *writes; /* of the repair; dev is a recorder */
	size_t n_writes;
	uint64_t print; /* of the repaired set */
	uint64_t left;	/* findings in it */
	uint64_t cuts;
	uint64_t undone;
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

/* ---- what a set holds ---- */

struct print {
	struct bcfmt_extent run; /* extents that go on are one */
	uint64_t crc;
};

static void add_run(struct print *print)
{
	const struct bcfmt_extent *run = &print->run;
	uint64_t words[5] = { run->inode, run->start_sector, run->end_sector,
			      bcfmt_ptr_sector(run->ptr), run->is_dirty };

	if (run->end_sector)
		print->crc = bcfmt_crc64_seeded(print->crc, words, sizeof(words));
}

static bcfmt_err add_leaf(void *arg, const struct bcfmt_node_view *view,
			  const struct bcfmt_extent *extents, size_t n_extents)
{
	struct print *print = arg;
	struct bcfmt_extent *run = &print->run;

	(void)view;
	for (size_t i = 0; i < n_extents; i++) {
		const struct bcfmt_extent *extent = &extents[i];
		uint64_t sectors = run->end_sector - run->start_sector;

		if (extent->stale)
			continue;
		if (run->end_sector == extent->start_sector && run->inode == extent->inode &&
		    run->is_dirty == extent->is_dirty &&
		    bcfmt_ptr_sector(run->ptr) + sectors == bcfmt_ptr_sector(extent->ptr)) {
			run->end_sector = extent->end_sector;
			continue;
		}
		add_run(print);
		*run = *extent;
	}
	return BCFMT_OK;
}

/* Checksum of the place of every sector, and the number of findings worse than notes. */
static bcfmt_err look_at(struct run *run, struct bcfmt_dev *const *devs, uint64_t *crc,
			 uint64_t *left)
{
	struct bcfmt_tree_visitor visitor = { .leaf = add_leaf };
	struct bcfmt_tree_visitor nobody = { .arg = NULL };
	struct bcfmt_set_params params = { 0 };
	struct bcfmt_verdict verdict = { 0 };
	struct print print = { 0 };
	struct bcfmt_report *report = NULL;
	struct bcfmt_set *set = NULL;
	struct bcfmt_tree *tree = NULL;
	bool again;
	bcfmt_err err = bcfmt_set_open(run->ctx, devs, run->n, &params, &set);

	visitor.arg = &print;
	*left = 0;
	if (!err)
		err = bcfmt_report_new(run->ctx, &report);
	if (!err)
		err = bcfmt_check_run(set, &run->params.check, report, &verdict, NULL, NULL);
	if (!err)
		err = bcfmt_tree_open(set, &nobody, &tree);
	if (!err)
		err = bcfmt_tree_walk_leaves(tree, &nobody, &again);
	if (!err)
		err = bcfmt_tree_range(tree, (struct bcfmt_pos){ 0, 0 }, bcfmt_pos_max(), &visitor);
	if (!err) {
		bcfmt_report_finish(report);
		for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
			*left += bcfmt_report_severity_total(report, (enum bcfmt_severity)severity);
		add_run(&print);
	}
	*crc = print.crc;
	bcfmt_tree_free(tree);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
	return err;
}

/* ---- the repair that is recorded ---- */

static bcfmt_err note_write(void *arg, const struct bcfmt_repair_write *write)
{
	struct run *run = arg;

	if (run->n_writes == WRITES_MAX)
		return bcfmt_fail(run->ctx, BCFMT_E_UNSUPPORTED, "too many writes");
	run->writes[run->n_writes++] = *write;
	return BCFMT_OK;
}

static struct bcfmt_dev *sparse(struct run *run, uint64_t bytes)
{
	char path[] = "/tmp/repair-cuts.XXXXXX";
	int fd = mkstemp(path);
	struct bcfmt_dev *dev;

	if (fd < 0 || ftruncate(fd, (off_t)bytes) || close(fd) ||
	    bcfmt_dev_open(run->ctx, path, BCFMT_OPEN_WRITE, &dev))
		die(run, "no temporary file");
	unlink(path);
	return dev;
}

static bcfmt_err commit(struct run *run, struct bcfmt_repair_run *repair, bool is_saved)
{
	struct bcfmt_undo *undo = NULL;
	bcfmt_err err = BCFMT_OK;

	if (is_saved) {
		run->undo_store = sparse(run, LOG_BYTES);
		err = bcfmt_undo_create_on(run->ctx, run->undo_store, "test", &undo);
		if (!err)
			err = bcfmt_repair_save(repair, undo);
		if (!err)
			err = bcfmt_repair_writes(repair, note_write, run);
		bcfmt_undo_free(undo);
	}
	return err ? err : bcfmt_repair_commit(repair);
}

/* Repairs devs as far as -y does. */
static bcfmt_err repair_devs(struct run *run, struct bcfmt_dev *const *devs, bool is_saved)
{
	struct bcfmt_repair_run *repair = NULL;
	enum bcfmt_rehearsal result = BCFMT_REHEARSAL_MORE;
	bcfmt_err err = bcfmt_repair_open(run->ctx, devs, run->n, &run->params, &repair);

	while (!err && result == BCFMT_REHEARSAL_MORE) {
		bcfmt_repair_agree_all(repair, BCFMT_CONSENT_ASK);
		err = bcfmt_repair_rehearse(repair, &result);
	}
	if (!err && result == BCFMT_REHEARSAL_REJECTED)
		err = BCFMT_E_DAMAGED;
	if (!err && result == BCFMT_REHEARSAL_READY)
		err = commit(run, repair, is_saved);
	bcfmt_repair_free(repair);
	return err;
}

static uint32_t record(struct run *run, struct bcfmt_recording *recording)
{
	uint32_t first;

	for (size_t i = 0; i < run->n; i++) {
		run->log[i] = sparse(run, LOG_BYTES);
		if (bcfmt_dev_overlay(run->ctx, run->image[i], &run->lower[i]) ||
		    bcfmt_dev_recording(run->ctx, recording, run->lower[i], run->log[i],
					&run->recorder[i]))
			die(run, "cannot record");
	}
	first = bcfmt_recording_entries(recording);
	if (repair_devs(run, run->recorder, true))
		die(run, "cannot repair");
	if (look_at(run, run->recorder, &run->print, &run->left))
		die(run, "cannot check what was repaired");
	for (size_t i = 0; i < run->n; i++)
		if (!states_open_dev(&run->states[i], run->ctx, run->log[i],
				     bcfmt_dev_bytes(run->image[i])))
			die(run, "cannot read the log");
	return first;
}

/* ---- the states ---- */

static bool compare(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	static uint8_t a[COMPARE_BYTES], b[COMPARE_BYTES];

	for (size_t i = 0; i < run->n_writes; i++) {
		const struct bcfmt_repair_write *write = &run->writes[i];
		size_t k = 0;

		while (run->recorder[k] != write->dev)
			k++;
		for (uint64_t done = 0; done < write->len_bytes; done += sizeof(a)) {
			uint64_t rest = write->len_bytes - done;
			size_t len = rest < sizeof(a) ? (size_t)rest : sizeof(a);

			if (bcfmt_dev_read(devs[k], write->offset_bytes + done, a, len) ||
			    bcfmt_dev_read(run->image[k], write->offset_bytes + done, b, len))
				return complain(run, cut, "cannot be read");
			if (memcmp(a, b, len) != 0)
				return complain(run, cut, "is not what it was after --undo");
		}
	}
	return true;
}

/* The undo file gives the old state back. */
static bool judge_undo(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	struct bcfmt_undo_file *file;
	bcfmt_err err = bcfmt_undo_file_open_dev(run->ctx, run->undo_store, &file);
	bool is_good;

	if (!err)
		err = bcfmt_undo_file_match(file, devs, run->n);
	if (!err)
		err = bcfmt_undo_file_check(file, NULL, NULL);
	if (!err)
		err = bcfmt_undo_file_apply(file, 0);
	is_good = err ? complain(run, cut, "cannot be undone") : compare(run, cut, devs);
	bcfmt_undo_file_free(file);
	run->undone++;
	return is_good;
}

static bool judge_repair(struct run *run, const struct cut *cut, struct bcfmt_dev *const *devs)
{
	uint64_t print, left;

	if (repair_devs(run, devs, false))
		return complain(run, cut, "cannot be repaired again");
	if (look_at(run, devs, &print, &left))
		return complain(run, cut, "cannot be checked");
	if (left > run->left)
		return complain(run, cut, "has more findings than after the whole repair");
	if (print != run->print)
		return complain(run, cut, "does not hold the same");
	return true;
}

/* Overlays over the devices in this state; false when none of them can be in it. */
static bool judge_cut(struct run *run, const struct cut *cut)
{
	struct bcfmt_dev *made[DEVICES_MAX] = { NULL }, *dev[DEVICES_MAX] = { NULL };
	struct bcfmt_dev *again[DEVICES_MAX] = { NULL };
	struct cut whole = { cut->n, LOSE_NOTHING, 0 };
	bool is_possible = cut->loss == LOSE_NOTHING, is_good = true;

	for (size_t i = 0; i < run->n; i++)
		is_possible |= states_losable(&run->states[i], cut) > 0;
	if (!is_possible)
		return true;
	for (size_t i = 0; i < run->n; i++) {
		bool is_this =
			cut->loss == LOSE_NOTHING || states_losable(&run->states[i], cut) > 0;
		struct bcfmt_dev *state =
			states_make(&run->states[i], is_this ? cut : &whole, &made[i]);

		if (!state || bcfmt_dev_overlay(run->ctx, state, &dev[i]) ||
		    bcfmt_dev_overlay(run->ctx, state, &again[i]))
			die(run, "no state");
	}
	run->cuts++;
	is_good = judge_repair(run, cut, dev);
	if (is_good)
		is_good = judge_undo(run, cut, again);
	for (size_t i = 0; i < run->n; i++) {
		bcfmt_dev_free(again[i]);
		bcfmt_dev_free(dev[i]);
		bcfmt_dev_free(made[i]);
	}
	return is_good;
}

static void cut_everywhere(struct run *run, uint32_t first, uint32_t last)
{
	static const enum loss random_losses[] = { LOSE_SOME, LOSE_TORN, LOSE_IN_FLIGHT };

	for (uint32_t n = first; n <= last; n += run->step) {
		for (size_t i = 0; i < run->n; i++)
			if (!states_advance(&run->states[i], n))
				die(run, "no state");
		judge_cut(run, &(struct cut){ n, LOSE_NOTHING, 0 });
		judge_cut(run, &(struct cut){ n, LOSE_EVERYTHING, 0 });
		for (size_t i = 0; i < sizeof(random_losses) / sizeof(random_losses[0]); i++)
			for (unsigned int round = 0; round < run->rounds; round++)
				judge_cut(run, &(struct cut){ n, random_losses[i], round });
	}
}

static void read_options(struct run *run, int argc, char **argv)
{
	static const struct option options[] = { { "rounds", required_argument, NULL, 'r' },
						 { "step", required_argument, NULL, 's' },
						 { "incarnation", required_argument, NULL, 'i' },
						 { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'r':
			run->rounds = (unsigned int)atoi(optarg);
			break;
		case 's':
			run->step = (uint32_t)atoi(optarg);
			break;
		case 'i':
			run->params.incarnation_seq = strtoull(optarg, NULL, 10);
			break;
		default:
			exit(2);
		}
	}
	run->n = (size_t)(argc - optind);
	if (!run->n || run->n > DEVICES_MAX || !run->step)
		exit(2);
	for (size_t i = 0; i < run->n; i++)
		if (bcfmt_dev_open(run->ctx, argv[optind + (int)i], 0, &run->image[i]))
			die(run, argv[optind + (int)i]);
}

int main(int argc, char **argv)
{
	struct run run = { .rounds = 4, .step = 1, .params.check.level = BCFMT_LEVEL_FULL };
	struct bcfmt_ctx_params ctx_params = { .threads = 1 };
	struct bcfmt_recording *recording;
	uint32_t first;

	run.writes = calloc(WRITES_MAX, sizeof(*run.writes));
	if (!run.writes || bcfmt_ctx_new(&ctx_params, &run.ctx))
		return 1;
	read_options(&run, argc, argv);
	if (bcfmt_recording_new(run.ctx, &recording))
		die(&run, "cannot record");
	first = record(&run, recording);
	/* Where nothing can be repaired there is nothing to cut. */
	if (run.n_writes)
		cut_everywhere(&run, first, bcfmt_recording_entries(recording));
	printf("%" PRIu64 " cuts of %zu writes, %" PRIu64 " undone\n", run.cuts, run.n_writes,
	       run.undone);
	printf("%" PRIu64 " passed, %u failed\n", run.cuts - run.failures, run.failures);
	for (size_t i = 0; i < run.n; i++) {
		states_close(&run.states[i]);
		bcfmt_dev_free(run.recorder[i]);
		bcfmt_dev_free(run.lower[i]);
		bcfmt_dev_free(run.log[i]);
		bcfmt_dev_free(run.image[i]);
	}
	bcfmt_dev_free(run.undo_store);
	bcfmt_recording_free(recording);
	bcfmt_ctx_free(run.ctx);
	free(run.writes);
	return run.failures || (run.n_writes && !run.cuts);
}
