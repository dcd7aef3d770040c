/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image files: what was written can be read, and of a damaged file all that is whole. */
#include "dev_help.h"

#include <pthread.h>

#include <bcfmt/crc64.h>
#include <bcfmt/image.h>

#include "dev/dev_impl.h"
#include "image/writer.h"
#include "ondisk/image.h"

#define MIB (1ull << 20)
#define BLOCK_BYTES sizeof(struct image_block_disk)

/* The file in memory. */
struct file {
	uint8_t *bytes;
	size_t n;
};

static bcfmt_err append(void *arg, const void *bytes, size_t len_bytes)
{
	struct file *file = arg;

	file->bytes = realloc(file->bytes, file->n + len_bytes);
	memcpy(file->bytes + file->n, bytes, len_bytes);
	file->n += len_bytes;
	return BCFMT_OK;
}

static const struct image_writer_member members[] = {
	{ "nvme0n1p3", 64 * MIB, 4096, true, true },
	{ "sdb", 8 * MIB, 512, false, false },
	{ "", 8 * MIB, 512, false, false },
};
#define SAMPLE_BYTES (4 * MIB)
#define N_MEMBERS (sizeof(members) / sizeof(members[0]))

static struct image_writer *writer_open(struct bcfmt_ctx *ctx, struct file *file, uint64_t stamp)
{
	struct image_writer_head head = { members, N_MEMBERS, stamp, true };
	struct image_writer *writer;

	memset(file, 0, sizeof(*file));
	cr_assert_eq(image_writer_new(ctx, &head, append, file, &writer), BCFMT_OK);
	return writer;
}

/* Added to the seed of what is written: 0 is what is expected. */
static unsigned int other_seed;

static void add_filled(struct image_writer *writer, enum image_kind kind, uint64_t offset_bytes,
		       size_t len_bytes, unsigned int seed)
{
	uint8_t *bytes = malloc(len_bytes);
	struct image_piece piece = {
		.offset_bytes = offset_bytes, .bytes = bytes, .len_bytes = len_bytes, .kind = kind
	};

	help_fill(bytes, offset_bytes, len_bytes, seed + other_seed);
	cr_assert_eq(image_writer_add(writer, &piece), BCFMT_OK);
	free(bytes);
}

/* Some pieces at odd places on each of three members, many chunks on the first; and holes. */
static void write_sample(struct bcfmt_ctx *ctx, struct file *file, uint64_t stamp)
{
	struct image_writer *writer = writer_open(ctx, file, stamp);
	struct range_map bad = { 0 };

	cr_assert_eq(image_writer_begin(writer, 0), BCFMT_OK);
	add_filled(writer, IMAGE_RAW, 4096, 208, 0);
	for (uint64_t at = MIB; at < 3 * MIB; at += 100000) {
		cr_assert_eq(image_writer_cover(writer, at, 90000), BCFMT_OK);
		add_filled(writer, IMAGE_BSET, at + 512, 60000, 0);
		add_filled(writer, IMAGE_RAW, at + 512 + 60008, 16, 0);
	}
	cr_assert_eq(range_map_set(&bad, 40 * MIB, 40 * MIB + 1024, RANGE_VALUE_FIXED), BCFMT_OK);
	cr_assert_eq(range_map_set(&bad, 40 * MIB + 1024, 40 * MIB + 1536, RANGE_VALUE_FIXED),
		     BCFMT_OK);
	cr_assert_eq(range_map_set(&bad, 50 * MIB, 51 * MIB, RANGE_VALUE_FIXED), BCFMT_OK);
	cr_assert_eq(image_writer_holes(writer, &bad), BCFMT_OK);
	range_map_clear(&bad);
	for (uint16_t i = 1; i < N_MEMBERS; i++) {
		cr_assert_eq(image_writer_begin(writer, i), BCFMT_OK);
		add_filled(writer, IMAGE_RAW, 4096, 208, i);
		cr_assert_eq(image_writer_holes(writer, &bad), BCFMT_OK);
	}
	cr_assert_eq(image_writer_finish(writer), BCFMT_OK);
	cr_assert_eq(image_writer_bytes(writer), file->n);
	image_writer_free(writer);
}

