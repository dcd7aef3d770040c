/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Undo files that are not as they were written: damaged, cut off, made by somebody. They are
 * refused with the place, or what comes back is right; nothing else is ever written.
 */
#include "undo_help.h"

#include <bcfmt/crc64.h>

#include "base/bytes.h"

#define DEV_SECTORS 96u
#define DEV_BYTES (DEV_SECTORS * 512u)

#define N_BATCHES 4u

/* A device that was changed in batches, and the file about it. */
static uint8_t before[DEV_BYTES], after[DEV_BYTES], *saved;
static size_t saved_bytes;
/* When a batch was saved and nothing was synced or written yet. */
static struct batch {
	size_t begin_bytes, end_bytes; /* of the file: where its records are */
	uint8_t *file;
	uint8_t *device;
} batches[N_BATCHES];

static struct bcfmt_dev *mem(const char *name, const void *bytes, size_t len_bytes)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, name, bytes, len_bytes, &dev), BCFMT_OK);
	return dev;
}

static void change(struct bcfmt_undo *undo, struct bcfmt_dev *dev, struct bcfmt_dev *store,
		   size_t i, uint64_t sector, uint64_t sectors, unsigned int seed)
{
	uint8_t bytes[32 * 512] = { 0 };

	if (seed)
		help_fill(bytes, sector * 512, sectors * 512, seed);
	batches[i].begin_bytes = bcfmt_undo_bytes(undo);
	cr_assert_eq(bcfmt_undo_save(undo, 0, sector * 512, bytes, sectors * 512), BCFMT_OK);
	batches[i].end_bytes = bcfmt_undo_bytes(undo);
	batches[i].file = help_copy(store);
	batches[i].device = help_copy(dev);
	cr_assert_eq(bcfmt_undo_sync(undo), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_write(dev, sector * 512, bytes, sectors * 512), BCFMT_OK);
}

static void begin(void)
{
	struct bcfmt_dev *dev, *store;
	struct bcfmt_undo *undo;
	unsigned int index;
	uint8_t *copy;

	help_begin();
	help_fill(before, 0, DEV_BYTES, 1);
	memset(before + 12 * 512, 0, 28 * 512);
	dev = mem("sdb", before, DEV_BYTES);
	store = help_store();
	cr_assert_eq(bcfmt_undo_create_on(help_ctx, store, "a test", &undo), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_add_device(undo, dev, &index), BCFMT_OK);
	change(undo, dev, store, 0, 0, 6, 2);
	change(undo, dev, store, 1, 4, 12, 0);
	change(undo, dev, store, 2, 38, 4, 3);
	change(undo, dev, store, 3, 40, 4, 4);
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	saved_bytes = bcfmt_undo_bytes(undo);
	bcfmt_undo_free(undo);
	copy = help_copy(store);
	saved = malloc(saved_bytes);
	memcpy(saved, copy, saved_bytes);
	free(copy);
	copy = help_copy(dev);
	memcpy(after, copy, DEV_BYTES);
	free(copy);
	bcfmt_dev_free(store);
	bcfmt_dev_free(dev);
}

static void end(void)
{
	free(saved);
	for (size_t i = 0; i < N_BATCHES; i++) {
		free(batches[i].file);
		free(batches[i].device);
	}
	help_end();
}

TestSuite(undo_damage, .init = begin, .fini = end);

/* Puts back what these bytes say onto a device that holds now; what it holds then. */
static bcfmt_err put_back(const void *file, size_t file_bytes, const uint8_t *now,
			  uint8_t then[DEV_BYTES])
{
	struct bcfmt_dev *store = mem("undo", file, file_bytes), *dev = mem("sdb", now, DEV_BYTES);
	bcfmt_err err = help_put_back(store, &dev, 1, 0);

	cr_assert_eq(bcfmt_dev_read(dev, 0, then, DEV_BYTES), BCFMT_OK);
	bcfmt_dev_free(store);
	bcfmt_dev_free(dev);
	return err;
}

Test(undo_damage, none)
{
	uint8_t then[DEV_BYTES];

	cr_expect_eq(put_back(saved, saved_bytes, after, then), BCFMT_OK);
	cr_expect_arr_eq(then, before, DEV_BYTES);
	cr_expect_neq(memcmp(before, after, DEV_BYTES), 0);
}

