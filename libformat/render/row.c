/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows: one line "kind key=value key=value" or one JSON object. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "render/clean.h"
#include "render/out.h"
#include "render/out_impl.h"

static void add_text(struct bcfmt_out *out, const char *text)
{
	size_t len = strlen(text);
	size_t need = out->row_bytes + len + 1;

	if (out->err || !out_reserve(out, need))
		return;
	memcpy(out->row_text + out->row_bytes, text, len + 1);
	out->row_bytes += len;
}

static void add_field(struct bcfmt_out *out, const char *key, const char *value)
{
	add_text(out, " ");
	add_text(out, key);
	add_text(out, "=");
	add_text(out, value);
}

void bcfmt_row_begin(struct bcfmt_out *out, const char *kind)
{
	if (bcfmt_out_is_json(out)) {
		json_decref(out->row);
		out->row = out_json_object(out, kind);
		return;
	}
	out->row_bytes = 0;
	add_text(out, kind);
}

void bcfmt_row_u64(struct bcfmt_out *out, const char *key, uint64_t value)
{
	char text[24];

	if (bcfmt_out_is_json(out)) {
		out_json_set(out, out->row, key, out_json_u64(value));
		return;
	}
	snprintf(text, sizeof(text), "%" PRIu64, value);
	add_field(out, key, text);
}

void bcfmt_row_hex(struct bcfmt_out *out, const char *key, uint64_t value)
{
	char text[24];

	if (bcfmt_out_is_json(out)) {
		out_json_set(out, out->row, key, out_json_hex(value));
		return;
	}
	snprintf(text, sizeof(text), "0x%016" PRIx64, value);
	add_field(out, key, text);
}

void bcfmt_row_bool(struct bcfmt_out *out, const char *key, bool value)
{
	if (bcfmt_out_is_json(out))
		out_json_set(out, out->row, key, json_boolean(value));
	else
		add_field(out, key, value ? "yes" : "no");
}

/* Plain words stay as they are; all else is quoted, so that fields can be told apart again. */
static bool is_plain(const char *value)
{
	return *value && !strpbrk(value, " \t\"\\=");
}

static void add_quoted(struct bcfmt_out *out, const char *value)
{
	char one[3] = "";

	add_text(out, "\"");
	for (; *value; value++) {
		bool is_escaped = *value == '"' || *value == '\\';

		one[0] = is_escaped ? '\\' : *value;
		one[1] = is_escaped ? *value : 0;
		add_text(out, one);
	}
	add_text(out, "\"");
}

void bcfmt_row_text(struct bcfmt_out *out, const char *key, const char *value)
{
	if (bcfmt_out_is_json(out)) {
		out_json_set(out, out->row, key, out_json_text(value));
		return;
	}
	if (is_plain(value)) {
		add_field(out, key, value);
		return;
	}
	add_field(out, key, "");
	add_quoted(out, value);
}

void bcfmt_row_uuid(struct bcfmt_out *out, const char *key, const uint8_t uuid[BCFMT_UUID_BYTES])
{
	char text[BCFMT_UUID_TEXT_BYTES];

	bcfmt_uuid_text(uuid, text);
	bcfmt_row_text(out, key, text);
}

void bcfmt_row_ptr(struct bcfmt_out *out, const struct bcfmt_geometry *geo, uint64_t ptr)
{
	if (bcfmt_ptr_dev(ptr) == BCFMT_PTR_DEV_CHECK) {
		bcfmt_row_bool(out, "placeholder", true);
		return;
	}
	bcfmt_row_u64(out, "dev", bcfmt_ptr_dev(ptr));
	bcfmt_row_u64(out, "cache_sector", bcfmt_ptr_sector(ptr));
	bcfmt_row_u64(out, "bucket", bcfmt_ptr_bucket(geo, ptr));
	bcfmt_row_u64(out, "gen", bcfmt_ptr_gen(ptr));
}

void bcfmt_row_key(struct bcfmt_out *out, const struct bcfmt_geometry *geo,
		   const struct bcfmt_key *key)
{
	bcfmt_row_u64(out, "inode", bcfmt_key_inode(key));
	/* Tombstones of nodes lie at sector 0 and would begin before it. */
	if (bcfmt_key_sectors(key) <= key->low)
		bcfmt_row_u64(out, "start_sector", bcfmt_key_start_sector(key));
	bcfmt_row_u64(out, "end_sector", key->low);
	bcfmt_row_u64(out, "sectors", bcfmt_key_sectors(key));
	bcfmt_row_bool(out, "dirty", bcfmt_key_is_dirty(key));
	if (bcfmt_key_ptr_count(key))
		bcfmt_row_ptr(out, geo, key->ptr);
}

void bcfmt_row_end(struct bcfmt_out *out)
{
	if (bcfmt_out_is_json(out)) {
		out_json(out, out->row);
		out->row = NULL;
		return;
	}
	/* Not one of which a field is missing. */
	if (out->row_bytes && !out->err)
		bcfmt_out_line(out, "%s", out->row_text);
	out->row_bytes = 0;
}
