/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Goes through the states that a power cut could have left on a cache, out of a log of the writes
 * that a kernel made to it, and checks and reads each of them in this process.
 *
 * crash_log [--from N] [--step N] [--rounds N] [--jobs N] LOG BACKING
 * crash_log --write CUT FILE LOG      makes a file of one state; CUT as failures name it
 *
 * For every N: all entries; those that may be lost left out; random ones of them; random sectors
 * of them; and, where entry N itself is one that a kernel waits for, parts of it. In each state
 * the check finds nothing that costs space or more, a kernel registers the set, the verdict counts
 * the dirty bytes of the volume, and the volume reads as with all entries, except under keys that
 * no journal entry holds.
 *
 * The backing device was not recorded: what is given is what it was like at the end, marked dirty,
 * and a set without its uuid would be a finding. From entry 15 on the table has the uuid, so it
 * is given to every check as it is.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bcfmt/check.h>

#include "crash.h"

/* The recorded device; the log does not tell its size. */
#define CACHE_BYTES (32ull << 20)
#define FIRST_WHOLE_SET 15u
#define JOBS_MAX 16u
#define FAILURES_SHOWN 10u

struct options {
	uint32_t from;
	uint32_t step;
	unsigned int rounds;
	unsigned int jobs;
	const char *write_cut;
};

/* What one process did; in memory that all share. */
struct tally {
	uint64_t passed; /* numbers of entries */
	uint64_t failed;
	uint64_t cuts[LOSE_IN_FLIGHT + 1];
	uint64_t refused; /* torn nodes that a kernel does not take */
	uint64_t compared;
	uint64_t read;
	uint64_t differ;
	uint64_t differing_cuts;
};

struct worker {
	const struct options *options;
	struct bcfmt_ctx *ctx;
	struct states states;
	struct bcfmt_dev *backing;
	struct bcfmt_super backing_super;
	struct volume whole, next, other;
	uint8_t *is_changed; /* sectors of the cache that the states after N entries differ in */
	struct tally *tally;
	uint64_t shown;
};

static bool complain(struct worker *w, const struct cut *cut, const char *what)
{
	char name[CUT_NAME_BYTES];

	if (w->shown++ < FAILURES_SHOWN)
		printf("%s: %s%s%s\n", cut_name(cut, name), what,
		       *bcfmt_ctx_fault(w->ctx) ? ": " : "", bcfmt_ctx_fault(w->ctx));
	fflush(stdout);
	bcfmt_ctx_fault_clear(w->ctx);
	return false;
}

static bool complain_of(struct worker *w, const struct cut *cut,
			const struct bcfmt_finding *finding)
{
	char message[256], text[400];

	bcfmt_finding_message(finding, message, sizeof(message));
	snprintf(text, sizeof(text), "BC%04d %s at bucket %lld: %s", (int)finding->problem->id,
		 finding->problem->slug, (long long)finding->where.bucket, message);
	return complain(w, cut, text);
}

/* The write that is on its way belongs to a node, not to the journal. */
static bool is_torn_node(const struct worker *w, const struct cut *cut, const struct bcfmt_set *set)
{
	struct bcfmt_write_log_entry entry;

	if (cut->loss != LOSE_IN_FLIGHT || bcfmt_write_log_entry(w->states.log, cut->n, &entry) ||
	    !set->has_geometry)
		return false;
	return !bcfmt_bucket_is_journal(&set->geo, entry.start_sector >> set->geo.bucket_shift);
}

/* What is said of a torn node: what its bset held is not read, and so not all of it is proved. */
static bool is_of_torn_node(const struct bcfmt_finding *finding)
{
	return finding->problem->id == BCFMT_P_NODE_BAD_CSUM ||
	       finding->problem->id == BCFMT_P_LEAF_DOUBTFUL;
}

/*
 * No findings but notes. A torn node is one: nothing protects a kernel from it, the check must say
 * so and name that node alone.
 */
