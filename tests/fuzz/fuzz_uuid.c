/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as an entry of the uuid table, of both versions. */
#include <bcfmt/uuid.h>

#include "base/bytes.h"
#include "fuzz/codec.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void check_entry(const uint8_t *raw, const struct bcfmt_uuid_entry *entry)
{
	char text[BCFMT_UUID_TEXT_BYTES];
	bool is_zero = true;

	for (unsigned int i = 0; i < BCFMT_UUID_BYTES; i++)
		is_zero &= !raw[i];
	bcfmt_uuid_text(entry->uuid, text);
	assert(strlen(text) + 1 == BCFMT_UUID_TEXT_BYTES);
	assert(strspn(text, "0123456789abcdef-") == strlen(text));
	assert(strlen(entry->label) <= BCFMT_LABEL_BYTES);
	assert((bcfmt_uuid_state(entry) == BCFMT_UUID_FREE) == is_zero);
	assert((bcfmt_uuid_state(entry) == BCFMT_UUID_DETACHED) ==
	       !memcmp(raw, bcfmt_uuid_invalid(), BCFMT_UUID_BYTES));
	assert(entry->first_reg == load_le32(raw + 48) && entry->last_reg == load_le32(raw + 52) &&
	       entry->invalidated == load_le32(raw + 56));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_bytes)
{
	uint8_t *old = exact_copy(input, input_bytes, BCFMT_UUID_ENTRY_V0_BYTES);
	uint8_t *raw = exact_copy(input, input_bytes, BCFMT_UUID_ENTRY_BYTES);
	struct bcfmt_uuid_entry entry;
	uint8_t again[BCFMT_UUID_ENTRY_BYTES];

	bcfmt_uuid_decode(old, 0, &entry);
	check_entry(old, &entry);
	assert(!entry.flags && !entry.sectors);
	bcfmt_uuid_decode(raw, 1, &entry);
	check_entry(raw, &entry);
	/* All but the padding comes back. */
	bcfmt_uuid_encode(&entry, again);
	assert(!memcmp(again, raw, 72));
	for (unsigned int i = 72; i < sizeof(again); i++)
		assert(!again[i]);
	free(old);
	free(raw);
	return 0;
}
