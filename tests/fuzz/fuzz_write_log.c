/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A log of dm-log-writes. In front: which allocation fails, which read fails (2 bytes each), and
 * one byte: bit 0 takes what follows as the bytes of the log itself, else as a row of entries of 5
 * bytes (flags, start, length, the byte that its data is made of, whether it is left out), of which
 * a right log is made. Its states are held against the entries applied one by one.
 */
#include <bcfmt/dev.h>
#include <bcfmt/write_log.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/faults.h"
#include "fuzz/fuzz.h"

#define HEAD_BYTES 5u
#define ENTRY_BYTES 5u
#define ENTRIES_MAX 64u
#define DEVICE_SECTORS 64u
#define DEVICE_BYTES (DEVICE_SECTORS * BCFMT_SECTOR_BYTES)

static struct bcfmt_ctx *ctx;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bcfmt_ctx_params params = { .threads = 1 };

	(void)argc;
	(void)argv;
	assert(bcfmt_ctx_new(&params, &ctx) == BCFMT_OK);
	return 0;
}

struct entry {
	uint8_t flags;
	uint8_t start;
	uint8_t sectors;
	uint8_t fill;
	bool is_left_out;
};

struct model {
	struct entry entries[ENTRIES_MAX];
	uint32_t n;
};

static bool has_data(const struct entry *entry)
{
	return entry->sectors && !(entry->flags & BCFMT_WRITE_LOG_DISCARD);
}

static void read_entries(struct model *model, const uint8_t *input, size_t input_bytes)
{
	model->n = 0;
	for (; input_bytes >= ENTRY_BYTES && model->n < ENTRIES_MAX; input_bytes -= ENTRY_BYTES) {
		struct entry *entry = &model->entries[model->n++];

		entry->flags = input[0] & 0x1f;
		entry->start = input[1] % DEVICE_SECTORS;
		entry->sectors = (uint8_t)(input[2] % (DEVICE_SECTORS - entry->start + 1u) % 9);
		entry->fill = input[3];
		entry->is_left_out = input[4] & 1;
		input += ENTRY_BYTES;
	}
}

static uint8_t *make_log(const struct model *model, size_t *log_bytes)
{
	size_t sectors = 1, at = BCFMT_SECTOR_BYTES;
	uint8_t *log;

	for (uint32_t i = 0; i < model->n; i++)
		sectors += 1 + (has_data(&model->entries[i]) ? model->entries[i].sectors : 0u);
	*log_bytes = sectors * BCFMT_SECTOR_BYTES;
	log = exact_copy(NULL, 0, *log_bytes);
	store_le64(log, 0x6a736677736872ull);
	store_le64(log + 8, 1);
	store_le64(log + 16, model->n);
	store_le32(log + 24, BCFMT_SECTOR_BYTES);
	for (uint32_t i = 0; i < model->n; i++) {
		const struct entry *entry = &model->entries[i];

		store_le64(log + at, entry->start);
		store_le64(log + at + 8, entry->sectors);
		store_le64(log + at + 16, entry->flags);
		at += BCFMT_SECTOR_BYTES;
		if (!has_data(entry))
			continue;
		memset(log + at, entry->fill, (size_t)entry->sectors * BCFMT_SECTOR_BYTES);
		at += (size_t)entry->sectors * BCFMT_SECTOR_BYTES;
	}
	return log;
}

/* The device after the first n entries; those left out only where they may be lost. */
static void apply(const struct model *model, uint32_t n, bool with_loss, uint8_t *device,
		  uint8_t left_out[ENTRIES_MAX / 8])
{
	uint32_t first_volatile = 0;

	memset(device, 0, DEVICE_BYTES);
	memset(left_out, 0, ENTRIES_MAX / 8);
	for (uint32_t i = 0; i < n; i++)
		if (model->entries[i].flags & (BCFMT_WRITE_LOG_FLUSH | BCFMT_WRITE_LOG_FUA))
			first_volatile = i + 1;
	for (uint32_t i = 0; i < n; i++) {
		const struct entry *entry = &model->entries[i];
		bool is_discard = entry->flags & BCFMT_WRITE_LOG_DISCARD;

		if (!entry->sectors || entry->flags & BCFMT_WRITE_LOG_MARK)
			continue;
		if (with_loss && entry->is_left_out && !is_discard && i >= first_volatile) {
			left_out[i / 8] |= (uint8_t)(1u << i % 8);
			continue;
		}
		memset(device + (size_t)entry->start * BCFMT_SECTOR_BYTES,
		       is_discard ? 0 : entry->fill, (size_t)entry->sectors * BCFMT_SECTOR_BYTES);
	}
}

static void check_contents(struct bcfmt_dev *state, const uint8_t *wanted)
{
	uint64_t at_bytes = 0, begin_bytes, end_bytes;
	uint8_t got[DEVICE_BYTES];

	assert(bcfmt_dev_read(state, 0, got, DEVICE_BYTES) == BCFMT_OK);
	assert(!memcmp(got, wanted, DEVICE_BYTES));
	/* What is said to be a hole is zero. */
	while (bcfmt_dev_next_data(state, at_bytes, &begin_bytes, &end_bytes) == BCFMT_OK) {
		assert(begin_bytes >= at_bytes && end_bytes > begin_bytes);
		for (uint64_t i = at_bytes; i < begin_bytes; i++)
			assert(!wanted[i]);
		at_bytes = end_bytes;
	}
	for (uint64_t i = at_bytes; i < DEVICE_BYTES; i++)
		assert(!wanted[i]);
}