static bool judge_findings(struct worker *w, const struct cut *cut, const struct bcfmt_set *set,
			   const struct bcfmt_report *report, bool *is_refused)
{
	bool may_tear = is_torn_node(w, cut, set), is_good = true;
	struct bcfmt_write_log_entry entry = { 0 };

	*is_refused = false;
	bcfmt_write_log_entry(w->states.log, cut->n, &entry);
	for (size_t i = 0; i < bcfmt_report_count(report); i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		if (finding->problem->severity < BCFMT_SEV_WASTE)
			continue;
		if (may_tear && is_of_torn_node(finding) &&
		    finding->where.bucket == entry.start_sector >> set->geo.bucket_shift) {
			*is_refused |= finding->problem->id == BCFMT_P_NODE_BAD_CSUM;
			continue;
		}
		is_good = complain_of(w, cut, finding);
	}
	return is_good;
}

/*
 * A kernel can fail a replay that is sound: where a replayed key spans two leaves and the first of
 * them has to be split. It need not, so the verdict leaves it open, and says why.
 */
static bool may_fail_replay(const struct bcfmt_verdict *verdict)
{
	return verdict->registers == BCFMT_REGISTERS_UNKNOWN && verdict->n_first_lines == 1 &&
	       !strcmp(verdict->first_lines[0], "bcache: replay journal failed");
}

static bool judge_verdict(struct worker *w, const struct cut *cut,
			  const struct bcfmt_verdict *verdict, uint32_t inode,
			  const struct volume *volume, bool is_refused)
{
	enum bcfmt_registers want = is_refused ? BCFMT_REGISTERS_NO : BCFMT_REGISTERS_YES;
	const struct bcfmt_verdict_device *device = NULL;

	if (verdict->registers != want && (is_refused || !may_fail_replay(verdict)))
		return complain(w, cut,
				is_refused ? "a kernel is said to take a torn node"
					   : "a kernel is said to refuse the set");
	for (size_t i = 0; i < verdict->n_devices; i++)
		if (verdict->devices[i].inode == inode)
			device = &verdict->devices[i];
	if (!device || verdict->n_devices != 1)
		return complain(w, cut, "not one device in the verdict");
	if (device->dirty_bytes != volume->dirty_sectors * BCFMT_SECTOR_BYTES)
		return complain(w, cut, "the verdict counts other dirty bytes than the volume has");
	if (!is_refused && device->certainty != BCFMT_EXACT)
		return complain(w, cut, "the verdict is not sure of the dirty bytes");
	if ((device->safe_alone == BCFMT_SAFE) != (!is_refused && !device->dirty_bytes))
		return complain(w, cut, "wrong about whether the device may run alone");
	return true;
}

/* Checks the set with cache in this state and resolves its volume. */
static bool examine(struct worker *w, const struct cut *cut, struct bcfmt_dev *cache,
		    struct volume *volume, uint64_t *newest_seq)
{
	struct bcfmt_dev *devs[] = { cache, w->backing };
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report = NULL;
	struct bcfmt_set *set = NULL;
	uint32_t inode = 0;
	bool is_good = false, is_refused = false;

	if (bcfmt_set_open(w->ctx, devs, 2, NULL, &set) || bcfmt_report_new(w->ctx, &report) ||
	    bcfmt_check_run(set, &params, report, &verdict, NULL, NULL)) {
		complain(w, cut, "not checked");
	} else {
		bcfmt_report_finish(report);
		is_good = judge_findings(w, cut, set, report, &is_refused);
		w->tally->refused += is_refused;
		*newest_seq = set->has_newest ? set->newest.seq : 0;
		if (bcfmt_set_inode(set, w->backing_super.uuid, &inode))
			is_good = complain(w, cut, "the backing device is not in the uuid table");
		else if (!volume_read(volume, set, inode))
			is_good = complain(w, cut, "the volume cannot be read");
		else if (!judge_verdict(w, cut, &verdict, inode, volume, is_refused))
			is_good = false;
	}
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
	return is_good;
}

