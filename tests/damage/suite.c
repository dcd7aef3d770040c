/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_suite [--step N] [--skip N] [--only DAMAGE] --volume INODE TRUTH... LIST BASE_FOLDER
 *              WORK_FOLDER
 *
 * Does each damage of the list to a copy of the set in BASE_FOLDER, lets bcache-fsck -y repair it,
 * twice, and compares the volumes that bcache-dump then exports with the truth, sector by sector.
 * What differs must be what the first run called lost or doubtful. Prints a line a pair:
 *   pair DAMAGE IMAGE full|loss|left|part|untold|fail LOST DOUBTFUL RIGHT SILENT WRONG
 * (sectors reported lost, doubtful, reported although they are right; silent loss; wrong data), a
 * line "fail DAMAGE IMAGE: why" for each fault, "cannot be told DAMAGE IMAGE: why", and the bounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bcfmt/crc64.h>
#include <bcfmt/super.h>

#include "base/checked.h"
#include "damage/damage.h"

#define CHUNK_BYTES (64u << 10)

struct suite {
	char base_dir[PATH_MAX];
	struct {
		int fd;
		uint64_t bytes;
		bool has_changed; /* the copy, since it was as the base */
	} base[1 + RECIPE_BACKING_MAX];
	uint8_t chunk[2][CHUNK_BYTES];
	struct recipe_build build;
	struct names names;
	struct volume volumes[VOLUMES_MAX];
	size_t n_volumes;
	uint8_t *marks; /* a sector of the largest volume */
	uint64_t most_microseconds;
	uint64_t most_bytes;
	uint64_t sum_microseconds;
	uint64_t failed;
};

/* One damage of one image. */
struct pair {
	struct suite *suite;
	const struct damage *damage;
	struct inflicted inflicted;
	struct missed missed;
	struct ran first;
	struct told told;
	bool is_written; /* by the first run */
	bool has_failed;
	const char *excuse;
	uint64_t lost;
	uint64_t doubtful;
	uint64_t right;
	uint64_t silent;
	uint64_t wrong;
	char faults[1024];
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "damage_suite: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void fail(struct pair *pair, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct pair *pair, const char *fmt, ...)
{
	size_t n = strlen(pair->faults);
	va_list args;

	pair->has_failed = true;
	if (n)
		n += (size_t)snprintf(pair->faults + n, sizeof(pair->faults) - n, "; ");
	va_start(args, fmt);
	if (n < sizeof(pair->faults))
		vsnprintf(pair->faults + n, sizeof(pair->faults) - n, fmt, args);
	va_end(args);
}

/* ---- files ---- */

static const uint8_t *map_file(const char *path, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	*bytes = (uint64_t)st.st_size;
	return map == MAP_FAILED ? NULL : map;
}

/* Images have a time that no write gives them, so that a write shows. */
static const struct timespec untouched[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

static bool is_touched(const struct recipe_image *image)
{
	struct stat st;

	return image->fd >= 0 && !fstat(image->fd, &st) &&
	       (st.st_mtim.tv_sec != untouched[0].tv_sec || st.st_mtim.tv_nsec);
}

/* Whether anything was written since the last call. What was, has to be put back some time. */
static bool take_touched(struct suite *suite)
{
	bool is_any = false;

	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		const struct recipe_image *image = &suite->build.image[i];

		if (!is_touched(image))
			continue;
		is_any = true;
		suite->base[i].has_changed = true;
		if (futimens(image->fd, untouched))
			die(image->file);
	}
	return is_any;
}

static bool is_wounded(const struct vec *wounds, uint32_t device, uint64_t at_bytes)
{
	for (size_t i = 0; i < wounds->n; i++) {
		const struct wound *item = VEC_AT(wounds, const struct wound, i);

		if (item->device == device && at_bytes + BCFMT_SECTOR_BYTES > item->at_bytes &&
		    at_bytes <
			    item->at_bytes + min_u64(item->len_bytes, UINT64_MAX - item->at_bytes))
			return true;
	}
	return false;
}

static void read_chunk(int fd, const char *name, uint8_t *buf, size_t len_bytes, uint64_t at_bytes)
{
	if (pread(fd, buf, len_bytes, (off_t)at_bytes) != (ssize_t)len_bytes)
		die(name);
}

/* Sectors that were not damaged and differ from the base; all are as in the base then. */
static uint64_t restore_image(struct suite *suite, uint32_t device, const struct vec *wounds)
{
	struct recipe_image *image = &suite->build.image[device];
	uint64_t bytes = suite->base[device].bytes, strange = 0;

	image->bytes = bytes;
	if (!suite->base[device].has_changed)
		return 0;
	suite->base[device].has_changed = false;
	if (ftruncate(image->fd, (off_t)bytes))
		die(image->file);
	for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
		size_t len_bytes = (size_t)min_u64(CHUNK_BYTES, bytes - at);

		read_chunk(suite->base[device].fd, image->file, suite->chunk[0], len_bytes, at);
		read_chunk(image->fd, image->file, suite->chunk[1], len_bytes, at);
		if (!memcmp(suite->chunk[0], suite->chunk[1], len_bytes))
			continue;
		for (size_t in = 0; in < len_bytes; in += BCFMT_SECTOR_BYTES)
			strange += memcmp(suite->chunk[0] + in, suite->chunk[1] + in,
					  BCFMT_SECTOR_BYTES) != 0 &&
				   !is_wounded(wounds, device, at + in);
		if (!recipe_image_write(&suite->build, device, at, suite->chunk[0], len_bytes))
			die(suite->build.error->text);
	}
	return strange;
}

