/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bucket map as text and JSON, and the words of its picture. */
#include "render/map.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/checked.h"
#include "check/map.h"
#include "render/out.h"

#define COLUMNS_MIN 16u
#define COLUMNS_MAX 512u
#define LINES_WANTED 32u

static const struct {
	const char *name;
	const char *key; /* of JSON */
	char letter;
	enum out_style style;
} uses[BCFMT_MAP_USES] = {
	[BCFMT_MAP_FREE] = { "free", "free", '.', OUT_PLAIN },
	[BCFMT_MAP_CLEAN] = { "clean data", "clean", 'c', OUT_NOTE },
	[BCFMT_MAP_DIRTY] = { "dirty data", "dirty", 'D', OUT_WARN },
	[BCFMT_MAP_NODE] = { "btree nodes", "node", 'n', OUT_GOOD },
	[BCFMT_MAP_UUIDS] = { "uuid table", "uuids", 'u', OUT_GOOD },
	[BCFMT_MAP_PRIOS] = { "prios", "prios", 'p', OUT_GOOD },
	[BCFMT_MAP_JOURNAL] = { "journal", "journal", 'j', OUT_GOOD },
	[BCFMT_MAP_SUPER] = { "superblock", "superblock", 's', OUT_GOOD },
	[BCFMT_MAP_DOUBTFUL] = { "doubtful", "doubtful", '?', OUT_BAD },
	[BCFMT_MAP_DAMAGED] = { "damaged", "damaged", 'X', OUT_BAD },
};

const char *bcfmt_map_use_name(enum bcfmt_map_use use)
{
	return use < BCFMT_MAP_USES ? uses[use].name : "unknown";
}

void map_title(const struct bcfmt_map *map, char out[MAP_LINE_BYTES])
{
	char uuid[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(map->set_uuid, uuid);
	snprintf(out, MAP_LINE_BYTES, "bcache set %s", uuid);
}

void map_sizes(const struct bcfmt_map *map, char out[MAP_LINE_BYTES])
{
	uint64_t bucket_bytes = (uint64_t)map->geo.bucket_sectors * BCFMT_SECTOR_BYTES;
	char one[32], all[32];

	snprintf(out, MAP_LINE_BYTES, "%" PRIu64 " buckets of %s, %s", map->geo.nbuckets,
		 bcfmt_bytes_text(bucket_bytes, one),
		 bcfmt_bytes_text(map->geo.nbuckets * bucket_bytes, all));
}

void map_use_line(const struct bcfmt_map *map, enum bcfmt_map_use use, char out[MAP_LINE_BYTES])
{
	const struct bcfmt_map_total *total = &map->totals[use];
	bool is_unknown = use == BCFMT_MAP_FREE && !map->has_tree;
	char bytes[32];

	snprintf(out, MAP_LINE_BYTES, "%s: %" PRIu64 " (%s)",
		 is_unknown ? "not known" : uses[use].name, total->buckets,
		 bcfmt_bytes_text(total->bytes, bytes));
}

uint64_t map_buckets_each(const struct bcfmt_map *map, uint64_t n_parts)
{
	return div_round_up(map->geo.nbuckets, n_parts);
}

void map_unit_line(const struct bcfmt_map *map, const char *unit, uint64_t buckets,
		   char out[MAP_LINE_BYTES])
{
	if (buckets <= 1)
		snprintf(out, MAP_LINE_BYTES, "each %s is a bucket", unit);
	else
		snprintf(out, MAP_LINE_BYTES,
			 "each %s is %s%" PRIu64 " buckets and shows what matters most of them:",
			 unit, map->geo.nbuckets % buckets ? "up to " : "", buckets);
}

const char *const map_order = "damaged > doubtful > metadata > dirty > clean > free";

const char *map_warning(const struct bcfmt_map *map, unsigned int i)
{
	const char *warnings[3];
	unsigned int n = 0;

	if (!map->has_tree)
		warnings[n++] = "there is no way to the tree: where data lies is not known";
	else if (map->is_partial)
		warnings[n++] = "nodes are missing: what is called free may hold data";
	if (map->has_journal_gap)
		warnings[n++] = "journal entries to replay are missing: all data is doubtful";
	return i < n ? warnings[i] : NULL;
}

/* ---- text ---- */

struct text_map {
	struct bcfmt_out *out;
	const struct bcfmt_map *map;
	uint64_t per_letter; /* places */
	unsigned int columns;
};

static enum bcfmt_map_use letter_use(const struct text_map *tm, uint64_t place)
{
	uint64_t end = min_u64(place + tm->per_letter, tm->map->n_places);
	enum bcfmt_map_use most = BCFMT_MAP_FREE;

	for (; place < end; place++) {
		enum bcfmt_map_use use = bcfmt_map_place(tm->map, (uint32_t)place).shows;

		most = use > most ? use : most;
	}
	return most;
}

static void put_run(struct bcfmt_out *out, enum bcfmt_map_use use, unsigned int n)
{
	char text[COLUMNS_MAX + 1];

	for (unsigned int i = 0; i < n; i++)
		text[i] = uses[use].letter;
	text[n] = 0;
	out_put_styled(out, uses[use].style, "%s", text);
}

static void put_line(const struct text_map *tm, uint64_t place, unsigned int label_width)
{
	enum bcfmt_map_use use = BCFMT_MAP_FREE, next;
	unsigned int n = 0;

	out_put(tm->out, "%*" PRIu64 " ", (int)label_width,
		bcfmt_map_place_bucket(tm->map, (uint32_t)place));
	for (unsigned int i = 0; i < tm->columns && place < tm->map->n_places;
	     i++, place += tm->per_letter) {
		next = letter_use(tm, place);
		if (n && next != use) {
			put_run(tm->out, use, n);
			n = 0;
		}
		use = next;
		n++;
	}
	put_run(tm->out, use, n);
	out_end_line(tm->out);
}

static void legend_text(struct bcfmt_out *out, const struct bcfmt_map *map)
{
	char line[MAP_LINE_BYTES];

	map_title(map, line);
	bcfmt_out_line(out, "%s", line);
	map_sizes(map, line);
	bcfmt_out_line(out, "%s", line);
	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++) {
		/* "of these" is what the marks are. */
		if (use >= BCFMT_MAP_DOUBTFUL && !map->totals[use].buckets)
			continue;
		map_use_line(map, (enum bcfmt_map_use)use, line);
		out_put(out, "  ");
		put_run(out, (enum bcfmt_map_use)use, 1);
		out_put(out, " %s%s", use >= BCFMT_MAP_DOUBTFUL ? "of these " : "", line);
		out_end_line(out);
	}
	for (unsigned int i = 0; map_warning(map, i); i++) {
		out_put_styled(out, OUT_BAD, "%s", map_warning(map, i));
		out_end_line(out);
	}
}