/* What member 0 of the sample has at a byte. */
static uint8_t sample_byte(size_t member, uint64_t offset)
{
	uint64_t in;

	if (offset >= 4096 && offset < 4096 + 208)
		return help_byte(offset, (unsigned int)member);
	if (member || offset < MIB || offset >= 3 * MIB + 100000)
		return 0;
	in = (offset - MIB) % 100000;
	if (offset - in >= 3 * MIB)
		return 0;
	if ((in >= 512 && in < 60512) || (in >= 60520 && in < 60536))
		return help_byte(offset, 0);
	return 0;
}

/* The same of the first bytes of each member, made once in a test. */
static const uint8_t *sample_bytes(size_t member)
{
	static uint8_t sample[N_MEMBERS][SAMPLE_BYTES];
	static bool is_made[N_MEMBERS];

	for (size_t at = 0; at < SAMPLE_BYTES && !is_made[member]; at++)
		sample[member][at] = sample_byte(member, at);
	is_made[member] = true;
	return sample[member];
}

static struct bcfmt_image *open_bytes(const uint8_t *bytes, size_t n, bcfmt_err *err)
{
	struct bcfmt_image *image = NULL;
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_dev_mem(help_ctx, "file", bytes, n, &dev), BCFMT_OK);
	*err = bcfmt_image_open(help_ctx, dev, &image);
	if (*err) {
		bcfmt_dev_free(dev);
		bcfmt_ctx_fault_clear(help_ctx);
	}
	return image;
}

static struct bcfmt_dev *member_dev(struct bcfmt_image *image, size_t member)
{
	struct bcfmt_dev *dev;

	cr_assert_eq(bcfmt_image_dev(image, member, &dev), BCFMT_OK);
	return dev;
}

static bool is_lost(const struct bcfmt_image *image, size_t member, uint64_t offset)
{
	const struct bcfmt_image_loss *losses;
	size_t n;

	losses = bcfmt_image_losses(image, &n);
	for (size_t i = 0; i < n; i++)
		if (losses[i].member == member && !losses[i].is_of_holes &&
		    offset >= losses[i].first_byte && offset < losses[i].end_byte)
			return true;
	return false;
}

static bool is_hole(size_t member, uint64_t offset)
{
	return !member && ((offset >= 40 * MIB && offset < 40 * MIB + 1536) ||
			   (offset >= 50 * MIB && offset < 51 * MIB));
}

/*
 * Every sector near something reads as it was, or is told to be lost and does not read. Returns
 * how many are lost.
 */
static size_t expect_sample(struct bcfmt_image *image)
{
	size_t lost = 0;

	for (size_t member = 0; member < N_MEMBERS; member++) {
		struct bcfmt_dev *dev = member_dev(image, member);
		const uint8_t *want = sample_bytes(member);
		uint64_t end = member ? 16384 : SAMPLE_BYTES;

		for (uint64_t at = 0; at < end; at += 512) {
			uint8_t sector[512];
			struct io_fault fault;
			bool is_told = is_lost(image, member, at);
			bcfmt_err err = dev_read_quiet(dev, at, sector, sizeof(sector), &fault);

			cr_assert_eq(err != BCFMT_OK, is_told, "member %zu byte %llu: %s, told %d",
				     member, (unsigned long long)at, bcfmt_err_name(err), is_told);
			lost += is_told;
			if (!err)
				cr_assert_arr_eq(sector, want + at, sizeof(sector),
						 "member %zu sector at byte %llu", member,
						 (unsigned long long)at);
		}
		bcfmt_dev_free(dev);
	}
	return lost;
}

TestSuite(image_file, .init = help_begin, .fini = help_end);