static uint64_t restore(struct suite *suite, const struct vec *wounds)
{
	uint64_t strange = 0;

	take_touched(suite);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (suite->build.image[i].fd >= 0)
			strange += restore_image(suite, i, wounds);
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		if (is_touched(&suite->build.image[i]) &&
		    futimens(suite->build.image[i].fd, untouched))
			die(suite->build.image[i].file);
	return strange;
}

/* The first copy, and the way back to it. */
static bool copy_base(struct suite *suite)
{
	if (!recipe_images_copy(&suite->build, suite->base_dir))
		return false;
	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++) {
		char file[PATH_MAX + 64];

		if (suite->build.image[i].fd < 0)
			continue;
		snprintf(file, sizeof(file), "%s/%s", suite->base_dir, suite->build.image[i].file);
		suite->base[i].fd = open(file, O_RDONLY | O_CLOEXEC);
		suite->base[i].bytes = suite->build.image[i].bytes;
		if (suite->base[i].fd < 0)
			die(file);
	}
	restore(suite, &(struct vec){ 0 });
	return true;
}

/* ---- what came of it ---- */

static void count_run(struct pair *pair, const struct ran *ran, const char *what)
{
	struct suite *suite = pair->suite;

	suite->sum_microseconds += ran->microseconds;
	suite->most_microseconds = max_u64(suite->most_microseconds, ran->microseconds);
	suite->most_bytes = max_u64(suite->most_bytes, ran->peak_bytes);
	if (ran->status < 0)
		fail(pair, "%s ended by signal %d", what, ran->signal);
}

static struct ran run_fsck(struct pair *pair, bool has_roles, const char *lost, const char *out,
			   const char *err)
{
	const char *const words[] = { "bcache-fsck", "-y",     "-j1", "--undo-file", "none",
				      "--json",	     "--lost", lost,  NULL };

	return run_program(bcache_fsck_main, words, &pair->suite->build, has_roles, out, err);
}

static void forget_maps(const struct suite *suite)
{
	char path[128];

	for (size_t i = 0; i < suite->n_volumes; i++) {
		snprintf(path, sizeof(path), "lost-%s.map", suite->volumes[i].uuid);
		unlink(path);
		snprintf(path, sizeof(path), "again-%s.map", suite->volumes[i].uuid);
		unlink(path);
	}
}

/* Where no superblock says what a device is, the user has to. */
static bool run_first(struct pair *pair)
{
	bool has_roles = false;

	forget_maps(pair->suite);
	take_touched(pair->suite);
	pair->first = run_fsck(pair, false, "lost", "first.json", "first.err");
	if (pair->first.status == 16) {
		has_roles = true;
		pair->first = run_fsck(pair, true, "lost", "first.json", "first.err");
	}
	count_run(pair, &pair->first, "the first run");
	pair->is_written = take_touched(pair->suite);
	if (pair->first.status < 0)
		return false;
	if (pair->first.status & ~(1 | 4 | 8 | 16))
		fail(pair, "the first run exits with %d", pair->first.status);
	if (!told_load("first.json", "first.err", &pair->told))
		fail(pair, "the first run prints no JSON");
	if (pair->is_written != ((pair->first.status & 1) != 0))
		fail(pair, "the first run exits with %d and has %swritten", pair->first.status,
		     pair->is_written ? "" : "not ");
	if (pair->first.status & ~1 && !pair->told.reason[0])
		fail(pair, "the first run leaves something and does not say why");
	return has_roles;
}

