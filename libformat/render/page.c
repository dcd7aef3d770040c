/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A check as one HTML page. */
#include <bcfmt/page.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/map.h"
#include "render/out.h"
#include "render/page_parts.h"

#define MESSAGE_BYTES 1024u
#define VERDICT_LINES 200u

struct writer {
	struct page_out out;
	const struct bcfmt_page *page;
	unsigned int findings_left; /* of BCFMT_PAGE_FINDINGS_ALL */
};

static const enum bcfmt_severity by_weight[] = {
	BCFMT_SEV_FATAL, BCFMT_SEV_DATA_LOSS, BCFMT_SEV_ERROR, BCFMT_SEV_WASTE, BCFMT_SEV_NOTE,
};
#define N_SEVERITIES (sizeof(by_weight) / sizeof(by_weight[0]))

/* What a severity is called above its findings, and the class of its colour. */
static const char *severity_title(enum bcfmt_severity severity, const char **class)
{
	*class = severity >= BCFMT_SEV_DATA_LOSS ? "bad"
		 : severity >= BCFMT_SEV_WASTE	 ? "warn"
						 : "note";
	switch (severity) {
	case BCFMT_SEV_FATAL:
		return "Fatal: the set cannot be read any further";
	case BCFMT_SEV_DATA_LOSS:
		return "Data loss: data is gone, doubtful, or will be lost";
	case BCFMT_SEV_ERROR:
		return "Error: metadata is wrong, no data is lost by it";
	case BCFMT_SEV_WASTE:
		return "Waste: space or speed is lost, data is safe";
	case BCFMT_SEV_NOTE:
		break;
	}
	return "Notes: worth knowing, no problem";
}

static void begin_class(struct page_out *out, const char *tag, const char *class)
{
	page_markup(out, "<");
	page_markup(out, tag);
	page_markup(out, " class=\"");
	page_markup(out, class);
	page_markup(out, "\">");
}

/* ---- head ---- */

static void head(struct writer *w)
{
	const struct bcfmt_page *page = w->page;
	struct page_out *out = &w->out;
	char uuid[BCFMT_UUID_TEXT_BYTES] = "without a cache";

	if (page->set->has_cache && page->set->cache.has_magic)
		bcfmt_uuid_text(page->set->cache.super.set_uuid, uuid);
	page_markup(out,
		    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
		    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
		    "<meta name=\"referrer\" content=\"no-referrer\">\n");
	page_element(out, "title", "bcache report: set %s", uuid);
	page_markup(out, "<style>\n");
	page_markup(out, page_style);
	page_markup(out, "</style>\n</head>\n<body>\n"
			 "<a class=\"skip\" href=\"#main\">to the content</a>\n<header>\n");
	page_element(out, "h1", "bcache report");
	page_markup(out, "<p class=\"soft\">set <code>");
	page_text(out, "%s", uuid);
	page_markup(out, "</code>");
	if (page->is_scrubbed)
		page_text(out, "; uuids and labels are replaced by others in all of this report");
	page_markup(out, "</p>\n");
}

static uint64_t count_problems(const struct bcfmt_report *report, enum bcfmt_severity *worst)
{
	uint64_t problems = 0;

	*worst = BCFMT_SEV_NOTE;
	for (size_t i = N_SEVERITIES; i--;) {
		uint64_t n = bcfmt_report_severity_total(report, by_weight[i]);

		if (!n || by_weight[i] == BCFMT_SEV_NOTE)
			continue;
		*worst = by_weight[i];
		problems += n;
	}
	return problems;
}

static void answer(struct writer *w)
{
	const struct bcfmt_report *report = w->page->report;
	struct page_out *out = &w->out;
	enum bcfmt_severity worst;
	uint64_t problems = count_problems(report, &worst);
	const char *class = "good", *sep = ": ";

	if (problems)
		severity_title(worst, &class);
	page_markup(out, "<div class=\"answer ");
	page_markup(out, class);
	page_markup(out, "\"><p><strong>");
	if (problems)
		page_text(out, "%" PRIu64 " problem%s", problems, problems == 1 ? "" : "s");
	else
		page_text(out, "No problems");
	page_markup(out, "</strong>");
	for (size_t i = 0; i < N_SEVERITIES; i++) {
		uint64_t n = bcfmt_report_severity_total(report, by_weight[i]);

		if (!n || by_weight[i] == BCFMT_SEV_NOTE)
			continue;
		page_text(out, "%s%" PRIu64 " %s", sep, n, bcfmt_severity_name(by_weight[i]));
		sep = ", ";
	}
	page_markup(out, "</p></div>\n<nav aria-label=\"Contents\"><ul>\n"
			 "<li><a href=\"#verdict\">Verdict</a></li>\n"
			 "<li><a href=\"#findings\">Findings</a></li>\n"
			 "<li><a href=\"#map\">Bucket map</a></li>\n"
			 "<li><a href=\"#nodes\">Damaged nodes</a></li>\n"
			 "<li><a href=\"#set\">Set</a></li>\n"
			 "<li><a href=\"#versions\">Versions</a></li>\n"
			 "<li><a href=\"#files\">Files</a></li>\n</ul></nav>\n</header>\n"
			 "<main id=\"main\">\n");
}

