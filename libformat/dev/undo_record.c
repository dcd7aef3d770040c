/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records of undo files: bytes to fields and back. Pure. */
#include "dev/undo_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uuid/uuid.h>

#include <bcfmt/crc64.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "ondisk/super.h"

/* Offsets in a header. */
#define CSUM_AT 8u /* of all bytes behind it */
#define ID_AT 16u
#define INDEX_AT 32u
#define OFFSET_AT 40u
#define TYPE_AT 48u
#define DEVICE_AT 52u
#define PAYLOAD_BYTES_AT 56u
#define PAYLOAD_CSUM_AT 64u
#define VERSION_AT 72u
#define CREATED_AT 80u
#define REASON_AT 88u
#define PROGRAM_VERSION_AT 152u
#define MARKED_BYTES_AT 72u
#define IS_COMPLETE_AT 80u
#define DEVICE_BYTES_AT 72u
#define LOGICAL_BLOCK_AT 80u
#define ROLE_AT 84u
#define UUID_AT 88u
#define SET_UUID_AT 104u
#define LABEL_AT 120u
#define NAME_AT 256u
#define FIRST_SECTOR_AT 72u
#define SECTORS_AT 80u
#define FLAGS_AT 88u

static const uint8_t header_magic[8] = { 'b', 'c', 'a', 'c', 'h', 'e', '-', 'u' };

static void put_text(uint8_t *at, const char *text, size_t room_bytes)
{
	memcpy(at, text, strnlen(text, room_bytes - 1));
}

static void get_text(char *text, const uint8_t *at, size_t room_bytes)
{
	memcpy(text, at, room_bytes);
	text[room_bytes - 1] = '\0';
}

static void put_ident(uint8_t *raw, const struct bcfmt_undo_ident *ident)
{
	store_le32(raw + ROLE_AT, ident->role);
	memcpy(raw + UUID_AT, ident->uuid, BCFMT_UUID_BYTES);
	memcpy(raw + SET_UUID_AT, ident->set_uuid, BCFMT_UUID_BYTES);
	put_text(raw + LABEL_AT, ident->label, sizeof(ident->label));
}

static void get_ident(struct bcfmt_undo_ident *ident, const uint8_t *raw)
{
	uint32_t role = load_le32(raw + ROLE_AT);

	ident->role = role <= BCFMT_UNDO_BACKING ? (enum bcfmt_undo_role)role : BCFMT_UNDO_OTHER;
	memcpy(ident->uuid, raw + UUID_AT, BCFMT_UUID_BYTES);
	memcpy(ident->set_uuid, raw + SET_UUID_AT, BCFMT_UUID_BYTES);
	get_text(ident->label, raw + LABEL_AT, sizeof(ident->label));
}

void undo_header_encode(const struct undo_header *header, const uint8_t id[BCFMT_UUID_BYTES],
			uint8_t raw[UNDO_HEADER_BYTES])
{
	memset(raw, 0, UNDO_HEADER_BYTES);
	memcpy(raw, header_magic, sizeof(header_magic));
	memcpy(raw + ID_AT, id, BCFMT_UUID_BYTES);
	store_le64(raw + INDEX_AT, header->index);
	store_le64(raw + OFFSET_AT, header->offset_bytes);
	store_le32(raw + TYPE_AT, header->type);
	store_le32(raw + DEVICE_AT, header->device);
	store_le64(raw + PAYLOAD_BYTES_AT, header->payload_bytes);
	store_le64(raw + PAYLOAD_CSUM_AT, header->payload_csum);
	switch (header->type) {
	case UNDO_BEGIN:
		store_le32(raw + VERSION_AT, header->version);
		store_le64(raw + CREATED_AT, header->created_seconds);
		put_text(raw + REASON_AT, header->reason, sizeof(header->reason));
		put_text(raw + PROGRAM_VERSION_AT, header->program_version,
			 sizeof(header->program_version));
		break;
	case UNDO_DEVICE:
		store_le64(raw + DEVICE_BYTES_AT, header->device_bytes);
		store_le32(raw + LOGICAL_BLOCK_AT, header->logical_block_bytes);
		put_ident(raw, &header->ident);
		put_text(raw + NAME_AT, header->name, sizeof(header->name));
		break;
	case UNDO_IDENT:
		put_ident(raw, &header->ident);
		break;
	case UNDO_SAVE:
	case UNDO_AGAIN:
		store_le64(raw + FIRST_SECTOR_AT, header->first_sector);
		store_le64(raw + SECTORS_AT, header->sectors);
		store_le32(raw + FLAGS_AT, header->flags);
		break;
	case UNDO_MARK:
		store_le64(raw + MARKED_BYTES_AT, header->marked_bytes);
		store_le32(raw + IS_COMPLETE_AT, header->is_complete);
		break;
	}
	store_le64(raw + CSUM_AT, bcfmt_crc64(raw + ID_AT, UNDO_HEADER_BYTES - ID_AT));
}