Test(image_file, says_what_it_was_made_of)
{
	const struct bcfmt_image_member *got;
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	struct file file;
	bcfmt_err err;
	size_t n;

	write_sample(help_ctx, &file, 1);
	cr_assert_eq(file.n % DISK_IMAGE_FILE_ALIGN, 0);
	image = open_bytes(file.bytes, file.n, &err);
	cr_assert_not_null(image);
	got = bcfmt_image_members(image, &n);
	cr_assert_eq(n, N_MEMBERS);
	cr_expect_str_eq(got[0].name, "cache");
	cr_expect_str_eq(got[1].name, "backing0");
	cr_expect_str_eq(got[2].name, "backing1");
	cr_expect_str_eq(got[0].source, "nvme0n1p3");
	cr_expect_str_eq(got[2].source, "");
	cr_expect_eq(got[0].bytes, 64 * MIB);
	cr_expect_eq(got[0].logical_block_bytes, 4096);
	cr_expect(got[0].was_in_use && !got[1].was_in_use);
	cr_expect_eq(got[1].role, BCFMT_ROLE_BACKING);
	cr_expect(bcfmt_image_is_scrubbed(image));
	cr_expect_null(bcfmt_image_losses(image, &n));
	dev = member_dev(image, 0);
	bcfmt_image_free(image); /* the device keeps it */
	cr_expect_str_eq(bcfmt_dev_name(dev), "file:cache");
	cr_expect_eq(bcfmt_dev_bytes(dev), 64 * MIB);
	cr_expect_eq(bcfmt_dev_logical_block_bytes(dev), 4096);
	cr_expect(bcfmt_dev_is_image(dev) && !bcfmt_dev_is_writable(dev));
	bcfmt_dev_free(dev);
	free(file.bytes);
}