/* Any byte; of those between the first headers, where nothing is, some. */
Test(undo_damage, every_byte, .timeout = 120)
{
	uint8_t then[DEV_BYTES];
	unsigned int refused = 0, right = 0, idle = 0;

	for (size_t at = 0; at < saved_bytes; at++) {
		bool is_idle = at < 12288 && at % 4096 >= 512;
		bcfmt_err err;

		if (is_idle && at % 97)
			continue;
		saved[at] ^= (uint8_t)(1u << (at % 8));
		err = put_back(saved, saved_bytes, after, then);
		saved[at] ^= (uint8_t)(1u << (at % 8));
		bcfmt_ctx_fault_clear(help_ctx);
		cr_assert_arr_eq(then, err ? after : before, DEV_BYTES, "byte %zu", at);
		refused += err != BCFMT_OK;
		right += !err && !is_idle;
		idle += !err && is_idle;
	}
	/* Of the two marks one will do. */
	cr_expect_eq(right, 1024);
	cr_expect_eq(refused, 512 + saved_bytes - 12288);
	cr_expect_gt(idle, 100);
}

/* Both marks, or the last one while the other is old: what was written is seen to be too new. */
Test(undo_damage, marks)
{
	uint8_t then[DEV_BYTES];

	saved[4096 + 100] ^= 1;
	saved[8192 + 100] ^= 1;
	cr_expect_eq(put_back(saved, saved_bytes, after, then), BCFMT_E_DAMAGED);
	cr_expect_arr_eq(then, after, DEV_BYTES);
	help_expect_fault(
		"undo: has no mark; if that is because it was cut off here, it was never");
	/* The first mark, of when no sector was saved. */
	memcpy(saved + 8192, batches[0].file + 8192, 512);
	cr_expect_eq(put_back(saved, saved_bytes, after, then), BCFMT_E_ARG);
	cr_expect_arr_eq(then, after, DEV_BYTES);
	help_expect_fault("sdb: 18 sectors were changed since, the first is 0");
	/* With a device on which nothing was written there is nothing against it. */
	cr_expect_eq(put_back(saved, saved_bytes, before, then), BCFMT_OK);
}

/* The mark that was being written when the power went is garbage: the other one is there. */
Test(undo_damage, a_mark_on_its_way)
{
	uint8_t then[DEV_BYTES];

	for (size_t i = 0; i < N_BATCHES; i++) {
		/* The first mark has index 1 and an odd place. */
		memset(batches[i].file + (i % 2 ? 8192 : 4096), 0xe5, 512);
		cr_expect_eq(put_back(batches[i].file, batches[i].end_bytes, batches[i].device,
				      then),
			     BCFMT_OK, "batch %zu: %s", i, bcfmt_ctx_fault(help_ctx));
		cr_expect_arr_eq(then, before, DEV_BYTES);
	}
}

/* What was cut off may have been the account of writes that were made. */
Test(undo_damage, every_length, .timeout = 120)
{
	uint8_t then[DEV_BYTES];

	/* A device has whole sectors: some lengths of each will do. */
	for (size_t len = 0; len < saved_bytes; len += len % 512 < 2 ? 1 : 51) {
		bcfmt_err err = put_back(saved, len, after, then);

		bcfmt_ctx_fault_clear(help_ctx);
		cr_assert(err == BCFMT_E_DAMAGED || err == BCFMT_E_RANGE, "length %zu: %s", len,
			  bcfmt_err_name(err));
		cr_assert_arr_eq(then, after, DEV_BYTES, "length %zu", len);
	}
}

/* Behind the last mark anything may be torn. */
Test(undo_damage, a_torn_tail_is_ignored, .timeout = 120)
{
	uint8_t then[DEV_BYTES];
	uint8_t *torn = malloc(HELP_UNDO_BYTES);

	for (size_t i = 0; i < N_BATCHES; i++) {
		const struct batch *batch = &batches[i];

		for (size_t len = batch->begin_bytes; len < batch->end_bytes; len += 512) {
			for (unsigned int kind = 0; kind < 5; kind++) {
				size_t file_bytes = kind == 4 ? len + 300 : batch->end_bytes;

				memset(torn, kind == 3 ? 0xe5 : 0, file_bytes);
				memcpy(torn, batch->file, len);
				/* All but this sector. */
				if (kind == 1)
					memcpy(torn + len + 512, batch->file + len + 512,
					       batch->end_bytes - len - 512);
				if (kind == 2 || kind == 4)
					memcpy(torn + len, batch->file + len, 300);
				cr_assert_eq(put_back(torn, file_bytes, batch->device, then),
					     BCFMT_OK, "batch %zu, byte %zu, kind %u: %s", i, len,
					     kind, bcfmt_ctx_fault(help_ctx));
				cr_assert_arr_eq(then, before, DEV_BYTES);
			}
		}
	}
	free(torn);
}

