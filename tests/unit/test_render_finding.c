/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Findings, reports, explanations and the verdict, as text and as JSON. */
#include <criterion/criterion.h>

#include "unit/render_help.h"

#define N_STALE 300u

static struct bcfmt_where node_where(uint64_t block)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;

	where.device = "sdb";
	where.structure = "node";
	where.field = "csum";
	where.bucket = 7;
	where.sector = 896;
	where.block = block;
	return where;
}

static void add_bad_csum(struct bcfmt_report *report, uint64_t block)
{
	struct bcfmt_where where = node_where(block);
	const struct bcfmt_arg args[] = { BCFMT_U64("level", 0), BCFMT_HEX("stored", 0xabc),
					  BCFMT_U64("keys", 504),
					  BCFMT_HEX("computed", UINT64_MAX) };

	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_NODE_BAD_CSUM, &where, 4, args), BCFMT_OK,
		     "%s", bcfmt_ctx_fault(caught_ctx));
}

static void add_note(struct bcfmt_report *report)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;
	const struct bcfmt_arg args[] = { BCFMT_U64("clean", 4096), BCFMT_U64("inode", 3) };

	where.structure = "uuid";
	cr_assert_eq(bcfmt_report_add(report, BCFMT_P_UUID_LEFT_CLEAN, &where, 2, args), BCFMT_OK);
}

/* Not by way of a report, which cleans strings itself. */
static struct bcfmt_finding stranded(const char *state)
{
	struct bcfmt_finding finding = {
		.problem = bcfmt_problem_find(BCFMT_P_UUID_STRANDED),
		.where = BCFMT_WHERE_INIT,
		.args = { BCFMT_U64("dirty", 1ull << 63), BCFMT_U64("inode", 0),
			  BCFMT_TEXT("state", state) },
		.n_args = 3,
	};

	finding.where.device = "a\033b";
	return finding;
}

/* Needs catch_begin() before. */
static struct bcfmt_report *new_report(void)
{
	struct bcfmt_report *report;

	cr_assert_eq(bcfmt_report_new(caught_ctx, &report), BCFMT_OK);
	return report;
}

static size_t count(const char *needle)
{
	size_t n = 0;

	for (const char *at = caught_text; (at = strstr(at, needle)); at++)
		n++;
	return n;
}

Test(render_finding, one_line_with_its_place)
{
	struct bcfmt_out *out = catch_begin(0);
	struct bcfmt_report *report = new_report();
	char message[512];
	char want[1024];

	add_bad_csum(report, 9);
	bcfmt_report_finish(report);
	bcfmt_finding_message(bcfmt_report_at(report, 0), message, sizeof(message));
	cr_expect(strstr(message, "0x0000000000000abc") && strstr(message, "504"));
	snprintf(want, sizeof(want), "sdb: BC0505 node-bad-csum: bucket 7 sector 896 block 9: %s\n",
		 message);
	bcfmt_render_finding(out, bcfmt_report_at(report, 0), false);
	bcfmt_report_free(report);
	catch_expect(out, want);
}

Test(render_finding, without_device_and_place)
{
	struct bcfmt_out *out = catch_begin(0);
	struct bcfmt_report *report = new_report();
	char message[512];
	char want[1024];

	add_note(report);
	bcfmt_report_finish(report);
	bcfmt_finding_message(bcfmt_report_at(report, 0), message, sizeof(message));
	snprintf(want, sizeof(want), "BC0409 uuid-left-clean: %s\n", message);
	bcfmt_render_finding(out, bcfmt_report_at(report, 0), false);
	bcfmt_report_free(report);
	catch_expect(out, want);
}

