/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Superblocks of real caches, damaged in every way: what is proposed is what was there, in all
 * that a kernel looks at.
 */
#include "super_help.h"

#include <stdio.h>

static struct super_fixture fixture;

static void begin(void)
{
	help_begin();
}

static void end(void)
{
	super_close(&fixture);
	help_end();
}

TestSuite(repair_super_cache, .init = begin, .fini = end, .timeout = 100);

static void mend(uint8_t *raw)
{
	store_le64(raw, bcfmt_super_csum(raw));
}

static bool propose(struct super_fixture *f, bool has_partners, struct super_proposal *out)
{
	bcfmt_err err = repair_super_cache(help_ctx, f->devs[0], f->devs + 1,
					   has_partners ? f->n - 1 : 0, out);

	cr_assert_eq(err, BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	return out->outcome == SUPER_PROPOSED;
}

/*
 * All that matters to a kernel. Not: the label, which none reads; seq and last_mount, which it
 * counts up and replaces; the uuid, which must not be zero and names nothing else; discard and
 * replacement policy, which are settings.
 */
static void expect_same(const char *what, const struct super_proposal *proposal,
			const struct bcfmt_super *right)
{
	const struct bcfmt_super *got = &proposal->super;
	char *text = super_text(proposal);

	cr_expect_eq(got->offset_sector, 8, "%s: %s", what, text);
	cr_expect_eq(got->version, right->version, "%s: %s", what, text);
	cr_expect_eq(got->feature_incompat, right->feature_incompat, "%s: %s", what, text);
	cr_expect(!memcmp(got->magic, right->magic, 16), "%s: %s", what, text);
	cr_expect(!memcmp(got->set_uuid, right->set_uuid, 16), "%s: %s", what, text);
	cr_expect(!bcfmt_uuid_is_zero(got->uuid), "%s: %s", what, text);
	cr_expect_eq(got->flags & BCFMT_SUPER_FLAG_SYNC, BCFMT_SUPER_FLAG_SYNC, "%s: %s", what,
		     text);
	cr_expect(bcfmt_super_replacement(got) <= 2, "%s: %s", what, text);
	cr_expect_eq(got->nbuckets_or_data_offset, right->nbuckets_or_data_offset,
		     "%s: %llu buckets: %s", what, (unsigned long long)got->nbuckets_or_data_offset,
		     text);
	cr_expect_eq(got->block_sectors, right->block_sectors, "%s: %s", what, text);
	cr_expect_eq(got->bucket_field, right->bucket_field, "%s: %s", what, text);
	cr_expect_eq(got->bucket_sectors, right->bucket_sectors, "%s: %s", what, text);
	cr_expect_eq(got->nr_in_set, right->nr_in_set, "%s: %s", what, text);
	cr_expect_eq(got->nr_this_dev, right->nr_this_dev, "%s: %s", what, text);
	cr_expect_eq(got->first_bucket, right->first_bucket, "%s: %s", what, text);
	cr_expect_eq(got->keys, right->keys, "%s: %u: %s", what, got->keys, text);
	cr_expect(!memcmp(got->journal_bucket, right->journal_bucket, 8 * (size_t)right->keys),
		  "%s: %s", what, text);
	cr_expect_eq(got->csum, got->csum_computed, "%s: %s", what, text);
	free(text);
}

static void expect_proposed(struct super_fixture *f, const char *what)
{
	struct super_proposal proposal;

	if (!propose(f, true, &proposal)) {
		char *text = super_text(&proposal);

		cr_expect(false, "%s: nothing is proposed: %s", what, text);
		free(text);
		return;
	}
	if (getenv("SUPER_SHOW")) {
		char *text = super_text(&proposal);

		fprintf(stderr, "%s: %s", what, text);
		free(text);
	}
	expect_same(what, &proposal, &f->supers[0]);
}

static const struct super_damage fields[] = {
	{ "csum", 0, 8 },	    { "offset", 8, 8 },	       { "version", 16, 8 },
	{ "magic", 24, 16 },	    { "uuid", 40, 16 },	       { "set_uuid", 56, 16 },
	{ "label", 72, 32 },	    { "flags", 104, 8 },       { "seq", 112, 8 },
	{ "nbuckets", 184, 8 },	    { "block_size", 192, 2 },  { "bucket_size", 194, 2 },
	{ "nr_in_set", 196, 2 },    { "nr_this_dev", 198, 2 }, { "last_mount", 200, 4 },
	{ "first_bucket", 204, 2 }, { "keys", 206, 2 },	       { "d[0]", 208, 8 },
};

/*
 * Damage that a right checksum vouches for and nothing on the device denies. Version 0 is what
 * every cache begins with; kernels take it and write 3.
 */
static bool is_undeniable(const struct super_fixture *f, const char *what, bool is_zero)
{
	static const char *const names[] = { "label", "seq", "last_mount" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(what, names[i]))
			return true;
	return is_zero ? !strcmp(what, "version") && f->supers[0].version == 3
		       : !strcmp(what, "uuid");
}

static void sweep(const char *image)
{
	uint8_t raw[BCFMT_SUPER_BYTES];
	struct super_proposal proposal;
	char what[128];

	super_open(&fixture, image);

	cr_expect(!propose(&fixture, true, &proposal));
	cr_expect_eq(proposal.outcome, SUPER_SOUND, "%s: %s", image, proposal.why);

	memset(raw, 0, sizeof(raw));
	super_put(&fixture, 0, raw);
	snprintf(what, sizeof(what), "%s zeroed", image);
	expect_proposed(&fixture, what);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		for (unsigned int is_mended = 0; is_mended < 2; is_mended++)
			for (unsigned int is_zero = 0; is_zero < 2; is_zero++) {
				memcpy(raw, fixture.raws[0], sizeof(raw));
				if (is_zero)
					memset(raw + fields[i].at, 0, fields[i].bytes);
				else
					super_garble(raw, fields[i].at, fields[i].bytes);
				if (is_mended)
					mend(raw);
				super_put(&fixture, 0, raw);
				snprintf(what, sizeof(what), "%s %s %s%s", image, fields[i].what,
					 is_zero ? "zeroed" : "garbage",
					 is_mended ? " mended" : "");
				if (!memcmp(raw, fixture.raws[0], sizeof(raw)) ||
				    (is_mended &&
				     is_undeniable(&fixture, fields[i].what, is_zero))) {
					cr_expect(!propose(&fixture, true, &proposal), "%s", what);
					cr_expect_eq(proposal.outcome, SUPER_SOUND, "%s: %s", what,
						     proposal.why);
					continue;
				}
				expect_proposed(&fixture, what);
			}
}

#define SWEEP(name)                    \
	Test(repair_super_cache, name) \
	{                              \
		sweep(#name);          \
	}
SWEEP(clean)
SWEEP(dirty)
SWEEP(deep)
SWEEP(deep2)
SWEEP(multi)
SWEEP(full)
SWEEP(blk4k)
SWEEP(large)
SWEEP(ext4)
SWEEP(bug1)
SWEEP(bug7)