static bool is_within(const struct told *some, const struct told *all, const char **extra)
{
	for (size_t i = 0; i < some->n_problems; i++) {
		bool is_there = false;

		for (size_t k = 0; k < all->n_problems && !is_there; k++)
			is_there = !strcmp(some->problems[i], all->problems[k]);
		if (!is_there) {
			*extra = some->problems[i];
			return false;
		}
	}
	return true;
}

static void run_second(struct pair *pair, bool has_roles)
{
	struct told told;
	const char *extra;
	struct ran second;

	take_touched(pair->suite);
	second = run_fsck(pair, has_roles, "again", "second.json", "second.err");
	count_run(pair, &second, "the second run");
	if (second.status < 0)
		return;
	if (second.status != (pair->first.status & ~1))
		fail(pair, "the first run exits with %d, the second with %d", pair->first.status,
		     second.status);
	if (take_touched(pair->suite))
		fail(pair, "the second run writes");
	if (!told_load("second.json", "second.err", &told))
		fail(pair, "the second run prints no JSON");
	else if (!is_within(&told, &pair->told, &extra))
		fail(pair, "the second run finds %s", extra);
}

static bool is_called_safe(const struct told *told, const char *uuid)
{
	for (size_t i = 0; i < told->n_safe; i++)
		if (!strcmp(told->safe[i], uuid))
			return true;
	return false;
}

/* Nothing of a device may be newer on a cache that it is said not to need. */
static void check_safe(struct pair *pair, const struct volume *volume)
{
	const struct recipe_image *image = &pair->suite->build.image[volume->device];
	uint64_t data_bytes = pair->suite->build.image[volume->device].bytes - volume->bytes;
	uint8_t *buf = malloc(CHUNK_BYTES);
	uint64_t bad = 0;

	if (!volume->device || !is_called_safe(&pair->told, volume->uuid))
		goto end;
	for (uint64_t at = 0; buf && at < volume->bytes; at += CHUNK_BYTES) {
		uint64_t bytes = min_u64(CHUNK_BYTES, volume->bytes - at);

		if (pread(image->fd, buf, (size_t)bytes, (off_t)(data_bytes + at)) !=
		    (ssize_t)bytes)
			die(image->file);
		if (!memcmp(buf, volume->truth + at, (size_t)bytes))
			continue;
		for (uint64_t in = 0; in < bytes; in += BCFMT_SECTOR_BYTES)
			bad += memcmp(buf + in, volume->truth + at + in, BCFMT_SECTOR_BYTES) &&
			       !pair->suite->marks[(at + in) / BCFMT_SECTOR_BYTES];
	}
	if (bad)
		fail(pair, "inode %u is called safe without its cache, and %llu sectors are not",
		     volume->inode, (unsigned long long)bad);
end:
	free(buf);
}

/* Keys count from the start of the backing device. */
static void miss(struct pair *pair, const struct volume *volume, uint64_t sector)
{
	uint64_t offset_bytes =
		volume->device ? pair->suite->base[volume->device].bytes - volume->bytes : 0;
	uint64_t start = sector + offset_bytes / BCFMT_SECTOR_BYTES;
	struct missed_range *last =
		VEC_AT(&pair->missed.ranges, struct missed_range, pair->missed.ranges.n);

	if (pair->missed.ranges.n && last[-1].inode == volume->inode && last[-1].end == start) {
		last[-1].end++;
		return;
	}
	last = vec_push(&pair->missed.ranges, sizeof(*last));
	if (!last)
		die("missed sectors");
	*last = (struct missed_range){ volume->inode, start, start + 1 };
}

static void judge_volume(struct pair *pair, const struct volume *volume)
{
	const uint8_t *marks = pair->suite->marks;
	uint64_t silent = 0, wrong = 0;
	char path[128];

	/* Without a map nothing is reported. */
	snprintf(path, sizeof(path), "lost-%s.map", volume->uuid);
	told_map(path, pair->suite->marks, volume->bytes / BCFMT_SECTOR_BYTES);
	check_safe(pair, volume);
	if (!volume->exported->is_whole || volume->exported->is_other_size) {
		/* A device that the cache does not know any more, and need not: it is the volume. */
		if (!volume->exported->is_whole && volume->device &&
		    is_called_safe(&pair->told, volume->uuid))
			return;
		if (!(pair->first.status & (4 | 8 | 16)))
			fail(pair, "inode %u is %s", volume->inode,
			     volume->exported->is_whole ? "of another size" : "not exported");
		return;
	}
	for (uint64_t s = 0; s < volume->bytes / BCFMT_SECTOR_BYTES; s++) {
		uint8_t state = volume->exported->sectors[s];

		pair->lost += marks[s] == '-';
		pair->doubtful += marks[s] != 0 && marks[s] != '-';
		pair->right += marks[s] && state == SECTOR_RIGHT;
		silent += !marks[s] && state == SECTOR_OLD;
		wrong += !marks[s] && state == SECTOR_WRONG;
		if (!marks[s] && state != SECTOR_RIGHT)
			miss(pair, volume, s);
	}
	pair->silent += silent;
	pair->wrong += wrong;
}