Test(render_finding, verbose_tells_consequences)
{
	struct bcfmt_out *out = catch_begin(0);
	struct bcfmt_report *report = new_report();

	add_bad_csum(report, 9);
	bcfmt_report_finish(report);
	bcfmt_render_finding(out, bcfmt_report_at(report, 0), true);
	bcfmt_report_free(report);
	catch_end(out);
	cr_expect_eq(count("\n    severity: data-loss\n"), 1);
	cr_expect_eq(
		count("\n    kernel: all kernels: it does not start the cache set, or shuts it "
		      "down (bch_btree_node_read_done), \"bad checksum at bucket"),
		1, "got:\n%s", caught_text);
	cr_expect_eq(count("\n    repair: rewrite-node, asks first\n"), 1);
	catch_free();
}

Test(render_finding, colour_only_when_asked_for)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_COLOR);
	struct bcfmt_report *report = new_report();

	add_bad_csum(report, 9);
	bcfmt_report_finish(report);
	bcfmt_render_finding(out, bcfmt_report_at(report, 0), false);
	bcfmt_report_free(report);
	catch_end(out);
	cr_expect_eq(count("sdb: \033[1;31mBC0505 node-bad-csum\033[0m: bucket 7"), 1);
	catch_free();
}

Test(render_finding, json_object)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	struct bcfmt_report *report = new_report();
	json_t *row;
	json_t *args;
	json_t *kernel;

	add_bad_csum(report, 9);
	bcfmt_report_finish(report);
	bcfmt_render_finding(out, bcfmt_report_at(report, 0), true);
	bcfmt_report_free(report);
	catch_end(out);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(row, "kind"), "finding");
	cr_expect_str_eq(catch_string(row, "code"), "BC0505");
	cr_expect_str_eq(catch_string(row, "slug"), "node-bad-csum");
	cr_expect_str_eq(catch_string(row, "severity"), "data-loss");
	cr_expect_str_eq(catch_string(row, "device"), "sdb");
	cr_expect_str_eq(catch_string(row, "structure"), "node");
	cr_expect_str_eq(catch_string(row, "field"), "csum");
	cr_expect_eq(catch_number(row, "sector"), 896);
	cr_expect_eq(catch_number(row, "bucket"), 7);
	cr_expect_eq(catch_number(row, "block"), 9);
	cr_expect_null(json_object_get(row, "key"), "what is unknown is absent");
	args = json_object_get(row, "args");
	cr_expect_eq(catch_number(args, "level"), 0);
	cr_expect_str_eq(catch_string(args, "stored"), "0x0000000000000abc");
	cr_expect_str_eq(catch_string(args, "computed"), "0xffffffffffffffff");
	cr_expect_str_eq(catch_string(json_object_get(row, "repair"), "action"), "rewrite-node");
	cr_expect_str_eq(catch_string(json_object_get(row, "repair"), "consent"), "ask");
	kernel = json_array_get(json_object_get(row, "kernel"), 0);
	cr_expect_str_eq(catch_string(kernel, "effect"), "stops-set");
	cr_expect_str_eq(catch_string(kernel, "function"), "bch_btree_node_read_done");
	cr_expect_null(json_object_get(kernel, "since"));
	json_decref(row);
	catch_free();
}

Test(render_finding, json_of_hostile_values)
{
	struct bcfmt_out *out = catch_begin(BCFMT_OUT_JSON);
	struct bcfmt_finding finding = stranded("\xff\"\n");
	json_t *row;

	bcfmt_render_finding(out, &finding, false);
	catch_end(out);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(json_object_get(row, "args"), "dirty"),
			 "9223372036854775808");
	cr_expect_str_eq(catch_string(json_object_get(row, "args"), "state"), "\xef\xbf\xbd\"\n");
	cr_expect_str_eq(catch_string(row, "device"), "a\033b");
	json_decref(row);
	catch_free();
}

Test(render_finding, text_of_hostile_values)
{
	struct bcfmt_out *out = catch_begin(0);
	struct bcfmt_finding finding = stranded("\xff\n\033[2J");

	bcfmt_render_finding(out, &finding, false);
	catch_end(out);
	cr_expect_eq(count("\n"), 1);
	cr_expect_eq(count("\033"), 0);
	cr_expect_eq(count("a?b: BC0406"), 1);
	cr_expect_eq(count("\xff"), 0);
	catch_free();
}