static void expect_opened(const uint8_t *file, size_t file_bytes, bool is_torn, bool is_complete)
{
	struct bcfmt_dev *store = mem("undo", file, file_bytes);
	struct bcfmt_undo_file *opened;

	cr_assert_eq(bcfmt_undo_file_open_dev(help_ctx, store, &opened), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(help_ctx));
	cr_expect_eq(bcfmt_undo_file_info(opened)->is_torn, is_torn);
	cr_expect_eq(bcfmt_undo_file_info(opened)->is_complete, is_complete);
	bcfmt_undo_file_free(opened);
	bcfmt_dev_free(store);
}

Test(undo_damage, what_is_told_of_the_tail)
{
	const struct batch *batch = &batches[3];
	uint8_t *file = calloc(saved_bytes + 1024, 1);

	memcpy(file, saved, saved_bytes);
	expect_opened(file, saved_bytes, false, true);
	expect_opened(file, saved_bytes + 1024, false, true);
	expect_opened(batch->file, batch->end_bytes, false, false);
	expect_opened(batch->file, batch->end_bytes + 1024, false, false);
	expect_opened(batch->file, batch->begin_bytes, false, false);
	expect_opened(batch->file, batch->begin_bytes + 512, true, false);
	batch->file[batch->begin_bytes + 600] ^= 1;
	expect_opened(batch->file, batch->end_bytes, true, false);
	batch->file[batch->begin_bytes] ^= 1;
	expect_opened(batch->file, batch->end_bytes, true, false);
	free(file);
}

static void expect_refused(const uint8_t *file, size_t file_bytes, bcfmt_err wanted,
			   const char *fault)
{
	uint8_t then[DEV_BYTES];

	cr_expect_eq(put_back(file, file_bytes, after, then), wanted, "%s", fault);
	cr_expect_arr_eq(then, after, DEV_BYTES);
	help_expect_fault(fault);
}

Test(undo_damage, the_place_is_named)
{
	char path[HELP_PATH_BYTES];
	struct bcfmt_undo_file *file;
	uint8_t zeros[2048] = { 0 };
	char lost[200];

	expect_refused(zeros, sizeof(zeros), BCFMT_E_DAMAGED,
		       "undo: does not begin as an undo file does; if that is because it was cut"
		       " off here, it was never used");
	help_text("short", "bcache-u");
	cr_expect_eq(bcfmt_undo_file_open(help_ctx, help_path(path, "short"), &file),
		     BCFMT_E_DAMAGED);
	cr_expect_null(file);
	help_expect_fault("short: too short for an undo file; if that is because it was cut off");
	cr_expect_eq(bcfmt_undo_file_open(help_ctx, help_path(path, "none"), &file),
		     BCFMT_E_SYSTEM);
	help_expect_fault("none: cannot open: No such file or directory");
	/* The first record is the device, the second a save. */
	saved[12288 + 512] ^= 1;
	expect_refused(saved, saved_bytes, BCFMT_E_DAMAGED,
		       "undo: byte 12800: record 1: no header, or a wrong checksum of it");
	saved[12288 + 512] ^= 1;
	saved[12288 + 1200] ^= 1;
	expect_refused(saved, saved_bytes, BCFMT_E_DAMAGED,
		       "undo: byte 12800: record 1: wrong checksum of what it holds");
	saved[12288 + 1200] ^= 1;
	snprintf(lost, sizeof(lost),
		 "undo: %zu bytes of it were durable, %zu are there: its end is lost", saved_bytes,
		 saved_bytes - 512);
	expect_refused(saved, saved_bytes - 512, BCFMT_E_DAMAGED, lost);
}

/* ---- files that somebody made ---- */

static uint8_t made[64 * 1024];
static size_t made_bytes;
static uint64_t made_records;

/* A header like those of the real file, with right checksums once it is sealed. */
static void make_header(uint8_t *raw, uint32_t type, uint64_t index)
{
	memset(raw, 0, 512);
	memcpy(raw, saved, 8);
	memcpy(raw + 16, saved + 16, 16);
	store_le64(raw + 32, index);
	store_le64(raw + 40, (uint64_t)(raw - made));
	store_le32(raw + 48, type);
}

static uint8_t *add_record(uint32_t type, uint32_t device, const void *payload,
			   uint64_t payload_bytes)
{
	uint8_t *raw = made + made_bytes;

	make_header(raw, type, made_records++);
	store_le32(raw + 52, device);
	store_le64(raw + 56, payload_bytes);
	store_le64(raw + 64, payload_bytes ? bcfmt_crc64(payload, payload_bytes) : 0);
	if (payload_bytes)
		memcpy(raw + 512, payload, payload_bytes);
	made_bytes += 512 + payload_bytes;
	return raw;
}