Test(image_file, reads_back_at_any_place_and_length)
{
	static const size_t lengths[] = { 1, 511, 512, 4096, 70000, 2000000 };
	uint8_t *buf = malloc(2000000);
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	struct file file;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	image = open_bytes(file.bytes, file.n, &err);
	cr_assert_eq(expect_sample(image), 0);
	dev = member_dev(image, 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
		for (uint64_t at = 0; at < 4 * MIB; at += 333331) {
			cr_assert_eq(bcfmt_dev_read(dev, at, buf, lengths[i]), BCFMT_OK);
			for (size_t j = 0; j < lengths[i]; j++)
				if (buf[j] != sample_byte(0, at + j))
					cr_assert_fail("byte %llu", (unsigned long long)at + j);
		}
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
	free(buf);
}

Test(image_file, holes_are_read_errors)
{
	struct bcfmt_image *image;
	struct bcfmt_bad_read bad;
	struct bcfmt_dev *dev;
	struct file file;
	uint8_t buf[8192];
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	image = open_bytes(file.bytes, file.n, &err);
	dev = member_dev(image, 0);
	cr_expect_eq(bcfmt_dev_read(dev, 40 * MIB - 512, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read(dev, 40 * MIB - 512, buf, 513), BCFMT_E_IO);
	help_expect_fault("file:cache: sector 81920: cannot read: not in the image");
	cr_expect_eq(bcfmt_dev_read(dev, 40 * MIB + 1535, buf, 1), BCFMT_E_IO);
	bcfmt_ctx_fault_clear(help_ctx);
	cr_expect_eq(bcfmt_dev_read(dev, 40 * MIB + 1536, buf, 512), BCFMT_OK);
	cr_expect_eq(bcfmt_dev_read_salvage(dev, 40 * MIB - 4096, buf, sizeof(buf), &bad),
		     BCFMT_OK);
	cr_expect_eq(bad.first_sector, 40 * MIB / 512);
	cr_expect_eq(bad.sectors, 3);
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
}

Test(image_file, tells_where_data_is)
{
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	struct file file;
	uint64_t at = 0, begin, stop, data = 0;
	bcfmt_err err;
	unsigned int n = 0;

	write_sample(help_ctx, &file, 1);
	image = open_bytes(file.bytes, file.n, &err);
	dev = member_dev(image, 0);
	while ((err = bcfmt_dev_next_data(dev, at, &begin, &stop)) == BCFMT_OK) {
		cr_assert(begin >= at && stop > begin && stop <= bcfmt_dev_bytes(dev));
		for (; at < begin; at += 512)
			cr_assert(!sample_byte(0, at) && !is_hole(0, at));
		at = stop;
		data += stop - begin;
		n++;
	}
	cr_expect_eq(err, BCFMT_END);
	cr_expect_gt(n, 3);
	cr_expect_lt(data, 5 * MIB);
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
}

Test(image_file, does_not_depend_on_the_number_of_threads)
{
	struct file one, other;

	write_sample(help_ctx, &one, 1);
	for (unsigned int threads = 2; threads < 9; threads += 3) {
		struct bcfmt_ctx_params params = { .threads = threads };
		struct bcfmt_ctx *ctx;

		cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
		write_sample(ctx, &other, 1);
		cr_assert_eq(one.n, other.n);
		cr_expect_arr_eq(one.bytes, other.bytes, one.n);
		free(other.bytes);
		bcfmt_ctx_free(ctx);
	}
	free(one.bytes);
}

static void *read_all(void *arg)
{
	struct bcfmt_dev *dev = arg;
	uint8_t *buf = malloc(MIB);
	uintptr_t wrong = 0;

	for (unsigned int round = 0; round < 6; round++)
		for (uint64_t at = 0; at < 4 * MIB; at += MIB) {
			wrong += bcfmt_dev_read(dev, at, buf, MIB) != BCFMT_OK;
			for (uint64_t i = 0; i < MIB; i += 97)
				wrong += buf[i] != sample_byte(0, at + i);
		}
	free(buf);
	return (void *)wrong;
}

Test(image_file, many_threads_read_at_once)
{
	struct bcfmt_image *image;
	pthread_t threads[16];
	struct bcfmt_dev *dev;
	struct file file;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	image = open_bytes(file.bytes, file.n, &err);
	dev = member_dev(image, 0);
	for (unsigned int i = 0; i < 16; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, read_all, dev), 0);
	for (unsigned int i = 0; i < 16; i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		cr_expect_null(wrong);
	}
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
}

struct walked {
	uint64_t data_bytes;
	uint64_t hole_bytes;
	uint64_t zeros;
	uint64_t at;
	size_t member;
	bool is_in_holes;
};

static bcfmt_err see_part(void *arg, enum bcfmt_image_part part, uint64_t offset_bytes,
			  const uint8_t *bytes, uint64_t len_bytes)
{
	struct walked *walked = arg;

	switch (part) {
	case BCFMT_IMAGE_DATA:
		cr_assert(!walked->is_in_holes && offset_bytes >= walked->at);
		for (uint64_t i = 0; i < len_bytes; i++)
			cr_assert_eq(bytes[i], sample_byte(walked->member, offset_bytes + i));
		walked->at = offset_bytes + len_bytes;
		walked->data_bytes += len_bytes;
		break;
	case BCFMT_IMAGE_ZEROS:
		cr_assert(!walked->is_in_holes && offset_bytes >= walked->at);
		walked->zeros += len_bytes;
		break;
	case BCFMT_IMAGE_HOLE:
		cr_assert(!bytes && !(offset_bytes % 512) && !(len_bytes % 512));
		walked->is_in_holes = true;
		walked->hole_bytes += len_bytes;
		break;
	}
	return BCFMT_OK;
}

Test(image_file, a_walk_gives_everything_in_order)
{
	struct walked walked = { 0 };
	struct bcfmt_image *image;
	struct file file;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	image = open_bytes(file.bytes, file.n, &err);
	cr_assert_eq(bcfmt_image_walk(image, 0, see_part, &walked), BCFMT_OK);
	cr_expect_eq(walked.data_bytes, 208 + 21 * 60016);
	/* Covers are cut where chunks end, and none is left out. */
	cr_expect_eq(walked.zeros, 21 * 90000);
	cr_expect_eq(walked.hole_bytes, MIB + 1536);
	bcfmt_image_free(image);
	free(file.bytes);
}

/* A structure beyond the size of a chunk is cut, and comes back whole. */
Test(image_file, large_pieces_are_cut)
{
	static const enum image_kind kinds[] = { IMAGE_RAW, IMAGE_BSET, IMAGE_JSET, IMAGE_PRIO };
	const size_t len = 3 * MIB + 1003;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct image_writer *writer;
		struct bcfmt_image *image;
		struct bcfmt_dev *dev;
		uint8_t *buf = malloc(len);
		struct file file;
		bcfmt_err err;

		writer = writer_open(help_ctx, &file, 1);
		cr_assert_eq(image_writer_begin(writer, 0), BCFMT_OK);
		cr_assert_eq(image_writer_cover(writer, 8192, 4 * MIB), BCFMT_OK);
		add_filled(writer, kinds[i], 9000, len, 3);
		cr_assert_eq(image_writer_finish(writer), BCFMT_OK);
		image_writer_free(writer);
		image = open_bytes(file.bytes, file.n, &err);
		dev = member_dev(image, 0);
		cr_assert_eq(bcfmt_dev_read(dev, 9000, buf, len), BCFMT_OK);
		for (size_t at = 0; at < len; at++)
			if (buf[at] != help_byte(9000 + at, 3))
				cr_assert_fail("byte %zu", at);
		bcfmt_dev_free(dev);
		bcfmt_image_free(image);
		free(file.bytes);
		free(buf);
	}
}

