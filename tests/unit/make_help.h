/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of formatting share: devices, a request that nothing speaks against, its plan. */
#ifndef TESTS_UNIT_MAKE_HELP_H
#define TESTS_UNIT_MAKE_HELP_H

#include "dev_help.h"

#include <bcfmt/make.h>

#define HELP_DEVICES_MAX 4u
#define HELP_CACHE_BYTES (16u << 20) /* 2048 buckets of 8 KiB */

/* Of the running test; each test is a process of its own. */
static struct bcfmt_make_params help_params;
static struct bcfmt_make_device help_devices[HELP_DEVICES_MAX];
static size_t help_n_devices;
static struct bcfmt_make_plan *help_plan;

static inline void help_make_begin(void)
{
	help_begin();
	help_params.bucket_bytes = 8192;
	for (unsigned int i = 0; i < BCFMT_UUID_BYTES; i++)
		help_params.set_uuid[i] = (uint8_t)(0x10 + i);
}

static inline void help_make_end(void)
{
	bcfmt_make_plan_free(help_plan);
	for (size_t i = 0; i < help_n_devices; i++)
		bcfmt_dev_free(help_devices[i].dev);
	help_end();
}

/* Adds a device that the plan takes over; uuids are 00 01 .. 0f, 01 02 .. 10, and so on. */
static inline struct bcfmt_make_device *help_device(struct bcfmt_dev *dev, bool is_backing)
{
	struct bcfmt_make_device *device = &help_devices[help_n_devices];

	cr_assert(help_n_devices < HELP_DEVICES_MAX);
	*device = (struct bcfmt_make_device){
		.dev = dev,
		.is_backing = is_backing,
		.topology = { .logical_block_bytes = 512,
			      .preferred_block_bytes = 512,
			      .physical_block_bytes = 512 },
	};
	for (unsigned int i = 0; i < BCFMT_UUID_BYTES; i++)
		device->uuid[i] = (uint8_t)(help_n_devices + i);
	help_n_devices++;
	return device;
}

static inline struct bcfmt_make_device *help_cache(void)
{
	return help_device(help_mem(HELP_CACHE_BYTES, 1), false);
}

static inline struct bcfmt_make_device *help_backing(void)
{
	return help_device(help_mem(1 << 20, 2), true);
}

/* A sparse file of so many bytes as a device; name of the file in the test's folder. */
static inline struct bcfmt_dev *help_sparse(const char *name, uint64_t bytes)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_dev *dev;

	help_text(name, "");
	cr_assert_eq(truncate(help_path(path, name), (off_t)bytes), 0);
	cr_assert_eq(bcfmt_dev_open(help_ctx, path, BCFMT_OPEN_WRITE | BCFMT_OPEN_EXCLUSIVE, &dev),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
	return dev;
}

/* The plan of all devices as they are now; one before it is freed. */
static inline void help_make_plan(void)
{
	bcfmt_make_plan_free(help_plan);
	help_plan = NULL;
	cr_assert_eq(bcfmt_make_plan_new(help_ctx, &help_params, help_devices, help_n_devices,
					 &help_plan),
		     BCFMT_OK, "%s", bcfmt_ctx_fault(help_ctx));
}

/* The first issue of this kind; NULL when there is none. */
static inline const struct bcfmt_make_issue *help_issue(enum bcfmt_make_issue_id id)
{
	for (size_t i = 0; i < help_plan->n_issues; i++)
		if (help_plan->issues[i].id == id)
			return &help_plan->issues[i];
	return NULL;
}

/* All issues, for messages; static storage. */
static inline const char *help_issues(void)
{
	static char text[8192];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < help_plan->n_issues && len < sizeof(text); i++) {
		const struct bcfmt_make_issue *issue = &help_plan->issues[i];

		len += (size_t)snprintf(text + len, sizeof(text) - len, "\n%d %s: %s",
					(int)issue->level, bcfmt_make_issue_name(issue->id),
					issue->text);
	}
	return text;
}

static inline void help_read(struct bcfmt_dev *dev, uint64_t offset_bytes, void *buf,
			     size_t len_bytes)
{
	cr_assert_eq(bcfmt_dev_read(dev, offset_bytes, buf, len_bytes), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
}

#endif
