/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Undo files that somebody made, and devices that somebody used.
 *
 * An input begins with four bytes: what fails, at which operation, how (bit 0: on the file instead
 * of the devices, bit 1: FORCE, bits 4 to 7: what follows is the file itself), and where the mark is.
 * Then comes a row of records, 8 bytes each: type and way to be wrong, device, first sector,
 * sectors, flags, seeds of old and new contents, what the device holds now. Checksums are right
 * unless a record says otherwise.
 *
 * Holds for every input: nothing is written unless the check allows it, never to a sector that no
 * record saves, and never anything but what a record saved. What succeeds has put back everything,
 * and so has a second run after one that failed in the middle.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bcfmt/crc64.h>
#include <bcfmt/dev.h>
#include <bcfmt/undo.h>

#include "base/bytes.h"
#include "fuzz/fuzz.h"

#define N_DEVS 2u
#define DEV_SECTORS_MAX 640u
#define FILE_BYTES (512u * 1024)
#define RECORDS_AT 12288u
#define RECORD_BYTES 8u
#define RECORDS_MAX 200u
#define SECTOR 512u

/* The second has a body, the first only edges. */
static const uint32_t dev_sectors[N_DEVS] = { 64, DEV_SECTORS_MAX };
static const uint8_t file_id[16] = { 'f', 'u', 'z', 'z' };

enum { BEGIN = 1, MARK, DEVICE, IDENT, SAVE, AGAIN };
enum { OLD_IS_ZERO = 1, NEW_IS_ZERO = 2, NEW_IS_OLD = 4 };

/* What the input says that is on a device, and what the records say that was. */
struct model {
	uint8_t now[DEV_SECTORS_MAX * SECTOR];
	uint8_t old[DEV_SECTORS_MAX * SECTOR];
	uint32_t saves[DEV_SECTORS_MAX]; /* records that save the sector */
	bool is_registered;
};

static struct bcfmt_ctx *ctx;
static struct model models[N_DEVS];
static uint8_t file[FILE_BYTES];
static uint32_t file_bytes;
static uint64_t n_records;
static bool has_damage; /* before the mark */
static bool has_bad;	/* a record that is not as it should be: what follows does not count */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bcfmt_ctx_params params = { .threads = 1, .max_bytes = 65536 };

	(void)argc;
	(void)argv;
	assert(bcfmt_ctx_new(&params, &ctx) == BCFMT_OK);
	return 0;
}

/* Contents of a sector; 0 is zeros. */
static void fill(uint8_t *at, uint32_t sector, uint8_t seed)
{
	memset(at, seed, SECTOR);
	if (seed)
		store_le32(at + 100, sector);
}

/* ---- the file ---- */

static void put_header(uint8_t *raw, uint32_t type, uint64_t index)
{
	memset(raw, 0, SECTOR);
	memcpy(raw, "bcache-u", 8);
	memcpy(raw + 16, file_id, sizeof(file_id));
	store_le64(raw + 32, index);
	store_le64(raw + 40, (uint64_t)(raw - file));
	store_le32(raw + 48, type);
}

static void seal(uint8_t *raw)
{
	store_le64(raw + 8, bcfmt_crc64(raw + 16, SECTOR - 16));
}

static void put_device(uint32_t device)
{
	uint8_t *raw = file + file_bytes;

	put_header(raw, DEVICE, n_records++);
	store_le32(raw + 52, device);
	store_le64(raw + 72, (uint64_t)dev_sectors[device] * SECTOR);
	raw[256] = (uint8_t)('a' + device);
	seal(raw);
	file_bytes += SECTOR;
}

static uint32_t padded(uint32_t bytes)
{
	return (bytes + SECTOR - 1) / SECTOR * SECTOR;
}

/* The payload of a range at its place; its bytes. */
static uint32_t put_payload(const uint8_t *record, uint32_t type, uint32_t flags, uint32_t first,
			    uint32_t sectors)
{
	uint8_t *at = file + file_bytes + SECTOR;
	uint32_t bytes = 0, i;
	uint8_t sector[SECTOR];

	for (i = 0; i < sectors && !(flags & OLD_IS_ZERO); i++) {
		fill(sector, first + i, record[5]);
		if (type == SAVE)
			memcpy(at + (size_t)i * SECTOR, sector, SECTOR);
		else
			store_le64(at + (size_t)i * 8, bcfmt_crc64(sector, SECTOR));
		bytes = type == SAVE ? (i + 1) * SECTOR : padded((i + 1) * 8);
	}
	at += bytes;
	for (i = 0; i < sectors && !(flags & (NEW_IS_ZERO | NEW_IS_OLD)); i++) {
		fill(sector, first + i, record[6]);
		store_le64(at + (size_t)i * 8, bcfmt_crc64(sector, SECTOR));
	}
	if (i)
		bytes += padded(i * 8);
	return bytes;
}

