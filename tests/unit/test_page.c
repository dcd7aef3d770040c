/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page of a report: names from a disk are text, bad keys are marked, and it stays small. */
#include "unit/check_help.h"
#include "unit/render_help.h"

#include <bcfmt/page.h>

TestSuite(page, .init = begin, .fini = end);

/* The page of the kit's set as it was checked, with one node. Freed with free(). */
static char *render(const char *node_text)
{
	struct bcfmt_page_node node = { .bucket = nth(0), .is_in_tree = true, .text = node_text };
	struct bcfmt_page_row row = { "a<b", "\"c\" & 'd'" };
	struct bcfmt_page page = {
		.set = kit.set,
		.report = result.report,
		.verdict = &result.verdict,
		.nodes = &node,
		.n_nodes = node_text != NULL,
		.all_nodes = node_text ? 3 : 0,
		.versions = &row,
		.n_versions = 1,
	};
	char *text = NULL;
	size_t len_bytes = 0;
	FILE *stream = open_memstream(&text, &len_bytes);

	cr_assert_not_null(stream);
	cr_assert_eq(bcfmt_render_page(kit.ctx, stream, &page), BCFMT_OK);
	cr_assert_eq(fclose(stream), 0);
	cr_expect_lt(len_bytes, 2u << 20);
	return text;
}

static unsigned int count(const char *text, const char *part)
{
	unsigned int n = 0;

	while ((text = strstr(text, part))) {
		text += strlen(part);
		n++;
	}
	return n;
}

Test(page, names_stay_names)
{
	char *text;

	memcpy(kit.uuids[0].label, "<b>\"&'\x1b\xff\xe2\x80\xae", 11);
	check_tree(leaf_of(0, NULL, 0), 0);
	text = render(NULL);
	cr_expect_null(strstr(text, "<b>"));
	cr_expect(strstr(text, "&lt;b&gt;&quot;&amp;&#39;???"), "%s", strstr(text, "<tbody>"));
	cr_expect_not_null(strstr(text, "a&lt;b</th><td>&quot;c&quot; &amp; &#39;d&#39;</td>"));
	cr_expect_null(strchr(text, '\x1b'));
	cr_expect_not_null(strstr(text, "No problems"));
	free(text);
}

Test(page, bad_lines_are_marked)
{
	static const char dump[] =
		"block 0 key 0/9:  0:8 len 8 -> [0:16 gen 1] bucket 1 prio 2 \n"
		"block 0 key 3/9:  0:24 len 8 -> [0:32 gen 1] bucket 2 prio 2 \n"
		"block 0 key 6/9:  0:16 len 8 -> [] bad, no pointers\n"
		"block 0 key 9/9:  0:40 len 8 -> [0:32 gen 1] bucket 2 prio 2 \n"
		"Key skipped backwards\n"
		"block 0 key 12/9:  0:32 len 8 -> [0:48 gen 1] bad, length too big\n"
		"bad checksum at bucket 20, block 1, 3 keys\n";
	char *text;

	check_tree(leaf_of(0, NULL, 0), 0);
	text = render(dump);
	cr_expect_eq(count(text, "<mark>! "), 4, "%s", strstr(text, "<pre"));
	cr_expect_not_null(strstr(text, "<mark>! block 0 key 9/9"));
	cr_expect_not_null(strstr(text, "<mark>! Key skipped backwards</mark>"));
	cr_expect_not_null(strstr(text, "<mark>! block 0 key 12/9"));
	cr_expect_not_null(strstr(text, "<mark>! bad checksum"));
	cr_expect_not_null(strstr(text, "  1 line left out</span>\n  block 0 key 6/9"));
	cr_expect_not_null(strstr(text, "And 2 more nodes"));
	free(text);
}

Test(page, a_long_node_is_cut)
{
	size_t lines = 40000;
	char *dump = calloc(lines, 64), *at = dump, *text;

	cr_assert_not_null(dump);
	for (size_t i = 0; i < lines; i++)
		at += sprintf(at, "block 0 key %zu/9: 0:8 bad, length too big\n", i);
	check_tree(leaf_of(0, NULL, 0), 0);
	text = render(dump);
	cr_expect_eq(count(text, "<mark>! "), BCFMT_PAGE_NODE_LINES);
	cr_expect_not_null(strstr(text, "39840 lines left out, 39840 of them marked"));
	free(text);
	free(dump);
}

/* Findings of one problem, and all of them together. */
Test(page, many_findings_are_cut)
{
	struct bcfmt_where where = BCFMT_WHERE_INIT;
	struct bcfmt_arg level = BCFMT_U64("level", 0);
	char *text;

	check_tree(leaf_of(0, NULL, 0), 0);
	bcfmt_report_free(result.report);
	cr_assert_eq(bcfmt_report_new(kit.ctx, &result.report), BCFMT_OK);
	for (uint64_t i = 0; i < 1000; i++) {
		where.bucket = i;
		cr_assert_eq(bcfmt_report_add(result.report, BCFMT_P_NODE_TWICE, &where, 1, &level),
			     BCFMT_OK);
	}
	bcfmt_report_finish(result.report);
	text = render(NULL);
	cr_expect_eq(count(text, "<li><span class=\"place\">bucket "), BCFMT_PAGE_FINDINGS);
	cr_expect_not_null(strstr(text, "And 980 more of these: see findings.json."));
	cr_expect_not_null(strstr(text, "1000 problems"));
	free(text);
}