static void seal(uint8_t *raw)
{
	store_le64(raw + 8, bcfmt_crc64(raw + 16, 512 - 16));
}

enum { BEGIN = 1, MARK, DEVICE, IDENT, SAVE, AGAIN, UNKNOWN };

static void make_device(uint32_t device, uint64_t dev_bytes)
{
	uint8_t *raw = add_record(DEVICE, device, NULL, 0);

	store_le64(raw + 72, dev_bytes);
	seal(raw);
}

/* Begin and one device. */
static void make_begin(void)
{
	memset(made, 0, sizeof(made));
	make_header(made, BEGIN, 0);
	store_le32(made + 72, 1);
	seal(made);
	made_bytes = 12288;
	made_records = 0;
	make_device(0, DEV_BYTES);
}

static void make_mark(uint64_t marked_bytes)
{
	make_header(made + 4096, MARK, 1);
	store_le64(made + 4096 + 72, marked_bytes);
	store_le32(made + 4096 + 80, 1);
	seal(made + 4096);
}

static void make_range(uint32_t type, uint32_t device, uint64_t sector, uint64_t sectors,
		       uint32_t flags, uint64_t payload_bytes)
{
	static const uint8_t payload[16384];
	uint8_t *raw = add_record(type, device, payload, payload_bytes);

	store_le64(raw + 72, sector);
	store_le64(raw + 80, sectors);
	store_le32(raw + 88, flags);
	seal(raw);
}

/* Marks what was made and has it refused; the next one is begun. */
static void expect_bad(bcfmt_err wanted, const char *fault)
{
	make_mark(made_bytes);
	expect_refused(made, made_bytes, wanted, fault);
	make_begin();
}

Test(undo_damage, made_to_deceive)
{
	uint8_t *raw;

	make_begin();
	make_range(SAVE, 0, 0, DEV_SECTORS, 3, 0);
	make_range(AGAIN, 0, 5, 10, 1, 512);
	make_mark(made_bytes);
	expect_opened(made, made_bytes, false, true);

	make_begin();
	make_range(SAVE, 0, DEV_SECTORS - 1, 2, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "undo: byte 12800: record 1: sectors that the device does not");
	make_range(SAVE, 0, UINT64_MAX, 2, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "sectors that the device does not have");
	make_range(SAVE, 0, 0, 0, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "sectors that the device does not have");
	make_range(SAVE, 1, 0, 1, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "a device that is not in the file");
	make_range(SAVE, 0, 0, 1, 8, 0);
	expect_bad(BCFMT_E_DAMAGED, "unknown flags");
	make_range(SAVE, 0, 0, 1, 6, 512);
	expect_bad(BCFMT_E_DAMAGED, "unknown flags");
	make_range(SAVE, 0, 0, 2, 2, 512);
	expect_bad(BCFMT_E_DAMAGED, "another length than its sectors need");
	make_range(SAVE, 0, 0, 2, 0, 1024);
	expect_bad(BCFMT_E_DAMAGED, "another length than its sectors need");
	make_range(SAVE, 0, 4, 4, 3, 0);
	make_range(SAVE, 0, 7, 4, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "undo: byte 13312: sector 7 of device 0: saved twice");
	make_range(SAVE, 0, 4, 4, 3, 0);
	make_range(SAVE, 0, 4, 4, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "sector 4 of device 0: saved twice");
	make_range(AGAIN, 0, 4, 4, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "sector 4 of device 0: checksums of what was not saved");
	make_range(SAVE, 0, 4, 4, 3, 0);
	make_range(AGAIN, 0, 6, 4, 3, 0);
	expect_bad(BCFMT_E_DAMAGED, "sector 8 of device 0: checksums of what was not saved");
	make_range(UNKNOWN, 0, 4, 4, 3, 0);
	expect_bad(BCFMT_E_UNSUPPORTED, "undo: byte 12800: record of type 7");
	for (uint32_t type = BEGIN; type <= MARK; type++) {
		seal(add_record(type, 0, NULL, 0));
		expect_bad(BCFMT_E_UNSUPPORTED, "undo: byte 12800: record of type ");
	}
	seal(add_record(IDENT, 0, before, 512));
	expect_bad(BCFMT_E_DAMAGED, "payload where none belongs");
	make_device(2, 512);
	expect_bad(BCFMT_E_DAMAGED, "a device out of order, or too many");
	make_device(1, 513);
	expect_bad(BCFMT_E_DAMAGED, "a size that no device has");
	make_device(1, 0);
	expect_bad(BCFMT_E_DAMAGED, "a size that no device has");
	make_device(1, 1ull << 63);
	expect_bad(BCFMT_E_DAMAGED, "a size that no device has");
	/* Too many sectors for one record, on a device that has them. */
	make_device(1, 1ull << 40);
	make_range(SAVE, 1, 0, 2049, 1, 16896 - 512);
	expect_bad(BCFMT_E_DAMAGED, "more sectors than a record holds");
	/* A record of another file, and one that stood elsewhere. */
	raw = add_record(IDENT, 0, NULL, 0);
	raw[20] ^= 1;
	seal(raw);
	expect_bad(BCFMT_E_DAMAGED, "undo: byte 12800: record 1: it belongs elsewhere");
	raw = add_record(IDENT, 0, NULL, 0);
	store_le64(raw + 40, 512);
	seal(raw);
	expect_bad(BCFMT_E_DAMAGED, "record 1: it belongs elsewhere");
}

