/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of images share: the image of a set, what is found on it, and what is not in it. */
#ifndef TESTS_UNIT_IMAGE_HELP_H
#define TESTS_UNIT_IMAGE_HELP_H

#include "check_help.h"

#include <ctype.h>
#include <stdio.h>

#include <bcfmt/image.h>

#include "base/bytes.h"
#include "ondisk/bset.h"

/* Somebody's data, wherever it does not belong. */
static const char secret[] = "Dear diary, nobody will ever read this. ";

static struct {
	uint8_t *bytes;
	size_t n;
} file;
static struct bcfmt_image_stats stats;
static struct bcfmt_image *image;
static struct bcfmt_dev *devs[8];
static size_t n_devs;

static inline bcfmt_err append(void *arg, const void *bytes, size_t len_bytes)
{
	(void)arg;
	file.bytes = realloc(file.bytes, file.n + len_bytes);
	memcpy(file.bytes + file.n, bytes, len_bytes);
	file.n += len_bytes;
	return BCFMT_OK;
}

static inline void close_image(void)
{
	while (n_devs)
		bcfmt_dev_free(devs[--n_devs]);
	bcfmt_image_free(image);
	image = NULL;
	free(file.bytes);
	memset(&file, 0, sizeof(file));
}

static inline void finish(void)
{
	close_image();
	end();
}

/* Makes the image of the kit and opens its devices. */
static inline void make_with(const struct bcfmt_image_params *params)
{
	struct bcfmt_dev *dev;

	close_image();
	bcfmt_set_free(kit.set);
	kit.set = NULL;
	cr_assert_eq(set_kit_open(&kit), BCFMT_OK);
	cr_assert_eq(bcfmt_image_make(kit.set, params, append, NULL, &stats), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	cr_assert_eq(stats.image_bytes, file.n);
	cr_assert_eq(bcfmt_dev_mem(kit.ctx, "x", file.bytes, file.n, &dev), BCFMT_OK);
	cr_assert_eq(bcfmt_image_open(kit.ctx, dev, &image), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(kit.ctx));
	bcfmt_image_members(image, &n_devs);
	for (size_t i = 0; i < n_devs; i++)
		cr_assert_eq(bcfmt_image_dev(image, i, &devs[i]), BCFMT_OK);
}

static inline void make(void)
{
	struct bcfmt_image_params params = { .is_scrubbed = false };

	make_with(&params);
}

/* Findings and verdict of the set on these devices; to be freed. */
static inline char *text_of(struct bcfmt_dev *const *of, size_t n)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL, .kernel = 6001 };
	struct set_kit_result got = { 0 };
	struct bcfmt_set *set;
	char *text;

	cr_assert_eq(bcfmt_set_open(kit.ctx, of, n, NULL, &set), BCFMT_OK);
	cr_assert_eq(bcfmt_report_new(kit.ctx, &got.report), BCFMT_OK);
	cr_assert_eq(bcfmt_check_run(set, &params, got.report, &got.verdict, NULL, NULL), BCFMT_OK);
	bcfmt_report_finish(got.report);
	text = set_kit_result_text(&got);
	set_kit_result_clear(&got);
	bcfmt_set_free(set);
	return text;
}

static inline char *text_of_kit(void)
{
	struct bcfmt_dev *of[8] = { kit.dev };

	for (size_t i = 0; i < kit.n_backing; i++)
		of[1 + i] = kit.backing[i];
	return text_of(of, 1 + kit.n_backing);
}

/*
 * Takes away values: what stands between a colon with a blank and the end of a line, and the digits
 * of lines that a kernel would print.
 */
static inline void drop_messages(char *text)
{
	char *to = text;
	bool is_message = false, is_kernel_line = false;

	for (const char *from = text; *from; from++) {
		if (from == text || from[-1] == '\n')
			is_kernel_line = !strncmp(from, "line ", 5) || !strncmp(from, "first ", 6);
		is_message = *from != '\n' && (is_message || !strncmp(from, ": ", 2));
		if (!is_message && !(is_kernel_line && isdigit((unsigned char)*from)))
			*to++ = *from;
	}
	*to = '\0';
}

