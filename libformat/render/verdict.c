/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verdict: what the cache holds for whom, who may run alone, what a kernel would do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "render/out.h"

/* "41.2 MiB (43185152 bytes)"; exact alone below 1 KiB. */
static void put_bytes(struct bcfmt_out *out, uint64_t bytes, const char *what)
{
	char text[32];

	out_put(out, "%s %s", bcfmt_bytes_text(bytes, text), what);
	if (bytes >= 1024)
		out_put(out, " (%" PRIu64 " bytes)", bytes);
}

static bool is_of_nobody(const struct bcfmt_verdict_device *device)
{
	return !device->has_entry && !device->member && !device->is_flash_only;
}

/* The kernel keeps the newline of who wrote the label to sysfs. */
static size_t label_length(const char *label)
{
	size_t len = strlen(label);

	while (len && (unsigned char)label[len - 1] <= ' ')
		len--;
	return len;
}

static void put_nobody(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];

	out_put_styled(out, OUT_STRONG, "inode %" PRIu32 " without a device", device->inode);
	bcfmt_uuid_text(device->uuid, uuid);
	if (!memcmp(device->uuid, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES))
		out_put(out, " (its slot is that of a detached one)");
	else if (!bcfmt_uuid_is_zero(device->uuid))
		out_put(out, " (uuid %s)", uuid);
}

static void put_name(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	char uuid[BCFMT_UUID_TEXT_BYTES];
	int label_len = (int)label_length(device->label);

	if (is_of_nobody(device)) {
		put_nobody(out, device);
		return;
	}
	bcfmt_uuid_text(device->uuid, uuid);
	out_put_styled(out, OUT_STRONG, "%s%s%s",
		       device->is_flash_only ? "flash-only volume" : "backing device",
		       bcfmt_uuid_is_zero(device->uuid) ? "" : " ",
		       bcfmt_uuid_is_zero(device->uuid) ? "" : uuid);
	if (label_len)
		out_put(out, " \"%.*s\"", label_len, device->label);
	out_put(out, " (");
	if (device->member)
		out_put(out, "%s%s", bcfmt_dev_name(device->member->dev),
			device->has_entry ? ", " : "");
	if (device->has_entry)
		out_put(out, "inode %" PRIu32, device->inode);
	else if (!device->member)
		out_put(out, "no entry in the uuid table");
	out_put(out, ")");
}

static void put_dirty(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	const char *what = "dirty in the cache";

	if (device->certainty == BCFMT_UNKNOWN ||
	    (device->certainty == BCFMT_AT_LEAST && !device->dirty_bytes)) {
		out_put(out, "dirty bytes in the cache: unknown");
	} else if (!device->dirty_bytes) {
		out_put(out, "nothing dirty in the cache");
	} else {
		if (device->certainty == BCFMT_AT_LEAST)
			out_put(out, "at least ");
		put_bytes(out, device->dirty_bytes, what);
	}
	if (device->lost_bytes) {
		out_put(out, ", ");
		put_bytes(out, device->lost_bytes, "dirty and lost");
	}
	if (device->doubtful_bytes && device->doubtful_bytes != BCFMT_NO_NUMBER) {
		out_put(out, ", ");
		put_bytes(out, device->doubtful_bytes, "doubtful");
	}
}

/* "yes", "no" or "unknown", in its colour. */
static void put_answer(struct bcfmt_out *out, bool is_known, bool is_yes)
{
	if (!is_known)
		out_put_styled(out, OUT_WARN, "unknown");
	else
		out_put_styled(out, is_yes ? OUT_GOOD : OUT_BAD, "%s", is_yes ? "yes" : "no");
}

static void put_safety(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	if (is_of_nobody(device)) {
		out_put(out, "; it belongs to no device");
		return;
	}
	out_put(out, "; safe to run without the cache: ");
	put_answer(out, device->safe_alone != BCFMT_SAFETY_UNKNOWN,
		   device->safe_alone == BCFMT_SAFE);
	if (device->reason && *device->reason)
		out_put(out, " (%s)", device->reason);
}