static void export_all(struct pair *pair)
{
	struct suite *suite = pair->suite;

	for (size_t i = 0; i < suite->n_volumes; i++) {
		char inode[16];
		const char *const words[] = { "bcache-dump", "export",	 "-q",	"-j1", "-o",
					      "-",	     "--device", inode, NULL };
		struct ran ran;

		snprintf(inode, sizeof(inode), "%u", suite->volumes[i].inode);
		sink_compare(&suite->volumes[i]);
		ran = run_program(bcache_dump_main, words, &suite->build, false, "export.out",
				  "export.err");
		count_run(pair, &ran, "export");
		judge_volume(pair, &suite->volumes[i]);
	}
}

static const char *outcome(const struct pair *pair)
{
	if (pair->has_failed)
		return "fail";
	if (pair->excuse)
		return "untold";
	if (pair->first.status & ~1)
		return pair->first.status & 1 ? "part" : "left";
	return pair->lost || pair->doubtful ? "loss" : "full";
}

static void judge_pair(struct pair *pair)
{
	struct suite *suite = pair->suite;
	const char *image = suite->build.recipe->base;
	uint64_t strange;

	/* Then the damage is all that may differ. */
	strange = restore(suite, &pair->inflicted.wounds);
	if (strange && !(pair->first.status & 1))
		fail(pair, "the first run exits with %d, and %llu sectors have changed",
		     pair->first.status, (unsigned long long)strange);
	if (pair->silent || pair->wrong) {
		pair->excuse = damage_excuse(&suite->build, &pair->inflicted, &pair->missed);
		if (!pair->excuse)
			fail(pair,
			     "%llu sectors lost silently, %llu wrong, from inode %u sector %llu on",
			     (unsigned long long)pair->silent, (unsigned long long)pair->wrong,
			     VEC_AT(&pair->missed.ranges, struct missed_range, 0)->inode,
			     (unsigned long long)VEC_AT(&pair->missed.ranges, struct missed_range,
							0)
				     ->start);
	}
	printf("pair %s %s %s %llu %llu %llu %llu %llu\n", pair->damage->name, image, outcome(pair),
	       (unsigned long long)pair->lost, (unsigned long long)pair->doubtful,
	       (unsigned long long)pair->right, (unsigned long long)pair->silent,
	       (unsigned long long)pair->wrong);
	if (pair->has_failed)
		printf("fail %s %s: exit code %d: %s\n", pair->damage->name, image,
		       pair->first.status, pair->faults);
	if (pair->first.status & ~1)
		printf("left %s %s: exit code %d: %s\n", pair->damage->name, image,
		       pair->first.status, pair->told.reason);
	if (pair->excuse)
		printf("cannot be told %s %s: %s\n", pair->damage->name, image, pair->excuse);
	suite->failed += pair->has_failed;
}

static void try_damage(struct suite *suite, const struct damage *damage)
{
	struct pair pair = { .suite = suite, .damage = damage };
	bool has_roles;

	if (damage_inflict(&suite->build, &suite->names, damage, &pair.inflicted)) {
		has_roles = run_first(&pair);
		run_second(&pair, has_roles);
		export_all(&pair);
		judge_pair(&pair);
	} else {
		restore(suite, &pair.inflicted.wounds);
	}
	vec_free(&pair.inflicted.wounds);
	vec_free(&pair.missed.ranges);
}

/* ---- the beginning ---- */