/* Bytes that a range of this kind needs behind its header; UINT64_MAX when there is none such. */
static uint64_t payload_bytes_of(uint32_t type, uint32_t flags, uint64_t sectors)
{
	bool has_old = !(flags & OLD_IS_ZERO), has_new = !(flags & (NEW_IS_ZERO | NEW_IS_OLD));

	if ((has_old || has_new) && sectors > 2048)
		return UINT64_MAX;
	return (has_old ? type == SAVE ? sectors * SECTOR : padded((uint32_t)sectors * 8) : 0) +
	       (has_new ? padded((uint32_t)sectors * 8) : 0);
}

/* Whether the range at the end of the file is one, with what was done to it. */
static bool is_range(const uint8_t *raw, uint32_t payload_bytes)
{
	uint32_t type = load_le32(raw + 48), device = load_le32(raw + 52);
	uint32_t flags = load_le32(raw + 88);
	uint64_t first = load_le64(raw + 72), sectors = load_le64(raw + 80);

	return !memcmp(raw + 16, file_id, sizeof(file_id)) && load_le64(raw + 32) == n_records &&
	       load_le64(raw + 40) == file_bytes && (type == SAVE || type == AGAIN) &&
	       device < N_DEVS && models[device].is_registered && flags <= 5 && sectors &&
	       first < dev_sectors[device] && sectors <= dev_sectors[device] - first &&
	       load_le64(raw + 56) == payload_bytes &&
	       payload_bytes_of(type, flags, sectors) == payload_bytes &&
	       load_le64(raw + 64) ==
		       (payload_bytes ? bcfmt_crc64(raw + SECTOR, payload_bytes) : 0);
}

/* The same where the type was changed: a range without payload can look like this one. */
static bool is_ident(const uint8_t *raw)
{
	uint32_t device = load_le32(raw + 52);

	return !memcmp(raw + 16, file_id, sizeof(file_id)) && load_le64(raw + 32) == n_records &&
	       load_le64(raw + 40) == file_bytes && load_le32(raw + 48) == IDENT &&
	       device < N_DEVS && models[device].is_registered && !load_le64(raw + 56);
}

/* What it says of its sectors, and what the input has on them now. */
static void note_range(const uint8_t *raw, const uint8_t *record)
{
	struct model *model = &models[load_le32(raw + 52)];
	uint32_t first = (uint32_t)load_le64(raw + 72), flags = load_le32(raw + 88);
	uint32_t end = first + (uint32_t)load_le64(raw + 80);
	uint8_t old_seed = flags & OLD_IS_ZERO ? 0 : record[5];
	uint8_t new_seed = flags & NEW_IS_ZERO ? 0 : record[6];

	for (uint32_t i = first; i < end; i++) {
		uint8_t *now = model->now + (size_t)i * SECTOR;
		uint8_t *old = model->old + (size_t)i * SECTOR;

		if (load_le32(raw + 48) == SAVE && !model->saves[i]++) {
			if (flags & OLD_IS_ZERO)
				memset(old, 0, SECTOR);
			else
				memcpy(old, raw + SECTOR + (size_t)(i - first) * SECTOR, SECTOR);
		}
		/* Old, new, one of both, or what it was. */
		if ((record[7] & 3) == 0 || ((record[7] & 3) == 2 && i & 1))
			fill(now, i, old_seed);
		else if ((record[7] & 3) < 3)
			fill(now, i, flags & NEW_IS_OLD ? old_seed : new_seed);
	}
}

/* Something about a record is not so, and its checksum says nothing. */
static void spoil(uint8_t *raw, const uint8_t *record, uint32_t payload_bytes)
{
	switch (record[0] >> 4) {
	case 1:
		store_le64(raw + 80, load_le64(raw + 80) << (record[7] & 63));
		break;
	case 2:
		store_le64(raw + 72, 0 - load_le64(raw + 72));
		break;
	case 3:
		store_le64(raw + 56, load_le64(raw + 56) + (uint64_t)SECTOR * record[7]);
		break;
	case 4:
		raw[record[7] + 16] ^= record[6];
		break;
	case 5:
		if (payload_bytes)
			raw[SECTOR + record[7] * 16u % payload_bytes] ^= record[6];
		break;
	default:
		break;
	}
}