Test(undo_damage, first_headers_that_somebody_made)
{
	make_begin();
	store_le32(made + 72, 2);
	seal(made);
	expect_bad(BCFMT_E_UNSUPPORTED, "undo: undo file of version 2, this program knows 1");
	make_header(made, MARK, 0);
	seal(made);
	expect_bad(BCFMT_E_DAMAGED, "undo: does not begin as an undo file does");
	make_mark(12289);
	expect_refused(made, made_bytes, BCFMT_E_DAMAGED, "undo: a mark at byte 12289");
	make_mark(0);
	expect_refused(made, made_bytes, BCFMT_E_DAMAGED, "undo: a mark at byte 0");
	make_mark(UINT64_MAX - 511);
	expect_refused(made, made_bytes, BCFMT_E_DAMAGED, "its end is lost");
	/* In the middle of a record. */
	make_range(SAVE, 0, 4, 4, 2, 2048);
	make_mark(made_bytes - 512);
	expect_refused(made, made_bytes, BCFMT_E_DAMAGED,
		       "record 2: it ends behind the end that the file says it has");
}

/* More records than stay in memory: the index lies in a temporary file. */
Test(undo_damage, many_records, .timeout = 120)
{
	const size_t n = 60000, dev_sectors = 4 * n;
	struct bcfmt_ctx_params params = { .threads = 1,
					   .max_bytes = 1u << 20,
					   .tmp_dir = help_dir };
	struct bcfmt_dev *store, *devs[2];
	struct bcfmt_undo *undo;
	struct bcfmt_undo_file *file;
	struct bcfmt_ctx *small;
	uint8_t buf[512];
	unsigned int index;

	cr_assert_eq(bcfmt_ctx_new(&params, &small), BCFMT_OK);
	cr_assert_eq(bcfmt_dev_mem(small, "undo", NULL, (size_t)100 << 20, &store), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_create_on(small, store, "x", &undo), BCFMT_OK);
	for (size_t i = 0; i < 2; i++) {
		cr_assert_eq(bcfmt_dev_mem(small, i ? "b" : "a", NULL, dev_sectors * 512, &devs[i]),
			     BCFMT_OK);
		cr_assert_eq(bcfmt_undo_add_device(undo, devs[i], &index), BCFMT_OK);
	}
	help_fill(buf, 0, 512, 1);
	for (size_t i = 0; i < n; i++) {
		/* In an order that is not that of the sectors. */
		uint64_t sector = (i * 7919) % n * 4;

		cr_assert_eq(bcfmt_undo_save(undo, i & 1, sector * 512, buf, 512), BCFMT_OK);
		cr_assert_eq(bcfmt_dev_write(devs[i & 1], sector * 512, buf, 512), BCFMT_OK);
	}
	cr_assert_eq(bcfmt_undo_finish(undo), BCFMT_OK);
	bcfmt_undo_free(undo);
	cr_assert_eq(bcfmt_undo_file_open_dev(small, store, &file), BCFMT_OK, "%s",
		     bcfmt_ctx_fault(small));
	cr_assert_eq(bcfmt_undo_file_match(file, devs, 2), BCFMT_OK);
	cr_assert_eq(bcfmt_undo_file_check(file, NULL, NULL), BCFMT_OK);
	cr_expect_eq(help_sectors(file, BCFMT_UNDO_WRITTEN), n);
	cr_assert_eq(bcfmt_undo_file_apply(file, 0), BCFMT_OK);
	bcfmt_undo_file_free(file);
	for (size_t i = 0; i < 2; i++) {
		uint8_t *now = help_copy(devs[i]);

		cr_expect(help_all_zero(now, dev_sectors * 512));
		free(now);
		bcfmt_dev_free(devs[i]);
	}
	bcfmt_dev_free(store);
	bcfmt_ctx_free(small);
}
