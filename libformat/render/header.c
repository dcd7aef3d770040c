/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first object of JSON output: who speaks, about which devices. */
#include <string.h>

#include "render/out.h"

/* Raised when a key changes its meaning or goes; new keys do not raise it. */
#define JSON_FORMAT 1

static json_t *json_member(struct bcfmt_out *out, const struct bcfmt_member *member)
{
	json_t *object = json_object();

	out_json_set(out, object, "name", out_json_text(bcfmt_dev_name(member->dev)));
	out_json_set(out, object, "bytes", out_json_u64(bcfmt_dev_bytes(member->dev)));
	if (member->role != BCFMT_ROLE_AUTO)
		out_json_set(out, object, "role",
			     json_string(member->role == BCFMT_ROLE_CACHE ? "cache" : "backing"));
	if (bcfmt_dev_was_in_use(member->dev))
		out_json_set(out, object, "in_use", json_true());
	if (member->has_magic) {
		out_json_set(out, object, "uuid", out_json_uuid(member->super.uuid));
		out_json_set(out, object, "set_uuid", out_json_uuid(member->super.set_uuid));
		out_json_set(out, object, "version", out_json_u64(member->super.version));
		out_json_set(out, object, "label", out_json_text(member->super.label));
	}
	return object;
}

static json_t *json_geometry(struct bcfmt_out *out, const struct bcfmt_geometry *geo)
{
	json_t *object = json_object();

	out_json_set(out, object, "block_sectors", out_json_u64(geo->block_sectors));
	out_json_set(out, object, "bucket_sectors", out_json_u64(geo->bucket_sectors));
	out_json_set(out, object, "buckets", out_json_u64(geo->nbuckets));
	out_json_set(out, object, "first_bucket", out_json_u64(geo->first_bucket));
	out_json_set(out, object, "journal_buckets", out_json_u64(geo->journal_buckets));
	out_json_set(out, object, "node_sectors", out_json_u64(geo->node_sectors));
	out_json_set(out, object, "page_bytes", out_json_u64(geo->page_bytes));
	return object;
}

void bcfmt_render_header(struct bcfmt_out *out, const char *program, const char *command,
			 const struct bcfmt_set *set)
{
	json_t *header;
	json_t *devices;

	if (!bcfmt_out_is_json(out))
		return;
	header = out_json_object(out, "header");
	out_json_set(out, header, "format", json_integer(JSON_FORMAT));
	out_json_set(out, header, "program", out_json_text(program));
	out_json_set(out, header, "version", json_string(bcfmt_version()));
	if (command)
		out_json_set(out, header, "command", out_json_text(command));
	if (set) {
		devices = json_array();
		if (set->has_cache)
			out_json_append(out, devices, json_member(out, &set->cache));
		for (size_t i = 0; i < set->n_backing; i++)
			out_json_append(out, devices, json_member(out, &set->backing[i]));
		out_json_set(out, header, "devices", devices);
		if (set->has_geometry)
			out_json_set(out, header, "geometry", json_geometry(out, &set->geo));
	}
	out_json(out, header);
}