static void render_many(unsigned int flags, bool verbose, unsigned int n)
{
	struct bcfmt_out *out = catch_begin(flags);
	struct bcfmt_report *report = new_report();

	for (unsigned int i = 0; i < n; i++)
		add_bad_csum(report, i);
	add_note(report);
	bcfmt_report_finish(report);
	bcfmt_render_report(out, report, verbose);
	bcfmt_render_summary(out, report, 4);
	bcfmt_report_free(report);
	catch_end(out);
}

Test(render_finding, a_long_group_is_cut)
{
	render_many(0, false, N_STALE);
	cr_expect_eq(count("BC0505 node-bad-csum: "), 10);
	cr_expect_eq(count("    and 290 more BC0505 node-bad-csum (-v shows more)\n"), 1, "%s",
		     caught_text);
	cr_expect_eq(count("\n300 problems: 300 data-loss; 1 note\n"), 1, "%s", caught_text);
	catch_free();
}

Test(render_finding, eleven_are_not_worth_cutting)
{
	render_many(0, false, 11);
	cr_expect_eq(count("BC0505 node-bad-csum: "), 11);
	cr_expect_eq(count("more BC0505"), 0);
	catch_free();
	render_many(0, false, 12);
	cr_expect_eq(count("BC0505 node-bad-csum: "), 10);
	cr_expect_eq(count("    and 2 more BC0505"), 1);
	catch_free();
}

Test(render_finding, verbose_shows_all_that_were_kept)
{
	render_many(0, true, N_STALE);
	cr_expect_eq(count("BC0505 node-bad-csum: "), BCFMT_FINDINGS_KEPT);
	cr_expect_eq(count("    and 44 more BC0505 node-bad-csum\n"), 1);
	cr_expect_eq(count("severity: data-loss"), 1, "once for the group");
	catch_free();
}

Test(render_finding, quiet_leaves_out_notes_and_totals)
{
	render_many(BCFMT_OUT_QUIET, false, 1);
	cr_expect_eq(count("BC0505"), 1);
	cr_expect_eq(count("BC0409"), 0);
	cr_expect_eq(count("1 problem"), 0);
	catch_free();
}

Test(render_finding, totals_in_the_singular)
{
	render_many(0, false, 1);
	cr_expect_eq(count("\n1 problem: 1 data-loss; 1 note\n"), 1, "%s", caught_text);
	catch_free();
	render_many(0, false, 0);
	cr_expect_eq(count("\nno problems; 1 note\n"), 1, "%s", caught_text);
	catch_free();
}

Test(render_finding, json_report_counts_what_was_not_kept)
{
	json_t *row;

	render_many(BCFMT_OUT_JSON, false, N_STALE);
	cr_expect_eq(count("\n"), 1 + BCFMT_FINDINGS_KEPT + 1 + 1);
	/* Sorted by number: the note comes first. */
	row = catch_json(1 + BCFMT_FINDINGS_KEPT);
	cr_expect_str_eq(catch_string(row, "kind"), "more_findings");
	cr_expect_str_eq(catch_string(row, "code"), "BC0505");
	cr_expect_eq(catch_number(row, "count"), N_STALE - BCFMT_FINDINGS_KEPT);
	json_decref(row);
	row = catch_json(2 + BCFMT_FINDINGS_KEPT);
	cr_expect_str_eq(catch_string(row, "kind"), "summary");
	cr_expect_eq(catch_number(row, "exit_code"), 4);
	cr_expect_eq(catch_number(json_object_get(row, "findings"), "data_loss"), N_STALE);
	cr_expect_eq(catch_number(json_object_get(row, "findings"), "note"), 1);
	cr_expect_eq(catch_number(json_object_get(row, "findings"), "fatal"), 0);
	json_decref(row);
	catch_free();
}