static bool compare(struct worker *w, const struct cut *cut, const struct volume *whole,
		    struct bcfmt_dev *whole_cache, struct bcfmt_dev *cache)
{
	struct difference difference;
	char text[128];

	if (!volume_compare(whole, whole_cache, &w->other, cache, w->backing, w->is_changed,
			    &difference))
		return complain(w, cut, "not compared");
	w->tally->compared += difference.compared;
	w->tally->read += difference.read;
	w->tally->differ += difference.differ;
	w->tally->differing_cuts += difference.differ != 0;
	if (!difference.wrong)
		return true;
	snprintf(text, sizeof(text), "%llu sectors under keys of the journal differ, first %llu",
		 (unsigned long long)difference.wrong,
		 (unsigned long long)difference.first_wrong_sector);
	return complain(w, cut, text);
}

/* One state that is not whole. */
static bool try_cut(struct worker *w, const struct cut *cut, uint64_t whole_seq)
{
	struct bcfmt_dev *overlay, *cache = states_make(&w->states, cut, &overlay);
	uint64_t seq = 0, next_seq;
	bool is_good;

	if (!cache)
		return complain(w, cut, "the state cannot be made");
	w->tally->cuts[cut->loss]++;
	is_good = examine(w, cut, cache, &w->other, &seq);
	if (is_good && seq != whole_seq) {
		/* Of the entry on its way those sectors did not arrive that look the same. */
		if (cut->loss != LOSE_IN_FLIGHT)
			is_good = complain(w, cut, "another journal entry is the newest");
		else
			is_good = examine(w, cut, w->states.next, &w->next, &next_seq) &&
				  (seq == next_seq || complain(w, cut, "no such journal entry")) &&
				  compare(w, cut, &w->next, w->states.next, cache);
	} else if (is_good) {
		is_good = compare(w, cut, &w->whole, w->states.whole, cache);
	}
	bcfmt_dev_free(overlay);
	return is_good;
}

static void mark_entry(struct worker *w, uint32_t index)
{
	struct bcfmt_write_log_entry entry;

	if (!bcfmt_write_log_entry(w->states.log, index, &entry) && entry.is_write)
		memset(w->is_changed + entry.start_sector, 1, entry.sectors);
}

/* All states after n entries. */
static bool try_number(struct worker *w, uint32_t n)
{
	static const enum loss losses[] = { LOSE_EVERYTHING, LOSE_SOME, LOSE_TORN, LOSE_IN_FLIGHT };
	struct cut cut = { n, LOSE_NOTHING, 0 };
	uint64_t whole_seq = 0;
	bool is_good;

	if (!states_advance(&w->states, n))
		return complain(w, &cut, "the state cannot be made");
	memset(w->is_changed, 0, CACHE_BYTES / BCFMT_SECTOR_BYTES);
	for (uint32_t i = bcfmt_write_log_first_volatile(w->states.log, n); i <= n; i++)
		mark_entry(w, i);
	w->tally->cuts[LOSE_NOTHING]++;
	is_good = examine(w, &cut, w->states.whole, &w->whole, &whole_seq);
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		unsigned int rounds = losses[i] == LOSE_EVERYTHING ? 1 : w->options->rounds;

		cut.loss = losses[i];
		if (!states_losable(&w->states, &cut))
			continue;
		for (cut.round = 0; cut.round < rounds; cut.round++)
			is_good &= try_cut(w, &cut, whole_seq);
	}
	return is_good;
}

