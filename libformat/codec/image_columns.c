/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Keys are three words of which two and a half repeat what the key before says, or follow from it:
 * the same flags and inode, an extent that begins where the last ended, data that lies behind the
 * last data. A key becomes a byte of flags that says what followed, and the rest goes into columns,
 * which are written byte plane by byte plane. What cannot be cut into keys stays as it is, so that
 * any bytes come back as they were.
 */
#include "codec/image_columns.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "ondisk/bset.h"
#include "ondisk/image.h"
#include "ondisk/jset.h"
#include "ondisk/prio_set.h"

enum column {
	COL_CSUM,  /* first word of a structure with a header */
	COL_FLAGS, /* enum key_flags */
	COL_TOP,   /* bits 36.. of the high word: pointers, dirty */
	COL_INODE,
	COL_SIZE,
	COL_START, /* zigzag of start less the end of the key before */
	COL_PTR,   /* zigzag of the pointer's upper 56 bits less where the last data ended */
	COL_GEN,
	COL_PRIO,
	COL_PRIO_GEN,
	COL_PRIO_RUN, /* how many more entries are the same */
	COLUMNS,
};

enum key_flags {
	KEY_SAME_TOP = 1u << 0,
	KEY_SAME_INODE = 1u << 1,
	KEY_SAME_SIZE = 1u << 2,
	KEY_GOES_ON = 1u << 3, /* begins where the key before ends */
	KEY_DATA_GOES_ON = 1u << 4,
	KEY_SAME_GEN = 1u << 5,
	KEY_FLAGS_ALL = (1u << 6) - 1,
	KEY_NONE = 1u << 6, /* alone: no key, the rest of the structure is raw */
};

#define KEY_BYTES_MIN 16u
#define KEYS_MAX (DISK_IMAGE_CONTENT_MAX / KEY_BYTES_MIN)
#define PRIO_BYTES (sizeof(struct prio_entry_disk))
#define PRIOS_MAX (DISK_IMAGE_CONTENT_MAX / PRIO_BYTES)
#define CSUMS_MAX (DISK_IMAGE_CONTENT_MAX / sizeof(struct bset_disk))

static const struct {
	uint8_t bytes; /* of a value */
	uint32_t max;
} shape[COLUMNS] = {
	[COL_CSUM] = { 8, CSUMS_MAX },	   [COL_FLAGS] = { 1, KEYS_MAX },
	[COL_TOP] = { 4, KEYS_MAX },	   [COL_INODE] = { 3, KEYS_MAX },
	[COL_SIZE] = { 2, KEYS_MAX },	   [COL_START] = { 8, KEYS_MAX },
	[COL_PTR] = { 7, KEYS_MAX },	   [COL_GEN] = { 1, KEYS_MAX },
	[COL_PRIO] = { 2, PRIOS_MAX },	   [COL_PRIO_GEN] = { 1, PRIOS_MAX },
	[COL_PRIO_RUN] = { 3, PRIOS_MAX },
};

/* Numbers at the begin of the payload: extents, bytes of table and raw, length of each column. */
#define DIRECTORY_WORDS (3u + COLUMNS)
#define DIRECTORY_BYTES (4u * DIRECTORY_WORDS)

/* A key of 16 bytes never takes more than 26, an entry of three no more than six. */
_Static_assert(DIRECTORY_BYTES + IMAGE_TABLE_BYTES_MAX + DISK_IMAGE_CONTENT_MAX * 2 <=
		       DISK_IMAGE_PAYLOAD_MAX,
	       "any chunk fits");

/* What the next key is predicted from. */
struct prediction {
	uint64_t high;
	uint64_t end; /* of the last key, 0 at the start of a structure */
	uint64_t ptr;
	uint64_t data_end; /* upper 56 bits of a pointer to the data behind the last */
};

struct image_columns {
	uint64_t *values[COLUMNS];
	uint32_t n[COLUMNS];
	uint8_t *raw; /* where the next raw byte goes */
	struct prediction last;
};

