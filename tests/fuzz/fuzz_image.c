/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metadata images. The first byte of an input says what the rest is: a file; changes to the bytes
 * of a good one; changes to what a chunk of it expands to, sealed again; or changes to the cache,
 * of which an image is made then. On that image has to be found what is found on the cache.
 */
#include "fuzz/damage.h"

#define ZLIB_CONST
#include <zlib.h>

#include <bcfmt/check.h>
#include <bcfmt/image.h>

#include "fuzz/fuzz.h"
#include "ondisk/image.h"

#define HEADER_BYTES sizeof(struct image_block_disk)
/* Devices beyond this are read as far as the image goes, not taken for a set. */
#define SET_BYTES_MAX (256ull << 20)
#define FINDINGS_TEXT_BYTES (1u << 20)

struct file {
	uint8_t *bytes;
	size_t n;
};

static struct file base;

static bcfmt_err append(void *arg, const void *bytes, size_t len_bytes)
{
	struct file *file = arg;

	file->bytes = realloc(file->bytes, file->n + len_bytes);
	assert(file->bytes);
	memcpy(file->bytes + file->n, bytes, len_bytes);
	file->n += len_bytes;
	return BCFMT_OK;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct walk {
	struct bcfmt_dev *dev;
	uint64_t position;
	bool is_in_holes;
};

static bcfmt_err see_part(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
			  const uint8_t *bytes, uint64_t len_bytes)
{
	struct walk *walk = arg;
	uint8_t *buf;

	assert(offset_bytes <= bcfmt_dev_bytes(walk->dev));
	assert(len_bytes <= bcfmt_dev_bytes(walk->dev) - offset_bytes);
	if (part == BCFMT_IMAGE_HOLE) {
		assert(!bytes);
		return BCFMT_OK;
	}
	assert(offset_bytes >= walk->position);
	walk->position = offset_bytes + (part == BCFMT_IMAGE_DATA ? len_bytes : 0);
	if (part != BCFMT_IMAGE_DATA)
		return BCFMT_OK;
	buf = malloc(len_bytes);
	assert(buf);
	if (bcfmt_dev_read(walk->dev, offset_bytes, buf, len_bytes) == BCFMT_OK)
		assert(!memcmp(buf, bytes, len_bytes));
	bcfmt_ctx_fault_clear(ctx);
	free(buf);
	return BCFMT_OK;
}

static void follow_data(struct bcfmt_dev *dev)
{
	uint64_t at = 0, begin, end;

	for (unsigned int i = 0; i < 2000; i++) {
		bcfmt_err err = bcfmt_dev_next_data(dev, at, &begin, &end);

		if (err == BCFMT_END)
			break;
		assert(err == BCFMT_OK);
		assert(begin >= at && end > begin && end <= bcfmt_dev_bytes(dev));
		at = end;
	}
}

/* Findings by code and place, one a line; to be freed. */
static char *findings(struct bcfmt_dev *const *devs, size_t n_devs)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_verdict verdict = { 0 };
	struct bcfmt_report *report;
	struct bcfmt_set *set;
	char *text = calloc(1, FINDINGS_TEXT_BYTES);
	size_t len = 0;
	bcfmt_err err = bcfmt_set_open(ctx, devs, n_devs, NULL, &set);

	assert(text);
	if (err) {
		assert(err == BCFMT_E_ARG);
		bcfmt_ctx_fault_clear(ctx);
		return text;
	}
	assert(bcfmt_report_new(ctx, &report) == BCFMT_OK);
	assert(bcfmt_check_run(set, &params, report, &verdict, NULL, NULL) == BCFMT_OK);
	bcfmt_report_finish(report);
	for (size_t i = 0; i < bcfmt_report_count(report) && len < FINDINGS_TEXT_BYTES / 2; i++) {
		const struct bcfmt_finding *finding = bcfmt_report_at(report, i);

		/* Told by the journal behind a backing device's superblock; images end there. */
		if (finding->problem->id == BCFMT_P_SUPER_ROLE)
			continue;
		len += (size_t)snprintf(text + len, FINDINGS_TEXT_BYTES - len,
					"%s sector %llu bucket %llu block %llu key %llu\n",
					finding->problem->slug,
					(unsigned long long)finding->where.sector,
					(unsigned long long)finding->where.bucket,
					(unsigned long long)finding->where.block,
					(unsigned long long)finding->where.key);
	}
	snprintf(text + len, FINDINGS_TEXT_BYTES - len, "nodes %llu extents %llu registers %d\n",
		 (unsigned long long)verdict.nodes, (unsigned long long)verdict.extents,
		 (int)verdict.registers);
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	bcfmt_set_free(set);
	return text;
}

