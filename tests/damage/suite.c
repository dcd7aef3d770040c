/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * damage_suite [--step N] [--skip N] [--only DAMAGE] [--leave DAMAGE] --volume INODE TRUTH... LIST
 *              BASE_FOLDER WORK_FOLDER
 *
 * Does each damage of the list to a copy of the set in BASE_FOLDER, lets bcache-fsck -y repair it,
 * twice, and compares the volumes that bcache-dump then exports with the truth, sector by sector.
 * What differs must be what the first run called lost or doubtful. Prints a line a pair:
 *   pair DAMAGE IMAGE full|loss|left|part|untold|fail LOST DOUBTFUL RIGHT SILENT WRONG ASKED
 * (sectors reported lost, doubtful, reported although they are right; silent loss; wrong data;
 * options that the first run asked for and that it was run again with, "-" without), a line
 * "fail DAMAGE IMAGE: why" for each fault, "cannot be told DAMAGE IMAGE: why", and the bounds. With
 * --leave the copies in WORK_FOLDER stay as the damage left them, to be looked at, and nothing is
 * run.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bcfmt/crc64.h>
#include <bcfmt/super.h>

#include "base/checked.h"
#include "damage/suite.h"

_Noreturn void die(const char *what)
{
	fprintf(stderr, "damage_suite: %s: %s\n", what, strerror(errno));
	exit(2);
}

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
			"[--leave DAMAGE] "
			"--volume INODE TRUTH... LIST BASE_FOLDER WORK_FOLDER\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct recipe_error error = { { 0 } };
	struct recipe recipe = { 0 };
	struct suite suite = { .build = { .recipe = &recipe, .error = &error, .out_dir = "." } };
	unsigned long step = 1, skip = 0;
	const char *only = NULL, *leave = NULL;
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
		else if (!strcmp(argv[at], "--leave"))
			leave = argv[at + 1];
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
		if (leave && !strcmp(leave, damages[i].name))
			leave_damage(&suite, &damages[i]);
		else if (!leave && (!only || !strcmp(only, damages[i].name)))
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