static bool worker_open(struct worker *w, const char *log_path, const char *backing_path)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	uint8_t raw[BCFMT_SUPER_BYTES];

	if (bcfmt_ctx_new(&params, &w->ctx) ||
	    !states_open(&w->states, w->ctx, log_path, CACHE_BYTES) ||
	    bcfmt_dev_open(w->ctx, backing_path, 0, &w->backing) ||
	    bcfmt_dev_read(w->backing, BCFMT_SUPER_OFFSET_BYTES, raw, sizeof(raw)))
		return false;
	bcfmt_super_decode(raw, &w->backing_super);
	w->is_changed = malloc(CACHE_BYTES / BCFMT_SECTOR_BYTES);
	for (size_t i = 0; i < 3; i++)
		if (!volume_new(i == 0	 ? &w->whole
				: i == 1 ? &w->next
					 : &w->other,
				bcfmt_dev_bytes(w->backing), w->backing_super.data_offset_sectors))
			return false;
	return w->is_changed != NULL;
}

static void worker_close(struct worker *w)
{
	volume_free(&w->whole);
	volume_free(&w->next);
	volume_free(&w->other);
	free(w->is_changed);
	bcfmt_dev_free(w->backing);
	states_close(&w->states);
	bcfmt_ctx_free(w->ctx);
}

/* Every jobs-th of the numbers, so that all have the same work. */
static int work(const struct options *options, unsigned int job, struct tally *tally,
		char *const *paths)
{
	struct worker w = { .options = options, .tally = tally };
	uint32_t n, last;

	if (!worker_open(&w, paths[0], paths[1])) {
		fprintf(stderr, "crash_log: %s\n", w.ctx ? bcfmt_ctx_fault(w.ctx) : "no memory");
		return 1;
	}
	last = bcfmt_write_log_entries(w.states.log);
	for (n = options->from + job * options->step; n <= last; n += options->jobs * options->step)
		*(try_number(&w, n) ? &tally->passed : &tally->failed) += 1;
	if (w.shown > FAILURES_SHOWN)
		printf("and %llu more\n", (unsigned long long)(w.shown - FAILURES_SHOWN));
	fflush(stdout);
	worker_close(&w);
	return 0;
}

static void add_up(struct tally *sum, const struct tally *tally)
{
	sum->passed += tally->passed;
	sum->failed += tally->failed;
	for (size_t i = 0; i <= LOSE_IN_FLIGHT; i++)
		sum->cuts[i] += tally->cuts[i];
	sum->refused += tally->refused;
	sum->compared += tally->compared;
	sum->read += tally->read;
	sum->differ += tally->differ;
	sum->differing_cuts += tally->differing_cuts;
}