/* Opens what may be an image and reads all of it; the devices' findings when they are wanted. */
static char *read_image(const struct file *file, bool with_findings)
{
	const struct bcfmt_image_member *members;
	const struct bcfmt_image_loss *losses;
	struct bcfmt_dev *devs[DISK_IMAGE_MEMBERS_MAX];
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	size_t n, n_losses;
	char *text = NULL;
	bool is_small = true;

	assert(bcfmt_dev_mem(ctx, "image", file->bytes, file->n, &dev) == BCFMT_OK);
	(void)bcfmt_image_is(dev);
	if (bcfmt_image_open(ctx, dev, &image)) {
		bcfmt_ctx_fault_clear(ctx);
		bcfmt_dev_free(dev);
		return NULL;
	}
	members = bcfmt_image_members(image, &n);
	losses = bcfmt_image_losses(image, &n_losses);
	for (size_t i = 0; i < n_losses; i++) {
		assert(losses[i].member < n);
		assert(losses[i].first_byte <= losses[i].end_byte);
		assert(losses[i].end_byte <= members[losses[i].member].bytes);
	}
	for (size_t i = 0; i < n; i++) {
		struct walk walk = { 0 };

		assert(bcfmt_image_dev(image, i, &devs[i]) == BCFMT_OK);
		walk.dev = devs[i];
		assert(bcfmt_image_walk(image, i, see_part, &walk) == BCFMT_OK);
		follow_data(devs[i]);
		is_small = is_small && members[i].bytes <= SET_BYTES_MAX;
	}
	if (with_findings && is_small && n < 8)
		text = findings(devs, n);
	for (size_t i = 0; i < n; i++)
		bcfmt_dev_free(devs[i]);
	bcfmt_image_free(image);
	return text;
}

/* ---- changing ------------------------------------------------------------------------------ */

static void seal(uint8_t *block)
{
	struct image_block_disk *header = (struct image_block_disk *)block;

	le64_set(&header->stored_csum,
		 bcfmt_crc64(block + HEADER_BYTES, le32_get(&header->stored_bytes)));
	le64_set(&header->csum, bcfmt_crc64(block + 16, HEADER_BYTES - 16));
}

/* Four bytes a change: where, and what is added. The lowest bit of the first mends the header. */
static void change_file(const uint8_t *input, size_t input_bytes)
{
	struct file file = { malloc(base.n), base.n };

	assert(file.bytes);
	memcpy(file.bytes, base.bytes, base.n);
	for (; input_bytes >= 4; input += 4, input_bytes -= 4) {
		size_t at = (input[0] | (size_t)input[1] << 8 | (size_t)input[2] << 16) % file.n;

		file.bytes[at] = (uint8_t)(file.bytes[at] + input[3]);
	}
	if (input_bytes) /* cut short */
		file.n = file.n * input[0] / 256;
	free(read_image(&file, true));
	free(file.bytes);
}

/* The nth chunk of the base. */
static const uint8_t *find_chunk(unsigned int nth)
{
	const uint8_t *chunk = NULL;

	for (size_t at = 0; at + HEADER_BYTES <= base.n; at += 8) {
		const struct image_block_disk *header =
			(const struct image_block_disk *)(base.bytes + at);

		if (memcmp(header->magic, DISK_IMAGE_MAGIC, 8) ||
		    le32_get(&header->kind) != DISK_IMAGE_CHUNK)
			continue;
		chunk = base.bytes + at;
		if (!nth--)
			break;
	}
	assert(chunk);
	return chunk;
}