static void put_range(const uint8_t *record, uint32_t type)
{
	static const uint8_t flag_sets[8] = { 0, 0, 1, 1, 2, 3, 4, 5 };
	uint8_t *raw = file + file_bytes;
	uint32_t device = record[1] > 250 ? N_DEVS : record[1] % N_DEVS;
	uint32_t first = record[2] * (device == 1 ? 3u : 1u) % dev_sectors[device % N_DEVS];
	uint32_t sectors = record[3] > 250 ? record[3] % 70u : 1 + record[3] % 12u;
	uint32_t flags = flag_sets[record[4] & 7];
	uint32_t payload_bytes = put_payload(record, type, flags, first, sectors);

	put_header(raw, type, n_records);
	store_le32(raw + 52, device);
	store_le64(raw + 56, payload_bytes);
	store_le64(raw + 64, payload_bytes ? bcfmt_crc64(raw + SECTOR, payload_bytes) : 0);
	store_le64(raw + 72, first);
	store_le64(raw + 80, sectors);
	store_le32(raw + 88, flags);
	spoil(raw, record, payload_bytes);
	seal(raw);
	if (record[0] >> 4 == 6)
		raw[8 + record[7] % 8] ^= (uint8_t)(record[6] | 1);
	if (record[0] >> 4 == 6 || !(is_range(raw, payload_bytes) || is_ident(raw)))
		has_bad = true;
	else if (!has_bad && !is_ident(raw))
		note_range(raw, record);
	n_records++;
	file_bytes += SECTOR + payload_bytes;
}

static void put_record(const uint8_t *record)
{
	/* Mostly what can be right. */
	static const uint8_t types[16] = { SAVE, SAVE, SAVE,  SAVE,  SAVE,  SAVE,  SAVE,   SAVE,
					   SAVE, SAVE, AGAIN, AGAIN, AGAIN, IDENT, DEVICE, 0 };
	uint32_t type = types[record[0] & 15];

	switch (type) {
	case SAVE:
	case AGAIN:
		put_range(record, type);
		break;
	case DEVICE:
		put_device(record[1] % N_DEVS);
		has_bad = true;
		break;
	default:
		type = type ? type : record[1];
		put_header(file + file_bytes, type, n_records++);
		memcpy(file + file_bytes + 72, record, RECORD_BYTES);
		seal(file + file_bytes);
		file_bytes += SECTOR;
		has_bad |= type != IDENT;
		break;
	}
}

static void make_file(const uint8_t *input, size_t input_bytes, uint8_t mark)
{
	uint32_t marked_bytes = RECORDS_AT;
	uint8_t *raw;

	put_header(file, BEGIN, 0);
	store_le32(file + 72, 1);
	seal(file);
	file_bytes = RECORDS_AT;
	for (uint32_t i = 0; i < N_DEVS; i++) {
		put_device(i);
		models[i].is_registered = true;
	}
	for (uint32_t i = 0; i < RECORDS_MAX && input_bytes >= RECORD_BYTES; i++) {
		if (file_bytes + 100 * SECTOR > FILE_BYTES)
			break;
		put_record(input);
		if (i < mark) {
			marked_bytes = file_bytes;
			has_damage |= has_bad;
		}
		input += RECORD_BYTES;
		input_bytes -= RECORD_BYTES;
	}
	raw = file + (mark & 1 ? 4096 : 8192);
	put_header(raw, MARK, 5);
	store_le64(raw + 72, mark >= 128 ? file_bytes : marked_bytes);
	store_le32(raw + 80, mark >= 192);
	seal(raw);
}

/* ---- putting back ---- */

struct scene {
	struct bcfmt_dev *store, *devs[N_DEVS]; /* that fail as the input says */
	bool was_allowed;			/* putting back began */
};

static bcfmt_err put_back(struct scene *scene, unsigned int flags)
{
	struct bcfmt_undo_file *opened;
	bcfmt_err err = bcfmt_undo_file_open_dev(ctx, scene->store, &opened);

	scene->was_allowed = false;
	if (!err) {
		err = bcfmt_undo_file_match(opened, scene->devs, N_DEVS);
		if (!err)
			err = bcfmt_undo_file_check(opened, NULL, NULL);
		if (!err) {
			err = bcfmt_undo_file_apply(opened, flags);
			scene->was_allowed = err != BCFMT_E_ARG;
		}
		bcfmt_undo_file_free(opened);
	} else {
		assert(!opened);
	}
	/* Whatever is wrong has a sentence to it. */
	assert(!err || *bcfmt_ctx_fault(ctx));
	bcfmt_ctx_fault_clear(ctx);
	return err;
}

static struct bcfmt_dev *open_mem(const char *name, const void *bytes, size_t len_bytes,
				  const struct bcfmt_dev_faults *faults)
{
	struct bcfmt_dev *dev;

	assert(bcfmt_dev_mem(ctx, name, bytes, len_bytes, &dev) == BCFMT_OK);
	assert(bcfmt_dev_faulty(ctx, dev, faults, &dev) == BCFMT_OK);
	return dev;
}