static void tell(const struct tally *t, double seconds)
{
	printf("states: %llu whole, %llu without what may be lost, %llu without some writes, "
	       "%llu without some sectors, %llu with a torn last write (%llu nodes)\n",
	       (unsigned long long)t->cuts[LOSE_NOTHING],
	       (unsigned long long)t->cuts[LOSE_EVERYTHING], (unsigned long long)t->cuts[LOSE_SOME],
	       (unsigned long long)t->cuts[LOSE_TORN], (unsigned long long)t->cuts[LOSE_IN_FLIGHT],
	       (unsigned long long)t->refused);
	printf("sectors: %llu compared, %llu of them read, %llu differ (in %llu states)\n",
	       (unsigned long long)t->compared, (unsigned long long)t->read,
	       (unsigned long long)t->differ, (unsigned long long)t->differing_cuts);
	printf("%.1f seconds\n", seconds);
	printf("%llu passed, %llu failed\n", (unsigned long long)t->passed,
	       (unsigned long long)t->failed);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int run_jobs(const struct options *options, char *const *paths)
{
	struct tally *tallies = mmap(NULL, JOBS_MAX * sizeof(*tallies), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tally sum = { 0 };
	double begin = now();
	bool has_failed = false;
	int status;

	if (tallies == MAP_FAILED) {
		perror("crash_log: mmap");
		return 1;
	}
	for (unsigned int job = 0; job < options->jobs; job++) {
		pid_t pid = fork();

		/* exit() and not _exit(): a sanitizer looks for leaks there. */
		if (!pid)
			exit(work(options, job, &tallies[job], paths));
		has_failed |= pid < 0;
	}
	while (wait(&status) > 0)
		has_failed |= status != 0;
	for (unsigned int job = 0; job < options->jobs; job++)
		add_up(&sum, &tallies[job]);
	sum.failed += has_failed;
	tell(&sum, now() - begin);
	munmap(tallies, JOBS_MAX * sizeof(*tallies));
	return sum.failed || !sum.passed;
}

/* Writes what is not zero; the rest of the file is a hole. */
static bool write_file(struct bcfmt_dev *dev, const char *path)
{
	static const uint8_t zeros[4096];
	FILE *file = fopen(path, "w");
	bool is_good = file && !ftruncate(fileno(file), (off_t)bcfmt_dev_bytes(dev));
	uint8_t buf[sizeof(zeros)];

	for (uint64_t at = 0; is_good && at < bcfmt_dev_bytes(dev); at += sizeof(buf)) {
		is_good = !bcfmt_dev_read(dev, at, buf, sizeof(buf));
		if (is_good && memcmp(buf, zeros, sizeof(buf)))
			is_good = !fseeko(file, (off_t)at, SEEK_SET) &&
				  fwrite(buf, sizeof(buf), 1, file) == 1;
	}
	return file && !fclose(file) && is_good;
}

static int write_state(const char *cut_text, const char *file_path, const char *log_path)
{
	struct bcfmt_ctx_params params = { .threads = 1 };
	struct bcfmt_dev *dev = NULL, *overlay = NULL;
	struct states states = { 0 };
	struct bcfmt_ctx *ctx;
	struct cut cut;
	bool is_good;

	if (!cut_parse(cut_text, &cut)) {
		fprintf(stderr, "crash_log: %s is no state\n", cut_text);
		return 2;
	}
	if (bcfmt_ctx_new(&params, &ctx))
		return 1;
	is_good =
		states_open(&states, ctx, log_path, CACHE_BYTES) && states_advance(&states, cut.n);
	if (is_good && cut.loss != LOSE_NOTHING && !states_losable(&states, &cut)) {
		fprintf(stderr, "crash_log: %s: nothing to lose there\n", cut_text);
		is_good = false;
	} else if (is_good) {
		dev = states_make(&states, &cut, &overlay);
		is_good = dev && write_file(dev, file_path);
	}
	if (!is_good)
		fprintf(stderr, "crash_log: %s not written: %s\n", file_path, bcfmt_ctx_fault(ctx));
	bcfmt_dev_free(overlay);
	states_close(&states);
	bcfmt_ctx_free(ctx);
	return is_good ? 0 : 1;
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = {
		{ "from", required_argument, NULL, 'f' },
		{ "step", required_argument, NULL, 's' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "write", required_argument, NULL, 'w' },
		{ 0 },
	};
	int c;

	*options = (struct options){ FIRST_WHOLE_SET, 1, 8, 2, NULL };
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		unsigned int number = optarg ? (unsigned int)strtoul(optarg, NULL, 10) : 0;

		switch (c) {
		case 'f':
			options->from = number;
			break;
		case 's':
			options->step = number;
			break;
		case 'r':
			options->rounds = number;
			break;
		case 'j':
			options->jobs = number;
			break;
		case 'w':
			options->write_cut = optarg;
			break;
		default:
			return false;
		}
	}
	return argc - optind == 2 && options->step && options->jobs && options->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
	struct options options;

	if (!parse_options(argc, argv, &options)) {
		fprintf(stderr, "usage: crash_log [--from N] [--step N] [--rounds N] [--jobs N] "
				"LOG BACKING\n       crash_log --write CUT FILE LOG\n");
		return 2;
	}
	argv += optind;
	if (options.write_cut)
		return write_state(options.write_cut, argv[0], argv[1]);
	return run_jobs(&options, argv);
}