static inline void expect_same(bool with_values)
{
	char *want = text_of_kit(), *got = text_of(devs, n_devs);

	if (!with_values) {
		drop_messages(want);
		drop_messages(got);
	}
	cr_expect_str_eq(got, want);
	free(want);
	free(got);
}

/* The problem is found on the devices, so that the comparison means something. */
static inline void expect_problem(const char *slug)
{
	char *text = text_of_kit();

	cr_expect(strstr(text, slug), "%s not in %s", slug, text);
	free(text);
}

struct search {
	const void *bytes;
	size_t n;
	uint64_t content;
	bool is_found;
};

static inline bcfmt_err search_part(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
				    const uint8_t *bytes, uint64_t len_bytes)
{
	struct search *search = arg;

	(void)offset_bytes;
	if (part != BCFMT_IMAGE_DATA)
		return BCFMT_OK;
	search->content += len_bytes;
	search->is_found |= memmem(bytes, len_bytes, search->bytes, search->n) != NULL;
	return BCFMT_OK;
}

static inline bool has_bytes(const void *bytes, size_t n)
{
	struct search search = { bytes, n, 0, false };

	for (size_t i = 0; i < n_devs; i++)
		cr_assert_eq(bcfmt_image_walk(image, i, search_part, &search), BCFMT_OK);
	cr_expect_eq(search.content, stats.content_bytes);
	return search.is_found || memmem(file.bytes, file.n, bytes, n);
}

/* Any eight bytes in a row. */
static inline void expect_no_secret(void)
{
	for (size_t i = 0; i + 8 < sizeof(secret); i++)
		cr_expect_not(has_bytes(secret + i, 8), "%.8s", secret + i);
}

static inline void write_secret(uint64_t sector, uint32_t offset_bytes, uint32_t len_bytes)
{
	uint8_t *bytes = malloc(len_bytes);

	for (uint32_t i = 0; i < len_bytes; i++)
		bytes[i] = (uint8_t)secret[i % (sizeof(secret) - 1)];
	cr_assert_eq(bcfmt_dev_write(kit.dev, sector * BCFMT_SECTOR_BYTES + offset_bytes, bytes,
				     len_bytes),
		     BCFMT_OK);
	free(bytes);
}

static inline uint64_t bucket_sector(uint64_t bucket)
{
	return bcfmt_bucket_sector(&kit.geo, bucket);
}

static inline void read_image(uint64_t sector, void *buf, size_t len_bytes)
{
	cr_assert_eq(bcfmt_dev_read(devs[0], sector * BCFMT_SECTOR_BYTES, buf, len_bytes),
		     BCFMT_OK);
}

/* A leaf of some keys as root, and data where they point. */
static inline uint64_t make_leaf_set(uint32_t n_keys)
{
	struct bcfmt_key keys[64];
	uint64_t root;

	for (uint32_t i = 0; i < n_keys; i++)
		keys[i] = set_kit_dirty(0, 16 + 8 * i, 8, set_kit_ptr(&kit, nth(9), 8 * (i & 1)));
	set_kit_backing(&kit, 0, BCFMT_BDEV_DIRTY, 4096);
	root = set_kit_node(&kit, nth(0), keys, n_keys);
	set_kit_tables(&kit);
	set_kit_first_jset(&kit, root, 0);
	return root;
}

static inline void scrub(void)
{
	struct bcfmt_image_params params = { .is_scrubbed = true };

	make_with(&params);
}

static inline void expect_no_names(void)
{
	uint8_t magic[8];

	cr_expect_not(has_bytes(kit.super.uuid, 16));
	cr_expect_not(has_bytes(kit.super.set_uuid, 16));
	cr_expect_not(has_bytes(kit.super.set_uuid, 8));
	cr_expect_not(has_bytes(kit.uuids[0].uuid, 16));
	cr_expect_not(has_bytes("attic", 5));
	/* The magic of nodes would give half of the set uuid away. */
	store_le64(magic, kit.geo.set_magic ^ DISK_BSET_MAGIC);
	cr_expect_not(has_bytes(magic, 8));
	magic[2] ^= 1; /* so would one that is almost right */
	cr_expect_not(has_bytes(magic, 8));
}

#endif