Test(image_file, what_overlaps_is_left_out)
{
	struct image_writer *writer;
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	struct file file;
	uint8_t buf[4096];
	bcfmt_err err;

	writer = writer_open(help_ctx, &file, 1);
	cr_assert_eq(image_writer_begin(writer, 0), BCFMT_OK);
	add_filled(writer, IMAGE_RAW, 4096, 1000, 0);
	cr_assert_eq(image_writer_cover(writer, 4096, 4096), BCFMT_OK);
	add_filled(writer, IMAGE_RAW, 4608, 1000, 1);
	add_filled(writer, IMAGE_RAW, 5632, 8, 2);
	cr_assert_eq(image_writer_cover(writer, 1024, 1024), BCFMT_OK);
	cr_assert_eq(image_writer_finish(writer), BCFMT_OK);
	image_writer_free(writer);
	image = open_bytes(file.bytes, file.n, &err);
	dev = member_dev(image, 0);
	cr_assert_eq(bcfmt_dev_read(dev, 4096, buf, sizeof(buf)), BCFMT_OK);
	for (unsigned int i = 0; i < 1000; i++)
		cr_assert_eq(buf[i], help_byte(4096 + i, 0));
	for (unsigned int i = 0; i < 8; i++)
		cr_assert_eq(buf[1536 + i], help_byte(5632 + i, 2));
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
}

/* ---- damage -------------------------------------------------------------------------------- */

/* One byte is never fatal, and costs one chunk at most. */
Test(image_file, any_byte_can_be_wrong, .timeout = 300)
{
	struct file file;
	size_t step = 0;

	write_sample(help_ctx, &file, 1);
	for (size_t at = 0; at < file.n; at += step) {
		struct bcfmt_image *image;
		bcfmt_err err;
		size_t lost;

		file.bytes[at] ^= (uint8_t)(1u << at % 8);
		image = open_bytes(file.bytes, file.n, &err);
		cr_assert_not_null(image, "byte %zu: %s", at, bcfmt_err_name(err));
		lost = expect_sample(image);
		/* The first reaches from the superblock to a megabyte behind it. */
		cr_assert_leq(lost, 2048 + 1000, "byte %zu", at);
		bcfmt_image_free(image);
		file.bytes[at] ^= (uint8_t)(1u << at % 8);
		/* All of the heads, the index and the end; of what is between them some. */
		step = at < 100 || file.n - at < 100	? 1
		       : at < 600 || file.n - at < 1600 ? 11
							: 1997;
	}
	free(file.bytes);
}