static void load_volume(struct suite *suite, const char *inode, const char *path)
{
	struct volume *volume = &suite->volumes[suite->n_volumes++];
	size_t shared_bytes;

	volume->inode = (uint32_t)strtoul(inode, NULL, 10);
	volume->truth = map_file(path, &volume->bytes);
	if (!volume->truth)
		die(path);
	shared_bytes = sizeof(*volume->exported) + (size_t)(volume->bytes / BCFMT_SECTOR_BYTES);
	volume->exported =
		mmap(NULL, shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (volume->exported == MAP_FAILED)
		die("mmap");
}

/* The uuid of each volume, and what its backing device holds. */
static void name_volumes(struct suite *suite)
{
	for (size_t i = 0; i < suite->n_volumes; i++) {
		struct volume *volume = &suite->volumes[i];
		struct recipe_field_place place;
		uint8_t uuid[BCFMT_UUID_BYTES];
		char path[FIELD_PATH_BYTES], file[PATH_MAX];

		snprintf(path, sizeof(path), "uuid[%u].uuid", volume->inode);
		if (!recipe_field_find(&suite->build, path, &place) ||
		    !recipe_image_read(&suite->build, RECIPE_CACHE, place.at_bytes, uuid,
				       sizeof(uuid)))
			die(path);
		bcfmt_uuid_text(uuid, volume->uuid);
		for (uint32_t d = 1; d <= RECIPE_BACKING_MAX; d++) {
			uint8_t other[BCFMT_UUID_BYTES];
			uint64_t bytes;

			if (suite->build.image[d].fd < 0 ||
			    !recipe_image_read(&suite->build, d, BCFMT_SUPER_OFFSET_BYTES + 40,
					       other, sizeof(other)) ||
			    memcmp(uuid, other, sizeof(uuid)) != 0)
				continue;
			snprintf(file, sizeof(file), "%.4000s/%.31s", suite->base_dir,
				 suite->build.image[d].file);
			volume->old = map_file(file, &bytes);
			if (!volume->old || bytes < volume->bytes)
				die(file);
			volume->old += bytes - volume->bytes;
			volume->device = d;
		}
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: damage_suite [--step N] [--skip N] [--only DAMAGE] "
			"--volume INODE TRUTH... LIST BASE_FOLDER WORK_FOLDER\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct recipe_error error = { { 0 } };
	struct recipe recipe = { 0 };
	struct suite suite = { .build = { .recipe = &recipe, .error = &error, .out_dir = "." } };
	unsigned long step = 1, skip = 0;
	const char *only = NULL;
	struct damage *damages;
	uint64_t most_bytes = 0;
	size_t n;
	int at = 1;

	for (uint32_t i = 0; i <= RECIPE_BACKING_MAX; i++)
		suite.build.image[i].fd = -1;
	for (; at + 1 < argc && !strncmp(argv[at], "--", 2); at += 2) {
		if (!strcmp(argv[at], "--step"))
			step = strtoul(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--skip"))
			skip = strtoul(argv[at + 1], NULL, 10);
		else if (!strcmp(argv[at], "--only"))
			only = argv[at + 1];
		else if (!strcmp(argv[at], "--volume") && at + 2 < argc &&
			 suite.n_volumes < VOLUMES_MAX)
			load_volume(&suite, argv[at + 1], argv[at + 2]), at++;
		else
			return usage();
	}
	if (argc - at != 3 || !step || !suite.n_volumes)
		return usage();
	if (!list_load(argv[at], &damages, &n))
		return 2;
	if (!realpath(argv[at + 1], suite.base_dir))
		die(argv[at + 1]);
	snprintf(recipe.base, sizeof(recipe.base), "%.63s", strrchr(suite.base_dir, '/') + 1);
	if (chdir(argv[at + 2]) || !copy_base(&suite) || !recipe_index_base(&suite.build)) {
		fprintf(stderr, "damage_suite: %s\n", error.text);
		return 2;
	}
	if (!names_find(&suite.names))
		return 2;
	name_volumes(&suite);
	for (size_t i = 0; i < suite.n_volumes; i++)
		most_bytes = max_u64(most_bytes, suite.volumes[i].bytes);
	suite.marks = malloc((size_t)(most_bytes / BCFMT_SECTOR_BYTES + 1));
	if (!suite.marks)
		die("marks");
	for (size_t i = skip; i < n; i += step)
		if (!only || !strcmp(only, damages[i].name))
			try_damage(&suite, &damages[i]);
	printf("%s: %.1f s of processor time, the longest run %.2f s, %llu MiB at most\n",
	       recipe.base, (double)suite.sum_microseconds / 1e6,
	       (double)suite.most_microseconds / 1e6, (unsigned long long)suite.most_bytes >> 20);
	recipe_images_close(&suite.build);
	vec_free(&suite.build.things);
	free(suite.marks);
	free(damages);
	return suite.failed != 0;
}