static uint64_t zigzag(uint64_t difference)
{
	return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

static uint64_t unzigzag(uint64_t value)
{
	return value >> 1 ^ (value & 1 ? UINT64_MAX : 0);
}

/* Of 56-bit numbers, where the difference wraps at 2^56. */
static uint64_t zigzag56(uint64_t difference)
{
	return zigzag((uint64_t)((int64_t)(difference << 8) >> 8)) & (UINT64_MAX >> 8);
}

static unsigned int key_ptrs(uint64_t high)
{
	return (unsigned int)(high >> 60 & 7);
}

static uint64_t key_sectors(uint64_t high)
{
	return high >> 20 & 0xffff;
}

static size_t header_bytes(enum image_kind kind)
{
	switch (kind) {
	case IMAGE_BSET:
		return sizeof(struct bset_disk);
	case IMAGE_JSET:
		return sizeof(struct jset_disk);
	case IMAGE_PRIO:
		return sizeof(struct prio_set_disk);
	default:
		return 0;
	}
}

/* One that is shorter than its header is no structure. */
static bool is_structure(const struct image_extent *extent)
{
	return extent->kind != IMAGE_RAW && extent->kind != IMAGE_COVER &&
	       extent->bytes >= header_bytes(extent->kind);
}

static bool has_prios(enum image_kind kind)
{
	return kind == IMAGE_PRIO || kind == IMAGE_PRIOS;
}

struct image_columns *image_columns_new(void)
{
	struct image_columns *columns = calloc(1, sizeof(*columns));
	size_t total = 0;
	uint64_t *values;

	for (unsigned int i = 0; i < COLUMNS; i++)
		total += shape[i].max;
	values = malloc(total * sizeof(*values));
	if (!columns || !values) {
		free(columns);
		free(values);
		return NULL;
	}
	for (unsigned int i = 0; i < COLUMNS; i++) {
		columns->values[i] = values;
		values += shape[i].max;
	}
	return columns;
}

void image_columns_free(struct image_columns *columns)
{
	if (!columns)
		return;
	free(columns->values[0]);
	free(columns);
}

/* ---- to columns -------------------------------------------------------------------------- */

static void push(struct image_columns *columns, enum column column, uint64_t value)
{
	columns->values[column][columns->n[column]++] = value;
}

static void put_raw(struct image_columns *columns, const uint8_t *bytes, size_t len_bytes)
{
	memcpy(columns->raw, bytes, len_bytes);
	columns->raw += len_bytes;
}

static void put_ptr(struct image_columns *columns, uint64_t ptr, unsigned int *flags)
{
	struct prediction *last = &columns->last;

	if (ptr >> 8 == last->data_end)
		*flags |= KEY_DATA_GOES_ON;
	else
		push(columns, COL_PTR, zigzag56((ptr >> 8) - last->data_end));
	if ((ptr & 0xff) == (last->ptr & 0xff))
		*flags |= KEY_SAME_GEN;
	else
		push(columns, COL_GEN, ptr & 0xff);
	last->ptr = ptr;
}

static void put_key(struct image_columns *columns, const uint8_t *raw)
{
	struct prediction *last = &columns->last;
	uint64_t high = load_le64(raw), low = load_le64(raw + 8);
	uint64_t start = low - key_sectors(high);
	unsigned int flags = 0, n_ptrs = key_ptrs(high);

	if (high >> 36 == last->high >> 36)
		flags |= KEY_SAME_TOP;
	else
		push(columns, COL_TOP, high >> 36);
	if ((high & 0xfffff) == (last->high & 0xfffff))
		flags |= KEY_SAME_INODE;
	else
		push(columns, COL_INODE, high & 0xfffff);
	if (key_sectors(high) == key_sectors(last->high))
		flags |= KEY_SAME_SIZE;
	else
		push(columns, COL_SIZE, key_sectors(high));
	if (start == last->end)
		flags |= KEY_GOES_ON;
	else
		push(columns, COL_START, zigzag(start - last->end));
	if (n_ptrs) {
		put_ptr(columns, load_le64(raw + 16), &flags);
		put_raw(columns, raw + 24, 8 * (n_ptrs - 1));
		last->data_end = ((last->ptr >> 8) + key_sectors(high)) & (UINT64_MAX >> 8);
	}
	last->high = high;
	last->end = low;
	push(columns, COL_FLAGS, flags);
}

static void put_keys(struct image_columns *columns, const uint8_t *raw, size_t len_bytes)
{
	while (len_bytes >= KEY_BYTES_MIN) {
		size_t key_bytes = KEY_BYTES_MIN + 8 * key_ptrs(load_le64(raw));

		if (key_bytes > len_bytes) {
			push(columns, COL_FLAGS, KEY_NONE);
			break;
		}
		put_key(columns, raw);
		raw += key_bytes;
		len_bytes -= key_bytes;
	}
	put_raw(columns, raw, len_bytes);
}

static void put_prios(struct image_columns *columns, const uint8_t *raw, size_t len_bytes)
{
	while (len_bytes >= PRIO_BYTES) {
		size_t run = 1;

		while ((run + 1) * PRIO_BYTES <= len_bytes &&
		       !memcmp(raw, raw + run * PRIO_BYTES, PRIO_BYTES))
			run++;
		push(columns, COL_PRIO, load_le16(raw));
		push(columns, COL_PRIO_GEN, raw[2]);
		push(columns, COL_PRIO_RUN, run - 1);
		raw += run * PRIO_BYTES;
		len_bytes -= run * PRIO_BYTES;
	}
	put_raw(columns, raw, len_bytes);
}

static void put_extent(struct image_columns *columns, const struct image_extent *extent,
		       const uint8_t *raw)
{
	size_t header = header_bytes(extent->kind), len_bytes = (size_t)extent->bytes;

	if (!is_structure(extent)) {
		put_raw(columns, raw, len_bytes);
		return;
	}
	if (header) {
		columns->last.end = 0;
		push(columns, COL_CSUM, load_le64(raw));
		put_raw(columns, raw + 8, header - 8);
	}
	if (has_prios(extent->kind))
		put_prios(columns, raw + header, len_bytes - header);
	else
		put_keys(columns, raw + header, len_bytes - header);
}

/* Cuts a column into planes: all lowest bytes, then all second ones. */
static uint8_t *put_planes(const uint64_t *values, uint32_t n, unsigned int width, uint8_t *to,
			   struct image_segments *segments)
{
	for (unsigned int plane = 0; plane < width; plane++) {
		for (uint32_t i = 0; i < n; i++)
			to[i] = (uint8_t)(values[i] >> 8 * plane);
		to += n;
		image_segment_add(segments, n);
	}
	return to;
}

void image_columns_encode(struct image_columns *columns, const struct image_chunk *chunk,
			  uint8_t *payload, struct image_segments *segments)
{
	uint8_t *raw = image_table_encode(chunk, payload + DIRECTORY_BYTES), *to;

	memset(columns->n, 0, sizeof(columns->n));
	memset(&columns->last, 0, sizeof(columns->last));
	columns->raw = raw;
	for (uint32_t i = 0; i < chunk->n_extents; i++)
		if (chunk->extents[i].kind != IMAGE_COVER)
			put_extent(columns, &chunk->extents[i],
				   chunk->content + chunk->extents[i].content_at);
	segments->n = 0;
	image_segment_add(segments, DIRECTORY_BYTES);
	image_segment_add(segments, (size_t)(raw - payload) - DIRECTORY_BYTES);
	image_segment_add(segments, (size_t)(columns->raw - raw));
	store_le32(payload, chunk->n_extents);
	store_le32(payload + 4, segments->bytes[1]);
	store_le32(payload + 8, segments->bytes[2]);
	to = columns->raw;
	for (unsigned int i = 0; i < COLUMNS; i++) {
		store_le32(payload + 12 + 4 * i, columns->n[i]);
		to = put_planes(columns->values[i], columns->n[i], shape[i].bytes, to, segments);
	}
}

/* ---- and back ---------------------------------------------------------------------------- */

/* A column that is read: its planes in the payload. */
struct planes {
	const uint8_t *at;
	uint32_t n;
	uint32_t next;
};

struct decoder {
	struct planes columns[COLUMNS];
	const uint8_t *raw;
	const uint8_t *raw_end;
	struct prediction last;
};

static bool take(struct decoder *decoder, enum column column, uint64_t *value)
{
	struct planes *planes = &decoder->columns[column];
	const uint8_t *at = planes->at + planes->next;

	if (planes->next == planes->n)
		return false;
	*value = 0;
	for (unsigned int plane = 0; plane < shape[column].bytes; plane++)
		*value |= (uint64_t)at[(size_t)plane * planes->n] << 8 * plane;
	planes->next++;
	return true;
}

static bool get_raw(struct decoder *decoder, uint8_t *to, size_t len_bytes)
{
	if (len_bytes > (size_t)(decoder->raw_end - decoder->raw))
		return false;
	memcpy(to, decoder->raw, len_bytes);
	decoder->raw += len_bytes;
	return true;
}

static bool get_ptr(struct decoder *decoder, unsigned int flags, uint64_t *ptr)
{
	struct prediction *last = &decoder->last;
	uint64_t upper = last->data_end, gen = last->ptr & 0xff, value;

	if (!(flags & KEY_DATA_GOES_ON)) {
		if (!take(decoder, COL_PTR, &value))
			return false;
		upper += unzigzag(value);
	}
	if (!(flags & KEY_SAME_GEN) && !take(decoder, COL_GEN, &gen))
		return false;
	*ptr = last->ptr = upper << 8 | gen;
	return true;
}

static bool get_high(struct decoder *decoder, unsigned int flags, uint64_t *high)
{
	uint64_t last = decoder->last.high, top = last >> 36, inode = last & 0xfffff;
	uint64_t size = key_sectors(last);

	if (!(flags & KEY_SAME_TOP) && !take(decoder, COL_TOP, &top))
		return false;
	if (!(flags & KEY_SAME_INODE) && !take(decoder, COL_INODE, &inode))
		return false;
	if (!(flags & KEY_SAME_SIZE) && !take(decoder, COL_SIZE, &size))
		return false;
	*high = top << 36 | (size & 0xffff) << 20 | (inode & 0xfffff);
	return true;
}

/* Writes a key of at most len_bytes; false when the columns do not give one. */
static bool get_key(struct decoder *decoder, unsigned int flags, uint8_t *to, size_t len_bytes,
		    size_t *key_bytes)
{
	struct prediction *last = &decoder->last;
	uint64_t high, start = last->end, value, ptr;
	unsigned int n_ptrs;

	if (flags & ~(unsigned int)KEY_FLAGS_ALL || !get_high(decoder, flags, &high))
		return false;
	if (!(flags & KEY_GOES_ON)) {
		if (!take(decoder, COL_START, &value))
			return false;
		start += unzigzag(value);
	}
	n_ptrs = key_ptrs(high);
	*key_bytes = KEY_BYTES_MIN + 8 * n_ptrs;
	if (*key_bytes > len_bytes)
		return false;
	last->end = start + key_sectors(high);
	store_le64(to, high);
	store_le64(to + 8, last->end);
	if (n_ptrs) {
		if (!get_ptr(decoder, flags, &ptr) || !get_raw(decoder, to + 24, 8 * (n_ptrs - 1)))
			return false;
		store_le64(to + 16, ptr);
		last->data_end = ((ptr >> 8) + key_sectors(high)) & (UINT64_MAX >> 8);
	}
	last->high = high;
	return true;
}

static bool get_keys(struct decoder *decoder, uint8_t *to, size_t len_bytes)
{
	while (len_bytes >= KEY_BYTES_MIN) {
		uint64_t flags;
		size_t key_bytes;

		if (!take(decoder, COL_FLAGS, &flags))
			return false;
		if (flags == KEY_NONE)
			break;
		if (!get_key(decoder, (unsigned int)flags, to, len_bytes, &key_bytes))
			return false;
		to += key_bytes;
		len_bytes -= key_bytes;
	}
	return get_raw(decoder, to, len_bytes);
}

static bool get_prios(struct decoder *decoder, uint8_t *to, size_t len_bytes)
{
	while (len_bytes >= PRIO_BYTES) {
		uint64_t prio, gen, run;

		if (!take(decoder, COL_PRIO, &prio) || !take(decoder, COL_PRIO_GEN, &gen) ||
		    !take(decoder, COL_PRIO_RUN, &run) || run >= len_bytes / PRIO_BYTES)
			return false;
		len_bytes -= (run + 1) * PRIO_BYTES;
		for (run++; run; run--, to += PRIO_BYTES) {
			store_le16(to, (uint16_t)prio);
			to[2] = (uint8_t)gen;
		}
	}
	return get_raw(decoder, to, len_bytes);
}

static bool get_bytes(struct decoder *decoder, const struct image_extent *extent, uint8_t *to)
{
	size_t header = header_bytes(extent->kind), len_bytes = (size_t)extent->bytes;
	uint64_t csum;

	if (!is_structure(extent))
		return get_raw(decoder, to, len_bytes);
	if (header) {
		decoder->last.end = 0;
		if (!take(decoder, COL_CSUM, &csum) || !get_raw(decoder, to + 8, header - 8))
			return false;
		store_le64(to, csum);
	}
	if (has_prios(extent->kind))
		return get_prios(decoder, to + header, len_bytes - header);
	return get_keys(decoder, to + header, len_bytes - header);
}

/* Lays the columns over the payload behind *at; false when they do not end where it does. */
static bool find_columns(struct decoder *decoder, const uint8_t *payload, uint64_t at,
			 uint32_t payload_bytes)
{
	for (unsigned int i = 0; i < COLUMNS; i++) {
		uint32_t n = load_le32(payload + 12 + 4 * i);
		uint64_t len = (uint64_t)n * shape[i].bytes;

		if (len > payload_bytes - at)
			return false;
		decoder->columns[i] = (struct planes){ payload + at, n, 0 };
		at += len;
	}
	return at == payload_bytes;
}

static bool is_used_up(const struct decoder *decoder)
{
	for (unsigned int i = 0; i < COLUMNS; i++)
		if (decoder->columns[i].next != decoder->columns[i].n)
			return false;
	return decoder->raw == decoder->raw_end;
}

bcfmt_err image_columns_decode(const uint8_t *payload, uint32_t payload_bytes,
			       struct image_chunk *chunk)
{
	struct decoder decoder = { .raw = NULL };
	uint64_t table_bytes, raw_bytes;
	bcfmt_err err;

	chunk->n_extents = 0;
	if (payload_bytes < DIRECTORY_BYTES)
		return BCFMT_E_DAMAGED;
	table_bytes = load_le32(payload + 4);
	raw_bytes = load_le32(payload + 8);
	if (table_bytes + raw_bytes > payload_bytes - DIRECTORY_BYTES)
		return BCFMT_E_DAMAGED;
	err = image_table_decode(payload + DIRECTORY_BYTES, (uint32_t)table_bytes,
				 load_le32(payload), chunk);
	if (err)
		return err;
	decoder.raw = payload + DIRECTORY_BYTES + table_bytes;
	decoder.raw_end = decoder.raw + raw_bytes;
	if (!find_columns(&decoder, payload, DIRECTORY_BYTES + table_bytes + raw_bytes,
			  payload_bytes))
		return BCFMT_E_DAMAGED;
	for (uint32_t i = 0; i < chunk->n_extents; i++)
		if (chunk->extents[i].kind != IMAGE_COVER &&
		    !get_bytes(&decoder, &chunk->extents[i],
			       chunk->content + chunk->extents[i].content_at))
			return BCFMT_E_DAMAGED;
	return is_used_up(&decoder) ? BCFMT_OK : BCFMT_E_DAMAGED;
}