/* Every number of entries: made anew, and gone on to from the one before. */
static void check_states(struct bcfmt_write_log *log, const struct model *model)
{
	uint8_t wanted[DEVICE_BYTES], left_out[ENTRIES_MAX / 8];
	struct bcfmt_dev *moving, *state;

	assert(bcfmt_write_log_state(ctx, log, 0, NULL, &moving) == BCFMT_OK);
	for (uint32_t n = 0; n <= model->n; n++) {
		apply(model, n, false, wanted, left_out);
		assert(bcfmt_write_log_advance(moving, n) == BCFMT_OK);
		check_contents(moving, wanted);
		apply(model, n, true, wanted, left_out);
		assert(bcfmt_write_log_leave_out(moving, left_out) == BCFMT_OK);
		check_contents(moving, wanted);
		assert(bcfmt_write_log_state(ctx, log, n, left_out, &state) == BCFMT_OK);
		check_contents(state, wanted);
		bcfmt_dev_free(state);
	}
	bcfmt_dev_free(moving);
}

/* Bytes that nobody made a log of: all that was taken is within its bounds. */
static void check_any(struct bcfmt_write_log *log)
{
	uint32_t n = bcfmt_write_log_entries(log);
	struct bcfmt_write_log_entry entry;
	struct bcfmt_dev *state;
	uint8_t buf[DEVICE_BYTES];

	assert(bcfmt_write_log_entry(log, n, &entry) == BCFMT_E_ARG);
	for (uint32_t i = 0; i < n; i++) {
		assert(bcfmt_write_log_entry(log, i, &entry) == BCFMT_OK);
		assert(!entry.sectors || (entry.start_sector < DEVICE_SECTORS &&
					  entry.sectors <= DEVICE_SECTORS - entry.start_sector));
		assert(bcfmt_write_log_first_volatile(log, i + 1) <= i + 1);
	}
	assert(bcfmt_write_log_state(ctx, log, n, NULL, &state) == BCFMT_OK);
	assert(bcfmt_dev_read(state, 0, buf, sizeof(buf)) == BCFMT_OK);
	bcfmt_dev_free(state);
}

/* Opens the log and makes its last state while an allocation or a read of it fails. */
static void check_failing(const uint8_t *raw, size_t raw_bytes, const uint8_t *head)
{
	struct bcfmt_dev_faults faults = { .fail_read = load_le16(head + 2) };
	struct bcfmt_write_log *log = NULL;
	struct bcfmt_dev *mem, *dev, *state = NULL;
	uint8_t buf[DEVICE_BYTES];
	bool has_failed;
	bcfmt_err err;

	assert(bcfmt_dev_mem(ctx, "log", raw, raw_bytes, &mem) == BCFMT_OK);
	assert(bcfmt_dev_faulty(ctx, mem, &faults, &dev) == BCFMT_OK);
	faults_arm(load_le16(head));
	err = bcfmt_write_log_open(ctx, dev, DEVICE_BYTES, &log);
	if (!err)
		err = bcfmt_write_log_state(ctx, log, bcfmt_write_log_entries(log), NULL, &state);
	if (!err)
		err = bcfmt_dev_read(state, 0, buf, sizeof(buf));
	has_failed = faults_disarm();
	assert(!has_failed || err == BCFMT_E_NOMEM);
	assert(!err || err == BCFMT_E_NOMEM || *bcfmt_ctx_fault(ctx));
	bcfmt_ctx_fault_clear(ctx);
	bcfmt_dev_free(state);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct bcfmt_write_log *log;
	struct bcfmt_dev *dev;
	struct model model;
	size_t raw_bytes;
	uint8_t *raw;
	bcfmt_err err;
	bool is_any;

	if (input_bytes < HEAD_BYTES)
		return 0;
	is_any = input[4] & 1;
	if (is_any) {
		raw_bytes = input_bytes - HEAD_BYTES;
		raw = exact_copy(input + HEAD_BYTES, raw_bytes, raw_bytes);
	} else {
		read_entries(&model, input + HEAD_BYTES, input_bytes - HEAD_BYTES);
		raw = make_log(&model, &raw_bytes);
	}
	if (load_le32(input)) {
		check_failing(raw, raw_bytes, input);
		free(raw);
		return 0;
	}
	assert(bcfmt_dev_mem(ctx, "log", raw, raw_bytes, &dev) == BCFMT_OK);
	err = bcfmt_write_log_open(ctx, dev, DEVICE_BYTES, &log);
	assert(is_any || !err);
	if (!err && is_any)
		check_any(log);
	else if (!err)
		check_states(log, &model);
	bcfmt_ctx_fault_clear(ctx);
	bcfmt_write_log_free(log);
	bcfmt_dev_free(dev);
	free(raw);
	return 0;
}