/* Cut short anywhere, everything in front is there, and the rest is known to be missing. */
Test(image_file, any_length_can_be_missing, .timeout = 300)
{
	struct file file;
	size_t first = 0;

	write_sample(help_ctx, &file, 1);
	for (size_t n = 512; n < file.n; n += 512 * 41) {
		struct bcfmt_image *image;
		bcfmt_err err;
		size_t lost;

		image = open_bytes(file.bytes, n, &err);
		cr_assert_not_null(image, "%zu bytes: %s", n, bcfmt_err_name(err));
		lost = expect_sample(image);
		cr_assert_gt(lost, 0);
		first = first ? first : lost;
		cr_assert_leq(lost, first);
		bcfmt_image_free(image);
	}
	free(file.bytes);
}

/* File offset of the nth block of a kind; 0: none. */
static size_t find_block(const struct file *file, uint32_t kind, unsigned int nth)
{
	for (size_t at = 0; at + BLOCK_BYTES <= file->n; at += 8) {
		const struct image_block_disk *disk =
			(const struct image_block_disk *)(file->bytes + at);

		if (!memcmp(disk->magic, DISK_IMAGE_MAGIC, 8) && le32_get(&disk->kind) == kind &&
		    !nth--)
			return at;
	}
	return SIZE_MAX;
}

Test(image_file, a_missing_middle_is_told)
{
	struct bcfmt_image *image;
	const struct bcfmt_image_loss *losses;
	struct file file;
	size_t second, fourth, n;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	second = find_block(&file, DISK_IMAGE_CHUNK, 1);
	fourth = find_block(&file, DISK_IMAGE_CHUNK, 3);
	/* As if a download had left it out: no index can be right then. */
	memmove(file.bytes + second, file.bytes + fourth, file.n - fourth);
	image = open_bytes(file.bytes, file.n - (fourth - second), &err);
	cr_assert_not_null(image);
	losses = bcfmt_image_losses(image, &n);
	cr_assert_eq(n, 1);
	cr_expect_eq(losses[0].member, 0);
	cr_expect_gt(losses[0].first_byte, MIB);
	cr_expect_lt(losses[0].end_byte, 3 * MIB);
	cr_expect_gt(expect_sample(image), 100);
	bcfmt_image_free(image);
	free(file.bytes);
}

/* The second head says how many there were. */
Test(image_file, a_missing_end_is_told)
{
	const struct bcfmt_image_loss *losses;
	struct bcfmt_image *image;
	struct file file;
	size_t last = 0, head, n;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	head = find_block(&file, DISK_IMAGE_HEAD, 1);
	for (n = 0; find_block(&file, DISK_IMAGE_CHUNK, (unsigned int)n) != SIZE_MAX; n++)
		last = find_block(&file, DISK_IMAGE_CHUNK, (unsigned int)n);
	memmove(file.bytes + last, file.bytes + head, file.n - head);
	image = open_bytes(file.bytes, file.n - (head - last), &err);
	losses = bcfmt_image_losses(image, &n);
	cr_assert_eq(n, 2);
	/* It is not known whether the member before had more. */
	cr_expect_eq(losses[0].member, 1);
	cr_expect_eq(losses[1].member, 2);
	cr_expect_eq(losses[1].first_byte, 0);
	cr_expect_eq(losses[1].end_byte, 8 * MIB);
	bcfmt_image_free(image);
	free(file.bytes);
}

