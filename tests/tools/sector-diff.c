/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compares a volume with the truth sector by sector.
 *
 * sector-diff TRUTH VOLUME <ranges
 *
 * Ranges are lines "START SECTORS" of what was reported as lost or doubtful. Prints wrong sectors,
 * those of them that were not reported, reported ones, and those of them that are right. Exits with
 * 1 when a wrong sector was not reported.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u

static void die(const char *what)
{
	fprintf(stderr, "sector-diff: %s: %s\n", what, strerror(errno));
	exit(2);
}

static FILE *open_file(const char *path, long *sectors)
{
	FILE *file = fopen(path, "rb");

	if (!file || fseek(file, 0, SEEK_END))
		die(path);
	*sectors = ftell(file) / (long)SECTOR_BYTES;
	rewind(file);
	return file;
}

static bool *read_ranges(long sectors)
{
	bool *is_reported = calloc((size_t)sectors + 1, sizeof(*is_reported));
	unsigned long start, n;

	if (!is_reported)
		die("ranges");
	while (scanf("%lu %lu", &start, &n) == 2)
		for (unsigned long i = start; i < start + n && i < (unsigned long)sectors; i++)
			is_reported[i] = true;
	return is_reported;
}

int main(int argc, char **argv)
{
	unsigned char truth[SECTOR_BYTES], volume[SECTOR_BYTES];
	long sectors, volume_sectors, wrong = 0, silent = 0, reported = 0, right = 0;
	FILE *truth_file, *volume_file;
	bool *is_reported;

	if (argc != 3) {
		fprintf(stderr, "sector-diff TRUTH VOLUME <ranges\n");
		return 2;
	}
	truth_file = open_file(argv[1], &sectors);
	volume_file = open_file(argv[2], &volume_sectors);
	is_reported = read_ranges(sectors);
	for (long i = 0; i < sectors; i++) {
		bool is_wrong;

		if (fread(truth, SECTOR_BYTES, 1, truth_file) != 1)
			die(argv[1]);
		is_wrong = fread(volume, SECTOR_BYTES, 1, volume_file) != 1 ||
			   memcmp(truth, volume, SECTOR_BYTES) != 0;
		wrong += is_wrong;
		silent += is_wrong && !is_reported[i];
		reported += is_reported[i];
		right += is_reported[i] && !is_wrong;
	}
	printf("wrong=%ld silent=%ld reported=%ld right-but-reported=%ld\n", wrong, silent,
	       reported, right);
	fclose(truth_file);
	fclose(volume_file);
	free(is_reported);
	return silent || volume_sectors != sectors;
}
