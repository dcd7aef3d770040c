/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of proposed superblocks share: real images under an overlay, and damages. */
#ifndef TESTS_UNIT_SUPER_HELP_H
#define TESTS_UNIT_SUPER_HELP_H

#include "dev_help.h"

#include <bcfmt/super.h>
#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "ondisk/super.h"
#include "repair/super_find.h"

#define SUPER_HELP_MAX 3u

/* The devices of a fixture: the cache first, then backing devices. */
struct super_fixture {
	struct bcfmt_dev *files[SUPER_HELP_MAX];
	struct bcfmt_dev *devs[SUPER_HELP_MAX]; /* overlays */
	struct bcfmt_super supers[SUPER_HELP_MAX];
	uint8_t raws[SUPER_HELP_MAX][BCFMT_SUPER_BYTES];
	size_t n;
};

/* What is done to a superblock; the field is named by its place. */
struct super_damage {
	const char *what;
	size_t at;
	size_t bytes;
};

/* Garbage with bits in every byte. */
static inline void super_garble(uint8_t *raw, size_t at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		raw[at + i] ^= (uint8_t)(0x5a + 29 * i);
}

static inline void super_overlays(struct super_fixture *f)
{
	for (size_t i = 0; i < f->n; i++) {
		bcfmt_dev_free(f->devs[i]);
		cr_assert_eq(bcfmt_dev_overlay(help_ctx, f->files[i], &f->devs[i]), BCFMT_OK);
	}
}

static inline void super_open(struct super_fixture *f, const char *name)
{
	static const char *const files[SUPER_HELP_MAX] = { "cache.img", "backing0.img",
							   "backing1.img" };
	char path[HELP_PATH_BYTES], command[2 * HELP_PATH_BYTES];

	*f = (struct super_fixture){ 0 };
	snprintf(command, sizeof(command), "tests/tools/fixture %s %s", name, help_dir);
	cr_assert_eq(system(command), 0, "%s", command);
	for (size_t i = 0; i < SUPER_HELP_MAX; i++) {
		if (access(help_path(path, files[i]), F_OK))
			break;
		cr_assert_eq(bcfmt_dev_open(help_ctx, path, 0, &f->files[i]), BCFMT_OK);
		cr_assert_eq(bcfmt_dev_read(f->files[i], BCFMT_SUPER_OFFSET_BYTES, f->raws[i],
					    BCFMT_SUPER_BYTES),
			     BCFMT_OK);
		bcfmt_super_decode(f->raws[i], &f->supers[i]);
		f->n++;
	}
	cr_assert_geq(f->n, 1);
	super_overlays(f);
}

static inline void super_close(struct super_fixture *f)
{
	for (size_t i = 0; i < f->n; i++) {
		bcfmt_dev_free(f->devs[i]);
		bcfmt_dev_free(f->files[i]);
	}
}

static inline void super_put(struct super_fixture *f, size_t which, const uint8_t *raw)
{
	cr_assert_eq(bcfmt_dev_write(f->devs[which], BCFMT_SUPER_OFFSET_BYTES, raw,
				     BCFMT_SUPER_BYTES),
		     BCFMT_OK);
}

/* What a proposal says, a line a field; to be freed. */
static inline char *super_text(const struct super_proposal *proposal)
{
	static const char *const outcomes[] = { "sound", "proposed", "unknown", "foreign" };
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);

	fprintf(out, "%s: %s\n", outcomes[proposal->outcome], proposal->why);
	for (size_t i = 0; i < proposal->n_notes; i++)
		fprintf(out, "\t%s%s %s: %s\n", super_field_name(proposal->notes[i].field),
			proposal->notes[i].is_guess ? " (guess)" : "", proposal->notes[i].value,
			proposal->notes[i].text);
	fclose(out);
	return text;
}

#endif
