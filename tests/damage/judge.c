/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Compares the volumes with the truth after a repair. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bcfmt/super.h>

#include "base/checked.h"
#include "damage/suite.h"

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

void map_prefix(char out[32], unsigned int n)
{
	snprintf(out, 32, "lost%u", n);
}

/* Without a map nothing is reported. */
static void load_marks(struct pair *pair, const struct volume *volume)
{
	uint64_t sectors = volume->bytes / BCFMT_SECTOR_BYTES;
	char prefix[32], path[128];

	memset(pair->suite->marks, 0, (size_t)sectors);
	for (unsigned int run = 0; run < pair->runs; run++) {
		map_prefix(prefix, run);
		snprintf(path, sizeof(path), "%s-%s.map", prefix, volume->uuid);
		told_map(path, pair->suite->marks, sectors);
	}
}

static void judge_volume(struct pair *pair, const struct volume *volume)
{
	const uint8_t *marks = pair->suite->marks;
	uint64_t silent = 0, wrong = 0;

	load_marks(pair, volume);
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

void export_all(struct pair *pair)
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
