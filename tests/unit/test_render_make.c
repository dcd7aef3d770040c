/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Formatting as text and JSON: summaries, steps, issues, what comes next. */
#include "make_help.h"
#include "render_help.h"

/* A cache and a backing device that are block devices, with everything that can be said. */
static void begin(void)
{
	help_make_begin();
	help_params.is_discard = true;
	help_params.may_discard = true;
	help_params.label = "mail";
	help_params.data_offset_sectors = 64;
	help_cache()->topology.is_block_device = true;
	help_backing()->topology.is_block_device = true;
	help_make_plan();
}

TestSuite(render_make, .init = begin, .fini = help_make_end);

Test(render_make, summary_lines)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_render_make_summary(out, help_plan);
	catch_expect(out, "Label\t\t\tmail\n"
			  "UUID:\t\t\t00010203-0405-0607-0809-0a0b0c0d0e0f\n"
			  "Set UUID:\t\t10111213-1415-1617-1819-1a1b1c1d1e1f\n"
			  "version:\t\t0\n"
			  "nbuckets:\t\t2048\n"
			  "block_size:\t\t1\n"
			  "bucket_size:\t\t16\n"
			  "nr_in_set:\t\t1\n"
			  "nr_this_dev:\t\t0\n"
			  "first_bucket:\t\t2\n"
			  "Label\t\t\tmail\n"
			  "UUID:\t\t\t01020304-0506-0708-090a-0b0c0d0e0f10\n"
			  "Set UUID:\t\t10111213-1415-1617-1819-1a1b1c1d1e1f\n"
			  "version:\t\t4\n"
			  "block_size:\t\t1\n"
			  "data_offset:\t\t64\n");
}

Test(render_make, steps)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_render_make_steps(out, help_plan);
	catch_expect(out, "plan: mem: zero bytes 0-8191 (8.0 KiB): start of the device\n"
			  "plan: mem: flush\n"
			  "plan: mem: discard bytes 8192-16777215 (16.0 MiB): old data\n"
			  "plan: mem: zero bytes 16384-147455 (128.0 KiB): journal\n"
			  "plan: mem: flush\n"
			  "plan: mem: write bytes 4096-8191 (4.0 KiB): superblock\n"
			  "plan: mem: flush\n"
			  "plan: mem: zero bytes 0-8191 (8.0 KiB): start of the device\n"
			  "plan: mem: flush\n"
			  "plan: mem: write bytes 4096-8191 (4.0 KiB): superblock\n"
			  "plan: mem: flush\n");
}

Test(render_make, steps_as_json)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	json_t *step;

	bcfmt_render_make_steps(out, help_plan);
	catch_end(out);
	step = catch_json(2);
	cr_expect_str_eq(catch_string(step, "kind"), "step");
	cr_expect_str_eq(catch_string(step, "device"), "mem");
	cr_expect_str_eq(catch_string(step, "action"), "discard");
	cr_expect_eq(catch_number(step, "offset_bytes"), 8192);
	cr_expect_eq(catch_number(step, "length_bytes"), HELP_CACHE_BYTES - 8192);
	json_decref(step);
	step = catch_json(4);
	cr_expect_str_eq(catch_string(step, "action"), "flush");
	cr_expect_null(json_object_get(step, "offset_bytes"));
	json_decref(step);
	catch_free();
}

Test(render_make, issues)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	struct bcfmt_make_issue issue = { .id = BCFMT_ISSUE_FEW_BUCKETS,
					  .level = BCFMT_MAKE_REFUSAL,
					  .dev = help_devices[0].dev,
					  .text = "too few" };
	json_t *object;

	bcfmt_render_make_issue(out, &issue);
	issue.dev = NULL;
	issue.level = BCFMT_MAKE_NOTE;
	bcfmt_render_make_issue(out, &issue);
	catch_end(out);
	object = catch_json(0);
	cr_expect_str_eq(catch_string(object, "kind"), "issue");
	cr_expect_str_eq(catch_string(object, "level"), "refusal");
	cr_expect_str_eq(catch_string(object, "name"), "few-buckets");
	cr_expect_str_eq(catch_string(object, "device"), "mem");
	cr_expect_str_eq(catch_string(object, "message"), "too few");
	json_decref(object);
	object = catch_json(1);
	cr_expect_str_eq(catch_string(object, "level"), "note");
	cr_expect_null(json_object_get(object, "device"));
	json_decref(object);
	catch_free();
	out = catch_begin(0);
	bcfmt_render_make_issue(out, &issue);
	catch_expect(out, "");
}

Test(render_make, what_comes_next)
{
	struct bcfmt_out *out = catch_begin(0);

	bcfmt_render_make_next(out, help_plan);
	catch_expect(out,
		     "next: echo mem > /sys/fs/bcache/register\n"
		     "next: echo mem > /sys/fs/bcache/register\n"
		     "data begins at sector 64 of mem; without bcache it is reached by: losetup"
		     " -r -f --show -o 32768 mem\n"
		     "or by: dmsetup create NAME --readonly --table '0 1984 linear mem 64'\n");
}