/* A file of a head and one chunk, whose payload was changed: three bytes a change. */
static void change_payload(const uint8_t *input, size_t input_bytes)
{
	const struct image_block_disk *head = (const struct image_block_disk *)base.bytes;
	size_t head_bytes = HEADER_BYTES + (le32_get(&head->stored_bytes) + 7) / 8 * 8;
	uLongf len = DISK_IMAGE_PAYLOAD_MAX, stored = compressBound(DISK_IMAGE_PAYLOAD_MAX);
	const uint8_t *chunk = find_chunk(input_bytes ? input[0] % 4 : 0);
	const struct image_block_disk *from = (const struct image_block_disk *)chunk;
	uint8_t *payload = malloc(len);
	struct file file = { calloc(1, head_bytes + HEADER_BYTES + stored + 512), 0 };
	struct image_block_disk *header = (struct image_block_disk *)(file.bytes + head_bytes);

	assert(payload && file.bytes);
	memcpy(file.bytes, base.bytes, head_bytes);
	memcpy(header, chunk, HEADER_BYTES);
	assert(uncompress(payload, &len, chunk + HEADER_BYTES, le32_get(&from->stored_bytes)) ==
	       Z_OK);
	for (input++; input_bytes >= 4; input += 3, input_bytes -= 3) {
		size_t at = (input[0] | (size_t)input[1] << 8) % len;

		/* The directory and the table are where it hurts. */
		at = input[1] & 0x80 ? at % 64 : at;
		payload[at] = (uint8_t)(payload[at] + input[2]);
	}
	assert(compress2(file.bytes + head_bytes + HEADER_BYTES, &stored, payload, len, 1) == Z_OK);
	le32_set(&header->stored_bytes, (uint32_t)stored);
	seal(file.bytes + head_bytes);
	file.n = (head_bytes + HEADER_BYTES + stored + 511) / 512 * 512;
	free(read_image(&file, true));
	free(file.bytes);
	free(payload);
}

static bcfmt_err make(struct bcfmt_dev *const *devs, size_t n, bool is_scrubbed, struct file *file)
{
	struct bcfmt_image_params params = { .is_scrubbed = is_scrubbed };
	struct bcfmt_set *set;
	bcfmt_err err = bcfmt_set_open(ctx, devs, n, NULL, &set);

	if (err) {
		bcfmt_ctx_fault_clear(ctx);
		return err;
	}
	err = bcfmt_image_make(set, &params, append, file, NULL);
	if (err)
		fprintf(stderr, "bcfmt_image_make: %s: %s\n", bcfmt_err_name(err),
			bcfmt_ctx_fault(ctx));
	assert(err == BCFMT_OK);
	bcfmt_set_free(set);
	return BCFMT_OK;
}

static void change_cache(const uint8_t *input, size_t input_bytes)
{
	bool is_scrubbed = input_bytes && input[0] & 1;
	struct bcfmt_dev *devs[2] = { damaged_cache(&input, &input_bytes), backing };
	struct file file = { NULL, 0 };

	if (!make(devs, 2, is_scrubbed, &file)) {
		char *want = findings(devs, 2), *got = read_image(&file, true);

		if (!got || strcmp(got, want)) {
			fprintf(stderr, "on the cache:\n%son the image:\n%s", want,
				got ? got : "nothing\n");
			abort();
		}
		free(want);
		free(got);
	}
	free(file.bytes);
	bcfmt_dev_free(devs[0]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct bcfmt_dev *devs[2];

	(void)argc;
	(void)argv;
	damage_init();
	devs[0] = cache;
	devs[1] = backing;
	assert(make(devs, 2, false, &base) == BCFMT_OK);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	struct file file;

	if (!input_bytes)
		return 0;
	switch (input[0] & 3) {
	case 0:
		file.bytes = malloc(input_bytes);
		assert(file.bytes);
		memcpy(file.bytes, input + 1, input_bytes - 1);
		file.n = input_bytes - 1;
		free(read_image(&file, true));
		free(file.bytes);
		break;
	case 1:
		change_file(input + 1, input_bytes - 1);
		break;
	case 2:
		change_payload(input + 1, input_bytes - 1);
		break;
	case 3:
		change_cache(input + 1, input_bytes - 1);
		break;
	}
	return 0;
}