Test(image_file, without_index_and_end_nothing_is_lost)
{
	struct bcfmt_image *image;
	struct file file;
	size_t index, n;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	index = find_block(&file, DISK_IMAGE_INDEX, 0);
	image = open_bytes(file.bytes, (index + 511) / 512 * 512, &err);
	cr_assert_not_null(image);
	bcfmt_image_losses(image, &n);
	cr_expect_eq(n, 0); /* the second head says how many there are */
	cr_expect_eq(expect_sample(image), 0);
	bcfmt_image_free(image);
	free(file.bytes);
}

Test(image_file, a_damaged_list_of_holes_is_told)
{
	const struct bcfmt_image_loss *losses;
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	struct file file;
	uint8_t sector[512];
	bcfmt_err err;
	size_t n;

	write_sample(help_ctx, &file, 1);
	file.bytes[find_block(&file, DISK_IMAGE_HOLES, 0) + BLOCK_BYTES + 3] ^= 4;
	image = open_bytes(file.bytes, file.n, &err);
	losses = bcfmt_image_losses(image, &n);
	cr_assert_eq(n, 1);
	cr_expect(losses[0].is_of_holes);
	cr_expect_eq(losses[0].first_byte, 40 * MIB);
	cr_expect_eq(losses[0].end_byte, 51 * MIB);
	dev = member_dev(image, 0);
	cr_expect_eq(bcfmt_dev_read(dev, 40 * MIB, sector, sizeof(sector)), BCFMT_OK);
	cr_expect(help_all_zero(sector, sizeof(sector)));
	bcfmt_dev_free(dev);
	bcfmt_image_free(image);
	free(file.bytes);
}

/* A download that had an older image of the same set in its place. */
Test(image_file, blocks_of_another_image_do_not_mix_in)
{
	struct bcfmt_image *image;
	struct file old, new;
	bcfmt_err err;
	size_t n;

	write_sample(help_ctx, &new, 2);
	other_seed = 100;
	write_sample(help_ctx, &old, 1);
	/* The first two chunks of the new one, and behind them the old one goes on. */
	n = find_block(&new, DISK_IMAGE_CHUNK, 2);
	memcpy(old.bytes, new.bytes, n);
	memmove(old.bytes + n, old.bytes + find_block(&old, DISK_IMAGE_CHUNK, 3),
		old.n - find_block(&old, DISK_IMAGE_CHUNK, 3));
	image = open_bytes(old.bytes, old.n, &err);
	cr_assert_not_null(image);
	bcfmt_image_losses(image, &n);
	cr_expect_gt(n, 0);
	cr_expect_gt(expect_sample(image), 0);
	bcfmt_image_free(image);
	free(old.bytes);
	free(new.bytes);
}

Test(image_file, without_any_head_it_is_no_image)
{
	struct bcfmt_dev *dev;
	struct file file;
	bcfmt_err err;

	write_sample(help_ctx, &file, 1);
	file.bytes[70] ^= 1;
	file.bytes[find_block(&file, DISK_IMAGE_HEAD, 1) + 70] ^= 1;
	cr_expect_null(open_bytes(file.bytes, file.n, &err));
	cr_expect_eq(err, BCFMT_E_DAMAGED);
	/* Yet it looks like one. */
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "file", file.bytes, file.n, &dev), BCFMT_OK);
	cr_expect(bcfmt_image_is(dev));
	bcfmt_dev_free(dev);
	memset(file.bytes, 0, 8);
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "file", file.bytes, file.n, &dev), BCFMT_OK);
	cr_expect(bcfmt_image_is(dev), "by its end");
	bcfmt_dev_free(dev);
	dev = help_mem(1 << 20, 5);
	cr_expect(!bcfmt_image_is(dev));
	cr_expect_eq(bcfmt_image_open(help_ctx, dev, &(struct bcfmt_image *){ 0 }),
		     BCFMT_E_DAMAGED);
	help_expect_fault("mem: not a metadata image");
	bcfmt_dev_free(dev);
	free(file.bytes);
}