/* A given backing device that the verdict does not speak of: nothing is known of it. */
static bool is_unmentioned(const struct bcfmt_set *set, const struct bcfmt_verdict *verdict,
			   size_t backing)
{
	for (size_t i = 0; i < verdict->n_devices; i++)
		if (verdict->devices[i].member == &set->backing[backing])
			return false;
	return true;
}

/* Why nothing can be said of it. */
static const char *unmentioned_reason(const struct bcfmt_set *set,
				      const struct bcfmt_member *member)
{
	uint32_t inode;

	if (!set->has_cache)
		return "its cache was not given";
	if (!member->has_magic)
		return "it has no superblock to know it by";
	if (set->uuids_state != BCFMT_UUIDS_OK)
		return "the cache's table of devices was not read";
	if (bcfmt_set_inode(set, member->super.uuid, &inode))
		return "this cache does not know it";
	return "the check is not complete";
}

static struct bcfmt_verdict_device unmentioned(const struct bcfmt_set *set, size_t backing)
{
	const struct bcfmt_member *member = &set->backing[backing];
	struct bcfmt_verdict_device device = {
		.member = member,
		.doubtful_bytes = BCFMT_NO_NUMBER,
		.certainty = BCFMT_UNKNOWN,
		.safe_alone = BCFMT_SAFETY_UNKNOWN,
		.reason = unmentioned_reason(set, member),
	};

	memcpy(device.uuid, member->super.uuid, sizeof(device.uuid));
	memcpy(device.label, member->super.label, sizeof(device.label));
	device.label[BCFMT_LABEL_BYTES] = 0;
	return device;
}

static void device_text(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	put_name(out, device);
	out_put(out, ": ");
	put_dirty(out, device);
	put_safety(out, device);
	out_end_line(out);
}

static const char *certainty_name(enum bcfmt_certainty certainty)
{
	static const char *const names[] = {
		[BCFMT_UNKNOWN] = "unknown",
		[BCFMT_AT_LEAST] = "at_least",
		[BCFMT_EXACT] = "exact",
	};

	return names[certainty];
}

static void device_json(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	json_t *object = out_json_object(out, "verdict_device");

	if (device->has_entry || is_of_nobody(device))
		out_json_set(out, object, "inode", out_json_u64(device->inode));
	if (!bcfmt_uuid_is_zero(device->uuid))
		out_json_set(out, object, "uuid", out_json_uuid(device->uuid));
	if (*device->label)
		out_json_set(out, object, "label", out_json_text(device->label));
	if (device->member)
		out_json_set(out, object, "device",
			     out_json_text(bcfmt_dev_name(device->member->dev)));
	out_json_set(out, object, "has_entry", json_boolean(device->has_entry));
	out_json_set(out, object, "flash_only", json_boolean(device->is_flash_only));
	out_json_set(out, object, "certainty", json_string(certainty_name(device->certainty)));
	if (device->certainty != BCFMT_UNKNOWN) {
		out_json_set(out, object, "dirty_bytes", out_json_u64(device->dirty_bytes));
		out_json_set(out, object, "redirtied_bytes", out_json_u64(device->redirtied_bytes));
		out_json_set(out, object, "clean_bytes", out_json_u64(device->clean_bytes));
		out_json_set(out, object, "lost_bytes", out_json_u64(device->lost_bytes));
	}
	if (device->doubtful_bytes != BCFMT_NO_NUMBER)
		out_json_set(out, object, "doubtful_bytes", out_json_u64(device->doubtful_bytes));
	if (device->safe_alone != BCFMT_SAFETY_UNKNOWN)
		out_json_set(out, object, "safe_without_cache",
			     json_boolean(device->safe_alone == BCFMT_SAFE));
	if (device->reason && *device->reason)
		out_json_set(out, object, "reason", out_json_text(device->reason));
	out_json(out, object);
}

static void device_any(struct bcfmt_out *out, const struct bcfmt_verdict_device *device)
{
	if (bcfmt_out_is_json(out))
		device_json(out, device);
	else
		device_text(out, device);
}