bool undo_header_decode(const uint8_t raw[UNDO_HEADER_BYTES], struct undo_header *header,
			const uint8_t **id)
{
	if (memcmp(raw, header_magic, sizeof(header_magic)) ||
	    load_le64(raw + CSUM_AT) != bcfmt_crc64(raw + ID_AT, UNDO_HEADER_BYTES - ID_AT))
		return false;
	*id = raw + ID_AT;
	*header = (struct undo_header){
		.type = (enum undo_type)load_le32(raw + TYPE_AT),
		.device = load_le32(raw + DEVICE_AT),
		.index = load_le64(raw + INDEX_AT),
		.offset_bytes = load_le64(raw + OFFSET_AT),
		.payload_bytes = load_le64(raw + PAYLOAD_BYTES_AT),
		.payload_csum = load_le64(raw + PAYLOAD_CSUM_AT),
	};
	if (header->type == UNDO_BEGIN) {
		header->version = load_le32(raw + VERSION_AT);
		header->created_seconds = load_le64(raw + CREATED_AT);
		get_text(header->reason, raw + REASON_AT, sizeof(header->reason));
		get_text(header->program_version, raw + PROGRAM_VERSION_AT,
			 sizeof(header->program_version));
	} else if (header->type == UNDO_MARK) {
		header->marked_bytes = load_le64(raw + MARKED_BYTES_AT);
		header->is_complete = load_le32(raw + IS_COMPLETE_AT) != 0;
	} else if (header->type == UNDO_DEVICE) {
		header->device_bytes = load_le64(raw + DEVICE_BYTES_AT);
		header->logical_block_bytes = load_le32(raw + LOGICAL_BLOCK_AT);
		get_ident(&header->ident, raw);
		get_text(header->name, raw + NAME_AT, sizeof(header->name));
	} else if (header->type == UNDO_IDENT) {
		get_ident(&header->ident, raw);
	} else if (header->type == UNDO_SAVE || header->type == UNDO_AGAIN) {
		header->first_sector = load_le64(raw + FIRST_SECTOR_AT);
		header->sectors = load_le64(raw + SECTORS_AT);
		header->flags = load_le32(raw + FLAGS_AT);
	}
	return true;
}

static uint64_t padded_bytes(uint64_t bytes)
{
	return div_round_up(bytes, BCFMT_SECTOR_BYTES) * BCFMT_SECTOR_BYTES;
}

uint64_t undo_old_bytes(enum undo_type type, uint32_t flags, uint64_t sectors)
{
	if (flags & UNDO_OLD_IS_ZERO)
		return 0;
	if (type == UNDO_SAVE)
		return sectors * BCFMT_SECTOR_BYTES;
	return padded_bytes(sectors * UNDO_CSUM_BYTES);
}

uint64_t undo_new_bytes(uint32_t flags, uint64_t sectors)
{
	if (flags & (UNDO_NEW_IS_ZERO | UNDO_NEW_IS_OLD))
		return 0;
	return padded_bytes(sectors * UNDO_CSUM_BYTES);
}

void undo_csums(const uint8_t *bytes, size_t sectors, uint8_t *csums)
{
	size_t i;

	for (i = 0; i < sectors; i++)
		store_le64(csums + i * UNDO_CSUM_BYTES,
			   bcfmt_crc64(bytes + i * BCFMT_SECTOR_BYTES, BCFMT_SECTOR_BYTES));
}

uint64_t undo_zero_csum(void)
{
	static const uint8_t zeros[BCFMT_SECTOR_BYTES];

	return bcfmt_crc64(zeros, sizeof(zeros));
}

static bool has_super_magic(const struct bcfmt_super *super)
{
	static const uint8_t magic[] = DISK_SUPER_MAGIC;

	return !memcmp(super->magic, magic, sizeof(magic));
}

void undo_ident_of(const uint8_t *raw, struct bcfmt_undo_ident *ident)
{
	struct bcfmt_super super;

	*ident = (struct bcfmt_undo_ident){ 0 };
	bcfmt_super_decode(raw, &super);
	if (!has_super_magic(&super))
		return;
	ident->role = super.is_backing ? BCFMT_UNDO_BACKING : BCFMT_UNDO_CACHE;
	memcpy(ident->uuid, super.uuid, BCFMT_UUID_BYTES);
	memcpy(ident->set_uuid, super.set_uuid, BCFMT_UUID_BYTES);
	memcpy(ident->label, super.label, sizeof(ident->label));
}

bool undo_is_super_sector(const uint8_t *sector)
{
	uint8_t raw[BCFMT_SUPER_BYTES] = { 0 };
	struct bcfmt_super super;

	memcpy(raw, sector, BCFMT_SECTOR_BYTES);
	bcfmt_super_decode(raw, &super);
	return has_super_magic(&super);
}

void undo_stamp(const uint8_t id[BCFMT_UUID_BYTES], uint32_t device,
		uint8_t sector[BCFMT_SECTOR_BYTES])
{
	char text[UUID_STR_LEN];

	uuid_unparse_lower(id, text);
	memset(sector, 0, BCFMT_SECTOR_BYTES);
	snprintf((char *)sector, BCFMT_SECTOR_BYTES,
		 "bcache-fsck was putting back what an undo file holds, and was interrupted.\n"
		 "Run bcache-fsck --undo with the same file again.\n"
		 "undo file %s, device %" PRIu32 "\n",
		 text, device);
}