Test(image_file, a_later_format_is_refused)
{
	struct image_block_disk *disk;
	struct bcfmt_dev *dev;
	struct file file;

	write_sample(help_ctx, &file, 1);
	for (unsigned int i = 0; i < 2; i++) {
		size_t at = find_block(&file, DISK_IMAGE_HEAD, i);
		uint32_t len;

		disk = (struct image_block_disk *)(file.bytes + at);
		len = le32_get(&disk->stored_bytes);
		file.bytes[at + BLOCK_BYTES] = 2;
		le64_set(&disk->stored_csum, bcfmt_crc64(file.bytes + at + BLOCK_BYTES, len));
		le64_set(&disk->csum, bcfmt_crc64(file.bytes + at + 16, BLOCK_BYTES - 16));
	}
	cr_assert_eq(bcfmt_dev_mem(help_ctx, "file", file.bytes, file.n, &dev), BCFMT_OK);
	cr_expect_eq(bcfmt_image_open(help_ctx, dev, &(struct bcfmt_image *){ 0 }),
		     BCFMT_E_UNSUPPORTED);
	help_expect_fault("format 2, only 1 is known");
	bcfmt_dev_free(dev);
	free(file.bytes);
}

static bcfmt_err refuse(void *arg, const void *bytes, size_t len_bytes)
{
	size_t *left = arg;

	(void)bytes;
	if (len_bytes > *left)
		return BCFMT_E_IO;
	*left -= len_bytes;
	return BCFMT_OK;
}

Test(image_file, a_full_disk_ends_the_writing)
{
	struct bcfmt_ctx_params params = { .threads = 3 };
	struct bcfmt_ctx *ctx;

	cr_assert_eq(bcfmt_ctx_new(&params, &ctx), BCFMT_OK);
	for (size_t room = 0; room < 100000; room += 9119) {
		struct image_writer_head head = { members, N_MEMBERS, 1, false };
		struct image_writer *writer;
		size_t left = room;
		bcfmt_err err = image_writer_new(ctx, &head, refuse, &left, &writer);

		for (uint64_t at = MIB; at < 40 * MIB && !err; at += MIB) {
			static uint8_t bytes[200000];
			struct image_piece piece = { .offset_bytes = at,
						     .bytes = bytes,
						     .len_bytes = sizeof(bytes),
						     .kind = IMAGE_RAW };

			help_fill(bytes, at, sizeof(bytes), 1);
			err = image_writer_add(writer, &piece);
		}
		if (!err)
			err = image_writer_finish(writer);
		cr_expect_eq(err, BCFMT_E_IO, "%zu bytes of room: %s", room, bcfmt_err_name(err));
		image_writer_free(writer);
	}
	bcfmt_ctx_free(ctx);
}

Test(image_file, a_pipe_becomes_a_device)
{
	struct bcfmt_image *image;
	struct bcfmt_dev *dev;
	char path[HELP_PATH_BYTES];
	struct file file;
	int fds[2];
	FILE *in;

	write_sample(help_ctx, &file, 1);
	help_file("image", file.bytes, file.n);
	in = fopen(help_path(path, "image"), "re");
	cr_assert_eq(bcfmt_dev_spool(help_ctx, "pipe", fileno(in), &dev), BCFMT_OK);
	fclose(in);
	cr_expect_eq(bcfmt_dev_bytes(dev), file.n);
	cr_assert_eq(bcfmt_image_open(help_ctx, dev, &image), BCFMT_OK);
	cr_expect_eq(expect_sample(image), 0);
	bcfmt_image_free(image);
	cr_assert_eq(pipe(fds), 0);
	close(fds[1]);
	cr_expect_eq(bcfmt_dev_spool(help_ctx, "pipe", fds[0], &dev), BCFMT_E_SYSTEM);
	help_expect_fault("pipe: no sector long");
	close(fds[0]);
	free(file.bytes);
}