static void scene_open(struct scene *scene, const struct bcfmt_dev_faults *faults, bool is_store)
{
	static const struct bcfmt_dev_faults none;

	scene->store = open_mem("undo", file, file_bytes, is_store ? faults : &none);
	for (uint32_t i = 0; i < N_DEVS; i++)
		scene->devs[i] =
			open_mem(i ? "b" : "a", models[i].now, (size_t)dev_sectors[i] * SECTOR,
				 is_store ? &none : faults);
}

static void scene_close(struct scene *scene)
{
	bcfmt_dev_free(scene->store);
	for (uint32_t i = 0; i < N_DEVS; i++)
		bcfmt_dev_free(scene->devs[i]);
}

/* Reads past a fault that comes once. */
static void read_all(struct bcfmt_dev *dev, uint8_t *buf, size_t len_bytes)
{
	if (bcfmt_dev_read(dev, 0, buf, len_bytes))
		assert(bcfmt_dev_read(dev, 0, buf, len_bytes) == BCFMT_OK);
	bcfmt_ctx_fault_clear(ctx);
}

/* may_change: putting back began. is_done: it came to its end, of the file that the model is of. */
static void judge(struct scene *scene, bool may_change, bool is_done)
{
	static uint8_t then[DEV_SECTORS_MAX * SECTOR];

	for (uint32_t d = 0; d < N_DEVS; d++) {
		const struct model *model = &models[d];

		read_all(scene->devs[d], then, (size_t)dev_sectors[d] * SECTOR);
		for (uint32_t i = 0; i < dev_sectors[d]; i++) {
			size_t at = (size_t)i * SECTOR;
			bool is_now = !memcmp(then + at, model->now + at, SECTOR);
			bool is_old = !memcmp(then + at, model->old + at, SECTOR);

			if (!may_change || !model->saves[i])
				assert(is_now);
			else if (is_done)
				assert(is_old);
			else
				assert(is_now || is_old ||
				       (i == 8 && !memcmp(then + at, "bcache-fsck was", 15)));
		}
	}
}

static void run_made(const uint8_t *input, size_t input_bytes,
		     const struct bcfmt_dev_faults *faults, uint8_t how, uint8_t mark)
{
	unsigned int flags = how & 2 ? BCFMT_UNDO_FORCE : 0;
	struct scene scene;
	bcfmt_err err;

	make_file(input, input_bytes, mark);
	scene_open(&scene, faults, how & 1);
	err = put_back(&scene, flags);
	assert(err || !has_damage);
	judge(&scene, scene.was_allowed, !err);
	/* A fault comes once; after it all goes well. */
	if (err && scene.was_allowed) {
		for (unsigned int i = 0; i < 2 && err == BCFMT_E_IO; i++)
			err = put_back(&scene, flags);
		assert(err == BCFMT_OK || flags);
		judge(&scene, true, !err);
	}
	scene_close(&scene);
}

/* Nothing is known of it: it must not be too much for the reader, and not reach past a device. */
static void run_raw(const uint8_t *input, size_t input_bytes, const struct bcfmt_dev_faults *faults,
		    uint8_t how)
{
	struct scene scene;
	bcfmt_err err;

	file_bytes = (uint32_t)(input_bytes < FILE_BYTES ? input_bytes : FILE_BYTES);
	memcpy(file, input, file_bytes);
	scene_open(&scene, faults, how & 1);
	err = put_back(&scene, how & 2 ? BCFMT_UNDO_FORCE : 0);
	if (err && !scene.was_allowed)
		judge(&scene, false, false);
	scene_close(&scene);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_dev_faults faults = { .once = true };

	if (input_bytes < 4)
		return 0;
	if (input[0] >> 4 == 1)
		faults.fail_read = input[1];
	else if (input[0] >> 4 == 2)
		faults.fail_write = input[1] % 16;
	else if (input[0] >> 4 == 3)
		faults.fail_flush = input[1] % 16;
	memset(models, 0, sizeof(models));
	memset(file, 0, sizeof(file));
	n_records = 0;
	has_bad = false;
	has_damage = false;
	for (uint32_t d = 0; d < N_DEVS; d++)
		for (uint32_t i = 0; i < dev_sectors[d]; i++)
			fill(models[d].now + (size_t)i * SECTOR, i, (uint8_t)(200 + d));
	if (input[2] >> 4 == 15)
		run_raw(input + 4, input_bytes - 4, &faults, input[2]);
	else
		run_made(input + 4, input_bytes - 4, &faults, input[2], input[3]);
	return 0;
}