Test(render_finding, every_problem_can_be_explained)
{
	size_t n;
	const struct bcfmt_problem *table = bcfmt_problem_table(&n);

	for (size_t i = 0; i < n; i++) {
		struct bcfmt_out *out = catch_begin(0);
		char head[128];

		bcfmt_render_explain(out, &table[i]);
		catch_end(out);
		snprintf(head, sizeof(head), "BC%04d %s (%s)\n", (int)table[i].id, table[i].slug,
			 bcfmt_severity_name(table[i].severity));
		cr_expect(!strncmp(caught_text, head, strlen(head)), "%s", caught_text);
		cr_expect_eq(count("\n  repair: "), 1, "%s", caught_text);
		cr_expect_eq(count("{"), 0, "%s", caught_text);
		catch_free();
		out = catch_begin(BCFMT_OUT_JSON);
		bcfmt_render_explain(out, &table[i]);
		catch_end(out);
		json_decref(catch_json(0));
		catch_free();
	}
	cr_expect_gt(n, 50);
}

Test(render_finding, every_kernel_line_can_be_explained)
{
	size_t n;
	const struct bcfmt_kernel_line *table = bcfmt_kernel_line_table(&n);

	for (size_t i = 0; i < n; i++) {
		struct bcfmt_out *out = catch_begin(0);

		bcfmt_render_explain_line(out, &table[i]);
		catch_end(out);
		cr_expect(!strncmp(caught_text, "kernel line: ", 13));
		cr_expect_eq(count("\n  repair: "), table[i].id != BCFMT_P_NONE, "%s", caught_text);
		catch_free();
	}
	cr_expect_gt(n, 20);
}

/* ---- verdict ---- */

static struct bcfmt_verdict_device sample_device(void)
{
	struct bcfmt_verdict_device device = {
		.inode = 4,
		.has_entry = true,
		.uuid = { 0xab },
		.dirty_bytes = 43185152,
		.certainty = BCFMT_EXACT,
		.safe_alone = BCFMT_NOT_SAFE,
		.reason = "a reason",
	};

	snprintf(device.label, sizeof(device.label), "mail\n");
	return device;
}

static void render_verdict(unsigned int flags, struct bcfmt_verdict_device device,
			   struct bcfmt_verdict verdict)
{
	static const struct bcfmt_set set = { .has_cache = true };
	struct bcfmt_out *out = catch_begin(flags);

	verdict.devices = &device;
	verdict.n_devices = 1;
	bcfmt_render_verdict(out, &set, &verdict);
	catch_end(out);
}

#define UUID "ab000000-0000-0000-0000-000000000000"

static void expect_device(struct bcfmt_verdict_device device, const char *want)
{
	struct bcfmt_verdict verdict = { 0 };

	render_verdict(0, device, verdict);
	cr_expect(!strncmp(caught_text, want, strlen(want)), "got:\n%s", caught_text);
	catch_free();
}

Test(render_verdict, one_line_a_device)
{
	struct bcfmt_verdict_device device = sample_device();

	expect_device(device, "backing device " UUID " \"mail\" (inode 4): 41.2 MiB dirty in the "
			      "cache (43185152 bytes); safe to run without the cache: no "
			      "(a reason)\n");
	device.certainty = BCFMT_AT_LEAST;
	device.label[0] = 0;
	device.lost_bytes = 512;
	expect_device(device, "backing device " UUID " (inode 4): at least 41.2 MiB dirty in the "
			      "cache (43185152 bytes), 512 bytes dirty and lost; safe to");
	device.dirty_bytes = 0;
	device.lost_bytes = 0;
	device.safe_alone = BCFMT_SAFETY_UNKNOWN;
	expect_device(device, "backing device " UUID " (inode 4): dirty bytes in the cache: "
			      "unknown; safe to run without the cache: unknown (a reason)\n");
	device.certainty = BCFMT_EXACT;
	device.safe_alone = BCFMT_SAFE;
	device.reason = NULL;
	expect_device(device, "backing device " UUID " (inode 4): nothing dirty in the cache; "
			      "safe to run without the cache: yes\n");
	device.is_flash_only = true;
	expect_device(device, "flash-only volume " UUID " (inode 4): nothing dirty");
	device.is_flash_only = false;
	device.has_entry = false;
	device.dirty_bytes = 512;
	expect_device(device, "inode 4 without a device (uuid " UUID "): 512 bytes dirty in the "
			      "cache; it belongs to no device\n");
	memcpy(device.uuid, bcfmt_uuid_invalid(), sizeof(device.uuid));
	expect_device(device, "inode 4 without a device (its slot is that of a detached one): ");
}

