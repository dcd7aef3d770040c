/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Superblocks of real backing devices, damaged in every way, with and without their cache. */
#include "super_help.h"

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

TestSuite(repair_super_backing, .init = begin, .fini = end, .timeout = 100);

static void propose(struct super_fixture *f, size_t which, bool has_partners,
		    struct super_proposal *out)
{
	struct bcfmt_dev *partners[SUPER_HELP_MAX];
	size_t n = 0;
	bcfmt_err err;

	for (size_t i = 0; i < f->n && has_partners; i++)
		if (i != which)
			partners[n++] = f->devs[i];
	err = repair_super_backing(help_ctx, f->devs[which], partners, n, out);
	cr_assert_eq(err, BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
}

/*
 * All that matters to a kernel. Not: the label; the cache mode, which is a setting; first bucket,
 * bucket size, features and the place in the set, which kernels fill with junk; the block size
 * beyond what the cache asks for. Marked dirty without dirty data is clean.
 */
static void expect_same(const char *what, const struct super_proposal *proposal,
			const struct super_fixture *f, size_t which)
{
	const struct bcfmt_super *got = &proposal->super, *right = &f->supers[which];
	char *text = super_text(proposal);

	cr_expect_eq(proposal->outcome, SUPER_PROPOSED, "%s: %s", what, text);
	cr_expect_eq(got->offset_sector, 8, "%s: %s", what, text);
	cr_expect_eq(got->version, right->version, "%s: %s", what, text);
	cr_expect(!memcmp(got->magic, right->magic, 16), "%s: %s", what, text);
	cr_expect(!memcmp(got->uuid, right->uuid, 16), "%s: %s", what, text);
	cr_expect(!memcmp(got->set_uuid, right->set_uuid, 16), "%s: %s", what, text);
	cr_expect_eq(got->data_offset_sectors, right->data_offset_sectors, "%s: %s", what, text);
	cr_expect(got->block_sectors >= f->supers[0].block_sectors, "%s: %s", what, text);
	cr_expect_leq(bcfmt_super_cache_mode(got), 3, "%s: %s", what, text);
	cr_expect(bcfmt_super_bdev_state(got) == bcfmt_super_bdev_state(right) ||
			  (bcfmt_super_bdev_state(right) == BCFMT_BDEV_DIRTY &&
			   bcfmt_super_bdev_state(got) == BCFMT_BDEV_CLEAN),
		  "%s: state %u: %s", what, bcfmt_super_bdev_state(got), text);
	cr_expect_eq(got->csum, got->csum_computed, "%s: %s", what, text);
	if (getenv("SUPER_SHOW"))
		fprintf(stderr, "%s: %s", what, text);
	free(text);
}

static const struct super_damage fields[] = {
	{ "csum", 0, 8 },   { "offset", 8, 8 },	      { "version", 16, 8 }, { "magic", 24, 16 },
	{ "uuid", 40, 16 }, { "set_uuid", 56, 16 },   { "label", 72, 32 },  { "flags", 104, 8 },
	{ "seq", 112, 8 },  { "block_size", 192, 2 }, { "keys", 206, 2 },
};

/* What a kernel refuses or does wrong with, whatever the checksum says. */
static bool is_fault(const char *what, bool is_zero)
{
	static const char *const always[] = { "csum", "offset", "magic", "version" };

	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (!strcmp(what, always[i]))
			return true;
	return is_zero ? !strcmp(what, "uuid") || !strcmp(what, "block_size")
		       : !strcmp(what, "flags") || !strcmp(what, "keys");
}

static void sweep_one(const char *image, size_t which)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct super_proposal proposal;
	char what[128];

	propose(&fixture, which, true, &proposal);
	cr_expect_eq(proposal.outcome, SUPER_SOUND, "%s: %s", image, proposal.why);
	super_put(&fixture, which, raw);
	propose(&fixture, which, true, &proposal);
	snprintf(what, sizeof(what), "%s backing %zu gone", image, which);
	expect_same(what, &proposal, &fixture, which);
	propose(&fixture, which, false, &proposal);
	cr_expect_neq(proposal.outcome, SUPER_PROPOSED, "%s without a cache", what);

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		for (unsigned int kind = 0; kind < 4; kind++) {
			bool is_mended = kind & 1, is_zero = kind & 2;

			memcpy(raw, fixture.raws[which], sizeof(raw));
			if (is_zero)
				memset(raw + fields[i].at, 0, fields[i].bytes);
			else
				super_garble(raw, fields[i].at, fields[i].bytes);
			if (is_mended && fields[i].at)
				store_le64(raw, bcfmt_super_csum(raw));
			if (!memcmp(raw, fixture.raws[which], sizeof(raw)))
				continue;
			super_put(&fixture, which, raw);
			snprintf(what, sizeof(what), "%s backing %zu %s %s%s", image, which,
				 fields[i].what, is_zero ? "zeroed" : "garbage",
				 is_mended ? " mended" : "");
			propose(&fixture, which, true, &proposal);
			if (is_mended && !is_fault(fields[i].what, is_zero))
				cr_expect_eq(proposal.outcome, SUPER_SOUND, "%s: %s", what,
					     proposal.why);
			else
				expect_same(what, &proposal, &fixture, which);
		}
	super_put(&fixture, which, fixture.raws[which]);
}

static void sweep(const char *image)
{
	super_open(&fixture, image);
	cr_assert_geq(fixture.n, 2);
	for (size_t i = 1; i < fixture.n; i++)
		sweep_one(image, i);
}

#define SWEEP(name)                      \
	Test(repair_super_backing, name) \
	{                                \
		sweep(#name);            \
	}
SWEEP(clean)
SWEEP(wbclean)
SWEEP(dirty)
SWEEP(deep)
SWEEP(multi)
SWEEP(full)
SWEEP(blk4k)
SWEEP(large)
SWEEP(ext4)
SWEEP(bug1)
