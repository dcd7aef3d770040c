/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page's damaged nodes: the lines that say what is wrong, and their neighbours. */
#include "render/page_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PLACES_MAX 128u

/* Keys of a node that findings name: "block 8 key 3/" as its dump begins their lines. */
struct places {
	char text[PLACES_MAX][48];
	size_t n;
};

static void find_places(const struct bcfmt_page *page, uint64_t bucket, struct places *places)
{
	places->n = 0;
	for (size_t i = 0; i < bcfmt_report_count(page->report) && places->n < PLACES_MAX; i++) {
		const struct bcfmt_where *where = &bcfmt_report_at(page->report, i)->where;

		if (where->bucket != bucket || where->key == BCFMT_NO_NUMBER ||
		    where->block == BCFMT_NO_NUMBER)
			continue;
		/* A dump counts the sets of a node in sectors. */
		snprintf(places->text[places->n++], sizeof(places->text[0]),
			 "block %" PRIu64 " key %" PRIu64 "/",
			 where->block * page->set->geo.block_sectors, where->key);
	}
}

static size_t line_len(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	size_t len = line_len(line);

	return line + len + (line[len] == '\n');
}

static bool is_backwards(const char *line)
{
	return !strncmp(line, "Key skipped backwards", 21);
}

/* Holes have no pointers, and freed nodes leave null keys: both are as they should be. */
static bool is_bad_key(const char *line, size_t len)
{
	const char *bad = memmem(line, len, " bad, ", 6);

	return bad && strncmp(bad, " bad, no pointers", 17) && strncmp(bad, " bad, null key", 14);
}

/* A key that is bad, or goes before the one behind it; what a kernel says instead of keys. */
static bool is_marked(const char *line, const struct places *places)
{
	size_t len = line_len(line);

	if (strncmp(line, "block ", 6))
		return len > 0;
	for (size_t i = 0; i < places->n; i++)
		if (!strncmp(line, places->text[i], strlen(places->text[i])))
			return true;
	return is_backwards(next_line(line)) || is_bad_key(line, len) ||
	       memmem(line, len, "passes the end", 14);
}

static void node_line(struct page_out *out, const char *line, bool is_bad)
{
	page_markup(out, is_bad ? "<mark>! " : "  ");
	page_text(out, "%.*s", (int)line_len(line), line);
	page_markup(out, is_bad ? "</mark>\n" : "\n");
}

static void cut_line(struct page_out *out, uint64_t lines, uint64_t marked)
{
	page_markup(out, "<span class=\"cut\">");
	page_text(out, "  %" PRIu64 " line%s left out", lines, lines == 1 ? "" : "s");
	if (marked)
		page_text(out, ", %" PRIu64 " of them marked", marked);
	page_markup(out, "</span>\n");
}

/* Bad lines, each with its neighbours; what lies between is only counted. */
static void node_lines(struct page_out *out, const char *text, const struct places *places)
{
	unsigned int shown = 0;
	uint64_t left_out = 0, bad_left = 0;
	bool was_bad = false, is_bad = is_marked(text, places);

	for (const char *line = text, *next; *line; line = next) {
		bool is_next_bad;

		next = next_line(line);
		is_next_bad = is_marked(next, places);
		if ((!is_bad && !was_bad && !is_next_bad && line != text) ||
		    shown == BCFMT_PAGE_NODE_LINES) {
			left_out++;
			bad_left += is_bad;
		} else {
			if (left_out)
				cut_line(out, left_out, 0);
			left_out = 0;
			node_line(out, line, is_bad);
			shown++;
		}
		was_bad = is_bad;
		is_bad = is_next_bad;
	}
	if (left_out)
		cut_line(out, left_out, bad_left);
}

static void node(struct page_out *out, const struct bcfmt_page *page,
		 const struct bcfmt_page_node *at)
{
	struct places places;
	uint64_t marked = 0;

	find_places(page, at->bucket, &places);
	for (const char *line = at->text; *line; line = next_line(line))
		marked += is_marked(line, &places);
	page_element(out, "h3", "Bucket %" PRIu64 ", level %u%s", at->bucket, at->level,
		     at->is_in_tree ? "" : ", no pointer of the tree leads to it");
	page_element(out, "p", "%" PRIu64 " line%s marked; all of it is in nodes.txt.", marked,
		     marked == 1 ? "" : "s");
	page_markup(out, "<pre tabindex=\"0\">");
	node_lines(out, at->text, &places);
	page_markup(out, "</pre>\n");
}

void page_nodes(struct page_out *out, const struct bcfmt_page *page)
{
	size_t n = page->n_nodes < BCFMT_PAGE_NODES ? page->n_nodes : BCFMT_PAGE_NODES;

	page_markup(out, "<section id=\"nodes\" aria-labelledby=\"h-nodes\">\n"
			 "<h2 id=\"h-nodes\">Damaged nodes</h2>\n");
	if (n)
		page_element(
			out, "p",
			"As a kernel dumps them. Marked with ! are keys that are bad, keys "
			"behind which the order goes backwards, and what a kernel says of it.");
	else if (!page->all_nodes)
		page_element(out, "p", "No node is damaged.");
	for (size_t i = 0; i < n; i++)
		node(out, page, &page->nodes[i]);
	if (page->all_nodes > n)
		page_element(out, "p",
			     "And %" PRIu64 " more nodes: their findings are in findings.json.",
			     page->all_nodes - n);
	page_markup(out, "</section>\n");
}