Test(render_verdict, what_a_kernel_would_do)
{
	struct bcfmt_verdict verdict = { .registers = BCFMT_REGISTERS_YES };

	render_verdict(0, sample_device(), verdict);
	cr_expect_eq(count("\na kernel would register the set: yes\n"), 1);
	catch_free();
	verdict.registers = BCFMT_REGISTERS_NO;
	verdict.first_lines[0] = "one";
	verdict.n_first_lines = 1;
	render_verdict(0, sample_device(), verdict);
	cr_expect_eq(count("\na kernel would register the set: no; its first message:\n    one\n"),
		     1, "%s", caught_text);
	catch_free();
	verdict.first_lines[1] = "two";
	verdict.n_first_lines = 2;
	render_verdict(0, sample_device(), verdict);
	cr_expect_eq(count("its first message is one of these:\n    one\n    two\n"), 1);
	catch_free();
}

Test(render_verdict, inodes_beyond_those_listed)
{
	struct bcfmt_verdict verdict = { .unplaced_inodes = 3, .unplaced_dirty_bytes = 1024 };

	render_verdict(0, sample_device(), verdict);
	cr_expect_eq(count("\n3 more inodes without a device: 1.0 KiB dirty in the cache "
			   "(1024 bytes)\n"),
		     1);
	cr_expect_eq(count("\na kernel would register the set: unknown\n"), 1);
	catch_free();
}

Test(render_verdict, json)
{
	struct bcfmt_verdict verdict = { .registers = BCFMT_REGISTERS_NO,
					 .n_first_lines = 1,
					 .first_lines = { "one" },
					 .nodes = 5 };
	struct bcfmt_verdict_device device = sample_device();
	json_t *row;

	render_verdict(BCFMT_OUT_JSON, device, verdict);
	row = catch_json(0);
	cr_expect_str_eq(catch_string(row, "kind"), "verdict_device");
	cr_expect_eq(catch_number(row, "inode"), 4);
	cr_expect_str_eq(catch_string(row, "uuid"), UUID);
	cr_expect_eq(catch_number(row, "dirty_bytes"), 43185152);
	cr_expect_str_eq(catch_string(row, "certainty"), "exact");
	cr_expect(json_is_false(json_object_get(row, "safe_without_cache")));
	json_decref(row);
	row = catch_json(1);
	cr_expect_str_eq(catch_string(row, "kind"), "verdict");
	cr_expect(json_is_false(json_object_get(row, "registers")));
	cr_expect_eq(catch_number(row, "nodes"), 5);
	cr_expect_eq(json_array_size(json_object_get(row, "first_messages")), 1);
	json_decref(row);
	catch_free();

	device.certainty = BCFMT_UNKNOWN;
	device.safe_alone = BCFMT_SAFETY_UNKNOWN;
	verdict.registers = BCFMT_REGISTERS_UNKNOWN;
	render_verdict(BCFMT_OUT_JSON, device, verdict);
	row = catch_json(0);
	cr_expect_null(json_object_get(row, "dirty_bytes"), "what is unknown is absent");
	cr_expect_null(json_object_get(row, "safe_without_cache"));
	json_decref(row);
	row = catch_json(1);
	cr_expect_null(json_object_get(row, "registers"));
	json_decref(row);
	catch_free();
}
