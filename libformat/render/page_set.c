/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The page's tables of devices, sizes, versions and files. */
#include "render/page_parts.h"

#include <inttypes.h>

#include <bcfmt/render.h>

static void member_row(struct page_out *out, const struct bcfmt_member *member, const char *role)
{
	char uuid[BCFMT_UUID_TEXT_BYTES], bytes[32];

	page_markup(out, "<tr><th scope=\"row\">");
	page_text(out, "%s", bcfmt_dev_name(member->dev));
	page_markup(out, "</th><td>");
	page_text(out, "%s", role);
	page_markup(out, "</td><td class=\"n\">");
	page_text(out, "%s", bcfmt_bytes_text(bcfmt_dev_bytes(member->dev), bytes));
	page_markup(out, "</td><td>");
	if (member->has_magic) {
		bcfmt_uuid_text(member->super.uuid, uuid);
		page_markup(out, "<code>");
		page_text(out, "%s", uuid);
		page_markup(out, "</code>");
		if (*member->super.label)
			page_text(out, " \"%s\"", member->super.label);
	} else {
		page_text(out, "%s",
			  member->is_readable ? "no bcache superblock"
					      : "the superblock cannot be read");
	}
	page_markup(out, "</td></tr>\n");
}

static void number_row(struct page_out *out, const char *name, uint64_t value, const char *unit)
{
	page_markup(out, "<tr><th scope=\"row\">");
	page_text(out, "%s", name);
	page_markup(out, "</th><td>");
	page_text(out, "%" PRIu64 "%s", value, unit);
	page_markup(out, "</td></tr>\n");
}

static void size_row(struct page_out *out, const char *name, uint64_t sectors)
{
	char bytes[32];

	page_markup(out, "<tr><th scope=\"row\">");
	page_text(out, "%s", name);
	page_markup(out, "</th><td>");
	page_text(out, "%s", bcfmt_bytes_text(sectors * BCFMT_SECTOR_BYTES, bytes));
	page_markup(out, "</td></tr>\n");
}

static void geometry(struct page_out *out, const struct bcfmt_set *set)
{
	const struct bcfmt_geometry *geo = &set->geo;

	page_markup(out, "<div class=\"wide\"><table>\n<caption>Geometry and journal</caption>\n"
			 "<tbody>\n");
	number_row(out, "Buckets", geo->nbuckets, "");
	number_row(out, "First bucket", geo->first_bucket, "");
	size_row(out, "Bucket size", geo->bucket_sectors);
	size_row(out, "Block size", geo->block_sectors);
	size_row(out, "Btree node", geo->node_sectors);
	number_row(out, "Journal", geo->journal_buckets, " buckets");
	number_row(out, "Journal entries found", set->journal.n_entries, "");
	if (set->has_newest) {
		number_row(out, "Newest entry", set->newest.seq, "");
		number_row(out, "Oldest entry to replay", set->newest.last_seq, "");
		number_row(out, "Levels of the tree", set->newest.btree_level + 1ull, "");
	}
	page_markup(out, "</tbody></table></div>\n");
}

void page_set(struct page_out *out, const struct bcfmt_set *set)
{
	page_markup(out,
		    "<section id=\"set\" aria-labelledby=\"h-set\">\n<h2 id=\"h-set\">Set</h2>\n"
		    "<div class=\"wide\"><table>\n<caption>Devices</caption>\n<thead><tr>"
		    "<th scope=\"col\">Name</th><th scope=\"col\">Role</th>"
		    "<th scope=\"col\" class=\"n\">Size</th>"
		    "<th scope=\"col\">Uuid and label</th></tr></thead>\n<tbody>\n");
	if (set->has_cache)
		member_row(out, &set->cache, "cache");
	for (size_t i = 0; i < set->n_backing && i < BCFMT_PAGE_MEMBERS; i++)
		member_row(out, &set->backing[i], "backing device");
	page_markup(out, "</tbody></table></div>\n");
	if (set->n_backing > BCFMT_PAGE_MEMBERS)
		page_element(out, "p", "And %zu more: see superblocks.txt.",
			     set->n_backing - BCFMT_PAGE_MEMBERS);
	if (set->has_geometry)
		geometry(out, set);
	page_markup(out, "</section>\n");
}

static void row_table(struct page_out *out, const char *caption, const struct bcfmt_page_row *rows,
		      size_t n)
{
	page_markup(out, "<div class=\"wide\"><table>\n");
	page_element(out, "caption", "%s", caption);
	page_markup(out, "<tbody>\n");
	for (size_t i = 0; i < n; i++) {
		page_markup(out, "<tr><th scope=\"row\">");
		page_text(out, "%s", rows[i].name);
		page_markup(out, "</th><td>");
		page_text(out, "%s", rows[i].value);
		page_markup(out, "</td></tr>\n");
	}
	page_markup(out, "</tbody></table></div>\n");
}

void page_rest(struct page_out *out, const struct bcfmt_page *page)
{
	page_markup(out, "<section id=\"versions\" aria-labelledby=\"h-versions\">\n"
			 "<h2 id=\"h-versions\">Versions</h2>\n");
	row_table(out, "Of the machine that made the report", page->versions, page->n_versions);
	page_markup(out, "</section>\n<section id=\"files\" aria-labelledby=\"h-files\">\n"
			 "<h2 id=\"h-files\">Files</h2>\n");
	row_table(out, "Beside this page", page->files, page->n_files);
	page_markup(out, "</section>\n</main>\n<footer>");
	page_element(out, "p",
		     "Made by bcache-dump %s. The metadata image stands for the devices: "
		     "bcache-fsck -n and bcache-dump read it.",
		     bcfmt_version());
	page_markup(out, "</footer>\n</body>\n</html>\n");
}