static void registers_text(struct bcfmt_out *out, const struct bcfmt_set *set,
			   const struct bcfmt_verdict *verdict)
{
	out_put(out, "a kernel would register the set: ");
	put_answer(out, verdict->registers != BCFMT_REGISTERS_UNKNOWN,
		   verdict->registers == BCFMT_REGISTERS_YES);
	out_predictions_of_cache(out, set, verdict);
	for (size_t i = 0; i < set->n_backing; i++)
		out_predictions_of_backing(out, verdict, &set->backing[i]);
}

/* Over all devices and volumes of which it is known. */
static void set_totals(struct bcfmt_out *out, json_t *object, const struct bcfmt_verdict *verdict)
{
	uint64_t lost_bytes = 0, doubtful_bytes = 0;

	if (!verdict->losses)
		return;
	for (size_t i = 0; i < verdict->n_devices; i++) {
		const struct bcfmt_verdict_device *device = &verdict->devices[i];

		lost_bytes += device->lost_bytes;
		if (device->doubtful_bytes != BCFMT_NO_NUMBER)
			doubtful_bytes += device->doubtful_bytes;
	}
	out_json_set(out, object, "lost_bytes", out_json_u64(lost_bytes));
	out_json_set(out, object, "doubtful_bytes", out_json_u64(doubtful_bytes));
}

static void verdict_json(struct bcfmt_out *out, const struct bcfmt_verdict *verdict)
{
	json_t *object = out_json_object(out, "verdict");
	json_t *lines = json_array();

	if (verdict->registers != BCFMT_REGISTERS_UNKNOWN)
		out_json_set(out, object, "registers",
			     json_boolean(verdict->registers == BCFMT_REGISTERS_YES));
	for (size_t i = 0; i < verdict->n_first_lines; i++)
		out_json_append(out, lines, out_json_text(verdict->first_lines[i]));
	out_json_set(out, object, "first_messages", lines);
	out_json_set(out, object, "complete", json_boolean(verdict->is_complete));
	out_json_set(out, object, "nodes", out_json_u64(verdict->nodes));
	out_json_set(out, object, "leaves", out_json_u64(verdict->leaves));
	out_json_set(out, object, "extents", out_json_u64(verdict->extents));
	out_json_set(out, object, "replay_entries", out_json_u64(verdict->replay_entries));
	out_json_set(out, object, "replay_keys", out_json_u64(verdict->replay_keys));
	out_json_set(out, object, "free_buckets", out_json_u64(verdict->free_buckets));
	out_json_set(out, object, "unplaced_inodes", out_json_u64(verdict->unplaced_inodes));
	out_json_set(out, object, "unplaced_dirty_bytes",
		     out_json_u64(verdict->unplaced_dirty_bytes));
	out_json_set(out, object, "spilled_bytes", out_json_u64(verdict->spilled_bytes));
	set_totals(out, object, verdict);
	out_json(out, object);
}

void bcfmt_render_verdict(struct bcfmt_out *out, const struct bcfmt_set *set,
			  const struct bcfmt_verdict *verdict)
{
	for (size_t i = 0; i < verdict->n_devices; i++)
		device_any(out, &verdict->devices[i]);
	for (size_t i = 0; i < set->n_backing; i++) {
		struct bcfmt_verdict_device device;

		if (!is_unmentioned(set, verdict, i))
			continue;
		device = unmentioned(set, i);
		device_any(out, &device);
	}
	if (bcfmt_out_is_json(out)) {
		for (size_t i = 0; i < verdict->n_predictions; i++)
			out_prediction_json(out, &verdict->predictions[i]);
		verdict_json(out, verdict);
		return;
	}
	if (verdict->unplaced_inodes) {
		out_put(out,
			"%" PRIu64 " more inodes without a device: ", verdict->unplaced_inodes);
		put_bytes(out, verdict->unplaced_dirty_bytes, "dirty in the cache");
		out_end_line(out);
	}
	registers_text(out, set, verdict);
}