/* ---- verdict ---- */

static void bytes_cell(struct page_out *out, uint64_t bytes, bool is_known, const char *before)
{
	char text[32];

	begin_class(out, "td", "n");
	if (is_known)
		page_text(out, "%s%s", before, bcfmt_bytes_text(bytes, text));
	else
		page_text(out, "unknown");
	page_markup(out, "</td>");
}

static void device_row(struct page_out *out, const struct bcfmt_verdict_device *device)
{
	bool is_known = device->certainty != BCFMT_UNKNOWN &&
			(device->certainty == BCFMT_EXACT || device->dirty_bytes);
	char uuid[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(device->uuid, uuid);
	page_markup(out, "<tr><th scope=\"row\">");
	if (*device->label)
		page_text(out, "%s, ", device->label);
	page_text(out, "%s", device->is_flash_only ? "flash-only volume, " : "");
	if (device->has_inode)
		page_text(out, "inode %" PRIu32, device->inode);
	page_markup(out, "<br><code class=\"soft\">");
	page_text(out, "%s", uuid);
	page_markup(out, "</code></th>");
	bytes_cell(out, device->dirty_bytes, is_known,
		   device->certainty == BCFMT_AT_LEAST ? "at least " : "");
	bytes_cell(out, device->lost_bytes, device->certainty != BCFMT_UNKNOWN, "");
	bytes_cell(out, device->doubtful_bytes, device->doubtful_bytes != BCFMT_NO_NUMBER, "");
	page_markup(out, "<td><strong>");
	page_text(out, "%s",
		  device->safe_alone == BCFMT_SAFE	 ? "yes"
		  : device->safe_alone == BCFMT_NOT_SAFE ? "no"
							 : "unknown");
	page_markup(out, "</strong>");
	if (device->reason && *device->reason)
		page_text(out, ": %s", device->reason);
	page_markup(out, "</td></tr>\n");
}

static void device_table(struct writer *w)
{
	const struct bcfmt_verdict *verdict = w->page->verdict;
	struct page_out *out = &w->out;

	if (!verdict->n_devices)
		return;
	page_markup(out,
		    "<div class=\"wide\"><table>\n<caption>What the cache holds for each device"
		    "</caption>\n<thead><tr><th scope=\"col\">Device</th>"
		    "<th scope=\"col\" class=\"n\">Dirty</th>"
		    "<th scope=\"col\" class=\"n\">Lost</th>"
		    "<th scope=\"col\" class=\"n\">Doubtful</th>"
		    "<th scope=\"col\">Safe to run without the cache</th></tr></thead>\n"
		    "<tbody>\n");
	for (size_t i = 0; i < verdict->n_devices && i < BCFMT_PAGE_MEMBERS; i++)
		device_row(out, &verdict->devices[i]);
	page_markup(out, "</tbody></table></div>\n");
	if (verdict->n_devices > BCFMT_PAGE_MEMBERS)
		page_element(out, "p", "And %zu more devices: see verdict.txt.",
			     verdict->n_devices - BCFMT_PAGE_MEMBERS);
}

/* What bcfmt_out prints in text mode, a line at a time. */
static void verdict_lines(struct writer *w)
{
	struct page_out *out = &w->out;
	char *text = NULL, *line, *next;
	size_t len_bytes = 0;
	FILE *stream = open_memstream(&text, &len_bytes);
	struct bcfmt_out *lines = NULL;
	unsigned int n = 0;
	bcfmt_err err = BCFMT_E_NOMEM;

	if (stream)
		err = bcfmt_out_new(out->ctx, stream, 0, &lines);
	if (!err) {
		bcfmt_render_verdict(lines, w->page->set, w->page->verdict);
		err = bcfmt_out_close(lines);
	}
	/* Closing can lose the text for want of memory without a word. */
	if (stream && (fclose(stream) || !text) && !err)
		err = BCFMT_E_NOMEM;
	page_markup(out, "<ul class=\"lines\">\n");
	for (line = text; !err && *line && n < VERDICT_LINES; line = next, n++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		page_markup(out, *line == ' ' ? "<li class=\"sub\">" : "<li>");
		page_text(out, "%s", line + strspn(line, " "));
		page_markup(out, "</li>\n");
	}
	page_markup(out, "</ul>\n");
	free(text);
	if (err && !out->err)
		out->err = err;
}

static void verdict(struct writer *w)
{
	page_markup(&w->out, "<section id=\"verdict\" aria-labelledby=\"h-verdict\">\n"
			     "<h2 id=\"h-verdict\">Verdict</h2>\n");
	device_table(w);
	verdict_lines(w);
	page_markup(&w->out, "</section>\n");
}

/* ---- findings ---- */

static void finding_item(struct writer *w, const struct bcfmt_finding *finding)
{
	struct page_out *out = &w->out;
	char message[MESSAGE_BYTES], place[OUT_PLACE_BYTES];

	bcfmt_finding_message(finding, message, sizeof(message));
	page_markup(out, "<li><span class=\"place\">");
	if (finding->where.device)
		page_text(out, "%s: ", finding->where.device);
	page_text(out, "%s", out_place_text(&finding->where, place));
	page_markup(out, "</span>");
	page_text(out, "%s", message);
	page_markup(out, "</li>\n");
}

static void consequences(struct writer *w, const struct bcfmt_problem *problem)
{
	struct page_out *out = &w->out;
	size_t n;
	const struct bcfmt_kernel_effect *effect = out_effects(problem->id, &n);
	char kernels[64];

	page_markup(out, "<ul class=\"soft\">\n");
	for (; n; n--, effect++) {
		page_markup(out, "<li>");
		page_text(out, "%s: %s (", out_kernels_text(effect->since, effect->until, kernels),
			  out_effect_text(effect->effect));
		page_markup(out, "<code>");
		page_text(out, "%s", effect->function);
		page_markup(out, "</code>)");
		if (*effect->line)
			page_text(out, ", prints \"%s\"", effect->line);
		page_markup(out, "</li>\n");
	}
	if (problem->repair == BCFMT_REPAIR_NONE)
		page_element(out, "li", "repair: none");
	else
		page_element(out, "li", "repair: %s, %s", bcfmt_repair_name(problem->repair),
			     out_consent_text(problem->consent));
	page_markup(out, "</ul>\n");
}

static void problem_card(struct writer *w, size_t begin, size_t end)
{
	const struct bcfmt_report *report = w->page->report;
	const struct bcfmt_problem *problem = bcfmt_report_at(report, begin)->problem;
	uint64_t total = bcfmt_report_total(report, problem->id);
	struct page_out *out = &w->out;
	unsigned int shown = 0;

	page_markup(out, "<article>\n<h4>");
	page_text(out, "BC%04d %s ", (int)problem->id, problem->slug);
	page_markup(out, "<span class=\"tag\">");
	page_text(out, "%" PRIu64 " time%s", total, total == 1 ? "" : "s");
	page_markup(out, "</span></h4>\n");
	if (*problem->meaning)
		page_element(out, "p", "%s", problem->meaning);
	page_markup(out, "<ul>\n");
	for (; begin < end && shown < BCFMT_PAGE_FINDINGS && w->findings_left;
	     begin++, shown++, w->findings_left--)
		finding_item(w, bcfmt_report_at(report, begin));
	page_markup(out, "</ul>\n");
	if (total > shown)
		page_element(out, "p", "And %" PRIu64 " more of these: see findings.json.",
			     total - shown);
	page_element(out, "p", "What kernels do, and the repair:");
	consequences(w, problem);
	page_markup(out, "</article>\n");
}

static size_t group_end(const struct bcfmt_report *report, size_t begin)
{
	size_t end = begin + 1;

	while (end < bcfmt_report_count(report) &&
	       bcfmt_report_at(report, end)->problem == bcfmt_report_at(report, begin)->problem)
		end++;
	return end;
}

static void findings_of(struct writer *w, enum bcfmt_severity severity)
{
	const struct bcfmt_report *report = w->page->report;
	struct page_out *out = &w->out;
	const char *class, *title = severity_title(severity, &class);
	size_t end;

	if (!bcfmt_report_severity_total(report, severity))
		return;
	page_element(out, "h3", "%s", title);
	for (size_t begin = 0; begin < bcfmt_report_count(report); begin = end) {
		end = group_end(report, begin);
		if (bcfmt_report_at(report, begin)->problem->severity == severity)
			problem_card(w, begin, end);
	}
}

static void findings(struct writer *w)
{
	const struct bcfmt_report *report = w->page->report;
	struct page_out *out = &w->out;

	page_markup(out, "<section id=\"findings\" aria-labelledby=\"h-findings\">\n"
			 "<h2 id=\"h-findings\">Findings</h2>\n");
	if (!bcfmt_report_count(report))
		page_element(out, "p", "Nothing was found.");
	for (size_t i = 0; i < N_SEVERITIES; i++)
		findings_of(w, by_weight[i]);
	if (bcfmt_report_suppressed(report))
		page_element(out, "p", "%" PRIu64 " that only follow from these are left out.",
			     bcfmt_report_suppressed(report));
	page_markup(out, "</section>\n");
}

/* ---- bucket map ---- */

static bcfmt_err write_base64(void *arg, const void *bytes, size_t len_bytes)
{
	struct page_out *out = arg;

	page_base64(out, bytes, len_bytes);
	return out->err;
}

static void use_table(struct writer *w, const struct bcfmt_map *map)
{
	const struct bcfmt_map_total *totals = bcfmt_map_totals(map);
	struct page_out *out = &w->out;
	char style[64], bytes[32];

	page_markup(out,
		    "<div class=\"wide\"><table>\n<caption>Buckets by use; damaged and doubtful "
		    "ones are counted by their use as well</caption>\n<thead><tr>"
		    "<th scope=\"col\">Use</th><th scope=\"col\" class=\"n\">Buckets</th>"
		    "<th scope=\"col\" class=\"n\">Bytes</th></tr></thead>\n<tbody>\n");
	for (unsigned int i = 0; i < BCFMT_MAP_USES; i++) {
		enum bcfmt_map_use use = (enum bcfmt_map_use)i;

		snprintf(style, sizeof(style), "<span class=\"swatch\" style=\"background:#%06x\">",
			 bcfmt_map_color(use));
		page_markup(out, "<tr><th scope=\"row\">");
		page_markup(out, style);
		page_markup(out, "</span>");
		page_text(out, "%s", bcfmt_map_use_name(use));
		page_markup(out, "</th><td class=\"n\">");
		page_text(out, "%" PRIu64, totals[use].buckets);
		page_markup(out, "</td><td class=\"n\">");
		page_text(out, "%s", bcfmt_bytes_text(totals[use].bytes, bytes));
		page_markup(out, "</td></tr>\n");
	}
	page_markup(out, "</tbody></table></div>\n");
}

static void bucket_map(struct writer *w)
{
	const struct bcfmt_map *map = w->page->map;
	struct page_out *out = &w->out;
	char sizes[MAP_LINE_BYTES];
	bcfmt_err err;

	page_markup(out, "<section id=\"map\" aria-labelledby=\"h-map\">\n"
			 "<h2 id=\"h-map\">Bucket map</h2>\n");
	if (!map) {
		page_element(out, "p", "There is no cache of which the sizes are known.");
		page_markup(out, "</section>\n");
		return;
	}
	map_sizes(map, sizes);
	page_markup(out, "<figure><img alt=\"");
	page_text(out,
		  "Map of %s along a Hilbert curve, coloured by use: %" PRIu64 " damaged, %" PRIu64
		  " doubtful. The table below has the numbers.",
		  sizes, bcfmt_map_totals(map)[BCFMT_MAP_DAMAGED].buckets,
		  bcfmt_map_totals(map)[BCFMT_MAP_DOUBTFUL].buckets);
	page_markup(out, "\" src=\"data:image/png;base64,");
	err = bcfmt_map_png(map, write_base64, out);
	if (err && !out->err)
		out->err = err;
	page_base64_end(out);
	page_markup(out, "\"></figure>\n");
	use_table(w, map);
	page_markup(out, "</section>\n");
}

bcfmt_err bcfmt_render_page(struct bcfmt_ctx *ctx, void *stream, const struct bcfmt_page *page)
{
	struct writer w = { .out = { .ctx = ctx, .stream = stream },
			    .page = page,
			    .findings_left = BCFMT_PAGE_FINDINGS_ALL };

	head(&w);
	answer(&w);
	verdict(&w);
	findings(&w);
	bucket_map(&w);
	page_nodes(&w.out, page);
	page_set(&w.out, page->set);
	page_rest(&w.out, page);
	return w.out.err;
}