static void map_text(struct bcfmt_out *out, const struct bcfmt_map *map, unsigned int columns)
{
	unsigned int label_width = (unsigned int)snprintf(NULL, 0, "%" PRIu64, map->geo.nbuckets);
	struct text_map tm = { .out = out, .map = map };
	char line[MAP_LINE_BYTES];
	uint64_t each;

	columns = columns < COLUMNS_MIN + label_width + 1 ? COLUMNS_MIN + label_width + 1
		  : columns > COLUMNS_MAX		  ? COLUMNS_MAX
							  : columns;
	tm.columns = 1u << log2_floor(columns - label_width - 1);
	tm.per_letter = div_round_up(map->n_places, (uint64_t)tm.columns * LINES_WANTED);
	legend_text(out, map);
	each = map_buckets_each(map, div_round_up(map->n_places, tm.per_letter));
	map_unit_line(map, "letter", each, line);
	bcfmt_out_line(out, "%s", line);
	if (each > 1)
		bcfmt_out_line(out, "%s", map_order);
	for (uint64_t place = 0; place < map->n_places; place += tm.columns * tm.per_letter)
		put_line(&tm, place, label_width);
}

/* ---- JSON ---- */

static void totals_json(struct bcfmt_out *out, const struct bcfmt_map *map)
{
	json_t *object = out_json_object(out, "map");
	json_t *rows = json_array();

	out_json_set(out, object, "set_uuid", out_json_uuid(map->set_uuid));
	out_json_set(out, object, "buckets", out_json_u64(map->geo.nbuckets));
	out_json_set(out, object, "bucket_sectors", out_json_u64(map->geo.bucket_sectors));
	out_json_set(out, object, "tree", json_boolean(map->has_tree));
	out_json_set(out, object, "complete", json_boolean(!map->is_partial));
	out_json_set(out, object, "journal_gap", json_boolean(map->has_journal_gap));
	out_json_set(out, object, "most_buckets_per_place",
		     out_json_u64(map_buckets_each(map, map->n_places)));
	for (unsigned int use = 0; use < BCFMT_MAP_USES; use++) {
		json_t *row = json_object();

		out_json_set(out, row, "use", json_string(uses[use].key));
		out_json_set(out, row, "buckets", out_json_u64(map->totals[use].buckets));
		out_json_set(out, row, "bytes", out_json_u64(map->totals[use].bytes));
		out_json_append(out, rows, row);
	}
	out_json_set(out, object, "uses", rows);
	out_json(out, object);
}

static void runs_json(struct bcfmt_out *out, const struct bcfmt_map *map)
{
	for (uint32_t place = 0, next; place < map->n_places; place = next) {
		struct bcfmt_map_place at = bcfmt_map_place(map, place);
		uint64_t first = bcfmt_map_place_bucket(map, place);
		json_t *object = out_json_object(out, "map_range");

		for (next = place + 1; next < map->n_places; next++)
			if (map->places[next] != map->places[place])
				break;
		out_json_set(out, object, "first_bucket", out_json_u64(first));
		out_json_set(out, object, "buckets",
			     out_json_u64(bcfmt_map_place_bucket(map, next) - first));
		out_json_set(out, object, "use", json_string(uses[at.base].key));
		if (at.shows != at.base)
			out_json_set(out, object, "mark", json_string(uses[at.shows].key));
		out_json(out, object);
	}
}

void bcfmt_render_map(struct bcfmt_out *out, const struct bcfmt_map *map, unsigned int columns,
		      bool is_long)
{
	if (!bcfmt_out_is_json(out)) {
		map_text(out, map, columns);
		return;
	}
	totals_json(out, map);
	if (is_long)
		runs_json(out, map);
}
